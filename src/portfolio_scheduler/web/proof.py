"""The password again, from somebody who is logged in: for acts that a borrowed session must not be enough for."""

from msgspec import Struct

from portfolio_scheduler.db.people import attempts, sessions, users
from portfolio_scheduler.db.people.access_log import Event, record_own
from portfolio_scheduler.db.people.users import MOST_FAILURES, Login
from portfolio_scheduler.db.viewers import Entry, Viewer, as_viewer, open_door
from portfolio_scheduler.errors import Unprocessable
from portfolio_scheduler.identity import passwords
from portfolio_scheduler.web import limits
from portfolio_scheduler.web.entry import check_person
from portfolio_scheduler.web.place import Place


class Proven(Struct, frozen=True, kw_only=True):
    """Who gave the right password just now."""

    viewer: Viewer
    login: Login
    device: bytes


async def prove_password(place: Place, entry: Entry, password: str) -> Proven:
    """Whoever asks knows the password of this login; otherwise `Unprocessable`. A hundred failures end the session."""
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_person(viewer)
        assert viewer.session_id is not None
        device = await sessions.device_of(tx, viewer.session_id)
        await open_door(tx, "identity")
        login = await users.login_of(tx, viewer.user_id)
        full = await limits.refusal(tx, limits.of_device(device), entry.at, entry.address, login.id)
        if full is not None:
            raise full
    if not await passwords.verify(login.password_hash, password, cost=place.cost):
        await _note_failure(place, entry, viewer, device)
        raise Unprocessable("The password is wrong.")
    async with as_viewer(place.pool, entry) as (tx, _):
        await attempts.forget(tx, limits.failures_of(device))
    return Proven(viewer=viewer, login=login, device=device)


async def _note_failure(place: Place, entry: Entry, viewer: Viewer, device: bytes) -> None:
    async with as_viewer(place.pool, entry) as (tx, _):
        failed = await attempts.count_failure(tx, limits.failures_of(device))
        await record_own(tx, Event.LOGIN_FAILED, entry, viewer)
        if failed >= MOST_FAILURES and viewer.session_id is not None:
            await sessions.end(tx, viewer.session_id, "too many wrong passwords", entry.at)
            await record_own(tx, Event.LOGIN_STOPPED, entry, viewer)
