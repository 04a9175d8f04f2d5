"""What must hold after any story, checked from the database alone."""

from datetime import date
from uuid import UUID

from portfolio_scheduler.checks import check
from portfolio_scheduler.db import accounts, ledger, state
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.db.rebuilding import DERIVED, rebuild
from portfolio_scheduler.domain.changes import State
from portfolio_scheduler.sync.replay import replay
from tests.flows.conftest import Stage

FACT_TABLES = (
    "broker_payloads",
    "order_history",
    "order_quantity_changes",
    "order_fills",
    "holding_changes",
    "position_changes",
    "ledger_events",
    "portfolio_snapshots",
    "rereadings",
)


async def facts_of(stage: Stage, account_id: UUID) -> int:
    """How many facts the account has."""
    return int(await stage.one("SELECT seq FROM account_heads WHERE account_id = %s", account_id))


async def check_ledger(stage: Stage, account_id: UUID) -> None:
    """What `check_fold` finds, and that rebuilding and replaying come to the same."""
    await check_fold(stage, account_id)
    await check_rebuild(stage, account_id)
    await check_replay(stage, account_id)


async def check_fold(stage: Stage, account_id: UUID) -> None:
    """Numbers without a gap, the fold of the facts equal to the derived tables, executions adding up.

    The part of `check_ledger` that does not read all answers again, for stories that ask after each of many readings.
    """
    async with transaction(stage.app.pool) as tx:
        await _check_numbers(tx, account_id)
        folded = ledger.folded(await ledger.load_changes(tx, account_id), State())
        assert await state.load(tx, account_id, list(folded.orders), date.min) == folded
    for known in folded.orders.values():
        assert known.fills_quantity <= known.order.filled_quantity


async def check_replay(stage: Stage, account_id: UUID) -> None:
    """The same parser understands the same: a replay of all of it writes no fact, and the checks find nothing."""
    before = await facts_of(stage, account_id)
    done = await replay(stage.app, account_id, since_on=date.min)
    assert (done.voided, done.added, done.rereadings, done.prices, done.snapshots) == (0, 0, 0, 0, ()), done
    assert all("kept too little" in reason for reason in done.skipped), "only scripted statements have no answers"
    assert await facts_of(stage, account_id) == before
    async with transaction(stage.app.pool) as tx:
        account = await accounts.load(tx, account_id)
    problems = [one for one in await check(stage.app, [account]) if one.check not in {"coverage", "fills"}]
    assert problems == []


async def check_rebuild(stage: Stage, account_id: UUID) -> None:
    """Derived tables written anew are the same, bit for bit: every column, the computed ones as well."""
    before = {table: await as_text(stage, table, account_id) for table in DERIVED}
    async with transaction(stage.app.pool) as tx:
        await rebuild(tx, account_id)
    for table in DERIVED:
        now = await as_text(stage, table, account_id)
        assert now == before[table], (table, set(now) ^ set(before[table]))


async def as_text(stage: Stage, table: str, account_id: UUID) -> list[str]:
    """Every row as PostgreSQL prints it."""
    rows = await stage.rows(f"SELECT t::text FROM {table} t WHERE account_id = %s ORDER BY 1", account_id)
    return [text for (text,) in rows]


async def _check_numbers(tx: Tx, account_id: UUID) -> None:
    numbers: list[int] = []
    for table in FACT_TABLES:
        cursor = await tx.execute(f"SELECT seq FROM {table} WHERE account_id = %s", (account_id,))  # type: ignore[arg-type]
        numbers.extend(seq for (seq,) in await cursor.fetchall())
    cursor = await tx.execute("SELECT seq FROM account_heads WHERE account_id = %s", (account_id,))
    row = await cursor.fetchone()
    assert row is not None
    assert sorted(numbers) == list(range(1, row[0] + 1)), "every number is used once"
