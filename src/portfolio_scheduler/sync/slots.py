"""When accounts are due, for those who look ahead or back: the login planner and `status`."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from portfolio_scheduler.app import App
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.domain.schedule import Slot, Timetable


def timetable(listed: Sequence[Mapping[str, Any]], *, late_pass: bool, segments: Collection[str]) -> Timetable:
    """The timetable of an account as it is stored; schedules that cannot be read count as the default."""
    schedules, _ = schedule.kept(listed)
    return Timetable(schedules, late_pass, "COMMODITY" in segments)


def next_slot(app: App, kind: Timetable, after: datetime) -> Slot | None:
    """The first slot of the account after this instant, with its reason."""
    return next(schedule.upcoming(kind, app.calendar.between, after), None)


def next_run(app: App, kind: Timetable, after: datetime) -> datetime | None:
    """The first instant after this one at which the account is due."""
    slot = next_slot(app, kind, after)
    return slot.at if slot else None


def last_run(app: App, kind: Timetable, until: datetime) -> datetime | None:
    """The last instant until now at which the account was due."""
    return schedule.latest(kind, app.calendar.between(until - schedule.LOOK_BACK, until), until)
