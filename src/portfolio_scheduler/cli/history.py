"""`orders`, `changes`, `fills`: what was ordered, what became of it, and when."""

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from portfolio_scheduler.cli.running import (
    NO_ACCOUNTS,
    AccountArgument,
    AsOfOption,
    JsonOption,
    SymbolOption,
    chosen,
    chosen_then,
    run,
)
from portfolio_scheduler.errors import InvalidInput

if TYPE_CHECKING:
    from portfolio_scheduler.app import App
    from portfolio_scheduler.db.reads.changes import ChangeRow
    from portfolio_scheduler.db.reads.orders import FillRow, OrderRow

DateOption = Annotated[
    datetime | None,
    typer.Option("--date", formats=["%Y-%m-%d"], help="Of this trading day. Left out: of the current one."),
]
AllOption = Annotated[bool, typer.Option("--all", help="Of all days.")]
LimitOption = Annotated[int, typer.Option(min=1, help="At most so many, the newest.")]


def _day(app: "App", on: datetime | None, *, every_day: bool, until_on: date | None = None) -> date | None:
    if every_day:
        return None
    if until_on is not None and on is None:
        return app.calendar.previous(until_on + timedelta(days=1))
    return on.date() if on else app.calendar.trading_on(app.clock.now())


def _refuse_both(on: datetime | None, *, every_day: bool) -> None:
    if on and every_day:
        raise InvalidInput("--date and --all contradict each other; give one of them.")


def _print_none(what: str, on: date | None) -> None:
    from portfolio_scheduler.cli.render import day

    where = f" on {day(on)}" if on else ""
    more = f" `portfolio-scheduler {what} --all` shows those of other days." if on else ""
    typer.echo(f"No such {what} known{where}.{more}")


def orders(
    account: AccountArgument = None,
    on: DateOption = None,
    every_day: AllOption = False,
    symbol: SymbolOption = None,
    status: Annotated[str | None, typer.Option(help="Only this status, e.g. OPEN, EXECUTED, CANCELLED.")] = None,
    limit: LimitOption = 200,
    as_of: AsOfOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the orders of a trading day as last known, or as they stood at the end of a day, newest first."""
    from portfolio_scheduler.cli.render import print_json

    _refuse_both(on, every_day=every_day)

    async def read(app: "App") -> "tuple[bool, date | None, list[OrderRow]]":
        from portfolio_scheduler.db.pool import transaction
        from portfolio_scheduler.db.reads import orders as reads

        accounts, until_on = await chosen_then(app, account, as_of)
        day = _day(app, on, every_day=every_day, until_on=until_on)
        async with transaction(app.pool) as tx:
            ids = [one.id for one in accounts]
            found = await reads.orders(tx, ids, on=day, symbol=symbol, status=status, limit=limit, until_on=until_on)
        return bool(accounts), day, found

    has_accounts, day, found = run(read)
    if as_json:
        print_json({"orders": found})
    elif not has_accounts:
        typer.echo(NO_ACCOUNTS)
    elif not found:
        _print_none("orders", day)
    else:
        _print_orders(found)


def _print_orders(found: "list[OrderRow]") -> None:
    from portfolio_scheduler.cli.render import Column, Kind, console, print_by_account

    columns = (
        Column("Account"),
        Column("Placed", Kind.INSTANT),
        Column("Symbol"),
        Column("Side"),
        Column("Product"),
        Column("Type"),
        Column("Status"),
        Column("Quantity", Kind.QUANTITY),
        Column("Filled", Kind.QUANTITY),
        Column("Price", Kind.RUPEES),
        Column("Average fill", Kind.RUPEES),
        Column("Order"),
    )
    rows = [
        (
            row.account,
            row.created_at,
            row.trading_symbol,
            row.side,
            row.product,
            row.order_type,
            row.status,
            row.quantity,
            row.filled_quantity,
            row.price or None,  # of market orders the broker says 0
            row.average_fill_price or None,
            row.broker_order_id,
        )
        for row in found
    ]
    print_by_account(console(), columns, rows)


def fills(
    account: AccountArgument = None,
    on: DateOption = None,
    every_day: AllOption = False,
    symbol: SymbolOption = None,
    limit: LimitOption = 200,
    as_json: JsonOption = False,
) -> None:
    """Print the executions of a trading day, newest first."""
    from portfolio_scheduler.cli.render import print_json

    _refuse_both(on, every_day=every_day)

    async def read(app: "App") -> "tuple[bool, date | None, list[FillRow]]":
        from portfolio_scheduler.db.pool import transaction
        from portfolio_scheduler.db.reads import orders as reads

        accounts = await chosen(app, account)
        day = _day(app, on, every_day=every_day)
        async with transaction(app.pool) as tx:
            ids = [one.id for one in accounts]
            return bool(accounts), day, await reads.fills(tx, ids, on=day, symbol=symbol, limit=limit)

    has_accounts, day, found = run(read)
    if as_json:
        print_json({"fills": found})
    elif not has_accounts:
        typer.echo(NO_ACCOUNTS)
    elif not found:
        _print_none("fills", day)
    else:
        _print_fills(found)


def _print_fills(found: "list[FillRow]") -> None:
    from portfolio_scheduler.cli.render import Column, Kind, console, print_by_account

    columns = (
        Column("Account"),
        Column("Executed", Kind.INSTANT),
        Column("Symbol"),
        Column("Side"),
        Column("Product"),
        Column("Quantity", Kind.QUANTITY),
        Column("Price", Kind.RUPEES),
        Column("Value", Kind.RUPEES),
        Column("Order"),
    )
    rows = [
        (
            row.account,
            row.traded_at,
            row.trading_symbol + (" *" if row.synthetic else ""),
            row.side,
            row.product,
            row.quantity,
            row.price,
            row.value,
            row.broker_order_id,
        )
        for row in found
    ]
    print_by_account(console(), columns, rows)
    if any(row.synthetic for row in found):
        typer.echo("* the broker gave no list of executions; these are the order's own figures")


def changes(
    symbol: Annotated[
        str | None, typer.Argument(metavar="[SYMBOL]", help="Trading symbol, or ISIN of a holding. Left out: all.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="Only of this account: its label or beginning of its id.")] = None,
    order: Annotated[str | None, typer.Option(help="The story of one order, by the broker's order id.")] = None,
    on: Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Of this trading day.")] = None,
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """Print what changed, newest first: each step of each order and each change of a holding."""
    from portfolio_scheduler.cli.render import print_json

    async def read(app: "App") -> "tuple[bool, list[ChangeRow]]":
        from portfolio_scheduler.db.pool import transaction
        from portfolio_scheduler.db.reads import changes as reads

        accounts = await chosen(app, account)
        async with transaction(app.pool) as tx:
            ids = [one.id for one in accounts]
            day = on.date() if on else None
            found = await reads.changes(tx, ids, symbol=symbol, order=order, on=day, limit=limit)
        return bool(accounts), found

    has_accounts, found = run(read)
    if as_json:
        print_json({"changes": found})
    elif not has_accounts:
        typer.echo(NO_ACCOUNTS)
    elif not found:
        typer.echo("No such changes known.")
    else:
        from portfolio_scheduler.cli.render import console
        from portfolio_scheduler.cli.trails import print_changes

        print_changes(console(), found)
