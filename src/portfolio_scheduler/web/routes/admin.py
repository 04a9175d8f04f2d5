"""For administrators: users, what happened, what waits. No amounts are here."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from litestar import get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK
from msgspec import Struct

from portfolio_scheduler.db.people import access_log, sessions, users
from portfolio_scheduler.db.people.access_log import Event, record
from portfolio_scheduler.db.people.overview import BATCHES, QUEUE, USER, USERS
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.viewers import Entry, Viewer, open_door
from portfolio_scheduler.errors import NotFound
from portfolio_scheduler.web.admins import as_admin, as_admin_who_changes
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import At, Who
from portfolio_scheduler.web.errors import PROBLEMS, WRITE_PROBLEMS
from portfolio_scheduler.web.listing import Cursor, Limit, Newest, Page, keys_of, newest_params, page_of
from portfolio_scheduler.web.routes.me import Kind, LogEntry, log_page, log_params
from portfolio_scheduler.web.subjects import ABSENT

Status = Annotated[
    Literal["queued", "running", "completed", "partial", "failed"] | None,
    QueryParameter(name="status", description="Only syncs that stand so."),
]
OfAccount = Annotated[UUID | None, QueryParameter(name="accountId", description="Only syncs of this account.")]
OfUser = Annotated[UUID | None, QueryParameter(name="userId", description="Only what this user did or concerns them.")]


class UserAnswer(Struct, frozen=True, kw_only=True):
    """A user."""

    id: UUID
    name: str
    role: str  # user or admin
    created_at: datetime
    can_log_in: bool  # false for one the command line made and nobody has taken over
    disabled_at: datetime | None
    has_second_factor: bool
    failed_logins: int  # in a row, from unknown devices; from 100 on only known ones are let in
    last_login_at: datetime | None
    accounts: int  # that are not closed


class RoleChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: Literal["user", "admin"]


class Waiting(Struct, frozen=True, kw_only=True):
    """How much there is of one kind of work."""

    queued: int
    running: int
    oldest_queued_at: datetime | None


class Queue(Struct, frozen=True, kw_only=True):
    """What waits for a worker and what one is at."""

    syncs: Waiting
    requests: Waiting  # to connect, test or change an account


class SyncStanding(Struct, frozen=True, kw_only=True):
    """How a sync went."""

    id: UUID
    account_id: UUID
    owner: str
    trigger: str
    status: str
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    trading_on: date | None
    error_class: str | None


class _BatchKeys(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of syncs ended."""

    id: UUID


@get("/admin/users", tags=["admin"], responses=PROBLEMS, security=SECURITY)
async def list_users(place: At, entry: Who, limit: Limit = 50, cursor: Cursor = None) -> Page[UserAnswer]:
    """All users, newest first."""
    async with as_admin(place, entry, "list_users") as (tx, _):
        found = await tx.execute(USERS, newest_params(limit, cursor))
        rows = await found.fetchall()
    return page_of(rows, limit, UserAnswer, lambda one: Newest(one.created_at, one.id))


@get("/admin/users/{user_id:uuid}", tags=["admin"], responses=PROBLEMS, security=SECURITY)
async def show_user(place: At, entry: Who, user_id: FromPath[UUID]) -> UserAnswer:
    """One user."""
    async with as_admin(place, entry, "show_user") as (tx, _):
        return await _user(tx, user_id)


@post(
    "/admin/users/{user_id:uuid}/disable",
    status_code=HTTP_200_OK,
    tags=["admin"],
    responses=WRITE_PROBLEMS,
    security=SECURITY,
)
async def disable_user(place: At, entry: Who, user_id: FromPath[UUID]) -> UserAnswer:
    """Let a user in no more, and end their sessions at once. Their accounts are read on. The last administrator
    stays."""
    async with as_admin_who_changes(place, entry, "disable_user") as (tx, viewer):
        await users.name_of(tx, user_id)
        if await users.disable(tx, user_id, entry.at):
            await sessions.end_all(tx, user_id, "disabled", entry.at)
            await _record(tx, Event.DISABLED, entry, viewer, user_id)
        return await _user(tx, user_id)


@post(
    "/admin/users/{user_id:uuid}/enable",
    status_code=HTTP_200_OK,
    tags=["admin"],
    responses=WRITE_PROBLEMS,
    security=SECURITY,
)
async def enable_user(place: At, entry: Who, user_id: FromPath[UUID]) -> UserAnswer:
    """Let a user in again."""
    async with as_admin_who_changes(place, entry, "enable_user") as (tx, viewer):
        await users.name_of(tx, user_id)
        if await users.enable(tx, user_id):
            await _record(tx, Event.ENABLED, entry, viewer, user_id)
        return await _user(tx, user_id)


@post(
    "/admin/users/{user_id:uuid}/unlock",
    status_code=HTTP_200_OK,
    tags=["admin"],
    responses=WRITE_PROBLEMS,
    security=SECURITY,
)
async def unlock_user(place: At, entry: Who, user_id: FromPath[UUID]) -> UserAnswer:
    """Lift the stop after a hundred failed logins in a row, which lets only known devices in."""
    async with as_admin_who_changes(place, entry, "unlock_user") as (tx, viewer):
        await users.name_of(tx, user_id)
        await users.forget_failures(tx, user_id)
        await _record(tx, Event.UNLOCKED, entry, viewer, user_id)
        return await _user(tx, user_id)


@put("/admin/users/{user_id:uuid}/role", tags=["admin"], responses=WRITE_PROBLEMS, security=SECURITY)
async def change_role(place: At, entry: Who, user_id: FromPath[UUID], data: JSONBody[RoleChange]) -> UserAnswer:
    """Make somebody an administrator, or one a user again. Their sessions end at once. The last administrator stays."""
    async with as_admin_who_changes(place, entry, "change_role") as (tx, viewer):
        await users.name_of(tx, user_id)
        if await users.set_role(tx, user_id, data.role):
            await sessions.end_all(tx, user_id, "role changed", entry.at)
            await _record(tx, Event.ROLE_CHANGED, entry, viewer, user_id, role=data.role)
        return await _user(tx, user_id)


@get("/admin/audit", tags=["admin"], responses=PROBLEMS, security=SECURITY)
async def list_audit(
    place: At, entry: Who, limit: Limit = 50, cursor: Cursor = None, kind: Kind = None, user_id: OfUser = None
) -> Page[LogEntry]:
    """The access log of everybody, newest first."""
    async with as_admin(place, entry, "list_audit") as (tx, _):
        found = await tx.execute(access_log.ALL, log_params(limit, cursor, kind) | {"user": user_id})
        return log_page(await found.fetchall(), limit)


@get("/admin/queue", tags=["admin"], responses=PROBLEMS, security=SECURITY)
async def show_queue(place: At, entry: Who) -> Queue:
    """How much waits for a worker, and since when."""
    async with as_admin(place, entry, "show_queue") as (tx, _):
        found = await tx.execute(QUEUE)
        counts = {
            kind: Waiting(queued=queued, running=running, oldest_queued_at=oldest)
            for kind, queued, running, oldest in await found.fetchall()
        }
    none = Waiting(queued=0, running=0, oldest_queued_at=None)
    return Queue(syncs=counts.get("sync", none), requests=counts.get("request", none))


@get("/admin/sync-batches", tags=["admin"], responses=PROBLEMS, security=SECURITY)
async def list_all_batches(
    place: At,
    entry: Who,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Status = None,
    account_id: OfAccount = None,
) -> Page[SyncStanding]:
    """Syncs of everybody, newest first: how each went, and nothing of what it read."""
    after = keys_of(cursor, _BatchKeys).id if cursor else None
    params = {"status": status, "account": account_id, "after": after, "limit": limit + 1}
    async with as_admin(place, entry, "list_all_batches") as (tx, _):
        found = await tx.execute(BATCHES, params)
        rows = await found.fetchall()
    return page_of(rows, limit, SyncStanding, lambda one: _BatchKeys(one.id))


async def _user(tx: Tx, user_id: UUID) -> UserAnswer:
    await open_door(tx, "admin")  # which shows accounts, to be counted
    found = await tx.execute(USER, {"user": user_id})
    row = await found.fetchone()
    if row is None:
        raise NotFound(ABSENT)
    return UserAnswer(**dict(zip(UserAnswer.__struct_fields__, row, strict=True)))


async def _record(tx: Tx, event: Event, entry: Entry, viewer: Viewer, user_id: UUID, **details: str) -> None:
    whose = {"actor_id": viewer.user_id, "subject_id": user_id}
    await record(tx, event, entry.at, entry.address, details={"by": viewer.name} | details, **whose)


ROUTES = (
    list_users,
    show_user,
    disable_user,
    enable_user,
    unlock_user,
    change_role,
    list_audit,
    show_queue,
    list_all_batches,
)
