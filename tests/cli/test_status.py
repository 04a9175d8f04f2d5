"""`status`: what was expected and what was done, what is due, and what is at risk tonight."""

import dataclasses

from portfolio_scheduler.clock import ist
from tests.cli.conftest import DAY, NEXT_DAY, Terminal


def standing(terminal: Terminal) -> dict[str, object]:
    [one] = terminal("status", "--json").json["accounts"]
    return dict(one)


def instant(hour: int, minute: int = 0) -> str:
    return ist(DAY, hour, minute).isoformat().replace("+00:00", "Z")


def test_expected_done_and_due_are_told_apart(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    terminal.at(DAY, 16)
    terminal("sync")
    terminal.at(DAY, 18)
    one = standing(terminal)
    assert (one["last_expected_at"], one["next_due_at"]) == (instant(16), instant(23, 15))
    assert one["next_due_reason"] == "late pass"
    assert one["last_done_at"] == instant(16)
    assert one["login_is_valid"] is True


def test_the_morning_s_run_is_told_with_its_reason(terminal: Terminal) -> None:
    terminal.connect(2, "mine")
    terminal.at(DAY, 10)
    terminal("sync")
    terminal.at(DAY, 23, 30)
    assert standing(terminal)["next_due_reason"] == "unfinished orders"
    assert "08:15 for unfinished orders." in terminal("status").out
    assert "08:15 (unfinished orders)" in terminal("accounts", "show", "mine").out


def test_a_run_that_nobody_began_is_at_risk(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    terminal.at(DAY, 17)
    assert "The run of 16:00 has not begun: is `serve` or `worker` running?" in terminal("status").out
    assert standing(terminal)["last_done_at"] is None


def test_an_approval_that_is_missing_is_said_with_its_link(terminal: Terminal) -> None:
    terminal.connect(3, "saver")
    terminal.sim.world.quirks = dataclasses.replace(terminal.sim.world.quirks, auto_approve=False)
    assert standing(terminal)["risks"] == [], "its token lives until six in the morning"
    terminal.at(NEXT_DAY, 12)
    assert "Needs approval before 16:00: https://groww.in/trade-api/api-keys" in terminal("status").out


def test_a_totp_login_is_no_risk_until_it_is_refused(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    terminal.at(NEXT_DAY, 12)
    assert not [risk for risk in standing(terminal)["risks"] if "login" in risk]  # type: ignore[attr-defined]
    terminal.rows("UPDATE broker_accounts SET state = 'needs_login' RETURNING 1")
    assert "so the run of 16:00 will fail" in terminal("status").out


def test_a_paused_account_says_what_that_costs(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    terminal("accounts", "pause", "mine")
    assert standing(terminal)["risks"] == [
        "It is paused: nothing is read, and every trading day until it is resumed is lost."
    ]


def test_what_was_noticed_is_shown_until_it_is_settled(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    terminal.at(DAY, 16)
    terminal.rows(
        """INSERT INTO notices (account_id, kind, noticed_on, noticed_at, text, link)
           SELECT id, 'sync_failed', %s, %s, 'mine: no answer', 'https://example.com/' FROM broker_accounts
           RETURNING 1""",
        (DAY, ist(DAY, 15)),
    )
    assert "Noticed 20 Apr 2026 15:00: mine: no answer https://example.com/" in terminal("status").out
    assert terminal("status", "--json").json["notices"][0]["kind"] == "sync_failed"
    terminal("sync")
    assert terminal("status", "--json").json["notices"] == []
