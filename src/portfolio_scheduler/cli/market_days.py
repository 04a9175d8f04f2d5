"""`market-days`: which days the exchange is open, and what it announced beyond the calendar we ship."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portfolio_scheduler.cli.running import JsonOption, run
from portfolio_scheduler.errors import InvalidInput

if TYPE_CHECKING:
    from portfolio_scheduler.app import App
    from portfolio_scheduler.db.market_days import Entry
    from portfolio_scheduler.sync.announcements import Announced

market_days = typer.Typer(help="Which days the exchange is open; enter what it announces.", no_args_is_help=True)

YEAR = timedelta(days=365)

DayArgument = Annotated[datetime, typer.Argument(metavar="DAY", formats=["%Y-%m-%d"], help="The day (2027-01-26).")]
SourceOption = Annotated[str, typer.Option("--source", help="Who says so, such as the number of a circular.")]
ExchangeOption = Annotated[str, typer.Option("--exchange", help="The exchange; NSE and BSE keep the same days.")]


@market_days.command(name="list")
def list_(
    from_: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day. Left out: today.")
    ] = None,
    to: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day. Left out: a year on.")
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Every entry ever made instead, newest first, counting or not.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the days that are not as Monday to Friday are, and how far the calendar reaches."""
    from portfolio_scheduler.cli.render import print_json

    if history:
        _print_history(run(_history), as_json=as_json)
        return
    first, last = (at.date() if at else None for at in (from_, to))
    found = run(lambda app: _listed(app, first, last))
    if as_json:
        print_json(found)
    else:
        _print_days(found)


async def _listed(app: "App", first: date | None, last: date | None) -> "dict[str, object]":
    from portfolio_scheduler.clock import ist_date

    today = ist_date(app.clock.now())
    first = first or today
    last = last or first + YEAR
    if not timedelta(0) <= last - first <= 20 * YEAR:
        raise InvalidInput(f"From {first} to {last}: give a first day and a later one, at most 20 years apart.")
    return {
        "known_until": app.calendar.known_until,
        "warnings": app.calendar.warnings(today),
        "days": [_day(app, on) for n in range((last - first).days + 1) if _is_odd(app, on := first + timedelta(n))],
    }


def _is_odd(app: "App", on: date) -> bool:
    session = app.calendar.session(on)
    weekday = on.weekday() < 5
    return weekday if session is None else not weekday or session.note is not None or session.kind != "session"


def _day(app: "App", on: date) -> "dict[str, object]":
    session = app.calendar.session(on)
    return {
        "day_on": on,
        "kind": session.kind if session else "closed",
        "opens_at": session.opens_at if session else None,
        "closes_at": session.closes_at if session else None,
        "known": app.calendar.is_known(on),
        "note": app.calendar.note(on),
        "entered": app.calendar.is_announced(on),
    }


def _print_days(found: "dict[str, object]") -> None:
    from portfolio_scheduler.cli.render import Column, Kind, console, print_table
    from portfolio_scheduler.clock import IST

    listed = found["days"]
    assert isinstance(listed, list)
    columns = (Column("Day", Kind.DAY), Column("Is"), Column("Hours"), Column("From"), Column("Note"))
    rows = []
    for one in listed:
        opens, closes = (one[name].astimezone(IST) if one[name] else None for name in ("opens_at", "closes_at"))
        hours = f"{opens:%H:%M}–{closes:%H:%M}" if opens and closes else None
        kind = one["kind"] if one["known"] else f"{one['kind']}, not known for sure"
        rows.append((one["day_on"], kind, hours, "entered" if one["entered"] else "shipped", one["note"]))
    print_table(console(), columns, rows)
    typer.echo(f"Known until {found['known_until']}; after that every weekday counts as a session, marked unknown.")
    assert isinstance(found["warnings"], list)
    for warning in found["warnings"]:
        typer.echo(warning, err=True)


async def _history(app: "App") -> "list[Entry]":
    from portfolio_scheduler.db.market_days import history
    from portfolio_scheduler.db.pool import transaction

    async with transaction(app.pool) as tx:
        return await history(tx)


def _print_history(found: "list[Entry]", *, as_json: bool) -> None:
    from portfolio_scheduler.cli.render import Column, Kind, console, print_json, print_table

    if as_json:
        print_json({"entries": found})
        return
    columns = (
        Column("Entered", Kind.INSTANT),
        Column("Exchange"),
        Column("Day", Kind.DAY),
        Column("Says"),
        Column("Counts"),
        Column("Note"),
        Column("Source"),
    )
    rows = [
        (
            one.noted_at,
            one.day.exchange,
            one.day.day_on,
            one.day.kind.replace("_", " "),
            "yes" if one.counts else "no",
            one.day.note,
            one.day.source,
        )
        for one in found
    ]
    print_table(console(), columns, rows)


@market_days.command()
def add(
    day: DayArgument,
    source: SourceOption,
    closed: Annotated[bool, typer.Option("--closed", help="The exchange is closed that day.")] = False,
    opens: Annotated[str | None, typer.Option(help="When the session opens, in India (18:15).")] = None,
    closes: Annotated[str | None, typer.Option(help="When it closes.")] = None,
    note: Annotated[str | None, typer.Option(help="What the day is.")] = None,
    exchange: ExchangeOption = "NSE",
) -> None:
    """Enter what the exchange announced about a day. It counts instead of what was entered before."""
    from portfolio_scheduler.market.day_files import market_day, time_in
    from portfolio_scheduler.sync.announcements import announce

    if closed == bool(opens or closes):
        raise InvalidInput("Say either --closed, or when the session --opens and --closes.")
    entry = market_day(
        day.date(),
        opens=time_in(opens or ""),
        closes=time_in(closes or ""),
        note=note,
        source=source.strip(),
        exchange=exchange,
    )
    _tell(run(lambda app: announce(app, [entry])))


@market_days.command()
def remove(day: DayArgument, source: SourceOption, exchange: ExchangeOption = "NSE") -> None:
    """Withdraw what was entered about a day by mistake; the calendar we ship holds again. The entry stays on record."""
    from portfolio_scheduler.sync.announcements import withdraw

    _tell(run(lambda app: withdraw(app, day.date(), source.strip(), exchange)))


@market_days.command(name="known-until")
def known_until(day: DayArgument, source: SourceOption, exchange: ExchangeOption = "NSE") -> None:
    """Say that everything the exchange announced is entered until this day, so that other weekdays are sessions."""
    from portfolio_scheduler.sync.announcements import announce, reach

    _tell(run(lambda app: announce(app, [reach(day.date(), source.strip(), exchange)])))


@market_days.command(name="import")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="The NSE's list of holidays, or columns date, opens, closes, note, source, exchange.")
    ],
    source: SourceOption,
    known_until: Annotated[
        datetime | None,
        typer.Option("--known-until", formats=["%Y-%m-%d"], help="The list is complete until this day."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Enter all days of a CSV file, all or nothing. A day with hours is a session, one without is closed."""
    from portfolio_scheduler.cli.render import print_json, printable
    from portfolio_scheduler.domain.tables import BadLines
    from portfolio_scheduler.sync.announcements import import_days

    until = known_until.date() if known_until else None
    try:
        done = run(lambda app: import_days(app, file, source=source.strip(), known_until=until))
    except BadLines as error:
        for line in error.bad[:20]:
            typer.echo(printable(f"line {line.line}: {line.reason}"), err=True)
        raise
    if as_json:
        print_json(done)
    else:
        _tell(done)


def _tell(done: "Announced") -> None:
    same = done.days - done.new - done.changed
    typer.echo(f"{done.days} entries: {done.new} new, {done.changed} changed, {same} known.")
    if done.past:
        days = ", ".join(map(str, done.past[:5])) + (" …" if len(done.past) > 5 else "")
        typer.echo(f"Already over: {days}. What was read of it keeps the trading day it was given.", err=True)
    for warning in done.warnings:
        typer.echo(warning, err=True)
