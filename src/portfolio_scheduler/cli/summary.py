"""The summary of an account: what it is worth, how that came about, and what is unknown and why.

After the close it is the day's snapshot; before, or while a part is missing, it is computed now and called provisional.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from msgspec import Struct
from rich.console import Console

from portfolio_scheduler.app import App
from portfolio_scheduler.cli.render import Column, Kind, Unknown, Value, day, ist_time, print_list, print_table
from portfolio_scheduler.db import batches, past, state
from portfolio_scheduler.db import snapshots as days
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.db.reads import snapshots as reads
from portfolio_scheduler.db.reads.accounts import BatchRow
from portfolio_scheduler.db.reads.snapshots import Basis, SnapshotRow
from portfolio_scheduler.domain.records import Outcome
from portfolio_scheduler.sync.snapshot import valued

FINAL, PROVISIONAL, NOTHING = "final", "provisional", "nothing read"
AMOUNTS = (
    "holdings_value",
    "invested",
    "unrealised_pnl",
    "positions_pnl",
    "cash",
    "margin_used",
    "day_change",
    "market_move",
    "net_invested",
    "transferred",
    "unexplained",
)
CHANGE = frozenset({"day_change", "market_move", "net_invested", "transferred", "unexplained"})
OF_HOLDINGS = ("holdings_value", "invested", "unrealised_pnl", "priced_ratio", *sorted(CHANGE))


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


async def summarise(app: App, account: Account, *, until_on: date | None = None) -> Summary:
    """The newest that is known of one account, or what is known of the end of a day. Eight statements at most."""
    async with transaction(app.pool) as tx:
        found = await reads.basis(tx, account.id, until_on=until_on)
        snapshot = found.snapshot
        if found.read is None:
            return Summary(
                account=account.label,
                account_id=account.id,
                broker=account.broker,
                state=account.state,
                standing=NOTHING,
                reason=f"nothing has been read yet; run `portfolio-scheduler sync {account.label}`",
                trading_on=None,
                observed_at=None,
            )
        assert found.read.trading_on is not None
        if snapshot is not None and snapshot.trading_on >= found.read.trading_on and not found.touched:
            return _final(app, account, found, snapshot, until_on)
        return await _provisional(app, tx, account, found, found.read, until_on)


def _unread_on(app: App, trading_on: date, until_on: date | None) -> date | None:
    current = app.calendar.trading_on(app.clock.now())
    if until_on is not None and until_on < current:
        current = app.calendar.previous(until_on + timedelta(days=1))
    return current if current > trading_on else None


def _final(app: App, account: Account, found: Basis, snapshot: SnapshotRow, until_on: date | None) -> Summary:
    figures = {name: getattr(snapshot, name) for name in SHARED}
    notes = tuple(snapshot.details.get("notes", ()))
    return Summary(
        **figures,
        account=account.label,
        account_id=account.id,
        broker=account.broker,
        state=account.state,
        standing=FINAL,
        reason=None,
        trading_on=snapshot.trading_on,
        observed_at=snapshot.observed_at,
        unread_on=_unread_on(app, snapshot.trading_on, until_on),
        revision=snapshot.revision,
        unknown=_unknown(figures, notes, found.margin_reason, snapshot.day_change_reason),
        notes=notes,
    )


async def _provisional(
    app: App, tx: Tx, account: Account, found: Basis, read: BatchRow, until_on: date | None
) -> Summary:
    assert read.trading_on is not None
    if until_on is None:
        known = await state.load(tx, account.id, [], read.trading_on)
    else:
        known = await past.book(tx, account.id, until_on)
    readings = await batches.readings(tx, account.id, read.trading_on, until_on=until_on)
    unread = await reads.never_read(tx, account.id, read.trading_on)
    previous_on = app.calendar.previous(read.trading_on)
    compared = await days.context(tx, account.id, read.trading_on, previous_on)
    valuation = await valued(app, tx, read.trading_on, known, readings.margin, compared)
    figures = {
        name: getattr(source, name)
        for source in (valuation, valuation.change, compared)
        for name in SHARED
        if name in source.__struct_fields__
    }
    reasons, more = _never_read(unread, readings.holdings_read_on)
    figures |= dict.fromkeys(reasons)
    notes = (*valuation.notes, *more)
    unknown = _unknown(figures, notes, found.margin_reason, valuation.change.day_change_reason)
    return Summary(
        **figures,
        account=account.label,
        account_id=account.id,
        broker=account.broker,
        state=account.state,
        standing=PROVISIONAL,
        reason=_why_provisional(read, touched=found.touched),
        trading_on=read.trading_on,
        observed_at=read.observed_at,
        unread_on=_unread_on(app, read.trading_on, until_on),
        unknown=unknown | reasons,
        notes=notes,
    )


def _never_read(unread: Sequence[str], holdings_read_on: date | None) -> tuple[dict[str, str], list[str]]:
    """Which figures cannot be told because their section was never read well, and what else to say of it.

    An amount of nothing read would be a 0 that nobody has seen.
    """
    reasons: dict[str, str] = {}
    notes = []
    if holdings_read_on is None:
        reasons |= dict.fromkeys(OF_HOLDINGS, "the holdings have never been read")
    elif "holdings" in unread:
        notes.append(f"the holdings are those of {day(holdings_read_on)}, with the trades known since")
    if lines := [section for section in unread if section.startswith("positions:")]:
        reasons["positions_pnl"] = f"not read on that day: {', '.join(lines)}"
    if lists := [section for section in unread if section.startswith("orders:") or section == "fills"]:
        notes.append(f"not read on that day, so there may be more than counted: {', '.join(lists)}")
    return reasons, notes


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


def _why_provisional(read: BatchRow, *, touched: bool) -> str:
    assert read.observed_at is not None
    if read.standing == PROVISIONAL:
        return f"read at {ist_time(read.observed_at)}, before the session closed"
    bad = {
        name: result.reason or result.outcome.value
        for name, result in read.sections.items()
        if result.outcome not in {Outcome.OK, Outcome.NOT_ENTITLED}
    }
    if bad:
        return "not read well: " + "; ".join(f"{name} ({reason})" for name, reason in sorted(bad.items()))
    return "something changed after the day's snapshot" if touched else "the day has not been read completely"


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


# ── for people ──────────────────────────────────────────────────────────────────────────────────────────────────────


def print_summaries(to: Console, summaries: Sequence[Summary]) -> None:
    """Each account in full; more than one also side by side, first."""
    if len(summaries) > 1:
        print_overview(to, summaries)
        to.print()
    for number, summary in enumerate(summaries):
        if number:
            to.print()
        print_summary(to, summary)


def print_overview(to: Console, summaries: Sequence[Summary]) -> None:
    """One line per account."""
    columns = (
        Column("Account"),
        Column("Day", Kind.DAY),
        Column("Standing"),
        Column("Value", Kind.RUPEES),
        Column("Day change", Kind.CHANGE),
        Column("Unrealised P&L", Kind.CHANGE),
        Column("Positions P&L", Kind.CHANGE),
        Column("Cash", Kind.RUPEES),
    )
    names = ("holdings_value", "day_change", "unrealised_pnl", "positions_pnl", "cash")
    rows = [(s.account, s.trading_on, s.standing, *(_figure(s, name) for name in names)) for s in summaries]
    print_table(to, columns, rows)


def print_summary(to: Console, summary: Summary) -> None:
    """One account, a line per figure."""
    print_list(to, [*_worth(summary), *_change(summary), *_trust(summary)], title=_title(summary))
    if summary.reason and summary.standing == PROVISIONAL:
        to.print(f"Provisional: {summary.reason}.")
    if summary.unread_on:
        to.print(f"The trading day {day(summary.unread_on)} has not been read yet.")
    for note in summary.notes:
        to.print(f"Note: {note}.")


def _title(summary: Summary) -> str:
    on = f", {day(summary.trading_on)}" if summary.trading_on else ""
    state = "" if summary.state == "active" else f" (account {summary.state.replace('_', ' ')})"
    revision = f", revision {summary.revision}" if summary.revision and summary.revision > 1 else ""
    return f"{summary.account}{on}, {summary.standing}{revision}{state}"


def _figure(summary: Summary, name: str) -> Value:
    value: Decimal | None = getattr(summary, name)
    if value is not None:
        return value
    return Unknown(summary.unknown.get(name) or summary.reason or "not known")


def _worth(s: Summary) -> list[tuple[Column, Value]]:
    return [
        (Column("Value of holdings", Kind.RUPEES), _figure(s, "holdings_value")),
        (Column("Invested", Kind.RUPEES), _figure(s, "invested")),
        (Column("Unrealised P&L", Kind.CHANGE), _figure(s, "unrealised_pnl")),
        (Column("Positions P&L", Kind.CHANGE), _figure(s, "positions_pnl")),
        (Column("Cash", Kind.RUPEES), _figure(s, "cash")),
        (Column("Margin used", Kind.RUPEES), _figure(s, "margin_used")),
    ]


def _change(s: Summary) -> list[tuple[Column, Value]]:
    pairs: list[tuple[Column, Value]] = [(Column("Day change", Kind.CHANGE), _figure(s, "day_change"))]
    if s.day_change is not None:
        pairs += [
            (Column("  market move", Kind.CHANGE), s.market_move),
            (Column("  net invested", Kind.CHANGE), s.net_invested),
            (Column("  transferred", Kind.CHANGE), s.transferred),
            (Column("  unexplained", Kind.CHANGE), s.unexplained),
        ]
    return pairs


def _trust(s: Summary) -> list[tuple[Column, Value]]:
    if s.trading_on is None:
        return []
    counts = f"{s.holdings_count} holdings, {s.positions_count} open positions, "
    counts += f"{s.orders_count} orders, {s.fills_count} fills"
    pairs: list[tuple[Column, Value]] = [(Column("That day"), counts)]
    if s.holdings_count and s.priced_ratio is not None:
        oldest = f", the oldest price of {day(s.oldest_price_on)}" if s.oldest_price_on else ""
        pairs.append((Column("Priced"), f"{s.priced_ratio * 100:.0f}% of the holdings{oldest}"))
    pairs.append((Column("Read", Kind.INSTANT), s.observed_at))
    return pairs
