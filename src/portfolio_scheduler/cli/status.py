"""`status`: is everything in order?"""

from typing import TYPE_CHECKING

import typer

from portfolio_scheduler.cli.running import NO_ACCOUNTS, AccountArgument, JsonOption, chosen, run

if TYPE_CHECKING:
    from portfolio_scheduler.app import App
    from portfolio_scheduler.cli.standing import Standing
    from portfolio_scheduler.db import instrument_loading
    from portfolio_scheduler.db.notices import Notice
    from portfolio_scheduler.db.reads.accounts import FindingRow


def status(account: AccountArgument = None, as_json: JsonOption = False) -> None:
    """Print where each account stands: last expected and done, next due, login, what is at risk, missing or odd."""
    from portfolio_scheduler.cli.render import console, print_json

    found, findings, noticed, trouble = run(lambda app: _status(app, account))
    if as_json:
        print_json({"accounts": found, "findings": findings, "notices": noticed, "instruments": trouble})
    elif not found:
        typer.echo(NO_ACCOUNTS)
    else:
        from portfolio_scheduler.cli.standing import print_status

        print_status(console(), found, findings, noticed)
        if trouble is not None:
            times = f"{trouble.failures} times"
            typer.echo(f"The list of instruments could not be taken in ({times}): {trouble.error_text}")


async def _status(
    app: "App", account: str | None
) -> "tuple[list[Standing], list[FindingRow], list[Notice], instrument_loading.Trouble | None]":
    from portfolio_scheduler.cli.standing import standings
    from portfolio_scheduler.db import instrument_loading
    from portfolio_scheduler.db.notices import open_notices
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.reads import accounts as reads

    ids = [one.id for one in await chosen(app, account)]
    async with transaction(app.pool) as tx:
        found = await standings(app, tx, ids)
        noticed = await open_notices(tx, ids, app.clock.now())
        return found, await reads.open_findings(tx, ids), noticed, await instrument_loading.trouble(tx)
