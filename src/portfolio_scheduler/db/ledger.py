"""The ledger: every fact goes through `append`, which numbers it. Nothing here can change what is written."""

import hashlib
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import asdict
from psycopg import sql

from portfolio_scheduler.db.documents import Write, hex_bytes, insert, rows_of, write
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.changes import (
    Change,
    Event,
    FillSeen,
    HoldingChange,
    OrderChange,
    OrderSeen,
    PositionChange,
    State,
    fold,
)
from portfolio_scheduler.domain.records import Answer, Fill, Holding, Margin, Order, Position, SectionResult
from portfolio_scheduler.errors import Fenced, NotFound
from portfolio_scheduler.failpoints import failpoint

HEAD = ("account_id", "seq", "batch_id", "observed_at", "payload_digest", "corrects_seq")

FACT_TABLES = (
    "broker_payloads",
    "order_history",
    "order_quantity_changes",
    "order_fills",
    "holding_changes",
    "position_changes",
    "ledger_events",
    "portfolio_snapshots",
    "rereadings",
)

ORDER_FIELDS = tuple(name for name in Order.__struct_fields__ if name != "broker_order_id")
CHANGE_FIELDS = tuple(name for name in OrderChange.__struct_fields__ if name != "details")
FILL_FIELDS = Fill.__struct_fields__
HOLDING_FIELDS = Holding.__struct_fields__
POSITION_FIELDS = Position.__struct_fields__


class Snapshot(Struct, frozen=True, kw_only=True):
    """One revision of the valued portfolio of a trading day. Amounts in rupees; None is unknown."""

    trading_on: date
    revision: int
    reason: str
    holdings_value: Decimal | None
    invested: Decimal | None
    unrealised_pnl: Decimal | None
    positions_pnl: Decimal | None
    cash: Decimal | None
    margin_used: Decimal | None
    holdings_count: int
    positions_count: int
    orders_count: int
    fills_count: int
    priced_ratio: Decimal
    oldest_price_on: date | None
    previous_on: date | None
    previous_value: Decimal | None
    day_change: Decimal | None
    market_move: Decimal | None
    net_invested: Decimal | None
    transferred: Decimal | None
    unexplained: Decimal | None
    day_change_reason: str | None
    lines: list[dict[str, Any]]
    details: dict[str, Any]


class Head(Struct, frozen=True):
    """The locked head of an account's ledger."""

    account_id: UUID
    seq: int


class Batch(Struct, frozen=True):
    """What the facts of one reading share."""

    id: UUID | None  # None for CONFIG, which the owner did outside of any batch
    observed_at: datetime
    digests: Mapping[str, bytes]  # by section, "order:<id>" or "fills:<order id>"


class Rereading(Struct, frozen=True, kw_only=True):
    """What a finished batch read, as its raw answers are understood by a replay."""

    trading_on: date
    status: str  # completed, partial, failed
    sections: dict[str, SectionResult]
    flags: tuple[str, ...]
    margin: Margin | None
    reason: str


Fact = Change | Snapshot | Rereading


class Entry(Struct, frozen=True):
    """A fact with the batch whose place it takes, and the fact it corrects."""

    fact: Fact
    batch: Batch
    corrects_seq: int | None = None


async def seize(tx: Tx, account_id: UUID) -> Head:
    """Lock the account's head for what the owner does, whoever syncs meanwhile."""
    cursor = await tx.execute("SELECT seq FROM account_heads WHERE account_id = %s FOR UPDATE", (account_id,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"There is no account {account_id}.")
    return Head(account_id, row[0])


async def lock(tx: Tx, account_id: UUID, fence: int) -> Head:
    """Lock the account's head until the transaction ends; a worker with an old fence is turned away."""
    cursor = await tx.execute("SELECT seq, fence FROM account_heads WHERE account_id = %s FOR UPDATE", (account_id,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"There is no account {account_id}.")
    seq, newest = row
    if newest != fence:
        raise Fenced(f"Batch with fence {fence} was taken over (the account's fence is {newest}); nothing was written.")
    return Head(account_id, seq)


async def append(tx: Tx, head: Head, batch: Batch, facts: Sequence[Fact]) -> list[tuple[int, Fact]]:
    """Number the facts after the head, write them with one statement per table, and move the head."""
    await append_entries(tx, head, [Entry(fact, batch) for fact in facts])
    return list(enumerate(facts, start=head.seq + 1))


async def append_entries(tx: Tx, head: Head, entries: Sequence[Entry]) -> None:
    """The same for facts of several batches, some of which correct others."""
    rows: dict[type, list[dict[str, Any]]] = {}
    for seq, entry in enumerate(entries, start=head.seq + 1):
        kind = type(entry.fact)
        shared = {
            "account_id": head.account_id,
            "seq": seq,
            "batch_id": entry.batch.id,
            "observed_at": entry.batch.observed_at,
            "payload_digest": hex_bytes(_digest(entry.fact, entry.batch.digests)),
            "corrects_seq": entry.corrects_seq,
        }
        rows.setdefault(kind, []).append(shared | ROWS[kind](entry.fact))
    failpoint("facts_numbered")
    writes = [one for kind, kind_rows in rows.items() for one in rows_of(INSERTS[kind], kind_rows)]
    await write(tx, [*writes, *_moved(head, len(entries))])


_MOVE = "UPDATE account_heads SET seq = %s WHERE account_id = %s"


def _moved(head: Head, by: int) -> list[Write]:
    return [Write(_MOVE, (head.seq + by, head.account_id))] if by else []


def _digest(fact: Fact, digests: Mapping[str, bytes]) -> bytes | None:
    match fact:
        case OrderSeen():
            return digests.get(f"order:{fact.order.broker_order_id}") or digests.get(f"orders:{fact.order.segment}")
        case OrderChange():
            return digests.get(f"order:{fact.broker_order_id}") or digests.get(f"orders:{fact.segment}")
        case FillSeen():
            return digests.get(f"fills:{fact.fill.broker_order_id}")
        case HoldingChange():
            return digests.get("holdings")
        case PositionChange():
            return digests.get(f"positions:{fact.position.segment}")
        case Event():
            return digests.get(fact.section)
        case _:
            return None


def _fields(record: Struct, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _order_row(fact: OrderSeen) -> dict[str, Any]:
    return {**asdict(fact.order), "listed_on": fact.listed_on}


def _change_row(fact: OrderChange) -> dict[str, Any]:
    return asdict(fact)


def _fill_row(fact: FillSeen) -> dict[str, Any]:
    return {**asdict(fact.fill), "trading_on": fact.trading_on}


def _holding_row(fact: HoldingChange) -> dict[str, Any]:
    names = ("trading_on", "quantity_before", "average_price_before", "explanation", "details")
    return {**asdict(fact.holding), **_fields(fact, names)}


def _position_row(fact: PositionChange) -> dict[str, Any]:
    names = ("trading_on", "quantity_before", "gone", "explanation", "details")
    return {**asdict(fact.position), **_fields(fact, names)}


def _event_row(fact: Event) -> dict[str, Any]:
    return _fields(fact, ("trading_on", "kind", "section", "subject", "details"))


def _snapshot_row(fact: Snapshot) -> dict[str, Any]:
    return asdict(fact)


def _rereading_row(fact: Rereading) -> dict[str, Any]:
    return _fields(fact, Rereading.__struct_fields__)


ROWS: dict[type, Callable[[Any], dict[str, Any]]] = {
    OrderSeen: _order_row,
    OrderChange: _change_row,
    FillSeen: _fill_row,
    HoldingChange: _holding_row,
    PositionChange: _position_row,
    Event: _event_row,
    Snapshot: _snapshot_row,
    Rereading: _rereading_row,
}

HOLDING_CHANGE = (
    *HOLDING_FIELDS,
    "trading_on",
    "quantity_before",
    "average_price_before",
    "explanation",
    "details",
)
POSITION_CHANGE = (*POSITION_FIELDS, "trading_on", "quantity_before", "gone", "explanation", "details")

INSERTS: dict[type, str] = {
    OrderSeen: insert("order_history", (*HEAD, "broker_order_id", "listed_on", *ORDER_FIELDS)),
    OrderChange: insert("order_quantity_changes", (*HEAD, *CHANGE_FIELDS, "details")),
    FillSeen: insert("order_fills", (*HEAD, *FILL_FIELDS, "trading_on")),
    HoldingChange: insert("holding_changes", (*HEAD, *HOLDING_CHANGE)),
    PositionChange: insert("position_changes", (*HEAD, *POSITION_CHANGE)),
    Event: insert("ledger_events", (*HEAD, "trading_on", "kind", "section", "subject", "details")),
    Snapshot: insert("portfolio_snapshots", (*HEAD, *Snapshot.__struct_fields__)),
    Rereading: insert("rereadings", (*HEAD, *Rereading.__struct_fields__)),
}


_KEEP = """
INSERT INTO broker_payloads (account_id, seq, batch_id, observed_at, payload_digest, call, size, body)
SELECT %s, n.seq, %s, n.at, n.digest, n.call, n.size, n.body
FROM unnest(%s::bigint[], %s::timestamptz[], %s::bytea[], %s::text[], %s::int[], %s::bytea[])
    AS n (seq, at, digest, call, size, body)
"""


async def keep_payloads(tx: Tx, head: Head, batch_id: UUID, answers: Sequence[Answer]) -> dict[bytes, int]:
    """Keep each raw answer that this account has not had before, byte for byte. Returns the number of each."""
    unique = {answer.digest: answer for answer in answers}
    cursor = await tx.execute(
        "SELECT payload_digest, seq FROM broker_payloads WHERE account_id = %s AND payload_digest = ANY(%s)",
        (head.account_id, list(unique)),
    )
    numbers = {bytes(digest): seq for digest, seq in await cursor.fetchall()}
    new = [answer for digest, answer in unique.items() if digest not in numbers]
    if new:
        numbers |= {answer.digest: head.seq + n for n, answer in enumerate(new, start=1)}
        parameters = (
            head.account_id,
            batch_id,
            [numbers[answer.digest] for answer in new],
            [answer.fetched_at for answer in new],
            [answer.digest for answer in new],
            [answer.call for answer in new],
            [len(answer.body) for answer in new],
            [zlib.compress(answer.body, 6) for answer in new],
        )
        await write(tx, [Write(_KEEP, parameters), *_moved(head, len(new))])
    return numbers


_UNION = {
    "order_history": OrderSeen,
    "order_quantity_changes": OrderChange,
    "order_fills": FillSeen,
    "holding_changes": HoldingChange,
    "position_changes": PositionChange,
    "ledger_events": Event,
}

# Each fact in the shape of its record: what a record nests, the query nests.
SHAPES = {
    "order_history": "json_build_object('order', to_json(f), 'listed_on', f.listed_on)",
    "order_quantity_changes": "to_json(f)",
    "order_fills": "json_build_object('fill', to_json(f), 'trading_on', f.trading_on)",
    "holding_changes": """json_build_object('holding', to_json(f), 'trading_on', f.trading_on,
        'quantity_before', f.quantity_before, 'average_price_before', f.average_price_before,
        'explanation', f.explanation, 'details', f.details)""",
    "position_changes": """json_build_object('position', to_json(f), 'trading_on', f.trading_on,
        'quantity_before', f.quantity_before, 'gone', f.gone, 'explanation', f.explanation, 'details', f.details)""",
    "ledger_events": "to_json(f)",
}


class Recorded(Struct, frozen=True):
    """A change as it stands in the ledger."""

    seq: int
    batch_id: UUID | None  # None for what the owner did
    change: Change


async def load_changes(tx: Tx, account_id: UUID, *, of: Collection[str] = tuple(_UNION)) -> list[Recorded]:
    """All changes of an account (or of some tables) that no correction names, in their order.

    The fold of all of them is the current state.
    """
    recorded: list[Recorded] = []
    for table in of:
        record = _UNION[table]
        statement = sql.SQL("SELECT f.seq, f.batch_id, ({shape})::text FROM {view} f WHERE account_id = %s").format(
            shape=sql.SQL(SHAPES[table]), view=sql.Identifier(f"effective_{table}")
        )
        cursor = await tx.execute(statement, (account_id,))
        decode = msgspec.json.Decoder(record).decode
        recorded.extend([Recorded(seq, batch_id, decode(text)) for seq, batch_id, text in await cursor.fetchall()])
    recorded.sort(key=lambda one: one.seq)
    return recorded


def folded(recorded: Sequence[Recorded], state: State) -> State:
    """The state after the recorded changes."""
    return fold(state, ((one.seq, one.change) for one in recorded))


class Payload(Struct, frozen=True):
    """A raw answer's body as it was kept."""

    digest: bytes
    body: bytes


async def load_payloads(tx: Tx, account_id: UUID, numbers: Sequence[int]) -> dict[int, Payload]:
    """The raw answers kept under these numbers. One that is gone or is no longer what it was is left out."""
    cursor = await tx.execute(
        "SELECT seq, payload_digest, body FROM broker_payloads WHERE account_id = %s AND seq = ANY(%s)",
        (account_id, list(set(numbers))),
    )
    payloads = {}
    for seq, digest, packed in await cursor.fetchall():
        try:
            body = zlib.decompress(packed)
        except zlib.error:
            continue
        if hashlib.sha256(body).digest() == digest:
            payloads[seq] = Payload(bytes(digest), body)
    return payloads


async def last_sights(tx: Tx, account_id: UUID, order_ids: Sequence[str]) -> dict[tuple[str, ...], int]:
    """The newest fact of each order's first sight and of each of its executions, corrected or not, by their ids."""
    cursor = await tx.execute(
        """
        SELECT broker_order_id, NULL, max(seq) FROM order_history
        WHERE account_id = %(account)s AND broker_order_id = ANY(%(orders)s) GROUP BY 1
        UNION ALL
        SELECT broker_order_id, broker_trade_id, max(seq) FROM order_fills
        WHERE account_id = %(account)s AND broker_order_id = ANY(%(orders)s) GROUP BY 1, 2
        """,
        {"account": account_id, "orders": list(order_ids)},
    )
    return {(order,) if trade is None else (order, trade): seq for order, trade, seq in await cursor.fetchall()}
