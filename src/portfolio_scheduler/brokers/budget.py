"""How fast one account may ask: sliding windows per second and per minute, and a pause after a 429.

One `Budget` per key at the broker, shared by the sessions of one process that follow or overtake each other (a sync and
the probe of a login); used by `http.py`. All waiting goes through the injected clock.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct

from portfolio_scheduler.clock import Clock

FIRST_PAUSE_SECONDS = 60.0  # after a 429 that does not say how long; doubles each time
LONGEST_PAUSE_SECONDS = 900.0
LONGEST_HONOURED_SECONDS = 6 * 3600.0  # of a Retry-After: garbage must not silence an account for ever
FORGOTTEN_AFTER_SECONDS = 2 * LONGEST_PAUSE_SECONDS


class Rate(Struct, frozen=True, kw_only=True):
    """At most so many calls in any second and in any minute."""

    per_second: int
    per_minute: int


class _Window:
    """The calls of the last minute of one class. A slot is reserved at once, so waiters go in order."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._slots: deque[float] = deque(maxlen=rate.per_minute)

    def reserve(self, now: float) -> float:
        """The earliest moment at which one more call fits."""
        slots, at = self._slots, now
        if len(slots) >= self._rate.per_second:
            at = max(at, slots[-self._rate.per_second] + 1.0)
        if len(slots) == self._rate.per_minute:
            at = max(at, slots[0] + 60.0)
        slots.append(at)
        return at


class Budget:
    """Lets calls through at the allowed rate of their class; a throttled account waits as a whole."""

    def __init__(self, rates: Mapping[str, Rate], clock: Clock) -> None:
        self._clock = clock
        self._windows = {kind: _Window(rate) for kind, rate in rates.items()}
        self._paused_until = float("-inf")
        self._given_up_until = float("-inf")
        self._strikes = 0  # 429s in a row
        self._probe = asyncio.Lock()
        self.used_at = clock.monotonic()

    @asynccontextmanager
    async def turn(self, kind: str) -> AsyncIterator[None]:
        """Wait for a turn, then hold it for the call. After a 429 one call at a time goes out until one succeeds."""
        if self._strikes:
            async with self._probe:
                await self._wait(kind)
                yield
        else:
            await self._wait(kind)
            yield

    async def _wait(self, kind: str) -> None:
        self.used_at = self._clock.monotonic()
        at = self._windows[kind].reserve(self.used_at)
        while (seconds := max(at, self._paused_until) - self._clock.monotonic()) > 0:
            await self._clock.sleep(seconds)

    def pause_seconds(self, retry_after_seconds: float | None) -> float:
        """How long the next pause would be: what the broker asks for the first time, at least a minute after that."""
        doubled = min(FIRST_PAUSE_SECONDS * 2.0 ** max(self._strikes - 1, 0), LONGEST_PAUSE_SECONDS)
        if retry_after_seconds is None:
            return min(FIRST_PAUSE_SECONDS * 2.0**self._strikes, LONGEST_PAUSE_SECONDS)
        asked = min(retry_after_seconds, LONGEST_HONOURED_SECONDS)
        return asked if not self._strikes else max(asked, doubled)

    @property
    def paused(self) -> bool:
        return self._clock.monotonic() < self._paused_until

    def pause(self, seconds: float) -> None:
        """Hold every call of the account for so long."""
        self._strikes += 1
        self._paused_until = self._clock.monotonic() + seconds

    def give_up(self, seconds: float) -> None:
        """Send nothing for so long: nobody waits for it."""
        self._given_up_until = max(self._given_up_until, self._clock.monotonic() + seconds)

    @property
    def given_up_seconds(self) -> float:
        """How long nothing is sent from now on; 0 when calls may go out."""
        return max(self._given_up_until - self._clock.monotonic(), 0.0)

    def succeeded(self) -> None:
        self._strikes = 0


class Budgets:
    """The budgets of a process, one for each key; those not used for long are forgotten."""

    def __init__(self, rates: Mapping[str, Rate]) -> None:
        self._rates = rates
        self._budgets: dict[str, Budget] = {}

    def of(self, key: str, clock: Clock) -> Budget:
        now = clock.monotonic()
        for name, kept in list(self._budgets.items()):
            turned_back = kept.used_at > now  # the clock of a demonstration or a test
            if turned_back or (now - kept.used_at > FORGOTTEN_AFTER_SECONDS and not kept.given_up_seconds):
                del self._budgets[name]
        return self._budgets.setdefault(key, Budget(self._rates, clock))
