"""When an account is due: its own cron expressions, and what is always due besides. Pure: `now` is an argument.

The calendar never suppresses a run (a needless one costs ten calls, a missed one is lost for ever); it only adds runs
on sessions that fall on a weekend.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from croniter import CroniterError, croniter
from msgspec import Struct

from portfolio_scheduler.clock import IST, ist
from portfolio_scheduler.domain.market_days import SPECIAL, Session
from portfolio_scheduler.errors import InvalidInput

LOOK_BACK = timedelta(days=30)  # older slots are not planned any more; what they missed is a GAP either way
DAY = timedelta(days=1)
SATURDAY = 5
AFTER_CLOSE = timedelta(minutes=30)

_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DAYS = "sun|mon|tue|wed|thu|fri|sat"
# No "H" and "R" of Jenkins: a slot drawn at random is another one each time it is asked for.
_FIELD = re.compile(rf"(?:\d+|[*/,\-]|l\b|#|{_MONTHS}|{_DAYS})+", re.IGNORECASE)


class Schedule(Struct, frozen=True, forbid_unknown_fields=True):
    """A cron expression of five fields, read on the wall clock of a time zone."""

    cron: str = "0 16 * * 1-5"
    timezone: str = "Asia/Kolkata"


DEFAULT = Schedule()
# Not before the end of the day, for nobody outside Groww knows when "today's orders" become tomorrow's.
LATE_PASS = Schedule("15 23 * * *")
LATE_PASS_COMMODITY = Schedule("56 23 * * *")  # that segment trades until 23:55 in winter


def parse(listed: Sequence[Mapping[str, Any]]) -> tuple[Schedule, ...]:
    """An account's schedules as they are stored; whatever cannot be run is `InvalidInput` saying why."""
    try:
        schedules = msgspec.convert(listed, tuple[Schedule, ...])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"A schedule is a cron expression and a time zone ({error}).") from error
    for schedule in schedules:
        check(schedule)
    return schedules


def check(schedule: Schedule) -> None:
    """Refuse a schedule that cannot be understood or is never due."""
    fields = schedule.cron.split()
    if len(fields) != 5 or not all(map(_FIELD.fullmatch, fields)):
        raise InvalidInput(
            f"The schedule {schedule.cron!r} is not a cron expression of five fields (minute, hour, day of the month, "
            'month, day of the week); "0 16 * * 1-5" is 16:00 from Monday to Friday.'
        )
    try:
        croniter(schedule.cron, datetime(2024, 1, 1)).get_next(datetime)  # noqa: DTZ001 - a wall clock has no zone
    except CroniterError as error:
        raise InvalidInput(f"The schedule {schedule.cron!r} cannot be run: {error}.") from error
    _zone(schedule.timezone)


def slots(schedules: Iterable[Schedule], after: datetime, until: datetime) -> list[datetime]:
    """The instants at which one of the schedules is due, in (after, until], oldest first, at most 30 days back."""
    after = max(after, until - LOOK_BACK)
    due: set[datetime] = set()
    for schedule in schedules:
        due |= _slots(schedule, after, until)
    return sorted(due)


def always_due(
    sessions: Iterable[Session], after: datetime, until: datetime, *, commodity: bool = False
) -> list[datetime]:
    """The same for what every account is due besides its schedules: the late pass, and special weekend sessions.

    A weekend session is read at 16:00, or half an hour after its close when that is later (Diwali evenings).
    """
    after = max(after, until - LOOK_BACK)
    due = _slots(LATE_PASS_COMMODITY if commodity else LATE_PASS, after, until)
    for session in sessions:
        if session.kind == SPECIAL and session.on.weekday() >= SATURDAY:
            at = max(ist(session.on, 16), session.closes_at + AFTER_CLOSE)
            due |= {at} if after < at <= until else set()
    return sorted(due)


def _slots(schedule: Schedule, after: datetime, until: datetime) -> set[datetime]:
    """Wall times are listed without a zone, then placed in it: so each comes once, whatever the clocks do.

    A time that summer time skips is due an hour later; one that comes twice is due the first time.
    """
    zone = _zone(schedule.timezone)
    wall = croniter(schedule.cron, after.astimezone(zone).replace(tzinfo=None) - DAY)
    last = until.astimezone(zone).replace(tzinfo=None) + DAY
    found = set()
    while (at := wall.get_next(datetime)) <= last:
        instant = at.replace(tzinfo=zone).astimezone(UTC)
        if after < instant <= until:
            found.add(instant)
    return found


def _zone(name: str) -> ZoneInfo:
    if name == IST.key:
        return IST
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            f"There is no time zone {name!r}; give a name like Asia/Kolkata or Europe/London."
        ) from error
