"""Prices over HTTP: last traded price, the day's open, high and low, and the full quote."""

from decimal import Decimal
from typing import Any

from portfolio_scheduler.simulator.answers import Answer, bad_request, forbidden, success
from portfolio_scheduler.simulator.calls import Call
from portfolio_scheduler.simulator.contracts import is_index
from portfolio_scheduler.simulator.instruments import Instrument
from portfolio_scheduler.simulator.market import DayPrices, rupees
from portfolio_scheduler.simulator.orders import trim
from portfolio_scheduler.simulator.wall import IST_OFFSET_SECONDS, date_of

BATCH_CAP = 50


def _check_entitled(call: Call) -> None:
    if call.account.login.number in call.account.quirks.not_entitled:
        raise forbidden()


def _batch(call: Call) -> dict[str, Instrument]:
    """The instruments asked for; one that is unknown fails them all, as it does at Groww."""
    _check_entitled(call)
    segment = call.required("segment")
    asked = [key.strip() for text in call.query.getall("exchange_symbols", []) for key in text.split(",")]
    keys = [key for key in asked if key]
    if not keys:
        raise bad_request("Missing required parameter: exchange_symbols")
    if len(keys) > BATCH_CAP:
        raise bad_request(f"At most {BATCH_CAP} instruments are allowed")
    return {key: _find(call, segment, key) for key in keys}


def _find(call: Call, segment: str, key: str) -> Instrument:
    exchange, _, symbol = key.partition("_")
    found = call.world.instruments.find(exchange, segment, symbol, date_of(call.now))
    if found is None:
        raise bad_request(f"Invalid trading symbol: {symbol or key}")
    return found


def ltp(call: Call) -> Answer:
    instruments = call.world.instruments
    return success({key: trim(rupees(instruments.paise(one, call.now))) for key, one in _batch(call).items()})


def ohlc(call: Call) -> Answer:
    found = {key: call.world.instruments.day_prices(one, call.now) for key, one in _batch(call).items()}
    as_text = call.account.quirks.ohlc_as_text
    return success({key: _ohlc_text(day) if as_text else _ohlc(day) for key, day in found.items()})


def _ohlc(day: DayPrices) -> dict[str, Decimal]:
    """`close` is the close of the session before."""
    return {
        "open": trim(rupees(day.open)),
        "high": trim(rupees(day.high)),
        "low": trim(rupees(day.low)),
        "close": trim(rupees(day.previous_close)),
    }


def _ohlc_text(day: DayPrices) -> str:
    return "{" + ",".join(f"{name}: {price}" for name, price in _ohlc(day).items()) + "}"


def quote(call: Call) -> Answer:
    _check_entitled(call)
    exchange, segment = call.required("exchange"), call.required("segment")
    instrument = _find(call, segment, f"{exchange}_{call.required('trading_symbol')}")
    day = call.world.instruments.day_prices(instrument, call.now)
    payload = _quote_prices(call, day)
    payload |= dict.fromkeys(_BLANKS) if is_index(instrument.symbol) else _depth(day)
    return success(payload)


def _quote_prices(call: Call, day: DayPrices) -> dict[str, Any]:
    change = rupees(day.last - day.previous_close)
    percent = change * 100 / rupees(day.previous_close)
    return {
        "average_price": trim(rupees((day.high + day.low) // 2)),
        "day_change": trim(change),
        "day_change_perc": trim(percent.quantize(Decimal("0.0001"))),
        "upper_circuit_limit": trim(rupees(day.previous_close * 11 // 10 // 5 * 5)),
        "lower_circuit_limit": trim(rupees(day.previous_close * 9 // 10 // 5 * 5)),
        "ohlc": _ohlc_text(day) if call.account.quirks.ohlc_as_text else _ohlc(day),
        "high_trade_range": trim(rupees(day.high)),
        "low_trade_range": trim(rupees(day.low)),
        "implied_volatility": None,
        "last_trade_quantity": 10,
        "last_trade_time": (call.now - IST_OFFSET_SECONDS) * 1000,
        "last_price": trim(rupees(day.last)),
        "market_cap": None,
        "oi_day_change": None,
        "oi_day_change_percentage": None,
        "open_interest": None,
        "previous_open_interest": None,
        "week_52_high": None,
        "week_52_low": None,
    }


_BLANKS = (
    "bid_price", "bid_quantity", "offer_price", "offer_quantity", "depth", "total_buy_quantity", "total_sell_quantity",
    "volume",
)  # fmt: skip


def _depth(day: DayPrices) -> dict[str, Any]:
    """Five steps of the order book, a tick apart."""
    book = {
        "buy": [{"price": trim(rupees(max(day.last - 5 * step, 0))), "quantity": 100 * step} for step in range(1, 6)],
        "sell": [{"price": trim(rupees(day.last + 5 * step)), "quantity": 100 * step} for step in range(1, 6)],
    }
    return {
        "bid_price": book["buy"][0]["price"],
        "bid_quantity": 100,
        "offer_price": book["sell"][0]["price"],
        "offer_quantity": 100,
        "depth": book,
        "total_buy_quantity": 1500,
        "total_sell_quantity": 1500,
        "volume": 100_000,
    }
