"""One position: what was carried into the day, what was traded today, and what came out of it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from portfolio_scheduler.simulator.orders import ZERO, average, trim


class PositionKey(NamedTuple):
    segment: str
    exchange: str
    symbol: str
    product: str


@dataclass(kw_only=True, slots=True)
class Position:
    key: PositionKey
    isin: str
    carried: int = 0  # signed quantity from earlier sessions
    carried_price: Decimal = ZERO
    bought: int = 0
    bought_value: Decimal = ZERO
    sold: int = 0
    sold_value: Decimal = ZERO
    quantity: int = 0  # signed, now
    entry_price: Decimal = ZERO  # average price of what is open
    realised: Decimal = ZERO  # rupees, today

    def trade(self, transaction_type: str, quantity: int, price: Decimal) -> None:
        if transaction_type == "BUY":
            self.bought += quantity
            self.bought_value += price * quantity
            self._move(quantity, price)
        else:
            self.sold += quantity
            self.sold_value += price * quantity
            self._move(-quantity, price)

    def _move(self, change: int, price: Decimal) -> None:
        """First close what is open on the other side, then open the rest at this price."""
        closing = 0 if self.quantity * change >= 0 else min(abs(self.quantity), abs(change))
        if closing:
            sign = 1 if self.quantity > 0 else -1
            self.realised += ((price - self.entry_price) * closing * sign).quantize(Decimal("0.0001"))
            self.quantity -= closing * sign
            change += closing * sign
        if change:
            value = self.entry_price * abs(self.quantity) + price * abs(change)
            self.quantity += change
            self.entry_price = value / abs(self.quantity)
        elif self.quantity == 0:
            self.entry_price = ZERO

    def next_day(self) -> "Position | None":
        """The position as the next session finds it, None if nothing is open."""
        if self.quantity == 0:
            return None
        return Position(
            key=self.key,
            isin=self.isin,
            carried=self.quantity,
            carried_price=self.entry_price,
            quantity=self.quantity,
            entry_price=self.entry_price,
        )

    def row(self) -> dict[str, Any]:
        long, short = max(self.carried, 0), max(-self.carried, 0)
        carried_price = trim(self.carried_price.quantize(Decimal("0.0001")))
        return {
            "trading_symbol": self.key.symbol,
            "segment": self.key.segment,
            "credit_quantity": self.bought,
            "credit_price": trim(average(self.bought_value, self.bought)),
            "debit_quantity": self.sold,
            "debit_price": trim(average(self.sold_value, self.sold)),
            "carry_forward_credit_quantity": long,
            "carry_forward_credit_price": carried_price if long else 0,
            "carry_forward_debit_quantity": short,
            "carry_forward_debit_price": carried_price if short else 0,
            "exchange": self.key.exchange,
            "symbol_isin": self.isin,
            "quantity": self.quantity,
            "product": self.key.product,
            "net_carry_forward_quantity": self.carried,
            "net_price": trim(self.entry_price.quantize(Decimal("0.0001"))),
            "net_carry_forward_price": carried_price,
            "realised_pnl": trim(self.realised.quantize(Decimal("0.01"))),
        }
