"""Groww's rate limits: so many calls per second, minute and day, shared by all calls of a type, counted per
account."""

from collections import defaultdict
from enum import Enum

from portfolio_scheduler.simulator.answers import Refusal, failure
from portfolio_scheduler.simulator.wall import DAY_SECONDS


class CallType(Enum):
    AUTHENTICATION = "authentication"
    ORDERS = "orders"
    LIVE_DATA = "live data"
    NON_TRADING = "non trading"


# Window in seconds → calls allowed in it.
LIMITS: dict[CallType, dict[int, int]] = {
    CallType.AUTHENTICATION: {1: 5, 60: 30, DAY_SECONDS: 150},
    CallType.ORDERS: {1: 10, 60: 250},
    CallType.LIVE_DATA: {1: 10, 60: 300},
    CallType.NON_TRADING: {1: 20, 60: 500},
}


class Limits:
    def __init__(self) -> None:
        self._windows: dict[tuple[str, CallType, int], list[int]] = defaultdict(lambda: [0, 0])

    def count(self, caller: str, call_type: CallType, now: int) -> None:
        """Count the call, or refuse it until the window resets."""
        for seconds, allowed in LIMITS[call_type].items():
            window = self._windows[(caller, call_type, seconds)]
            if window[0] != now // seconds:
                window[0], window[1] = now // seconds, 0
            window[1] += 1
            if window[1] > allowed:
                raise Refusal(failure(429, "429", "Too many requests."))
