"""Snapshots: the last one before a day, and the newest revision of a day. Written through the ledger only."""

from datetime import date
from uuid import UUID

import msgspec
from msgspec import Struct

from portfolio_scheduler.db.documents import read
from portfolio_scheduler.db.ledger import Snapshot
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.valuation import Before, Trade


class Context(Struct, frozen=True, kw_only=True):
    """What a valuation of a day is compared with and counts."""

    before: Before | None
    latest: Snapshot | None  # newest revision of the day itself
    orders_count: int  # orders of the day's list
    fills_count: int
    trades: tuple[Trade, ...]  # delivery executions since `before`, oldest first


_decoder = msgspec.json.Decoder(Context)

_CONTEXT = """
WITH before AS (
    SELECT trading_on, holdings_value, lines FROM portfolio_snapshots
    WHERE account_id = %(account)s AND trading_on < %(day)s
    ORDER BY trading_on DESC, revision DESC LIMIT 1
)
SELECT json_build_object(
    'before', (SELECT to_json(b) FROM before b),
    'latest', (SELECT to_json(s) FROM portfolio_snapshots s
        WHERE s.account_id = %(account)s AND s.trading_on = %(day)s ORDER BY s.revision DESC LIMIT 1),
    'orders_count', (SELECT count(*) FROM effective_order_history
        WHERE account_id = %(account)s AND listed_on = %(day)s),
    'fills_count', (SELECT count(*) FROM effective_order_fills
        WHERE account_id = %(account)s AND trading_on = %(day)s),
    'trades', (SELECT coalesce(json_agg(json_build_object(
            'isin', coalesce(f.isin, f.exchange || ':' || f.trading_symbol), 'traded_on', f.trading_on,
            'units', CASE f.side WHEN 'BUY' THEN f.quantity ELSE -f.quantity END, 'price', f.price)
            ORDER BY f.seq), '[]')
        FROM effective_order_fills f WHERE f.account_id = %(account)s
        AND f.trading_on > coalesce((SELECT trading_on FROM before), %(day)s::date - 1) AND f.trading_on <= %(day)s
        AND f.segment = 'CASH' AND f.product = 'CNC' AND f.side IN ('BUY', 'SELL'))
)::text
"""


async def context(tx: Tx, account_id: UUID, trading_on: date) -> Context:
    """Everything a valuation of that day needs besides the book and its prices, in one round trip."""
    return await read(tx, _CONTEXT, {"account": account_id, "day": trading_on}, _decoder)


_trades = msgspec.json.Decoder(tuple[Trade, ...])


async def deliveries(tx: Tx, account_id: UUID, since_on: date | None) -> tuple[Trade, ...]:
    """Delivery executions known so far from `since_on` on, to explain changes of holdings."""
    if since_on is None:
        return ()
    return await read(
        tx,
        """
        SELECT coalesce(json_agg(json_build_object('isin', isin, 'traded_on', trading_on,
            'units', CASE side WHEN 'BUY' THEN quantity ELSE -quantity END, 'price', price)), '[]')::text
        FROM effective_order_fills WHERE account_id = %(account)s AND trading_on >= %(since)s
            AND segment = 'CASH' AND product IN ('CNC', 'MTF') AND side IN ('BUY', 'SELL')
            AND isin IS NOT NULL
        """,
        {"account": account_id, "since": since_on},
        _trades,
    )
