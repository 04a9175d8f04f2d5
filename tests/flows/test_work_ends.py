"""The loops end when they are told to, whatever goes wrong on the way out."""

import asyncio
import gc
import json
import logging

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from structlog.testing import capture_logs

from portfolio_scheduler import log
from portfolio_scheduler.cli.serve import told_in_one_line
from portfolio_scheduler.db import planning, queue
from portfolio_scheduler.db.planning import Due
from portfolio_scheduler.db.pool import make_pool, opened, transaction
from portfolio_scheduler.errors import DatabaseUnavailable
from portfolio_scheduler.jobs import Pulse, is_outage, make_queue, work
from tests.conftest import Database
from tests.flows.conftest import Stage
from tests.flows.scripted import connected, scripted

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


@pytest.mark.parametrize(
    ("error", "is_bug"),
    [
        (psycopg.OperationalError("the connection is lost\nin two lines"), False),
        (DatabaseUnavailable("no connection became free"), False),
        (psycopg.errors.UndefinedColumn("column does not exist"), True),
        (ZeroDivisionError("a bug"), True),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_job_that_an_outage_ended_is_told_in_one_line_and_a_bug_with_its_traceback(
    stage: Stage, capsys: pytest.CaptureFixture[str], error: Exception, is_bug: bool
) -> None:
    def breaks() -> None:
        raise error

    broker, account = scripted(stage), await connected(stage)
    broker.before = {"book": breaks}
    async with transaction(stage.app.pool) as tx:
        due = [Due(account_id=account.id, slot_at=stage.clock.now(), trigger="scheduled")]
        await queue.enqueue(tx, await planning.add_due(tx, due, stage.clock.now()))
    log.configure("warning", "json", is_outage)
    capsys.readouterr()
    made = make_queue(stage.app)
    async with opened(make_pool(stage.app.conninfo, "worker")) as pool:
        await made.open_async(pool)
        await made.run_worker_async(wait=False, install_signal_handlers=False, delete_jobs="always")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    ended = [line for line in lines if "ended with status: Error" in line["event"]]
    assert [("exception" in line, line.get("error")) for line in ended] == [
        (is_bug, None if is_bug else type(error).__name__)
    ]


@pytest.mark.parametrize(
    ("cause", "is_bug"),
    [
        (psycopg.OperationalError("server closed the connection\nunexpectedly"), False),
        (psycopg.errors.UndefinedFunction("no such function"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_procrastinate_says_of_an_outage_is_one_line(
    capsys: pytest.CaptureFixture[str], cause: Exception, is_bug: bool
) -> None:
    """It gives every error of the driver a name of its own; the cause tells an outage from a bug."""
    log.configure("warning", "text", is_outage)
    try:
        raise ConnectorException from cause
    except ConnectorException:
        logging.getLogger("procrastinate.worker").exception("Side task heartbeats failed")
    written = capsys.readouterr().err
    assert ("Traceback" in written) == is_bug
    assert is_bug or written.count("\n") == 1, written
    assert "Side task heartbeats failed" in written
    assert str(cause).partition("\n")[0] in written


async def _forget(error: Exception) -> None:
    """A task that fails and that nobody asks how it ended."""

    async def fail() -> None:
        raise error

    with told_in_one_line():
        task: asyncio.Task[None] | None = asyncio.create_task(fail(), name="forgotten")
        await asyncio.wait({task})  # type: ignore[type-var]
        task = None
        gc.collect()
