"""`sync`: read accounts at their brokers now."""

from typing import TYPE_CHECKING, Annotated

import typer

from portfolio_scheduler.cli.running import NO_ACCOUNTS, JsonOption, chosen, run
from portfolio_scheduler.errors import InvalidInput

if TYPE_CHECKING:
    from uuid import UUID

    from portfolio_scheduler.app import App
    from portfolio_scheduler.cli.render import Bar
    from portfolio_scheduler.cli.syncing import Outcome

AT_ONCE = 4
ALL_PAUSED = (
    "All accounts are paused. Name one to read it all the same, or: portfolio-scheduler accounts resume ACCOUNT"
)


def sync(
    accounts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ACCOUNT]...", help="Labels or beginnings of ids. Left out: all that are not paused."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All accounts; the same as naming none.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Only what is missing from the last sync of the current trading day.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read accounts at their brokers now and write down what changed. Exit code 1 if one failed, wholly or in part."""
    if accounts and everything:
        raise InvalidInput("Name accounts or give --all, not both.")
    outcomes = run(lambda app: _sync(app, accounts or [None], retry=retry, quiet=as_json))
    if as_json:
        from portfolio_scheduler.cli.render import print_json

        print_json({"syncs": outcomes})
    elif not outcomes:
        typer.echo(NO_ACCOUNTS)
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(1)


async def _sync(app: "App", named: "list[str] | list[None]", *, retry: bool, quiet: bool) -> "list[Outcome]":
    """At most four accounts at once; one that fails does not keep the others from being read."""
    import asyncio

    from portfolio_scheduler.cli.render import progress
    from portfolio_scheduler.cli.syncing import sync_one

    open_ones = {account.id: account for one in named for account in await chosen(app, one)}
    found = {id_: one for id_, one in open_ones.items() if named != [None] or one.state != "paused"}
    if open_ones and not found:
        typer.echo(ALL_PAUSED, err=True)
        raise typer.Exit(0)
    turns = asyncio.Semaphore(AT_ONCE)

    async def in_turn(account_id: "UUID", bar: "Bar") -> "Outcome":
        async with turns:
            outcome = await sync_one(app, found[account_id], retry=retry)
        bar.advance()
        if not quiet:
            typer.echo(outcome.line)
        return outcome

    with progress("Syncing", total=len(found)) as bar:
        outcomes = await asyncio.gather(*(in_turn(account_id, bar) for account_id in found), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
