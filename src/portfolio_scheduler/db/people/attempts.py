"""Limits that hold across processes: how often something may be tried in a stretch of time.

A stretch is counted in tenths, so that no stretch of that length, wherever it begins, ever holds more than the limit.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from portfolio_scheduler.db.pool import Tx

PARTS = 10  # of a stretch
KEPT_DAYS = 2  # longer than the longest stretch
PRUNED = 20  # old counts that each try takes away: more than it adds


class Bucket(Struct, frozen=True):
    """What is counted, how often it may be, in how many seconds."""

    name: str
    most: int
    seconds: int


class Counted(Struct, frozen=True, kw_only=True):
    """What came of a try: a bucket that is full refuses it, and then nothing was counted at all."""

    retry_after_seconds: int | None  # None: it may go on
    filled: tuple[str, ...]  # buckets that took their last one now


async def count(tx: Tx, buckets: Sequence[Bucket], now: datetime) -> Counted:
    """Count one try in all buckets, or in none when one of them is full.

    Tries of the same buckets wait for each other until the caller's transaction ends, so keep it short.
    """
    names = sorted({bucket.name for bucket in buckets})
    # Sorted, so that two tries never wait for each other in a circle.
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(n, 5)) FROM (SELECT unnest(%s::text[]) AS n) ordered", (names,)
    )
    cursor = await tx.execute(
        _COUNT,
        {
            "names": [bucket.name for bucket in buckets],
            "most": [bucket.most for bucket in buckets],
            "spans": [bucket.seconds * (PARTS + 1) // PARTS for bucket in buckets],
            "parts": [_part(now, bucket.seconds) for bucket in buckets],
            "now": now,
            "kept_days": KEPT_DAYS,
            "pruned": PRUNED,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    retry_after, filled = row
    return Counted(retry_after_seconds=None if retry_after is None else max(retry_after, 1), filled=tuple(filled))


async def forget(tx: Tx, name: str) -> None:
    """Empty a bucket."""
    await tx.execute("DELETE FROM attempts WHERE bucket = %s", (name,))


def _part(now: datetime, seconds: int) -> datetime:
    part = max(seconds // PARTS, 1)
    return datetime.fromtimestamp(int(now.timestamp()) // part * part, UTC)


_COUNT = """
    WITH tried AS (
        SELECT t.name, t.most, t.part, t.span, coalesce(sum(a.count), 0) AS count, min(a.window_at) AS oldest
        FROM unnest(%(names)s::text[], %(most)s::int[], %(spans)s::int[], %(parts)s::timestamptz[])
            AS t (name, most, span, part)
        LEFT JOIN attempts a ON a.bucket = t.name AND a.window_at > %(now)s - make_interval(secs => t.span)
        GROUP BY t.name, t.most, t.part, t.span
    ), counted AS (
        INSERT INTO attempts (bucket, window_at, count)
        SELECT name, part, 1 FROM tried WHERE NOT EXISTS (SELECT FROM tried WHERE count >= most) ORDER BY name
        ON CONFLICT (bucket, window_at) DO UPDATE SET count = attempts.count + 1
        RETURNING bucket
    ), pruned AS (
        DELETE FROM attempts WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM attempts WHERE window_at < %(now)s - make_interval(days => %(kept_days)s)
            LIMIT %(pruned)s FOR UPDATE SKIP LOCKED))
    )
    SELECT (SELECT max(ceil(extract(epoch FROM oldest - %(now)s) + span))::int FROM tried WHERE count >= most),
        ARRAY(SELECT name FROM tried WHERE count + 1 = most AND name IN (SELECT bucket FROM counted))
"""


# Failures in a row have no stretch; they are kept until one try succeeds.
_FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


async def count_failure(tx: Tx, name: str) -> int:
    """One failure more in a row; how many there are now."""
    cursor = await tx.execute(
        """
        INSERT INTO attempts (bucket, window_at, count) VALUES (%s, %s, 1)
        ON CONFLICT (bucket, window_at) DO UPDATE SET count = attempts.count + 1 RETURNING count
        """,
        (name, _FOREVER),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def failures(tx: Tx, name: str) -> int:
    cursor = await tx.execute("SELECT count FROM attempts WHERE bucket = %s AND window_at = %s", (name, _FOREVER))
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])
