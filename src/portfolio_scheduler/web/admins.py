"""Acts of administrators: who may, and that whoever may not is in the access log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from portfolio_scheduler.db.people.access_log import Event, record_own
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.viewers import Door, Entry, Viewer, as_viewer, open_door
from portfolio_scheduler.errors import NotAllowed
from portfolio_scheduler.web.entry import check_admin, check_recent
from portfolio_scheduler.web.place import Place


@asynccontextmanager
async def as_admin(place: Place, entry: Entry, operation: str) -> AsyncIterator[tuple[Tx, Viewer]]:
    """A transaction that reaches the rows of everybody which administrators may see."""
    async with _as_admin(place, entry, operation, "admin", recent=False) as found:
        yield found


@asynccontextmanager
async def as_admin_who_changes(place: Place, entry: Entry, operation: str) -> AsyncIterator[tuple[Tx, Viewer]]:
    """The same for what changes somebody's login: it reaches sessions as well, and wants a recent password."""
    async with _as_admin(place, entry, operation, "identity", recent=True) as found:
        yield found


@asynccontextmanager
async def _as_admin(
    place: Place, entry: Entry, operation: str, door: Door, *, recent: bool
) -> AsyncIterator[tuple[Tx, Viewer]]:
    async with as_viewer(place.pool, entry) as (tx, viewer):
        refusal = _refusal(viewer, entry, recent=recent)
        if refusal is None:
            await open_door(tx, door)
            yield tx, viewer
            return
        if not viewer.is_admin:
            await record_own(tx, Event.DENIED, entry, viewer, {"operation": operation})
    raise refusal


def _refusal(viewer: Viewer, entry: Entry, *, recent: bool) -> NotAllowed | None:
    try:
        check_admin(viewer)
        if recent:
            check_recent(viewer, entry.at)
    except NotAllowed as refusal:
        return refusal
    return None
