"""What the exchanges announced beyond the regular calendar."""

from psycopg.rows import class_row

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.market_days import MarketDay


async def listed(tx: Tx) -> list[MarketDay]:
    """All dated overrides, oldest first."""
    async with tx.cursor(row_factory=class_row(MarketDay)) as cursor:
        await cursor.execute(
            "SELECT exchange, day_on, kind, opens_at, closes_at, note FROM market_days ORDER BY exchange, day_on"
        )
        return await cursor.fetchall()
