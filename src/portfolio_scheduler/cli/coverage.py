"""`coverage`: which days do we have?"""

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from portfolio_scheduler.cli.running import NO_ACCOUNTS, AccountArgument, JsonOption, chosen, run
from portfolio_scheduler.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from portfolio_scheduler.app import App
    from portfolio_scheduler.db.reads.coverage import CoverageDay

DAYS = 30  # calendar days back, unless --from says otherwise
MISSING, NOT_YET = "missing", "not yet"
GROUPS = ("holdings", "positions", "orders", "fills", "margin", "prices")
WORST_LAST = ("complete", "imported", "late", "provisional", "partial", "lost")

Day = Annotated[
    datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day (2026-04-24). Left out: a month.")
]
LastDay = Annotated[
    datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day. Left out: the current trading day.")
]


def coverage(
    account: AccountArgument = None, from_: Day = None, to: LastDay = None, as_json: JsonOption = False
) -> None:
    """Print which trading days were read, section by section. A day without any reading is shown as missing."""
    from portfolio_scheduler.cli.render import console, print_json

    first, last = (at.date() if at else None for at in (from_, to))
    if first and last and first > last:
        raise InvalidInput(f"--from {first} is after --to {last}.")
    found, current = run(lambda app: _coverage(app, account, first, last))
    if as_json:
        print_json({"days": [_entry(day, current) for day in found]})
    elif not found:
        typer.echo(NO_ACCOUNTS if account is None else "No trading day of this account in that time.")
    else:
        print_coverage(console(), found, current)


async def _coverage(
    app: "App", account: str | None, first: date | None, last: date | None
) -> "tuple[list[CoverageDay], date]":
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.reads.coverage import coverage as read

    current = app.calendar.trading_on(app.clock.now())
    until = min(last or current, current)
    sessions = app.calendar.sessions(first or until - timedelta(days=DAYS), until)
    ids = [one.id for one in await chosen(app, account)]
    async with transaction(app.pool) as tx:
        return await read(tx, ids, {session.on: session.closes_at for session in sessions}), current


def _entry(day: "CoverageDay", current: date) -> dict[str, object]:
    return {
        "account": day.account,
        "account_id": day.account_id,
        "trading_on": day.trading_on,
        "state": _state(day, current),
        "sections": dict(sorted(day.sections.items())),
    }


def _state(day: "CoverageDay", current: date) -> str:
    """The day in one word: that of its worst section."""
    if not day.sections:
        return NOT_YET if day.trading_on == current else MISSING
    return max(day.sections.values(), key=WORST_LAST.index)


def print_coverage(to: "Console", found: "Sequence[CoverageDay]", current: date) -> None:
    """A line for each account and day, a column for each group of sections."""
    from portfolio_scheduler.cli.render import Column, Kind, Value, print_by_account

    columns = (
        Column("Account"),
        Column("Day", Kind.DAY),
        Column("All"),
        *(Column(group.capitalize()) for group in GROUPS),
    )
    rows: list[list[Value]] = [
        [day.account, day.trading_on, _state(day, current), *(_cell(day, group) for group in GROUPS)] for day in found
    ]
    print_by_account(to, columns, rows)


def _cell(day: "CoverageDay", group: str) -> str | None:
    """A group of sections in one word, and which segments differ from the others when not all agree."""
    states = {name: state for name, state in day.sections.items() if name.partition(":")[0] == group}
    if not states:
        return None
    if group in states:  # the whole list, such as a day whose orders are lost
        return states[group]
    worst = max(states.values(), key=WORST_LAST.index)
    bad = sorted(name.partition(":")[2] for name, state in states.items() if state == worst)
    return worst if len(bad) == len(states) else f"{worst} ({', '.join(bad)})"
