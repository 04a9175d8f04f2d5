"""The valued day: from a complete statement after the close comes a snapshot, and a revision when a figure differs."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

import msgspec

from portfolio_scheduler.app import App
from portfolio_scheduler.db import ledger, prices, snapshots
from portfolio_scheduler.db.ledger import Batch, Head, Snapshot
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.snapshots import Context
from portfolio_scheduler.domain.changes import Moment, State
from portfolio_scheduler.domain.records import Margin
from portfolio_scheduler.domain.valuation import Book, Valuation, instrument_key, marked, value

# What makes a revision: quantities, orders and figures. Prices and their labels alone show in the figures.
COMPARED = (
    "holdings_value",
    "invested",
    "unrealised_pnl",
    "positions_pnl",
    "cash",
    "margin_used",
    "holdings_count",
    "positions_count",
    "orders_count",
    "fills_count",
)
# What follows from the day before. It makes no revision by itself, unless a replay revises the day before.
DAY_CHANGE = ("previous_on", "previous_value", "day_change", "market_move", "net_invested", "unexplained")


async def take_snapshot(
    app: App, tx: Tx, head: Head, batch: Batch, moment: Moment, known: State, margin: Margin | None
) -> int:
    """Append the day's snapshot if it is the first or differs from the newest one. Returns how many were written.

    A statement read on a later date never revises: its lists may already be those of a new day.
    """
    previous_on = app.calendar.previous(moment.trading_on)
    compared = await snapshots.context(tx, head.account_id, moment.trading_on, previous_on)
    if compared.latest is not None and moment.rolled:
        return 0
    snapshot = await snapshot_of(app, tx, moment, known, margin, compared)
    if snapshot is None:
        return 0
    await ledger.append(tx, head, batch, [snapshot])
    return 1


async def snapshot_of(
    app: App,
    tx: Tx,
    moment: Moment,
    known: State,
    margin: Margin | None,
    compared: Context,
    *,
    names: Sequence[str] = COMPARED,
) -> Snapshot | None:
    """The day's snapshot, or its next revision; None when the newest one says the same."""
    valuation = await valued(app, tx, moment.trading_on, known, margin, compared, read_late=moment.rolled)
    snapshot = as_snapshot(valuation, compared, _reason(moment))
    if compared.latest is None:
        return snapshot
    different = differing(compared.latest, snapshot, names)
    if not different:
        return None
    reason = "differs from the revision before in " + ", ".join(different)
    return msgspec.structs.replace(snapshot, revision=compared.latest.revision + 1, reason=reason)


async def valued(
    app: App,
    tx: Tx,
    trading_on: date,
    known: State,
    margin: Margin | None,
    compared: Context,
    *,
    read_late: bool = False,
) -> Valuation:
    """The account as known, at the prices of that day."""
    book = Book(
        holdings=tuple(k.holding for k in known.holdings.values()),
        positions=tuple(k.position for k in known.positions.values() if k.trading_on == trading_on),
        margin=margin,
        read_late=read_late,
    )
    keys = {holding.isin for holding in book.holdings} | {instrument_key(p) for p in book.positions}
    keys |= {line.isin for line in compared.before.lines} if compared.before else set()
    keys |= {trade.isin for trade in compared.trades}
    newest = await prices.newest(tx, keys, trading_on)
    points = marked(newest, trading_on, app.calendar.session, app.clock.now())
    previous_on = app.calendar.previous(trading_on)
    return value(trading_on, book, points, compared.before, previous_on, compared.trades)


def _reason(moment: Moment) -> str:
    return f"read late, on {moment.observed_on}" if moment.rolled else "first complete statement after the close"


def as_snapshot(valuation: Valuation, compared: Context, reason: str) -> Snapshot:
    """The valuation as the first revision of its day."""
    figures = {
        name: getattr(valuation, name) for name in Snapshot.__struct_fields__ if name in valuation.__struct_fields__
    }
    change = {name: getattr(valuation.change, name) for name in valuation.change.__struct_fields__}
    lines = [msgspec.to_builtins(line, builtin_types=(Decimal, date)) for line in valuation.lines]
    return Snapshot(
        **(figures | change | {"lines": lines}),
        revision=1,
        reason=reason,
        orders_count=compared.orders_count,
        fills_count=compared.fills_count,
        details={"notes": list(valuation.notes)},
    )


def differing(before: Snapshot, after: Snapshot, compared: Sequence[str] = COMPARED) -> list[str]:
    """Which figures, or the quantities, or which of the prices are closing prices, are not the same."""
    names = [name for name in compared if getattr(before, name) != getattr(after, name)]
    if _quantities(before.lines) != _quantities(after.lines):
        names.append("quantities")
    if _early(before.lines) != _early(after.lines):
        names.append("prices from before the close")
    return names


def _early(lines: Sequence[Mapping[str, object]]) -> set[object]:
    return {line["isin"] for line in lines if line.get("early_at")}


def _quantities(lines: Sequence[Mapping[str, object]]) -> dict[object, Decimal]:
    return {line["isin"]: Decimal(str(line["quantity"])) for line in lines}
