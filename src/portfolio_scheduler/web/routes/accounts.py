"""Accounts at brokers: which there are, and how each stands."""

from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import get
from litestar.params import FromPath
from msgspec import Struct

from portfolio_scheduler.db.reads import viewed_accounts
from portfolio_scheduler.db.viewers import Entry, read
from portfolio_scheduler.errors import NotFound
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import READ, At, Who, check_scope
from portfolio_scheduler.web.errors import PROBLEMS
from portfolio_scheduler.web.listing import Cursor, Limit, Page, cursor_of, keys_of
from portfolio_scheduler.web.place import Place

PATH = "/portfolio-scheduler/broker-accounts"


class Schedule(Struct, frozen=True, kw_only=True):
    """When an account is read."""

    cron: str
    timezone: str


class AccountAnswer(Struct, frozen=True, kw_only=True):
    """An account at a broker. Its credentials are never part of an answer."""

    id: UUID
    owner: str  # name of the user; another than the viewer for an account that is shared with them
    broker_name: str
    account_id: str | None  # the broker's own number for it; null before the first sync
    client_code: str | None
    label: str
    login: str  # totp, approval or token
    state: str  # active, paused, needs_login or closed; untested when no login of it has worked yet
    segments: list[str]
    schedules: list[Schedule]
    late_pass: bool
    token_expires_at: datetime | None
    credentials_fingerprint: str | None  # tells two credentials apart, and nothing else
    credentials_at: datetime | None  # since when the account has these
    created_at: datetime


class _Keys(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of accounts ended."""

    created_at: datetime
    id: UUID


@get(PATH, tags=["accounts"], responses=PROBLEMS, security=SECURITY)
async def list_accounts(place: At, entry: Who, limit: Limit = 50, cursor: Cursor = None) -> Page[AccountAnswer]:
    """The viewer's accounts and those shared with them, oldest first; closed ones as well, for their history stays."""
    after = keys_of(cursor, _Keys) if cursor else None
    params = {
        "after_at": after.created_at if after else None,
        "after_id": after.id if after else None,
        "limit": limit + 1,
    }
    viewer, rows = await read(place.pool, entry, viewed_accounts.LISTED, params)
    check_scope(viewer, READ)
    items = [_answer(row) for row in rows[:limit]]
    last = items[-1] if len(rows) > limit else None
    return Page(items=items, next=cursor_of(_Keys(last.created_at, last.id)) if last else None)


@get(PATH + "/{account_id:uuid}", tags=["accounts"], responses=PROBLEMS, security=SECURITY)
async def show_account(place: At, entry: Who, account_id: FromPath[UUID]) -> AccountAnswer:
    """One account."""
    return await show_one(place, entry, account_id, READ)


async def show_one(place: Place, entry: Entry, account_id: UUID, scope: str) -> AccountAnswer:
    """An account as the viewer may see it; a foreign one is as absent as one that never was."""
    viewer, rows = await read(place.pool, entry, viewed_accounts.ONE, {"account": account_id})
    check_scope(viewer, scope)
    if not rows:
        raise NotFound("There is no such account.")
    return _answer(rows[0])


def _answer(row: tuple[Any, ...]) -> AccountAnswer:
    names = AccountAnswer.__struct_fields__
    fields = dict(zip(names, row, strict=True))
    fields["schedules"] = [Schedule(cron=each["cron"], timezone=each["timezone"]) for each in fields["schedules"]]
    return AccountAnswer(**fields)


ROUTES = (list_accounts, show_account)
