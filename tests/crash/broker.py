"""The simulated broker in a process of its own, and what is really so in its accounts: the oracle's only source."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from msgspec import Struct

from portfolio_scheduler.bench.host import Host
from portfolio_scheduler.simulator.accounts import Account
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.simulator.holdings import Delivery
from portfolio_scheduler.simulator.options import SimulatorOptions
from portfolio_scheduler.simulator.server import running


class TrueOrder(Struct, frozen=True, kw_only=True):
    """An order of today as it stands."""

    id: str
    symbol: str
    side: str
    status: str
    quantity: int
    filled: int
    price: Decimal
    trigger: Decimal | None
    order_type: str
    average: Decimal
    fills: tuple[tuple[str, int, Decimal], ...]  # trade id, quantity, price


class Truth(Struct, frozen=True, kw_only=True):
    """One account at one moment. Rows of holdings and positions are compared whole; the figures stand first."""

    orders: tuple[TrueOrder, ...]
    holdings: dict[str, tuple[int, Decimal, str]]  # by ISIN: quantity, average price, everything
    positions: dict[tuple[str, ...], tuple[int, str]]  # by key: quantity, everything


class Broker(Host):
    """What the tests ask of the simulator's process."""

    async def truth(self) -> dict[int, Truth]:
        sim = self.simulator
        return {login.number: _truth(sim.account(login.number)) for login in sim.accounts}

    async def fail_next(self, fault: Fault) -> None:
        self.simulator.add_fault(fault)

    async def heal(self) -> None:
        self.simulator.faults.waiting.clear()


def _truth(account: Account) -> Truth:
    today = account.deliveries()
    holdings = {}
    for isin, held in account.holdings.items():
        sold = max(-today.get(isin, Delivery()).net, 0)
        holdings[isin] = (held.quantity, held.average_price, repr(sorted(held.row(sold_today=sold).items())))
    positions = {
        tuple(key): (position.quantity, repr(sorted(position.row().items())))
        for key, position in account.positions.items()
    }
    orders = tuple(
        TrueOrder(
            id=order.order_id,
            symbol=order.ticket.symbol,
            side=order.ticket.transaction_type,
            status=order.status,
            quantity=order.quantity,
            filled=order.filled_quantity,
            price=order.price,
            trigger=order.trigger_price,
            order_type=order.order_type,
            average=order.average_fill_price,
            fills=tuple((fill.trade_id, fill.quantity, fill.price) for fill in order.fills),
        )
        for order in account.orders.values()
    )
    return Truth(orders=orders, holdings=holdings, positions=positions)


@asynccontextmanager
async def broker(options: SimulatorOptions) -> AsyncIterator[Any]:
    async with running(options) as simulator:
        yield Broker(simulator)
