"""The whole product on a stage: simulator and workers in processes of their own, accounts connected, days that pass.

A worker here is what `portfolio-scheduler worker` runs: planner, sweeper and queue, with its own number of syncs at
once. Syncs are put on the queue as the planner puts them there.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
import psutil

from portfolio_scheduler.app import App, running
from portfolio_scheduler.bench import place
from portfolio_scheduler.bench.crew import Crew, Failed, peak_memory_bytes
from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.brokers.budget import Rate
from portfolio_scheduler.brokers.groww.client import RATES, Groww
from portfolio_scheduler.clock import StoppedClock, SystemClock, TickingClock, ist
from portfolio_scheduler.db import planning, queue
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.planning import Due
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.jobs import Pulse, work
from portfolio_scheduler.market.calendar import make_calendar
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.simulator.options import LAST_DAY, SimulatorOptions
from portfolio_scheduler.simulator.server import Simulator
from portfolio_scheduler.simulator.server import running as simulated
from portfolio_scheduler.sync.connect import connect

CONNECTED_AT_ONCE = 6
LOOK_SECONDS = 0.02  # how often we ask whether all syncs have ended
PATIENCE_SECONDS = 600
UNLIMITED = {kind: Rate(per_second=10**6, per_minute=10**6) for kind in RATES}


def trading_days(how_many: int) -> list[date]:
    """The last ones the simulator has prices for."""
    sessions = make_calendar().sessions(date(2024, 1, 1), LAST_DAY)
    return [session.on for session in sessions][-how_many:]


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


class Stage:
    """Simulator, database and accounts. `sync` runs all given accounts once and says how long it took."""

    def __init__(self, app: App, simulator: Crew) -> None:
        self.app = app
        self.simulator = simulator
        (self.logins,) = simulator.tell("logins")
        self.workers: Crew | None = None

    def stand_at(self, at: datetime) -> None:
        assert isinstance(self.app.clock, StoppedClock)
        self.app.clock.set(at)
        self.simulator.tell("stand_at", at)
        if self.workers is not None:
            self.workers.tell("stand_at", at)

    @contextmanager
    def working(self, processes: int, *, limited: bool = True) -> Iterator[Crew]:
        """So many workers wait for syncs inside the block."""
        with Crew(processes, worker, self.app.settings, self.app.clock.now(), limited=limited) as crew:
            self.workers = crew
            yield crew
        self.workers = None

    async def connect(self, numbers: Sequence[int]) -> list[Account]:
        """The simulator's accounts of these numbers, added as their owners would."""
        turns = asyncio.Semaphore(CONNECTED_AT_ONCE)

        async def one(number: int) -> Account:
            async with turns:
                return await connect(
                    self.app, broker="groww", label=f"account {number}", credentials=self._credentials(number)
                )

        return await asyncio.gather(*(one(number) for number in numbers))

    def _credentials(self, number: int) -> Credentials:
        login = self.logins[number - 1]
        return Credentials(
            login=Login(login["method"]),
            api_key=login["api_key"],
            api_secret=login["secret"] or "",
            totp_secret=login["totp_secret"] or "",
        )

    async def sync(self, account_ids: Sequence[UUID]) -> float:
        """Put a sync of each on the queue and wait until all have ended. Seconds."""
        clock, now = SystemClock(), self.app.clock.now()
        started = clock.monotonic()
        due = [Due(account_id=account_id, slot_at=now, trigger="scheduled") for account_id in account_ids]
        async with transaction(self.app.pool) as tx:
            await queue.enqueue(tx, await planning.add_due(tx, due, now))
        while await self._open():
            if clock.monotonic() - started > PATIENCE_SECONDS:
                raise Failed(f"{await self._open()} syncs have not ended within {PATIENCE_SECONDS} s.")
            await asyncio.sleep(LOOK_SECONDS)
        seconds = clock.monotonic() - started
        await self._see_that_all_went_well(now, len(account_ids))
        return seconds

    async def _open(self) -> int:
        async with transaction(self.app.pool) as tx:
            cursor = await tx.execute("SELECT count(*) FROM sync_batches WHERE status IN ('queued', 'running')")
            (left,) = await cursor.fetchone() or (0,)
            return int(left)

    async def _see_that_all_went_well(self, slot_at: datetime, expected: int) -> None:
        async with transaction(self.app.pool) as tx:
            cursor = await tx.execute(
                "SELECT status, min(error_text), count(*) FROM sync_batches WHERE slot_at = %s GROUP BY status",
                (slot_at,),
            )
            found = await cursor.fetchall()
        if [(status, number) for status, _, number in found] != [("completed", expected)]:
            raise Failed(f"Of {expected} syncs at {slot_at} not all were completed: {found}.")


@asynccontextmanager
async def staged(options: SimulatorOptions) -> AsyncIterator[Stage]:
    """A stage of its own, standing at 09:00 of the simulator's day."""
    with ExitStack() as stack:
        simulator = stack.enter_context(Crew(1, host, options))
        settings, _ = stack.enter_context(place.fresh())
        (url,) = simulator.tell("url")
        settings = msgspec.structs.replace(settings, groww_url=url)
        async with running(settings, StoppedClock(ist(options.on, 9))) as app:
            yield Stage(app, simulator)
