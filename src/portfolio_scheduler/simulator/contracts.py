"""Futures and options. Their prices are made up from the underlying's, plausible enough to carry positions: a future
carries interest, an option its intrinsic value plus a time value that melts until expiry."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from math import isqrt
from typing import NamedTuple

from portfolio_scheduler.simulator.market import INDEX_LEVELS, TICK_PAISE, Market
from portfolio_scheduler.simulator.wall import CLOSE_HOUR, date_of, wall_at

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SYMBOL = re.compile(r"([A-Z&-]+)(\d\d)(" + "|".join(MONTHS) + r")(?:FUT|(\d+)(CE|PE))")
SERIES_LISTED = 3  # the running month and the two after it
STRIKES_EACH_SIDE = 12


class Underlying(NamedTuple):
    lot: int
    strike_step: int  # rupees
    volatility_permille: int  # 0.4 × yearly volatility


UNDERLYINGS = {
    "NIFTY": Underlying(65, 200, 56),
    "BANKNIFTY": Underlying(30, 500, 64),
    "RELIANCE": Underlying(500, 20, 100),
    "HDFCBANK": Underlying(550, 10, 90),
    "ICICIBANK": Underlying(700, 20, 90),
    "INFY": Underlying(400, 20, 110),
    "SBIN": Underlying(750, 10, 100),
    "TCS": Underlying(175, 40, 100),
}


class Contract(NamedTuple):
    underlying: str
    expiry: date
    kind: str  # FUT, CE or PE
    strike: int  # rupees; 0 for a future

    @property
    def symbol(self) -> str:
        tail = "FUT" if self.kind == "FUT" else f"{self.strike}{self.kind}"
        return f"{self.underlying}{self.expiry:%y}{MONTHS[self.expiry.month - 1]}{tail}"

    @property
    def groww_symbol(self) -> str:
        tail = "FUT" if self.kind == "FUT" else f"{self.strike}-{self.kind}"
        return f"NSE-{self.underlying}-{self.expiry:%d%b%y}-{tail}"

    @property
    def lot(self) -> int:
        return UNDERLYINGS[self.underlying].lot


class Contracts:
    """The contracts of one market."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self.expiry_of = lru_cache(maxsize=None)(self._expiry_of)
        self.find = lru_cache(maxsize=10_000)(self._find)
        self.longest_lived = lru_cache(maxsize=4)(self._longest_lived)

    def _expiry_of(self, year: int, month: int) -> date:
        """The last Tuesday of the month, or the session before it where the exchange is closed that day."""
        first_of_next = date(year + month // 12, month % 12 + 1, 1)
        day = first_of_next - timedelta(days=(first_of_next.weekday() - 2) % 7 + 1)
        return day if day > self._market.days.last else self._market.days.at_or_before(day)

    def _find(self, symbol: str) -> Contract | None:
        """The contract of this trading symbol, whether expired or not."""
        match = _SYMBOL.fullmatch(symbol)
        if match is None or match[1] not in UNDERLYINGS:
            return None
        expiry = self.expiry_of(2000 + int(match[2]), MONTHS.index(match[3]) + 1)
        return Contract(match[1], expiry, match[5] or "FUT", int(match[4] or 0))

    def expiries(self, on: date) -> list[date]:
        """The listed series on this day, nearest first."""
        months = ((on.year * 12 + on.month - 1 + ahead) for ahead in range(SERIES_LISTED + 1))
        found = [self.expiry_of(month // 12, month % 12 + 1) for month in months]
        return [expiry for expiry in found if expiry >= on][:SERIES_LISTED]

    def listed(self, on: date) -> Iterator[Contract]:
        for underlying in UNDERLYINGS:
            for expiry in self.expiries(on):
                yield Contract(underlying, expiry, "FUT", 0)
                for strike in self.strikes(underlying, expiry):
                    yield Contract(underlying, expiry, "CE", strike)
                    yield Contract(underlying, expiry, "PE", strike)

    def _longest_lived(self, on: date) -> list[Contract]:
        return sorted(self.listed(on), key=lambda contract: contract.expiry, reverse=True)

    def strikes(self, underlying: str, expiry: date) -> list[int]:
        """Fixed when the series was listed, 100 days before it expires."""
        days = self._market.days
        index = days.index_at(max(expiry - timedelta(days=100), days.first))
        step = UNDERLYINGS[underlying].strike_step
        middle = self._market.close(underlying, index) // 100 // step * step
        return [middle + step * away for away in range(-STRIKES_EACH_SIDE, STRIKES_EACH_SIDE + 1)]

    def paise(self, contract: Contract, wall: int) -> int:
        spot = self._market.paise(contract.underlying, wall)
        days_left = max((contract.expiry - date_of(wall)).days, 0)
        if contract.kind == "FUT":
            price = spot + spot * 7 * days_left // 36_500
        else:
            price = self._option_paise(contract, spot, days_left)
        return max(price // TICK_PAISE * TICK_PAISE, TICK_PAISE)

    @staticmethod
    def _option_paise(contract: Contract, spot: int, days_left: int) -> int:
        strike = contract.strike * 100
        intrinsic = max(spot - strike if contract.kind == "CE" else strike - spot, 0)
        root_of_time = isqrt(days_left * 1_000_000 // 365)  # thousandths of the root of a year
        at_the_money = spot * UNDERLYINGS[contract.underlying].volatility_permille * root_of_time // 1_000_000
        if at_the_money == 0:
            return intrinsic
        return intrinsic + int(at_the_money**3 // (at_the_money + abs(spot - strike)) ** 2)

    def settlement_paise(self, contract: Contract) -> int:
        """What is left of a position when it expires."""
        return self.paise(contract, wall_at(contract.expiry, CLOSE_HOUR, 30))


def is_index(symbol: str) -> bool:
    return symbol in INDEX_LEVELS
