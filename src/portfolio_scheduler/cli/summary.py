"""The summary of an account on the command line: what it is worth, how that came about, what is unknown and why."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from msgspec.structs import replace
from rich.console import Console

from portfolio_scheduler.app import App
from portfolio_scheduler.cli.render import Column, Kind, Unknown, Value, day, print_list, print_table
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.db.reads.summaries import bases
from portfolio_scheduler.domain.completeness import NOTHING, PROVISIONAL
from portfolio_scheduler.domain.summary import Summary, summary_of


async def summarise(app: App, account: Account, *, until_on: date | None = None) -> Summary:
    """The newest that is known of one account, or what is known of the end of a day."""
    [found] = await summaries(app, [account], until_on=until_on)
    return found


async def summaries(app: App, accounts: Sequence[Account], *, until_on: date | None = None) -> list[Summary]:
    """The same of several accounts, in their order."""
    async with transaction(app.pool) as tx:
        found = await bases(tx, [account.id for account in accounts], until_on=until_on)
    told = {one.account_id: summary_of(one, app.calendar, app.clock.now(), until_on) for one in found}
    return [_with_advice(told[account.id]) for account in accounts]


def _with_advice(summary: Summary) -> Summary:
    if summary.standing != NOTHING:
        return summary
    reason = f"{summary.reason}; run `portfolio-scheduler sync {summary.account}`"
    return replace(summary, reason=reason, unknown=dict.fromkeys(summary.unknown, reason))


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
