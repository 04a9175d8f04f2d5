"""Invitations: who may register, once each. The set-up token is one that nobody made, for whoever is first."""

from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row, scalar_row

from portfolio_scheduler.db.pool import Tx

SETUP_LIFE = timedelta(hours=24)


class Invitation(Struct, frozen=True, kw_only=True):
    """One that counts."""

    id: UUID
    role: str
    invited_by: UUID | None  # None: the set-up token


async def add(
    tx: Tx, *, digest: bytes, role: str, invited_by: UUID | None, now: datetime, expires_at: datetime
) -> UUID:
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            INSERT INTO invitations (digest, role, invited_by, created_at, expires_at)
            VALUES (%s, %s, %s, %s, %s) RETURNING id
            """,
            (digest, role, invited_by, now, expires_at),
        )
        made = await cursor.fetchone()
    assert isinstance(made, UUID)
    return made


async def counting(tx: Tx, digest: bytes, now: datetime) -> Invitation | None:
    """The invitation of a token, held: of two who use it at once one is first."""
    async with tx.cursor(row_factory=class_row(Invitation)) as cursor:
        await cursor.execute(
            """
            SELECT id, role, invited_by FROM invitations
            WHERE digest = %s AND used_at IS NULL AND expires_at > %s FOR UPDATE
            """,
            (digest, now),
        )
        return await cursor.fetchone()


async def hold_setup(tx: Tx) -> None:
    """Of those who use set-up tokens, which may be several, one goes on at a time."""
    await tx.execute("SELECT FROM invitations WHERE invited_by IS NULL ORDER BY id FOR UPDATE")


async def use(tx: Tx, invitation_id: UUID, user_id: UUID, now: datetime) -> None:
    await tx.execute("UPDATE invitations SET used_at = %s, used_by = %s WHERE id = %s", (now, user_id, invitation_id))


async def end_setup(tx: Tx, now: datetime) -> None:
    """No set-up token counts any more."""
    await tx.execute(
        "UPDATE invitations SET expires_at = %s WHERE invited_by IS NULL AND used_at IS NULL AND expires_at > %s",
        (now, now),
    )


async def end(tx: Tx, invitation_id: UUID, now: datetime) -> bool:
    """Whether it counted until now."""
    cursor = await tx.execute(
        """
        UPDATE invitations SET expires_at = %s
        WHERE id = %s AND invited_by IS NOT NULL AND used_at IS NULL AND expires_at > %s
        """,
        (now, invitation_id, now),
    )
    return cursor.rowcount == 1


LISTED: LiteralString = """
    SELECT i.id, i.role, b.name AS invited_by, i.created_at, i.expires_at, i.used_at, u.name AS used_by
    FROM invitations i JOIN users b ON b.id = i.invited_by LEFT JOIN users u ON u.id = i.used_by
    WHERE %(after_at)s::timestamptz IS NULL OR (i.created_at, i.id) < (%(after_at)s, %(after_id)s::uuid)
    ORDER BY i.created_at DESC, i.id DESC LIMIT %(limit)s
"""
