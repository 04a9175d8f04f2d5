"""Who asks, from the `Authorization` header alone: nothing in an address or a body ever says it. What they may do.

The token is checked here; whether its login still counts is asked of the database together with what was asked for
(`db/viewers.py`), so a logout or a disabled user is effective at once.
"""

from datetime import datetime, timedelta
from typing import Any, TypeAlias

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency

from portfolio_scheduler.db.viewers import Entry, Viewer
from portfolio_scheduler.errors import LoginRequired, NotAllowed, RecentLoginRequired, SecondFactorMissing
from portfolio_scheduler.identity import opaque
from portfolio_scheduler.web.addresses import address_of
from portfolio_scheduler.web.place import Place

READ, SYNC, MANAGE = "read", "sync", "manage"
SCOPES = (READ, SYNC, MANAGE)  # of a program's token: see figures; ask for a sync; change accounts
RECENT = timedelta(minutes=30)


# What a route says it needs: `place: At, entry: Who`.
At: TypeAlias = NamedDependency[Place]
Who: TypeAlias = NamedDependency[Entry]
From: TypeAlias = NamedDependency[str]  # `address: From` of routes that need no login


def place_of(state: State) -> Place:
    """What the routes work with, as a dependency."""
    place: Place = state.place
    return place


def entry_of(request: Request[Any, Any, State]) -> Entry:
    """The proof of who asks, as a dependency; without a valid one `LoginRequired`."""
    place: Place = request.app.state.place
    address = address_of(request, place.app.settings.proxies)
    return entry_from(place, request.headers.get("authorization", ""), address, request.scope["state"])


def entry_from(place: Place, authorization: str, address: str, state: dict[str, Any]) -> Entry:
    """The same from the header itself. A request counts once for its person, however often it is looked at."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise LoginRequired("Send a token: Authorization: Bearer TOKEN. POST /auth/login gives one.")
    now = place.app.clock.now()
    if opaque.kind_of(token) == opaque.Kind.API_TOKEN:
        entry = Entry(at=now, token_digest=opaque.digest_of(opaque.Kind.API_TOKEN, token), address=address)
    else:
        claims = place.verifier.verify(token, now)
        state["user"] = claims.user_id  # for the log, should this request be refused
        entry = Entry(
            at=now,
            session_id=claims.session_id,
            user_id=claims.user_id,
            good_until=claims.expires_at,
            address=address,
        )
    if "counted" not in state:
        place.pace.count(entry.user_id or entry.token_digest, now)
        state["counted"] = True
    return entry


def address_only(request: Request[Any, Any, State]) -> str:
    """Where a request comes from, as a dependency of routes that need no login. It counts as one of that address."""
    place: Place = request.app.state.place
    address = address_of(request, place.app.settings.proxies)
    place.pace.count(address, place.app.clock.now())
    return address


def check_scope(viewer: Viewer, scope: str) -> None:
    """A program may do what its token was made for."""
    if viewer.scopes is not None and scope not in viewer.scopes:
        raise NotAllowed(f"This token may {' and '.join(viewer.scopes) or 'nothing'}, but this needs {scope!r}.")


def check_person(viewer: Viewer) -> None:
    """What changes a login is for people, whatever a program's token may do."""
    if viewer.session_id is None:
        raise NotAllowed("A program's token may not do this; log in.")


def check_admin(viewer: Viewer) -> None:
    """Administrators act with a second factor only."""
    if not viewer.is_admin or viewer.session_id is None:
        raise NotAllowed("This is for administrators.")
    if not viewer.second_factor:
        raise SecondFactorMissing(
            "Administrators need a second factor for this, and this login has none: set one up with POST /auth/totp, "
            "or give a code to POST /auth/reauthenticate."
        )


def check_recent(viewer: Viewer, now: datetime) -> None:
    """What changes who gets in, or takes much out, wants a password that was given within the last half hour."""
    check_person(viewer)
    if now - viewer.authenticated_at >= RECENT:
        raise RecentLoginRequired
