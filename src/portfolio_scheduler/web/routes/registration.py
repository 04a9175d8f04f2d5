"""Registering, and who may: invitations."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, delete, get, post
from litestar.params import FromPath, JSONBody
from litestar.status_codes import HTTP_201_CREATED
from msgspec import Meta, Struct

from portfolio_scheduler.db.people import invitations
from portfolio_scheduler.db.people.access_log import Event, record
from portfolio_scheduler.errors import NotFound
from portfolio_scheduler.identity import opaque
from portfolio_scheduler.web import registering
from portfolio_scheduler.web.admins import as_admin, as_admin_who_changes
from portfolio_scheduler.web.asked import PLAIN
from portfolio_scheduler.web.document import OPEN, SECURITY
from portfolio_scheduler.web.entry import At, From, Who
from portfolio_scheduler.web.errors import PROBLEMS, WRITE_PROBLEMS
from portfolio_scheduler.web.gate import Attempt
from portfolio_scheduler.web.listing import Cursor, Limit, Newest, Page, newest_params, page_of
from portfolio_scheduler.web.routes.logins import Password, Tokens, tokens_of


class Registration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody new."""

    token: Annotated[str, Meta(min_length=1, max_length=200, description="Invitation, or the set-up token.")]
    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            pattern=PLAIN,
            description="Small letters, digits and . _ @ + -; an e-mail address will do.",
            examples=["asha"],
        ),
    ]
    password: Password
    remember_me: bool = False


class NewInvitation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to invite as what."""

    role: Literal["user", "admin"] = "user"
    expires_in_days: Annotated[int, Meta(ge=1, le=30)] = 7


class Invited(Struct, frozen=True, kw_only=True):
    """An invitation. The token is shown this once."""

    id: UUID
    token: str
    role: str
    expires_at: datetime


class InvitationAnswer(Struct, frozen=True, kw_only=True):
    """An invitation as the list shows it."""

    id: UUID
    role: str
    invited_by: str
    created_at: datetime
    expires_at: datetime  # in the past for one that was withdrawn
    used_at: datetime | None
    used_by: str | None


@post("/auth/register", status_code=HTTP_201_CREATED, tags=["people"], responses=WRITE_PROBLEMS, security=OPEN)
async def register(request: Request[Any, Any, Any], place: At, address: From, data: JSONBody[Registration]) -> Tokens:
    """Become a user, by an invitation, and be logged in. As long as nobody can log in, `serve` prints a set-up token
    when it starts: with it the first user becomes an administrator and owner of what the command line connected."""
    attempt = Attempt(
        name=data.name.lower(),
        password=data.password,
        code=None,
        device_token=None,
        remember=data.remember_me,
        address=address,
        agent=request.headers.get("user-agent", ""),
    )
    return tokens_of(await registering.register(place, attempt, data.token))


@post("/auth/invitations", status_code=HTTP_201_CREATED, tags=["admin"], responses=WRITE_PROBLEMS, security=SECURITY)
async def invite(place: At, entry: Who, data: JSONBody[NewInvitation]) -> Invited:
    """Make an invitation for one person. Give them its token, which is shown this once; it is good for one use."""
    token, digest = opaque.make(opaque.Kind.INVITATION)
    expires_at = entry.at + timedelta(days=data.expires_in_days)
    async with as_admin_who_changes(place, entry, "invite") as (tx, viewer):
        made = await invitations.add(
            tx, digest=digest, role=data.role, invited_by=viewer.user_id, now=entry.at, expires_at=expires_at
        )
        details = {"invitation": str(made), "role": data.role}
        await record(tx, Event.INVITED, entry.at, entry.address, actor_id=viewer.user_id, details=details)
    return Invited(id=made, token=token, role=data.role, expires_at=expires_at)


@get("/auth/invitations", tags=["admin"], responses=PROBLEMS, security=SECURITY)
async def list_invitations(place: At, entry: Who, limit: Limit = 50, cursor: Cursor = None) -> Page[InvitationAnswer]:
    """Invitations, newest first, with who used them."""
    async with as_admin(place, entry, "list_invitations") as (tx, _):
        found = await tx.execute(invitations.LISTED, newest_params(limit, cursor))
        rows = await found.fetchall()
    return page_of(rows, limit, InvitationAnswer, lambda one: Newest(one.created_at, one.id))


@delete("/auth/invitations/{invitation_id:uuid}", tags=["admin"], responses=PROBLEMS, security=SECURITY)
async def end_invitation(place: At, entry: Who, invitation_id: FromPath[UUID]) -> None:
    """Withdraw an invitation that nobody has used."""
    async with as_admin_who_changes(place, entry, "end_invitation") as (tx, viewer):
        if not await invitations.end(tx, invitation_id, entry.at):
            raise NotFound("There is no such invitation, or it was used.")
        details = {"invitation": str(invitation_id)}
        await record(tx, Event.INVITATION_ENDED, entry.at, entry.address, actor_id=viewer.user_id, details=details)


ROUTES = (register, invite, list_invitations, end_invitation)
