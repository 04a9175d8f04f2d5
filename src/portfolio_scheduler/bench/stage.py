"""The whole product on a stage: simulator and workers in processes of their own, accounts connected, days that pass.

Syncs are put on the queue as the planner puts them there.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import date, datetime
from uuid import UUID

import msgspec

from portfolio_scheduler.app import App, running
from portfolio_scheduler.bench import place
from portfolio_scheduler.bench.crew import Crew, Failed
from portfolio_scheduler.bench.host import host
from portfolio_scheduler.bench.worker import worker
from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.clock import StoppedClock, SystemClock, ist
from portfolio_scheduler.db import planning, queue
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.planning import Due
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.market.calendar import make_calendar
from portfolio_scheduler.simulator.options import LAST_DAY, SimulatorOptions
from portfolio_scheduler.sync.connect import connect

CONNECTED_AT_ONCE = 6
LOOK_SECONDS = 0.02  # how often we ask whether all syncs have ended
PATIENCE_SECONDS = 600


def trading_days(how_many: int) -> list[date]:
    """The last ones the simulator has prices for."""
    sessions = make_calendar().sessions(date(2024, 1, 1), LAST_DAY)
    return [session.on for session in sessions][-how_many:]


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
        asked = clock.monotonic()
        while not await self._add(account_ids, now):  # what a worker's own planner added goes first
            await self._wait_a_little(asked)
        started = clock.monotonic()
        while await self._open():
            await self._wait_a_little(started)
        seconds = clock.monotonic() - started
        await self._see_that_all_went_well(now, len(account_ids))
        return seconds

    async def _add(self, account_ids: Sequence[UUID], now: datetime) -> bool:
        """As the planner does: who holds an account may add its batch, unless it has an open one."""
        due = [Due(account_id=account_id, slot_at=now, trigger="scheduled") for account_id in account_ids]
        async with transaction(self.app.pool) as tx:
            query = "SELECT FROM broker_accounts WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
            await tx.execute(query, (list(account_ids),))
            if await _open_in(tx):
                return False
            await queue.enqueue(tx, await planning.add_due(tx, due, now))
            return True

    async def _wait_a_little(self, since: float) -> None:
        if SystemClock().monotonic() - since > PATIENCE_SECONDS:
            raise Failed(f"{await self._open()} syncs have not ended within {PATIENCE_SECONDS} s.")
        await asyncio.sleep(LOOK_SECONDS)

    async def _open(self) -> int:
        async with transaction(self.app.pool) as tx:
            return await _open_in(tx)

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


async def _open_in(tx: Tx) -> int:
    cursor = await tx.execute("SELECT count(*) FROM sync_batches WHERE status IN ('queued', 'running')")
    (left,) = await cursor.fetchone() or (0,)
    return int(left)
