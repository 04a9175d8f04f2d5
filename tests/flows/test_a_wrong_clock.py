"""This machine's clock and the broker's differ: lists are of the broker's day, and its Date header says which."""

from datetime import date, timedelta

import pytest

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist
from portfolio_scheduler.errors import BrokerLoginRequired
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.plan import Planned, plan
from portfolio_scheduler.sync.run import run_queued
from tests.builders import TUESDAY
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger

WEDNESDAY = date(2026, 4, 22)
FLAGS = "SELECT flags FROM sync_batches ORDER BY id DESC LIMIT 1"
GAPS = "SELECT count(*) FROM ledger_events WHERE kind = 'GAP'"


@pytest.mark.parametrize("days", [2, -2])
async def test_a_clock_days_off_dates_nothing(stage: Stage, days: int) -> None:
    """The reading is dated by the broker's clock: no false gap, no snapshot of a day that is not."""
    stage.at(TUESDAY, 9)
    account = await stage.connect(3)
    stage.at(TUESDAY, 16)
    stage.clock.advance(days * 86400)
    report = await stage.sync(account)
    assert (report.status, report.trading_on, report.standing) == ("completed", TUESDAY, "final"), report
    way = "ahead" if days > 0 else "behind"
    assert await stage.one(FLAGS) == [f"clock:{way}:{2 * 86400} s"]
    assert await stage.rows("SELECT trading_on FROM portfolio_snapshots") == [(TUESDAY,)]
    assert await stage.one("SELECT max(priced_at) FROM closing_prices") <= ist(TUESDAY, 16, 1)
    assert await stage.one(GAPS) == 0
    stage.at(TUESDAY, 17)
    again = await stage.sync(account)
    assert {name: count for name, count in again.counts.items() if count} == {}
    assert await stage.one(FLAGS) == []
    await check_ledger(stage, account.id)


@pytest.mark.parametrize(("seconds", "flags"), [(20, []), (120, ["clock:ahead:120 s"]), (-240, ["clock:behind:240 s"])])
async def test_minutes_are_flagged_and_change_no_date(stage: Stage, seconds: int, flags: list[str]) -> None:
    account = await stage.connect(3)
    stage.at(FIRST_DAY, 16)
    stage.clock.advance(seconds)
    report = await stage.sync(account)
    assert report.trading_on == FIRST_DAY
    assert await stage.one(FLAGS) == flags
    assert await stage.one("SELECT observed_at FROM sync_batches") == ist(FIRST_DAY, 16) + timedelta(seconds=seconds)


@pytest.mark.parametrize("number", [1, 3])
async def test_a_login_uses_the_broker_s_clock_when_ours_is_wrong(stage: Stage, number: int) -> None:
    """Codes of the wrong minute would cost the day; the refusal itself says what time it is."""
    stage.at(FIRST_DAY, 16)
    stage.clock.advance(3600)
    account = await stage.connect(number)
    mints = [request for request in stage.sim.requests if request.path.startswith("/v1/token")]
    assert len(mints) == 2
    stage.at(TUESDAY, 16)
    stage.clock.advance(2 * 86400)
    report = await stage.sync(account)
    assert (report.status, report.trading_on) == ("completed", TUESDAY)
    assert await stage.one(GAPS) == 0, "by the broker's clock no day is lost"


async def test_a_login_that_fails_beside_a_wrong_clock_says_so(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(TUESDAY, 16)
    stage.clock.advance(2 * 86400)
    stage.sim.add_fault(Fault(kind="failure", path="/v1/token", status=403, code="403", times=None))
    report = await stage.sync(account)
    assert report.status == "failed"
    assert "clock is 2 days ahead" in (report.error or "")
    assert await stage.one(FLAGS) == ["clock:ahead:172800 s"]
    with pytest.raises(BrokerLoginRequired, match="clock is 2 days ahead"):
        await stage.connect(2)


async def test_without_a_word_from_the_broker_no_day_is_given_up(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    await stage.sync(account)
    stage.sim.add_fault(Fault(kind="drop", times=None))
    stage.at(WEDNESDAY, 16)
    assert (await stage.sync(account)).status == "failed"
    assert await stage.one(GAPS) == 0
    stage.sim.faults.waiting.clear()
    assert (await stage.sync(account)).status == "completed"
    assert await stage.one(GAPS) == 1


async def test_slots_that_only_a_wrong_clock_reached_come_again(stage: Stage) -> None:
    account = await stage.connect(3)
    stage.at(FIRST_DAY, 16)
    stage.clock.advance(2 * 86400)  # Wednesday, it says
    assert await tick(stage) == Planned(due=1)
    await run_queued(stage.app, account.id)
    for on in (TUESDAY, WEDNESDAY):
        stage.at(on, 16)
        assert await tick(stage) == Planned(due=1), on
        await run_queued(stage.app, account.id)
        assert await tick(stage) == Planned(due=0)
    days = await stage.rows("SELECT trading_on FROM portfolio_snapshots ORDER BY 1")
    assert [on for (on,) in days] == [FIRST_DAY, TUESDAY, WEDNESDAY]


async def tick(stage: Stage) -> Planned:
    app: App = stage.app
    return await plan(app, app.clock.now())
