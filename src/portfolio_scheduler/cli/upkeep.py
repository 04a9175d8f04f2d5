"""`replay`, `rebuild`, `checks`: correct what was misunderstood, restore what was derived, and see that all is true."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from portfolio_scheduler.cli.running import NO_ACCOUNTS, AccountArgument, JsonOption, chosen, run
from portfolio_scheduler.errors import InvalidInput

if TYPE_CHECKING:
    from portfolio_scheduler.app import App
    from portfolio_scheduler.checks import Problem
    from portfolio_scheduler.sync.replay import Replayed


def replay(
    batch: Annotated[
        str | None, typer.Argument(metavar="[BATCH]", help="Id of a sync, or its beginning: this one and all later.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option("--since", formats=["%Y-%m-%d"], help="All syncs of this trading day and later.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="With --since: only this account, by its label or beginning of its id.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read the kept answers of earlier syncs again, and correct what is understood differently now."""
    from portfolio_scheduler.cli.render import print_json, printable

    if (batch is None) == (since is None) or (batch is not None and account is not None):
        raise InvalidInput("Give the id of a sync, or --since DATE with or without --account.")
    done = run(lambda app: _replay(app, batch, since, account))
    if as_json:
        print_json({"replays": done})
    elif not done:
        typer.echo(NO_ACCOUNTS)
    else:
        for one in done:
            typer.echo(f"{printable(one.account)}: {_in_words(one)}")
            for reason in one.skipped:
                typer.echo(f"  {printable(reason)}")


async def _replay(app: "App", batch: str | None, since: datetime | None, reference: str | None) -> "list[Replayed]":
    from portfolio_scheduler.db import batches
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.sync.replay import replay as replay_account

    if batch is not None:
        async with transaction(app.pool) as tx:
            batch_id, account_id = await batches.find(tx, batch)
        return [await replay_account(app, account_id, batch_id=batch_id)]
    assert since is not None
    accounts = await chosen(app, reference)
    return [await replay_account(app, account.id, since_on=since.date()) for account in accounts]


def _in_words(one: "Replayed") -> str:
    from portfolio_scheduler.cli.render import day

    words = f"{_counted(one.batches, 'sync')} read again; "
    if not (one.voided or one.added or one.rereadings or one.prices or one.snapshots):
        return words + "nothing to correct"
    parts = [
        f"{_counted(one.voided, 'fact')} voided, {one.added} in their place or new" if one.voided or one.added else "",
        f"{_counted(one.rereadings, 'sync')} with another outcome" if one.rereadings else "",
        f"{_counted(one.prices, 'price')} corrected" if one.prices else "",
        f"new revision of {', '.join(map(day, one.snapshots))}" if one.snapshots else "",
    ]
    return words + "; ".join(filter(None, parts))


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def rebuild(account: AccountArgument = None, as_json: JsonOption = False) -> None:
    """Write the tables that follow from the ledger anew: what is known now of orders, holdings and positions."""
    from portfolio_scheduler.cli.render import print_json, printable

    done = run(lambda app: _rebuild(app, account))
    if as_json:
        print_json({"rebuilt": [{"account": label, "rows": rows} for label, rows in done]})
    elif not done:
        typer.echo(NO_ACCOUNTS)
    else:
        for label, rows in done:
            words = ", ".join(f"{count} in {table}" for table, count in rows.items())
            typer.echo(f"{printable(label)}: rebuilt; {words}")


async def _rebuild(app: "App", reference: str | None) -> "list[tuple[str, dict[str, int]]]":
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.rebuilding import rebuild as rebuild_account

    done = []
    for account in await chosen(app, reference):
        async with transaction(app.pool) as tx:
            done.append((account.label, await rebuild_account(tx, account.id)))
    return done


def checks(account: AccountArgument = None, as_json: JsonOption = False) -> None:
    """Check that the ledger and what follows from it, the days and the calendar are right. Exit code 1 if not."""
    from portfolio_scheduler.cli.render import print_json

    count, problems = run(lambda app: _checks(app, account))
    if as_json:
        print_json({"problems": problems})
    elif not problems:
        typer.echo(f"Nothing is wrong ({_counted(count, 'account')} checked).")
    else:
        _print_problems(problems)
    if problems:
        raise typer.Exit(1)


async def _checks(app: "App", reference: str | None) -> "tuple[int, list[Problem]]":
    from portfolio_scheduler.checks import check

    accounts = await chosen(app, reference)
    return len(accounts), await check(app, accounts)


def _print_problems(problems: "list[Problem]") -> None:
    from portfolio_scheduler.cli.render import printable

    for problem in problems:
        who = f"{problem.account}: " if problem.account else ""
        where = f" [{problem.where}]" if problem.where else ""
        typer.echo(printable(f"{who}{problem.check}: {problem.what}{where}"))
        typer.echo(printable(f"  → {problem.remedy}"))
