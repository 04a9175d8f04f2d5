"""Tokens for programs: made by a person, shown once, kept as their SHA-256."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.rows import scalar_row

from portfolio_scheduler.db.pool import Tx


async def add(
    tx: Tx, user_id: UUID, *, name: str, digest: bytes, scopes: Sequence[str], now: datetime, expires_at: datetime
) -> UUID:
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            INSERT INTO api_tokens (user_id, name, digest, scopes, created_at, expires_at)
            VALUES (%s, %s, %s, %s, %s, %s) RETURNING id
            """,
            (user_id, name, digest, list(scopes), now, expires_at),
        )
        made = await cursor.fetchone()
    assert isinstance(made, UUID)
    return made


async def how_many(tx: Tx, user_id: UUID, now: datetime) -> int:
    """Tokens of a user that count."""
    cursor = await tx.execute(
        "SELECT count(*) FROM api_tokens WHERE user_id = %s AND ended_at IS NULL AND expires_at > %s", (user_id, now)
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def end(tx: Tx, user_id: UUID, token_id: UUID, now: datetime) -> bool:
    """Whether the user had it, and it counted until now."""
    cursor = await tx.execute(
        "UPDATE api_tokens SET ended_at = %s WHERE id = %s AND user_id = %s AND ended_at IS NULL",
        (now, token_id, user_id),
    )
    return cursor.rowcount == 1


async def end_all(tx: Tx, user_id: UUID, now: datetime) -> int:
    cursor = await tx.execute(
        "UPDATE api_tokens SET ended_at = %s WHERE user_id = %s AND ended_at IS NULL", (now, user_id)
    )
    return cursor.rowcount


LISTED: LiteralString = """
    SELECT t.id, t.name, t.scopes, t.created_at, t.expires_at, t.last_used_on
    FROM api_tokens t
    WHERE t.user_id = (SELECT app_user()) AND t.ended_at IS NULL AND t.expires_at > (SELECT app_now())
        AND (%(after_at)s::timestamptz IS NULL OR (t.created_at, t.id) < (%(after_at)s, %(after_id)s::uuid))
    ORDER BY t.created_at DESC, t.id DESC LIMIT %(limit)s
"""
