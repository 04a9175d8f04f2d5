"""Jobs are only wake-ups: `sync_batches` and `account_requests` are the truth about what is to be done. A lost or
doubled job changes nothing."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from uuid import UUID

from portfolio_scheduler.db.pool import Tx

SYNC_ACCOUNT = "sync_account"  # the task's name
SYNCS = "syncs"  # the queue's name
ANSWER_REQUEST = "answer_request"
REQUESTS = "requests"  # a queue of its own: somebody waits, and must not wait behind syncs
BY_HAND = 1  # priority of what somebody asked for
NO_WAITS: Mapping[UUID, timedelta] = MappingProxyType({})


async def enqueue(
    tx: Tx, account_ids: Sequence[UUID], waits: Mapping[UUID, timedelta] = NO_WAITS, *, priority: int = 0
) -> None:
    """Wake a worker for each of these accounts once this transaction has committed, some of them after a while.

    It runs on the caller's connection. Only the job waits, by the database's clock: whoever syncs the account by hand
    meanwhile need not, and a job that was lost is replaced by one that wakes at once.

    procrastinate's own function in the database does it. Its Python writes out every job first, which for ten thousand
    of them keeps this process from everything else for the better part of a second.
    """
    if not account_ids:
        return
    await tx.execute(
        """
        SELECT procrastinate_defer_jobs_v1(array_agg(ROW(%s, %s, %s, NULL, NULL, jsonb_build_object('account_id', id),
            statement_timestamp() + wait)::procrastinate_job_to_defer_v1 ORDER BY number))
        FROM unnest(%s::uuid[], %s::interval[]) WITH ORDINALITY AS due (id, wait, number)
        """,
        (SYNCS, SYNC_ACCOUNT, priority, list(account_ids), [waits.get(each) for each in account_ids]),
    )


async def enqueue_request(tx: Tx, request_id: UUID) -> None:
    """Wake a worker for what an owner asks, once this transaction has committed. The job carries the id only."""
    await tx.execute(
        """
        SELECT procrastinate_defer_jobs_v1(ARRAY[ROW(%s, %s, 0, NULL, NULL,
            jsonb_build_object('request_id', %s::uuid), NULL)::procrastinate_job_to_defer_v1])
        """,
        (REQUESTS, ANSWER_REQUEST, request_id),
    )
