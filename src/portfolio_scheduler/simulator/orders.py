"""An order and its fills: what they know and how Groww writes them."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from portfolio_scheduler.simulator.wall import DAY_SECONDS, iso, written

ZERO = Decimal(0)
FINAL = frozenset({"REJECTED", "FAILED", "EXECUTED", "DELIVERY_AWAITED", "CANCELLED", "COMPLETED"})


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What someone asks to be traded."""

    symbol: str
    transaction_type: str
    quantity: int
    price: Decimal = ZERO  # rupees; 0 for a market order
    trigger_price: Decimal | None = None
    order_type: str = "LIMIT"
    product: str = "CNC"
    segment: str = "CASH"
    exchange: str = "NSE"
    validity: str = "DAY"
    isin: str = ""
    reference_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Fill:
    trade_id: str
    exchange_trade_id: str
    quantity: int
    price: Decimal
    at: int


@dataclass(kw_only=True, slots=True)
class Order:
    order_id: str
    ticket: Ticket
    reference_id: str
    created_at: int
    quantity: int
    price: Decimal
    trigger_price: Decimal | None
    order_type: str
    status: str = "NEW"
    remark: str = ""
    exchange_time: int | None = None
    fills: list[Fill] = field(default_factory=list)
    filled_quantity: int = 0
    filled_value: Decimal = ZERO
    live: bool = False  # driven over HTTP: it fills by the market, not by a script
    revision: int = 0  # counts amendments, so that a planned fill of an older version is dropped

    @property
    def is_working(self) -> bool:
        return self.status not in FINAL

    @property
    def remaining_quantity(self) -> int:
        return self.quantity - self.filled_quantity

    @property
    def average_fill_price(self) -> Decimal:
        return average(self.filled_value, self.filled_quantity)

    @property
    def charges(self) -> Decimal:
        """0.1 % of the traded value, at most ₹20: a discount broker's tariff, without the taxes."""
        return min(Decimal(20), (self.filled_value / 1000).quantize(Decimal("0.01")))

    def status_row(self) -> dict[str, Any]:
        return {
            "groww_order_id": self.order_id,
            "order_status": self.status,
            "remark": self.remark,
            "filled_quantity": self.filled_quantity,
            "order_reference_id": self.reference_id,
        }

    def row(self, times: str = "naive") -> dict[str, Any]:
        ticket = self.ticket
        return {
            "groww_order_id": self.order_id,
            "trading_symbol": ticket.symbol,
            "order_status": self.status,
            "remark": self.remark,
            "quantity": self.quantity,
            "price": trim(self.price),
            "trigger_price": self.trigger_price,
            "filled_quantity": self.filled_quantity,
            "remaining_quantity": self.remaining_quantity,
            "average_fill_price": trim(self.average_fill_price),
            "deliverable_quantity": self.filled_quantity if ticket.product == "CNC" else 0,
            "amo_status": "NA",
            "validity": ticket.validity,
            "exchange": ticket.exchange,
            "order_type": self.order_type,
            "transaction_type": ticket.transaction_type,
            "segment": ticket.segment,
            "product": ticket.product,
            "created_at": written(self.created_at, times),
            "exchange_time": None if self.exchange_time is None else written(self.exchange_time, times),
            "trade_date": written(self.created_at // DAY_SECONDS * DAY_SECONDS, times),
            "order_reference_id": self.reference_id,
        }

    def trade_rows(self, times: str = "naive") -> list[dict[str, Any]]:
        return [self._trade_row(fill, times) for fill in self.fills]

    def _trade_row(self, fill: Fill, times: str) -> dict[str, Any]:
        ticket = self.ticket
        return {
            "price": trim(fill.price),
            "isin": ticket.isin,
            "quantity": fill.quantity,
            "groww_order_id": self.order_id,
            "groww_trade_id": fill.trade_id,
            "exchange_trade_id": fill.exchange_trade_id,
            "exchange_order_id": "1" + str(int(self.order_id[-12:], 36)).zfill(18)[-15:],
            "trade_status": "EXECUTED",
            "trading_symbol": ticket.symbol,
            "remark": None,
            "exchange": ticket.exchange,
            "segment": ticket.segment,
            "product": ticket.product,
            "transaction_type": ticket.transaction_type,
            "created_at": written(fill.at, times),
            "trade_date_time": written(fill.at, times),
            "settlement_number": iso(fill.at)[:10].replace("-", ""),
        }


def average(value: Decimal, quantity: int) -> Decimal:
    """Value per unit to four places, 0 for nothing."""
    return (value / quantity).quantize(Decimal("0.0001")) if quantity else ZERO


def trim(value: Decimal) -> Decimal:
    """The same number without trailing zeros and without an exponent, as a JSON number is usually written."""
    short = value.normalize()
    return short if short.as_tuple().exponent <= 0 else short.quantize(Decimal(1))  # type: ignore[operator]
