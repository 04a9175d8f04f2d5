"""When an account is due: its own cron expressions, and what is due besides. Pure: `now` is an argument.

The calendar never suppresses a run (a needless one costs ten calls, a missed one is lost for ever); it only adds runs
on sessions that no weekday's schedule reads: those of weekends and evenings.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
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
SHIFT = timedelta(hours=3)  # more than any clock is set forth or back
AHEAD = timedelta(days=4 * 366)  # a schedule of 29 February is due within it
SATURDAY = 5
EVENING = 16  # the hour after which no ordinary session closes
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


class Reason(StrEnum):
    """Why an account is due at an instant."""

    REGULAR = "regular"
    SPECIAL = "special session"
    LATE_PASS = "late pass"
    CATCH_UP = "catch-up"
    UNFINISHED = "unfinished orders"


class Slot(Struct, frozen=True):
    """An instant at which an account is due, once."""

    at: datetime
    reason: Reason


class Timetable(Struct, frozen=True):
    """All that decides when an account is due, the exchange's sessions excepted."""

    schedules: tuple[Schedule, ...] = (DEFAULT,)
    late_pass: bool = True
    commodity: bool = False


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


def stored(schedules: Iterable[Schedule]) -> list[dict[str, str]]:
    """As `parse` reads them, each once."""
    return [{"cron": one.cron, "timezone": one.timezone} for one in dict.fromkeys(schedules)]


def kept(listed: Sequence[Mapping[str, Any]]) -> tuple[tuple[Schedule, ...], str | None]:
    """Stored schedules, or what is wrong with them and the default: one that cannot be read must cost no day."""
    try:
        return parse(listed), None
    except InvalidInput as error:
        return (DEFAULT,), error.message


def read(text: str) -> Schedule:
    """A schedule as people write it: a cron expression of five fields, with a time zone behind it unless India's."""
    fields = text.split()
    if len(fields) == 6 and not _FIELD.fullmatch(fields[5]):
        schedule = Schedule(cron=" ".join(fields[:5]), timezone=fields[5])
    else:
        schedule = Schedule(cron=" ".join(fields))
    check(schedule)
    return schedule


def in_words(schedule: Schedule) -> str:
    """The same as text that `read` understands."""
    return f"{schedule.cron} {schedule.timezone}"


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


def due(timetable: Timetable, sessions: Iterable[Session], after: datetime, until: datetime) -> list[Slot]:
    """When an account is due in (after, until], oldest first, at most 30 days back, each instant once.

    A session of a weekend or an evening is read at 16:00, or half an hour after its close when that is later.
    """
    after = max(after, until - LOOK_BACK)
    late = LATE_PASS_COMMODITY if timetable.commodity else LATE_PASS
    besides = {read_at(session) for session in sessions if _needs_a_run(session)}
    found = dict.fromkeys(_slots(late, after, until), Reason.LATE_PASS) if timetable.late_pass else {}
    found |= dict.fromkeys((at for at in besides if after < at <= until), Reason.SPECIAL)
    found |= dict.fromkeys(slots(timetable.schedules, after, until), Reason.REGULAR)
    return [Slot(at, found[at]) for at in sorted(found)]


def read_at(session: Session) -> datetime:
    """When a special session is read."""
    return max(ist(session.on, EVENING), session.closes_at + AFTER_CLOSE)


def _needs_a_run(session: Session) -> bool:
    """Weekday schedules do not run on a weekend, and run before an evening session opens."""
    return session.on.weekday() >= SATURDAY or (
        session.kind == SPECIAL and session.closes_at > ist(session.on, EVENING)
    )


def latest(timetable: Timetable, sessions: Iterable[Session], now: datetime) -> datetime | None:
    """The last instant until now at which the account was due; None when it was not in 30 days."""
    late = LATE_PASS_COMMODITY if timetable.commodity else LATE_PASS
    schedules = (*timetable.schedules, late) if timetable.late_pass else timetable.schedules
    found = [at for one in schedules if (at := _latest(one, now)) is not None]
    special = (read_at(session) for session in sessions if _needs_a_run(session))
    found += [at for at in special if now - LOOK_BACK < at <= now]
    return max(found, default=None)


@lru_cache(maxsize=1024)  # one tick asks for many accounts
def _latest(schedule: Schedule, now: datetime) -> datetime | None:
    """What `_slots` would find last, at a fraction of its cost: wall times are listed backwards until one fits.

    Wall times that summer time skips come in another order as instants, hence the look a little further.
    """
    zone = _zone(schedule.timezone)
    wall_now = now.astimezone(zone).replace(tzinfo=None)
    first, found = wall_now - LOOK_BACK - SHIFT, now - LOOK_BACK
    wall = _cron(schedule.cron)
    wall.set_current(wall_now + SHIFT, force=True)
    while (at := wall.get_prev(datetime)) >= first:
        instant = at.replace(tzinfo=zone).astimezone(UTC)
        if found < instant <= now:
            found = instant
            first = max(first, at - SHIFT)
    return found if found > now - LOOK_BACK else None


@lru_cache(maxsize=16384)
def _cron(expression: str) -> croniter:
    return croniter(expression, datetime(2024, 1, 1))  # noqa: DTZ001 - a wall clock has no zone


Sessions = Callable[[datetime, datetime], Iterable[Session]]


def upcoming(timetable: Timetable, sessions: Sessions, now: datetime) -> Iterator[Slot]:
    """The instants after now at which the account is due, oldest first, some years ahead."""
    after = now
    while after < now + AHEAD:
        until = after + LOOK_BACK
        yield from due(timetable, sessions(after, until), after, until)
        after = until


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
