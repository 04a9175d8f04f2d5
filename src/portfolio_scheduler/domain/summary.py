"""The summary of an account: what it is worth, how that came about, and what is unknown and why. Pure.

After the close it is the day's snapshot; before, or while a part is missing, it is computed and called provisional.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.domain.completeness import (
    AMOUNTS,
    CHANGE,
    FINAL,
    NOTHING,
    PROVISIONAL,
    Days,
    LastRead,
    never_read,
    nothing_read,
    unread_on,
    why_provisional,
)
from portfolio_scheduler.domain.records import Holding, Margin, Position
from portfolio_scheduler.domain.valuation import Before, Book, PricePoint, Trade, marked, value


class Summary(Struct, frozen=True, kw_only=True):
    """One account on one trading day. Amounts in rupees; None is unknown and `unknown` says why."""

    account: str  # label
    account_id: UUID
    broker: str
    state: str  # of the account: active, paused, needs_login, closed
    standing: str  # final, provisional, nothing read
    reason: str | None  # why it is not final
    trading_on: date | None
    observed_at: datetime | None
    unread_on: date | None = None  # the current trading day, when nothing has been read of it yet
    revision: int | None = None
    holdings_value: Decimal | None = None
    invested: Decimal | None = None
    unrealised_pnl: Decimal | None = None
    positions_pnl: Decimal | None = None
    cash: Decimal | None = None
    margin_used: Decimal | None = None
    day_change: Decimal | None = None
    market_move: Decimal | None = None
    net_invested: Decimal | None = None
    transferred: Decimal | None = None
    unexplained: Decimal | None = None
    previous_on: date | None = None
    previous_value: Decimal | None = None
    holdings_count: int = 0
    positions_count: int = 0
    orders_count: int = 0
    fills_count: int = 0
    priced_ratio: Decimal | None = None  # share of the holdings lines that have a price
    oldest_price_on: date | None = None
    unknown: dict[str, str] = {}  # figure → why it is not known
    notes: tuple[str, ...] = ()


class Taken(Struct, frozen=True, kw_only=True):
    """A snapshot's figures."""

    trading_on: date
    revision: int
    observed_at: datetime
    holdings_value: Decimal | None
    invested: Decimal | None
    unrealised_pnl: Decimal | None
    positions_pnl: Decimal | None
    cash: Decimal | None
    margin_used: Decimal | None
    day_change: Decimal | None
    market_move: Decimal | None
    net_invested: Decimal | None
    transferred: Decimal | None
    unexplained: Decimal | None
    previous_on: date | None
    previous_value: Decimal | None
    holdings_count: int
    positions_count: int
    orders_count: int
    fills_count: int
    priced_ratio: Decimal
    oldest_price_on: date | None
    day_change_reason: str | None
    details: dict[str, list[str]]


class OpenDay(Struct, frozen=True, kw_only=True):
    """What a day that has no snapshot, or none that still stands for it, is computed from."""

    holdings: tuple[Holding, ...]
    positions: tuple[Position, ...]  # of that day
    margin: Margin | None
    holdings_read_on: date | None  # the trading day of the last good reading of holdings
    unread: list[str]  # sections of the day that were asked for and never read well
    before: Before | None
    trades: tuple[Trade, ...]  # delivery executions since `before`
    orders_on: dict[date, int]  # orders by their own day, of the weeks before
    fills_count: int
    prices: dict[str, PricePoint]


class Basis(Struct, frozen=True, kw_only=True):
    """What a summary of an account starts from."""

    account_id: UUID
    account: str
    broker: str
    state: str
    read: LastRead | None  # the last batch that read holdings or positions well
    margin_reason: str | None  # why the last batch that asked for cash and margin did not get them
    snapshot: Taken | None  # the newest
    touched: bool  # whether anything but a late reading changed after that snapshot
    open: OpenDay | None  # None when the snapshot says it all, or nothing was read


# What a snapshot and a valuation both say.
SHARED = (
    *AMOUNTS,
    "previous_on",
    "previous_value",
    "holdings_count",
    "positions_count",
    "orders_count",
    "fills_count",
    "priced_ratio",
    "oldest_price_on",
)


def summary_of(found: Basis, days: Days, now: datetime, until_on: date | None = None) -> Summary:
    """The newest that is known of one account, or what is known of the end of a day."""
    if found.read is None:
        return Summary(
            account=found.account,
            account_id=found.account_id,
            broker=found.broker,
            state=found.state,
            standing=NOTHING,
            reason=nothing_read(until_on),
            trading_on=None,
            observed_at=None,
            unknown=dict.fromkeys(AMOUNTS, nothing_read(until_on)),
        )
    if found.open is None:
        assert found.snapshot is not None
        return _final(found, found.snapshot, days, now, until_on)
    return _provisional(found, found.read, found.open, days, now, until_on)


def _final(found: Basis, snapshot: Taken, days: Days, now: datetime, until_on: date | None) -> Summary:
    figures = {name: getattr(snapshot, name) for name in SHARED}
    notes = tuple(snapshot.details.get("notes", ()))
    return Summary(
        **figures,
        account=found.account,
        account_id=found.account_id,
        broker=found.broker,
        state=found.state,
        standing=FINAL,
        reason=None,
        trading_on=snapshot.trading_on,
        observed_at=snapshot.observed_at,
        unread_on=unread_on(days, now, snapshot.trading_on, until_on),
        revision=snapshot.revision,
        unknown=_unknown(figures, notes, found.margin_reason, snapshot.day_change_reason),
        notes=notes,
    )


def _provisional(
    found: Basis, read: LastRead, known: OpenDay, days: Days, now: datetime, until_on: date | None
) -> Summary:
    previous_on = days.previous(read.trading_on)
    book = Book(holdings=known.holdings, positions=known.positions, margin=known.margin)
    points = marked(known.prices, read.trading_on, days.session, now)
    valuation = value(read.trading_on, book, points, known.before, previous_on, known.trades)
    figures = {
        name: getattr(source, name)
        for source in (valuation, valuation.change)
        for name in SHARED
        if name in source.__struct_fields__
    }
    figures["orders_count"] = sum(count for on, count in known.orders_on.items() if on > previous_on)
    figures["fills_count"] = known.fills_count
    reasons, more = never_read(known.unread, known.holdings_read_on)
    figures |= dict.fromkeys(reasons)
    notes = (*valuation.notes, *more)
    unknown = _unknown(figures, notes, found.margin_reason, valuation.change.day_change_reason)
    return Summary(
        **figures,
        account=found.account,
        account_id=found.account_id,
        broker=found.broker,
        state=found.state,
        standing=PROVISIONAL,
        reason=why_provisional(read, touched=found.touched),
        trading_on=read.trading_on,
        observed_at=read.observed_at,
        unread_on=unread_on(days, now, read.trading_on, until_on),
        unknown=unknown | reasons,
        notes=notes,
    )


def _unknown(
    figures: dict[str, object], notes: Sequence[str], margin_reason: str | None, change_reason: str | None
) -> dict[str, str]:
    """For each amount that is not known, why."""
    reasons: dict[str, str] = {}
    for name in AMOUNTS:
        if figures[name] is not None:
            continue
        if name in CHANGE:
            reasons[name] = change_reason or "not known"
        elif name in {"cash", "margin_used"}:
            reasons[name] = margin_reason or "the broker did not say"
        else:
            wanted = "profit or loss unknown" if name == "positions_pnl" else "average price unknown"
            reasons[name] = "; ".join(note for note in notes if wanted in note) or "; ".join(notes) or "not known"
    return reasons
