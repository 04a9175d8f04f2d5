"""Snapshots for people: the valued portfolio of each trading day."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
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
