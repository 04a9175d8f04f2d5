"""A reading that says the same as the one before is recognised by its bytes, and only then when nothing hangs on it."""

from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from msgspec import Raw

from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import counted_statements
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.replay import replay
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger, facts_of

OF_THE_DAY = "SELECT status, standing, sections, counts, flags, margin FROM sync_batches ORDER BY fence"
RECOGNISED = 25  # statements at most; a reading that is compared takes more


async def read_at(stage: Stage, account: Account, hour: int, minute: int = 0) -> int:
    """How many statements the reading took."""
    stage.at(FIRST_DAY, hour, minute)
    with counted_statements() as statements:
        assert (await stage.sync(account)).status == "completed"
    return len(statements)


@pytest.fixture
async def account(stage: Stage) -> Account:
    """Read well once, after the close."""
    stage.at(FIRST_DAY, 10)
    connected = await stage.connect()
    await read_at(stage, connected, 16)
    return connected


async def test_the_late_pass_of_a_quiet_evening_writes_no_fact_and_reads_no_state(stage: Stage, account: Account):
    facts = await facts_of(stage, account.id)
    stage.sim.requests.clear()
    assert await read_at(stage, account, 23, 15) <= RECOGNISED
    assert await facts_of(stage, account.id) == facts
    assert not [path for path in stage.sim.requests_by_path() if "ltp" in path or "trades" in path]
    first, late = await stage.rows(OF_THE_DAY)
    assert late[3] == {}
    assert (late[0], late[1], late[2], late[4], late[5]) == (first[0], first[1], first[2], first[4], first[5])
    await check_ledger(stage, account.id)


async def test_what_differs_in_one_byte_is_compared(stage: Stage, account: Account):
    stage.sim.add_fault(Fault(kind="edit", path="/v1/margins", values={"clear_cash": Raw(b"1")}))
    assert await read_at(stage, account, 23, 15) > RECOGNISED
    await check_ledger(stage, account.id)


async def test_the_same_before_and_after_the_close_is_no_repetition(stage: Stage):
    stage.at(FIRST_DAY, 15, 20)
    account = await stage.connect()
    assert (await stage.sync(account)).standing == "provisional"
    assert await read_at(stage, account, 16) > RECOGNISED
    assert await stage.one("SELECT count(*) FROM portfolio_snapshots") == 1


async def test_the_same_on_the_next_day_is_no_repetition(stage: Stage, account: Account):
    stage.at(FIRST_DAY + timedelta(days=1), 16)
    assert (await stage.sync(account)).trading_on == FIRST_DAY + timedelta(days=1)
    assert await stage.one("SELECT count(*) FROM portfolio_snapshots") == 2


async def test_a_replay_in_between_makes_the_next_reading_compare(stage: Stage, account: Account):
    await replay(stage.app, account.id, since_on=date.min)
    assert await read_at(stage, account, 23, 15) > RECOGNISED


CHANGED_SINCE: dict[str, tuple[str, Any]] = {
    "an order is missing": (
        "INSERT INTO open_findings VALUES (%s, 'MISSING', 'orders:CASH', 'GMK1', 1, '2026-04-20', now(), '{}')",
        None,
    ),
    "a holding is suspect": (
        "INSERT INTO open_findings VALUES (%s, 'SUSPECT', 'holdings', 'INE009A01021', 1, '2026-04-20', now(), '{}')",
        None,
    ),
    "the owner had to act": ("UPDATE broker_accounts SET state = 'needs_login' WHERE id = %s", None),
}


@pytest.mark.parametrize("change", CHANGED_SINCE)
async def test_what_a_second_look_would_settle_is_looked_at(stage: Stage, account: Account, change: str):
    with psycopg.connect(stage.app.conninfo) as connection:
        connection.execute(CHANGED_SINCE[change][0].encode(), [account.id])
    assert await read_at(stage, account, 23, 15) > RECOGNISED
    assert await stage.one("SELECT state FROM broker_accounts") == "active"
