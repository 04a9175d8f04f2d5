"""What must hold after any story, checked from the database alone."""

from typing import Any
from uuid import UUID

from portfolio_scheduler.db import ledger
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain.changes import State, fold
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
)


async def facts_of(stage: Stage, account_id: UUID) -> int:
    """How many facts the account has."""
    return int(await stage.one("SELECT seq FROM account_heads WHERE account_id = %s", account_id))


async def check_ledger(stage: Stage, account_id: UUID) -> None:
    """Numbers without a gap, the fold of the facts equal to the derived tables, executions adding up."""
    async with transaction(stage.app.pool) as tx:
        await _check_numbers(tx, account_id)
        changes = await ledger.load_changes(tx, account_id)
        folded = fold(State(), changes)
        assert _orders(folded) == await _rows(
            tx,
            "SELECT broker_order_id, status, quantity, filled_quantity, remaining_quantity, price, average_fill_price, "
            "fills_quantity, first_seq, last_seq FROM current_orders WHERE account_id = %s",
            account_id,
        )
        assert _holdings(folded) == await _rows(
            tx,
            "SELECT isin, quantity, t1_quantity, average_price, last_seq FROM real_holdings WHERE account_id = %s",
            account_id,
        )
        assert _positions(folded) == await _rows(
            tx,
            "SELECT segment, exchange, trading_symbol, product, quantity, realised_pnl, trading_on, last_seq "
            "FROM real_positions WHERE account_id = %s",
            account_id,
        )
        assert _findings(folded) == await _rows(
            tx, "SELECT kind, section, subject, last_seq FROM open_findings WHERE account_id = %s", account_id
        )
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


async def _rows(tx: Tx, query: str, account_id: UUID) -> set[tuple[Any, ...]]:
    cursor = await tx.execute(query, (account_id,))  # type: ignore[arg-type]
    return set(await cursor.fetchall())


def _orders(state: State) -> set[tuple[Any, ...]]:
    return {
        (
            key,
            k.order.status,
            k.order.quantity,
            k.order.filled_quantity,
            k.order.remaining_quantity,
            k.order.price,
            k.order.average_fill_price,
            k.fills_quantity,
            k.first_seq,
            k.last_seq,
        )
        for key, k in state.orders.items()
    }


def _holdings(state: State) -> set[tuple[Any, ...]]:
    return {
        (key, k.holding.quantity, k.holding.t1_quantity, k.holding.average_price, k.last_seq)
        for key, k in state.holdings.items()
    }


def _positions(state: State) -> set[tuple[Any, ...]]:
    return {
        (*key, k.position.quantity, k.position.realised_pnl, k.trading_on, k.last_seq)
        for key, k in state.positions.items()
    }


def _findings(state: State) -> set[tuple[Any, ...]]:
    return {(*key, finding.last_seq) for key, finding in state.findings.items()}
