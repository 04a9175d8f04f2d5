"""What can happen to an order: placed, acknowledged, filled, amended, cancelled, rejected. Scripts and people over
HTTP use the same acts."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial

from portfolio_scheduler.simulator.accounts import Account
from portfolio_scheduler.simulator.margins import MIS_SHARE, margins
from portfolio_scheduler.simulator.market import CLOSE_SECOND, OPEN_SECOND
from portfolio_scheduler.simulator.orders import ZERO, Fill, Order, Ticket
from portfolio_scheduler.simulator.positions import Position, PositionKey
from portfolio_scheduler.simulator.wall import DAY_SECONDS, date_of, iso

LOOK_SECONDS = 60  # how finely the price path is searched for the moment a limit is crossed


def place(account: Account, ticket: Ticket, at: int, *, live: bool = False) -> Order:
    """The order as the broker has it, not yet acknowledged by the exchange."""
    stamp = iso(at).translate({ord(mark): None for mark in "-:T"})[2:]
    order = Order(
        order_id=f"GMK{'FO' if ticket.segment == 'FNO' else ''}{stamp}{account.next_id()}",
        ticket=ticket,
        reference_id=ticket.reference_id or f"SIM-{account.next_id(10)}",
        created_at=at,
        quantity=ticket.quantity,
        price=ticket.price,
        trigger_price=ticket.trigger_price,
        order_type=ticket.order_type,
        live=live,
    )
    account.orders[order.order_id] = order
    account.references[order.reference_id] = order.order_id
    account.forget_answers()
    return order


def acknowledge(account: Account, order: Order, at: int) -> None:
    if order.is_working:
        order.status = "TRIGGER_PENDING" if order.order_type in {"SL", "SL_M"} else account.quirks.working_status
        order.exchange_time = at


def reject(order: Order, remark: str) -> None:
    if order.is_working:
        order.status, order.remark = "REJECTED", remark


def cancel(order: Order, remark: str = "") -> None:
    if order.is_working:
        order.status, order.remark = "CANCELLED", remark


def amend(account: Account, order: Order, *, quantity: int, price: Decimal, at: int) -> None:
    if order.is_working:
        order.quantity, order.price = max(quantity, order.filled_quantity), price
        order.revision += 1
        order.status = account.quirks.working_status
        order.exchange_time = at
        if order.remaining_quantity == 0:
            order.status = "EXECUTED"


def fill(account: Account, order: Order, quantity: int, price: Decimal, at: int) -> None:
    """Trade so many units of the order, never more than remain."""
    quantity = min(quantity, order.remaining_quantity)
    if not order.is_working or quantity <= 0:
        return
    trade_id = account.next_id(16)
    exchange_trade_id = str(int(trade_id[:9], 16))[:9].zfill(9)
    order.fills.append(
        Fill(trade_id=f"GTR{trade_id}", exchange_trade_id=exchange_trade_id, quantity=quantity, price=price, at=at)
    )
    order.filled_quantity += quantity
    order.filled_value += price * quantity
    order.exchange_time = at
    if order.remaining_quantity == 0:
        order.status = "EXECUTED"
    elif order.status in {"NEW", "TRIGGER_PENDING"}:
        order.status = account.quirks.working_status
    _position(account, order.ticket).trade(order.ticket.transaction_type, quantity, price)


def _position(account: Account, ticket: Ticket) -> Position:
    key = PositionKey(ticket.segment, ticket.exchange, ticket.symbol, ticket.product)
    if key not in account.positions:
        account.positions[key] = Position(key=key, isin=ticket.isin)
    return account.positions[key]


# Orders over HTTP


def refusal(account: Account, ticket: Ticket, at: int) -> str | None:
    """Why the exchange or the risk desk turns the order down, None if it does not."""
    if not is_open(account, at):
        return "Order rejected: the market is closed"
    if ticket.price % Decimal("0.05"):
        return "Order rejected: the price is not a multiple of the tick size 0.05"
    if ticket.transaction_type == "SELL" and ticket.product == "CNC":
        # The order itself already counts as offered.
        return None if account.sellable(ticket.isin) >= 0 else "Order rejected: insufficient holdings"
    price = ticket.price or account.price(ticket, at)
    share = {"CNC": Decimal(1), "MIS": MIS_SHARE}.get(ticket.product, Decimal("0.12"))
    needed = price * ticket.quantity * share
    return "Order rejected: insufficient funds" if needed > margins(account).available else None


def is_open(account: Account, at: int) -> bool:
    return date_of(at) in account.instruments.market.days and OPEN_SECOND <= at % DAY_SECONDS < CLOSE_SECOND


def place_live(account: Account, ticket: Ticket, at: int) -> Order:
    order = place(account, ticket, at, live=True)
    remark = refusal(account, ticket, at)
    if remark is not None:
        reject(order, remark)
        return order
    account.plan(at + 1, partial(_start_live, account, order))
    return order


def _start_live(account: Account, order: Order, at: int) -> None:
    if order.is_working:
        acknowledge(account, order, at)
        match_live(account, order, at)


def match_live(account: Account, order: Order, at: int) -> None:
    """Fill at once what the market gives, else plan the fill for the moment the price gets there."""
    for moment in range(at, at // DAY_SECONDS * DAY_SECONDS + CLOSE_SECOND, LOOK_SECONDS):
        price = account.price(order.ticket, moment)
        if _is_crossed(order, price):
            account.plan(moment, partial(_fill_live, account, order, order.revision, price))
            return


def _is_crossed(order: Order, price: Decimal) -> bool:
    buying = order.ticket.transaction_type == "BUY"
    if order.order_type == "MARKET":
        return True
    if order.order_type in {"SL", "SL_M"}:
        level = order.trigger_price or ZERO
        return price >= level if buying else price <= level
    return price <= order.price if buying else price >= order.price


def _fill_live(account: Account, order: Order, revision: int, price: Decimal, at: int) -> None:
    if order.revision == revision:
        fill(account, order, order.remaining_quantity, price, at)


def amend_live(account: Account, order: Order, *, quantity: int, price: Decimal, at: int) -> None:
    order.status = "MODIFICATION_REQUESTED"
    account.forget_answers()

    def amended(moment: int) -> None:
        amend(account, order, quantity=quantity, price=price, at=moment)
        if order.is_working:
            match_live(account, order, moment)

    account.plan(at + 1, amended)


def cancel_live(account: Account, order: Order, at: int) -> None:
    order.status = "CANCELLATION_REQUESTED"
    account.forget_answers()
    account.plan(at + 1, lambda _: cancel(order, "Order cancelled by user"))


Act = Callable[[int], None]


class Scripted:
    """An order whose fate is written beforehand, told in the order it happens."""

    def __init__(self, account: Account, ticket: Ticket, at: int, *, acknowledged: bool = True) -> None:
        self._account = account
        self._order: Order | None = None
        account.plan(at, lambda moment: self._place(ticket, moment))
        if acknowledged:
            self._plan(at + 1, lambda moment: acknowledge(account, self.order, moment))

    @property
    def order(self) -> Order:
        assert self._order is not None, "a script's order is placed before anything happens to it"
        return self._order

    def _place(self, ticket: Ticket, at: int) -> None:
        self._order = place(self._account, ticket, at)

    def _plan(self, at: int, act: Act) -> None:
        self._account.plan(at, act)

    def filled(self, at: int, quantity: int | None = None) -> "Scripted":
        """At the market's price, but never worse than the limit; without a quantity, all that remains."""
        self._plan(at, lambda moment: self._fill(quantity, moment))
        return self

    def _fill(self, quantity: int | None, at: int) -> None:
        order = self.order
        price = self._account.price(order.ticket, at)
        if order.order_type == "LIMIT":
            buying = order.ticket.transaction_type == "BUY"
            price = min(price, order.price) if buying else max(price, order.price)
        fill(self._account, order, order.remaining_quantity if quantity is None else quantity, price, at)

    def modified(self, at: int, *, quantity: int, price: Decimal) -> "Scripted":
        self._plan(at, lambda _: self._say("MODIFICATION_REQUESTED"))
        self._plan(at + 1, lambda moment: amend(self._account, self.order, quantity=quantity, price=price, at=moment))
        return self

    def cancelled(self, at: int, remark: str = "Order cancelled by user") -> "Scripted":
        self._plan(at, lambda _: self._say("CANCELLATION_REQUESTED"))
        self._plan(at + 2, lambda _: cancel(self.order, remark))
        return self

    def rejected(self, at: int, remark: str) -> "Scripted":
        self._plan(at, lambda _: reject(self.order, remark))
        return self

    def _say(self, status: str) -> None:
        if self.order.is_working:
            self.order.status = status
