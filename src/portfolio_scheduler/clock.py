"""The one source of time. Everything that needs the time is given a `Clock`; nothing else reads it.

Leases and heartbeats are the exception: they use the database's clock.
"""

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from portfolio_scheduler.errors import SetupProblem

IST = ZoneInfo("Asia/Kolkata")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # in every locale


class Clock(Protocol):
    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class TickingClock:
    """A clock that was set to some instant and ticks on from there in real time. `set` moves it forward."""

    def __init__(self, at: datetime) -> None:
        self._base = at.astimezone(UTC)
        self._since = time.monotonic()

    def set(self, at: datetime) -> None:
        if at < self.now():
            raise ValueError(f"a clock does not go back: {at} is before {self.now()}")
        self._base, self._since = at.astimezone(UTC), time.monotonic()

    def now(self) -> datetime:
        return self._base + timedelta(seconds=time.monotonic() - self._since)

    def monotonic(self) -> float:
        return self.now().timestamp()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class StoppedClock:
    """A clock that stands still until it is told to move; sleeping moves it. For tests."""

    def __init__(self, at: datetime) -> None:
        self.at = at.astimezone(UTC)

    def set(self, at: datetime) -> None:
        self.at = at.astimezone(UTC)

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)


def make_clock(setting: str | None) -> Clock:
    """The clock of the setting PORTFOLIO_SCHEDULER_CLOCK: "INSTANT@INSTANT" says what it was when it really was."""
    if not setting:
        return SystemClock()
    try:
        at, _, really = setting.partition("@")
        since = datetime.now(UTC) - datetime.fromisoformat(really).astimezone(UTC)
        return TickingClock(datetime.fromisoformat(at) + since)
    except ValueError as e:
        raise SetupProblem(
            f"PORTFOLIO_SCHEDULER_CLOCK is {setting!r}; it must be two instants such as "
            "2026-04-24T16:00:00+05:30@2026-11-23T09:00:00+00:00."
        ) from e


def ist_date(at: datetime) -> date:
    """The calendar date in India of an aware instant."""
    return at.astimezone(IST).date()


def ist(on: date, hour: int, minute: int = 0, second: int = 0) -> datetime:
    """The instant of a wall-clock time in India."""
    return datetime(on.year, on.month, on.day, hour, minute, second, tzinfo=IST).astimezone(UTC)


def day_in_words(on: date) -> str:
    """A date for people: 24 Apr 2026."""
    return f"{on.day} {MONTHS[on.month - 1]} {on.year}"


def ist_time_in_words(at: datetime) -> str:
    """An aware instant for people, in India: 24 Apr 2026 16:00."""
    assert at.tzinfo is not None, "an instant without a time zone"
    local = at.astimezone(IST)
    return f"{day_in_words(local.date())} {local:%H:%M}"
