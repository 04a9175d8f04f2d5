"""What comes of an account's schedules on the exchange's calendar: the runs to come, and whether they leave a day
unread. Pure: `now` is an argument."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

from msgspec import Struct

from portfolio_scheduler.clock import ist, ist_date
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.domain.schedule import DAY, Reason, Schedule, Slot, Timetable
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.market.calendar import Calendar

LATE = timedelta(minutes=10)  # a slot older than this was slept through, and its run is a catch-up
MOST = 20  # schedules of an account
MOST_A_DAY = 96  # runs: every quarter of an hour
LOOKED_AHEAD = timedelta(days=14)


class Run(Struct, frozen=True, kw_only=True):
    """One run to come: when, why, and which trading day it will read as what."""

    at: datetime
    reason: Reason
    trading_on: date
    standing: str  # provisional before the close, final after it, late on another day
    note: str | None  # what is special about that day at the exchange


def timetable(listed: Sequence[Mapping[str, Any]], *, late_pass: bool, segments: Collection[str]) -> Timetable:
    """The timetable of an account as it is stored; schedules that cannot be read count as the default."""
    schedules, _ = schedule.kept(listed)
    return Timetable(schedules, late_pass, "COMMODITY" in segments)


def check(schedules: Sequence[Schedule], *, late_pass: bool, now: datetime) -> None:
    """Refuse schedules that read nothing, or too often."""
    for one in schedules:
        schedule.check(one)
    if not schedules and not late_pass:
        raise InvalidInput(
            "Without a schedule and without the late pass nothing would ever be read; pause the account to stop it."
        )
    if len(schedules) > MOST:
        raise InvalidInput(f"{len(schedules)} schedules are too many; an account may have {MOST}.")
    for day in range(7):
        since = now + day * DAY
        if (count := len(schedule.slots(schedules, since, since + DAY))) > MOST_A_DAY:
            raise InvalidInput(
                f"These schedules are due {count} times a day; at most {MOST_A_DAY} (every 15 minutes) are allowed, "
                "for each asks the broker ten questions."
            )


def standing_at(calendar: Calendar, observed_at: datetime, trading_on: date) -> str:
    """What a reading made then says of its trading day: provisional before the close, final after it, late."""
    if ist_date(observed_at) > trading_on:
        return "late"
    return "final" if observed_at >= calendar.closes_at(trading_on) else "provisional"


def runs(
    calendar: Calendar,
    table: Timetable,
    now: datetime,
    count: int,
    *,
    planned_through: datetime | None = None,
    morning_at: datetime | None = None,
) -> list[Run]:
    """The next runs. One that is due already comes first, where it is said what has been planned; so does the
    morning's for orders that have no end."""
    slots = [] if planned_through is None else [*_overdue(calendar, table, planned_through, now)]
    slots += islice(schedule.upcoming(table, calendar.between, now), count)
    if morning_at is not None and morning_at not in {slot.at for slot in slots}:
        slots = sorted([*slots, Slot(morning_at, Reason.UNFINISHED)], key=lambda slot: slot.at)
    return [_run(calendar, slot) for slot in slots[:count]]


def _overdue(calendar: Calendar, table: Timetable, planned_through: datetime, now: datetime) -> Iterator[Slot]:
    """The newest slot that nobody has seen to; slept through, it is caught up with now."""
    since = now - schedule.LOOK_BACK
    slots = schedule.due(table, calendar.between(since, now), since, now)
    if slots and planned_through < slots[-1].at:
        yield slots[-1] if now - slots[-1].at <= LATE else Slot(now, Reason.CATCH_UP)


def _run(calendar: Calendar, slot: Slot) -> Run:
    on = calendar.trading_on(slot.at)
    return Run(
        at=slot.at,
        reason=slot.reason,
        trading_on=on,
        standing=standing_at(calendar, slot.at, on),
        note=calendar.remark(ist_date(slot.at)),
    )


def unread_close(calendar: Calendar, table: Timetable, now: datetime) -> date | None:
    """The first trading day of the next two weeks without a run between its close and midnight."""
    for session in calendar.between(now, now + LOOKED_AHEAD):
        midnight = ist(session.on + DAY, 0)
        sessions = [session]
        after = session.closes_at - timedelta(microseconds=1)
        if session.closes_at > now and not schedule.due(table, sessions, after, midnight - timedelta(microseconds=1)):
            return session.on
    return None
