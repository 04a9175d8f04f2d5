"""`status`: is everything in order?"""

from typing import TYPE_CHECKING

import typer

from portfolio_scheduler.cli.running import NO_ACCOUNTS, AccountArgument, JsonOption, chosen, run

if TYPE_CHECKING:
    from portfolio_scheduler.app import App
    from portfolio_scheduler.cli.standing import Status


def status(account: AccountArgument = None, as_json: JsonOption = False) -> None:
    """Print where each account stands: last expected and done, next due, login, what is at risk, missing or odd."""
    from portfolio_scheduler.cli.render import console, print_json

    found = run(lambda app: _status(app, account))
    if as_json:
        print_json(found)
        return
    if not found.accounts:
        typer.echo(NO_ACCOUNTS)
    else:
        from portfolio_scheduler.cli.standing import print_status

        print_status(console(), found.accounts, found.findings, found.notices)
        if (trouble := found.instruments) is not None:
            times = f"{trouble.failures} times"
            typer.echo(f"The list of instruments could not be taken in ({times}): {trouble.error_text}")
    for warning in found.warnings:
        typer.echo(warning)


async def _status(app: "App", account: str | None) -> "Status":
    from portfolio_scheduler.cli.standing import Status, standings
    from portfolio_scheduler.db import instrument_loading
    from portfolio_scheduler.db.notices import open_notices
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.reads import accounts as reads

    ids = [one.id for one in await chosen(app, account)]
    async with transaction(app.pool) as tx:
        return Status(
            accounts=await standings(app, tx, ids),
            findings=await reads.open_findings(tx, ids),
            notices=await open_notices(tx, ids, app.clock.now()),
            instruments=await instrument_loading.trouble(tx),
            warnings=_warnings(app),
        )


def _warnings(app: "App") -> list[str]:
    """What somebody should see to, although everything works: the calendar's end, an old key."""
    from portfolio_scheduler import keyring
    from portfolio_scheduler.clock import ist_date

    now = app.clock.now()
    old = (keyring.too_old(key, now) for key in keyring.read_sealing(app.settings).keys)
    return [*app.calendar.warnings(ist_date(now)), *filter(None, old)]
