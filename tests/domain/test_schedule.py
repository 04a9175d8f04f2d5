"""When an account is due."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from portfolio_scheduler.clock import IST, ist
from portfolio_scheduler.domain.market_days import SPECIAL, Session
from portfolio_scheduler.domain.schedule import (
    DEFAULT,
    Reason,
    Schedule,
    Timetable,
    check,
    in_words,
    latest,
    parse,
    read,
    slots,
    upcoming,
)
from portfolio_scheduler.domain.schedule import due as due_slots
from portfolio_scheduler.errors import InvalidInput


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(cron: str, timezone: str, after: str, until: str) -> list[str]:
    found = slots([Schedule(cron, timezone)], utc(after), utc(until))
    return [at.strftime("%m-%d %H:%M") for at in found]


@pytest.mark.parametrize(
    ("after", "until", "expected"),
    [
        ("2026-04-20 10:29", "2026-04-20 10:30", ["04-20 10:30"]),  # Monday 16:00 IST
        ("2026-04-20 10:30", "2026-04-20 23:00", []),  # after is excluded: a slot is due once
        ("2026-04-24 00:00", "2026-04-27 12:00", ["04-24 10:30", "04-27 10:30"]),  # no weekend
        ("2026-04-13 23:00", "2026-04-14 12:00", ["04-14 10:30"]),  # a holiday: the calendar suppresses nothing
    ],
)
def test_the_default_is_due_on_weekdays_at_1600_in_india(after: str, until: str, expected: list[str]):
    assert due(DEFAULT.cron, DEFAULT.timezone, after, until) == expected


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "until", "expected"),
    [
        # spring forward: 02:30 does not exist on 2026-03-08 in New York and is due an hour later by the wall
        (
            "30 2 * * *",
            "America/New_York",
            "2026-03-07 00:00",
            "2026-03-10 00:00",
            ["03-07 07:30", "03-08 07:30", "03-09 06:30"],
        ),
        # fall back: 01:30 comes twice on 2026-11-01 and is due the first time
        ("30 1 * * *", "America/New_York", "2026-10-31 12:00", "2026-11-02 12:00", ["11-01 05:30", "11-02 06:30"]),
        # midday follows the wall through both
        ("0 12 * * *", "Europe/London", "2026-03-28 00:00", "2026-03-30 00:00", ["03-28 12:00", "03-29 11:00"]),
        ("0 12 * * *", "Europe/London", "2026-10-24 00:00", "2026-10-26 00:00", ["10-24 11:00", "10-25 12:00"]),
        # half an hour of summer time
        ("0 16 * * *", "Australia/Lord_Howe", "2026-04-04 00:00", "2026-04-06 00:00", ["04-04 05:00", "04-05 05:30"]),
        # lists, steps and names
        ("0,30 9 * * mon", "Asia/Kolkata", "2026-04-20 00:00", "2026-04-20 05:00", ["04-20 03:30", "04-20 04:00"]),
    ],
)
def test_each_wall_time_is_due_once_whatever_the_clocks_do(
    cron: str, timezone: str, after: str, until: str, expected: list[str]
):
    assert due(cron, timezone, after, until) == expected


def test_366_days_at_1600_in_india_are_1030_utc():
    daily = Schedule("0 16 * * *")
    first = utc("2027-12-31 12:00")
    found = [at for n in range(366) for at in slots([daily], first + timedelta(days=n), first + timedelta(days=n + 1))]
    assert len(found) == 366
    assert {(at.hour, at.minute, at.tzinfo) for at in found} == {(10, 30, UTC)}
    assert {at.astimezone(IST).date() for at in found} == {date(2028, 1, 1) + timedelta(days=n) for n in range(366)}


def test_two_schedules_due_at_once_are_due_once():
    both = [DEFAULT, Schedule("30 10 * * *", "UTC")]
    assert slots(both, utc("2026-04-20 00:00"), utc("2026-04-21 00:00")) == [utc("2026-04-20 10:30")]


def test_looking_back_ends_after_30_days():
    found = slots([Schedule("0 16 * * *")], utc("2025-01-01 00:00"), utc("2026-04-20 12:00"))
    assert (len(found), found[0]) == (30, utc("2026-03-22 10:30"))


NONE = Timetable(schedules=())  # only what is due besides


@pytest.mark.parametrize(("commodity", "expected"), [(False, "17:45"), (True, "18:26")])
def test_the_late_pass_is_every_day_unless_it_is_switched_off(commodity: bool, expected: str):
    window = utc("2026-04-17 00:00"), utc("2026-04-20 00:00")
    found = due_slots(Timetable((), commodity=commodity), [], *window)
    assert [slot.at.strftime("%d %H:%M") for slot in found] == [f"{day} {expected}" for day in (17, 18, 19)]
    assert {slot.reason for slot in found} == {Reason.LATE_PASS}
    assert due_slots(Timetable((), late_pass=False, commodity=commodity), [], *window) == []


@pytest.mark.parametrize(
    ("on", "closes", "expected"),
    [
        (date(2026, 2, 1), (15, 30), [(16, 0), (23, 15)]),  # the budget on a Sunday
        (date(2026, 11, 8), (19, 0), [(19, 30), (23, 15)]),  # Diwali: 16:00 would be before it opens
        (date(2021, 11, 4), (19, 15), [(19, 45), (23, 15)]),  # a Thursday evening: 16:00 is before it opens, too
        (date(2026, 4, 20), (15, 30), [(23, 15)]),  # a Monday has its schedules
    ],
)
def test_a_session_that_no_weekdays_schedule_reads_is_read_after_its_close(
    on: date, closes: tuple[int, int], expected: list[tuple[int, int]]
):
    session = Session(on=on, opens_at=ist(on, 9, 15), closes_at=ist(on, *closes), kind=SPECIAL)
    found = due_slots(NONE, [session], ist(on, 0), ist(on, 23, 59))
    assert [slot.at for slot in found] == [ist(on, *at) for at in expected]
    assert [slot.reason for slot in found] == [Reason.SPECIAL, Reason.LATE_PASS][-len(expected) :]


def test_an_instant_with_two_reasons_is_due_once_for_the_first():
    table = Timetable((Schedule("0 16 * * *"), Schedule("15 23 * * *")))
    sunday = date(2026, 2, 1)
    session = Session(on=sunday, opens_at=ist(sunday, 9, 15), closes_at=ist(sunday, 15, 30), kind=SPECIAL)
    found = due_slots(table, [session], ist(sunday, 0), ist(sunday, 23, 59))
    assert [slot.reason for slot in found] == [Reason.REGULAR, Reason.REGULAR]


def test_the_latest_slot_is_found_however_long_ago_it_was():
    weekly = Timetable((Schedule("0 16 * * 5"),), late_pass=False)
    thursday = utc("2026-04-23 12:00")
    assert latest(weekly, [], thursday) == utc("2026-04-17 10:30")
    assert latest(Timetable((Schedule("0 16 1 1 *"),), late_pass=False), [], thursday) is None


FIELDS = st.tuples(
    st.sampled_from(["0", "30", "*/20", "5-10", "59"]),
    st.sampled_from(["0", "1", "2", "16", "*", "1-3", "*/6", "23"]),
    st.sampled_from(["*", "*", "1", "29", "31", "1-7", "l"]),
    st.sampled_from(["*", "*", "*", "3", "11", "2"]),
    st.sampled_from(["*", "*", "1-5", "sun", "6", "mon#2"]),
)
ZONES = st.sampled_from(["Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "Europe/London", "Pacific/Apia"])


@given(FIELDS, ZONES, st.datetimes(datetime(2025, 10, 1), datetime(2026, 12, 31), timezones=st.just(UTC)))
def test_the_latest_slot_is_the_last_of_all_slots(fields: tuple[str, ...], timezone: str, now: datetime):
    one = Schedule(" ".join(fields), timezone)
    try:
        check(one)
    except InvalidInput:
        reject()  # such as the 31st of February
    found = slots([one], now - timedelta(days=30), now)
    assert latest(Timetable((one,), late_pass=False), [], now) == (found[-1] if found else None)


@pytest.mark.parametrize("minute", range(0, 240, 10))
@pytest.mark.parametrize("cron", ["*/10 * * * *", "30 2 * * *", "30 1 * * *"])
@pytest.mark.parametrize("night", ["2026-03-08 05:00", "2026-11-01 04:00"])
def test_the_latest_slot_while_clocks_are_changed(night: str, cron: str, minute: int):
    now, one = utc(night) + timedelta(minutes=minute), Schedule(cron, "America/New_York")
    assert latest(Timetable((one,), late_pass=False), [], now) == slots([one], now - timedelta(days=3), now)[-1]


def test_upcoming_slots_go_on_from_month_to_month():
    monthly = Timetable((Schedule("0 16 1 * *"),), late_pass=False)
    found = [slot.at for slot in upcoming(monthly, lambda *_: [], utc("2026-01-15 00:00"))]
    assert found[:3] == [utc("2026-02-01 10:30"), utc("2026-03-01 10:30"), utc("2026-04-01 10:30")]
    assert len(found) == len(set(found)) == 48
    leap = Timetable((Schedule("0 16 29 2 *"),), late_pass=False)
    assert next(upcoming(leap, lambda *_: [], utc("2026-04-20 00:00"))).at == utc("2028-02-29 10:30")


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("0 16 * * 1-5", DEFAULT),
        (" 0  16 * *   1-5 ", DEFAULT),
        ("0 16 * * 1-5 Europe/London", Schedule("0 16 * * 1-5", "Europe/London")),
        ("30 9 * * mon UTC", Schedule("30 9 * * mon", "UTC")),
    ],
)
def test_a_schedule_is_written_as_cron_with_a_zone_behind_it(text: str, schedule: Schedule):
    assert read(text) == schedule
    assert read(in_words(schedule)) == schedule


@pytest.mark.parametrize(
    ("text", "said"), [("0 16 * * 1-5 *", "five fields"), ("0 16 * * 1-5 Mars/Base", "no time zone 'Mars/Base'")]
)
def test_what_is_written_wrong_is_refused_in_words(text: str, said: str):
    with pytest.raises(InvalidInput, match=said):
        read(text)


@pytest.mark.parametrize(
    "cron",
    ["", "16:00", "0 16 * *", "0 16 * * 1-5 *", "@daily", "61 16 * * *", "R 16 * * *", "H 16 * * *", "0 0 30 2 *"],
)
def test_a_schedule_that_cannot_run_is_refused(cron: str):
    with pytest.raises(InvalidInput, match="schedule"):
        parse([{"cron": cron, "timezone": "Asia/Kolkata"}])


@pytest.mark.parametrize("timezone", ["India", "", "../etc/passwd", "Asia/Calcuta"])
def test_an_unknown_time_zone_is_refused(timezone: str):
    with pytest.raises(InvalidInput, match="time zone"):
        parse([{"cron": "0 16 * * *", "timezone": timezone}])


@pytest.mark.parametrize("stored", [[{"cron": 5}], [{"crom": "0 16 * * *"}], ["0 16 * * *"]])
def test_what_is_no_schedule_is_refused(stored: list[object]):
    with pytest.raises(InvalidInput, match="cron expression"):
        parse(stored)  # type: ignore[arg-type]
