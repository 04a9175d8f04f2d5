"""`market-days`, and where the calendar's end is told: status, checks, the log."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Terminal

TODAY = date(2026, 12, 1)
HOLIDAYS = (
    '"SR. NO","DATE","DAY","DESCRIPTION"\n'
    '"1","26-Jan-2027","Tuesday","Republic Day"\n'
    '"2","26-Mar-2027","Friday","Good Friday"\n'
)
REPUBLIC_DAY = ("2027-01-26", "--closed", "--note", "Republic Day", "--source", "circular 1/2026")


def listed(terminal: Terminal, *options: str) -> dict[str, Any]:
    found = terminal("market-days", "list", *options, "--json").json
    return found | {"days": {day["day_on"]: day for day in found["days"]}}


def test_shipped_days_are_listed_with_what_they_are(terminal: Terminal) -> None:
    found = listed(terminal, "--from", "2026-11-01", "--to", "2026-11-30")
    assert found["known_until"] == "2026-12-31"
    assert {on: (day["kind"], day["known"], day["entered"]) for on, day in found["days"].items()} == {
        "2026-11-08": ("special", False, False),
        "2026-11-10": ("closed", True, False),
        "2026-11-24": ("closed", True, False),
    }
    shown = terminal("market-days", "list", "--from", "2026-11-01", "--to", "2026-11-30").out
    assert "special, not known for sure   18:00–19:00   shipped" in shown


def test_a_day_is_entered_corrected_and_withdrawn_and_every_entry_is_kept(terminal: Terminal) -> None:
    terminal.at(TODAY, 9)
    window = ("--from", "2027-01-20", "--to", "2027-01-29")
    assert terminal("market-days", "add", *REPUBLIC_DAY).out == "1 entries: 1 new, 0 changed, 0 known.\n"
    assert terminal("market-days", "add", *REPUBLIC_DAY).out == "1 entries: 0 new, 0 changed, 1 known.\n"
    day = listed(terminal, *window)["days"]["2027-01-26"]
    assert (day["kind"], day["note"], day["entered"], day["known"]) == ("closed", "Republic Day", True, True)
    evening = ("2027-01-26", "--opens", "18:15", "--closes", "19:15", "--source", "circular 2/2026")
    assert "0 new, 1 changed" in terminal("market-days", "add", *evening).out
    day = listed(terminal, *window)["days"]["2027-01-26"]
    assert (day["kind"], day["opens_at"]) == ("special", "2027-01-26T12:45:00Z")
    assert terminal("market-days", "remove", "2027-01-26", "--source", "mistaken").code == 0
    assert listed(terminal, *window)["days"] == {}
    assert terminal("market-days", "remove", "2027-01-26", "--source", "mistaken").code == 2
    entries = terminal("market-days", "list", "--history", "--json").json["entries"]
    assert [(one["day"]["kind"], one["day"]["source"], one["counts"]) for one in entries] == [
        ("withdrawn", "mistaken", True),
        ("special", "circular 2/2026", False),
        ("closed", "circular 1/2026", False),
    ]
    assert "withdrawn" in terminal("market-days", "list", "--history").out


def test_the_exchanges_list_is_imported_and_the_calendar_reaches_as_far_as_it(terminal: Terminal, folder: Path) -> None:
    terminal.at(TODAY, 9)
    path = folder / "holidays.csv"
    path.write_text(HOLIDAYS)
    given = ("market-days", "import", str(path), "--source", "NSE circular 99/2026")
    first = terminal(*given)
    assert first.out == "2 entries: 2 new, 0 changed, 0 known.\n"
    assert "known until 2026-12-31 only" in first.err
    second = terminal(*given, "--known-until", "2027-12-31")
    assert (second.out, second.err) == ("3 entries: 1 new, 0 changed, 2 known.\n", "")
    found = listed(terminal)
    assert (found["known_until"], found["warnings"]) == ("2027-12-31", [])
    assert found["days"]["2027-03-26"]["note"] == "Good Friday"
    assert terminal("market-days", "known-until", "2027-06-30", "--source", "only half of it").code == 0
    assert listed(terminal)["known_until"] == "2027-06-30"


def test_a_file_with_hours_brings_sessions(terminal: Terminal, folder: Path) -> None:
    terminal.at(TODAY, 9)
    path = folder / "days.csv"
    path.write_text("date,opens,closes,note,source\n2027-01-30,09:15,15:30,Budget on a Saturday,circular 3\n")
    assert terminal("market-days", "import", str(path), "--source", "mine", "--json").json["new"] == 1
    day = listed(terminal)["days"]["2027-01-30"]
    assert (day["kind"], day["opens_at"]) == ("special", "2027-01-30T03:45:00Z")
    [entry] = terminal("market-days", "list", "--history", "--json").json["entries"]
    assert entry["day"]["source"] == "circular 3"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("date,opens\n2027-01-26,09:15\n", "line 2: The session of 2027-01-26 needs"),
        ("date,opens,closes\n2027-01-26,15:30,09:15\n", "line 2: The market day 2027-01-26"),
        ("date\n2027-02-30\n", "line 2: '2027-02-30' is no date"),
        ("date\n2027-01-26\n\n2072-01-26\n", "2072-01-26 is no day from"),
        ("date,opens,closes\n2027-01-26,9am,5pm\n", "line 2: '9am' is no time"),
        ("date,exchange\n2027-01-26,n/s/e\n", "is no exchange"),
        ("date,note\n2027-01-26,a\x07b\n", "one line of at most 200"),
        ("date,note\n2027-01-26,a,b\n", "has 3 fields instead of 2"),
        ("day\n2027-01-26\n", "must name the columns"),
        ("date\n", "names no day"),
        ("", "must name the columns"),
    ],
)
def test_a_bad_file_is_refused_whole(terminal: Terminal, folder: Path, lines: str, said: str) -> None:
    terminal.at(TODAY, 9)
    path = folder / "days.csv"
    path.write_text(lines)
    answer = terminal("market-days", "import", str(path), "--source", "mine")
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert terminal.rows("SELECT count(*) FROM market_days") == [(0,)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("2027-01-26", "--closed", "--opens", "09:15", "--source", "x"), "Say either --closed"),
        (("2027-01-26", "--source", "x"), "Say either --closed"),
        (("2027-01-26", "--opens", "09:15", "--source", "x"), "needs the time it opens and"),
        (("2027-01-26", "--closed", "--source", " "), "Who says so?"),
        (("2019-01-26", "--closed", "--source", "x"), "is the year right?"),
    ],
)
def test_a_day_that_makes_no_sense_is_refused(terminal: Terminal, options: tuple[str, ...], said: str) -> None:
    terminal.at(TODAY, 9)
    answer = terminal("market-days", "add", *options)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


def test_an_entry_about_a_day_that_is_over_says_what_it_does_not_change(terminal: Terminal) -> None:
    answer = terminal("market-days", "add", "2026-04-17", "--closed", "--source", "x")
    assert "Already over: 2026-04-17." in answer.err


@pytest.mark.parametrize(("today", "warned"), [(date(2026, 11, 30), False), (TODAY, True), (date(2027, 2, 1), True)])
def test_a_month_before_the_calendar_ends_status_and_checks_say_what_to_do(
    terminal: Terminal, today: date, warned: bool
) -> None:
    terminal.connect(1, "mine")
    terminal.at(today, 9)
    for out in (terminal("status").out, terminal("status", "--json").out, terminal("checks").out):
        assert ("market-days import FILE" in out) == warned
    assert terminal("checks").code == warned


def test_hours_that_nobody_knows_are_asked_for(terminal: Terminal) -> None:
    terminal.at(date(2026, 11, 1), 9)
    assert "market-days add 2026-11-08 --opens HH:MM" in terminal("status").out
    terminal("market-days", "add", "2026-11-08", "--opens", "18:00", "--closes", "19:00", "--source", "circular")
    assert "market-days" not in terminal("status").out
