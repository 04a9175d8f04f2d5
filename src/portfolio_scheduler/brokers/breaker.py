"""The circuit breaker of one broker, shared by all accounts of a process: a broker that is down is not stormed.

Nothing of it is kept beyond the process (docs/decisions/0008): every process finds out within twenty calls.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from portfolio_scheduler.clock import Clock
from portfolio_scheduler.errors import BrokerError, BrokerUnavailable

FAILURES = 20  # calls in a row that brought no usable answer
OPEN_SECONDS = 300.0


class Breaker:
    """Opens after so many failures in a row, of whatever accounts; an answer, even a refusal, closes it.

    While it is open an account that has failed sends nothing; any other may send one probe, one at a time. So an
    account whose calls alone fail stops nobody, and a broker that is down costs each account one call.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._failed: set[str] = set()  # accounts that failed since the last answer
        self._open_until: float | None = None
        self._probe = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        return self._open_until is not None

    @asynccontextmanager
    async def turn(self, account: str, call: str, clock: Clock) -> AsyncIterator[None]:
        """Hold this during a call. `BrokerUnavailable` when the call must not go out."""
        if not self.is_open:
            yield
            return
        async with self._probe:
            self._check(account, call, clock.monotonic())
            yield

    def _check(self, account: str, call: str, now: float) -> None:
        if self._open_until is None or account not in self._failed or now >= self._open_until:
            return
        raise BrokerUnavailable(
            f"The broker left {self._failures} calls in a row without an answer, so {call} was not sent; "
            f"it is asked again in {self._open_until - now:.0f} s.",
            call=call,
        )

    def heard(self, account: str, problem: BrokerError | None, now: float) -> None:
        """How a call ended."""
        if not isinstance(problem, BrokerUnavailable):
            self._failures, self._open_until = 0, None
            self._failed.clear()
            return
        self._failures += 1
        self._failed.add(account)
        if self._failures >= FAILURES and (self._open_until is None or now >= self._open_until):
            self._open_until = now + OPEN_SECONDS
