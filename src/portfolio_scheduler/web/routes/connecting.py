"""Connecting accounts and changing them: the acts of their owners. A worker does them; see `web/asking.py`."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Response, delete, post, put
from litestar.datastructures import ResponseHeader
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from portfolio_scheduler.db import accounts, requests
from portfolio_scheduler.db.accounts import SealedCredentials
from portfolio_scheduler.db.requests import Wish
from portfolio_scheduler.db.viewers import as_viewer
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.market import timetables
from portfolio_scheduler.sealing import CREDENTIALS
from portfolio_scheduler.web import asking
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import MANAGE, At, Who, check_recent, check_scope
from portfolio_scheduler.web.errors import BROKER_PROBLEMS
from portfolio_scheduler.web.place import Place
from portfolio_scheduler.web.routes.accounts import PATH, AccountAnswer, show_one

Label = Annotated[
    str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$", description="What you call the account.")
]
Secret = Annotated[
    str, Meta(min_length=1, max_length=4096, pattern=r"^[!-~]+$", description="Write-only: no answer ever shows it.")
]
Number = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="The client code or number that the broker has for it; if given, the broker must confirm it.",
    ),
]
Cron = Annotated[str, Meta(min_length=9, max_length=200, examples=["0 16 * * 1-5"])]
Zone = Annotated[str, Meta(min_length=1, max_length=64, examples=["Asia/Kolkata"])]

# What each login needs. The first that fits counts when none is named.
NEEDS: dict[Login, tuple[str, ...]] = {
    Login.TOTP: ("api_key", "totp_secret"),
    Login.APPROVAL: ("api_key", "api_secret"),
    Login.TOKEN: ("access_token",),
}
SECRETS = ("api_key", "api_secret", "totp_secret", "access_token")
Force = Annotated[
    bool, QueryParameter(name="force", description="Save the account without trying its credentials; it says so.")
]


class ScheduleBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cron expression of five fields, read on the wall clock of a time zone."""

    cron: Cron
    timezone: Zone = "Asia/Kolkata"


Schedules = Annotated[list[ScheduleBody], Meta(max_length=timetables.MOST)]


class Given(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credentials, as a login needs them: `api_key` and `totp_secret` (renews by itself), `api_key` and `api_secret`
    (its owner approves it at the broker each day), or today's `access_token`."""

    login: Login | UnsetType = UNSET
    api_key: Secret | UnsetType = UNSET
    api_secret: Secret | UnsetType = UNSET
    totp_secret: Secret | UnsetType = UNSET
    access_token: Secret | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"{type(self).__name__}(•••)"

    @property
    def given(self) -> dict[str, str]:
        return {name: value for name in SECRETS if (value := getattr(self, name)) is not UNSET}


class NewAccount(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account at a broker to be connected."""

    broker_name: Annotated[str, Meta(min_length=1, max_length=50, examples=["groww"])]
    account_id: Number | None = None
    label: Label | None = None  # else the account_id, else the broker's name
    schedules: Schedules | None = None
    late_pass: bool = True


class ChangedAccount(Given, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different. What is left out stays as it is."""

    label: Label | UnsetType = UNSET
    state: Literal["active", "paused"] | UnsetType = UNSET
    schedules: Schedules | UnsetType = UNSET
    late_pass: bool | UnsetType = UNSET


class Tested(Struct, frozen=True, kw_only=True):
    """Whether the login of an account works now."""

    ok: bool
    reason: str | None  # why not
    account: AccountAnswer


def read_schedules(place: Place, listed: list[ScheduleBody], *, late_pass: bool) -> list[schedule.Schedule]:
    """As the product knows them; what cannot be run is `InvalidInput`."""
    read = [schedule.Schedule(one.cron, one.timezone) for one in listed]
    timetables.check(read, late_pass=late_pass, now=place.app.clock.now())
    return read


def read_credentials(body: Given) -> tuple[Login, bytes] | None:
    """The login, and its secrets as a worker reads them; None without any. Incomplete ones are `InvalidInput`."""
    given = body.given
    if not given and body.login is UNSET:
        return None
    if body.login is UNSET:
        login = next((one for one, names in NEEDS.items() if set(names) <= given.keys()), Login.APPROVAL)
    else:
        login = body.login
    if missing := [name for name in NEEDS[login] if name not in given]:
        raise InvalidInput(f"`{missing[0]}` is missing: the login {login.value!r} needs {' and '.join(NEEDS[login])}.")
    if extra := [name for name in given if name not in NEEDS[login]]:
        raise InvalidInput(
            f"`{extra[0]}` is not part of the login {login.value!r}, which needs {', '.join(NEEDS[login])}."
        )
    return login, msgspec.json.encode({"login": login.value} | {name: given.get(name, "") for name in SECRETS})


def _label(text: str) -> str:
    if not text.strip():
        raise InvalidInput("`label` must not be blank.")
    return text.strip()


@post(
    PATH,
    tags=["accounts"],
    responses=BROKER_PROBLEMS,
    security=SECURITY,
    response_headers=[ResponseHeader(name="Location", description="Where the account is.", documentation_only=True)],
)
async def connect_account(
    place: At, entry: Who, data: JSONBody[NewAccount], force: Force = False
) -> Response[AccountAnswer]:
    """Connect an account. Its credentials are tried at the broker first: when they do not work, nothing is kept.

    With `force` it is saved untried: its state is `untested` until the first login that works.
    """
    broker = data.broker_name.lower()
    if broker not in set(place.app.brokers):
        raise InvalidInput(f"`broker_name` is not one we know; known are {', '.join(place.app.brokers)}.")
    credentials = read_credentials(data)
    if credentials is None:
        raise InvalidInput("`api_key` is missing: send the credentials of one of the logins.")
    schedules = None if data.schedules is None else read_schedules(place, data.schedules, late_pass=data.late_pass)
    label = _label(data.label or data.account_id or broker.capitalize())
    login, secrets = credentials
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_recent(viewer, entry.at)
        request_id, account_id = await requests.new_ids(tx)
        await asking.check_label(tx, viewer, label, account_id)
        if force:
            await accounts.add(
                tx,
                account_id=account_id,
                user_id=viewer.user_id,
                broker=broker,
                label=label,
                login=login.value,
                credentials=SealedCredentials(
                    sealed=place.app.sealer.seal(account_id, CREDENTIALS, secrets),
                    number=1,
                    fingerprint=place.app.sealer.fingerprint(secrets),
                ),
                now=place.app.clock.now(),
                number=data.account_id,
                schedules=None if schedules is None else schedule.stored(schedules),
                late_pass=data.late_pass,
            )
        else:
            wish = Wish(
                broker=broker,
                broker_account_id=data.account_id,
                label=label,
                schedules=schedules,
                late_pass=data.late_pass,
            )
            await asking.put(place, tx, viewer, requests.CONNECT, account_id, request_id, wish, secrets)
    if not force:
        asking.check_done(await asking.wait(place, entry, request_id))
    return Response(
        await show_one(place, entry, account_id, MANAGE), status_code=201, headers={"Location": f"{PATH}/{account_id}"}
    )


@put(PATH + "/{account_id:uuid}", tags=["accounts"], responses=BROKER_PROBLEMS, security=SECURITY)
async def change_account(
    place: At, entry: Who, account_id: FromPath[UUID], data: JSONBody[ChangedAccount]
) -> AccountAnswer:
    """Change an account: label, schedules, late pass, credentials (tried first); pause or resume it. All or nothing."""
    credentials = read_credentials(data)
    wish = Wish(
        label=None if data.label is UNSET else _label(data.label),
        schedules=None if data.schedules is UNSET else read_schedules(place, data.schedules, late_pass=True),
        late_pass=None if data.late_pass is UNSET else data.late_pass,
        paused=None if data.state is UNSET else data.state == "paused",
    )
    if credentials is None and wish == requests.NOTHING_MORE:
        raise InvalidInput("Nothing was to be changed; send what shall be different.")
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_scope(viewer, MANAGE)
        await asking.own_account(tx, viewer, account_id)
        if credentials is not None:
            check_recent(viewer, entry.at)
        if wish.label is not None:
            await asking.check_label(tx, viewer, wish.label, account_id)
        request_id, _ = await requests.new_ids(tx)
        secrets = None if credentials is None else credentials[1]
        await asking.put(place, tx, viewer, requests.CHANGE, account_id, request_id, wish, secrets)
    asking.check_done(await asking.wait(place, entry, request_id))
    return await show_one(place, entry, account_id, MANAGE)


@delete(PATH + "/{account_id:uuid}", tags=["accounts"], responses=BROKER_PROBLEMS, security=SECURITY)
async def close_account(place: At, entry: Who, account_id: FromPath[UUID]) -> None:
    """Close an account for good: its secrets are destroyed and it is not read any more. Its history stays readable."""
    asking.check_done(await asking.ask(place, entry, requests.CLOSE, account_id, recent=True))


@post(
    PATH + "/{account_id:uuid}/test", status_code=200, tags=["accounts"], responses=BROKER_PROBLEMS, security=SECURITY
)
async def test_account(place: At, entry: Who, account_id: FromPath[UUID]) -> Tested:
    """Try the login of an account at the broker now."""
    ending = await asking.ask(place, entry, requests.TEST, account_id)
    works = ending.status == requests.DONE
    told = works or ending.status == requests.REFUSED or (ending.error_class or "").startswith("Broker")
    if not told:
        asking.check_done(ending)
    return Tested(ok=works, reason=ending.reason, account=await show_one(place, entry, account_id, MANAGE))


@post(
    PATH + "/{account_id:uuid}/refresh-token",
    status_code=200,
    tags=["accounts"],
    responses=BROKER_PROBLEMS,
    security=SECURITY,
)
async def refresh_account_token(place: At, entry: Who, account_id: FromPath[UUID]) -> AccountAnswer:
    """Have the broker make a new access token for an account, in place of the one it has."""
    asking.check_done(await asking.ask(place, entry, requests.TOKEN, account_id))
    return await show_one(place, entry, account_id, MANAGE)


ROUTES = (connect_account, change_account, close_account, test_account, refresh_account_token)
