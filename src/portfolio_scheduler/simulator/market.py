"""Prices: real closes from the package, and between two closes a path made from the seed. Prices are whole paise until
they leave as rupees, so nothing is ever rounded by accident."""

import csv
import gzip
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from random import Random
from typing import NamedTuple

from portfolio_scheduler.errors import NotFound
from portfolio_scheduler.simulator.trading_days import TradingDays
from portfolio_scheduler.simulator.wall import DAY_SECONDS, date_of

OPEN_SECOND = 9 * 3600 + 15 * 60
CLOSE_SECOND = 15 * 3600 + 30 * 60
KNOT_SECONDS = 900
KNOTS = (CLOSE_SECOND - OPEN_SECOND) // KNOT_SECONDS  # pieces of the path between open and close
TICK_PAISE = 5

# Index levels are not in the figures: each is the average growth of its members, scaled to this level on the last day.
BANKS = ("AXISBANK", "BANKBARODA", "CANBK", "HDFCBANK", "ICICIBANK", "KOTAKBANK", "PNB", "SBIN")
INDEX_LEVELS = {"NIFTY": 2_450_000, "BANKNIFTY": 5_500_000}


class Stock(NamedTuple):
    symbol: str
    isin: str
    name: str


class DayPrices(NamedTuple):
    """What is known of a session at some moment, in paise."""

    open: int
    high: int
    low: int
    previous_close: int
    last: int


def rupees(paise: int) -> Decimal:
    return Decimal(paise).scaleb(-2)


def _rows(name: str) -> Iterator[list[str]]:
    packed = (files("portfolio_scheduler.simulator") / "data" / f"{name}.csv.gz").read_bytes()
    rows = csv.reader(gzip.decompress(packed).decode().splitlines())
    next(rows)
    return rows


@cache
def load_stocks() -> tuple[Stock, ...]:
    return tuple(Stock(symbol, isin, name) for symbol, isin, name, _ in _rows("stocks"))


@cache
def load_trading_days() -> TradingDays:
    return TradingDays([date.fromisoformat(row[0]) for row in _rows("trading_days")])


@cache
def load_closes() -> dict[str, list[int]]:
    """Symbol → its close in paise on every trading day; a missing close repeats the one before."""
    by_day = {row[0]: row[1:] for row in _rows("closes")}
    symbols = [stock.symbol for stock in load_stocks()]
    columns: dict[str, list[int]] = {symbol: [] for symbol in symbols}
    days = load_trading_days()
    for index in range(len(days)):
        row = by_day.get(days[index].isoformat(), [""] * len(symbols))
        for symbol, text in zip(symbols, row, strict=True):
            column = columns[symbol]
            column.append(int(text.replace(".", "")) if text else column[-1])
    for name, level in INDEX_LEVELS.items():
        columns[name] = _index_column(columns, BANKS if name == "BANKNIFTY" else tuple(symbols), level)
    return columns


def _index_column(columns: dict[str, list[int]], members: tuple[str, ...], level: int) -> list[int]:
    sums = [
        sum(columns[symbol][index] * 1_000_000 // columns[symbol][0] for symbol in members)
        for index in range(len(columns[members[0]]))
    ]
    return [total * level // sums[-1] // TICK_PAISE * TICK_PAISE for total in sums]


Scaled = Callable[[str, int, date], int]


def adjusted(symbol: str, paise: int, on: date) -> int:  # noqa: ARG001 - the shape of `Scaled`
    """Prices as they are in the package: split- and bonus-adjusted on all days."""
    return paise


class Market:
    """The prices of one seed. `close` and `path` are adjusted prices, all others are in the units of their day."""

    def __init__(self, seed: int, scaled: Scaled = adjusted) -> None:
        self._seed = seed
        self.scaled = scaled
        self._closes = load_closes()
        self._symbols = [stock.symbol for stock in load_stocks()]
        self._paths: dict[tuple[str, int], list[int]] = {}
        self.days = load_trading_days()

    def close(self, symbol: str, index: int) -> int:
        """The close in paise of the trading day with this index."""
        column = self._closes.get(symbol)
        if column is None:
            column = self._closes[self._model_of(symbol)]
        return column[max(index, 0)]

    def _model_of(self, symbol: str) -> str:
        """Made-up stocks (`SYN00012`, for accounts larger than the real list) move as a real one does."""
        if not symbol.startswith("SYN"):
            raise NotFound(f"No prices are known for {symbol}.")
        return self._symbols[int(symbol[3:]) % len(self._symbols)]

    def path(self, symbol: str, index: int) -> list[int]:
        """Prices in paise at 09:15, 09:30 … 15:30: a random bridge from the previous close to the close."""
        known = self._paths.get((symbol, index))
        if known is None:
            if len(self._paths) > 20_000:
                self._paths.clear()
            known = self._paths[(symbol, index)] = self._make_path(symbol, index)
        return known

    def _make_path(self, symbol: str, index: int) -> list[int]:
        random = Random(f"{self._seed}/{symbol}/{index}")  # noqa: S311 - prices, not secrets
        start, end = self.close(symbol, index - 1), self.close(symbol, index)
        step = max(start * 15 // 10_000, TICK_PAISE)
        walk = [random.randint(-step, step)]
        for _ in range(KNOTS):
            walk.append(walk[-1] + random.randint(-step, step))
        path = [
            start + (end - start) * knot // KNOTS + noise - walk[-1] * knot // KNOTS for knot, noise in enumerate(walk)
        ]
        return [*(price // TICK_PAISE * TICK_PAISE for price in path[:-1]), end]

    def paise(self, symbol: str, wall: int) -> int:
        """The last traded price at this moment."""
        day = date_of(wall)
        return self.scaled(symbol, self._adjusted_paise(symbol, wall, day), day)

    def _adjusted_paise(self, symbol: str, wall: int, day: date) -> int:
        index = self.days.index_at(day)
        second = wall % DAY_SECONDS
        if self.days[index] != day or second >= CLOSE_SECOND:
            return self.close(symbol, index)
        if second < OPEN_SECOND:
            return self.close(symbol, index - 1)
        knot, rest = divmod(second - OPEN_SECOND, KNOT_SECONDS)
        path = self.path(symbol, index)
        price = path[knot] + (path[knot + 1] - path[knot]) * rest // KNOT_SECONDS
        return price // TICK_PAISE * TICK_PAISE

    def day_prices(self, symbol: str, wall: int) -> DayPrices:
        """Open, high and low so far of the latest session; before the open all equal the previous close."""
        day = date_of(wall)
        index = self.days.index_at(day)
        second = wall % DAY_SECONDS if self.days[index] == day else CLOSE_SECOND
        last = self._adjusted_paise(symbol, wall, day)
        if second < OPEN_SECOND:
            return DayPrices(*[self.scaled(symbol, last, day)] * 5)
        passed = min((second - OPEN_SECOND) // KNOT_SECONDS + 1, KNOTS + 1)
        seen = [*self.path(symbol, index)[:passed], last]
        known = (seen[0], max(seen), min(seen), self.close(symbol, index - 1), last)
        return DayPrices(*(self.scaled(symbol, paise, day) for paise in known))
