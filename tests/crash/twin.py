"""Deliberately broken workers: what the harness must report losses and duplicates of, or it proves nothing."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from portfolio_scheduler.db import batches, ledger
from portfolio_scheduler.db.ledger import Batch, Fact, Head
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.errors import NotFound

append = ledger.append
finish = batches.finish


def break_it(how: str) -> None:
    """Make this process the twin of that name."""
    TWINS[how]()


async def _lock_without_fence(tx: Tx, account_id: UUID, fence: int) -> Head:
    """Reads the head without locking it, and turns nobody away."""
    cursor = await tx.execute("SELECT seq FROM account_heads WHERE account_id = %s", (account_id,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound
    return Head(account_id, row[0])


async def _commit(tx: Tx) -> None:
    await tx.execute("COMMIT")
    await tx.execute("BEGIN")


async def _append_and_commit(tx: Tx, head: Head, batch: Batch, facts: Sequence[Fact]) -> list[tuple[int, Fact]]:
    appended = await append(tx, head, batch, facts)
    await _commit(tx)
    return appended


def in_several_commits() -> None:
    """Facts are committed before the state that is compared next time, and no fence is looked at."""
    ledger.lock = _lock_without_fence
    ledger.append = _append_and_commit


async def _lock_after_saying_done(tx: Tx, account_id: UUID, fence: int) -> Head:
    head = await _lock_without_fence(tx, account_id, fence)
    await tx.execute(
        "UPDATE sync_batches SET status = 'completed', finished_at = greatest(queued_at, started_at), "
        "trading_on = coalesce(trading_on, current_date) WHERE account_id = %s AND fence = %s "
        "AND status = 'running' AND reading IS NOT NULL",
        (account_id, fence),
    )
    await _commit(tx)
    return head


async def _finish_unless_done(tx: Tx, claim: Any, result: Any, now: Any, **rest: Any) -> None:
    cursor = await tx.execute("SELECT FROM sync_batches WHERE id = %s AND status = 'running'", (claim.id,))
    if cursor.rowcount:
        await finish(tx, claim, result, now, **rest)


def done_before_it_is() -> None:
    """The batch is called completed before its facts are written."""
    ledger.lock = _lock_after_saying_done
    batches.finish = _finish_unless_done


TWINS = {"in several commits": in_several_commits, "done before it is": done_before_it_is}
