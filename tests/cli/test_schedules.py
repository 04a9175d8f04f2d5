"""`schedules`: what they take, print and refuse."""

from datetime import date

import pytest

from tests.cli.conftest import DAY, Terminal

CONFIG = "SELECT details FROM ledger_events WHERE kind = 'CONFIG' AND subject = 'schedules' ORDER BY seq"


@pytest.fixture
def mine(terminal: Terminal) -> Terminal:
    terminal.connect(1, "mine")
    return terminal


def runs(terminal: Terminal, *options: str) -> list[tuple[str, str, str, str]]:
    listed = terminal("schedules", "preview", "mine", *options, "--json").json["runs"]
    return [(run["at"], run["reason"], run["trading_on"], run["standing"]) for run in listed]


def planned_at(terminal: Terminal, on: date, hour: int, minute: int = 0) -> None:
    """It is then, and the planner has just run."""
    terminal.at(on, hour, minute)
    terminal.rows("UPDATE broker_accounts SET planned_through = %s RETURNING 1", [terminal.clock.now()])


def test_the_next_ten_runs_have_their_reasons(mine: Terminal) -> None:
    found = runs(mine)
    assert len(found) == 10
    assert found[:3] == [
        ("2026-04-20T10:30:00Z", "regular", "2026-04-20", "final"),
        ("2026-04-20T17:45:00Z", "late pass", "2026-04-20", "final"),
        ("2026-04-21T10:30:00Z", "regular", "2026-04-21", "final"),
    ]
    assert len(runs(mine, "--count", "3")) == 3
    shown = mine("schedules", "preview", "mine").out
    assert "20 Apr 2026 16:00   regular     20 Apr 2026   final" in shown


def test_a_weekend_reads_fridays_day_and_says_that_the_exchange_is_closed(mine: Terminal) -> None:
    planned_at(mine, date(2026, 4, 24), 23, 30)
    [saturday] = mine("schedules", "preview", "mine", "--count", "1", "--json").json["runs"]
    assert (saturday["reason"], saturday["trading_on"], saturday["standing"]) == ("late pass", "2026-04-24", "late")
    assert saturday["note"] == "the exchange is closed"


def test_special_sessions_and_unknown_days_say_so(mine: Terminal) -> None:
    planned_at(mine, date(2026, 11, 8), 9)
    first = mine("schedules", "preview", "mine", "--json").json["runs"][0]
    assert (first["at"], first["reason"], first["trading_on"]) == (
        "2026-11-08T14:00:00Z",
        "special session",
        "2026-11-08",
    )
    assert "muhurat" in first["note"]
    mine.at(date(2027, 1, 4), 9)
    listed = mine("schedules", "preview", "mine", "--json").json["runs"]
    monday = next(run for run in listed if run["trading_on"] == "2027-01-04")
    assert monday["note"] == "not known whether the exchange is open"


def test_what_was_slept_through_is_caught_up_with_first(mine: Terminal) -> None:
    mine.at(DAY, 16, 5)
    assert runs(mine)[0] == ("2026-04-20T10:30:00Z", "regular", "2026-04-20", "final")
    mine.at(DAY, 18)
    assert runs(mine)[:2] == [
        ("2026-04-20T12:30:00Z", "catch-up", "2026-04-20", "final"),
        ("2026-04-20T17:45:00Z", "late pass", "2026-04-20", "final"),
    ]


def test_schedules_are_set_and_written_down_as_what_the_owner_did(mine: Terminal) -> None:
    answer = mine("schedules", "set", "mine", "5 16 * * *", "30 11 * * 1-5 Europe/London", "--no-late-pass")
    assert answer.out == (
        "mine: 5 16 * * * Asia/Kolkata; 30 11 * * 1-5 Europe/London, without the late pass.\n"
        "Next: 20 Apr 2026 16:00 (regular).\n"
    )
    assert [at for at, *_ in runs(mine)[:3]] == ["2026-04-20T10:30:00Z", "2026-04-20T10:35:00Z", "2026-04-21T10:30:00Z"]
    [shown] = mine("schedules", "show", "--json").json["accounts"]
    assert (len(shown["schedules"]), shown["late_pass"], shown["late_pass_at"]) == (2, False, None)
    assert mine.rows(CONFIG) == [
        (
            {
                "schedules": "5 16 * * * Asia/Kolkata; 30 11 * * 1-5 Europe/London",
                "late_pass": "off",
                "schedules_before": "0 16 * * 1-5 Asia/Kolkata",
                "late_pass_before": "on",
            },
        )
    ]
    assert mine("schedules", "set", "mine", "--no-late-pass").out.startswith("mine: as it was: ")
    mine("schedules", "set", "mine", "--late-pass")
    assert mine("schedules", "set", "mine", "--default").out.startswith(
        "mine: 0 16 * * 1-5 Asia/Kolkata, with the late pass."
    )
    assert len(mine.rows(CONFIG)) == 3
    assert mine("checks").code == 0


def test_one_account_s_schedules_are_no_other_s(mine: Terminal) -> None:
    mine.connect(2, "other")
    mine("schedules", "set", "mine", "0 18 * * *")
    shown = mine("schedules", "show").out
    assert "0 18 * * * Asia/Kolkata" in shown
    assert "0 16 * * 1-5 Asia/Kolkata" in shown
    assert "23:15 IST" in shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["whenever"], "is not a cron expression of five fields"),
        (["0 16 * * 1-5 Mars/Base"], "no time zone 'Mars/Base'"),
        (["0 25 * * *"], "cannot be run"),
        (["0 0 30 2 *"], "cannot be run"),
        (["* * * * *"], "1440 times a day; at most 96"),
        (["0 16 * * *", "--default"], "not both"),
        ([], "Say what to set"),
        ([f"{n} 16 * * *" for n in range(21)], "21 schedules are too many"),
    ],
)
def test_what_cannot_be_set_is_refused_and_changes_nothing(mine: Terminal, given: list[str], said: str) -> None:
    answer = mine("schedules", "set", "mine", *given)
    assert answer.code == 2, answer
    assert said in answer.err
    assert mine.rows(CONFIG) == []
    assert mine.rows("SELECT schedules, late_pass FROM broker_accounts") == [
        ([{"cron": "0 16 * * 1-5", "timezone": "Asia/Kolkata"}], True)
    ]


def test_no_run_between_the_close_and_midnight_is_warned_of(mine: Terminal) -> None:
    answer = mine("schedules", "set", "mine", "0 10 * * 1-5", "--no-late-pass")
    assert answer.code == 0
    assert "no run falls between the close and midnight of 20 Apr 2026" in answer.err
    assert mine("schedules", "preview", "mine", "--json").json["unread_close_on"] == "2026-04-20"
    assert mine("schedules", "set", "mine", "--late-pass").err == ""


def test_an_account_that_is_paused_says_so_and_a_removed_one_is_refused(mine: Terminal) -> None:
    mine("accounts", "pause", "mine")
    assert "is paused" in mine("schedules", "preview", "mine").err
    assert mine("schedules", "show", "--json").json["accounts"][0]["next_due_at"] is None
    mine("accounts", "remove", "mine", "--yes")
    for command in (["preview"], ["set", "--default"]):
        refused = mine("schedules", command[0], "mine", *command[1:])
        assert refused.code == 1
        assert "has been removed" in refused.err


def test_a_schedule_that_cannot_be_read_is_shown_with_the_default_in_its_place(mine: Terminal) -> None:
    mine.rows('UPDATE broker_accounts SET schedules = \'[{"cron": "whenever"}]\' RETURNING 1')
    assert "the default holds instead" in mine("schedules", "show").err
    assert runs(mine)[0][0] == "2026-04-20T10:30:00Z"


def test_without_accounts_it_says_how_to_begin(terminal: Terminal) -> None:
    assert terminal("schedules", "show").out.startswith("No accounts yet.")
