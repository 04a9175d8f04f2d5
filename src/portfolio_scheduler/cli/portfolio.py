"""`summary`, `holdings`, `positions`, `snapshots`: what there is and what it is worth."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from portfolio_scheduler.cli.running import (
    NO_ACCOUNTS,
    AccountArgument,
    AsOfOption,
    JsonOption,
    chosen,
    chosen_then,
    run,
)

if TYPE_CHECKING:
    from decimal import Decimal

    from portfolio_scheduler.app import App
    from portfolio_scheduler.cli.render import Value
    from portfolio_scheduler.db.pool import Tx
    from portfolio_scheduler.db.reads.holdings import HoldingRow
    from portfolio_scheduler.db.reads.positions import PositionRow
    from portfolio_scheduler.db.reads.snapshots import SnapshotRow
    from portfolio_scheduler.domain.summary import Summary


def summary(account: AccountArgument = None, as_of: AsOfOption = None, as_json: JsonOption = False) -> None:
    """Print what each account is worth, how that changed today, and what is unknown and why."""
    from portfolio_scheduler.cli.render import console, print_json
    from portfolio_scheduler.cli.summary import print_summaries

    found = run(lambda app: _summaries(app, account, as_of))
    if as_json:
        print_json({"accounts": found})
    elif not found:
        typer.echo(NO_ACCOUNTS)
    else:
        print_summaries(console(), found)


async def _summaries(app: "App", account: str | None, as_of: datetime | None) -> "list[Summary]":
    from portfolio_scheduler.cli.summary import summaries

    accounts, until_on = await chosen_then(app, account, as_of)
    return await summaries(app, accounts, until_on=until_on)


def holdings(account: AccountArgument = None, as_of: AsOfOption = None, as_json: JsonOption = False) -> None:
    """Print the shares held now, today's delivery trades included, each counted once."""
    from portfolio_scheduler.cli.render import print_json

    has_accounts, found = run(lambda app: _holdings(app, account, as_of))
    if as_json:
        print_json({"holdings": found})
    elif not has_accounts:
        typer.echo(NO_ACCOUNTS)
    elif not found:
        typer.echo("Nothing is held, as far as has been read; `portfolio-scheduler status` says how far that is.")
    else:
        _print_holdings(found)


async def _holdings(app: "App", account: str | None, as_of: datetime | None) -> "tuple[bool, list[HoldingRow]]":
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.reads import holdings as reads

    accounts, until_on = await chosen_then(app, account, as_of)
    async with transaction(app.pool) as tx:
        found = await reads.holdings(tx, [one.id for one in accounts], until_on=until_on)
        return bool(accounts), await _with_early_prices(app, tx, found, until_on)


async def _with_early_prices(
    app: "App", tx: "Tx", found: "list[HoldingRow]", until_on: date | None
) -> "list[HoldingRow]":
    """The same, each price that was read before the close of its day marked: it is no closing price."""
    from msgspec.structs import replace

    from portfolio_scheduler.db import prices
    from portfolio_scheduler.domain.valuation import marked

    today = app.calendar.trading_on(app.clock.now())
    newest = await prices.newest(tx, {row.isin for row in found}, until_on or today)
    points = marked(newest, today, app.calendar.session, app.clock.now())
    return [
        replace(row, early_at=point.early_at)
        if (point := points.get(row.isin)) is not None and (point.price, point.priced_on) == (row.price, row.priced_on)
        else row
        for row in found
    ]


def _print_holdings(found: "list[HoldingRow]") -> None:
    from portfolio_scheduler.cli.render import Column, Kind, Unknown, console, ist_time, print_by_account, printable

    def known(value: "Decimal | None", row: "HoldingRow") -> "Value":
        return Unknown("; ".join(row.reasons) or "not known") if value is None else value

    columns = (
        Column("Account"),
        Column("Symbol"),
        Column("Quantity", Kind.QUANTITY),
        Column("of it T1", Kind.QUANTITY),
        Column("Average", Kind.RUPEES),
        Column("Price", Kind.RUPEES),
        Column("of", Kind.DAY),
        Column("Value", Kind.RUPEES),
        Column("Unrealised P&L", Kind.CHANGE),
    )
    print_by_account(
        console(),
        columns,
        [
            (
                row.account,
                row.trading_symbol + (" ?" if row.basis == "unexplained" else ""),
                row.quantity,
                row.t1_quantity or None,
                known(row.average_price, row),
                known(row.price, row),
                row.priced_on,
                known(row.value, row),
                known(row.unrealised_pnl, row),
            )
            for row in found
        ],
    )
    for account, read_at in dict.fromkeys((row.account, row.read_at) for row in found):
        if read_at is not None:
            typer.echo(f"{printable(account)}: as read on {ist_time(read_at)}")
    if any(row.basis == "unexplained" for row in found):
        typer.echo("? the quantity is not explained by what was held and traded")
    if early := sorted({row.trading_symbol for row in found if row.early_at is not None}):
        typer.echo(f"Read before the close, no closing price yet: {', '.join(printable(one) for one in early)}")


def positions(account: AccountArgument = None, as_of: AsOfOption = None, as_json: JsonOption = False) -> None:
    """Print the positions as last read, with their profit or loss."""
    from portfolio_scheduler.cli.render import print_json

    has_accounts, found = run(lambda app: _positions(app, account, as_of))
    if as_json:
        print_json({"positions": found})
    elif not has_accounts:
        typer.echo(NO_ACCOUNTS)
    elif not found:
        typer.echo("No positions, as far as has been read; `portfolio-scheduler status` says how far that is.")
    else:
        _print_positions(found)


async def _positions(app: "App", account: str | None, as_of: datetime | None) -> "tuple[bool, list[PositionRow]]":
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.reads import positions as reads

    accounts, until_on = await chosen_then(app, account, as_of)
    async with transaction(app.pool) as tx:
        return bool(accounts), await reads.positions(tx, [one.id for one in accounts], until_on=until_on)


def _print_positions(found: "list[PositionRow]") -> None:
    from portfolio_scheduler.cli.render import Column, Kind, Unknown, console, print_by_account

    columns = (
        Column("Account"),
        Column("Day", Kind.DAY),
        Column("Symbol"),
        Column("Product"),
        Column("Net", Kind.QUANTITY),
        Column("Bought", Kind.QUANTITY),
        Column("Sold", Kind.QUANTITY),
        Column("Entry", Kind.RUPEES),
        Column("Price", Kind.RUPEES),
        Column("Realised", Kind.CHANGE),
        Column("P&L", Kind.CHANGE),
    )
    print_by_account(
        console(),
        columns,
        [
            (
                row.account,
                row.trading_on,
                row.trading_symbol,
                row.product,
                row.quantity,
                row.credit_quantity or None,
                row.debit_quantity or None,
                row.net_price if row.quantity else None,
                row.price,
                row.realised_pnl,
                Unknown(row.reason or "not known") if row.pnl is None else row.pnl,
            )
            for row in found
        ],
    )
    if any(row.is_delivery for row in found):
        typer.echo("CNC lines are counted with the holdings; the summary's positions P&L leaves them out.")


def snapshots(
    account: AccountArgument = None,
    revisions: Annotated[bool, typer.Option("--revisions", help="Every revision, not only each day's newest.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Print the valued portfolio of each trading day, newest first, with its change from the day before."""
    from portfolio_scheduler.cli.render import print_json

    has_accounts, found = run(lambda app: _snapshots(app, account, revisions=revisions, limit=limit))
    if as_json:
        print_json({"snapshots": found})
    elif not has_accounts:
        typer.echo(NO_ACCOUNTS)
    elif not found:
        typer.echo("No snapshots yet. The first complete sync after the close of a trading day (15:30) makes one.")
    else:
        _print_snapshots(found, revisions=revisions)


async def _snapshots(
    app: "App", account: str | None, *, revisions: bool, limit: int
) -> "tuple[bool, list[SnapshotRow]]":
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.reads import snapshots as reads

    accounts = await chosen(app, account)
    async with transaction(app.pool) as tx:
        ids = [one.id for one in accounts]
        return bool(accounts), await reads.snapshots(tx, ids, revisions=revisions, limit=limit)


def _print_snapshots(found: "list[SnapshotRow]", *, revisions: bool) -> None:
    from portfolio_scheduler.cli.render import Column, Kind, console, print_by_account

    columns = [
        Column("Account"),
        Column("Day", Kind.DAY),
        Column("Value", Kind.RUPEES),
        Column("Day change", Kind.CHANGE),
        Column("market", Kind.CHANGE),
        Column("invested", Kind.CHANGE),
        Column("unexplained", Kind.CHANGE),
        Column("Unrealised", Kind.CHANGE),
        Column("Positions P&L", Kind.CHANGE),
        Column("Cash", Kind.RUPEES),
        Column("Priced"),
        Column("Rev.", Kind.QUANTITY),
        Column("Reason"),
    ]
    left_out = set() if revisions else {"Rev.", "Reason"}
    if not any(row.unexplained for row in found):
        left_out.add("unexplained")  # room for what there is to say
    if all(row.priced_ratio == 1 for row in found):
        left_out.add("Priced")
    kept = [n for n, column in enumerate(columns) if column.title not in left_out]
    rows = [[cells[n] for n in kept] for cells in map(_snapshot_cells, found)]
    print_by_account(console(), [columns[n] for n in kept], rows)


def _snapshot_cells(row: "SnapshotRow") -> "list[Value]":
    from portfolio_scheduler.cli.render import Unknown

    notes = Unknown("; ".join(row.details.get("notes", [])) or "not known")
    return [
        row.account,
        row.trading_on,
        row.holdings_value,
        Unknown(row.day_change_reason) if row.day_change_reason else row.day_change,
        row.market_move,
        row.net_invested,
        row.unexplained,
        notes if row.unrealised_pnl is None else row.unrealised_pnl,
        notes if row.positions_pnl is None else row.positions_pnl,
        Unknown("the broker did not say") if row.cash is None else row.cash,
        f"{row.priced_ratio * 100:.0f}%",
        row.revision,
        row.reason,
    ]
