"""The general limit: requests a minute of one person, counted in this process and without asking anybody.

It keeps a client that runs wild from taking everybody's connections. What guards passwords is counted in the database
(`limits.py`), where all processes see it.
"""

from collections import OrderedDict
from datetime import datetime

from portfolio_scheduler.errors import TooMany

REMEMBERED = 10_000  # people and addresses, a hundred bytes each


class Pace:
    """A bucket for each key that holds a minute's worth and refills evenly. Belongs to one event loop."""

    def __init__(self, requests_a_minute: int | None) -> None:
        self._most = requests_a_minute
        self._left: OrderedDict[object, tuple[float, datetime]] = OrderedDict()

    def count(self, key: object, now: datetime) -> None:
        """One request; `TooMany` when the minute's worth is used up."""
        if self._most is None:
            return
        left, since = self._left.pop(key, (self._most, now))
        left = min(left + max((now - since).total_seconds(), 0) * self._most / 60, self._most)
        self._left[key] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        if left < 1:
            seconds = int((1 - left) * 60 / self._most) + 1
            raise TooMany(
                f"More than {self._most} requests in a minute; wait {seconds} s.", retry_after_seconds=seconds
            )
