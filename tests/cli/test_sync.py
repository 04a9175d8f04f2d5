"""`sync`: one line an account, exit codes, and two at once."""

import asyncio
from datetime import date
from uuid import UUID

from portfolio_scheduler.db import batches
from portfolio_scheduler.db.pool import make_pool, opened, transaction
from portfolio_scheduler.simulator.faults import Fault
from tests.cli.conftest import DAY, NEXT_DAY, Terminal


def start_elsewhere(terminal: Terminal) -> UUID:
    """Another process has begun to sync the account."""
    [(account_id,)] = terminal.rows("SELECT id FROM broker_accounts")

    async def start() -> UUID:
        async with opened(make_pool(terminal.database.worker, "worker", max_size=1)) as pool, transaction(pool) as tx:
            now = terminal.clock.now()
            return (await batches.start(tx, account_id, trigger="manual", now=now, worker="elsewhere:1")).id

    return asyncio.run(start())


def test_all_accounts_are_synced_a_line_each(terminal: Terminal) -> None:
    for number in (1, 2, 3):
        terminal.connect(number)
    terminal.at(DAY, 16)
    answer = terminal("sync", "--all")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["account 1", "account 2", "account 3"]
    assert all("completed; 20 Apr 2026, final" in line for line in lines)
    assert "1 snapshot" in lines[0]


def test_a_second_sync_says_that_nothing_is_new(traded: Terminal) -> None:
    assert traded("sync").out == "trader: completed; 21 Apr 2026, final; nothing new\n"


def test_only_the_named_accounts_are_synced(terminal: Terminal) -> None:
    for number in (1, 2):
        terminal.connect(number)
    terminal.at(DAY, 16)
    synced = terminal("sync", "account 2", "account 2", "--json").json["syncs"]
    assert [(one["account"], one["status"]) for one in synced] == [("account 2", "completed")]


def test_one_that_fails_makes_exit_1_and_keeps_no_other_back(terminal: Terminal) -> None:
    for number in (1, 2):
        terminal.connect(number)
    terminal.at(DAY, 16)
    terminal.sim.add_fault(Fault(kind="status", status=401, account=1, times=None))
    answer = terminal("sync")
    assert answer.code == 1
    assert "account 1: failed" in answer.out
    assert "account 2: completed" in answer.out
    assert "Traceback" not in answer.out + answer.err


def test_of_two_at_once_one_runs_and_the_other_names_it(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    batch_id = start_elsewhere(terminal)
    answer = terminal("sync")
    assert answer.code == 0
    assert answer.out.startswith("trader: running")
    assert str(batch_id) in answer.out
    [one] = terminal("sync", "--json").json["syncs"]
    assert (one["status"], one["batch_id"]) == ("running", str(batch_id))
    assert "running" in terminal("status").out
    assert terminal.rows("SELECT status FROM sync_batches") == [("running",)]


def test_a_part_that_failed_is_said_and_fetched_again_alone(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    terminal.sim.add_fault(Fault(kind="raw", path="/v1/holdings", body="not json", times=None))
    answer = terminal("sync")
    assert answer.code == 1
    assert "trader: partial" in answer.out
    assert "holdings" in answer.out
    assert "holdings:" in terminal("status").out
    assert "provisional" in terminal("summary").out

    terminal.sim.faults.waiting.clear()
    terminal.sim.requests.clear()
    answer = terminal("sync", "--retry")
    assert answer.code == 0, answer.out
    asked = {request.path for request in terminal.sim.requests}
    assert "/v1/holdings/user" in asked
    assert not any("order/list" in path or "positions" in path for path in asked)
    assert terminal.rows("SELECT trigger, wanted FROM sync_batches ORDER BY id DESC LIMIT 1") == [
        ("retry", ["holdings"])
    ]
    assert "final" in terminal("summary").out
    assert "nothing missing" in terminal("sync", "--retry").out


def test_what_is_suspect_is_a_finding_until_it_is_cleared(traded: Terminal) -> None:
    traded.at(date(2026, 4, 22), 16)
    nothing = '{"status": "SUCCESS", "payload": {"holdings": []}}'
    traded.sim.add_fault(Fault(kind="raw", path="/v1/holdings", body=nothing, times=None))
    answer = traded("sync")
    assert answer.code == 1
    assert "holdings" in answer.out
    findings = traded("status", "--json").json["findings"]
    assert [(one["kind"], one["section"]) for one in findings] == [("SUSPECT", "holdings")]
    printed = traded("status").out
    assert "Open findings" in printed
    assert "SUSPECT" in printed
    assert len(traded("holdings", "--json").json["holdings"]) > 40  # absence is not deletion
    assert "Provisional: not read well: holdings" in traded("summary").out
    traded.sim.faults.waiting.clear()
    assert traded("sync", "--retry").code == 0
    assert traded("status", "--json").json["findings"] == []


def test_a_retry_on_a_day_not_read_yet_reads_everything(traded: Terminal) -> None:
    traded.at(NEXT_DAY.replace(day=22), 16)
    [one] = traded("sync", "--retry", "--json").json["syncs"]
    assert (one["status"], one["trading_on"]) == ("completed", "2026-04-22")
    assert {"holdings", "margin", "orders:CASH"} <= one["sections"].keys()


def test_a_sync_that_failed_wholly_is_retried_wholly(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    terminal.sim.add_fault(Fault(kind="status", status=401, times=None))
    assert terminal("sync").code == 1
    assert "you must act" in terminal("status").out
    terminal.sim.faults.waiting.clear()
    assert "completed" in terminal("sync", "--retry").out
    assert "you must act" not in terminal("status").out


def test_names_and_all_contradict_each_other(terminal: Terminal) -> None:
    terminal.connect(1)
    assert terminal("sync", "account 1", "--all").code == 2
