"""The derived tables: what we know of an account now. Loaded for `diff`, saved after `fold`, rebuilt from the facts."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import asdict

from portfolio_scheduler.db.documents import Write, read, rows_of, upsert, write
from portfolio_scheduler.db.ledger import HOLDING_FIELDS, ORDER_FIELDS, POSITION_FIELDS
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.changes import Finding, KnownHolding, KnownOrder, KnownPosition, State
from portfolio_scheduler.domain.records import Fill


class _Loaded(msgspec.Struct):
    seq: int | None
    orders: list[KnownOrder] | None
    fills: list[Fill] | None
    holdings: list[KnownHolding] | None
    positions: list[KnownPosition] | None
    findings: list[Finding] | None


_decoder = msgspec.json.Decoder(_Loaded)

# One round trip: five small reads by primary key or day, each as the records that `diff` works on.
_LOAD = """
SELECT json_build_object(
  'seq', (SELECT seq FROM account_heads WHERE account_id = %(account)s),
  'orders', (SELECT json_agg(json_build_object('order', to_json(o), 'listed_on', o.listed_on, 'first_seq', o.first_seq,
        'last_seq', o.last_seq, 'fills_quantity', o.fills_quantity, 'fills_value', o.fills_value,
        'regressed', CASE WHEN o.regressed_status IS NOT NULL
            THEN json_build_array(o.regressed_status, o.regressed_filled) END) ORDER BY o.first_seq)
    FROM current_orders o WHERE o.account_id = %(account)s
        AND (o.listed_on = %(day)s OR o.broker_order_id = ANY(%(orders)s))),
  'fills', (SELECT json_agg(to_json(f)) FROM effective_order_fills f
    WHERE f.account_id = %(account)s AND f.broker_order_id = ANY(%(filled)s)),
  'holdings', (SELECT json_agg(json_build_object('holding', to_json(h), 'changed_on', h.changed_on,
        'last_seq', h.last_seq) ORDER BY h.isin) FROM real_holdings h WHERE h.account_id = %(account)s),
  'positions', (SELECT json_agg(json_build_object('position', to_json(p), 'trading_on', p.trading_on,
        'last_seq', p.last_seq) ORDER BY p.segment, p.exchange, p.trading_symbol, p.product)
    FROM real_positions p WHERE p.account_id = %(account)s),
  'findings', (SELECT json_agg(json_build_object('event', to_json(e), 'last_seq', e.last_seq))
    FROM open_findings e WHERE e.account_id = %(account)s AND (e.kind = 'SUSPECT' OR e.trading_on >= %(day)s
        OR (e.kind = 'MISSING' AND e.subject = ANY(%(orders)s))))
)::text
"""


class Standing(msgspec.Struct, frozen=True):
    """A state as it stands after the fact of that number; it holds as long as the account's head has not moved."""

    seq: int
    state: State


async def load(
    tx: Tx, account_id: UUID, order_ids: Collection[str], trading_on: date, fills_of: Collection[str] | None = None
) -> State:
    """The part of the account's state that a statement with these orders can touch.

    `fills_of` are the orders whose executions the statement brings; None means all of them.
    """
    return (await load_standing(tx, account_id, order_ids, trading_on, fills_of)).state


async def load_standing(
    tx: Tx, account_id: UUID, order_ids: Collection[str], trading_on: date, fills_of: Collection[str] | None = None
) -> Standing:
    """The same, with the number of the fact after which it stands so."""
    loaded = await read(
        tx,
        _LOAD,
        {
            "account": account_id,
            "orders": list(order_ids),
            "filled": list(order_ids if fills_of is None else fills_of),
            "day": trading_on,
        },
        _decoder,
    )
    state = State(
        orders={known.order.broker_order_id: known for known in loaded.orders or ()},
        fills={(fill.broker_order_id, fill.broker_trade_id): fill for fill in loaded.fills or ()},
        holdings={known.holding.isin: known for known in loaded.holdings or ()},
        positions={known.position.key: known for known in loaded.positions or ()},
        findings={finding.event.finding: finding for finding in loaded.findings or ()},
    )
    return Standing(loaded.seq or 0, state)


_ORDERS = upsert(
    "current_orders",
    (
        "account_id",
        "broker_order_id",
        "first_seq",
        "last_seq",
        "listed_on",
        "fills_quantity",
        "fills_value",
        "regressed_status",
        "regressed_filled",
        *ORDER_FIELDS,
    ),
    ("account_id", "broker_order_id"),
)
_HOLDINGS = upsert(
    "real_holdings",
    ("account_id", "last_seq", "changed_on", *HOLDING_FIELDS),
    ("account_id", "isin"),
)
_POSITIONS = upsert(
    "real_positions",
    ("account_id", "last_seq", "trading_on", *POSITION_FIELDS),
    ("account_id", "segment", "exchange", "trading_symbol", "product"),
)
_FINDINGS = upsert(
    "open_findings",
    ("account_id", "kind", "section", "subject", "last_seq", "trading_on", "observed_at", "details"),
    ("account_id", "kind", "section", "subject"),
)


async def save(tx: Tx, account_id: UUID, before: State, after: State, since_seq: int) -> None:
    """Write what changed after fact number `since_seq`, and remove what is gone."""
    new = [
        (_ORDERS, [_order_row(account_id, known) for known in after.orders.values() if known.last_seq > since_seq]),
        (_HOLDINGS, [_holding_row(account_id, k) for k in after.holdings.values() if k.last_seq > since_seq]),
        (_POSITIONS, [_position_row(account_id, k) for k in after.positions.values() if k.last_seq > since_seq]),
        (_FINDINGS, [_finding_row(account_id, f) for f in after.findings.values() if f.last_seq > since_seq]),
    ]
    writes = [one for statement, rows in new for one in rows_of(statement, rows)]
    await write(tx, [*writes, *_removals(account_id, before, after)])


_REMOVE_HOLDINGS = "DELETE FROM real_holdings WHERE account_id = %s AND isin = ANY(%s)"
_REMOVE_POSITIONS = """
DELETE FROM real_positions p USING unnest(%s::text[], %s::text[], %s::text[], %s::text[])
    AS gone (segment, exchange, trading_symbol, product)
WHERE p.account_id = %s AND (p.segment, p.exchange, p.trading_symbol, p.product)
    = (gone.segment, gone.exchange, gone.trading_symbol, gone.product)
"""
_REMOVE_FINDINGS = """
DELETE FROM open_findings f USING unnest(%s::text[], %s::text[], %s::text[]) AS gone (kind, section, subject)
WHERE f.account_id = %s AND (f.kind, f.section, f.subject) = (gone.kind, gone.section, gone.subject)
"""


def _removals(account_id: UUID, before: State, after: State) -> list[Write]:
    removals = []
    if isins := before.holdings.keys() - after.holdings.keys():
        removals.append(Write(_REMOVE_HOLDINGS, (account_id, sorted(isins))))
    if positions := sorted(before.positions.keys() - after.positions.keys()):
        removals.append(Write(_REMOVE_POSITIONS, (*_columns(positions), account_id)))
    if findings := sorted(before.findings.keys() - after.findings.keys()):
        removals.append(Write(_REMOVE_FINDINGS, (*_columns(findings), account_id)))
    return removals


def _columns(keys: Sequence[tuple[str, ...]]) -> list[list[str]]:
    return [list(column) for column in zip(*keys, strict=True)]


def _fields(record: msgspec.Struct, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _order_row(account_id: UUID, known: KnownOrder) -> dict[str, Any]:
    status, filled = known.regressed or (None, None)
    return {
        "account_id": account_id,
        "regressed_status": status,
        "regressed_filled": filled,
        **_fields(known, ("first_seq", "last_seq", "listed_on", "fills_quantity", "fills_value")),
        **asdict(known.order),
    }


def _holding_row(account_id: UUID, known: KnownHolding) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "last_seq": known.last_seq,
        "changed_on": known.changed_on,
        **asdict(known.holding),
    }


def _position_row(account_id: UUID, known: KnownPosition) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "last_seq": known.last_seq,
        "trading_on": known.trading_on,
        **asdict(known.position),
    }


def _finding_row(account_id: UUID, finding: Finding) -> dict[str, Any]:
    names = ("kind", "section", "subject", "trading_on", "observed_at", "details")
    return {"account_id": account_id, "last_seq": finding.last_seq, **_fields(finding.event, names)}


def rows_by_table(account_id: UUID, known: State) -> dict[str, list[dict[str, Any]]]:
    """A whole state as the rows that the derived tables should have."""
    return {
        "current_orders": [_order_row(account_id, one) for one in known.orders.values()],
        "real_holdings": [_holding_row(account_id, one) for one in known.holdings.values()],
        "real_positions": [_position_row(account_id, one) for one in known.positions.values()],
        "open_findings": [_finding_row(account_id, one) for one in known.findings.values()],
    }
