"""The calendar against the exchange's real trading days, against the library it is taken from, and at its edges."""

import csv
import gzip
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from portfolio_scheduler.clock import IST, ist
from portfolio_scheduler.domain.market_days import MarketDay
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.market.calendar import (
    SHIPPED_FROM,
    SHIPPED_UNTIL,
    Calendar,
    make_calendar,
    shipped_closures,
    shipped_special_sessions,
)

TRADING_DAYS = Path(__file__).parents[1] / "data" / "nse_trading_days.csv.gz"  # what NSE published prices for

# Real sessions that XBOM lacks; each is a line of special_sessions.csv.
LACKING_IN_XBOM = {
    date(2020, 2, 1): "Budget on a Saturday",
    date(2020, 11, 14): "Diwali evening, Saturday",
    date(2021, 11, 4): "Diwali evening, a holiday for XBOM",
    date(2022, 10, 24): "Diwali evening, a holiday for XBOM",
    date(2023, 11, 12): "Diwali evening, Sunday",
    date(2024, 3, 2): "disaster recovery drill, Saturday",
    date(2024, 5, 18): "disaster recovery drill, Saturday",
    date(2024, 11, 1): "Diwali evening, a holiday for XBOM",
    date(2025, 10, 21): "Diwali afternoon, a holiday for XBOM",
    date(2026, 2, 1): "Budget on a Sunday",
}


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return make_calendar()


@pytest.fixture(scope="module")
def real() -> set[date]:
    with gzip.open(TRADING_DAYS, "rt", encoding="utf-8") as lines:
        return {date.fromisoformat(row["date"]) for row in csv.DictReader(lines)}


@pytest.fixture(scope="module")
def xbom() -> set[date]:
    import exchange_calendars

    sessions = exchange_calendars.get_calendar("XBOM", start=SHIPPED_FROM.isoformat()).sessions
    return {session.date() for session in sessions}


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def test_every_real_trading_day_is_a_session_and_no_other_day_is(calendar: Calendar, real: set[date]) -> None:
    assert {s.on for s in calendar.sessions(min(real), max(real))} == real


def test_xbom_lacks_exactly_the_sessions_we_know_of(real: set[date], xbom: set[date]) -> None:
    assert real - xbom == set(LACKING_IN_XBOM)
    assert {on for on in xbom - real if min(real) <= on <= max(real)} == set()


def test_the_shipped_closures_are_those_of_xbom(xbom: set[date]) -> None:
    """A newer library makes this fail: the difference is what to change in closures.csv, and SHIPPED_UNTIL."""
    assert max(xbom) == max(on for on in days(SHIPPED_FROM, SHIPPED_UNTIL) if on in xbom)
    closed = {on for on in days(SHIPPED_FROM, SHIPPED_UNTIL) if on.weekday() < 5 and on not in xbom}
    assert closed ^ set(shipped_closures()) == set()


def test_special_sessions_are_needed_and_say_where_they_come_from() -> None:
    closed = set(shipped_closures())
    assert all(s.note and (s.on.weekday() >= 5 or s.on in closed) for s in shipped_special_sessions())


@pytest.mark.parametrize(
    "on", [date(2024, 1, 22), date(2024, 5, 20), date(2024, 11, 20), date(2026, 1, 15), date(2026, 4, 14)]
)
def test_holidays_declared_late_are_no_sessions(calendar: Calendar, on: date) -> None:
    assert calendar.session(on) is None
    assert calendar.is_known(on)
    with pytest.raises(InvalidInput, match="is not a trading day; the one before it is"):
        calendar.closes_at(on)


@pytest.mark.parametrize(
    ("observed_at", "expected"),
    [
        (ist(date(2026, 4, 24), 16), date(2026, 4, 24)),
        (ist(date(2026, 4, 24), 9, 14, 59), date(2026, 4, 23)),  # a second before the open
        (ist(date(2026, 4, 24), 9, 15), date(2026, 4, 24)),
        (ist(date(2026, 4, 21), 2), date(2026, 4, 20)),  # 02:00 on Tuesday is Monday, late
        (ist(date(2026, 4, 20), 2), date(2026, 4, 17)),  # 02:00 on Monday is Friday
        (ist(date(2026, 4, 19), 16), date(2026, 4, 17)),  # Sunday
        (ist(date(2026, 2, 1), 16), date(2026, 2, 1)),  # Budget Sunday
        (ist(date(2026, 2, 2), 8), date(2026, 2, 1)),
        (ist(date(2024, 1, 22), 12), date(2024, 1, 20)),  # a sudden holiday after a Saturday session
        (ist(date(2024, 11, 1), 16), date(2024, 10, 31)),  # the afternoon before the evening session
        (ist(date(2024, 11, 1), 17, 59, 59), date(2024, 10, 31)),
        (ist(date(2024, 11, 1), 18), date(2024, 11, 1)),
        (ist(date(2024, 11, 3), 23, 15), date(2024, 11, 1)),
        (ist(date(2025, 10, 21), 13, 44), date(2025, 10, 20)),
        (ist(date(2025, 10, 21), 16), date(2025, 10, 21)),  # that year's muhurat was in the afternoon
        (datetime(2026, 4, 23, 20, 0, tzinfo=UTC), date(2026, 4, 23)),  # 01:30 IST on the 24th
        (ist(date(2027, 1, 1), 0, 0, 1), date(2026, 12, 31)),  # the first seconds of 2027
        (ist(date(2027, 1, 1), 9, 15), date(2027, 1, 1)),  # unknown, so a weekday is a session
    ],
)
def test_the_trading_day_is_the_latest_session_that_has_opened(
    calendar: Calendar, observed_at: datetime, expected: date
) -> None:
    assert calendar.trading_on(observed_at) == expected
    assert calendar.trading_on(observed_at.astimezone(IST)) == expected


def test_a_naive_instant_has_no_trading_day(calendar: Calendar) -> None:
    with pytest.raises(InvalidInput, match="no time zone"):
        calendar.trading_on(datetime(2026, 4, 24, 16))


def test_hours_and_kinds(calendar: Calendar) -> None:
    regular = calendar.session(date(2026, 4, 24))
    assert regular is not None
    assert (regular.kind, regular.known, regular.note) == ("session", True, None)
    assert (regular.opens_at, regular.closes_at) == (ist(regular.on, 9, 15), ist(regular.on, 15, 30))
    muhurat = calendar.session(date(2024, 11, 1))
    assert muhurat is not None
    assert (muhurat.kind, muhurat.closes_at) == ("special", ist(muhurat.on, 19))
    assert calendar.closes_at(date(2024, 3, 2)) == ist(date(2024, 3, 2), 12, 30)
    assert calendar.closes_at(date(2026, 8, 4)) == ist(date(2026, 8, 4), 15, 30)


def test_what_is_not_known_is_said_so(calendar: Calendar) -> None:
    assert calendar.known_until == date(2026, 12, 31)
    first = calendar.session(date(2027, 1, 1))
    assert first is not None
    assert not first.known
    assert not calendar.is_known(first.on)
    assert not calendar.is_session(date(2027, 1, 2))
    muhurat = calendar.session(date(2026, 11, 8))
    assert muhurat is not None
    assert not muhurat.known  # the day was announced, its hours were not
    before = calendar.session(date(2019, 12, 31))
    assert before is not None
    assert not before.known


def test_neighbours(calendar: Calendar) -> None:
    assert calendar.previous(date(2026, 4, 27)) == date(2026, 4, 24)
    assert calendar.previous(date(2026, 4, 24)) == date(2026, 4, 23)
    assert calendar.next(date(2026, 4, 24)) == date(2026, 4, 27)
    assert calendar.next(date(2024, 1, 19)) == date(2024, 1, 20)
    assert calendar.next(date(2024, 1, 20)) == date(2024, 1, 23)
    assert calendar.sessions(date(2026, 4, 25), date(2026, 4, 26)) == []
    assert calendar.sessions(date(2026, 4, 27), date(2026, 4, 24)) == []


def a_day(on: date, kind: str, exchange: str = "NSE") -> MarketDay:
    if kind == "closed":
        return MarketDay(exchange=exchange, day_on=on, kind=kind)
    return MarketDay(exchange=exchange, day_on=on, kind=kind, opens_at=ist(on, 18), closes_at=ist(on, 19))


def test_announcements_come_on_top() -> None:
    friday, sunday, muhurat = date(2026, 4, 24), date(2026, 4, 26), date(2024, 11, 1)
    calendar = make_calendar([a_day(friday, "closed"), a_day(sunday, "special"), a_day(muhurat, "closed")])
    assert not calendar.is_session(friday)
    assert not calendar.is_session(muhurat)
    assert calendar.trading_on(ist(sunday, 18)) == sunday
    assert calendar.trading_on(ist(sunday, 17)) == date(2026, 4, 23)
    assert make_calendar([a_day(friday, "closed", "MCX")]).is_session(friday)


def test_an_announcement_makes_a_day_known() -> None:
    new_year, republic_day = date(2027, 1, 1), date(2027, 1, 26)
    calendar = make_calendar([a_day(new_year, "session"), a_day(republic_day, "closed")])
    assert calendar.is_known(new_year)
    assert calendar.is_known(republic_day)
    assert not calendar.is_session(republic_day)


@pytest.mark.parametrize(
    "day",
    [
        MarketDay(exchange="NSE", day_on=date(2026, 4, 26), kind="special"),
        a_day(date(2026, 4, 26), "holiday"),
        MarketDay(
            exchange="NSE",
            day_on=date(2026, 4, 26),
            kind="special",
            opens_at=ist(date(2026, 4, 25), 18),
            closes_at=ist(date(2026, 4, 25), 19),
        ),
    ],
)
def test_an_announcement_that_makes_no_sense_is_refused(day: MarketDay) -> None:
    with pytest.raises(InvalidInput, match="market day 2026-04-26"):
        make_calendar([day])


def test_the_calendar_does_not_import_the_library() -> None:
    code = (
        "import sys; from portfolio_scheduler.market.calendar import make_calendar; make_calendar();"
        "sys.exit('pandas' in sys.modules or 'exchange_calendars' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
