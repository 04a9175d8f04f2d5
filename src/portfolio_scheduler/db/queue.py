"""Jobs are only wake-ups: `sync_batches` is the truth about what is to run. A lost or doubled job changes nothing."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

import procrastinate
from procrastinate.jobs import Job
from psycopg.rows import scalar_row

from portfolio_scheduler.db.pool import Tx

SYNC_ACCOUNT = "sync_account"  # the task's name
SYNCS = "syncs"  # the queue's name
NO_WAITS: Mapping[UUID, timedelta] = MappingProxyType({})

_jobs = procrastinate.App(connector=procrastinate.PsycopgConnector()).job_manager


async def enqueue(tx: Tx, account_ids: Sequence[UUID], waits: Mapping[UUID, timedelta] = NO_WAITS) -> None:
    """Wake a worker for each of these accounts once this transaction has committed, some of them after a while.

    It runs on the caller's connection. Only the job waits, by the database's clock: whoever syncs the account by hand
    meanwhile need not, and a job that was lost is replaced by one that wakes at once.
    """
    if not account_ids:
        return
    now = await _database_time(tx) if waits else None
    jobs = [
        Job(
            id=None,
            queue=SYNCS,
            lock=None,
            queueing_lock=None,
            task_name=SYNC_ACCOUNT,
            task_kwargs={"account_id": str(account_id)},
            scheduled_at=now + waits[account_id] if now and account_id in waits else None,
        )
        for account_id in account_ids
    ]
    await _jobs.batch_defer_jobs_async(jobs, connection=tx)


async def _database_time(tx: Tx) -> datetime:
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT clock_timestamp()")
        now = await cursor.fetchone()
        assert isinstance(now, datetime)
        return now
