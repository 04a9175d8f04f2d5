"""The loops end when they are told to, whatever goes wrong on the way out."""

import asyncio
import gc

import psycopg
import pytest
from structlog.testing import capture_logs

from portfolio_scheduler.cli.serve import told_in_one_line
from portfolio_scheduler.jobs import Pulse, work
from tests.conftest import Database
from tests.flows.conftest import Stage

SOON_SECONDS = 15  # at once, on a machine that has much else to do
WAITING = """
    SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND application_name = 'portfolio-scheduler queue' AND query LIKE '%%procrastinate_fetch_job%%'
"""


async def _fetching(stage: Stage) -> int:
    """The session with which the queue's worker waits for its next job."""
    while not (found := await stage.rows(WAITING)):  # noqa: ASYNC110 - another process says so
        await asyncio.sleep(0.02)
    return int(found[0][0])


async def test_a_worker_whose_queue_fails_while_it_ends_does_not_begin_anew(stage: Stage, database: Database) -> None:
    """As after a sleep: told to end while it fetches a job, which then fails, since others took it for dead."""
    await stage.connect(1)
    stop = asyncio.Event()
    with psycopg.connect(database.superuser, autocommit=True) as admin, capture_logs() as entries:
        with admin.transaction():
            admin.execute("LOCK TABLE procrastinate_jobs IN ACCESS EXCLUSIVE MODE")
            working = asyncio.create_task(work(stage.app, stop, Pulse()))
            async with asyncio.timeout(SOON_SECONDS):
                session = await _fetching(stage)
                stop.set()
                (worker,) = [task for task in asyncio.all_tasks() if task.get_name() == "worker"]
                while not worker.cancelling():  # noqa: ASYNC110 - no event tells it
                    await asyncio.sleep(0)
            admin.execute("SELECT pg_terminate_backend(%s)", (session,))
        async with asyncio.timeout(SOON_SECONDS):
            await working
    assert [entry["event"] for entry in entries if entry["event"].startswith("still at work")] == []
    assert "the worker stopped" in [entry["event"] for entry in entries]


@pytest.mark.parametrize(
    "error", [psycopg.OperationalError("the connection is lost\nnow"), ConnectionResetError("reset")]
)
async def test_a_forgotten_task_that_the_database_ended_is_told_in_one_line(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as entries:
        await _forget(error)
    assert [(entry["event"], entry["log_level"], entry["error"], entry["task"]) for entry in entries] == [
        ("a task ended badly", "warning", type(error).__name__, "forgotten")
    ]
    assert "\n" not in entries[0]["reason"]
    assert caplog.records == []


async def test_a_forgotten_task_that_a_bug_ended_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as entries:
        await _forget(ZeroDivisionError("a bug"))
    told = [entry["exc_info"] for entry in entries] + [record.exc_info for record in caplog.records]
    assert {info[0] for info in told if isinstance(info, tuple)} == {ZeroDivisionError}  # wherever asyncio's log goes


async def _forget(error: Exception) -> None:
    """A task that fails and that nobody asks how it ended."""

    async def fail() -> None:
        raise error

    with told_in_one_line():
        task: asyncio.Task[None] | None = asyncio.create_task(fail(), name="forgotten")
        await asyncio.wait({task})  # type: ignore[type-var]
        task = None
        gc.collect()
