"""What can be traded: the stocks on NSE and BSE, the two indices and the listed contracts; their prices; and the
instruments file that Groww offers for download."""

import csv
import io
from datetime import date
from functools import lru_cache
from typing import NamedTuple, Protocol

from portfolio_scheduler.simulator.contracts import UNDERLYINGS, Contract, Contracts, is_index
from portfolio_scheduler.simulator.market import INDEX_LEVELS, DayPrices, Market, Stock, load_stocks

# The documented columns and the two more that the real file has.
COLUMNS = (
    "exchange", "exchange_token", "trading_symbol", "groww_symbol", "name", "instrument_type", "segment",
    "series", "isin", "underlying_symbol", "underlying_exchange_token", "expiry_date", "strike_price",
    "lot_size", "tick_size", "freeze_quantity", "is_reserved", "buy_allowed", "sell_allowed",
    "internal_trading_symbol", "is_intraday",
)  # fmt: skip
STOCK_EXCHANGES = ("NSE", "BSE")
FIRST_TOKEN = {"NSE": 1001, "BSE": 500_001}


class Instrument(NamedTuple):
    exchange: str
    segment: str
    symbol: str
    isin: str
    contract: Contract | None


def made_up_stock(number: int) -> Stock:
    """A stock that does not exist, with a valid ISIN, for accounts larger than the real list."""
    body = f"INE{900_000 + number // 100:06}{number % 100:02}"
    return Stock(f"SYN{number:05}", body + _isin_check_digit(body), f"Simulated Company {number}")


def _isin_check_digit(body: str) -> str:
    digits = [int(digit) for character in body for digit in str(int(character, 36))]
    doubled = [digit * 2 if place % 2 == 0 else digit for place, digit in enumerate(reversed(digits))]
    return str(-sum(value // 10 + value % 10 for value in doubled) % 10)


class StockHistory(Protocol):
    """What corporate actions did to the stocks."""

    def isin(self, symbol: str, isin: str, on: date, /) -> str: ...

    def is_gone(self, symbol: str, on: date, /) -> bool: ...


class Instruments:
    def __init__(self, market: Market, history: StockHistory | None = None) -> None:
        self.market = market
        self._history = history
        self.contracts = Contracts(market)
        self.stocks = load_stocks()
        self._by_symbol = {stock.symbol: stock for stock in self.stocks}
        self.csv_of = lru_cache(maxsize=4)(self._csv_of)

    def stocks_on(self, on: date) -> tuple[Stock, ...]:
        """The real stocks that are traded on a day, with the ISIN they have then."""
        if self._history is None:
            return self.stocks
        return tuple(found for stock in self.stocks if (found := self.stock(stock.symbol, on)) is not None)

    def stock(self, symbol: str, on: date) -> Stock | None:
        known = self._by_symbol.get(symbol)
        if known is not None:
            history = self._history
            if history is None:
                return known
            return None if history.is_gone(symbol, on) else known._replace(isin=history.isin(symbol, known.isin, on))
        if symbol.startswith("SYN") and symbol[3:].isdecimal() and len(symbol) == 8:
            return made_up_stock(int(symbol[3:]))
        return None

    def find(self, exchange: str, segment: str, symbol: str, on: date) -> Instrument | None:
        """The instrument, or None if it is unknown, expired or not traded there."""
        if segment == "CASH" and exchange in STOCK_EXCHANGES:
            stock = self.stock(symbol, on)
            if stock is not None:
                return Instrument(exchange, segment, symbol, stock.isin, None)
            return Instrument(exchange, segment, symbol, "", None) if is_index(symbol) and exchange == "NSE" else None
        if segment == "FNO" and exchange == "NSE":
            contract = self.contracts.find(symbol)
            if contract is not None and contract.expiry >= on:
                return Instrument(exchange, segment, symbol, "", contract)
        return None

    def paise(self, instrument: Instrument, wall: int) -> int:
        if instrument.contract is not None:
            return self.contracts.paise(instrument.contract, wall)
        return self.market.paise(instrument.symbol, wall)

    def day_prices(self, instrument: Instrument, wall: int) -> DayPrices:
        """A contract's day is its underlying's day, priced at the same moments."""
        if instrument.contract is None:
            return self.market.day_prices(instrument.symbol, wall)
        now = self.paise(instrument, wall)
        day = self.market.day_prices(instrument.contract.underlying, wall)
        spot = max(day.last, 1)
        scale = [max(now * price // spot // 5 * 5, 5) for price in (day.open, day.high, day.low, day.previous_close)]
        return DayPrices(scale[0], max(scale[1], now), min(scale[2], now), scale[3], now)

    def _csv_of(self, on: date) -> bytes:
        """The instruments file of a day. It has one row with an empty trading symbol, as the real file has."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for place, stock in enumerate(self.stocks_on(on)):
            for exchange in STOCK_EXCHANGES:
                writer.writerow(_stock_row(exchange, FIRST_TOKEN[exchange] + place, stock))
        for name in INDEX_LEVELS:
            writer.writerow(_index_row("NSE", name, name))
        writer.writerow(_index_row("BSE", "19", ""))
        for place, contract in enumerate(self.contracts.listed(on)):
            writer.writerow(_contract_row(40_001 + place, contract, self._token_of(contract.underlying)))
        return text.getvalue().encode()

    def _token_of(self, symbol: str) -> str:
        if is_index(symbol):
            return symbol
        return str(FIRST_TOKEN["NSE"] + self.stocks.index(self._by_symbol[symbol]))


def _stock_row(exchange: str, token: int, stock: Stock) -> dict[str, object]:
    return {
        "exchange": exchange,
        "exchange_token": token,
        "trading_symbol": stock.symbol,
        "groww_symbol": f"{exchange}-{stock.symbol}",
        "name": stock.name,
        "instrument_type": "EQ",
        "segment": "CASH",
        "series": "EQ" if exchange == "NSE" else "A",
        "isin": stock.isin,
        "lot_size": 1,
        "tick_size": "0.05",
        "is_reserved": 0,
        "buy_allowed": 1,
        "sell_allowed": 1,
        "internal_trading_symbol": f"{stock.symbol}-EQ" if exchange == "NSE" else stock.symbol,
        "is_intraday": 1,
    }


def _index_row(exchange: str, token: str, symbol: str) -> dict[str, object]:
    return {
        "exchange": exchange,
        "exchange_token": token,
        "trading_symbol": symbol,
        "groww_symbol": f"{exchange}-{symbol or token}",
        "name": symbol or "BSE index without a symbol",
        "instrument_type": "IDX",
        "segment": "CASH",
        "is_reserved": 0,
        "buy_allowed": 0,
        "sell_allowed": 0,
        "is_intraday": 0,
    }


def _contract_row(token: int, contract: Contract, underlying_token: str) -> dict[str, object]:
    return {
        "exchange": "NSE",
        "exchange_token": token,
        "trading_symbol": contract.symbol,
        "groww_symbol": contract.groww_symbol,
        "instrument_type": contract.kind,
        "segment": "FNO",
        "underlying_symbol": contract.underlying,
        "underlying_exchange_token": underlying_token,
        "expiry_date": contract.expiry.isoformat(),
        "strike_price": contract.strike or "",
        "lot_size": UNDERLYINGS[contract.underlying].lot,
        "tick_size": "0.05",
        "freeze_quantity": UNDERLYINGS[contract.underlying].lot * 24 + 1,
        "is_reserved": 0,
        "buy_allowed": 1,
        "sell_allowed": 1,
        "internal_trading_symbol": contract.symbol,
        "is_intraday": 1,
    }
