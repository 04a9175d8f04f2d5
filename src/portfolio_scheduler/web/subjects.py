"""Whom a read is about. `userId` is accepted for oneself; for others it takes an admin, and is recorded."""

from typing import Annotated, Any, TypeAlias
from uuid import UUID

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from portfolio_scheduler.db.people import users
from portfolio_scheduler.db.people.access_log import Event, record
from portfolio_scheduler.db.viewers import Entry, as_viewer, open_door
from portfolio_scheduler.errors import NotFound
from portfolio_scheduler.web.entry import Who, check_admin
from portfolio_scheduler.web.place import Place

ABSENT = "There is no such user."

# What a read says it needs instead of `entry: Who`: `subject: About`. It is passed on to `db.viewers.read`.
About: TypeAlias = NamedDependency[Entry]
UserId = Annotated[
    UUID | None,
    QueryParameter(
        name="userId",
        description="Whose: your own id, which changes nothing, or as an administrator another's, who can see that "
        "you looked.",
    ),
]


async def subject_of(request: Request[Any, Any, State], entry: Who, user_id: UserId = None) -> Entry:
    """The dependency `subject`: an entry for `read` that shows what the viewer, or whom an admin names, may see.

    It costs no round trip but where an admin looks at another, or a program's token names somebody.
    """
    if user_id is None or user_id == entry.user_id:
        return entry
    place: Place = request.app.state.place
    return await looking_at(place, entry, user_id, str(request.route_handler.fn.__name__))


async def looking_at(place: Place, entry: Entry, user_id: UUID, operation: str) -> Entry:
    """The same for a user other than the access token's; an admin's look is in the access log before it happens."""
    async with as_viewer(place.pool, entry) as (tx, viewer):
        if viewer.user_id == user_id:
            return entry
        if not viewer.is_admin or viewer.session_id is None:
            raise NotFound(ABSENT)
        check_admin(viewer)
        await open_door(tx, "admin")
        await users.name_of(tx, user_id)
        await record(
            tx,
            Event.ADMIN_LOOKED,
            entry.at,
            entry.address,
            actor_id=viewer.user_id,
            subject_id=user_id,
            details={"by": viewer.name, "operation": operation},
        )
    return msgspec.structs.replace(entry, subject_id=user_id)
