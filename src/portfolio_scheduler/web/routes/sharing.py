"""Sharing: whom the viewer lets read their accounts, and who lets the viewer."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from litestar import delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_201_CREATED
from msgspec import Meta, Struct

from portfolio_scheduler.db.people import attempts, grants, users
from portfolio_scheduler.db.people.access_log import Event, record
from portfolio_scheduler.db.people.attempts import Bucket
from portfolio_scheduler.db.viewers import as_viewer, open_door, read
from portfolio_scheduler.errors import InvalidInput, NotFound, PortfolioSchedulerError, TooMany, Unprocessable
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import At, Who, check_person, check_recent
from portfolio_scheduler.web.errors import PROBLEMS, WRITE_PROBLEMS
from portfolio_scheduler.web.listing import Cursor, Limit, Newest, Page, newest_params, page_of
from portfolio_scheduler.web.routes.logins import Name

LONGEST = timedelta(days=366)
A_DAY = 20  # grants of one person, so that nobody finds out the names of all users

Direction = Annotated[
    Literal["given", "received"],
    QueryParameter(name="direction", description="Those the viewer gave, or those that count and were given to them."),
]


class NewGrant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may read, until when."""

    name: Name
    expires_at: Annotated[datetime, Meta(tz=True, description="At most a year on.")]


class Grant(Struct, frozen=True, kw_only=True):
    """Leave to read somebody's accounts."""

    id: UUID
    owner: str  # whose accounts
    viewer: str  # who may read them
    granted_at: datetime
    expires_at: datetime
    ended_at: datetime | None  # when either ended it before


@post("/auth/viewers", status_code=HTTP_201_CREATED, tags=["people"], responses=WRITE_PROBLEMS, security=SECURITY)
async def grant_view(place: At, entry: Who, data: JSONBody[NewGrant]) -> Grant:
    """Let another user read the viewer's accounts until a date. They can change nothing and see no credentials."""
    if not entry.at < data.expires_at <= entry.at + LONGEST:
        raise InvalidInput("The field expires_at must be an instant within the next 366 days.")
    refusal: PortfolioSchedulerError | None = None
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_recent(viewer, entry.at)
        counted = await attempts.count(tx, [Bucket(f"grant user {viewer.user_id}", A_DAY, 86_400)], entry.at)
        await open_door(tx, "identity")
        name = data.name.lower()
        viewer_id = await users.id_of_name(tx, name)
        if counted.retry_after_seconds is not None:
            refusal = TooMany(retry_after_seconds=counted.retry_after_seconds)
        elif viewer_id is None or viewer_id == viewer.user_id:
            refusal = Unprocessable("There is no other user of that name.")
        else:
            made = await grants.add(
                tx,
                owner_id=viewer.user_id,
                owner_name=viewer.name,
                viewer_id=viewer_id,
                viewer_name=name,
                now=entry.at,
                expires_at=data.expires_at,
            )
            details = {"grant": str(made), "owner": viewer.name, "viewer": name, "until": data.expires_at.isoformat()}
            await record(
                tx,
                Event.GRANTED,
                entry.at,
                entry.address,
                actor_id=viewer.user_id,
                subject_id=viewer_id,
                details=details,
            )
    if refusal is not None:  # outside, so that the try stays counted
        raise refusal
    return Grant(
        id=made,
        owner=viewer.name,
        viewer=name,
        granted_at=entry.at,
        expires_at=data.expires_at,
        ended_at=None,
    )


@get("/auth/viewers", tags=["people"], responses=PROBLEMS, security=SECURITY)
async def list_grants(
    place: At, entry: Who, limit: Limit = 50, cursor: Cursor = None, direction: Direction = "given"
) -> Page[Grant]:
    """Who may or could read the viewer's accounts, newest first; or whose accounts the viewer may read."""
    query = grants.GIVEN if direction == "given" else grants.RECEIVED
    viewer, rows = await read(place.pool, entry, query, newest_params(limit, cursor))
    check_person(viewer)
    return page_of(rows, limit, Grant, lambda one: Newest(one.granted_at, one.id))


@delete("/auth/viewers/{grant_id:uuid}", tags=["people"], responses=PROBLEMS, security=SECURITY)
async def end_grant(place: At, entry: Who, grant_id: FromPath[UUID]) -> None:
    """End a grant at once. Who gave it may, and who received it."""
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_person(viewer)
        ended = await grants.end(tx, grant_id, entry.at)
        if ended is None:
            raise NotFound("There is no such grant.")
        details = {"grant": str(grant_id), "owner": ended.owner_name, "viewer": ended.viewer_name}
        other_id = ended.viewer_id if viewer.user_id == ended.owner_id else ended.owner_id
        await record(
            tx,
            Event.GRANT_ENDED,
            entry.at,
            entry.address,
            actor_id=viewer.user_id,
            subject_id=other_id,
            details=details,
        )


ROUTES = (grant_view, list_grants, end_grant)
