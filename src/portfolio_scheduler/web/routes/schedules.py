"""Schedules: when an account is read, and what would come of others."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import get, post, put
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from portfolio_scheduler.db import requests
from portfolio_scheduler.db.reads import viewed_accounts
from portfolio_scheduler.db.requests import Wish
from portfolio_scheduler.db.viewers import Entry, as_viewer, read
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.domain.schedule import Timetable
from portfolio_scheduler.errors import NotFound
from portfolio_scheduler.market import timetables
from portfolio_scheduler.web import asking
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import MANAGE, READ, At, Who, check_scope
from portfolio_scheduler.web.errors import BROKER_PROBLEMS, PROBLEMS, WRITE_PROBLEMS
from portfolio_scheduler.web.place import Place
from portfolio_scheduler.web.routes.accounts import PATH, Schedule
from portfolio_scheduler.web.routes.connecting import Schedules, read_schedules
from portfolio_scheduler.web.subjects import About

SHOWN = 5  # runs to come
COMMODITY = "COMMODITY"


class RunAnswer(Struct, frozen=True, kw_only=True):
    """One run to come."""

    at: datetime
    reason: str  # regular, special session, late pass or catch-up
    trading_on: date
    standing: str  # provisional before the close, final after it, late on another day
    note: str | None  # what is special about that day at the exchange


class Previewed(Struct, frozen=True, kw_only=True):
    """What would come of schedules."""

    runs: list[RunAnswer]
    unread_close: date | None  # first trading day of two weeks that nothing reads between its close and midnight


class SchedulesAnswer(Struct, frozen=True, kw_only=True):
    """When an account is read."""

    schedules: list[Schedule]
    late_pass: bool  # at 23:15 IST each day, at 23:56 with commodities
    problem: str | None  # why the default holds instead
    runs: list[RunAnswer]  # the next; none of a paused or closed account
    unread_close: date | None


class ChangedSchedules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The schedules an account is to have, in place of those it has."""

    schedules: Schedules
    late_pass: bool = True


class Imagined(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Schedules to look at; nothing is changed."""

    schedules: Schedules
    late_pass: bool = True
    commodity: bool = False  # whether the account trades commodities, whose day ends later
    count: Annotated[int, Meta(ge=1, le=100)] = 10


@get(PATH + "/{account_id:uuid}/schedules", tags=["accounts"], responses=PROBLEMS, security=SECURITY)
async def show_schedules(place: At, subject: About, account_id: FromPath[UUID]) -> SchedulesAnswer:
    """When an account is read, and its next runs."""
    return await _shown(place, subject, account_id, READ)


@put(PATH + "/{account_id:uuid}/schedules", tags=["accounts"], responses=BROKER_PROBLEMS, security=SECURITY)
async def set_schedules(
    place: At, entry: Who, account_id: FromPath[UUID], data: JSONBody[ChangedSchedules]
) -> SchedulesAnswer:
    """Give an account other schedules. It is a fact of its history."""
    wish = Wish(
        schedules=read_schedules(place, data.schedules, late_pass=data.late_pass),
        late_pass=data.late_pass,
    )
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_scope(viewer, MANAGE)
        await asking.own_account(tx, viewer, account_id)
        request_id, _ = await requests.new_ids(tx)
        await asking.put(place, tx, viewer, requests.CHANGE, account_id, request_id, wish)
    asking.check_done(await asking.wait(place, entry, request_id))
    return await _shown(place, entry, account_id, MANAGE)


@post(
    "/portfolio-scheduler/schedules/preview",
    status_code=200,
    tags=["accounts"],
    responses=WRITE_PROBLEMS,
    security=SECURITY,
)
async def preview_schedules(place: At, entry: Who, data: JSONBody[Imagined]) -> Previewed:
    """The runs that schedules would make, and whether they leave a day unread. Nothing is changed."""
    schedules = read_schedules(place, data.schedules, late_pass=data.late_pass)
    async with as_viewer(place.pool, entry) as (_, viewer):
        check_scope(viewer, READ)
    table = Timetable(tuple(schedules), data.late_pass, data.commodity)
    now = place.app.clock.now()
    return Previewed(
        runs=_runs(timetables.runs(place.app.calendar, table, now, data.count)),
        unread_close=timetables.unread_close(place.app.calendar, table, now),
    )


async def _shown(place: Place, entry: Entry, account_id: UUID, scope: str) -> SchedulesAnswer:
    viewer, rows = await read(place.pool, entry, viewed_accounts.SCHEDULED, {"account": account_id})
    check_scope(viewer, scope)
    if not rows:
        raise NotFound(asking.NO_ACCOUNT)
    listed, late_pass, segments, state, planned_through = rows[0]
    return _answer(place, listed, late_pass, segments, planned_through if state in {"active", "needs_login"} else None)


def _answer(
    place: Place, listed: list[dict[str, Any]], late_pass: bool, segments: list[str], planned_through: datetime | None
) -> SchedulesAnswer:
    now, calendar = place.app.clock.now(), place.app.calendar
    kept, problem = schedule.kept(listed)
    table = Timetable(kept, late_pass, COMMODITY in segments)
    runs = []
    if planned_through is not None:
        runs = timetables.runs(calendar, table, now, SHOWN, planned_through=planned_through)
    return SchedulesAnswer(
        schedules=[Schedule(cron=one.cron, timezone=one.timezone) for one in kept],
        late_pass=late_pass,
        problem=problem,
        runs=_runs(runs),
        unread_close=timetables.unread_close(calendar, table, now),
    )


def _runs(found: list[timetables.Run]) -> list[RunAnswer]:
    return [
        RunAnswer(at=one.at, reason=one.reason.value, trading_on=one.trading_on, standing=one.standing, note=one.note)
        for one in found
    ]


ROUTES = (show_schedules, set_schedules, preview_schedules)
