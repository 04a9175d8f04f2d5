"""The simulator in a process of its own, which needs nothing else of the product."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import psutil

from portfolio_scheduler.simulator.options import SimulatorOptions
from portfolio_scheduler.simulator.server import Simulator
from portfolio_scheduler.simulator.server import running as simulated


class Host:
    """The simulator's process."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    async def url(self) -> str:
        return self.simulator.url

    async def logins(self) -> list[dict[str, Any]]:
        return self.simulator.logins()

    async def token(self, number: int) -> str:
        return self.simulator.token(number)

    async def pin(self, core: int) -> None:
        psutil.Process().cpu_affinity([core])

    async def stand_at(self, at: datetime, *, ticking: bool = True) -> None:
        """Move the clock, and let every account live through the time in between: no part of what is measured."""
        self.simulator.set_clock(at)
        self.simulator.set_ticking(ticking=ticking)
        for login in self.simulator.accounts:
            self.simulator.account(login.number)

    async def calls(self) -> int:
        """How many calls were answered since last asked."""
        answered = len(self.simulator.requests)
        self.simulator.requests.clear()
        return answered

    async def statuses(self) -> dict[int, int]:
        """How many calls since last asked were answered by which HTTP status."""
        return dict(Counter(request.status for request in self.simulator.requests))


@asynccontextmanager
async def host(options: SimulatorOptions) -> AsyncIterator[Host]:
    async with simulated(options) as simulator:
        yield Host(simulator)
