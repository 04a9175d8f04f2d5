"""Sessions: logins that go on, each a family of refresh tokens of which the newest counts."""

from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row

from portfolio_scheduler.db.pool import Tx

LIFE = timedelta(hours=12)
REMEMBERED_LIFE = timedelta(days=30)
ADMIN_IDLE = timedelta(minutes=30)
DEVICE_KNOWN = timedelta(days=180)  # since its last login
REUSED = "reused"  # why a session ended: somebody has a copy of its refresh token


class NewSession(Struct, frozen=True, kw_only=True):
    """A login that succeeded."""

    id: UUID
    user_id: UUID
    is_admin: bool
    remembered: bool
    second_factor: bool
    device_digest: bytes
    refresh_digest: bytes
    address: str
    agent: str


class Held(Struct, frozen=True, kw_only=True):
    """A session as refreshing finds it, with its user."""

    id: UUID
    user_id: UUID
    name: str
    role: str
    counts: bool  # neither ended nor expired nor idle for too long, and its user not disabled
    ended_at: datetime | None
    refreshed_at: datetime
    expires_at: datetime
    device_digest: bytes
    refresh_digest: bytes
    previous_digest: bytes | None
    replayed: bool
    second_factor: bool


async def start(tx: Tx, new: NewSession, now: datetime) -> datetime:
    """Keep a session; when it ends at the latest."""
    life = REMEMBERED_LIFE if new.remembered else LIFE
    idle = ADMIN_IDLE if new.is_admin else life
    await tx.execute(
        """
        INSERT INTO sessions (id, user_id, begun_at, authenticated_at, refreshed_at, expires_at, idle_seconds,
            remembered, second_factor, device_digest, refresh_digest, address, agent)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            *(new.id, new.user_id, now, now, now, now + life, int(idle.total_seconds())),
            *(new.remembered, new.second_factor, new.device_digest, new.refresh_digest, new.address, new.agent),
        ),
    )
    return now + life


async def knows_device(tx: Tx, name: str, device_digest: bytes, now: datetime) -> bool:
    """Whether that user logged in from this device lately, and no copy of its tokens has shown up."""
    cursor = await tx.execute(
        """
        SELECT EXISTS (SELECT FROM sessions s JOIN users u ON u.id = s.user_id
            WHERE u.name = %s AND s.device_digest = %s AND s.begun_at > %s)
            AND NOT EXISTS (SELECT FROM sessions s JOIN users u ON u.id = s.user_id
            WHERE u.name = %s AND s.device_digest = %s AND s.ended_because = %s)
        """,
        (name, device_digest, now - DEVICE_KNOWN, name, device_digest, REUSED),
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def held(tx: Tx, session_id: UUID, now: datetime) -> Held | None:
    """The session, held until the transaction ends: of many that refresh at once one is first."""
    async with tx.cursor(row_factory=class_row(Held)) as cursor:
        await cursor.execute(
            """
            SELECT s.id, s.user_id, u.name, u.role, s.ended_at, s.refreshed_at, s.expires_at, s.device_digest,
                s.refresh_digest, s.previous_digest, s.replayed, s.second_factor,
                s.ended_at IS NULL AND s.expires_at > %(now)s AND u.disabled_at IS NULL
                    AND s.refreshed_at + make_interval(secs => s.idle_seconds) > %(now)s AS counts
            FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = %(id)s FOR UPDATE OF s
            """,
            {"id": session_id, "now": now},
        )
        return await cursor.fetchone()


async def rotate(tx: Tx, session_id: UUID, refresh_digest: bytes, now: datetime) -> None:
    await tx.execute(
        """
        UPDATE sessions SET previous_digest = refresh_digest, refresh_digest = %s, refreshed_at = %s, replayed = false
        WHERE id = %s
        """,
        (refresh_digest, now, session_id),
    )


async def mark_replayed(tx: Tx, session_id: UUID) -> None:
    await tx.execute("UPDATE sessions SET replayed = true WHERE id = %s", (session_id,))


async def end(tx: Tx, session_id: UUID, because: str, now: datetime) -> bool:
    """Whether it went on until now."""
    cursor = await tx.execute(
        "UPDATE sessions SET ended_at = %s, ended_because = %s WHERE id = %s AND ended_at IS NULL",
        (now, because, session_id),
    )
    return cursor.rowcount == 1


async def end_all(tx: Tx, user_id: UUID, because: str, now: datetime, *, but: UUID | None = None) -> int:
    """End the sessions of a user; how many went on until now."""
    cursor = await tx.execute(
        """
        UPDATE sessions SET ended_at = %s, ended_because = %s
        WHERE user_id = %s AND ended_at IS NULL AND expires_at > %s AND id IS DISTINCT FROM %s
        """,
        (now, because, user_id, now, but),
    )
    return cursor.rowcount


async def authenticated(tx: Tx, session_id: UUID, now: datetime, *, second_factor: bool) -> None:
    """The password was given again, and the code when `second_factor` says so."""
    await tx.execute(
        "UPDATE sessions SET authenticated_at = %s, second_factor = second_factor OR %s WHERE id = %s",
        (now, second_factor, session_id),
    )


async def set_factor(tx: Tx, user_id: UUID, session_id: UUID | None) -> None:
    """From now on that session has a second factor and no other of the user's; without one, none has."""
    await tx.execute(
        "UPDATE sessions SET second_factor = (id IS NOT DISTINCT FROM %s) WHERE user_id = %s AND ended_at IS NULL",
        (session_id, user_id),
    )


async def device_of(tx: Tx, session_id: UUID) -> bytes:
    cursor = await tx.execute("SELECT device_digest FROM sessions WHERE id = %s", (session_id,))
    row = await cursor.fetchone()
    assert row is not None
    return bytes(row[0])


LISTED: LiteralString = """
    SELECT s.id, s.begun_at, s.authenticated_at, s.refreshed_at, s.expires_at, s.remembered, s.second_factor, s.address,
        s.agent
    FROM sessions s
    WHERE s.user_id = (SELECT app_user()) AND s.ended_at IS NULL AND s.expires_at > (SELECT app_now())
        AND s.refreshed_at + make_interval(secs => s.idle_seconds) > (SELECT app_now())
        AND (%(after_at)s::timestamptz IS NULL OR (s.begun_at, s.id) < (%(after_at)s, %(after_id)s::uuid))
    ORDER BY s.begun_at DESC, s.id DESC LIMIT %(limit)s
"""
