"""What was ordered, what became of it and when, and which days are known: orders, fills, changes, coverage."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.params import FromPath, PathParameter, QueryParameter
from msgspec import Struct

from portfolio_scheduler.db.reads import api_history, written
from portfolio_scheduler.db.reads.changes import ChangeRow
from portfolio_scheduler.db.reads.coverage import CoverageDay, CoveredDay, covered
from portfolio_scheduler.db.reads.orders import FillRow, OrderRow
from portfolio_scheduler.domain.completeness import Completeness, Seen, completeness_of
from portfolio_scheduler.domain.market_days import Session
from portfolio_scheduler.domain.plain_json import encoded
from portfolio_scheduler.errors import InvalidInput, NotFound
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import At
from portfolio_scheduler.web.listing import Cursor, Limit, cursor_of, keys_of
from portfolio_scheduler.web.place import Place
from portfolio_scheduler.web.reading import (
    FILE_PROBLEMS,
    READ_PROBLEMS,
    AsFile,
    AsOf,
    AsTable,
    On,
    Question,
    Segment,
    Side,
    Since,
    Sort,
    Symbol,
    To,
    answered,
    check_past,
    check_text,
)
from portfolio_scheduler.web.routes.portfolio import ROOT, completeness, listed
from portfolio_scheduler.web.subjects import About

NO_ORDER = "There is no such order."
USUAL_DAYS = 30  # calendar days of coverage, unless `since` says otherwise
EARLIEST = date(2000, 1, 1)

Status = Annotated[
    str | None,
    QueryParameter(
        name="status",
        min_length=1,
        max_length=60,
        description="Only this status, as the broker words it: OPEN, EXECUTED …",
    ),
]
OrderId = Annotated[
    str | None, QueryParameter(name="order_id", min_length=1, max_length=200, description="Of this order only.")
]
OfAccount = Annotated[
    UUID | None, QueryParameter(name="account_id", description="Of this account. Left out: of all the viewer sees.")
]


class Orders(Struct, frozen=True, kw_only=True):
    """A page of orders."""

    items: list[OrderRow]
    next: str | None
    completeness: Completeness


class Fills(Struct, frozen=True, kw_only=True):
    """A page of executions."""

    items: list[FillRow]
    next: str | None
    completeness: Completeness


class Changes(Struct, frozen=True, kw_only=True):
    """A page of changes of orders and holdings, with the completeness of each account."""

    items: list[ChangeRow]
    next: str | None
    completeness: list[Completeness]


class OrderStory(Struct, frozen=True, kw_only=True):
    """One order with all that happened to it, oldest first."""

    order: OrderRow
    trail: list[ChangeRow]
    fills: list[FillRow]
    completeness: Completeness


class Coverage(Struct, frozen=True, kw_only=True):
    """A page of trading days, newest first."""

    items: list[CoveredDay]
    next: str | None


class _Keys(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of orders or fills ended."""

    on: date
    at: datetime | None
    seq: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

    @classmethod
    def params(cls, cursor: str | None) -> dict[str, Any]:
        keys = keys_of(cursor, cls) if cursor else None
        return {
            "key_on": keys.on if keys else None,
            "key_at": keys.at if keys else None,
            "key_seq": keys.seq if keys else None,
        }


class _ChangeKeys(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of changes ended."""

    on: date
    at: datetime
    account_id: UUID
    seq: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

    @classmethod
    def params(cls, cursor: str | None) -> dict[str, Any]:
        keys = keys_of(cursor, cls) if cursor else None
        return {
            "key_on": keys.on if keys else None,
            "key_at": keys.at if keys else None,
            "key_account": keys.account_id if keys else None,
            "key_seq": keys.seq if keys else None,
        }


_FIRST_CHANGE = _ChangeKeys.params(None)
_OLDEST_ALL = {"limit": None, "on": None, "since": None, "to": None, "symbol": None, "side": None, "segment": None}
_DIRECTIONS = {"newest": True, "oldest": False}
_ORDERS = {
    (sort, then): api_history.orders_query(newest_first=newest, then=then)
    for sort, newest in _DIRECTIONS.items()
    for then in (False, True)
}
_FILLS = {sort: api_history.fills_query(newest_first=newest) for sort, newest in _DIRECTIONS.items()}
_CHANGES = {
    (sort, of_one): api_history.changes_query(newest_first=newest, of_one=of_one)
    for sort, newest in _DIRECTIONS.items()
    for of_one in (False, True)
}
_ORDER = api_history.order_query()


@get(ROOT + "/orders/{account_id:uuid}", tags=["portfolio"], responses=FILE_PROBLEMS, security=SECURITY)
async def list_orders(
    place: At,
    subject: About,
    request: Request[Any, Any, Any],
    account_id: FromPath[UUID],
    as_of: AsOf = None,
    on: On = None,
    since: Since = None,
    to: To = None,
    symbol: Symbol = None,
    status: Status = None,
    side: Side = None,
    segment: Segment = None,
    sort: Sort = "newest",
    limit: Limit = 50,
    cursor: Cursor = None,
    form: AsFile = None,
) -> Response[Orders]:
    """The orders of an account as last known, or as they stood at the end of a day."""
    check_past(place, as_of)
    check_text(symbol=symbol, status=status)
    question = Question(
        name="orders",
        query=_ORDERS[sort, as_of is not None],
        params={
            "account": account_id,
            "until": as_of,
            "on": on,
            "since": since,
            "to": to,
            "symbol": symbol,
            "status": status,
            "side": side,
            "segment": segment,
            "size": limit,
            "limit": limit + 1,
        }
        | _Keys.params(cursor),
        made_by=(sort,),
        make=lambda document: _listed(place, document, as_of),
        record=OrderRow,
    )
    return await answered(place, subject, request, question, form)


def _listed(place: Place, document: bytes, as_of: date | None) -> bytes:
    seen, items, keys = written.parts(document)
    return listed(items, written.cursor(keys), completeness(place, seen, as_of))


@get(ROOT + "/orders/{account_id:uuid}/{order_id:str}", tags=["portfolio"], responses=READ_PROBLEMS, security=SECURITY)
async def show_order(
    place: At,
    subject: About,
    request: Request[Any, Any, Any],
    account_id: FromPath[UUID],
    order_id: Annotated[str, PathParameter(max_length=200, description="The broker's id of the order.")],
    as_of: AsOf = None,
) -> Response[OrderStory]:
    """One order with its whole trail: every step and every execution, oldest first."""
    check_past(place, as_of)
    check_text(order_id=order_id)

    def make(document: bytes) -> bytes:
        seen, order, trail, fills = written.parts(document)
        if not order:
            raise NotFound(NO_ORDER)
        known = encoded({"completeness": completeness(place, seen, as_of)})
        parts = (b'{"order":', order, b',"trail":', trail, b',"fills":', fills, b",")
        return b"".join(parts) + known[1:]

    question = Question(
        name="order",
        query=_ORDER,
        params=_OLDEST_ALL
        | _FIRST_CHANGE
        | _Keys.params(None)
        | {"account": account_id, "order": order_id, "until": as_of},
        make=make,
        record=OrderRow,
        absent=NO_ORDER,
    )
    return await answered(place, subject, request, question, "json")


@get(ROOT + "/fills/{account_id:uuid}", tags=["portfolio"], responses=FILE_PROBLEMS, security=SECURITY)
async def list_fills(
    place: At,
    subject: About,
    request: Request[Any, Any, Any],
    account_id: FromPath[UUID],
    as_of: AsOf = None,
    on: On = None,
    since: Since = None,
    to: To = None,
    symbol: Symbol = None,
    order_id: OrderId = None,
    side: Side = None,
    segment: Segment = None,
    sort: Sort = "newest",
    limit: Limit = 50,
    cursor: Cursor = None,
    form: AsFile = None,
) -> Response[Fills]:
    """The executions of an account. `synthetic` ones are an order's own figures where the broker gave no list."""
    check_past(place, as_of)
    check_text(symbol=symbol, order_id=order_id)
    question = Question(
        name="fills",
        query=_FILLS[sort],
        params={
            "account": account_id,
            "until": as_of,
            "on": on,
            "since": since,
            "to": to,
            "symbol": symbol,
            "order": order_id,
            "side": side,
            "segment": segment,
            "size": limit,
            "limit": limit + 1,
        }
        | _Keys.params(cursor),
        made_by=(sort,),
        make=lambda document: _listed(place, document, as_of),
        record=FillRow,
    )
    return await answered(place, subject, request, question, form)


_seen_of_many = msgspec.json.Decoder(list[Seen])


@get(ROOT + "/quantity-changes/{symbol:str}", tags=["portfolio"], responses=FILE_PROBLEMS, security=SECURITY)
async def list_changes(
    place: At,
    subject: About,
    request: Request[Any, Any, Any],
    symbol: Annotated[str, PathParameter(max_length=60, description="Trading symbol, or ISIN of a holding.")],
    account_id: OfAccount = None,
    as_of: AsOf = None,
    on: On = None,
    since: Since = None,
    to: To = None,
    order_id: OrderId = None,
    sort: Sort = "newest",
    limit: Limit = 50,
    cursor: Cursor = None,
    form: AsFile = None,
) -> Response[Changes]:
    """All that changed about one symbol: each step of each order and each change of a holding, over all accounts that
    the viewer sees, or of one."""
    check_past(place, as_of)
    check_text(symbol=symbol, order_id=order_id)

    def make(document: bytes) -> bytes:
        seen, items, keys = written.parts(document)
        now, days = place.app.clock.now(), place.app.calendar
        known = [completeness_of(one, days, now, as_of) for one in _seen_of_many.decode(seen)]
        return listed(items, written.cursor(keys), known)

    question = Question(
        name="changes",
        query=_CHANGES[sort, account_id is not None],
        params={
            "account": account_id,
            "until": as_of,
            "symbol": symbol,
            "order": order_id,
            "on": on,
            "since": since,
            "to": to,
            "size": limit,
            "limit": limit + 1,
        }
        | _ChangeKeys.params(cursor),
        made_by=(sort,),
        make=make,
        record=ChangeRow,
    )
    return await answered(place, subject, request, question, form)


class _Day(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of days ended."""

    trading_on: date


_days = msgspec.json.Decoder(list[CoverageDay])


@get(ROOT + "/coverage/{account_id:uuid}", tags=["portfolio"], responses=READ_PROBLEMS, security=SECURITY)
async def list_coverage(
    place: At,
    subject: About,
    request: Request[Any, Any, Any],
    account_id: FromPath[UUID],
    since: Since = None,
    to: To = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    form: AsTable = None,
) -> Response[Coverage]:
    """Which trading days were read, section by section, and what is missing or lost for good. Without `since` those of
    the last month on which something was expected."""
    current = place.app.calendar.trading_on(place.app.clock.now())
    sessions = _sessions(place, current, since, to, keys_of(cursor, _Day) if cursor else None, limit + 1)
    shown = sessions[:limit]
    more = cursor_of(_Day(shown[-1].on)) if len(sessions) > limit else None

    def make(document: bytes) -> Coverage:
        days = [covered(day, current) for day in _days.decode(document) if day.expected or since is not None]
        return Coverage(items=days, next=more)

    question = Question(
        name="coverage",
        query=api_history.COVERED,
        params={
            "account": account_id,
            "days": [session.on for session in shown],
            "closes": [session.closes_at for session in shown],
        },
        made_by=(since is None, more),
        make=make,
        record=CoveredDay,
    )
    return await answered(place, subject, request, question, form)


def _sessions(
    place: Place, current: date, since: date | None, to: date | None, after: _Day | None, most: int
) -> list[Session]:
    """The sessions of a time, newest first, from the end of a page on."""
    for name, day in (("since", since), ("to", to)):
        if day is not None and day < EARLIEST:
            raise InvalidInput(f"`{name}` {day} is before {EARLIEST}, from when on days are counted.")
    until = min(to or current, current)
    first = since or until - timedelta(days=USUAL_DAYS)
    if after is not None:
        until = min(until, max(after.trading_on, EARLIEST) - timedelta(days=1))
    calendar, found, on = place.app.calendar, list[Session](), until + timedelta(days=1)
    while len(found) < most and (on := calendar.previous(on)) >= first:
        session = calendar.session(on)
        assert session is not None
        found.append(session)
    return found


ROUTES = (list_orders, show_order, list_fills, list_changes, list_coverage)
