"""What counts as a login: sessions of people, tokens of programs."""

from datetime import date, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from litestar import delete, get, post
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED
from msgspec import Meta, Struct

from portfolio_scheduler.db.people import api_tokens, sessions
from portfolio_scheduler.db.people.access_log import Event, record_own
from portfolio_scheduler.db.viewers import as_viewer, read
from portfolio_scheduler.errors import NotFound, Unprocessable
from portfolio_scheduler.identity import opaque
from portfolio_scheduler.web.asked import PLAIN
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import At, Who, check_person, check_recent
from portfolio_scheduler.web.errors import PROBLEMS, WRITE_PROBLEMS
from portfolio_scheduler.web.listing import Cursor, Limit, Newest, Page, newest_params, page_of

MOST_TOKENS = 20  # of one person


class SessionAnswer(Struct, frozen=True, kw_only=True):
    """A login that goes on."""

    id: UUID
    begun_at: datetime
    authenticated_at: datetime  # when the password was last given
    refreshed_at: datetime
    expires_at: datetime
    remembered: bool
    second_factor: bool
    address: str  # where it was begun from
    agent: str  # what program it was begun with, as that program says


class EndedSessions(Struct, frozen=True, kw_only=True):
    """How many went on until now."""

    ended: int


class NewToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token for a program."""

    name: Annotated[
        str, Meta(min_length=1, max_length=100, pattern=PLAIN, description="What it is for.", examples=["spreadsheet"])
    ]
    scopes: Annotated[
        list[Literal["read", "sync", "manage"]],
        Meta(
            min_length=1,
            max_length=3,
            description="`read` figures; ask for a `sync`; `manage` (test, label, schedules, states of) accounts.",
            examples=[["read"]],
        ),
    ]
    expires_in_days: Annotated[int, Meta(ge=1, le=366)] = 90


class MadeToken(Struct, frozen=True, kw_only=True):
    """A token. It is shown this once."""

    id: UUID
    token: str
    scopes: list[str]
    expires_at: datetime


class TokenAnswer(Struct, frozen=True, kw_only=True):
    """A token as the list shows it."""

    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    last_used_on: date | None  # in India


@get("/auth/sessions", tags=["people"], responses=PROBLEMS, security=SECURITY)
async def list_sessions(place: At, entry: Who, limit: Limit = 50, cursor: Cursor = None) -> Page[SessionAnswer]:
    """The viewer's logins that go on, newest first. `session_id` of `/auth/me` says which is this one."""
    viewer, rows = await read(place.pool, entry, sessions.LISTED, newest_params(limit, cursor))
    check_person(viewer)
    return page_of(rows, limit, SessionAnswer, lambda one: Newest(one.begun_at, one.id))


@delete("/auth/sessions/{session_id:uuid}", tags=["people"], responses=PROBLEMS, security=SECURITY)
async def end_session(place: At, entry: Who, session_id: FromPath[UUID]) -> None:
    """End one of the viewer's logins at once."""
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_person(viewer)
        if not await sessions.end(tx, session_id, "ended by its owner", entry.at):
            raise NotFound("There is no such session.")
        details = {"session": str(session_id)}
        await record_own(tx, Event.SESSION_ENDED, entry, viewer, details)


@post(
    "/auth/sessions/end-others", status_code=HTTP_200_OK, tags=["people"], responses=WRITE_PROBLEMS, security=SECURITY
)
async def end_other_sessions(place: At, entry: Who) -> EndedSessions:
    """End all of the viewer's logins but this one."""
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_person(viewer)
        ended = await sessions.end_all(tx, viewer.user_id, "ended by its owner", entry.at, but=viewer.session_id)
        await record_own(tx, Event.SESSION_ENDED, entry, viewer, {"others": ended})
    return EndedSessions(ended=ended)


@post("/auth/api-tokens", status_code=HTTP_201_CREATED, tags=["people"], responses=WRITE_PROBLEMS, security=SECURITY)
async def create_api_token(place: At, entry: Who, data: JSONBody[NewToken]) -> MadeToken:
    """Make a token for a program. It may do less than its owner: nothing that changes a login, credentials or who sees
    what, and nothing of an administrator's."""
    token, digest = opaque.make(opaque.Kind.API_TOKEN)
    scopes, expires_at = sorted(set(data.scopes)), entry.at + timedelta(days=data.expires_in_days)
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_recent(viewer, entry.at)
        if await api_tokens.how_many(tx, viewer.user_id, entry.at) >= MOST_TOKENS:
            raise Unprocessable(f"There are {MOST_TOKENS} tokens already; end one first.")
        made = await api_tokens.add(
            tx, viewer.user_id, name=data.name, digest=digest, scopes=scopes, now=entry.at, expires_at=expires_at
        )
        details = {"token": str(made), "scopes": scopes}
        await record_own(tx, Event.TOKEN_CREATED, entry, viewer, details)
    return MadeToken(id=made, token=token, scopes=list(scopes), expires_at=expires_at)


@get("/auth/api-tokens", tags=["people"], responses=PROBLEMS, security=SECURITY)
async def list_api_tokens(place: At, entry: Who, limit: Limit = 50, cursor: Cursor = None) -> Page[TokenAnswer]:
    """The viewer's tokens for programs, newest first."""
    viewer, rows = await read(place.pool, entry, api_tokens.LISTED, newest_params(limit, cursor))
    check_person(viewer)
    return page_of(rows, limit, TokenAnswer, lambda one: Newest(one.created_at, one.id))


@delete("/auth/api-tokens/{token_id:uuid}", tags=["people"], responses=PROBLEMS, security=SECURITY)
async def end_api_token(place: At, entry: Who, token_id: FromPath[UUID]) -> None:
    """End a token at once."""
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_person(viewer)
        if not await api_tokens.end(tx, viewer.user_id, token_id, entry.at):
            raise NotFound("There is no such token.")
        await record_own(tx, Event.TOKEN_ENDED, entry, viewer, {"token": str(token_id)})


ROUTES = (
    list_sessions,
    end_session,
    end_other_sessions,
    create_api_token,
    list_api_tokens,
    end_api_token,
)
