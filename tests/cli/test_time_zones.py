"""Recipe T19: the machine's own time zone changes nothing. Processes under different TZ print the same plan."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from portfolio_scheduler.clock import ist
from tests.cli.conftest import Terminal

ZONES = ("UTC", "Asia/Kolkata", "America/New_York")
BEFORE_THE_CHANGE = date(2026, 10, 20)  # clocks go back in New York on 2026-11-01 and forth on 2027-03-14
PLANNED = """
import asyncio, sys
from datetime import datetime
from portfolio_scheduler.app import running
from portfolio_scheduler.clock import StoppedClock
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.settings import load
from portfolio_scheduler.sync.plan import plan

DONE = "UPDATE sync_batches SET status = 'completed', finished_at = queued_at WHERE status = 'queued'"

async def main():
    instants = [datetime.fromisoformat(at) for at in sys.argv[1:]]
    clock = StoppedClock(instants[0])
    async with running(load(), clock) as app:
        for at in instants:
            clock.set(at)
            print((await plan(app, clock.now())).due)
            async with transaction(app.pool) as tx:
                await tx.execute(DONE)

asyncio.run(main())
"""


def everywhere(*command: str) -> Iterator[Any]:
    """What a process prints, zone by zone."""
    for zone in ZONES:
        done = subprocess.run(
            [sys.executable, *command], env=os.environ | {"TZ": zone}, capture_output=True, text=True, check=True
        )
        yield json.loads(done.stdout)


@pytest.fixture
def mine(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal.connect(1, "mine")
    at = ist(BEFORE_THE_CHANGE, 9)
    terminal.clock.set(at)
    terminal.rows("UPDATE broker_accounts SET planned_through = %s RETURNING 1", [at])
    monkeypatch.setenv("PORTFOLIO_SCHEDULER_CLOCK", f"{at.isoformat()}@{datetime.now(ist(at.date(), 0).tzinfo)}")
    return terminal


def test_sixteen_hundred_in_india_is_the_same_instant_366_days_of_366_wherever_the_machine_stands(
    mine: Terminal,
) -> None:
    mine("schedules", "set", "mine", "0 16 * * *", "0 12 * * * America/New_York", "--no-late-pass")
    command = ("-m", "portfolio_scheduler", "schedules", "preview", "mine", "--count", "1000", "--json")
    plans = list(everywhere(*command))
    assert plans[0] == plans[1] == plans[2]
    runs = [run["at"] for run in plans[0]["runs"]]
    daily = [at for at in runs if at.endswith("T10:30:00Z")]
    assert [at[:10] for at in daily[:366]] == [str(BEFORE_THE_CHANGE + timedelta(days=n)) for n in range(366)]
    new_york = {at[:10]: at[11:16] for at in runs if at[11:16] in {"16:00", "17:00"}}
    assert (new_york["2026-10-31"], new_york["2026-11-01"]) == ("16:00", "17:00")  # noon there, before and after
    assert (new_york["2027-03-13"], new_york["2027-03-14"]) == ("17:00", "16:00")


def test_the_planner_opens_the_same_batches_wherever_the_machine_stands(mine: Terminal) -> None:
    """An account for each zone, planned by a process in that zone on the days around the change in New York."""
    for number in (2, 3):
        mine.connect(number, f"account {number}")
    mine.rows("UPDATE broker_accounts SET planned_through = %s RETURNING 1", [ist(BEFORE_THE_CHANGE, 9)])
    accounts = [found for (found,) in mine.rows("SELECT id FROM broker_accounts ORDER BY label")]
    instants = (ist(date(2026, 10, 30), 16), ist(date(2026, 11, 1), 23, 15), ist(date(2026, 11, 2), 16))
    for zone, account in zip(ZONES, accounts, strict=True):
        mine.rows(
            "UPDATE broker_accounts SET state = CASE id WHEN %s THEN 'active' ELSE 'paused' END RETURNING 1", [account]
        )
        command = [sys.executable, "-c", PLANNED, *(at.isoformat() for at in instants)]
        done = subprocess.run(command, env=os.environ | {"TZ": zone}, capture_output=True, text=True, check=True)
        assert done.stdout == "1\n1\n1\n", zone
    plans = [
        mine.rows("SELECT trigger, slot_at FROM sync_batches WHERE account_id = %s ORDER BY slot_at", [account])
        for account in accounts
    ]
    assert plans[0] == plans[1] == plans[2]
    assert [slot_at for _, slot_at in plans[0]] == list(instants)
