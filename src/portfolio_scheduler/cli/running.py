"""How a command gets its work done: settings, quiet logs, the product opened, one asynchronous function run in it."""

import os
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
import uvloop

from portfolio_scheduler.clock import Clock, ist_date, make_clock
from portfolio_scheduler.errors import InvalidInput

if TYPE_CHECKING:  # a command line that only prints its help imports no database driver
    from portfolio_scheduler.app import App
    from portfolio_scheduler.db.accounts import Account
    from portfolio_scheduler.settings import Settings

T = TypeVar("T")

# The time that commands go by, when it is not the settings' clock. Tests set it.
clock: ContextVar[Clock | None] = ContextVar("clock", default=None)

NO_ACCOUNTS = "No accounts yet. Connect one with: portfolio-scheduler accounts add --label LABEL"

AccountArgument = Annotated[
    str | None,
    typer.Argument(metavar="[ACCOUNT]", help="Label of an account or beginning of its id. Left out: all accounts."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON: decimals as strings, instants in UTC.")]
AsOfOption = Annotated[
    datetime | None,
    typer.Option("--as-of", formats=["%Y-%m-%d"], help="As it was at the end of this day. Left out: as it is now."),
]
SymbolOption = Annotated[str | None, typer.Option(help="Only this trading symbol.")]


def prepared() -> "Settings":
    """The settings, with logging set up: warnings and worse, unless a level was asked for."""
    from portfolio_scheduler import log
    from portfolio_scheduler.settings import load

    settings = load()
    asked = os.environ.get("PORTFOLIO_SCHEDULER_LOG_LEVEL")
    log.configure(settings.log_level if asked else "warning", settings.log_format)
    return settings


def present(settings: "Settings") -> datetime:
    """The time for a command that needs no database."""
    return (clock.get() or make_clock(settings.clock)).now()


def run(command: "Callable[[App], Awaitable[T]]") -> T:
    """Open the product and run one function in it."""
    return uvloop.run(_run(prepared(), command))


async def _run(settings: "Settings", command: "Callable[[App], Awaitable[T]]") -> T:
    from contextlib import AsyncExitStack

    from portfolio_scheduler.app import running
    from portfolio_scheduler.cli.render import progress

    async with AsyncExitStack() as stack:
        with progress("Opening the database"):  # the first time it is made, after a crash it recovers
            app = await stack.enter_async_context(running(settings, clock.get() or make_clock(settings.clock)))
        return await command(app)


async def chosen(app: "App", reference: str | None) -> "list[Account]":
    """The account that was named, or all that are not closed."""
    from portfolio_scheduler.db import accounts
    from portfolio_scheduler.db.pool import transaction

    async with transaction(app.pool) as tx:
        if reference is not None:
            return [await accounts.find(tx, reference)]
        return [account for account in await accounts.listed(tx) if account.state != "closed"]


async def chosen_then(app: "App", reference: str | None, as_of: datetime | None) -> "tuple[list[Account], date | None]":
    """The chosen accounts, and the day until which facts count. Accounts not yet read by then are left out."""
    from portfolio_scheduler.cli.render import day
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.reads.accounts import first_read

    accounts = await chosen(app, reference)
    if as_of is None:
        return accounts, None
    until_on, today = as_of.date(), app.calendar.trading_on(app.clock.now())
    if until_on > ist_date(app.clock.now()):
        raise InvalidInput(f"--as-of {day(until_on)} lies in the future; the current trading day is {day(today)}.")
    async with transaction(app.pool) as tx:
        first = await first_read(tx, [account.id for account in accounts])
    read = [account for account in accounts if account.id in first and first[account.id] <= until_on]
    if accounts and not read:
        who = repr(accounts[0].label) if len(accounts) == 1 else "any account"
        since = f"the first day read is {day(min(first.values()))}" if first else "nothing has been read yet"
        raise InvalidInput(f"Nothing had been read of {who} by {day(until_on)}; {since}.")
    return read, until_on
