"""`schedules`: when each account is read."""

from typing import TYPE_CHECKING, Annotated

import typer

from portfolio_scheduler.cli.accounts import OneAccount
from portfolio_scheduler.cli.running import NO_ACCOUNTS, AccountArgument, JsonOption, chosen, run
from portfolio_scheduler.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import date, datetime

    from portfolio_scheduler.app import App
    from portfolio_scheduler.db.accounts import Account
    from portfolio_scheduler.domain.schedule import Schedule
    from portfolio_scheduler.market.timetables import Run

schedules = typer.Typer(help="When each account is read: look, set, and see what comes of it.", no_args_is_help=True)

PAUSED = "{}: is paused; none of this happens until `accounts resume`."
UNREAD = (
    "{}: no run falls between the close and midnight of {}. Whatever happens after the last run of a day is lost; add "
    "one, or the late pass."
)


@schedules.command()
def show(account: AccountArgument = None, as_json: JsonOption = False) -> None:
    """Print the schedules of each account, its late pass, and when it is due next."""
    from portfolio_scheduler.cli.render import Column, Kind, console, print_json, print_table

    found = run(lambda app: _shown(app, account))
    if as_json:
        print_json({"accounts": found})
        return
    if not found:
        typer.echo(NO_ACCOUNTS)
        return
    columns = (Column("Account"), Column("Schedules"), Column("Late pass"), Column("Next due", Kind.INSTANT))
    rows = [
        (str(one["account"]), _in_words(one["schedules"]), str(one["late_pass_at"] or "off"), one["next_due_at"])
        for one in found
    ]
    print_table(console(), columns, rows)  # type: ignore[arg-type]
    for one in found:
        if one["problem"]:
            typer.echo(f"{one['account']}: the default holds instead: {one['problem']}", err=True)


def _in_words(listed: object) -> str:
    assert isinstance(listed, list)
    return "; ".join(f"{one.get('cron')} {one.get('timezone', '')}".strip() for one in listed) or "none"


async def _shown(app: "App", account: str | None) -> "list[dict[str, object]]":
    return [await _one(app, one) for one in await chosen(app, account)]


async def _one(app: "App", account: "Account") -> "dict[str, object]":
    from portfolio_scheduler.domain.schedule import kept
    from portfolio_scheduler.sync.schedules import runs

    _, problem = kept(account.schedules)
    due: datetime | None = None
    if account.state in {"active", "needs_login"}:
        due = next((each.at for each in await runs(app, account, 1)), None)
    late = "23:56" if "COMMODITY" in account.segments else "23:15"
    return {
        "account": account.label,
        "account_id": account.id,
        "state": account.state,
        "schedules": account.schedules,
        "problem": problem,  # why the default holds instead
        "late_pass": account.late_pass,
        "late_pass_at": f"{late} IST" if account.late_pass else None,
        "next_due_at": due,
    }


@schedules.command(name="set")
def set_(
    account: OneAccount,
    cron: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CRON]...",
            help="Cron expressions of five fields, quoted, each with a time zone behind it unless it is India's: "
            '"0 16 * * 1-5", "30 8 * * 1-5 Europe/London". They take the place of those the account has.',
        ),
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Back to 16:00 IST from Monday to Friday.")] = False,
    late_pass: Annotated[
        bool | None,
        typer.Option("--late-pass/--no-late-pass", help="Read it late every evening, too. Left out: as it was."),
    ] = None,
) -> None:
    """Set when an account is read. Nothing is changed if one of the schedules cannot be understood."""
    chosen_ = _chosen_schedules(cron or [], default=default)
    if chosen_ is None and late_pass is None:
        raise InvalidInput(
            'Say what to set: a schedule such as "0 16 * * 1-5", --default, --late-pass or --no-late-pass.'
        )
    after, changed, unread, coming = run(lambda app: _set(app, account, chosen_, late_pass=late_pass))
    late = "with" if after.late_pass else "without"
    typer.echo(f"{after.label}: {'' if changed else 'as it was: '}{_in_words(after.schedules)}, {late} the late pass.")
    _warn(after, unread)
    if coming and after.state != "paused":
        _print_next(coming[0])


def _chosen_schedules(cron: "list[str]", *, default: bool) -> "list[Schedule] | None":
    from portfolio_scheduler.domain.schedule import DEFAULT, read

    if default and cron:
        raise InvalidInput("Give schedules or --default, not both.")
    return [DEFAULT] if default else [read(text) for text in cron] or None


async def _set(
    app: "App", account: str, listed: "list[Schedule] | None", *, late_pass: bool | None
) -> "tuple[Account, bool, date | None, list[Run]]":
    from portfolio_scheduler.sync.schedules import runs, set_schedules, unread_close

    [one] = await chosen(app, account)
    after, changed = await set_schedules(app, one.id, listed, late_pass=late_pass)
    return after, changed, unread_close(app, after), await runs(app, after, 1)


def _print_next(one: "Run") -> None:
    from portfolio_scheduler.cli.render import ist_time

    typer.echo(f"Next: {ist_time(one.at)} ({one.reason.value}).")


def _warn(account: "Account", unread: "date | None") -> None:
    from portfolio_scheduler.cli.render import day

    if unread is not None:
        typer.echo(UNREAD.format(account.label, day(unread)), err=True)
    if account.state == "paused":
        typer.echo(PAUSED.format(account.label), err=True)


@schedules.command()
def preview(
    account: OneAccount,
    count: Annotated[int, typer.Option("--count", min=1, max=1000, help="How many runs.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Print the next runs of an account, each with its reason and the trading day it will read."""
    from portfolio_scheduler.cli.render import Column, Kind, console, print_json, print_table

    one, coming, unread = run(lambda app: _preview(app, account, count))
    if as_json:
        print_json(
            {"account": one.label, "account_id": one.id, "state": one.state, "unread_close_on": unread, "runs": coming}
        )
        return
    columns = (
        Column("Run", Kind.INSTANT),
        Column("Why"),
        Column("Reads", Kind.DAY),
        Column("As"),
        Column("That day at the exchange"),
    )
    print_table(
        console(), columns, [(each.at, each.reason.value, each.trading_on, each.standing, each.note) for each in coming]
    )
    _warn(one, unread)


async def _preview(app: "App", account: str, count: int) -> "tuple[Account, list[Run], date | None]":
    from portfolio_scheduler.sync.ownership import checked_open
    from portfolio_scheduler.sync.schedules import runs, unread_close

    [one] = await chosen(app, account)
    return checked_open(one), await runs(app, one, count), unread_close(app, one)
