"""Who asks, from the `Authorization` header alone: nothing in an address or a body ever says it.

The token is checked here; whether its login still counts is asked of the database together with what was asked for
(`db/viewers.py`), so a logout or a disabled user is effective at once.
"""

from typing import Any, TypeAlias

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency

from portfolio_scheduler.db.viewers import Entry, Viewer
from portfolio_scheduler.errors import LoginRequired, NotAllowed
from portfolio_scheduler.identity import opaque
from portfolio_scheduler.web.place import Place

READ, SYNC, MANAGE = "read", "sync", "manage"
SCOPES = (READ, SYNC, MANAGE)  # of a program's token: see figures; ask for a sync; change accounts


# What a route says it needs: `place: At, entry: Who`.
At: TypeAlias = NamedDependency[Place]
Who: TypeAlias = NamedDependency[Entry]


def place_of(state: State) -> Place:
    """What the routes work with, as a dependency."""
    place: Place = state.place
    return place


def entry_of(request: Request[Any, Any, State]) -> Entry:
    """The proof of who asks, as a dependency; without a valid one `LoginRequired`."""
    place: Place = request.app.state.place
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise LoginRequired("Send a token: Authorization: Bearer TOKEN. POST /auth/login gives one.")
    now = place.app.clock.now()
    if opaque.kind_of(token) == opaque.Kind.API_TOKEN:
        return Entry(at=now, token_digest=opaque.digest_of(opaque.Kind.API_TOKEN, token))
    return Entry(at=now, session_id=place.verifier.verify(token, now).session_id)


def check_scope(viewer: Viewer, scope: str) -> None:
    """A program may do what its token was made for."""
    if viewer.scopes is not None and scope not in viewer.scopes:
        raise NotAllowed(f"This token may {' and '.join(viewer.scopes) or 'nothing'}, but this needs {scope!r}.")


def check_person(viewer: Viewer) -> None:
    """What changes a login is for people, whatever a program's token may do."""
    if viewer.session_id is None:
        raise NotAllowed("A program's token may not do this; log in.")


def check_admin(viewer: Viewer) -> None:
    if not viewer.is_admin or viewer.session_id is None:
        raise NotAllowed("This is for administrators.")
