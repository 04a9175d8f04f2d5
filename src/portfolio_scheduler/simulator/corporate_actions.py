"""Bonus, split, merger and demerger. The closing prices of the package are adjusted; for a stock with an action the
market gives the prices that stood in the newspaper on each day, and holdings change on the day the action says."""

from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class CorporateAction:
    """`old` units held become `new` units: a bonus of 1:1 and a split of ₹10 into ₹5 are both 2 for 1."""

    kind: Literal["bonus", "split", "merger", "demerger"]
    symbol: str
    on: date  # the ex-date: prices and holdings are new from this morning
    new: int = 1
    old: int = 1
    credited_on: date | None = None  # a bonus may arrive days after the ex-date
    isin_before: str | None = None  # a split changes the ISIN
    into: str | None = None  # symbol of the company that a merger or demerger gives units of
    cost_permille: int = 0  # of a demerger: the share of the cost that goes to the new company

    @property
    def ratio(self) -> Fraction:
        return Fraction(self.new, self.old)

    @property
    def scales_price(self) -> bool:
        return self.kind in {"bonus", "split"}


class CorporateActions:
    """What has happened to the stocks, asked by day."""

    def __init__(self, actions: tuple[CorporateAction, ...]) -> None:
        self.all = actions
        self._by_symbol: dict[str, list[CorporateAction]] = {}
        for action in actions:
            self._by_symbol.setdefault(action.symbol, []).append(action)

    def scaled(self, symbol: str, paise: int, on: date) -> int:
        """An adjusted price in the units of that day."""
        actions = self._by_symbol.get(symbol)
        if not actions:
            return paise
        factor = Fraction(1)
        for action in actions:
            if action.scales_price and on < action.on:
                factor *= action.ratio
        return round(paise * factor)

    def isin(self, symbol: str, isin: str, on: date) -> str:
        for action in sorted(self._by_symbol.get(symbol, ()), key=lambda action: action.on):
            if action.isin_before is not None and on < action.on:
                return action.isin_before
        return isin

    def is_gone(self, symbol: str, on: date) -> bool:
        return any(action.kind == "merger" and on >= action.on for action in self._by_symbol.get(symbol, ()))
