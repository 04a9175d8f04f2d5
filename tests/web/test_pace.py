"""The general limit: a minute's worth, refilled evenly, of each alone."""

from datetime import UTC, datetime, timedelta

import pytest

from portfolio_scheduler.errors import TooMany
from portfolio_scheduler.web.pace import REMEMBERED, Pace

AT = datetime(2026, 4, 20, 10, 30, tzinfo=UTC)


def test_more_than_a_minutes_worth_waits() -> None:
    pace = Pace(120)
    for _ in range(120):
        pace.count("asha", AT)
    with pytest.raises(TooMany) as told:
        pace.count("asha", AT)
    assert told.value.retry_after_seconds == 1
    pace.count("ravi", AT)
    pace.count("asha", AT + timedelta(seconds=told.value.retry_after_seconds))


def test_of_any_number_of_names_only_so_many_are_remembered() -> None:
    pace = Pace(1)
    for number in range(REMEMBERED + 100):
        pace.count(number, AT)
    with pytest.raises(TooMany):
        pace.count(REMEMBERED + 99, AT)
    pace.count(0, AT)  # forgotten long ago
