"""Connecting accounts and looking at them. A secret goes in unseen and never comes out."""

from pathlib import Path

import pytest

from portfolio_scheduler.simulator.faults import Fault
from tests.cli.conftest import DAY, Terminal


def test_an_account_is_connected_with_secrets_from_stdin(terminal: Terminal) -> None:
    answer = terminal.connect(1, "mine")
    assert answer.code == 0
    assert "Connected 'mine'" in answer.out
    assert terminal.sim.accounts[0].ucc in answer.out
    assert "portfolio-scheduler sync mine" in answer.out


def test_an_account_is_connected_with_secrets_from_a_file(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(f"\n{terminal.secrets(3)}\n")
    answer = terminal("accounts", "add", "--label", "family", "--login", "approval", "--secrets-file", str(file))
    assert answer.code == 0, answer.err
    assert terminal.rows("SELECT label, login FROM broker_accounts") == [("family", "approval")]


def test_a_file_with_too_few_lines_says_what_is_expected(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text("only-one\n")
    answer = terminal("accounts", "add", "--label", "x", "--secrets-file", str(file))
    assert answer.code == 2
    assert "TOTP secret" in answer.err
    assert "only-one" not in answer.err


@pytest.mark.parametrize(
    ("login", "typed"),
    [
        ("totp", "no-such-key\nJBSWY3DPEHPK3PXP\n"),
        ("totp", "no-such-key\nnot base32!\n"),
        ("approval", "no-such-key\nno-such-secret\n"),
        ("token", "no-such-token\n"),
    ],
)
def test_a_wrong_secret_exits_1_and_saves_nothing(terminal: Terminal, login: str, typed: str) -> None:
    answer = terminal("accounts", "add", "--label", "mine", "--login", login, "--stdin", typed=typed)
    assert answer.code == 1
    assert answer.err.count("\n") == 0
    for secret in typed.split("\n")[:-1]:
        assert secret not in answer.err + answer.out
    assert terminal.rows("SELECT count(*) FROM broker_accounts") == [(0,)]
    assert terminal.rows("SELECT count(*) FROM account_heads") == [(0,)]


def test_a_label_can_be_used_once(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    answer = terminal.connect(2, "mine")
    assert answer.code == 1
    assert "already an account labelled 'mine'" in answer.err


def test_a_broker_account_can_be_connected_once(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    answer = terminal.connect(1, "again")
    assert answer.code == 1
    assert "already connected under another label" in answer.err
    assert terminal.rows("SELECT label FROM broker_accounts") == [("mine",)]


def test_an_unknown_broker_is_named(terminal: Terminal) -> None:
    answer = terminal("accounts", "add", "--label", "x", "--broker", "zerodha", "--stdin", typed="a\nb\n")
    assert (answer.code, "zerodha" in answer.err, "groww" in answer.err) == (2, True, True)


def test_without_a_terminal_and_a_label_it_says_so(terminal: Terminal) -> None:
    answer = terminal("accounts", "add", "--stdin", typed=terminal.secrets(1))
    assert (answer.code, "--label" in answer.err) == (2, True)
    assert terminal.secrets(1).split("\n")[0] not in answer.err


def test_secrets_are_no_options(terminal: Terminal) -> None:
    answer = terminal("accounts", "add", "--label", "x", "--api-key", "k")
    assert answer.code == 2


def test_accounts_are_listed_and_shown(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    terminal.connect(2, "trader")
    assert "never" in terminal("accounts", "list").out
    terminal.at(DAY, 16)
    terminal("sync", "trader")
    listed = terminal("accounts", "list", "--json").json["accounts"]
    assert [one["account"] for one in listed] == ["mine", "trader"]
    assert listed[0]["last_batch"] is None
    assert listed[1]["last_batch"]["status"] == "completed"
    assert listed[1]["next_due_at"] == "2026-04-20T17:45:00Z"  # the late pass, 23:15 in India
    shown = terminal("accounts", "show", listed[1]["account_id"]).out
    assert "1 complete" in shown
    assert "completed" in shown
    document = terminal("accounts", "show", "trader", "--json").json
    assert [batch["status"] for batch in document["batches"]] == ["completed"]
    assert document["account"]["ucc"] == terminal.sim.accounts[1].ucc


def test_a_login_is_tried(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    terminal.connect(2, "trader")
    assert terminal("accounts", "test").code == 0
    terminal.sim.add_fault(Fault(kind="status", status=401, account=2, times=None))
    answer = terminal("accounts", "test")
    assert answer.code == 1
    assert "mine: works" in answer.out
    assert "trader: works" not in answer.out
    tried = terminal("accounts", "test", "--json").json["accounts"]
    assert [one["ok"] for one in tried] == [True, False]


def test_no_command_prints_a_secret(traded: Terminal) -> None:
    login = traded.sim.accounts[1]
    [(sealed,)] = traded.rows("SELECT encode(sealed_token, 'hex') FROM broker_accounts")
    for command in ("accounts list", "accounts show trader", "accounts test", "status", "summary", "sync"):
        for form in (command, f"{command} --json"):
            answer = traded(*form.split())
            for secret in filter(None, (login.api_key, login.totp_secret, login.secret, sealed)):
                assert secret not in answer.out + answer.err, form
            assert "sealed" not in answer.out
