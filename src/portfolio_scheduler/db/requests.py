"""What owners ask of their accounts through the API: asked by the web, done by a worker, which alone opens secrets.

A request is acted on once, by the worker that claims it, and only while whoever asked still waits: after a minute, or
once it was withdrawn, nobody acts on it any more. Its secrets go when it ends. Leases use the database's clock.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from portfolio_scheduler.db.idempotency import LIFE
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.viewers import open_door, shut_door
from portfolio_scheduler.domain.schedule import Schedule
from portfolio_scheduler.errors import Fenced, QueueFull, TooMany

CONNECT, CHANGE, TEST, TOKEN, CLOSE = "connect", "change", "test", "token", "close"
QUEUED, RUNNING, DONE, REFUSED, FAILED, WITHDRAWN = "queued", "running", "done", "refused", "failed", "withdrawn"

STALE_SECONDS = 60  # whoever asked has gone by then
MOST_OF_A_USER = 10  # open at once
MOST = 500  # of everybody
NOBODY = "no worker took it up in time"


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is asked, besides secrets. What is left out stays as it is."""

    broker: str | None = None
    broker_account_id: str | None = None  # which the broker must confirm
    label: str | None = None
    schedules: list[Schedule] | None = None
    late_pass: bool | None = None
    paused: bool | None = None


NOTHING_MORE = Wish()


class Request(Struct, frozen=True, kw_only=True):
    """A claimed request. Its repr shows no secret, sealed or not."""

    id: UUID
    user_id: UUID
    account_id: UUID
    kind: str
    parameters: dict[str, Any]  # a `Wish`
    sealed_credentials: bytes | None

    @property
    def wish(self) -> Wish:
        return msgspec.convert(self.parameters, Wish)

    def __repr__(self) -> str:
        return f"Request(id={self.id}, kind={self.kind!r}, account_id={self.account_id})"


class Ending(Struct, frozen=True, kw_only=True):
    """How a request stands, as the API may see it."""

    status: str
    error_class: str | None
    reason: str | None

    @property
    def is_open(self) -> bool:
        return self.status in {QUEUED, RUNNING}


async def new_ids(tx: Tx) -> tuple[UUID, UUID]:
    """Ids of a request and of an account that do not exist yet: secrets are sealed to both before they do."""
    cursor = await tx.execute("SELECT uuidv7(), uuidv7()")
    row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


async def add(
    tx: Tx,
    request_id: UUID,
    *,
    user_id: UUID,
    account_id: UUID,
    kind: str,
    now: datetime,
    wish: Wish = NOTHING_MORE,
    sealed_credentials: bytes | None = None,
) -> None:
    """Ask. The caller puts its job on the queue in the same transaction."""
    await tx.execute(
        """
        INSERT INTO account_requests (id, user_id, account_id, kind, parameters, sealed_credentials, created_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (request_id, user_id, account_id, kind, Jsonb(msgspec.to_builtins(wish)), sealed_credentials, now),
    )


async def check_room(tx: Tx, user_id: UUID) -> None:
    """Refuse what could only wait: `TooMany` for one user's, `QueueFull` for everybody's. The door is shut again."""
    await open_door(tx, "room")
    cursor = await tx.execute(
        """
        SELECT count(*) FILTER (WHERE user_id = %s), count(*)
        FROM (SELECT user_id FROM account_requests WHERE status IN ('queued', 'running') LIMIT %s) open_ones
        """,
        (user_id, MOST),
    )
    row = await cursor.fetchone()
    await shut_door(tx)
    assert row is not None
    if row[0] >= MOST_OF_A_USER:
        raise TooMany(f"{row[0]} of your requests are waiting already; wait for them.", retry_after_seconds=5)
    if row[1] >= MOST:
        raise QueueFull


ENDING: LiteralString = "SELECT status, error_class, reason FROM account_requests WHERE id = %(request)s"


async def withdraw(tx: Tx, request_id: UUID, now: datetime) -> str | None:
    """Ask no more, and destroy the secrets. Returns how far it had come, or None when it had ended before."""
    cursor = await tx.execute(
        "SELECT status FROM account_requests WHERE id = %s AND status IN ('queued', 'running') FOR UPDATE",
        (request_id,),
    )
    row = await cursor.fetchone()
    await tx.execute(
        """
        UPDATE account_requests SET status = 'withdrawn', sealed_credentials = NULL, ended_at = %s, reason = %s
        WHERE id = %s AND status IN ('queued', 'running')
        """,
        (now, NOBODY, request_id),
    )
    return row[0] if row else None


async def claim(tx: Tx, request_id: UUID) -> Request | None:
    """Take it up. None when it has ended, somebody else is at it, or whoever asked has gone."""
    async with tx.cursor(row_factory=class_row(Request)) as cursor:
        await cursor.execute(
            """
            UPDATE account_requests SET status = 'running', beat_at = clock_timestamp()
            WHERE id = %s AND status = 'queued' AND asked_at > clock_timestamp() - make_interval(secs => %s)
            RETURNING id, user_id, account_id, kind, parameters, sealed_credentials
            """,
            (request_id, STALE_SECONDS),
        )
        return await cursor.fetchone()


async def beat(tx: Tx, request_id: UUID) -> None:
    """Say that the worker is alive; one whose request was withdrawn is told so."""
    cursor = await tx.execute(
        "UPDATE account_requests SET beat_at = clock_timestamp() WHERE id = %s AND status = 'running'", (request_id,)
    )
    if cursor.rowcount != 1:
        raise Fenced(GONE)


GONE = "the request was withdrawn meanwhile; nothing was done"


async def settle(tx: Tx, request_id: UUID, now: datetime) -> None:
    """Done: say so first in the transaction that does it. `Fenced` when nobody asks for it any more."""
    await _end(tx, request_id, now, DONE, None, None)


async def refuse(tx: Tx, request_id: UUID, now: datetime, status: str, error_class: str, reason: str) -> None:
    """It could not be done, and why."""
    await _end(tx, request_id, now, status, error_class, reason)


async def _end(
    tx: Tx, request_id: UUID, now: datetime, status: str, error_class: str | None, reason: str | None
) -> None:
    cursor = await tx.execute(
        """
        UPDATE account_requests SET status = %s, error_class = %s, reason = %s, ended_at = %s,
            sealed_credentials = NULL
        WHERE id = %s AND status = 'running'
        """,
        (status, error_class, reason, now, request_id),
    )
    if cursor.rowcount != 1:
        raise Fenced(GONE)


async def sweep(tx: Tx, now: datetime, lease_seconds: float) -> Sequence[UUID]:
    """End what nobody took up and what the worker died on; the secrets go. Waits for nobody."""
    cursor = await tx.execute(
        """
        WITH dead AS MATERIALIZED (
            SELECT id, status FROM account_requests
            WHERE status = 'queued' AND asked_at < clock_timestamp() - make_interval(secs => %(stale)s)
                OR status = 'running' AND beat_at < clock_timestamp() - make_interval(secs => %(lease)s)
            FOR UPDATE SKIP LOCKED
        )
        UPDATE account_requests r SET ended_at = %(now)s, sealed_credentials = NULL,
            status = CASE dead.status WHEN 'queued' THEN 'withdrawn' ELSE 'failed' END,
            error_class = CASE dead.status WHEN 'running' THEN 'WorkerLost' END,
            reason = CASE dead.status WHEN 'queued' THEN %(nobody)s ELSE 'the worker that was at it stopped' END
        FROM dead WHERE r.id = dead.id RETURNING r.id
        """,
        {"now": now, "stale": STALE_SECONDS, "lease": lease_seconds, "nobody": NOBODY},
    )
    return [row[0] for row in await cursor.fetchall()]


async def forget(tx: Tx, now: datetime) -> None:
    """What was kept for a while is over: keys of requests after a day, tickets that nobody used."""
    await tx.execute("DELETE FROM idempotency_keys WHERE created_at <= %s", (now - LIFE,))
    await tx.execute("DELETE FROM socket_tickets WHERE expires_at <= %s", (now,))
