"""Jobs are only wake-ups: `sync_batches` is the truth about what is to run. A lost or doubled job changes nothing."""

from collections.abc import Sequence
from uuid import UUID

import procrastinate
from procrastinate.types import JSONDict

from portfolio_scheduler.db.pool import Tx

SYNC_ACCOUNT = "sync_account"  # the task's name
SYNCS = "syncs"  # the queue's name

# Only builds the statement; it runs on the caller's connection, inside the caller's transaction.
_deferrer = procrastinate.App(connector=procrastinate.PsycopgConnector())


async def enqueue(tx: Tx, account_ids: Sequence[UUID]) -> None:
    """Wake a worker for each of these accounts once this transaction has committed. One statement."""
    if account_ids:
        job = _deferrer.configure_task(SYNC_ACCOUNT, allow_unknown=True, queue=SYNCS, connection=tx)
        arguments: list[JSONDict] = [{"account_id": str(account_id)} for account_id in account_ids]
        await job.batch_defer_async(*arguments)
