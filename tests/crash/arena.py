"""Where crashes are tried: accounts at the broker's process, a database, workers that die, and an oracle that looks on.

Time goes by moments: the broker's clock stands at one, the planner of the next worker finds all accounts due, workers
are started, disturbed and replaced until every account has been read, then the oracle judges.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psutil
import psycopg
from psycopg.types.json import Jsonb

from portfolio_scheduler.app import App
from portfolio_scheduler.bench.crew import Crew
from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.checks import check
from portfolio_scheduler.clock import StoppedClock, ist
from portfolio_scheduler.db import accounts
from portfolio_scheduler.db.pool import make_pool, opened, transaction
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.errors import DatabaseUnavailable
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.simulator.options import Load, SimulatorOptions
from portfolio_scheduler.sync.connect import connect
from tests.conftest import Database, keys_of
from tests.crash.broker import broker
from tests.crash.oracle import FACTS, Oracle, Verdict
from tests.crash.worker_process import CALENDAR, Duty, Trouble, Worker, nursery

LEASE_SECONDS = 1
PATIENCE_SECONDS = 300  # for one moment; what takes longer hangs, and counts as a failure
LOOK_SECONDS = 0.05
HOURS = NOON, EVENING, NIGHT = 12, 16, 20  # nothing happens between the last two, so that the second reads the same
SCHEDULES = [{"cron": f"0 {hour} * * 1-5", "timezone": "Asia/Kolkata"} for hour in HOURS]
SLEPT = timedelta(minutes=15)  # workers look so long after the slot: a catch-up is never spread over time
RETRY = timedelta(minutes=16)


class BrokerCrew(Crew):
    """Forked like the workers."""

    context = nursery


class Arena:
    """One database, one broker, any number of workers."""

    def __init__(self, database: Database, app: App, broker: Crew, connection: "psycopg.Connection[Any]") -> None:
        self.database = database
        self.app = app
        self.broker = broker
        self.connection = connection
        self.oracle = Oracle()
        self.numbers: dict[UUID, int] = {}
        self.workers: list[Worker] = []
        self.conninfo = database.worker  # what workers connect to: perhaps a proxy
        self.settings = msgspec.structs.replace(app.settings, lease_seconds=LEASE_SECONDS)
        self.moved_on = 0  # how often workers had to look again a quarter of an hour later
        self._days = [session.on for session in CALENDAR.sessions(date(2024, 1, 2), date(2026, 4, 24))]
        self._day = -1
        self._at = datetime.min.replace(tzinfo=UTC)
        self._began = 0.0

    # ── time ──

    def next_moment(self, hour: int, *, skipping: int = 0, another_day: bool = False) -> None:
        """Noon of the next trading day (after so many that nobody reads), or a later hour of this one (or the next)."""
        lost: list[date] = []
        if hour == NOON or another_day or self._day < 0:
            first = self._day < 0
            self._day += 1 if first else 1 + skipping
            lost = [] if first else self._days[self._day - skipping : self._day]
        on = self._days[self._day]
        self._stand_at(ist(on, hour))
        (truth,) = self.broker.tell("truth")
        self.oracle.observe(self._at, on, truth, after_close=hour == EVENING, lost=lost)

    @property
    def hour(self) -> int:
        return NOON if self._at.hour < 9 else EVENING

    def _stand_at(self, at: datetime) -> None:
        self._at = at + SLEPT
        self._began = time.monotonic()
        self.broker.tell("stand_at", self._at, ticking=False)

    def now(self) -> datetime:
        """The workers' time: it goes on while they are replaced."""
        return self._at + timedelta(seconds=time.monotonic() - self._began)

    # ── workers ──

    def start(self, *trouble: Trouble, **duty: Any) -> Worker:
        worker = Worker(
            Duty(
                settings=self.settings,
                conninfo=self.conninfo,
                superuser=self.database.superuser,
                at=self.now(),
                trouble=trouble,
                **duty,
            )
        )
        self.workers.append(worker)
        return worker

    def end_workers(self) -> None:
        while self.workers:
            self.workers.pop().end()

    async def frozen(self, worker: Worker) -> bool:
        """Wait until the worker has stopped itself."""
        return await self._until(lambda: self._is_stopped(worker), PATIENCE_SECONDS)

    def _is_stopped(self, worker: Worker) -> bool:
        return bool(worker.told()) and psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED

    async def ended(self, worker: Worker, seconds: float) -> bool:
        return await self._until(lambda: not worker.is_alive, seconds)

    async def until(self, so: Callable[[], bool]) -> bool:
        return await self._until(so, PATIENCE_SECONDS)

    async def _until(self, so: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if so():
                return True
            await asyncio.sleep(LOOK_SECONDS / 2)
        return False

    async def done(self, *, workers: int = 1) -> bool:
        """Wait until every account has been read at this moment, replacing workers that died."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        quiet_since, quiet_seconds = time.monotonic(), 3.0 * LEASE_SECONDS
        while time.monotonic() < deadline:
            completed, unfinished = self._state()
            if completed and not unfinished:
                return True
            if unfinished:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > quiet_seconds:  # all ended, some badly: the planner waits
                self._move_on()
                quiet_since = time.monotonic()
                quiet_seconds = min(quiet_seconds * 2, 30)  # or a busy machine starts workers only to end them
            self._replace_dead(workers)
            await asyncio.sleep(LOOK_SECONDS)
        return False

    def _replace_dead(self, wanted: int) -> None:
        dead = [worker for worker in self.workers if not worker.is_alive]
        for worker in dead:
            worker.end()
            self.workers.remove(worker)
        for _ in range(wanted - len(self.workers)):
            self.start()

    def _move_on(self) -> None:
        """What ended badly is tried again after a quarter of an hour: let the workers be at that time."""
        self.moved_on += 1
        self.end_workers()
        self._began -= RETRY.total_seconds()
        if self.hour == EVENING:  # nothing happens at the broker any more, so its clock may go along
            self.broker.tell("stand_at", self.now(), ticking=False)

    def _state(self) -> tuple[bool, int]:
        """Whether all accounts have a completed batch of this moment, and how many batches are open."""
        try:
            row = self.connection.execute(
                """SELECT count(DISTINCT account_id) FILTER (WHERE status = 'completed' AND queued_at >= %s),
                    count(*) FILTER (WHERE status IN ('queued', 'running')) FROM sync_batches""",
                (self._at,),
            ).fetchone()
        except psycopg.OperationalError:
            self.reconnect()
            return False, 1
        assert row is not None
        return row[0] == len(self.numbers), row[1]

    def completed(self) -> int:
        """How many readings have ended well, as far as the database answers."""
        with suppress(psycopg.Error):
            return int(self._one("SELECT count(*) FROM sync_batches WHERE status = 'completed'"))
        return 0

    def has_completed_more_than(self, count: int) -> bool:
        return self.completed() > count

    def reconnect(self) -> None:
        self.connection.close()
        with suppress(psycopg.OperationalError):
            self.connection = psycopg.connect(self.database.superuser, autocommit=True)

    # ── what came of it ──

    def judge(self) -> Verdict:
        return self.oracle.judge(self.connection, self.numbers)

    def facts(self) -> int:
        """How many facts there are."""
        return sum(int(self._one(f"SELECT count(*) FROM {table}")) for table in FACTS)

    def taken_over(self, pid: int) -> int:
        """How many batches a worker's process has lost to others."""
        return int(
            self._one(
                "SELECT count(*) FROM sync_batches WHERE error_class = 'WorkerLost' AND worker LIKE %s", f"%:{pid}"
            )
        )

    def open_batches_of(self, pid: int) -> int:
        return int(
            self._one("SELECT count(*) FROM sync_batches WHERE status = 'running' AND worker LIKE %s", f"%:{pid}")
        )

    def ended_badly(self, number: int) -> str | None:
        """Why the newest batch of an account that ended badly did, if one did at this moment."""
        (account_id,) = (account for account, known in self.numbers.items() if known == number)
        row = self.connection.execute(
            """SELECT error_class FROM sync_batches WHERE account_id = %s AND status = 'failed' AND queued_at >= %s
                ORDER BY id DESC LIMIT 1""",
            (account_id, self._at),
        ).fetchone()
        return row[0] if row else None

    def failed(self) -> list[str]:
        """Why batches failed that had a living worker. A busy machine may keep one from saying so for a whole lease."""
        query = "SELECT error_class FROM sync_batches WHERE status = 'failed' AND error_class <> 'WorkerLost'"
        return [error for (error,) in self.connection.execute(query)]

    def _one(self, query: str, *parameters: object) -> Any:
        row = self.connection.execute(query, parameters).fetchone()  # type: ignore[call-overload]
        return row[0]

    async def problems(self) -> list[str]:
        """What the product's own checks say of it all.

        Other lanes may hold the loop up while we connect, or so long in a transaction that the server ends it.
        """
        for _ in range(3):
            with suppress(DatabaseUnavailable, psycopg.OperationalError):
                return await self._problems()
        return await self._problems()

    async def _problems(self) -> list[str]:
        async with opened(make_pool(self.database.worker, "worker", max_size=2)) as pool:
            app = msgspec.structs.replace(self.app, pool=pool, clock=StoppedClock(self._at))
            async with transaction(pool) as tx:
                listed = await accounts.listed(tx)
            return [f"{one.check}: {one.what} ({one.where})" for one in await check(app, listed)]

    def break_broker(self, **fault: Any) -> None:
        self.broker.tell("fail_next", Fault(**fault))

    # ── setting up ──

    async def connect(self, count: int) -> None:
        (logins,) = self.broker.tell("logins")
        for login in logins[:count]:
            credentials = Credentials(
                login=Login(login["method"]),
                api_key=login["api_key"],
                api_secret=login["secret"] or "",
                totp_secret=login["totp_secret"] or "",
            )
            account = await connect(
                self.app, broker="groww", label=f"account {login['number']}", credentials=credentials
            )
            self.numbers[account.id] = login["number"]
        self.connection.execute("UPDATE broker_accounts SET schedules = %s", (Jsonb(SCHEDULES),))
        # Reading the list of instruments each morning is no part of a sync and would take most of the time.
        self.connection.execute(
            "INSERT INTO instrument_files SELECT '2100-01-01', 'tests', '2100-01-01', '', 0, 0, 0, 0"
        )


@asynccontextmanager
async def arena(database: Database, *, count: int, load: Load | None, kinds: Sequence[str]) -> AsyncIterator[Arena]:
    """Accounts connected before the open of the first day, nothing read yet."""
    first = CALENDAR.sessions(date(2024, 1, 2), date(2024, 1, 10))[0].on
    options = SimulatorOptions(
        accounts=count, on=first, load=load, kinds=tuple(kinds), seed=int(os.environ.get("CRASH_SEED", "7"))
    )
    async with started(BrokerCrew(1, broker, options)) as crew:
        (url,) = crew.tell("url")
        settings = msgspec.structs.replace(database.settings, groww_url=url)
        async with opened(make_pool(database.worker, "worker", max_size=4)) as pool:
            app = App(
                settings=settings,
                pool=pool,
                conninfo=database.worker,
                api_conninfo=database.api,
                clock=StoppedClock(ist(first, 9)),
                calendar=CALENDAR,
                **await keys_of(settings, pool, StoppedClock(ist(first, 9))),
                brokers={"groww": Groww(url)},
            )
            made = Arena(database, app, crew, psycopg.connect(database.superuser, autocommit=True))
            try:
                await made.connect(count)
            except BaseException:
                made.connection.close()
                raise
        try:
            yield made
        finally:
            made.end_workers()
            made.connection.close()


@asynccontextmanager
async def started(crew: Crew) -> AsyncIterator[Crew]:
    """Its processes, started and ended while others go on."""
    await asyncio.to_thread(crew.__enter__)
    try:
        yield crew
    finally:
        await asyncio.to_thread(crew.__exit__, None, None, None)
