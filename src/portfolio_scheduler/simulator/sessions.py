"""The course of a session for one account: the plan before the open, the square-off, the close, the night."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

from portfolio_scheduler.simulator import desk
from portfolio_scheduler.simulator.accounts import Account
from portfolio_scheduler.simulator.margins import cash_flow
from portfolio_scheduler.simulator.orders import ZERO, Ticket
from portfolio_scheduler.simulator.positions import Position, PositionKey
from portfolio_scheduler.simulator.wall import date_of, wall_at

Planner = Callable[[Account, date], None]


def start_session(account: Account, day: date, planner: Planner) -> None:
    """Put a session and its end into the agenda; the night puts in the next one."""
    account.plan(wall_at(day, 9, 10), lambda _: planner(account, day))
    account.plan(wall_at(day, 15, 18), partial(square_off, account))
    account.plan(wall_at(day, 15, 30), lambda _: close(account))
    account.plan(_night_of(day, account.quirks.rolls_at_hour), lambda at: roll(account, day, at, planner))


def _night_of(day: date, hour: int) -> int:
    return wall_at(day + timedelta(days=1), hour)


def square_off(account: Account, at: int) -> None:
    """The broker closes intraday positions before the exchange does."""
    for order in list(account.orders.values()):
        if order.is_working and order.ticket.product == "MIS":
            desk.cancel(order, "Order cancelled: intraday square-off")
    for position in list(account.positions.values()):
        if position.key.product == "MIS" and position.quantity:
            _close_at_market(account, position, at)


def _close_at_market(account: Account, position: Position, at: int) -> None:
    ticket = Ticket(
        symbol=position.key.symbol,
        transaction_type="SELL" if position.quantity > 0 else "BUY",
        quantity=abs(position.quantity),
        order_type="MARKET",
        product=position.key.product,
        segment=position.key.segment,
        exchange=position.key.exchange,
        isin=position.isin,
    )
    order = desk.place(account, ticket, at)
    desk.fill(account, order, order.quantity, account.price(ticket, at), at)
    order.remark = "Intraday square-off"


def close(account: Account) -> None:
    """Whatever was not filled is gone: orders live for the day."""
    for order in account.orders.values():
        if order.is_working:
            desk.cancel(order, "Order cancelled: validity DAY expired")


def roll(account: Account, day: date, at: int, planner: Planner) -> None:
    """The night after a session: deliveries, cash, positions and the order list move on."""
    account.holdings = {isin: holding.settled() for isin, holding in account.holdings.items()}
    account.holdings = account.holdings_after_today()
    account.cash += sum((cash_flow(position) for position in account.positions.values()), ZERO)
    account.cash -= sum((order.charges for order in account.orders.values()), ZERO)
    account.positions = _carried(account, day)
    account.earlier_orders = dict(account.orders) if account.quirks.remembers_orders else {}
    account.orders = {}
    account.references = {}
    next_day = account.instruments.market.days.at_or_after(date_of(at))
    if next_day is not None:
        start_session(account, next_day, planner)


def _carried(account: Account, day: date) -> dict[PositionKey, Position]:
    """What stays open overnight. An expiring contract is settled in cash at its last price."""
    carried: dict[PositionKey, Position] = {}
    for key, position in account.positions.items():
        contract = account.instruments.contracts.find(key.symbol) if key.segment == "FNO" else None
        if contract is None:
            continue
        if contract.expiry <= day:
            worth = Decimal(account.instruments.contracts.settlement_paise(contract)).scaleb(-2)
            paid = position.entry_price if contract.kind == "FUT" else ZERO
            account.cash += (worth - paid) * position.quantity
            continue
        tomorrow = position.next_day()
        if tomorrow is not None:
            carried[key] = tomorrow
    return carried
