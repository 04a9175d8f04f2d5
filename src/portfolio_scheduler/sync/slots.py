"""When accounts are due, for those who look ahead or back: the login planner and `status`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.errors import InvalidInput

Listed = Sequence[Mapping[str, Any]]  # schedules as they are stored


def slots(app: App, listed: Listed, after: datetime, until: datetime, *, commodity: bool) -> list[datetime]:
    """The instants in (after, until] at which an account of these schedules is due, oldest first."""
    try:
        schedules = schedule.parse(listed)
    except InvalidInput:
        schedules = (schedule.DEFAULT,)  # as the planner does
    sessions = app.calendar.sessions(ist_date(after), ist_date(until))
    always = schedule.always_due(sessions, after, until, commodity=commodity)
    return sorted({*schedule.slots(schedules, after, until), *always})
