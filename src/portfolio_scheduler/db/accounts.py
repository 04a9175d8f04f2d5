"""Users and their accounts at brokers: who, which login, sealed secrets, schedules, state."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.schedule import DEFAULT
from portfolio_scheduler.errors import Conflict, InvalidInput, NotFound

FIRST_USER = "owner"  # until somebody registers and gives them a name and a password


class Account(Struct, frozen=True, kw_only=True):
    """One account at a broker. The sealed fields are opaque here; only the vault opens them."""

    id: UUID
    user_id: UUID
    broker: str
    broker_account_id: str | None
    ucc: str | None
    label: str
    login: str
    segments: list[str]
    sealed_credentials: bytes | None
    credentials_number: int
    credentials_fingerprint: str | None
    credentials_at: datetime | None
    sealed_token: bytes | None
    token_expires_at: datetime | None
    schedules: list[dict[str, str]]
    late_pass: bool
    state: str
    planned_through: datetime
    resume_at: datetime | None  # until then the broker wants it left alone
    created_at: datetime

    def __repr__(self) -> str:
        return f"Account(id={self.id}, label={self.label!r}, broker={self.broker!r}, state={self.state!r})"


DEFAULT_SCHEDULES = ({"cron": DEFAULT.cron, "timezone": DEFAULT.timezone},)


class SealedCredentials(Struct, frozen=True, kw_only=True):
    """Credentials as they are kept, with what may be told of them."""

    sealed: bytes
    number: int  # the how manieth of the account they are
    fingerprint: str | None

    def __repr__(self) -> str:
        return f"SealedCredentials({self.number}, {self.fingerprint})"


_COLUMNS = """id, user_id, broker, broker_account_id, ucc, label, login, segments, sealed_credentials,
    credentials_number, credentials_fingerprint, credentials_at, sealed_token, token_expires_at, schedules, late_pass,
    state, planned_through, resume_at, created_at"""


async def ensure_user(tx: Tx, name: str, now: datetime) -> UUID:
    """The user of that name, made if there is none yet."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            INSERT INTO users (name, created_at) VALUES (%s, %s)
            ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name RETURNING id
            """,
            (name, now),
        )
        user_id = await cursor.fetchone()
        assert isinstance(user_id, UUID)
        return user_id


async def usual_user(tx: Tx, now: datetime) -> UUID:
    """Whose an account is when nobody is named: the only user, or the one whom no password was given yet."""
    cursor = await tx.execute("SELECT id, name, password_hash FROM users ORDER BY created_at, id")
    found = await cursor.fetchall()
    if not found:
        return await ensure_user(tx, FIRST_USER, now)
    waiting = [user_id for user_id, name, password in found if name == FIRST_USER and password is None]
    if len(found) > 1 and not waiting:
        names = ", ".join(sorted(name for _, name, _ in found))
        raise InvalidInput(f"There are several users ({names}); say whose it is.")
    user_id: UUID = waiting[0] if waiting else found[0][0]
    return user_id


async def new_id(tx: Tx) -> UUID:
    """An id for an account that does not exist yet: secrets are sealed to it before the row is written."""
    async with tx.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT uuidv7()")
        account_id = await cursor.fetchone()
        assert isinstance(account_id, UUID)
        return account_id


async def add(
    tx: Tx,
    *,
    account_id: UUID,
    user_id: UUID,
    broker: str,
    label: str,
    login: str,
    credentials: SealedCredentials,
    now: datetime,
    number: str | None = None,
    schedules: Sequence[Mapping[str, str]] | None = None,
    late_pass: bool = True,
) -> None:
    """Add an account; a label that the user already has is a `Conflict`. `number` is what its owner says the broker
    calls it, for one whose credentials were not tried."""
    try:
        await tx.execute(
            """
            INSERT INTO broker_accounts (id, user_id, broker, broker_account_id, label, login, sealed_credentials,
                credentials_number, credentials_fingerprint, credentials_at, schedules, late_pass, planned_through,
                created_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                account_id,
                user_id,
                broker,
                number,
                label,
                login,
                credentials.sealed,
                credentials.number,
                credentials.fingerprint,
                now,
                Jsonb(list(DEFAULT_SCHEDULES if schedules is None else schedules)),
                late_pass,
                now,
                now,
            ),
        )
    except psycopg.errors.UniqueViolation as e:
        raise Conflict(f"There is already an account labelled {label!r}; choose another label.") from e
    except psycopg.errors.CheckViolation as e:
        if e.diag.constraint_name != "broker_accounts_label_check":
            raise  # nothing that whoever asks could do better
        raise InvalidInput("An account label has 1 to 100 characters.") from e
    await tx.execute("INSERT INTO account_heads (account_id) VALUES (%s)", (account_id,))


async def find(tx: Tx, reference: str) -> Account:
    """The account of that label, id, or unambiguous beginning of an id."""
    async with tx.cursor(row_factory=class_row(Account)) as cursor:
        await cursor.execute(
            f"""
            SELECT {_COLUMNS} FROM broker_accounts
            WHERE label = %(text)s OR (length(%(text)s) >= 6 AND starts_with(id::text, lower(%(text)s)))
            ORDER BY state = 'closed', label <> %(text)s LIMIT 2
            """,  # noqa: S608 - a constant list of columns
            {"text": reference},
        )
        found = await cursor.fetchall()
    if not found:
        raise NotFound(f"There is no account {reference!r}; `portfolio-scheduler accounts list` shows all.")
    if len(found) > 1 and _rank(found[0], reference) == _rank(found[1], reference):
        raise InvalidInput(f"{reference!r} fits more than one account; give its whole id.")
    return found[0]


def _rank(account: Account, reference: str) -> tuple[bool, bool]:
    """Open accounts before closed ones, whose labels may be used again; labels before ids."""
    return (account.state == "closed", account.label != reference)


async def listed(tx: Tx) -> list[Account]:
    """All accounts, closed ones last."""
    async with tx.cursor(row_factory=class_row(Account)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM broker_accounts ORDER BY state = 'closed', created_at, id"  # noqa: S608
        )
        return await cursor.fetchall()


async def load(tx: Tx, account_id: UUID) -> Account:
    async with tx.cursor(row_factory=class_row(Account)) as cursor:
        await cursor.execute(f"SELECT {_COLUMNS} FROM broker_accounts WHERE id = %s", (account_id,))  # noqa: S608
        account = await cursor.fetchone()
    if account is None:
        raise NotFound(f"There is no account {account_id}.")
    return account


async def save_token(tx: Tx, account_id: UUID, sealed_token: bytes, expires_at: datetime) -> None:
    await tx.execute(
        "UPDATE broker_accounts SET sealed_token = %s, token_expires_at = %s WHERE id = %s AND state <> 'closed'",
        (sealed_token, expires_at, account_id),
    )


async def leave_alone(tx: Tx, account_id: UUID, until: datetime) -> None:
    """The broker wants no calls for this account until then."""
    await tx.execute("UPDATE broker_accounts SET resume_at = %s WHERE id = %s", (until, account_id))


async def save_login(tx: Tx, account_id: UUID, login: str, credentials: SealedCredentials, now: datetime) -> None:
    """New credentials in place of the old ones; their token goes as well."""
    await tx.execute(
        """
        UPDATE broker_accounts SET login = %s, sealed_credentials = %s, credentials_number = %s,
            credentials_fingerprint = %s, credentials_at = %s, sealed_token = NULL, token_expires_at = NULL
        WHERE id = %s AND state <> 'closed'
        """,
        (login, credentials.sealed, credentials.number, credentials.fingerprint, now, account_id),
    )


async def rename(tx: Tx, account_id: UUID, label: str) -> None:
    """Another label; one that the user already has is a `Conflict`."""
    try:
        await tx.execute(
            "UPDATE broker_accounts SET label = %s WHERE id = %s AND state <> 'closed'", (label, account_id)
        )
    except psycopg.errors.UniqueViolation as e:
        raise Conflict(f"There is already an account labelled {label!r}; choose another label.") from e


async def set_state(tx: Tx, account_id: UUID, state: str) -> None:
    await tx.execute("UPDATE broker_accounts SET state = %s WHERE id = %s AND state <> 'closed'", (state, account_id))


async def close(tx: Tx, account_id: UUID) -> None:
    """For good: the secrets are destroyed, the label and the broker account are free for a new one."""
    await tx.execute(
        """
        UPDATE broker_accounts SET state = 'closed', sealed_credentials = NULL, credentials_fingerprint = NULL,
            credentials_at = NULL, sealed_token = NULL, token_expires_at = NULL
        WHERE id = %s
        """,
        (account_id,),
    )


async def save_owner(tx: Tx, account_id: UUID, *, ucc: str, vendor_user_id: str | None, segments: list[str]) -> None:
    """What the broker says of the account. The client code is written once; `sync` has compared it before."""
    try:
        await tx.execute(
            """
            UPDATE broker_accounts SET ucc = coalesce(ucc, %s), broker_account_id = coalesce(%s, broker_account_id),
                segments = %s, state = CASE state WHEN 'needs_login' THEN 'active' ELSE state END
            WHERE id = %s
            """,
            (ucc, vendor_user_id, segments, account_id),
        )
    except psycopg.errors.UniqueViolation as e:
        raise Conflict(f"This is the broker account {ucc}, which is already connected under another label.") from e


async def needs_login(tx: Tx, account_id: UUID) -> None:
    """Mark that the owner must act; syncs go on being planned, for the owner may have acted by then."""
    await tx.execute(
        "UPDATE broker_accounts SET state = 'needs_login' WHERE id = %s AND state = 'active'", (account_id,)
    )


async def set_schedules(
    tx: Tx, account_id: UUID, schedules: Sequence[Mapping[str, str]], *, late_pass: bool = True
) -> None:
    await tx.execute(
        "UPDATE broker_accounts SET schedules = %s, late_pass = %s WHERE id = %s",
        (Jsonb(list(schedules)), late_pass, account_id),
    )


async def planned(tx: Tx, account_ids: Sequence[UUID], through: datetime) -> None:
    """Say that every slot due until then has been seen to."""
    await tx.execute(
        "UPDATE broker_accounts SET planned_through = greatest(planned_through, %s) WHERE id = ANY(%s)",
        (through, list(account_ids)),
    )
