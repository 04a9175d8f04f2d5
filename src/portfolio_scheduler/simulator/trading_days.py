"""The sessions of the exchange, as a sorted list that can be asked for neighbours."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date

from portfolio_scheduler.errors import InvalidInput


class TradingDays:
    def __init__(self, days: Sequence[date]) -> None:
        self._days = list(days)
        self._index = {day: index for index, day in enumerate(self._days)}

    def __contains__(self, day: object) -> bool:
        return day in self._index

    def __len__(self) -> int:
        return len(self._days)

    def __getitem__(self, index: int) -> date:
        return self._days[index]

    @property
    def first(self) -> date:
        return self._days[0]

    @property
    def last(self) -> date:
        return self._days[-1]

    def index_at(self, day: date) -> int:
        """The index of the latest session on or before the day."""
        index = bisect_right(self._days, day) - 1
        if index < 0:
            raise InvalidInput(f"No prices are known for {day}; the first day is {self.first}.")
        return index

    def at_or_before(self, day: date) -> date:
        return self._days[self.index_at(day)]

    def at_or_after(self, day: date) -> date | None:
        """The first session on or after the day, None when the list ends before."""
        index = bisect_left(self._days, day)
        return self._days[index] if index < len(self._days) else None

    def back(self, day: date, sessions: int) -> date:
        """So many sessions before the day, not further back than the list reaches."""
        return self._days[max(self.index_at(day) - sessions, 0)]
