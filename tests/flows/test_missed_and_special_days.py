"""Recipes T17, T18 and T20: a service that was down, a clock that jumps, days that are not like others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta

import pytest

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist, ist_date
from portfolio_scheduler.db import market_days
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Pool, transaction
from portfolio_scheduler.domain.market_days import MarketDay
from portfolio_scheduler.jobs import Pulse, work
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.plan import plan
from portfolio_scheduler.sync.run import Report, run_queued
from tests.conftest import Database
from tests.flows.conftest import Stage, staged
from tests.flows.ledger_checks import check_ledger

WEDNESDAY = date(2026, 4, 8)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def run_what_is_due(stage: Stage, account: Account) -> Report | None:
    await plan(stage.app, stage.clock.now())
    return await run_queued(stage.app, account.id)


async def gaps(stage: Stage) -> list[str]:
    found = await stage.rows("SELECT subject FROM ledger_events WHERE kind = 'GAP' ORDER BY subject")
    return [subject for (subject,) in found]


# ── T17: the service was down at 16:00 ──────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def service(app: App) -> AsyncIterator[None]:
    """What `portfolio-scheduler worker` runs, inside the block."""
    stop = asyncio.Event()
    working = asyncio.create_task(work(app, stop, Pulse()))
    try:
        yield
    finally:
        stop.set()
        await working


async def until_done(stage: Stage, batches: int) -> None:
    query = "SELECT count(*) FROM sync_batches WHERE status = 'completed'"
    while await stage.one(query) < batches:  # noqa: ASYNC110 - another process could have done it
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("length", "trigger", "lost"),
    [
        (timedelta(minutes=1), "scheduled", []),
        (timedelta(minutes=11), "catch-up", []),
        (3 * HOUR, "catch-up", []),
        (DAY, "scheduled", ["2026-04-08"]),  # back in the minute of the next day's slot
        (7 * DAY, "scheduled", ["2026-04-08", "2026-04-09", "2026-04-10", "2026-04-13"]),  # the 14th is a holiday
    ],
    ids=["1 min", "11 min", "3 h", "1 d", "7 d"],
)
async def test_a_service_that_was_down_catches_up_at_once_and_writes_each_lost_session_off_once(
    database: Database, pool: Pool, length: timedelta, trigger: str, lost: list[str]
) -> None:
    async with staged(database, pool, WEDNESDAY - DAY) as stage:
        account = await stage.connect(2)
        stage.at(WEDNESDAY - DAY, 16)
        assert await run_what_is_due(stage, account)
        stage.at(WEDNESDAY - DAY, 23, 15)
        assert await run_what_is_due(stage, account)
        stage.move(ist(WEDNESDAY, 16) + length)
        for _ in range(2):  # it stops and comes back in the same minute: nothing is planned or written off again
            async with asyncio.timeout(60), service(stage.app):
                await until_done(stage, 3)
        newest = await stage.rows("SELECT trigger, slot_at, trading_on FROM sync_batches ORDER BY id OFFSET 2")
        back_on = ist_date(stage.clock.now())
        assert newest == [(trigger, ist(back_on, 16), back_on)]
        assert await gaps(stage) == lost
        stage.move(stage.clock.now() + 8 * HOUR)
        assert await run_what_is_due(stage, account)
        assert await gaps(stage) == lost
        await check_ledger(stage, account.id)


# ── T18: the clock jumps ────────────────────────────────────────────────────────────────────────────────────────────


class Machine:
    """The product on a machine whose clock is wrong by `offset`, looked after once an hour."""

    def __init__(self, stage: Stage, account: Account) -> None:
        self.stage = stage
        self.account = account
        self.offset = timedelta(0)

    async def live(self, since: datetime, until: datetime) -> list[tuple[datetime, Report]]:
        """The syncs of this time, with when they really ran."""
        found, now = [], since
        while now < until:
            self.stage.sim.set_clock(now)
            self.stage.clock.set(now + self.offset)
            report = await run_what_is_due(self.stage, self.account)
            if report is not None:
                found.append((now, report))
            now += HOUR
        return found


@pytest.mark.parametrize("offset", [HOUR, -HOUR, 2 * DAY, -DAY], ids=["+1 h", "-1 h", "+2 d", "-1 d"])
async def test_a_clock_that_jumps_and_is_set_right_plans_no_session_twice_and_skips_none(
    database: Database, pool: Pool, offset: timedelta
) -> None:
    monday = date(2026, 4, 20)
    jumps_at, mended_at = ist(monday + DAY, 16, 20), ist(monday + 2 * DAY, 11, 20)
    async with staged(database, pool, monday) as stage:
        machine = Machine(stage, await stage.connect(1))
        ran = await machine.live(ist(monday, 9, 20), jumps_at)
        machine.offset = offset
        ran += await machine.live(jumps_at, mended_at)
        machine.offset = timedelta(0)
        ran += await machine.live(mended_at, ist(monday + 4 * DAY, 0))
        days = [monday + n * DAY for n in range(4)]
        for day in days:
            assert [r for at, r in ran if r.standing == "final" and r.trading_on == ist_date(at) == day], (day, ran)
        assert await gaps(stage) == []
        slots = [slot for (slot,) in await stage.rows("SELECT slot_at FROM sync_batches WHERE slot_at IS NOT NULL")]
        assert len(slots) == len(set(slots))
        # two a day, and at most one run for each turn of the clock besides
        assert 2 * len(days) - 1 <= len(ran) <= 2 * len(days) + 2, ran
        snapshots = await stage.rows("SELECT trading_on, revision FROM portfolio_snapshots ORDER BY 1, 2")
        assert snapshots == [(day, 1) for day in days]
        await check_ledger(stage, machine.account.id)


# ── T20: days that are not like others ──────────────────────────────────────────────────────────────────────────────

SPECIAL = {
    "budget on a Sunday": (date(2026, 2, 1), (16, 0)),
    "budget on a Saturday": (date(2025, 2, 1), (16, 0)),
    "an evening session": (date(2024, 11, 1), (19, 30)),
}


@pytest.mark.parametrize("case", SPECIAL)
async def test_every_special_session_is_read_the_same_evening_as_its_own_day(
    database: Database, pool: Pool, case: str
) -> None:
    on, at = SPECIAL[case]
    async with staged(database, pool, on - DAY) as stage:
        account = await stage.connect(2)
        stage.at(on - DAY, 23, 15)
        await run_what_is_due(stage, account)
        if at != (16, 0):  # the ordinary run of the afternoon still reads the day before
            stage.at(on, 16)
            early = await run_what_is_due(stage, account)
            assert early is not None
            assert (early.trading_on, early.standing) == (stage.app.calendar.previous(on), "late")
        stage.at(on, *at)
        report = await run_what_is_due(stage, account)
        assert report is not None
        assert (report.status, report.trading_on, report.standing) == ("completed", on, "final")
        assert await stage.one("SELECT count(*) FROM portfolio_snapshots WHERE trading_on = %s", on) == 1
        assert await gaps(stage) == []


async def test_a_day_that_was_closed_all_of_a_sudden_is_read_late_raises_nothing_and_owes_nothing(
    database: Database, pool: Pool
) -> None:
    before, closed = date(2024, 11, 19), date(2024, 11, 20)  # elections, announced twelve days before
    async with staged(database, pool, before) as stage:
        account = await stage.connect(2)
        for day in (before, closed, closed + DAY):
            stage.at(day, 16)
            report = await run_what_is_due(stage, account)
            assert report is not None
            assert report.status == "completed"
            if day == closed:
                assert (report.trading_on, report.standing) == (before, "late")
                assert stage.sim.account(2).orders == [] or report.counts["orders"] == 0
            assert await stage.rows("SELECT kind, subject FROM open_findings") == [], day
        assert await gaps(stage) == []


async def test_a_holiday_entered_in_time_is_no_gap_and_one_that_was_not_is(stage: Stage) -> None:
    monday, tuesday, wednesday = (date(2026, 4, 20) + n * DAY for n in range(3))
    account = await stage.connect(2)
    other = await stage.connect(1)
    stage.at(monday, 16)
    await stage.sync(account)
    await stage.sync(other)
    stage.at(wednesday, 16)
    await stage.sync(other)
    assert await gaps(stage) == [tuesday.isoformat()]
    async with transaction(stage.app.pool) as tx:
        entry = MarketDay(exchange="NSE", day_on=tuesday, kind="closed", source="circular")
        await market_days.add(tx, [entry], stage.clock.now())
    await run_what_is_due(stage, account)
    assert await gaps(stage) == [tuesday.isoformat()]  # the other account's


EMPTY_HOLDINGS = '{"status":"SUCCESS","payload":{"holdings":[]}}'
EMPTY_ORDERS = '{"status":"SUCCESS","payload":{"order_list":[]}}'


async def test_on_a_closed_day_empty_lists_of_orders_and_positions_raise_nothing(stage: Stage) -> None:
    stage.at(date(2026, 4, 24), 12)
    account = await stage.connect(2)
    stage.at(date(2026, 4, 24), 16)
    await stage.sync(account)
    stage.at(date(2026, 4, 25), 16)
    stage.sim.add_fault(Fault(kind="raw", path="/v1/order/list", body=EMPTY_ORDERS, times=None))
    stage.sim.add_fault(
        Fault(kind="raw", path="/v1/positions", body='{"status":"SUCCESS","payload":{"positions":[]}}', times=None)
    )
    report = await stage.sync(account)
    assert report.status == "completed", report
    assert await stage.rows("SELECT kind, section, subject FROM open_findings") == []


async def test_on_a_trading_day_lists_that_are_empty_against_expectation_are_found_odd(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(date(2026, 4, 20), 16)
    await stage.sync(account)
    stage.at(date(2026, 4, 20), 23, 15)
    stage.sim.add_fault(Fault(kind="raw", path="/v1/order/list", body=EMPTY_ORDERS, times=None))
    stage.sim.add_fault(Fault(kind="raw", path="/v1/holdings/user", body=EMPTY_HOLDINGS))
    report = await stage.sync(account)
    assert report.status == "partial"
    found = await stage.rows("SELECT kind, section FROM open_findings GROUP BY 1, 2 ORDER BY 1, 2")
    assert ("SUSPECT", "holdings") in found
    assert any(kind == "MISSING" and section.startswith("orders:") for kind, section in found), found
