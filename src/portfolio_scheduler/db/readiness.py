"""What the health endpoint asks the database: one statement, counts only."""

from datetime import datetime

from msgspec import Struct
from psycopg.rows import class_row

from portfolio_scheduler.db.pool import Tx


class Readiness(Struct, frozen=True, kw_only=True):
    revision: str  # of the tables
    queued: int
    running: int
    oldest_queued_seconds: float | None  # how long the first in the queue has been waiting
    accounts: int  # that are to be synced
    needs_login: int
    synced_within_a_day: int
    synced_within_four_days: int  # not within a day; a long weekend has four
    synced_before: int
    never_synced: int


async def readiness(tx: Tx, now: datetime) -> Readiness:
    """Ages of syncs by the caller's clock, ages in the queue by the database's."""
    async with tx.cursor(row_factory=class_row(Readiness)) as cursor:
        await cursor.execute(
            """
            WITH last AS (
                SELECT a.state, %(now)s - (
                    SELECT finished_at FROM sync_batches b
                    WHERE b.account_id = a.id AND b.status = 'completed' AND b.trigger <> 'replay'
                    ORDER BY b.fence DESC NULLS FIRST, b.id DESC LIMIT 1) AS age
                FROM broker_accounts a WHERE a.state IN ('active', 'needs_login')
            )
            SELECT (SELECT version_num FROM alembic_version) AS revision,
                (SELECT count(*) FROM sync_batches WHERE status = 'queued') AS queued,
                (SELECT count(*) FROM sync_batches WHERE status = 'running') AS running,
                (SELECT extract(epoch FROM clock_timestamp() - min(uuid_extract_timestamp(id)))::float8
                 FROM sync_batches WHERE status = 'queued') AS oldest_queued_seconds,
                count(*) AS accounts,
                count(*) FILTER (WHERE state = 'needs_login') AS needs_login,
                count(*) FILTER (WHERE age <= interval '1 day') AS synced_within_a_day,
                count(*) FILTER (WHERE age > interval '1 day' AND age <= interval '4 days') AS synced_within_four_days,
                count(*) FILTER (WHERE age > interval '4 days') AS synced_before,
                count(*) FILTER (WHERE age IS NULL) AS never_synced
            FROM last
            """,
            {"now": now},
        )
        found = await cursor.fetchone()
        assert found is not None
        return found
