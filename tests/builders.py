"""Builders that read as sentences: `an_order("INFY", buy=10).filled(4)`."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from portfolio_scheduler.clock import ist, ist_date
from portfolio_scheduler.domain.changes import Moment
from portfolio_scheduler.domain.records import (
    Fill,
    Holding,
    Order,
    Outcome,
    Owner,
    Position,
    SectionResult,
    Statement,
)

MONDAY = date(2026, 4, 20)
TUESDAY = date(2026, 4, 21)
WEDNESDAY = date(2026, 4, 22)
OK = SectionResult(outcome=Outcome.OK)
ALL_SECTIONS = ("owner", "holdings", "positions:CASH", "positions:FNO", "orders:CASH", "orders:FNO", "fills")
CREATED = datetime(2026, 4, 20, 4, 45, tzinfo=UTC)


def d(value: object) -> Decimal:
    return Decimal(str(value))


class AnOrder:
    """An order under construction; each word returns a new one."""

    def __init__(self, order: Order) -> None:
        self.order = order

    def _with(self, **values: Any) -> "AnOrder":
        return AnOrder(replace(self.order, **values))

    def filled(self, quantity: object, at: object = 100) -> "AnOrder":
        left = self.order.quantity - d(quantity)
        return self._with(filled_quantity=d(quantity), average_fill_price=d(at), remaining_quantity=left)

    def being(self, status: str) -> "AnOrder":
        return self._with(status=status)

    def amended(self, **values: object) -> "AnOrder":
        return self._with(**{name: d(v) if isinstance(v, int | float) else v for name, v in values.items()})


def an_order(symbol: str = "INFY", *, buy: object = None, sell: object = None, id: str = "G1", **rest: Any) -> AnOrder:  # noqa: A002
    quantity = buy if buy is not None else sell if sell is not None else 10
    values: dict[str, Any] = {
        "broker_order_id": id,
        "segment": "CASH",
        "exchange": "NSE",
        "trading_symbol": symbol,
        "product": "CNC",
        "side": "SELL" if sell is not None else "BUY",
        "order_type": "LIMIT",
        "validity": "DAY",
        "status": "OPEN",
        "amo_status": "NA",
        "quantity": d(quantity),
        "remaining_quantity": d(quantity),
        "price": d(100),
        "created_at": CREATED,
    }
    return AnOrder(Order(**(values | rest)))


def a_fill(quantity: object, at: object = 100, *, order: str = "G1", trade: str = "T1", **rest: Any) -> Fill:
    return Fill(broker_order_id=order, broker_trade_id=trade, quantity=d(quantity), price=d(at), **rest)


def a_holding(isin: str = "INE009A01021", quantity: object = 10, at: object = 100, **rest: Any) -> Holding:
    symbol = rest.pop("trading_symbol", isin[3:8])
    numbers = {name: d(value) if isinstance(value, int) else value for name, value in rest.items()}
    return Holding(isin=isin, trading_symbol=symbol, quantity=d(quantity), average_price=d(at), **numbers)


def a_position(symbol: str = "INFY", *, bought: object = 0, sold: object = 0, **rest: Any) -> Position:
    values: dict[str, Any] = {
        "segment": "CASH",
        "exchange": "NSE",
        "trading_symbol": symbol,
        "product": "CNC",
        "quantity": d(bought) - d(sold),
        "credit_quantity": d(bought),
        "credit_price": d(rest.pop("bought_at", 100)) if bought else d(0),
        "debit_quantity": d(sold),
        "debit_price": d(rest.pop("sold_at", 100)) if sold else d(0),
    }
    return Position(**(values | rest))


def a_statement(
    *,
    at: datetime | None = None,
    orders: tuple[AnOrder, ...] = (),
    fills: tuple[Fill, ...] = (),
    holdings: tuple[Holding, ...] = (),
    positions: tuple[Position, ...] = (),
    without: tuple[str, ...] = (),
    **rest: Any,
) -> Statement:
    """A statement whose sections are all ok but those named in `without`, which failed."""
    failed = SectionResult(outcome=Outcome.FAILED, error="BrokerUnavailable", reason="no answer")
    return Statement(
        observed_at=at or ist(MONDAY, 16),
        owner=Owner(ucc="U1", segments=("CASH", "FNO")),
        orders=tuple(order.order for order in orders),
        fills=fills,
        holdings=holdings,
        positions=positions,
        sections={name: failed if name in without else OK for name in ALL_SECTIONS},
        **rest,
    )


def a_moment(at: datetime | None = None, *, on: date | None = None, read_before: date | None = None) -> Moment:
    observed_at = at or ist(MONDAY, 16)
    return Moment(
        observed_at=observed_at,
        observed_on=ist_date(observed_at),
        trading_on=on or ist_date(observed_at),
        holdings_read_on=read_before,
    )


def later(moment: Moment, seconds: float) -> Moment:
    return replace(moment, observed_at=moment.observed_at + timedelta(seconds=seconds))
