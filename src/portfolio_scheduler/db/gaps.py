"""Which days of an account have been decided: read while they lasted, or given up."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from portfolio_scheduler.db.pool import Tx


async def last_decided(tx: Tx, account_id: UUID) -> date | None:
    """The newest day whose orders were read while it lasted, or that was given up."""
    cursor = await tx.execute(
        """
        SELECT greatest(
            (SELECT trading_on FROM effective_batches b
             WHERE account_id = %(account)s AND standing IN ('provisional', 'final') AND EXISTS (
                 SELECT FROM jsonb_each(b.sections) s
                 WHERE starts_with(s.key, 'orders:') AND s.value ->> 'outcome' IN ('ok', 'unstable'))
             ORDER BY trading_on DESC LIMIT 1),
            (SELECT max(trading_on) FROM effective_ledger_events WHERE account_id = %(account)s AND kind = 'GAP'))
        """,
        {"account": account_id},
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def unseen(tx: Tx, account_id: UUID, days: Sequence[date]) -> list[date]:
    """Those of the days that brought no order either. A reading after midnight may still have found the old list."""
    cursor = await tx.execute(
        """
        SELECT on_ FROM unnest(%s::date[]) AS days (on_)
        WHERE NOT EXISTS (SELECT FROM effective_order_history WHERE account_id = %s AND listed_on = on_) ORDER BY on_
        """,
        (list(days), account_id),
    )
    return [on for (on,) in await cursor.fetchall()]
