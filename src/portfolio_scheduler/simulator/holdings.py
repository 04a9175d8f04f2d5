"""What lies in the demat account, and how a day of deliveries changes it."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from portfolio_scheduler.simulator.orders import ZERO, average, trim


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The CNC trades of one day in one ISIN."""

    bought: int = 0
    bought_value: Decimal = ZERO
    sold: int = 0
    sold_value: Decimal = ZERO

    @property
    def net(self) -> int:
        return self.bought - self.sold


@dataclass(frozen=True, kw_only=True)
class Holding:
    isin: str
    symbol: str
    free: int  # settled, in the demat account
    t1: int = 0  # bought on the last trading day, not yet settled
    pledged: int = 0  # of the free units
    pending: int = 0  # units of a bonus that have not arrived; not in the quantity
    moving: int = 0  # units on their way in or out of the demat account, off market
    cost: Decimal = ZERO  # rupees paid for all of it

    @property
    def quantity(self) -> int:
        return self.free + self.t1

    @property
    def average_price(self) -> Decimal:
        return average(self.cost, self.quantity)

    def settled(self) -> "Holding":
        return replace(self, free=self.free + self.t1, t1=0) if self.t1 else self

    def after(self, delivery: Delivery) -> "Holding":
        """With a day's trades taken in: what was bought and sold the same day cancels out, the rest is delivered."""
        net = delivery.net
        if net >= 0:
            price = delivery.bought_value / delivery.bought if delivery.bought else ZERO
            return replace(self, t1=self.t1 + net, cost=self.cost + price * net)
        kept = self.quantity + net
        from_free = min(self.free, -net)
        cost = self.cost * kept / self.quantity if self.quantity else ZERO
        return replace(self, free=self.free - from_free, t1=self.t1 - (-net - from_free), cost=cost)

    def row(self, *, sold_today: int = 0) -> dict[str, Any]:
        """As Groww writes it. Units sold today stay in the quantity but are locked until they leave overnight."""
        locked = min(sold_today, self.free - self.pledged)
        return {
            "isin": self.isin,
            "trading_symbol": self.symbol,
            "quantity": self.quantity,
            "average_price": trim(self.average_price),
            "pledge_quantity": _units(self.pledged),
            "demat_locked_quantity": NONE,
            "groww_locked_quantity": _units(locked),
            "repledge_quantity": NONE,
            "t1_quantity": _units(self.t1),
            "demat_free_quantity": _units(self.free - self.pledged - locked),
            "corporate_action_additional_quantity": self.pending,
            "active_demat_transfer_quantity": self.moving,
            "tradable_exchanges": ["NSE", "BSE"],
        }


NONE = Decimal("0.0")  # Groww writes these quantities as decimals


def _units(quantity: int) -> Decimal:
    return Decimal(quantity * 10).scaleb(-1)
