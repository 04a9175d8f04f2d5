"""What must hold after any story, checked from the database alone."""

from datetime import date
from uuid import UUID

from portfolio_scheduler.db import ledger, state
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain.changes import State
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
    """Numbers without a gap, the fold of the facts equal to the derived tables, executions adding up."""
    async with transaction(stage.app.pool) as tx:
        await _check_numbers(tx, account_id)
        folded = ledger.folded(await ledger.load_changes(tx, account_id), State())
        assert await state.load(tx, account_id, list(folded.orders), date.min) == folded
    for known in folded.orders.values():
        assert known.fills_quantity <= known.order.filled_quantity


async def _check_numbers(tx: Tx, account_id: UUID) -> None:
    numbers: list[int] = []
    for table in FACT_TABLES:
        cursor = await tx.execute(f"SELECT seq FROM {table} WHERE account_id = %s", (account_id,))  # type: ignore[arg-type]
        numbers.extend(seq for (seq,) in await cursor.fetchall())
    cursor = await tx.execute("SELECT seq FROM account_heads WHERE account_id = %s", (account_id,))
    row = await cursor.fetchone()
    assert row is not None
    assert sorted(numbers) == list(range(1, row[0] + 1)), "every number is used once"
