"""A worker's process as the crash tests start it: what `portfolio-scheduler worker` runs, and what is to go wrong.

It is forked from a process that has imported everything and was started with the failpoints' switch.
"""

import asyncio
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any, Literal

import psutil
import psycopg
from msgspec import Struct

from portfolio_scheduler import failpoints, log
from portfolio_scheduler.app import App, open_keys
from portfolio_scheduler.bench.worker import UNLIMITED
from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.cli.serve import stopping
from portfolio_scheduler.clock import TickingClock
from portfolio_scheduler.db import pool as pools
from portfolio_scheduler.db.installs import install_id
from portfolio_scheduler.db.pool import Limits, make_pool, opened, transaction
from portfolio_scheduler.errors import PortfolioSchedulerError
from portfolio_scheduler.jobs import Pulse, is_outage, work
from portfolio_scheduler.market.calendar import make_calendar
from portfolio_scheduler.settings import Settings
from tests.crash import rival, twin

Act = Literal["kill", "stop", "terminate", "40001", "40P01", "ask to end", "suspend", "tell"]
CALENDAR = make_calendar()
BUSY_SECONDS = 0.3
BUSY = 3  # exit code: the database was not there at the start


class Trouble(Struct, frozen=True, kw_only=True):
    """What happens when a point is reached for the `nth` time, and so many times after that."""

    point: str
    act: Act
    nth: int = 1
    times: int = 1


class Duty(Struct, frozen=True, kw_only=True):
    """Where a worker works, from when on, and what goes wrong with it."""

    settings: Settings
    conninfo: str  # of the worker role
    superuser: str  # past every proxy, to end a session with
    at: datetime
    trouble: tuple[Trouble, ...] = ()
    twin: str | None = None
    memory_bytes: int | None = None  # how much more than at the start


def run(pipe: "Connection[Any, Any]", duty: Duty) -> None:
    """The whole process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the tests end their own
    log.configure(os.environ.get("CRASH_LOG", "error"), "text", is_outage)  # type: ignore[arg-type]
    idle = duty.settings.lease_seconds * 3 // 2  # as 30 seconds are to the lease of 20
    pools.LIMITS["worker"] = Limits(60, 5, idle if duty.twin is None else 0)
    if duty.twin is not None:
        twin.break_it(duty.twin)
    with suppress(PortfolioSchedulerError):
        asyncio.run(_work(pipe, duty))
        return
    time.sleep(BUSY_SECONDS)  # whoever replaces it is not to do so all the time
    os._exit(BUSY)


async def _work(pipe: "Connection[Any, Any]", duty: Duty) -> None:
    clock = TickingClock(duty.at)
    failpoints.arm(Troubles(pipe, duty, clock))
    async with opened(make_pool(duty.conninfo, "worker")) as pool:
        async with transaction(pool) as tx:
            sealer, vault = open_keys(duty.settings, await install_id(tx), clock)
        app = App(
            settings=duty.settings,
            pool=pool,
            conninfo=duty.conninfo,
            api_conninfo=duty.conninfo,
            clock=clock,
            calendar=CALENDAR,
            sealer=sealer,
            vault=vault,
            brokers={"groww": Groww(duty.settings.groww_url, rates=UNLIMITED)},
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _say_where)
        with stopping() as stop:
            if duty.memory_bytes is not None:
                _limit_memory(duty.memory_bytes)
            await work(app, stop, Pulse())


def _say_where() -> None:
    """Where everything in this process stands, for whoever looks into why it does not end."""
    for task in asyncio.all_tasks():
        print(task, file=sys.stderr)
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


def _limit_memory(more: int) -> None:
    now = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))


class Troubles:
    """What is told of every point that is reached."""

    def __init__(self, pipe: "Connection[Any, Any]", duty: Duty, clock: TickingClock) -> None:
        self._pipe = pipe
        self._duty = duty
        self._clock = clock
        self._counts: dict[Trouble, int] = {}
        self._acts: dict[str, Callable[[str], None]] = {
            "kill": self._kill,
            "stop": self._stop,
            "suspend": self._suspend,
            "terminate": self._terminate,
            "40001": lambda point: rival.overtake(duty.superuser),
            "40P01": lambda point: rival.deadlock(duty.superuser),
            "tell": lambda point: None,
            "ask to end": lambda point: os.kill(os.getpid(), signal.SIGTERM),
        }

    def __call__(self, point: str) -> None:
        for trouble in self._duty.trouble:
            if trouble.point == point:
                count = self._counts[trouble] = self._counts.get(trouble, 0) + 1
                if trouble.nth <= count < trouble.nth + trouble.times:
                    self._pipe.send((trouble.act, point))
                    self._acts[trouble.act](point)

    def _kill(self, point: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _stop(self, point: str) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def _suspend(self, point: str) -> None:
        """The whole machine slept: when the process goes on, its clock has moved by 45 minutes."""
        at = self._clock.now()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._clock.set(max(at + timedelta(minutes=45), self._clock.now()))

    def _terminate(self, point: str) -> None:
        """An administrator ends every session of the role that is inside a transaction: ours is one."""
        with psycopg.connect(self._duty.superuser, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND state = 'idle in transaction' AND application_name = 'portfolio-scheduler worker'"
            )


class Worker:
    """A worker's process, from outside."""

    def __init__(self, duty: Duty) -> None:
        self.duty = duty
        self._ours, theirs = nursery.Pipe()
        self.process = nursery.Process(target=run, args=(theirs, duty), daemon=True)
        self.process.start()
        theirs.close()
        self._told: list[tuple[str, str]] = []

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.is_alive()

    def told(self) -> list[tuple[str, str]]:
        """What went wrong so far, by its own account."""
        with suppress(EOFError, OSError):
            while self._ours.poll():
                self._told.append(self._ours.recv())
        return self._told

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.told()


PRELOADED = [__name__, "tests.crash.broker"]
nursery = multiprocessing.get_context("forkserver")
nursery.set_forkserver_preload(PRELOADED)
