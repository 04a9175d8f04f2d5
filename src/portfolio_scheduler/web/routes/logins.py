"""Logging in, staying logged in, logging out."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Request, post
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from msgspec import Meta, Struct

from portfolio_scheduler.db.people import sessions
from portfolio_scheduler.db.people.access_log import Event, record_own
from portfolio_scheduler.db.viewers import as_viewer
from portfolio_scheduler.identity.tokens import LIFE
from portfolio_scheduler.web import gate
from portfolio_scheduler.web.asked import PLAIN
from portfolio_scheduler.web.document import OPEN, SECURITY
from portfolio_scheduler.web.entry import At, From, Who, check_person
from portfolio_scheduler.web.errors import WRITE_PROBLEMS
from portfolio_scheduler.web.gate import Attempt, Entered

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=PLAIN, description="User name.", examples=["asha"])]
Password = Annotated[
    str, Meta(min_length=1, max_length=1024, description="Password.", examples=["four words nobody joins"])
]
Code = Annotated[
    str,
    Meta(
        min_length=6, max_length=64, description="Code of the second factor, or a recovery code.", examples=["492039"]
    ),
]
DeviceToken = Annotated[
    str, Meta(min_length=1, max_length=200, description="What the first login on this device gave to be kept.")
]


# Browsers drop what they cached. Their storage stays: the device token in it is meant for the next login.
FORGET = {"Clear-Site-Data": '"cache"'}


class NameAndPassword(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who wants in."""

    name: Name
    password: Password
    code: Code | None = None
    device_token: DeviceToken | None = None
    remember_me: bool = False


class Renewal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A refresh token, to be exchanged for the next."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=1024)]
    device_token: DeviceToken


class Tokens(Struct, frozen=True, kw_only=True):
    """A login. The refresh token is good for one use; the device token stays on the device for the next login."""

    user_id: UUID
    name: str
    role: str  # user or admin
    session_id: UUID
    second_factor: bool  # whether this login took one
    access_token: str  # for the Authorization header
    token_type: str
    expires_in: int  # seconds that the access token is good for
    refresh_token: str
    expires_at: datetime  # when the password is asked for again at the latest
    device_token: str | None  # null where the one that was sent goes on counting


def tokens_of(entered: Entered) -> Tokens:
    return Tokens(
        user_id=entered.user_id,
        name=entered.name,
        role=entered.role,
        session_id=entered.session_id,
        second_factor=entered.second_factor,
        access_token=entered.access_token,
        token_type="Bearer",
        expires_in=int(LIFE.total_seconds()),
        refresh_token=entered.refresh_token,
        expires_at=entered.expires_at,
        device_token=entered.device_token,
    )


@post("/auth/login", status_code=HTTP_200_OK, tags=["people"], responses=WRITE_PROBLEMS, security=OPEN)
async def log_in(request: Request[Any, Any, Any], place: At, address: From, data: JSONBody[NameAndPassword]) -> Tokens:
    """Log in. Whatever is wrong, the answer is the same 401; `second_factor_required` says that the password was right
    and a code is needed. Send the device token of an earlier login: it keeps others from using up your tries."""
    attempt = Attempt(
        name=data.name.lower(),
        password=data.password,
        code=data.code,
        device_token=data.device_token,
        remember=data.remember_me,
        address=address,
        agent=request.headers.get("user-agent", ""),
    )
    return tokens_of(await gate.log_in(place, attempt))


@post("/auth/refresh", status_code=HTTP_200_OK, tags=["people"], responses=WRITE_PROBLEMS, security=OPEN)
async def refresh(place: At, address: From, data: JSONBody[Renewal]) -> Tokens:
    """Exchange a refresh token for new tokens. Each counts once; one that is used again ends its session. An answer
    that got lost can be had again once, within ten seconds and with the same device token."""
    return tokens_of(await gate.renew(place, data.refresh_token, data.device_token, address))


@post(
    "/auth/logout",
    status_code=HTTP_204_NO_CONTENT,
    tags=["people"],
    responses=WRITE_PROBLEMS,
    security=SECURITY,
    response_headers=FORGET,
)
async def log_out(place: At, entry: Who) -> None:
    """End this session. Its access token counts no more from this moment on."""
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_person(viewer)
        assert viewer.session_id is not None
        await sessions.end(tx, viewer.session_id, "logged out", entry.at)
        details = {"session": str(viewer.session_id)}
        await record_own(tx, Event.LOGGED_OUT, entry, viewer, details)


ROUTES = (log_in, refresh, log_out)
