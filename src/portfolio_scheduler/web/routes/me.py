"""Whoever asks: who they are here, and what happened around their login and figures."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import QueryParameter
from msgspec import Struct

from portfolio_scheduler.db.people import access_log
from portfolio_scheduler.db.people.access_log import Event
from portfolio_scheduler.db.people.overview import ME
from portfolio_scheduler.db.viewers import read
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import READ, At, Who, check_person, check_scope
from portfolio_scheduler.web.errors import PROBLEMS
from portfolio_scheduler.web.listing import Cursor, Limit, Newest, Page, newest_params, page_of

Kind = Annotated[Event | None, QueryParameter(name="kind", description="Only what happened of this kind.")]


class LogEntry(Struct, frozen=True, kw_only=True):
    """Something that happened."""

    id: UUID
    at: datetime
    kind: str
    actor_id: UUID | None  # who did it; null before a login
    subject_id: UUID | None  # whose login or figures it was
    account_id: UUID | None
    address: str  # where the request came from
    details: dict[str, Any]


class Me(Struct, frozen=True, kw_only=True):
    """The viewer."""

    id: UUID
    name: str
    role: str  # user or admin
    session_id: UUID | None  # null for a program's token
    scopes: list[str] | None  # of a program's token; null for a person
    authenticated_at: datetime  # when the password was last given
    second_factor: bool  # whether this login took one
    has_second_factor: bool  # whether logins ask for one
    recovery_codes_left: int
    password_changed_at: datetime | None
    alarms: list[LogEntry]  # of the last 30 days: what you should know of, newest first


@get("/auth/me", tags=["people"], responses=PROBLEMS, security=SECURITY)
async def show_me(place: At, entry: Who) -> Me:
    """Who is logged in, how, and what they should know of."""
    viewer, rows = await read(place.pool, entry, ME, {"alarming": [event.value for event in access_log.ALARMING]})
    check_scope(viewer, READ)
    has_factor, codes_left, changed_at, alarms = rows[0]
    return Me(
        id=viewer.user_id,
        name=viewer.name,
        role=viewer.role,
        session_id=viewer.session_id,
        scopes=None if viewer.scopes is None else list(viewer.scopes),
        authenticated_at=viewer.authenticated_at,
        second_factor=viewer.second_factor,
        has_second_factor=has_factor,
        recovery_codes_left=codes_left,
        password_changed_at=changed_at,
        alarms=msgspec.convert(alarms, list[LogEntry]),
    )


@get("/auth/access-log", tags=["people"], responses=PROBLEMS, security=SECURITY)
async def list_my_log(
    place: At, entry: Who, limit: Limit = 50, cursor: Cursor = None, kind: Kind = None
) -> Page[LogEntry]:
    """What the viewer did and what concerns them, newest first: logins, failures, and who looked at their figures."""
    viewer, rows = await read(place.pool, entry, access_log.MINE, log_params(limit, cursor, kind))
    check_person(viewer)
    return log_page(rows, limit)


def log_params(limit: int, cursor: str | None, kind: Event | None) -> dict[str, Any]:
    return newest_params(limit, cursor) | {"kind": kind.value if kind else None}


def log_page(rows: list[tuple[Any, ...]], limit: int) -> Page[LogEntry]:
    return page_of(rows, limit, LogEntry, lambda entry: Newest(entry.at, entry.id))


ROUTES = (show_me, list_my_log)
