"""Orders over HTTP: create, modify, cancel, and what an order would bind."""

import re
from decimal import Decimal

import msgspec

from portfolio_scheduler.simulator import desk
from portfolio_scheduler.simulator.answers import Answer, Refusal, bad_request, failure, success
from portfolio_scheduler.simulator.calls import Call
from portfolio_scheduler.simulator.instruments import Instrument
from portfolio_scheduler.simulator.margins import EXPOSURE_SHARE, MIS_SHARE, SPAN_SHARE
from portfolio_scheduler.simulator.orders import ZERO, Order, Ticket, trim
from portfolio_scheduler.simulator.portfolio import find_order
from portfolio_scheduler.simulator.wall import date_of

REFERENCE = re.compile(r"(?=.{8,20}$)[A-Za-z0-9]+(-[A-Za-z0-9]+){0,2}-?")
PRODUCTS = {"CASH": {"CNC", "MIS"}, "FNO": {"NRML", "MIS"}}
PRICE_CAP = 10_000_000  # rupees
ORDER_TYPES = {"LIMIT", "MARKET", "SL", "SL_M"}


class CreateRequest(msgspec.Struct):
    trading_symbol: str
    quantity: int
    exchange: str
    segment: str
    product: str
    order_type: str
    transaction_type: str
    validity: str = "DAY"
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    order_reference_id: str | None = None


class ModifyRequest(msgspec.Struct):
    groww_order_id: str
    segment: str
    order_type: str
    quantity: int
    price: Decimal | None = None
    trigger_price: Decimal | None = None


class CancelRequest(msgspec.Struct):
    groww_order_id: str
    segment: str


class MarginRequest(msgspec.Struct):
    trading_symbol: str
    transaction_type: str
    quantity: int
    order_type: str
    product: str
    exchange: str
    price: Decimal | None = None


def create(call: Call) -> Answer:
    request = call.decoded(CreateRequest)
    instrument = _instrument(call, request.exchange, request.segment, request.trading_symbol)
    _check(request)
    reference = request.order_reference_id
    if reference is not None and reference in call.account.references:
        raise Refusal(failure(409, "GA007", "Duplicate order reference id"))
    ticket = Ticket(
        symbol=request.trading_symbol,
        transaction_type=request.transaction_type,
        quantity=request.quantity,
        price=ZERO if request.order_type in {"MARKET", "SL_M"} else request.price or ZERO,
        trigger_price=request.trigger_price,
        order_type=request.order_type,
        product=request.product,
        segment=request.segment,
        exchange=request.exchange,
        validity=request.validity,
        isin=instrument.isin,
        reference_id=reference,
    )
    order = desk.place_live(call.account, ticket, call.now)
    return success({**_acknowledgement(order), "order_reference_id": order.reference_id, "remark": order.remark})


def _check_price(*prices: Decimal | None) -> None:
    """JSON texts like "NaN" decode as decimals too."""
    if any(price is not None and not (price.is_finite() and 0 <= price < PRICE_CAP) for price in prices):
        raise bad_request("Invalid price")


def _check(request: CreateRequest) -> None:
    _check_price(request.price, request.trigger_price)
    if request.quantity <= 0:
        raise bad_request("Invalid quantity")
    if request.transaction_type not in {"BUY", "SELL"}:
        raise bad_request("Invalid transaction_type")
    if request.order_type not in ORDER_TYPES or (request.order_type == "LIMIT" and not request.price):
        raise bad_request("Invalid order_type or price")
    if request.order_type in {"SL", "SL_M"} and not request.trigger_price:
        raise bad_request("Invalid trigger_price")
    if request.product not in PRODUCTS.get(request.segment, set()):
        raise bad_request("Invalid product for the segment")
    reference = request.order_reference_id
    if reference is not None and not REFERENCE.fullmatch(reference):
        raise bad_request("Invalid order_reference_id: 8 to 20 letters and digits, at most two hyphens")


def _instrument(call: Call, exchange: str, segment: str, symbol: str) -> Instrument:
    instrument = call.world.instruments.find(exchange, segment, symbol, date_of(call.now))
    if instrument is None:
        raise bad_request(f"Invalid trading symbol: {symbol}")
    return instrument


def _acknowledgement(order: Order) -> dict[str, object]:
    return {"groww_order_id": order.order_id, "order_status": order.status}


def _working_order(call: Call, order_id: str, segment: str) -> Order:
    order = find_order(call.account, order_id, segment)
    if not order.is_working:
        raise Refusal(failure(422, "GA006", f"The order is {order.status} and cannot be changed"))
    return order


def modify(call: Call) -> Answer:
    request = call.decoded(ModifyRequest)
    order = _working_order(call, request.groww_order_id, request.segment)
    _check_price(request.price, request.trigger_price)
    if request.quantity <= 0 or request.order_type not in ORDER_TYPES:
        raise bad_request("Invalid quantity or order_type")
    order.order_type = request.order_type
    order.trigger_price = request.trigger_price
    price = order.price if request.price is None else request.price
    desk.amend_live(call.account, order, quantity=request.quantity, price=price, at=call.now)
    return success(_acknowledgement(order))


def cancel(call: Call) -> Answer:
    request = call.decoded(CancelRequest)
    order = _working_order(call, request.groww_order_id, request.segment)
    desk.cancel_live(call.account, order, call.now)
    return success(_acknowledgement(order))


def order_margins(call: Call) -> Answer:
    """What the orders would bind; changes nothing."""
    segment = call.required("segment")
    requests = call.decoded(list[MarginRequest])
    if segment == "CASH" and len(requests) != 1:
        raise bad_request("A basket is possible for FNO and COMMODITY only")
    totals = dict.fromkeys(("exposure", "span", "premium", "cnc", "mis"), ZERO)
    for request in requests:
        _check_price(request.price)
        _add_requirement(call, segment, request, totals)
    charges = min(Decimal(20), sum(totals.values(), ZERO) / 1000)
    money = {name: trim(value.quantize(Decimal("0.01"))) for name, value in totals.items()}
    return success(
        {
            "exposure_required": money["exposure"],
            "span_required": money["span"],
            "option_buy_premium": money["premium"],
            "brokerage_and_charges": trim(charges.quantize(Decimal("0.01"))),
            "total_requirement": trim((sum(totals.values(), ZERO) + charges).quantize(Decimal("0.01"))),
            "cash_cnc_margin_required": money["cnc"],
            "cash_mis_margin_required": money["mis"],
            "physical_delivery_margin_requirement": 0,
        }
    )


def _add_requirement(call: Call, segment: str, request: MarginRequest, totals: dict[str, Decimal]) -> None:
    instrument = _instrument(call, request.exchange, segment, request.trading_symbol)
    price = request.price or Decimal(call.world.instruments.paise(instrument, call.now)).scaleb(-2)
    value = price * request.quantity
    if request.product == "CNC":
        totals["cnc"] += value
    elif segment == "CASH":
        totals["mis"] += value * MIS_SHARE
    elif instrument.contract is not None and instrument.contract.kind != "FUT" and request.transaction_type == "BUY":
        totals["premium"] += value
    else:
        strike = instrument.contract.strike if instrument.contract is not None else 0
        notional = Decimal(strike) * request.quantity if strike else value
        totals["span"] += notional * SPAN_SHARE
        totals["exposure"] += notional * EXPOSURE_SHARE
