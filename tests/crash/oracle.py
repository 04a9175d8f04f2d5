"""The oracle: what must stand in the ledger, computed from the simulator's truth and rule 11 alone, and the verdict.

It shares nothing with the product's `diff` and `fold`. It is told each moment at which the accounts are read; from what
was so then and at the moment before follows which facts there must be, each once.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from msgspec import Struct

from tests.crash.broker import TrueOrder, Truth

Key = tuple[Any, ...]
FACTS = (
    "broker_payloads", "order_history", "order_quantity_changes", "order_fills", "holding_changes",
    "position_changes", "ledger_events", "portfolio_snapshots", "rereadings",
)  # fmt: skip


class Seen(Struct):
    """What was last read of one account."""

    orders: dict[str, TrueOrder] = {}
    fills: set[tuple[str, str]] = set()
    holdings: dict[str, tuple[int, Decimal, str]] = {}
    positions: dict[tuple[str, ...], tuple[int, str, date]] = {}


class Oracle:
    """Collects what is to be expected."""

    def __init__(self) -> None:
        self.expected: Counter[Key] = Counter()
        self.partial_is_fine = False  # where the broker's network fails, too: the rest is read later
        self.readings: list[tuple[datetime, int]] = []  # when, and of how many accounts
        self._seen: dict[int, Seen] = {}

    def observe(
        self, at: datetime, trading_on: date, truths: Mapping[int, Truth], *, after_close: bool, lost: Sequence[date]
    ) -> None:
        """All accounts are read at this moment, once; the days `lost` were read by nobody."""
        self.readings.append((at, len(truths)))
        for number, truth in truths.items():
            seen = self._seen.setdefault(number, Seen())
            facts = [("event", "GAP", day.isoformat()) for day in lost]
            facts += _orders(seen, truth)
            facts += _holdings(seen, truth)
            facts += _positions(seen, truth, trading_on)
            if after_close:
                facts.append(("snapshot", trading_on, 1))
            self.expected.update((number, *fact) for fact in facts)

    def judge(self, database: "psycopg.Connection[Any]", numbers: Mapping[UUID, int]) -> "Verdict":
        got = Counter((numbers[account], *rest) for account, *rest in _got(database))
        more = got - self.expected
        return Verdict(
            expected=self.expected.total(),
            got=got.total(),
            lost=tuple((self.expected - got).elements()),
            duplicated=tuple(key for key in more.elements() if key in self.expected),
            unknown=tuple(key for key in more.elements() if key not in self.expected),
            gaps=tuple(_gaps(database)),
            applied_not_once=tuple(self._not_once(database, numbers)),
        )

    def _not_once(self, database: "psycopg.Connection[Any]", numbers: Mapping[UUID, int]) -> Iterator[str]:
        """Each account must have one completed batch for each moment, and no batch may be open."""
        completed = Counter[tuple[int, datetime]]()
        starts = [at for at, _ in self.readings]
        for account, queued_at, status in database.execute("SELECT account_id, queued_at, status FROM sync_batches"):
            if status in {"queued", "running"}:
                yield f"account {numbers[account]}: a batch is still {status}"
            elif status == "completed":
                completed[(numbers[account], max(at for at in starts if at <= queued_at))] += 1
            elif status == "partial" and not self.partial_is_fine:
                yield f"account {numbers[account]}: a batch is partial"
        for at, count in self.readings:
            for number in range(1, count + 1):
                if completed[(number, at)] != 1:
                    yield f"account {number} was read {completed[(number, at)]} times at {at}"


class Verdict(Struct, frozen=True, kw_only=True):
    """What one look at the database said."""

    expected: int
    got: int
    lost: tuple[Key, ...]
    duplicated: tuple[Key, ...]
    unknown: tuple[Key, ...]  # nothing that could be expected: a failure, too
    gaps: tuple[str, ...]  # holes and doubles in the numbers of an account
    applied_not_once: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.duplicated or self.unknown or self.gaps or self.applied_not_once)

    def __str__(self) -> str:
        counts = ", ".join(
            f"{name} {len(getattr(self, name))}"
            for name in ("lost", "duplicated", "unknown", "gaps", "applied_not_once")
        )
        examples = [
            f"\n  {name}: {one}"
            for name in ("lost", "duplicated", "unknown", "gaps", "applied_not_once")
            for one in getattr(self, name)[:5]
        ]
        return f"expected {self.expected}, got {self.got}, {counts}{''.join(examples)}"


# ── what follows from two moments ───────────────────────────────────────────────────────────────────────────────────


def _orders(seen: Seen, truth: Truth) -> Iterator[Key]:
    for order in truth.orders:
        before = seen.orders.get(order.id)
        seen.orders[order.id] = order
        if before is None:
            yield ("order", order.id, order.symbol, order.side, order.quantity, order.filled, order.status)
            yield from _first_sight(order)
        else:
            yield from _later(before, order)
        for trade_id, quantity, price in order.fills:
            if (order.id, trade_id) not in seen.fills:
                seen.fills.add((order.id, trade_id))
                yield ("fill", order.id, trade_id, quantity, price)


def _first_sight(order: TrueOrder) -> Iterator[Key]:
    """That it was placed is told by the order itself, never by a change as well."""
    if order.filled:
        yield _filled(order, order.filled)
    if order.status == "CANCELLED":
        yield ("change", order.id, "ORDER_CANCELLED", 0, order.filled)


def _later(before: TrueOrder, order: TrueOrder) -> Iterator[Key]:
    if (before.quantity, before.price, before.trigger, before.order_type) != (
        order.quantity, order.price, order.trigger, order.order_type,
    ):  # fmt: skip
        yield ("change", order.id, "ORDER_MODIFIED", 0, before.filled)
    if order.filled != before.filled:
        yield _filled(order, order.filled - before.filled)
    if order.status != before.status:
        cancelled = order.status == "CANCELLED"
        yield ("change", order.id, "ORDER_CANCELLED" if cancelled else "STATUS_CHANGED", 0, order.filled)


def _filled(order: TrueOrder, units: int) -> Key:
    if order.side == "BUY":
        return ("change", order.id, "QUANTITY_ADDED", units, order.filled)
    return ("change", order.id, "QUANTITY_REMOVED", -units, order.filled)


def _holdings(seen: Seen, truth: Truth) -> Iterator[Key]:
    for isin, now in truth.holdings.items():
        before = seen.holdings.get(isin)
        if before != now:
            yield ("holding", isin, before[0] if before else 0, now[0])
    for isin in seen.holdings.keys() - truth.holdings.keys():
        yield ("holding", isin, seen.holdings[isin][0], 0)
    seen.holdings = dict(truth.holdings)


def _positions(seen: Seen, truth: Truth, trading_on: date) -> Iterator[Key]:
    """Positions are statements of a day: one that is still there on the next is stated anew."""
    now = {key: (quantity, row, trading_on) for key, (quantity, row) in truth.positions.items()}
    for key, one in now.items():
        before = seen.positions.get(key)
        if before != one:
            yield ("position", *key, before[0] if before else 0, one[0], False)
    for key in seen.positions.keys() - now.keys():
        yield ("position", *key, seen.positions[key][0], 0, True)
    seen.positions = now


# ── what stands in the database ─────────────────────────────────────────────────────────────────────────────────────

GOT = {
    "order": """SELECT account_id, broker_order_id, trading_symbol, side, quantity, filled_quantity, status
        FROM order_history""",
    "change": """SELECT account_id, broker_order_id, change_type, quantity_delta, filled_after
        FROM order_quantity_changes""",
    "fill": "SELECT account_id, broker_order_id, broker_trade_id, quantity, price FROM order_fills",
    "holding": "SELECT account_id, isin, quantity_before, quantity FROM holding_changes",
    "position": """SELECT account_id, segment, exchange, trading_symbol, product, quantity_before, quantity, gone
        FROM position_changes""",
    "snapshot": "SELECT account_id, trading_on, revision FROM portfolio_snapshots",
    "event": "SELECT account_id, kind, subject FROM ledger_events",
}


def _got(database: "psycopg.Connection[Any]") -> Iterator[Key]:
    for kind, query in GOT.items():
        for account, *rest in database.execute(query):  # type: ignore[call-overload]
            yield (account, kind, *rest)


def _gaps(database: "psycopg.Connection[Any]") -> Iterator[str]:
    numbers = " UNION ALL ".join(f"SELECT account_id, seq FROM {table}" for table in FACTS)
    found = database.execute(
        f"""SELECT h.account_id, h.seq, count(n.seq), count(DISTINCT n.seq), coalesce(max(n.seq), 0)
            FROM account_heads h LEFT JOIN ({numbers}) n USING (account_id) GROUP BY 1, 2"""  # type: ignore[arg-type]
    )
    for account, head, facts, numbered, last in found:
        if not head == facts == numbered == last:
            yield f"account {account}: head {head}, facts {facts}, different numbers {numbered}, highest {last}"
