"""The password, given again or changed."""

from datetime import datetime
from typing import Annotated

from litestar import post
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK
from msgspec import Meta, Struct

from portfolio_scheduler.db.people import api_tokens, sessions, users
from portfolio_scheduler.db.people.access_log import Event, record_own
from portfolio_scheduler.db.viewers import as_viewer, open_door
from portfolio_scheduler.errors import (
    Conflict,
    PortfolioSchedulerError,
    SecondFactorRequired,
    Unprocessable,
)
from portfolio_scheduler.identity import passwords
from portfolio_scheduler.web import codes
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import At, Who
from portfolio_scheduler.web.errors import WRITE_PROBLEMS
from portfolio_scheduler.web.proof import prove_password
from portfolio_scheduler.web.routes.logins import Code, Password


class Proof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password again, with a code where there is a second factor."""

    password: Password
    code: Code | None = None


class Authenticated(Struct, frozen=True, kw_only=True):
    """When the password was last given, and whether this login has a second factor."""

    authenticated_at: datetime
    second_factor: bool


class PasswordChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password of now and the one from now on."""

    current_password: Password
    new_password: Password
    end_api_tokens: Annotated[bool, Meta(description="End the tokens of programs as well.")] = False


class PasswordChanged(Struct, frozen=True, kw_only=True):
    """What ended with the password of before. This session goes on."""

    ended_sessions: int
    ended_api_tokens: int


@post("/auth/reauthenticate", status_code=HTTP_200_OK, tags=["people"], responses=WRITE_PROBLEMS, security=SECURITY)
async def reauthenticate(place: At, entry: Who, data: JSONBody[Proof]) -> Authenticated:
    """Give the password again. For half an hour this session may then do what wants a recent one."""
    proven = await prove_password(place, entry, data.password)
    if proven.login.has_factor and data.code is None:
        raise SecondFactorRequired
    refusal: PortfolioSchedulerError | None = None
    async with as_viewer(place.pool, entry) as (tx, viewer):
        assert viewer.session_id is not None
        await open_door(tx, "identity")
        login = await users.login_of(tx, viewer.user_id)
        if login.has_factor:
            refusal = await codes.refusal(
                place, tx, login, data.code or "", proven.device, entry.at, entry.address, wrong=codes.WRONG_CODE
            )
        if refusal is None:
            await sessions.authenticated(tx, viewer.session_id, entry.at, second_factor=login.has_factor)
            await record_own(tx, Event.REAUTHENTICATED, entry, viewer)
    if refusal is not None:
        raise refusal
    return Authenticated(authenticated_at=entry.at, second_factor=viewer.second_factor or login.has_factor)


@post("/auth/password", status_code=HTTP_200_OK, tags=["people"], responses=WRITE_PROBLEMS, security=SECURITY)
async def change_password(place: At, entry: Who, data: JSONBody[PasswordChange]) -> PasswordChanged:
    """Change the password. All other sessions end at once."""
    proven = await prove_password(place, entry, data.current_password)
    if data.new_password == data.current_password:
        raise Unprocessable("The field new_password is the password of now; choose another.")
    passwords.check_rules(data.new_password, proven.login.name, field="new_password")
    hashed = await passwords.hash_password(data.new_password, cost=place.cost)
    async with as_viewer(place.pool, entry) as (tx, viewer):
        assert viewer.session_id is not None
        await open_door(tx, "identity")
        login = await users.login_of(tx, viewer.user_id)
        if login.password_hash != proven.login.password_hash:
            raise Conflict("The password was changed in this very moment; try again with the new one.")
        await users.set_password(tx, viewer.user_id, hashed, entry.at)
        ended = await sessions.end_all(tx, viewer.user_id, "password changed", entry.at, but=viewer.session_id)
        tokens = await api_tokens.end_all(tx, viewer.user_id, entry.at) if data.end_api_tokens else 0
        await sessions.authenticated(tx, viewer.session_id, entry.at, second_factor=False)
        details = {"ended_sessions": ended, "ended_tokens": tokens}
        await record_own(tx, Event.PASSWORD_CHANGED, entry, viewer, details)
    return PasswordChanged(ended_sessions=ended, ended_api_tokens=tokens)


ROUTES = (reauthenticate, change_password)
