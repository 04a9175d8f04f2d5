"""Which days of an account have been decided, read while they lasted or given up, and which orders have no end yet."""

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

import msgspec

from portfolio_scheduler.db.documents import read
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.records import FILL_FINAL, Order


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
            (SELECT max(trading_on) FROM effective_ledger_events WHERE account_id = %(account)s AND kind = 'GAP'
                AND section = 'orders'))
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


ASKED_AT_ONCE = 50  # the rest by the next sync
LOOK_BACK = timedelta(days=14)
_unfinished = msgspec.json.Decoder(list[Order])


async def unfinished(tx: Tx, account_id: UUID, trading_on: date, listed: Sequence[str]) -> list[Order]:
    """Orders of earlier days that were open when last seen, do not stand in today's list, and nobody has asked for."""
    query = """
        SELECT coalesce(json_agg(to_json(o) ORDER BY o.first_seq), '[]')::text FROM (
            SELECT * FROM current_orders o
            WHERE account_id = %(account)s AND listed_on >= %(since)s AND listed_on < %(day)s
                AND status <> ALL(%(final)s) AND broker_order_id <> ALL(%(listed)s)
                AND NOT EXISTS (SELECT FROM effective_ledger_events e
                    WHERE e.account_id = o.account_id AND e.kind IN ('GAP', 'RECOVERED') AND e.trading_on >= %(since)s
                        AND e.subject = o.broker_order_id)
            ORDER BY first_seq LIMIT %(most)s) o
    """
    parameters = {
        "account": account_id,
        "since": trading_on - LOOK_BACK,
        "day": trading_on,
        "final": sorted(FILL_FINAL),
        "listed": list(listed),
        "most": ASKED_AT_ONCE,
    }
    return await read(tx, query, parameters, _unfinished)
