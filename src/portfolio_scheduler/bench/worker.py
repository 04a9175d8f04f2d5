"""A worker in a process of its own: what `portfolio-scheduler worker` runs, with its own number of syncs at once.

It imports what a worker needs and no more, for its memory is measured.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from portfolio_scheduler.app import running
from portfolio_scheduler.bench.crew import peak_memory_bytes
from portfolio_scheduler.brokers.budget import Rate
from portfolio_scheduler.brokers.groww.client import RATES, Groww
from portfolio_scheduler.clock import TickingClock
from portfolio_scheduler.jobs import Pulse, work
from portfolio_scheduler.settings import Settings

UNLIMITED = {kind: Rate(per_second=10**6, per_minute=10**6) for kind in RATES}


class Worker:
    """A worker's process."""

    def __init__(self, clock: TickingClock) -> None:
        self.clock = clock

    async def stand_at(self, at: datetime) -> None:
        self.clock.set(at)

    async def peak_bytes(self) -> int:
        return peak_memory_bytes()


@asynccontextmanager
async def worker(settings: Settings, at: datetime, *, limited: bool) -> AsyncIterator[Worker]:
    clock = TickingClock(at)
    async with running(settings, clock) as product:
        free = {"groww": Groww(settings.groww_url, rates=UNLIMITED)}
        app = product if limited else msgspec.structs.replace(product, brokers=free)
        stop = asyncio.Event()
        working = asyncio.create_task(work(app, stop, Pulse()))
        try:
            yield Worker(clock)
        finally:
            stop.set()
            await working
