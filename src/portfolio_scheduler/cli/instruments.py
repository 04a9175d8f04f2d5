"""`instruments`: which symbol means which ISIN, from when to when, and the corporate actions that link ISINs."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portfolio_scheduler.cli.running import JsonOption, run
from portfolio_scheduler.domain.corporate_actions import ActionKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from portfolio_scheduler.app import App
    from portfolio_scheduler.cli.render import Value
    from portfolio_scheduler.db.instruments import Known
    from portfolio_scheduler.domain.corporate_actions import CorporateAction
    from portfolio_scheduler.sync.instruments import Loaded

instruments = typer.Typer(help="Which symbol means which ISIN, and the actions that link ISINs.", no_args_is_help=True)


@instruments.command()
def load(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A list in Groww's form. Left out: Groww's own, of today.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take in a list of instruments: changed lines only, each with the day from which it holds."""
    from portfolio_scheduler.cli.render import print_json
    from portfolio_scheduler.sync.instruments import load_instruments

    loaded = run(lambda app: load_instruments(app, file, again=True))
    assert loaded is not None
    if as_json:
        print_json(loaded)
    else:
        _print_loaded(loaded)


def _print_loaded(loaded: "Loaded") -> None:
    from portfolio_scheduler.cli.render import printable

    done = loaded.file
    if loaded.unchanged:
        typer.echo(f"The list is the same as the last one: {done.listed} instruments, nothing changed.")
    else:
        typer.echo(
            f"{done.listed} instruments: {done.opened} new names, {done.closed} that no longer hold, "
            f"{done.relabelled} described anew."
        )
    if loaded.bad_count:
        typer.echo(f"{loaded.bad_count} lines cannot be read and were left out:", err=True)
        for bad in loaded.bad:
            typer.echo(printable(f"line {bad.line}: {bad.reason}"), err=True)
    for symbol in loaded.unclear:
        typer.echo(f"{symbol} is listed with two ISINs; what was known of it stays.", err=True)


@instruments.command()
def show(
    name: Annotated[str, typer.Argument(help="A trading symbol or an ISIN.")], as_json: JsonOption = False
) -> None:
    """Print what a symbol or an ISIN means and meant, and the corporate actions it took part in."""
    from portfolio_scheduler.cli.render import print_json

    known, actions = run(lambda app: _known(app, name.strip().upper()))
    if as_json:
        print_json({"instruments": known, "corporate_actions": actions})
    elif known or actions:
        _print_known(known)
        _print_actions(actions)
    else:
        typer.echo(f"{name} is not known; `portfolio-scheduler instruments load` takes in the list of today.")


async def _known(app: "App", word: str) -> "tuple[Sequence[Known], Sequence[CorporateAction]]":
    from portfolio_scheduler.db import corporate_actions
    from portfolio_scheduler.db import instruments as names
    from portfolio_scheduler.db.pool import transaction

    async with transaction(app.pool) as tx:
        known = await names.named(tx, word)
        isins = sorted({word, *(one.isin for one in known if one.isin)})
        actions = {action: None for isin in isins for action in await corporate_actions.of(tx, isin)}
    return known, list(actions)


def _print_known(known: "Sequence[Known]") -> None:
    from portfolio_scheduler.cli.render import Column, Kind, console, print_table

    columns = (
        Column("Exchange"),
        Column("Segment"),
        Column("Symbol"),
        Column("ISIN"),
        Column("Name"),
        Column("From", Kind.DAY),
        Column("Until before", Kind.DAY),
        Column("Lot", Kind.QUANTITY),
        Column("Became"),
    )
    rows: list[list[Value]] = [
        [
            one.exchange,
            one.segment,
            one.trading_symbol,
            one.isin,
            one.name,
            one.from_on,
            one.to_on,
            one.lot_size,
            one.successor_isin,
        ]
        for one in known
    ]
    if rows:
        print_table(console(), columns, rows)


def _print_actions(actions: "Sequence[CorporateAction]") -> None:
    for action in actions:
        typer.echo(in_words(action))


def in_words(action: "CorporateAction") -> str:
    """What an action does, so that a ratio the wrong way round is seen."""
    from portfolio_scheduler.cli.render import day
    from portfolio_scheduler.domain.money import units

    verb = "come with" if action.kind is ActionKind.DEMERGER else "become"
    return (
        f"{action.kind.value} on {day(action.effective_on)}: {units(action.old_units)} of {action.isin} {verb} "
        f"{units(action.new_units)} of {action.new_isin}"
    )


@instruments.command()
def link(
    old_isin: Annotated[str, typer.Argument(help="The ISIN before.")],
    new_isin: Annotated[str, typer.Argument(help="The ISIN after; a bonus keeps it.")],
    on: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The ex-date: prices are new from this day.")],
    kind: Annotated[ActionKind, typer.Option(help="What it is.")],
    ratio: Annotated[
        str, typer.Option(help="Units after : units before. A split of ₹10 into ₹2 is 5:1, a bonus of 1:1 is 2:1.")
    ] = "1:1",
    remove: Annotated[bool, typer.Option("--remove", help="Forget a link made by mistake.")] = False,
) -> None:
    """Say that a corporate action turned one ISIN into another, so that readings that show it are explained by it."""
    from portfolio_scheduler.domain.corporate_actions import make_action
    from portfolio_scheduler.errors import NotFound
    from portfolio_scheduler.sync import instruments as names

    old, new = old_isin.strip().upper(), new_isin.strip().upper()
    if not remove:
        action = make_action(kind, old, new, ratio, on.date())
        run(lambda app: names.link(app, action))
        typer.echo(f"Linked. {in_words(action)}.")
    elif run(lambda app: names.unlink(app, kind, old, new, on.date())):
        typer.echo("Forgotten. What readings wrote down because of it stays.")
    else:
        raise NotFound(f"There is no {kind.value} of {old} into {new} on {on:%Y-%m-%d}.")
