"""Whose turn it is to take in the morning's list of instruments: one process of all that run, and when again."""

from datetime import datetime

from msgspec import Struct
from psycopg.rows import class_row

from portfolio_scheduler.db.pool import Tx

LEASE_SECONDS = 20 * 60  # a download that is slow and tried again takes less; a process that died holds it no longer


class Trouble(Struct, frozen=True, kw_only=True):
    """Why the list could not be taken in."""

    failures: int  # in a row
    error_text: str
    retry_at: datetime


async def is_due(tx: Tx, morning: datetime) -> bool:
    """Whether somebody has an account and no list was taken in since that morning."""
    cursor = await tx.execute(
        """
        SELECT EXISTS (SELECT FROM broker_accounts WHERE state <> 'closed')
            AND NOT EXISTS (SELECT FROM instrument_files WHERE read_at >= %s)
        """,
        (morning,),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])


async def claim(tx: Tx, worker: str, now: datetime, patience_until: datetime) -> bool:
    """Take the turn, unless somebody else has it or it failed and its time has not come yet.

    A `retry_at` beyond `patience_until` was written before the clock was set back, and says nothing.
    """
    cursor = await tx.execute(
        """
        INSERT INTO instrument_loading AS l (worker, leased_until)
        VALUES (%(worker)s, clock_timestamp() + make_interval(secs => %(lease)s))
        ON CONFLICT (one) DO UPDATE SET worker = EXCLUDED.worker, leased_until = EXCLUDED.leased_until
            WHERE l.leased_until <= clock_timestamp()
                AND (l.retry_at IS NULL OR l.retry_at <= %(now)s OR l.retry_at > %(patience)s)
        RETURNING true
        """,
        {"worker": worker, "lease": LEASE_SECONDS, "now": now, "patience": patience_until},
    )
    return await cursor.fetchone() is not None


async def done(tx: Tx, worker: str) -> None:
    """The turn is over and went well, or was interrupted."""
    await tx.execute(
        """
        UPDATE instrument_loading SET leased_until = clock_timestamp(), retry_at = NULL, failures = 0, error_text = NULL
        WHERE worker = %s
        """,
        (worker,),
    )


async def failed(tx: Tx, worker: str, reason: str, retry_at: datetime) -> None:
    """The turn is over; the next one may begin at `retry_at`."""
    await tx.execute(
        """
        UPDATE instrument_loading SET leased_until = clock_timestamp(), retry_at = %s, failures = failures + 1,
            error_text = %s
        WHERE worker = %s
        """,
        (retry_at, reason, worker),
    )


async def trouble(tx: Tx) -> Trouble | None:
    """What goes wrong at present, if anything does."""
    async with tx.cursor(row_factory=class_row(Trouble)) as cursor:
        await cursor.execute(
            """
            SELECT failures, error_text, retry_at FROM instrument_loading
            WHERE failures > 0 AND error_text IS NOT NULL AND retry_at IS NOT NULL
            """
        )
        return await cursor.fetchone()
