"""Users: finding them for a login, their passwords and roles. The last admin who can log in always stays one."""

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg.rows import class_row, scalar_row

from portfolio_scheduler.db.pool import Tx, savepoint
from portfolio_scheduler.errors import Conflict, NotFound

MOST_FAILURES = 100  # in a row; then only devices that are known are let in, until an admin lifts it

LAST_ADMIN = "This is the last administrator who can log in; make somebody else one first."


class Login(Struct, frozen=True, kw_only=True):
    """What a login is checked against. Its repr shows the user only."""

    id: UUID
    name: str
    role: str
    password_hash: str | None
    failed_logins: int
    factor_box: bytes | None
    factor_confirmed_at: datetime | None
    factor_step: int | None
    disabled_at: datetime | None

    @property
    def has_factor(self) -> bool:
        return self.factor_confirmed_at is not None

    @property
    def is_stopped(self) -> bool:
        return self.failed_logins >= MOST_FAILURES

    def __repr__(self) -> str:
        return f"Login({self.name!r})"


_LOGIN: LiteralString = """
    SELECT id, name, role, password_hash, failed_logins, factor_box, factor_confirmed_at, factor_step, disabled_at
    FROM users
"""


async def login_of_name(tx: Tx, name: str) -> Login | None:
    return await _login(tx, _LOGIN + "WHERE name = %s", name)


async def login_of(tx: Tx, user_id: UUID) -> Login:
    """The same by id; held, so that what is decided by it still holds when it is written."""
    found = await _login(tx, _LOGIN + "WHERE id = %s FOR UPDATE", user_id)
    if found is None:
        raise NotFound("There is no such user.")
    return found


async def _login(tx: Tx, query: LiteralString, key: Any) -> Login | None:
    async with tx.cursor(row_factory=class_row(Login)) as cursor:
        await cursor.execute(query, (key,))
        return await cursor.fetchone()


async def count_failure(tx: Tx, name: str) -> int:
    """One failure more in a row; how many there are now, 0 when there is no such user."""
    cursor = await tx.execute(
        "UPDATE users SET failed_logins = failed_logins + 1 WHERE name = %s RETURNING failed_logins", (name,)
    )
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def forget_failures(tx: Tx, user_id: UUID) -> None:
    await tx.execute("UPDATE users SET failed_logins = 0 WHERE id = %s AND failed_logins > 0", (user_id,))


async def set_password(tx: Tx, user_id: UUID, hashed: str, now: datetime) -> None:
    await tx.execute(
        "UPDATE users SET password_hash = %s, password_changed_at = %s, failed_logins = 0 WHERE id = %s",
        (hashed, now, user_id),
    )


async def set_hash(tx: Tx, user_id: UUID, before: str, after: str) -> None:
    """The same password, hashed anew at today's cost; unless it was changed meanwhile."""
    await tx.execute(
        "UPDATE users SET password_hash = %s WHERE id = %s AND password_hash = %s", (after, user_id, before)
    )


async def add(tx: Tx, name: str, role: str, hashed: str, now: datetime) -> UUID:
    """A new user who can log in; a name that is taken is a `Conflict`."""
    try:
        async with savepoint(tx), tx.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute(
                """
                INSERT INTO users (name, role, password_hash, password_changed_at, created_at)
                VALUES (%s, %s, %s, %s, %s) RETURNING id
                """,
                (name, role, hashed, now, now),
            )
            made = await cursor.fetchone()
    except psycopg.errors.UniqueViolation as e:
        raise Conflict(f"The user name {name!r} is taken; choose another.") from e
    assert isinstance(made, UUID)
    return made


async def take_over(tx: Tx, name: str, hashed: str, now: datetime) -> UUID | None:
    """Give the oldest user without a password, whose accounts the command line connected, to an admin of that name."""
    try:
        async with savepoint(tx), tx.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute(
                """
                UPDATE users SET name = %s, role = 'admin', password_hash = %s, password_changed_at = %s
                WHERE id = (SELECT id FROM users WHERE password_hash IS NULL ORDER BY created_at, id LIMIT 1)
                RETURNING id
                """,
                (name, hashed, now),
            )
            return await cursor.fetchone()
    except psycopg.errors.UniqueViolation as e:
        raise Conflict(f"The user name {name!r} is taken; choose another.") from e


async def can_anybody_log_in(tx: Tx) -> bool:
    cursor = await tx.execute(
        "SELECT EXISTS (SELECT FROM users WHERE password_hash IS NOT NULL AND disabled_at IS NULL)"
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def id_of_name(tx: Tx, name: str) -> UUID | None:
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT id FROM users WHERE name = %s", (name,))
        return await cursor.fetchone()


async def name_of(tx: Tx, user_id: UUID) -> str:
    """The name; without such a user `NotFound`."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT name FROM users WHERE id = %s", (user_id,))
        name = await cursor.fetchone()
    if name is None:
        raise NotFound("There is no such user.")
    return str(name)


async def set_role(tx: Tx, user_id: UUID, role: str) -> bool:
    """Whether it is another role than before. The last admin stays one: `Conflict`."""
    if role != "admin":
        await _check_not_last_admin(tx, user_id)
    cursor = await tx.execute("UPDATE users SET role = %s WHERE id = %s AND role <> %s", (role, user_id, role))
    return cursor.rowcount == 1


async def disable(tx: Tx, user_id: UUID, now: datetime) -> bool:
    """Whether they were not disabled before. The last admin is not disabled: `Conflict`."""
    await _check_not_last_admin(tx, user_id)
    cursor = await tx.execute("UPDATE users SET disabled_at = %s WHERE id = %s AND disabled_at IS NULL", (now, user_id))
    return cursor.rowcount == 1


async def enable(tx: Tx, user_id: UUID) -> bool:
    """Whether they were disabled before."""
    cursor = await tx.execute(
        "UPDATE users SET disabled_at = NULL, failed_logins = 0 WHERE id = %s AND disabled_at IS NOT NULL", (user_id,)
    )
    return cursor.rowcount == 1


async def _check_not_last_admin(tx: Tx, user_id: UUID) -> None:
    """All admins are held in one order, so that two of them cannot remove each other at once."""
    cursor = await tx.execute(
        """
        SELECT id FROM users WHERE role = 'admin' AND disabled_at IS NULL AND password_hash IS NOT NULL
        ORDER BY id FOR UPDATE
        """
    )
    if [row[0] for row in await cursor.fetchall()] == [user_id]:
        raise Conflict(LAST_ADMIN)
