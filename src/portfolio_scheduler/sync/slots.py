"""When accounts are due, for those who look ahead or back: the login planner and `status`."""

from datetime import datetime

from portfolio_scheduler.app import App
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.domain.schedule import Slot, Timetable


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
