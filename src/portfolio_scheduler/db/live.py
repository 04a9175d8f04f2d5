"""Hearing on commit what changed, whichever process changed it, and the tickets that open sockets."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.rows import class_row

from portfolio_scheduler.db.pool import Pool, Tx, notices
from portfolio_scheduler.db.viewers import Entry, Viewer, read

CHANNEL = "portfolio_live"
TICKET_LIFE = timedelta(seconds=30)


class Event(Struct, frozen=True, kw_only=True):
    """What changed: never the data."""

    type: str  # batch, account or history
    user: UUID  # whose account it is
    account: UUID
    batch: UUID | None = None
    status: str | None = None  # of the batch or the account; new for an account just added
    seq: int  # of the account's last fact


_event = msgspec.json.Decoder(Event)


async def events(pool: Pool) -> AsyncIterator[Event | None]:
    """Every change from now on; None once when it begins to listen. Raises `psycopg.Error` when it cannot go on."""
    async for notice in notices(pool, CHANNEL):
        yield None if notice is None else _event.decode(notice)


class Seen(Struct, frozen=True, kw_only=True):
    """What a viewer may hear of, as it is now."""

    owners: frozenset[UUID]  # whose accounts they see
    accounts: frozenset[UUID]  # of those asked for


_SEEN: LiteralString = """
    SELECT coalesce(array_agg(DISTINCT user_id), '{}'),
        coalesce(array_agg(id) FILTER (WHERE id = ANY(%(accounts)s)), '{}')
    FROM broker_accounts
"""


async def seen(pool: Pool, entry: Entry, accounts: Sequence[UUID]) -> tuple[Viewer, Seen]:
    """One round trip; a login that has ended is `LoginRequired`."""
    viewer, rows = await read(pool, entry, _SEEN, {"accounts": list(accounts)})
    return viewer, Seen(owners=frozenset(rows[0][0]) | {viewer.user_id}, accounts=frozenset(rows[0][1]))


class Ticket(Struct, frozen=True, kw_only=True):
    """A ticket that was handed in."""

    session_id: UUID
    expires_at: datetime
    open_until: datetime


async def issue(tx: Tx, viewer: Viewer, digest: bytes, now: datetime, open_until: datetime) -> datetime:
    """Keep a ticket for one socket; returns when it is no good any more. Earlier ones that nobody used go."""
    until = now + TICKET_LIFE
    await tx.execute("DELETE FROM socket_tickets WHERE user_id = %s AND expires_at <= %s", (viewer.user_id, now))
    await tx.execute(
        "INSERT INTO socket_tickets (digest, user_id, session_id, expires_at, open_until) VALUES (%s, %s, %s, %s, %s)",
        (digest, viewer.user_id, viewer.session_id, until, open_until),
    )
    return until


async def redeem(tx: Tx, digest: bytes) -> Ticket | None:
    """Take a ticket in: it is good once. The transaction is one before anybody is known."""
    async with tx.cursor(row_factory=class_row(Ticket)) as cursor:
        await cursor.execute(
            "DELETE FROM socket_tickets WHERE digest = %s RETURNING session_id, expires_at, open_until", (digest,)
        )
        return await cursor.fetchone()
