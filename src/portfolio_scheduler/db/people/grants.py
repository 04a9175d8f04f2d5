"""Grants: who may read whose accounts, until when."""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row, scalar_row

from portfolio_scheduler.db.pool import Tx


class Ended(Struct, frozen=True, kw_only=True):
    owner_id: UUID
    viewer_id: UUID
    owner_name: str
    viewer_name: str


async def add(
    tx: Tx,
    *,
    owner_id: UUID,
    owner_name: str,
    viewer_id: UUID,
    viewer_name: str,
    now: datetime,
    expires_at: datetime,
) -> UUID:
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            INSERT INTO viewer_grants (owner_id, viewer_id, owner_name, viewer_name, granted_at, expires_at)
            VALUES (%s, %s, %s, %s, %s, %s) RETURNING id
            """,
            (owner_id, viewer_id, owner_name, viewer_name, now, expires_at),
        )
        made = await cursor.fetchone()
    assert isinstance(made, UUID)
    return made


async def end(tx: Tx, grant_id: UUID, now: datetime) -> Ended | None:
    """End one that was given or received by whom the transaction is about; None when there is none that counts."""
    async with tx.cursor(row_factory=class_row(Ended)) as cursor:
        await cursor.execute(
            """
            UPDATE viewer_grants SET ended_at = %s
            WHERE id = %s AND ended_at IS NULL AND expires_at > %s
                AND (owner_id = (SELECT app_user()) OR viewer_id = (SELECT app_user()))
            RETURNING owner_id, viewer_id, owner_name, viewer_name
            """,
            (now, grant_id, now),
        )
        return await cursor.fetchone()


_COLUMNS: LiteralString = """
    SELECT g.id, g.owner_name, g.viewer_name, g.granted_at, g.expires_at, g.ended_at FROM viewer_grants g
"""
_AFTER: LiteralString = """
    AND (%(after_at)s::timestamptz IS NULL OR (g.granted_at, g.id) < (%(after_at)s, %(after_id)s::uuid))
    ORDER BY g.granted_at DESC, g.id DESC LIMIT %(limit)s
"""
GIVEN: LiteralString = _COLUMNS + "WHERE g.owner_id = (SELECT app_user())" + _AFTER
RECEIVED: LiteralString = (
    _COLUMNS
    + "WHERE g.viewer_id = (SELECT app_user()) AND g.ended_at IS NULL AND g.expires_at > (SELECT app_now())"
    + _AFTER
)
