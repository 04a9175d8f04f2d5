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

Day = Annotated[
    datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day (2026-04-24). Left out: a month.")
]
LastDay = Annotated[
    datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day. Left out: the current trading day.")
]


def coverage(
    account: AccountArgument = None, from_: Day = None, to: LastDay = None, as_json: JsonOption = False
) -> None:
    """Print which trading days were read, section by section, and what is missing or lost for good.

    Days before an account was connected are shown when --from asks for them.
    """
    from portfolio_scheduler.cli.render import console, print_json
    from portfolio_scheduler.db.reads.coverage import covered

    first, last = (at.date() if at else None for at in (from_, to))
    if first and last and first > last:
        raise InvalidInput(f"--from {first} is after --to {last}.")
    found, current = run(lambda app: _coverage(app, account, first, last))
    if as_json:
        print_json({"days": [covered(day, current) for day in found]})
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
        found = await read(tx, ids, {session.on: session.closes_at for session in sessions})
    return [day for day in found if day.expected or first is not None], current


def print_coverage(to: "Console", found: "Sequence[CoverageDay]", current: date) -> None:
    """A line for each account and day, a column for each group of sections."""
    from portfolio_scheduler.cli.render import Column, Kind, Value, print_by_account
    from portfolio_scheduler.cli.render import day as shown_day
    from portfolio_scheduler.db.reads.coverage import GROUPS, sections_of, state_of

    columns = (
        Column("Account"),
        Column("Day", Kind.DAY),
        Column("All"),
        *(Column(group.capitalize()) for group in GROUPS),
    )
    rows: list[list[Value]] = []
    for day in found:
        sections = sections_of(day, current)
        cells = [_cell(sections, group) for group in GROUPS]
        rows.append([day.account, day.trading_on, state_of(day, current), *cells])
    print_by_account(to, columns, rows)
    for day in found:
        if asked := asked_in_words(day):
            to.print(f"{day.account}, {shown_day(day.trading_on)}: {asked}", soft_wrap=True)


def asked_in_words(day: "CoverageDay") -> str | None:
    """What was learned of the day's orders after it had ended, and what cannot be learned."""
    asked = len(day.recovered) + len(day.unanswered)
    if not asked:
        return None
    silent = f"; no answer about {', '.join(day.unanswered)}" if day.unanswered else ""
    orders = "order" if asked == 1 else "orders"
    return (
        f"{asked} {orders} open when last seen {'was' if asked == 1 else 'were'} asked for by id on a later day, "
        f"{len(day.recovered)} answered{silent}. Orders placed after that day's last reading cannot be known."
    )


def _cell(sections: dict[str, str], group: str) -> str | None:
    """A group of sections in one word, and which segments differ from the others when not all agree."""
    from portfolio_scheduler.db.reads.coverage import NOT_EXPECTED, WORST_LAST

    states = {
        name: state
        for name, state in sections.items()
        if name.partition(":")[0] == group and (state != NOT_EXPECTED or ":" not in name)
    }
    if not states:
        return NOT_EXPECTED
    if group in states:  # the whole list, such as a day whose orders are lost
        return states[group]
    worst = max(states.values(), key=WORST_LAST.index)
    bad = sorted(name.partition(":")[2] for name, state in states.items() if state == worst)
    return worst if len(bad) == len(states) else f"{worst} ({', '.join(bad)})"
