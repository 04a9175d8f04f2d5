"""Snapshots for people, and what a summary needs to know about the newest one."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.accounts import BatchRow
from portfolio_scheduler.db.reads.rows import rows
from portfolio_scheduler.db.snapshots import STATE_FENCE


class SnapshotRow(Struct, frozen=True, kw_only=True):
    """One revision of the valued portfolio of a trading day. Amounts in rupees; None is unknown."""

    account_id: UUID
    account: str
    seq: int
    trading_on: date
    revision: int
    reason: str
    observed_at: datetime
    holdings_value: Decimal | None
    invested: Decimal | None
    unrealised_pnl: Decimal | None
    positions_pnl: Decimal | None
    cash: Decimal | None
    margin_used: Decimal | None
    holdings_count: int
    positions_count: int
    orders_count: int
    fills_count: int
    priced_ratio: Decimal
    oldest_price_on: date | None
    previous_on: date | None
    previous_value: Decimal | None
    day_change: Decimal | None
    market_move: Decimal | None
    net_invested: Decimal | None
    transferred: Decimal | None
    unexplained: Decimal | None
    day_change_reason: str | None
    details: dict[str, list[str]]


_SNAPSHOTS = """
SELECT * FROM (
    SELECT s.*, a.label AS account,
        row_number() OVER (PARTITION BY s.account_id, s.trading_on ORDER BY s.revision DESC) AS age
    FROM portfolio_snapshots s JOIN broker_accounts a ON a.id = s.account_id
    WHERE s.account_id = ANY(%(accounts)s)
) s
WHERE s.age = 1 OR %(revisions)s
ORDER BY s.trading_on DESC, s.account, s.account_id, s.revision DESC LIMIT %(limit)s
"""


async def snapshots(
    tx: Tx, account_ids: Sequence[UUID], *, revisions: bool = False, limit: int | None = None
) -> list[SnapshotRow]:
    """The newest revision of each day, or all of them; newest day first."""
    given = {"accounts": list(account_ids), "revisions": revisions, "limit": limit}
    return await rows(tx, _SNAPSHOTS, given, SnapshotRow)


class Basis(Struct, frozen=True, kw_only=True):
    """What a summary of an account starts from."""

    read: BatchRow | None  # the last batch that read holdings or positions well
    margin_reason: str | None  # why the last batch that asked for cash and margin did not get them
    snapshot: SnapshotRow | None  # the newest
    touched: bool  # whether anything but a late reading changed after that snapshot


async def never_read(tx: Tx, account_id: UUID, trading_on: date) -> list[str]:
    """The sections of that day that were asked for and never read well."""
    cursor = await tx.execute(
        "SELECT section FROM coverage WHERE account_id = %s AND trading_on = %s AND state = 'partial' ORDER BY section",
        (account_id, trading_on),
    )
    return [section for (section,) in await cursor.fetchall()]


_BASIS = """
SELECT to_json(r) AS read, to_json(s) AS snapshot,
    (SELECT coalesce(e.value ->> 'reason', nullif(e.value ->> 'outcome', 'ok'))
        FROM effective_batches b, jsonb_each(b.sections) e
        WHERE b.account_id = a.id AND b.finished_at IS NOT NULL AND e.key = 'margin'
            AND (%(until)s::date IS NULL OR b.trading_on <= %(until)s)
        ORDER BY b.fence DESC NULLS FIRST, b.id DESC LIMIT 1) AS margin_reason,
    s.seq IS NOT NULL AND EXISTS (
        SELECT FROM (
            SELECT batch_id FROM holding_changes WHERE account_id = a.id AND seq > s.state_seq
            UNION ALL SELECT batch_id FROM position_changes WHERE account_id = a.id AND seq > s.state_seq
            UNION ALL SELECT batch_id FROM order_quantity_changes WHERE account_id = a.id AND seq > s.state_seq
            UNION ALL SELECT batch_id FROM order_fills WHERE account_id = a.id AND seq > s.state_seq
        ) c JOIN sync_batches b ON b.id = c.batch_id  -- a correction stands in the place of what it corrects
        WHERE b.standing <> 'late' AND (%(until)s::date IS NULL OR b.trading_on <= %(until)s)
            AND b.fence > s.fence) AS touched
FROM broker_accounts a
LEFT JOIN LATERAL (
    SELECT b.* FROM effective_batches b
    WHERE b.account_id = a.id AND b.trading_on IS NOT NULL
        AND (%(until)s::date IS NULL OR b.trading_on <= %(until)s) AND EXISTS (
        SELECT FROM jsonb_each(b.sections) e
        WHERE (e.key = 'holdings' OR starts_with(e.key, 'positions:')) AND e.value ->> 'outcome' = 'ok')
    ORDER BY b.trading_on DESC, b.finished_at DESC LIMIT 1
) r ON true
LEFT JOIN LATERAL (
    SELECT s.*, a.label AS account, {fence} AS fence,
        coalesce((s.details -> 'state_seq' ->> 0)::bigint, s.seq) AS state_seq
    FROM portfolio_snapshots s
    WHERE s.account_id = a.id AND (%(until)s::date IS NULL OR s.trading_on <= %(until)s)
    ORDER BY s.trading_on DESC, s.revision DESC LIMIT 1
) s ON true
WHERE a.id = %(account)s
""".replace("{fence}", STATE_FENCE)


async def basis(tx: Tx, account_id: UUID, *, until_on: date | None = None) -> Basis:
    """The newest snapshot and the last good reading of an account, now or at the end of a day."""
    [found] = await rows(tx, _BASIS, {"account": account_id, "until": until_on}, Basis)
    return found
