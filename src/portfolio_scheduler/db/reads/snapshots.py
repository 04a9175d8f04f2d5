"""Snapshots for people: the valued portfolio of each trading day."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.rows import rows


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


_SNAPSHOTS: LiteralString = """
SELECT * FROM (
    SELECT s.*, a.label AS account,
        row_number() OVER (PARTITION BY s.account_id, s.trading_on ORDER BY s.revision DESC) AS age
    FROM portfolio_snapshots s JOIN broker_accounts a ON a.id = s.account_id
    WHERE s.account_id = ANY(%(accounts)s){of_page}
) s
WHERE (s.age = 1 OR %(revisions)s){after}
ORDER BY s.trading_on {down}, s.account, s.account_id, s.revision {down} LIMIT %(limit)s
"""
_ALL: LiteralString = _SNAPSHOTS.replace("{of_page}", "").replace("{after}", "").replace("{down}", "DESC")

_OF_PAGE: LiteralString = """
        AND (%(since)s::date IS NULL OR s.trading_on >= %(since)s) AND (%(to)s::date IS NULL OR s.trading_on <= %(to)s)
        AND (%(known_at)s::timestamptz IS NULL OR s.seq <= (SELECT max(b.last_seq) FROM sync_batches b
            WHERE b.account_id = s.account_id AND b.finished_at <= %(known_at)s))
"""
_AFTER: LiteralString = """
    AND (%(key_on)s::date IS NULL OR (s.trading_on, s.revision) {beyond} (%(key_on)s, %(key_revision)s::int))
"""


def snapshots_page(*, newest_first: bool) -> LiteralString:
    """The same as a page: also with %(since)s and %(to)s, as known at %(known_at)s, and what comes after the keys."""
    query = _SNAPSHOTS.replace("{of_page}", _OF_PAGE).replace("{after}", _AFTER)
    if newest_first:
        return query.replace("{down}", "DESC").replace("{beyond}", "<")
    return query.replace("{down}", "ASC").replace("{beyond}", ">")


async def snapshots(
    tx: Tx, account_ids: Sequence[UUID], *, revisions: bool = False, limit: int | None = None
) -> list[SnapshotRow]:
    """The newest revision of each day, or all of them; newest day first."""
    given = {"accounts": list(account_ids), "revisions": revisions, "limit": limit}
    return await rows(tx, _ALL, given, SnapshotRow)
