"""The queue's tasks and the loops around it: the worker, the minute tick, the sweep, the probes of logins and the
morning's list of instruments. `work` runs them all.

A job is only the wake-up and carries an id only; what is to be done stands in `sync_batches` and `account_requests`. So
nothing here retries: procrastinate does not, because the planner does; and of a request, whoever waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any
from uuid import UUID

import procrastinate
import psycopg
from procrastinate.exceptions import ConnectorException, ProcrastinateException

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import SystemClock, ist_date
from portfolio_scheduler.db.batches import BEATS_PER_LEASE
from portfolio_scheduler.db.pool import Pool, make_pool, opened
from portfolio_scheduler.db.queue import ANSWER_REQUEST, REQUESTS, SYNC_ACCOUNT, SYNCS
from portfolio_scheduler.errors import PortfolioSchedulerError
from portfolio_scheduler.log import first_line, logger
from portfolio_scheduler.sync import logins, morning, plan, requests, run

TICK_SECONDS = 60
SWEEPS_PER_LEASE = 2
PAUSES_PER_LEASE = 4  # how soon to go on after a tick, a sweep or the worker failed
SYNCS_AT_ONCE = 6  # two fewer than the connections of the pool that syncs share
REQUESTS_AT_ONCE = 2  # of people who wait for the answer; hardly ever is there one
FINISH_SECONDS = 14  # what a running sync gets to end by itself when the process is asked to stop
STOP_SECONDS = 18

TROUBLE = (psycopg.Error, ProcrastinateException, PortfolioSchedulerError, OSError)

MACHINE = SystemClock()  # the loops run in real time, whatever time it is in the app

log = logger()


class Pulse:
    """Signs of life of the loops in this process, for the health endpoint. Seconds of the machine's own clock."""

    def __init__(self) -> None:
        self.ticked_at: float | None = None
        self.swept_at: float | None = None
        self.working = False
        self.warned_on: date | None = None

    def tick_age(self) -> float | None:
        """Seconds since the planner last ran to its end."""
        return None if self.ticked_at is None else MACHINE.monotonic() - self.ticked_at


def make_queue(app: App) -> procrastinate.App:
    """The queue's tasks, bound to what they work with."""
    queue = procrastinate.App(connector=procrastinate.PsycopgConnector())

    @queue.task(name=SYNC_ACCOUNT, queue=SYNCS)
    async def sync_account(account_id: str) -> None:
        await run.run_queued(app, UUID(account_id))

    @queue.task(name=ANSWER_REQUEST, queue=REQUESTS)
    async def answer_request(request_id: str) -> None:
        await requests.answer(app, UUID(request_id))

    return queue


async def tick(app: App, pulse: Pulse) -> None:
    planned = await plan.plan(app, app.clock.now())
    pulse.ticked_at = MACHINE.monotonic()
    _warn(app, pulse)
    if planned.due or planned.retries:
        log.info("planned", due=planned.due, retries=planned.retries)


def _warn(app: App, pulse: Pulse) -> None:
    """What is not known of the days to come, once a day."""
    today = ist_date(app.clock.now())
    if pulse.warned_on != today:
        for warning in app.calendar.warnings(today):
            log.warning("calendar", warning=warning)
    pulse.warned_on = today


async def sweep(app: App, pulse: Pulse) -> None:
    if ended := await requests.sweep(app):
        log.warning("swept", requests=ended)
    swept = await plan.sweep(app, app.clock.now())
    pulse.swept_at = MACHINE.monotonic()
    if swept.stale or swept.woken:
        log.warning("swept", stale=swept.stale, retries=swept.retries, woken=swept.woken)


async def probe(app: App) -> None:
    await logins.probe_logins(app)


async def name_instruments(app: App) -> None:
    """Not a job of the queue: it is due however many syncs wait, and none of them waits for it."""
    await morning.take_in_instruments(app)


async def work(app: App, stop: asyncio.Event, pulse: Pulse, *, finish_seconds: int = FINISH_SECONDS) -> None:
    """Plan and run syncs until told to stop. Returns when no batch of this process is open any more.

    A bug that ends one of the loops ends all, so that whoever started the process sees it and starts it again.
    """
    lease_seconds = app.settings.lease_seconds
    async with opened(_queue_pool(app)) as pool:
        worker = asyncio.create_task(_work_off(app, pool, SYNCS, SYNCS_AT_ONCE, finish_seconds, pulse), name="worker")
        loops = [
            asyncio.create_task(_work_off(app, pool, REQUESTS, REQUESTS_AT_ONCE, finish_seconds), name="requests"),
            asyncio.create_task(_repeat(app, lambda: tick(app, pulse), lambda: _until_next_minute(app)), name="ticker"),
            asyncio.create_task(
                _repeat(app, lambda: sweep(app, pulse), lambda: lease_seconds / SWEEPS_PER_LEASE), name="sweeper"
            ),
            asyncio.create_task(_repeat(app, lambda: probe(app), lambda: _until_next_minute(app)), name="logins"),
            asyncio.create_task(_repeat(app, lambda: name_instruments(app), lambda: TICK_SECONDS), name="instruments"),
        ]
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({stopped, worker, *loops}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what ended it
        finally:
            await _end({stopped, worker, *loops})


async def stand_by(app: App, stop: asyncio.Event, seconds: float = TICK_SECONDS) -> None:
    """What a process without a worker does until told to stop: it follows the calendar, as the planner does."""
    loop = asyncio.create_task(_repeat(app, lambda: plan.follow_calendar(app), lambda: seconds), name="calendar")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait({stopped, loop}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _end({stopped, loop})


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Planning ends at once; cancelling procrastinate's worker asks it to let its jobs finish first."""
    for task in tasks:
        task.cancel()
    ended, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a loop did not end well", loop=task.get_name(), error=type(error).__name__)
    if late:
        log.warning("still at work when the time to stop was over", loops=[task.get_name() for task in late])


async def _work_off(
    app: App, pool: Pool, name: str, at_once: int, finish_seconds: int, pulse: Pulse | None = None
) -> None:
    """Run jobs as they come; begin anew when the worker gives up, as it does when the database goes away."""
    while True:
        queue = make_queue(app)
        await queue.open_async(pool)
        _tell(pulse, working=True)
        try:
            await queue.run_worker_async(
                queues=[name],
                name=run.worker_name(),
                concurrency=at_once,
                install_signal_handlers=False,
                shutdown_graceful_timeout=finish_seconds,
                stalled_worker_timeout=app.settings.lease_seconds,
                update_heartbeat_interval=app.settings.lease_seconds / BEATS_PER_LEASE,
                delete_jobs="always",
            )
        except TROUBLE as error:
            log.warning("the worker stopped", queue=name, error=type(error).__name__)
        finally:
            _tell(pulse, working=False)
        await _pause(_pause_seconds(app))


def _tell(pulse: Pulse | None, *, working: bool) -> None:
    if pulse is not None:
        pulse.working = working


async def _repeat(app: App, act: Callable[[], Awaitable[None]], pause: Callable[[], float]) -> None:
    """Do it for ever. Trouble with the database is said once when it begins and once when it is over."""
    troubled = False
    while True:
        try:
            await act()
        except TROUBLE as error:
            if not troubled:
                log.warning("planning is troubled", error=type(error).__name__, reason=first_line(error))
            troubled = True
            await _pause(_pause_seconds(app))
            continue
        if troubled:
            log.info("planning goes on")
        troubled = False
        await _pause(pause())


async def _pause(seconds: float) -> None:
    """Sleep, unless this loop has been told to end: it is told once, and what fails on the way out (procrastinate's
    worker when it was pruned meanwhile, a connection that the server ended) takes the place of the cancellation."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    await asyncio.sleep(seconds)


def _pause_seconds(app: App) -> float:
    return app.settings.lease_seconds / PAUSES_PER_LEASE


def _until_next_minute(app: App) -> float:
    """Slots stand on full minutes, so that is when to look."""
    now = app.clock.now()
    return TICK_SECONDS - (now.second + now.microsecond / 1e6) % TICK_SECONDS + 0.05


def is_outage(error: BaseException) -> bool:
    """Whether the database or the network was away: trouble that passes, and no bug of anybody."""
    if isinstance(error, ConnectorException):  # procrastinate's name for whatever the driver raised
        return isinstance(error.__cause__, psycopg.OperationalError)
    return isinstance(error, psycopg.OperationalError | PortfolioSchedulerError | OSError)


def _queue_pool(app: App) -> Pool:
    """Procrastinate's own connections, so that it never waits behind a sync. Two of them listen, one for each queue."""
    return make_pool(app.conninfo, "worker", max_size=5, name="queue")
