"""Snapshots: the last one before a day, and the newest revision of a day. Written through the ledger only."""

from datetime import date, datetime
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.rows import class_row

from portfolio_scheduler.db.documents import read
from portfolio_scheduler.db.ledger import Snapshot
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.valuation import Before, Trade


class Context(Struct, frozen=True, kw_only=True):
    """What a valuation of a day is compared with and counts."""

    before: Before | None
    latest: Snapshot | None  # newest revision of the day itself
    previous_session_on: date
    orders_count: int  # orders whose day (`KnownOrder.day`) is after the previous session and not after this one
    fills_count: int
    trades: tuple[Trade, ...]  # delivery executions since `before`, oldest first


_decoder = msgspec.json.Decoder(Context)
NEAR_DAYS: LiteralString = "31"  # `changes.NEAR`; a test holds them together

# The fence of the reading that a snapshot `s` stands for: what was known then are the facts of batches up to it.
# Numbers would not say it: a correction has a new number in an old batch, and a revaluation has a batch of its own.
STATE_FENCE: LiteralString = """(SELECT r.fence FROM portfolio_snapshots o JOIN sync_batches r ON r.id = o.batch_id
    WHERE o.account_id = s.account_id AND o.seq = coalesce((s.details -> 'state_seq' ->> 0)::bigint, s.seq))"""

# Parts of what a valuation needs, about an {account} and a {day}.
BEFORE: LiteralString = """(
    SELECT json_build_object('trading_on', b.trading_on, 'holdings_value', b.holdings_value, 'lines', b.lines,
        'movements', (SELECT coalesce(json_agg(json_build_object('isin', h.isin,
                'units', h.quantity - h.quantity_before, 'explanation', h.explanation, 'details', h.details)
                ORDER BY h.seq), '[]')
            FROM effective_holding_changes h JOIN sync_batches r ON r.id = h.batch_id
            WHERE h.account_id = {account} AND r.fence > b.fence AND h.trading_on >= b.trading_on
            AND h.trading_on <= {day} AND h.explanation IN ('corporate_action', 'transferred')))
    FROM (SELECT trading_on, holdings_value, lines, {fence} AS fence FROM portfolio_snapshots s
        WHERE account_id = {account} AND trading_on < {day} ORDER BY trading_on DESC, revision DESC LIMIT 1) b)
""".replace("{fence}", STATE_FENCE)
TRADES: LiteralString = """(
    SELECT coalesce(json_agg(json_build_object(
            'isin', coalesce(f.isin, f.exchange || ':' || f.trading_symbol), 'traded_on', f.trading_on,
            'trading_symbol', f.trading_symbol,
            'units', CASE f.side WHEN 'BUY' THEN f.quantity ELSE -f.quantity END, 'price', f.price)
            ORDER BY f.seq), '[]')
    FROM effective_order_fills f WHERE f.account_id = {account}
    AND f.trading_on > coalesce((SELECT max(trading_on) FROM portfolio_snapshots
        WHERE account_id = {account} AND trading_on < {day}), {day} - 1) AND f.trading_on <= {day}
    AND f.segment = 'CASH' AND f.product = 'CNC' AND f.side IN ('BUY', 'SELL'))
"""
FILLS_COUNT: LiteralString = (
    "(SELECT count(*) FROM effective_order_fills WHERE account_id = {account} AND trading_on = {day})"
)
# Orders by the day the broker dates them to, from the day after {after} on.
ORDER_DAYS: LiteralString = """
    SELECT CASE WHEN o.trade_on BETWEEN o.listed_on - {near} AND o.listed_on + {near} THEN o.trade_on
        ELSE o.listed_on END AS day_on
    FROM current_orders o WHERE o.account_id = {account} AND o.listed_on BETWEEN {after} - {near} AND {day} + {near}
""".replace("{near}", NEAR_DAYS)

_PARTS: LiteralString = (
    """
SELECT json_build_object(
    'before', {before},
    'latest', (SELECT to_json(s) FROM portfolio_snapshots s
        WHERE s.account_id = {account} AND s.trading_on = {day} ORDER BY s.revision DESC LIMIT 1),
    'orders_count', (SELECT count(*) FROM ({orders}) o WHERE day_on BETWEEN {after} + 1 AND {day}),
    'previous_session_on', {after},
    'fills_count', {fills},
    'trades', {trades}
)::text
""".replace("{before}", BEFORE)
    .replace("{orders}", ORDER_DAYS)
    .replace("{fills}", FILLS_COUNT)
    .replace("{trades}", TRADES)
)
_CONTEXT: LiteralString = (
    _PARTS.replace("{account}", "%(account)s")
    .replace("{day}", "%(day)s::date")
    .replace("{after}", "%(previous)s::date")
)


async def context(tx: Tx, account_id: UUID, trading_on: date, previous_session_on: date) -> Context:
    """Everything a valuation of that day needs besides the book and its prices, in one round trip."""
    given = {"account": account_id, "day": trading_on, "previous": previous_session_on}
    return await read(tx, _CONTEXT, given, _decoder)


_trades = msgspec.json.Decoder(tuple[Trade, ...])


async def deliveries(tx: Tx, account_id: UUID, since_on: date | None) -> tuple[Trade, ...]:
    """Delivery executions known so far from `since_on` on, to explain changes of holdings.

    Less those that have explained one already, on their own day (see `line_diff.explained_by_fills`).
    """
    if since_on is None:
        return ()
    return await read(
        tx,
        """
        SELECT coalesce(json_agg(json_build_object('isin', isin, 'traded_on', trading_on,
            'units', units, 'price', price)), '[]')::text
        FROM (
            SELECT isin, trading_on, CASE side WHEN 'BUY' THEN quantity ELSE -quantity END AS units, price
            FROM effective_order_fills WHERE account_id = %(account)s AND trading_on >= %(since)s
                AND segment = 'CASH' AND product IN ('CNC', 'MTF') AND side IN ('BUY', 'SELL')
                AND isin IS NOT NULL
            UNION ALL
            SELECT isin, trading_on, -(details ->> 'shown_today')::numeric, 0
            FROM effective_holding_changes WHERE account_id = %(account)s AND trading_on >= %(since)s
                AND details ? 'shown_today'
        ) moved
        """,
        {"account": account_id, "since": since_on},
        _trades,
    )


class DayToValue(Struct, frozen=True, kw_only=True):
    """The newest snapshot of a day, as far as valuing it anew needs it."""

    account_id: UUID
    trading_on: date
    state_seq: int  # the snapshot it goes back to
    fence: int  # of the batch up to which it knew the account
    read_at: datetime  # when the reading was made that it stands for
    is_outdated: bool  # a line has no price, or an older or earlier one than is known now


async def days_to_value(tx: Tx, since_on: date, account_id: UUID | None = None) -> list[DayToValue]:
    """Days with a snapshot from `since_on` on, oldest first: of that account, or of each that has an outdated one."""
    async with tx.cursor(row_factory=class_row(DayToValue)) as cursor:
        await cursor.execute(
            """
            WITH newest AS (
                SELECT DISTINCT ON (account_id, trading_on) account_id, trading_on, lines,
                    coalesce((details -> 'state_seq' ->> 0)::bigint, seq) AS state_seq
                FROM portfolio_snapshots
                WHERE trading_on >= %(since)s AND (%(account)s::uuid IS NULL OR account_id = %(account)s)
                ORDER BY account_id, trading_on, revision DESC
            ), compared AS (
                SELECT n.account_id, n.trading_on, n.state_seq, EXISTS (
                    SELECT FROM jsonb_to_recordset(n.lines)
                        AS l (isin text, quantity numeric, price numeric, priced_on date, source text,
                            early_at timestamptz)
                    JOIN closing_prices c ON c.instrument_key = l.isin AND c.priced_on <= n.trading_on
                    WHERE l.quantity <> 0 AND (l.price IS NULL OR c.priced_on > l.priced_on
                        OR (c.priced_on = l.priced_on AND (c.priced_at > l.early_at
                            OR (c.source = l.source AND c.price <> l.price))))) AS is_outdated
                FROM newest n
            )
            SELECT c.account_id, c.trading_on, c.state_seq, b.fence, o.observed_at AS read_at, c.is_outdated
            FROM compared c JOIN portfolio_snapshots o ON (o.account_id, o.seq) = (c.account_id, c.state_seq)
            JOIN sync_batches b ON b.id = o.batch_id
            WHERE c.account_id = %(account)s OR c.account_id IN (SELECT account_id FROM compared WHERE is_outdated)
            ORDER BY c.account_id, c.trading_on
            """,
            {"since": since_on, "account": account_id},
        )
        return await cursor.fetchall()
