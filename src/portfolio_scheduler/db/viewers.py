"""Who asks: every transaction of the API begins by saying so, and row-level security goes by it.

`read` is the way of all reads: the check of the login and the query travel together, one round trip. `as_viewer` is
the way of everything that writes. What either says ends with its transaction, whoever uses the connection next.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from msgspec import Struct
from psycopg import AsyncCursor
from psycopg.rows import class_row, tuple_row

from portfolio_scheduler.db.gated import Gated
from portfolio_scheduler.db.pool import CountedConnection, Pool, Tx, pipelined, transaction
from portfolio_scheduler.errors import LoginRequired, NotFound

Door = Literal["identity", "admin", "room"]


class Entry(Struct, frozen=True, kw_only=True):
    """The proof of who asks that a request brought: an access token's session, or the digest of a program's token."""

    at: datetime
    session_id: UUID | None = None
    token_digest: bytes | None = None
    user_id: UUID | None = None  # whose the access token says it is
    subject_id: UUID | None = None  # whom an admin looks at; set by `web/subjects.py` alone, which has recorded it
    good_until: datetime | None = None  # when the access token dies
    address: str = ""  # where the request comes from, for the access log

    @property
    def statement(self) -> LiteralString:
        return _ENTER_TOKEN if self.session_id is None else _ENTER_SESSION

    @property
    def params(self) -> tuple[Any, ...]:
        return (self.session_id or self.token_digest, self.at)


class Viewer(Struct, frozen=True, kw_only=True):
    """Who asks, as the database says now: a login that has ended, or a user who is disabled, is nobody."""

    user_id: UUID
    name: str
    role: str  # user or admin
    session_id: UUID | None  # None for a program's token
    token_id: UUID | None
    authenticated_at: datetime  # when the password was last given
    second_factor: bool  # whether that took the second factor as well
    scopes: tuple[str, ...] | None  # of a program's token; None for a person, who may do all that is theirs

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


_ENTER_SESSION: LiteralString = """
    SELECT user_id, name, role, session_id, token_id, authenticated_at, second_factor, scopes FROM enter_session(%s, %s)
"""
_ENTER_TOKEN: LiteralString = """
    SELECT user_id, name, role, session_id, token_id, authenticated_at, second_factor, scopes FROM enter_token(%s, %s)
"""


class _Row(Struct, frozen=True, kw_only=True):
    user_id: UUID | None
    name: str | None
    role: str | None
    session_id: UUID | None
    token_id: UUID | None
    authenticated_at: datetime | None
    second_factor: bool | None
    scopes: list[str] | None


def _viewer(row: _Row | None) -> Viewer:
    if row is None or row.user_id is None:
        raise LoginRequired("This login has ended; log in again.")
    assert row.name is not None
    assert row.role is not None
    assert row.authenticated_at is not None
    return Viewer(
        user_id=row.user_id,
        name=row.name,
        role=row.role,
        session_id=row.session_id,
        token_id=row.token_id,
        authenticated_at=row.authenticated_at,
        second_factor=bool(row.second_factor),
        scopes=None if row.scopes is None else tuple(row.scopes),
    )


async def read(
    pool: Pool, entry: Entry, query: LiteralString, params: Mapping[str, Any]
) -> tuple[Viewer, list[tuple[Any, ...]]]:
    """The rows of one query as the viewer may see them: one round trip, one implicit transaction."""
    async with pipelined(pool) as connection:
        entering = await _entering(connection, entry)
        reading = connection.cursor(row_factory=tuple_row)
        await reading.execute(query, params)
    return await _entered(entering, entry), await reading.fetchall()


async def read_unless(
    pool: Pool, entry: Entry, question: Gated, params: Mapping[str, Any], known: list[str]
) -> tuple[Viewer, list[tuple[Any, ...]]]:
    """The version of what is asked for, and the document unless the version is known: one round trip as well."""
    async with pipelined(pool) as connection:
        entering = await _entering(connection, entry)
        name = connection.prepared.get(question.key)
        if is_new := name is None:
            name = question.new_name()
            await connection.cursor().execute(question.prepare(name), prepare=False)
        reading = connection.cursor(row_factory=tuple_row)
        await reading.execute(question.ask, question.params(params, name, known))
    if is_new:
        connection.prepared[question.key] = name
    return await _entered(entering, entry), await reading.fetchall()


async def _entering(connection: CountedConnection, entry: Entry) -> AsyncCursor[_Row]:
    entering = connection.cursor(row_factory=class_row(_Row))
    await entering.execute(entry.statement, entry.params)
    if entry.subject_id is not None:
        await look_at(connection, entry.subject_id)
    return entering


async def _entered(entering: AsyncCursor[_Row], entry: Entry) -> Viewer:
    viewer = _viewer(await entering.fetchone())
    if entry.subject_id is not None and not viewer.is_admin:  # no longer: what was read is not handed out
        raise NotFound("There is no such user.")
    return viewer


@asynccontextmanager
async def as_viewer(pool: Pool, entry: Entry) -> AsyncIterator[tuple[Tx, Viewer]]:
    """A transaction of whoever asks, for what writes or takes several statements."""
    async with transaction(pool) as tx:
        async with tx.cursor(row_factory=class_row(_Row)) as cursor:
            await cursor.execute(entry.statement, entry.params)
            viewer = _viewer(await cursor.fetchone())
        yield tx, viewer


@asynccontextmanager
async def at_the_door(pool: Pool, now: datetime) -> AsyncIterator[Tx]:
    """A transaction before anybody is known: registering, logging in, refreshing. It reaches rows of people only."""
    async with transaction(pool) as tx:
        await tx.execute(
            "SELECT set_config('app.door', 'identity', true), set_config('app.now', %s::timestamptz::text, true), "
            "set_config('app.user_id', '', true)",
            (now,),
        )
        yield tx


async def open_door(tx: Tx, door: Door) -> None:
    """Let an admin's lists, what changes a login, or the count of what waits reach other people's rows from here on."""
    await tx.execute("SELECT set_config('app.door', %s, true)", (door,))


async def shut_door(tx: Tx) -> None:
    """From here on this transaction reaches the viewer's own rows only, as it did at first."""
    await tx.execute("SELECT set_config('app.door', '', true)")


async def look_at(tx: Tx, subject_id: UUID) -> None:
    """From here on this transaction is about another user. Whoever calls it has written the access log before.

    What others share with that user stays out of sight: they would not hear of it.
    """
    await tx.execute(
        "SELECT set_config('app.user_id', %s, true), set_config('app.door', 'subject', true)", (str(subject_id),)
    )
