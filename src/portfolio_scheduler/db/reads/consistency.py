"""What the checks ask: each query answers what is wrong, and nothing when all is well."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

from msgspec import Struct
from psycopg import sql

from portfolio_scheduler.db.batches import STALE_SECONDS
from portfolio_scheduler.db.documents import document
from portfolio_scheduler.db.ledger import FACT_TABLES
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.rows import rows
from portfolio_scheduler.db.snapshots import STATE_FENCE
from portfolio_scheduler.domain.valuation import Before, Line, Trade

SHOWN = 5  # of what is wrong in the same way, how many are named
_KEYS = {
    "current_orders": "broker_order_id",
    "real_holdings": "isin",
    "real_positions": "concat_ws('/', segment, exchange, trading_symbol, product)",
    "open_findings": "concat_ws(' ', kind, section, subject)",
}
_UNION = " UNION ALL ".join(f"SELECT seq FROM {table} WHERE account_id = %(account)s" for table in FACT_TABLES)


class Numbers(Struct, frozen=True):
    """The numbers of an account's facts."""

    head: int
    missing: list[int]  # the first few
    doubled: list[int]
    beyond: int | None  # the highest above the head


async def numbers(tx: Tx, account_id: UUID) -> Numbers:
    """Whether every number up to the head is used exactly once."""
    cursor = await tx.execute(
        sql.SQL(
            """
            WITH facts AS MATERIALIZED ({union}), head AS (SELECT seq FROM account_heads WHERE account_id = %(account)s)
            SELECT (SELECT seq FROM head),
                (SELECT coalesce(array_agg(n), '{{}}') FROM (
                    SELECT n FROM generate_series(1, (SELECT seq FROM head)) n EXCEPT SELECT seq FROM facts
                    ORDER BY n LIMIT %(shown)s) m),
                (SELECT coalesce(array_agg(seq), '{{}}') FROM (
                    SELECT seq FROM facts GROUP BY seq HAVING count(*) > 1 ORDER BY seq LIMIT %(shown)s) d),
                (SELECT max(seq) FROM facts WHERE seq > (SELECT seq FROM head))
            """
        ).format(union=sql.SQL(_UNION)),
        {"account": account_id, "shown": SHOWN},
    )
    row = await cursor.fetchone()
    assert row is not None
    return Numbers(*row)


async def differing_rows(tx: Tx, account_id: UUID, table: str, expected: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows of a derived table that are not as expected, by their key: missing, too many, or with another value."""
    cursor = await tx.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attgenerated = '' "
        "AND NOT attisdropped ORDER BY attnum",
        (table,),
    )
    names = sql.SQL(", ").join([sql.Identifier(name) for (name,) in await cursor.fetchall()])
    cursor = await tx.execute(
        sql.SQL(
            """
            WITH kept AS (SELECT {names} FROM {table} WHERE account_id = %(account)s),
                 told AS (SELECT {names} FROM json_populate_recordset(NULL::{table}, %(rows)s))
            SELECT DISTINCT {key} AS key
            FROM ((TABLE kept EXCEPT TABLE told) UNION ALL (TABLE told EXCEPT TABLE kept)) d ORDER BY key
            """
        ).format(names=names, table=sql.Identifier(table), key=sql.SQL(_KEYS[table])),
        {"account": account_id, "rows": document(expected)},
    )
    return [key for (key,) in await cursor.fetchall()]


_DOUBLED: LiteralString = """
SELECT 'order ' || broker_order_id FROM effective_order_history WHERE account_id = %(account)s
GROUP BY broker_order_id HAVING count(*) > 1
UNION ALL
SELECT 'execution ' || broker_trade_id || ' of order ' || broker_order_id FROM effective_order_fills
WHERE account_id = %(account)s GROUP BY broker_order_id, broker_trade_id HAVING count(*) > 1
ORDER BY 1
"""


async def counted_twice(tx: Tx, account_id: UUID) -> list[str]:
    """Orders and executions of which more than one first sight counts."""
    cursor = await tx.execute(_DOUBLED, {"account": account_id})
    return [name for (name,) in await cursor.fetchall()]


class Unfilled(Struct, frozen=True, kw_only=True):
    """An order whose executions do not add up, without a finding that says so."""

    broker_order_id: str
    listed_on: date
    filled_quantity: Decimal
    fills_quantity: Decimal


async def unfilled(tx: Tx, account_id: UUID) -> list[Unfilled]:
    query: LiteralString = """
        SELECT broker_order_id, listed_on, filled_quantity, fills_quantity FROM current_orders o
        WHERE account_id = %(account)s AND filled_quantity <> fills_quantity AND NOT EXISTS (
            SELECT FROM open_findings f WHERE f.account_id = o.account_id AND f.kind = 'DISCREPANCY'
                AND f.subject = o.broker_order_id)
        ORDER BY listed_on, broker_order_id
    """
    return await rows(tx, query, {"account": account_id}, Unfilled)


class Day(Struct, frozen=True, kw_only=True):
    """The newest snapshot of a day beside the one of the day before, and what was traded in between as known then."""

    seq: int
    trading_on: date
    holdings_value: Decimal | None
    holdings_count: int
    day_change: Decimal | None
    previous_value: Decimal | None
    market_move: Decimal | None
    net_invested: Decimal | None
    transferred: Decimal | None
    unexplained: Decimal | None
    previous_on: date | None
    previous_values: list[Decimal | None]  # of all revisions of the day before
    lines: list[Line]
    before: Before | None
    trades: list[Trade]


_DAYS: LiteralString = """
WITH newest AS (
    SELECT DISTINCT ON (s.trading_on) s.*, {fence} AS fence FROM portfolio_snapshots s
    WHERE s.account_id = %(account)s ORDER BY s.trading_on, s.revision DESC
), beside AS (
    SELECT n.*, lag(trading_on) OVER d AS before_on, lag(lines) OVER d AS before_lines,
        lag(fence) OVER d AS before_fence, lag(holdings_value) OVER d AS before_value
    FROM newest n WINDOW d AS (ORDER BY trading_on)
), traded AS (
    SELECT coalesce(f.isin, f.exchange || ':' || f.trading_symbol) AS isin, f.trading_on, b.fence,
        CASE f.side WHEN 'BUY' THEN f.quantity ELSE -f.quantity END AS units, f.price, f.seq
    FROM effective_order_fills f JOIN sync_batches b ON b.id = f.batch_id
    WHERE f.account_id = %(account)s AND f.segment = 'CASH' AND f.product = 'CNC' AND f.side IN ('BUY', 'SELL')
)
SELECT s.*,
    ARRAY(SELECT holdings_value FROM portfolio_snapshots p
        WHERE p.account_id = s.account_id AND p.trading_on = s.previous_on) AS previous_values,
    CASE WHEN s.before_on IS NOT NULL THEN json_build_object('trading_on', s.before_on,
        'holdings_value', s.before_value, 'lines', s.before_lines, 'movements', (
            SELECT coalesce(json_agg(json_build_object('isin', m.isin, 'units', m.quantity - m.quantity_before,
                'explanation', m.explanation, 'details', m.details) ORDER BY m.seq), '[]')
            FROM effective_holding_changes m JOIN sync_batches b ON b.id = m.batch_id
            WHERE m.account_id = s.account_id AND b.fence > s.before_fence AND b.fence <= s.fence
                AND m.explanation IN ('corporate_action', 'transferred'))) END AS before,
    (SELECT coalesce(json_agg(json_build_object('isin', t.isin, 'units', t.units, 'traded_on', t.trading_on,
            'price', t.price) ORDER BY t.seq), '[]') FROM traded t
        WHERE t.trading_on > s.before_on AND t.trading_on <= s.trading_on AND t.fence <= s.fence) AS trades
FROM beside s ORDER BY s.trading_on
""".replace("{fence}", STATE_FENCE)


async def days(tx: Tx, account_id: UUID) -> list[Day]:
    """The newest snapshot of every day."""
    return await rows(tx, _DAYS, {"account": account_id}, Day)


async def covered_days(tx: Tx, account_id: UUID) -> tuple[date | None, set[date]]:
    """The first day with a snapshot, and all days of which something is known, if only that they are lost."""
    cursor = await tx.execute(
        """
        SELECT (SELECT min(trading_on) FROM portfolio_snapshots WHERE account_id = %(account)s),
            ARRAY(SELECT DISTINCT trading_on FROM coverage WHERE account_id = %(account)s)
        """,
        {"account": account_id},
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0], set(row[1])


async def stuck_batches(tx: Tx, account_id: UUID, queued_seconds: int) -> list[tuple[UUID, str]]:
    """Open batches that nobody works on: running without a sign of life, or queued for long."""
    cursor = await tx.execute(
        """
        SELECT id, status FROM sync_batches
        WHERE account_id = %(account)s AND (
            status = 'running' AND heartbeat_at < clock_timestamp() - make_interval(secs => %(stale)s)
            OR status = 'queued' AND uuid_extract_timestamp(id) < clock_timestamp() - make_interval(secs => %(queued)s))
        """,
        {"account": account_id, "stale": STALE_SECONDS, "queued": queued_seconds},
    )
    return await cursor.fetchall()
