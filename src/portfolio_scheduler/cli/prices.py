"""`prices`: closing prices from files, for those without live data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portfolio_scheduler.cli.running import JsonOption, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portfolio_scheduler.domain.tables import BadLine
    from portfolio_scheduler.sync.price_import import Imported

prices = typer.Typer(help="Closing prices from files, for those without live data.", no_args_is_help=True)


@prices.callback()
def group() -> None:
    """A group, however few commands it has."""


@prices.command(name="import")
def import_file(
    file: Annotated[
        Path, typer.Argument(help="A bhavcopy or a table of date, isin or symbol, close; .zip and .gz too.")
    ],
    source: Annotated[
        str | None, typer.Option(help="What to call where it is from. Left out: the exchange, or csv.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad lines out instead of refusing the file.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep the closing prices of a file, all or nothing, and value the days that lacked them anew."""
    from portfolio_scheduler.cli.render import print_json
    from portfolio_scheduler.domain.tables import BadLines
    from portfolio_scheduler.sync.price_import import import_prices

    try:
        done = run(lambda app: import_prices(app, file, source=source, skip_bad=skip_bad))
    except BadLines as error:
        _tell(error.bad, len(error.bad))
        raise
    if as_json:
        print_json(done)
    else:
        _print(done)


def _tell(bad: "Sequence[BadLine]", count: int) -> None:
    from portfolio_scheduler.cli.render import printable

    for line in bad:
        typer.echo(printable(f"line {line.line}: {line.reason}"), err=True)
    if count > len(bad):
        typer.echo(f"… and {count - len(bad)} more", err=True)


def _print(done: "Imported") -> None:
    from portfolio_scheduler.cli.render import day

    days = day(done.first_on) if done.first_on == done.last_on else f"{day(done.first_on)} to {day(done.last_on)}"
    same = done.prices - done.new - done.changed
    typer.echo(f"{done.prices} closing prices of {days}: {done.new} new, {done.changed} changed, {same} known.")
    if done.bad_count:
        typer.echo(f"{done.bad_count} bad lines were left out.")
        _tell(done.bad, done.bad_count)
    for account in done.revalued:
        if account.problem:
            typer.echo(f"{account.account} was not valued anew: {account.problem} Run this command again after it.")
        elif account.days:
            typer.echo(f"{account.account}: valued anew: {', '.join(map(day, account.days))}.")
