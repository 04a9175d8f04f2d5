"""The second factor: set it up, remove it, renew its recovery codes."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from litestar import post
from litestar.params import JSONBody
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT
from msgspec import Struct

from portfolio_scheduler.db.people import factors, sessions, users
from portfolio_scheduler.db.people.access_log import Event, record_own
from portfolio_scheduler.db.people.users import Login
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.viewers import Entry, Viewer, as_viewer, open_door
from portfolio_scheduler.errors import Conflict
from portfolio_scheduler.identity import second_factor
from portfolio_scheduler.web import codes
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import At, Who, check_recent
from portfolio_scheduler.web.errors import WRITE_PROBLEMS
from portfolio_scheduler.web.place import Place
from portfolio_scheduler.web.routes.logins import Code

ISSUER = "Portfolio scheduler"
T = TypeVar("T")


class Secret(Struct, frozen=True, kw_only=True):
    """What an authenticator app takes. Shown this once."""

    secret: str  # base32
    uri: str  # the same as an address, for a picture to be scanned


class CodeGiven(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code that the app shows now, or a recovery code."""

    code: Code


class RecoveryCodes(Struct, frozen=True, kw_only=True):
    """Ten codes to be written down, each of which stands in for the app once. Shown this once."""

    recovery_codes: list[str]


@post("/auth/totp", status_code=HTTP_200_OK, tags=["people"], responses=WRITE_PROBLEMS, security=SECURITY)
async def begin_totp(place: At, entry: Who) -> Secret:
    """Begin to set up an authenticator app. It counts once a code was given to `/auth/totp/confirm`."""
    secret = second_factor.new_secret()
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_recent(viewer, entry.at)
        await open_door(tx, "identity")
        login = await users.login_of(tx, viewer.user_id)
        if login.has_factor:
            raise Conflict("There is a second factor already; remove it first with POST /auth/totp/remove.")
        await factors.propose(tx, login.id, place.factors.lock(login.id, secret))
        await record_own(tx, Event.FACTOR_BEGUN, entry, viewer)
    return Secret(secret=secret, uri=second_factor.uri(secret, viewer.name, ISSUER))


@post("/auth/totp/confirm", status_code=HTTP_200_OK, tags=["people"], responses=WRITE_PROBLEMS, security=SECURITY)
async def confirm_totp(place: At, entry: Who, data: JSONBody[CodeGiven]) -> RecoveryCodes:
    """Confirm the app by a code of it. Logins ask for one from now on, all other sessions end, and this one has its
    second factor."""

    async def confirm(tx: Tx, viewer: Viewer, login: Login) -> RecoveryCodes:
        await factors.confirm(tx, login.id, entry.at)
        await sessions.end_all(tx, login.id, "second factor set up", entry.at, but=viewer.session_id)
        await sessions.set_factor(tx, login.id, viewer.session_id)
        await record_own(tx, Event.FACTOR_CONFIRMED, entry, viewer)
        return await _new_codes(tx, login)

    return await _with_code(place, entry, data.code, confirm, confirmed=False)


@post(
    "/auth/totp/remove", status_code=HTTP_204_NO_CONTENT, tags=["people"], responses=WRITE_PROBLEMS, security=SECURITY
)
async def remove_totp(place: At, entry: Who, data: JSONBody[CodeGiven]) -> None:
    """Remove the second factor, by a code of it. An administrator can then only set up another."""

    async def remove(tx: Tx, viewer: Viewer, login: Login) -> None:
        await factors.remove(tx, login.id)
        await sessions.set_factor(tx, login.id, None)
        await record_own(tx, Event.FACTOR_REMOVED, entry, viewer)

    await _with_code(place, entry, data.code, remove, confirmed=True)


@post(
    "/auth/totp/recovery-codes", status_code=HTTP_200_OK, tags=["people"], responses=WRITE_PROBLEMS, security=SECURITY
)
async def renew_recovery_codes(place: At, entry: Who, data: JSONBody[CodeGiven]) -> RecoveryCodes:
    """Ten new recovery codes, by a code of the app; those of before count no more."""

    async def renew(tx: Tx, viewer: Viewer, login: Login) -> RecoveryCodes:
        await record_own(tx, Event.RECOVERY_CODES_RENEWED, entry, viewer)
        return await _new_codes(tx, login)

    return await _with_code(place, entry, data.code, renew, confirmed=True)


async def _with_code(
    place: Place, entry: Entry, code: str, act: Callable[[Tx, Viewer, Login], Awaitable[T]], *, confirmed: bool
) -> T:
    """Do something in the transaction in which a code was used for it. A wrong code stays counted."""
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_recent(viewer, entry.at)
        assert viewer.session_id is not None
        device = await sessions.device_of(tx, viewer.session_id)
        await open_door(tx, "identity")
        login = await users.login_of(tx, viewer.user_id)
        if login.has_factor is not confirmed or login.factor_box is None:
            raise Conflict(
                "There is no second factor."
                if confirmed
                else "Nothing waits to be confirmed: begin with POST /auth/totp."
            )
        refusal = await codes.refusal(place, tx, login, code, device, entry.at, entry.address, wrong=codes.WRONG_CODE)
        if refusal is None:
            return await act(tx, viewer, login)
    raise refusal


async def _new_codes(tx: Tx, login: Login) -> RecoveryCodes:
    made = second_factor.recovery_codes()
    await factors.replace_recovery_codes(tx, login.id, [digest for _, digest in made])
    return RecoveryCodes(recovery_codes=[text for text, _ in made])


ROUTES = (begin_totp, confirm_totp, remove_totp, renew_recovery_codes)
