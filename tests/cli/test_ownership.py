"""Pausing, resuming and removing accounts, and new secrets for them."""

import os
import pty
import subprocess
import sys

import psycopg
import pytest

from portfolio_scheduler.clock import ist
from portfolio_scheduler.simulator.faults import Fault
from tests.cli.conftest import DAY, NEXT_DAY, Terminal
from tests.cli.test_processes import begin, environment, until

CONFIG = "SELECT subject FROM ledger_events WHERE kind = 'CONFIG' ORDER BY seq"
SECRETS = "SELECT state, sealed_credentials, sealed_token, token_expires_at FROM broker_accounts"


def facts(terminal: Terminal) -> list[tuple[object, ...]]:
    return terminal.rows("SELECT account_id, seq FROM account_heads ORDER BY 1")


# ── pause and resume ──


def test_a_paused_account_is_read_only_when_named(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    assert terminal("accounts", "pause", "mine").out.startswith("mine: paused")
    assert terminal("accounts", "pause", "mine").out == "mine: is paused.\n"
    terminal.at(DAY, 16)
    assert terminal("sync").err.startswith("All accounts are paused.")
    assert terminal("sync", "mine").out.startswith("mine: completed")
    [shown] = terminal("accounts", "list", "--json").json["accounts"]
    assert (shown["state"], shown["next_due_at"]) == ("paused", None)
    assert terminal("accounts", "resume", "mine").out == "mine: resumed.\n"
    assert terminal("accounts", "resume", "mine").out == "mine: is not paused.\n"
    assert terminal.rows(CONFIG) == [("paused",), ("resumed",)]
    assert terminal("status", "--json").json["findings"] == []


# ── remove ──


def test_a_removed_account_keeps_its_history_and_no_secret(traded: Terminal) -> None:
    [(account_id,)] = traded.rows("SELECT id::text FROM broker_accounts")
    before = traded("orders", account_id, "--all", "--json").json
    answer = traded("accounts", "remove", "trader", "--yes")
    assert answer.code == 0
    assert f"accounts show {account_id}" in answer.out
    assert traded.rows(SECRETS) == [("closed", None, None, None)]
    assert traded.rows(CONFIG) == [("closed",)]
    for command in ("orders", "holdings", "positions", "snapshots", "summary", "fills", "coverage", "status"):
        assert traded(command, account_id, "--json").code == 0, command
    assert traded("orders", account_id, "--all", "--json").json == before
    assert traded("accounts", "show", account_id, "--json").json["account"]["state"] == "closed"
    for command in (["sync"], ["accounts", "pause"], ["accounts", "login"], ["accounts", "remove", "--yes"]):
        refused = traded(*command, account_id)
        assert refused.code == 1, command
        assert "has been removed" in refused.out + refused.err
    assert traded.rows("SELECT count(*) FROM sync_batches WHERE status <> 'completed'") == [(0,)]


def test_a_removed_account_s_label_and_broker_account_are_free_again(traded: Terminal) -> None:
    """Connected again it is a new account: its history begins anew, the old one's stays its own."""
    again = traded.connect(2, "another label")
    assert again.code == 1
    assert "already connected" in again.err
    [(account_id,)] = traded.rows("SELECT id::text FROM broker_accounts")
    seq = facts(traded)
    traded("accounts", "remove", "trader", "--yes")
    assert traded.connect(2, "trader").code == 0
    traded.at(NEXT_DAY, 17)
    assert traded("sync", "trader").out.startswith("trader: completed")
    assert traded("accounts", "show", "trader", "--json").json["account"]["account_id"] != account_id
    [(_, after)] = [row for row in facts(traded) if str(row[0]) == account_id]
    assert after == seq[0][1] + 1, "the CONFIG fact and nothing else"


def test_without_a_terminal_removing_wants_yes(traded: Terminal) -> None:
    answer = traded("accounts", "remove", "trader")
    assert answer.code == 2
    assert "--yes" in answer.err
    assert traded.rows("SELECT state FROM broker_accounts") == [("active",)]


@pytest.mark.parametrize(("word", "state"), [("n", "active"), ("y", "closed")])
def test_at_a_terminal_removing_asks(traded: Terminal, word: str, state: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "portfolio_scheduler", "accounts", "remove", "trader"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(traded),
        start_new_session=True,
    )
    os.close(theirs)
    screen = ""
    while "[y/N]" not in screen:
        screen += os.read(ours, 1024).decode()
    os.write(ours, f"{word}\n".encode())
    code = process.wait(30)
    os.close(ours)
    assert traded.rows("SELECT state FROM broker_accounts") == [(state,)]
    assert code == (0 if state == "closed" else 1)


def test_a_sync_that_runs_while_its_account_is_removed_writes_nothing_more(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    slow = Fault(kind="delay", path="/v1/holdings", seconds=60)
    terminal.sim.add_fault(slow)
    process = begin(terminal, "sync", "trader")
    until(terminal, "SELECT status FROM sync_batches", [("running",)])
    answer = terminal("accounts", "remove", "trader", "--yes")
    assert answer.code == 0
    assert "has been ended" in answer.out
    after = facts(terminal)
    slow.seconds = 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the account was removed meanwhile" in out
    assert "Traceback" not in err
    assert facts(terminal) == after
    assert terminal.rows("SELECT status, error_class FROM sync_batches") == [("failed", "AccountClosed")]
    assert terminal.rows("SELECT count(*) FROM current_orders") == [(0,)]
    assert terminal.rows(SECRETS) == [("closed", None, None, None)], "no token comes back either"


# ── new secrets ──


def new_login(terminal: Terminal, account: str, typed: str, *options: str) -> tuple[int, str]:
    answer = terminal("accounts", "login", account, "--stdin", *options, typed=typed)
    return answer.code, answer.out + answer.err


def test_new_secrets_are_tried_and_saved(traded: Terminal) -> None:
    [(before,)] = traded.rows("SELECT sealed_credentials FROM broker_accounts")
    code, said = new_login(traded, "trader", traded.secrets(2))
    assert code == 0, said
    assert said.startswith("trader: the new login (totp) works and is saved, valid until ")
    [(after,)] = traded.rows("SELECT sealed_credentials FROM broker_accounts")
    assert after != before
    assert traded.rows(CONFIG) == [("login",)]
    assert traded("accounts", "test", "trader").code == 0


def test_credentials_have_a_number_a_fingerprint_and_a_date(traded: Terminal) -> None:
    marks = "SELECT credentials_number, credentials_fingerprint, credentials_at FROM broker_accounts"
    [(number, first, since)] = traded.rows(marks)
    assert (number, since) == (1, ist(DAY, 9))
    traded.at(NEXT_DAY, 17)
    new_login(traded, "trader", traded.secrets(2))
    assert traded.rows(marks) == [(2, first, ist(NEXT_DAY, 17))], "the same credentials once more"
    new_login(traded, "trader", traded.sim.token(2) + "\n", "--login", "token")
    [(number, second, _)] = traded.rows(marks)
    assert number == 3
    assert second != first
    shown = traded("accounts", "show", "trader", "--json").json["account"]
    assert shown["credentials_fingerprint"] == second
    assert f"{second}, since 21 Apr 2026 17:00" in traded("accounts", "show", "trader").out
    traded("accounts", "remove", "trader", "--yes")
    assert traded.rows(marks) == [(3, None, None)]


def test_older_credentials_put_back_are_refused(traded: Terminal) -> None:
    [(before,)] = traded.rows("SELECT sealed_credentials FROM broker_accounts")
    new_login(traded, "trader", traded.secrets(2))
    with psycopg.connect(traded.database.superuser) as connection:
        connection.execute("UPDATE broker_accounts SET sealed_credentials = %s", [before])
    refused = traded("accounts", "test", "trader")
    assert (refused.code, "somebody put an older one back" in refused.err) == (2, True)


def test_another_kind_of_login_replaces_the_old_one(traded: Terminal) -> None:
    code, said = new_login(traded, "trader", traded.sim.token(2) + "\n", "--login", "token")
    assert code == 0, said
    assert traded.rows("SELECT login FROM broker_accounts") == [("token",)]
    assert traded("sync", "trader").code == 0


@pytest.mark.parametrize("number", [1, None])
def test_secrets_of_another_account_or_of_nobody_change_nothing(traded: Terminal, number: int | None) -> None:
    before = traded.rows("SELECT * FROM broker_accounts"), facts(traded)
    code, said = new_login(traded, "trader", traded.secrets(number) if number else "no-such-key\nJBSWY3DPEHPK3PXP\n")
    assert code == 1
    assert ("belong to the broker account" in said) == (number is not None)
    assert (traded.rows("SELECT * FROM broker_accounts"), facts(traded)) == before


def test_new_secrets_end_the_wait_for_the_owner(traded: Terminal) -> None:
    traded.sim.add_fault(Fault(kind="failure", path="/v1/token", status=403, code="403", times=None))
    traded.at(NEXT_DAY, 23, 50)
    with_no_token = "UPDATE broker_accounts SET sealed_token = NULL RETURNING 1"
    import psycopg

    with psycopg.connect(traded.database.superuser) as connection:
        connection.execute(with_no_token)
    assert traded("sync", "trader").code == 1
    assert traded.rows("SELECT state FROM broker_accounts") == [("needs_login",)]
    traded.sim.faults.waiting.clear()
    assert new_login(traded, "trader", traded.secrets(2))[0] == 0
    assert traded.rows("SELECT state FROM broker_accounts") == [("active",)]
