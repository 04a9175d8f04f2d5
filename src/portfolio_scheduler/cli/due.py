"""When an account is due next by its own schedules, for people to read. Who is due now is the planner's business."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


def next_due(schedules: Sequence[Mapping[str, str]], now: datetime) -> datetime | None:
    """The next slot of any of the schedules; None when there is none."""
    from croniter import croniter

    slots = [
        croniter(schedule["cron"], now.astimezone(ZoneInfo(schedule["timezone"]))).get_next(datetime)
        for schedule in schedules
    ]
    return min(slots).astimezone(UTC) if slots else None
