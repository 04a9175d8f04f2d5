"""The planner: who is due gets one batch with its job, once; what was slept through is caught up or written off."""

import asyncio
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from portfolio_scheduler.clock import ist
from portfolio_scheduler.db import market_days
from portfolio_scheduler.db.accounts import Account, set_schedules
from portfolio_scheduler.db.pool import counted_statements, transaction
from portfolio_scheduler.domain.market_days import MarketDay
from portfolio_scheduler.jobs import Pulse, stand_by
from portfolio_scheduler.jobs import tick as jobs_tick
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.plan import Planned, plan, sweep, wait
from portfolio_scheduler.sync.run import Report, run_queued
from tests.flows.conftest import FIRST_DAY, Stage

MONDAY = FIRST_DAY
TUESDAY, WEDNESDAY, THURSDAY = (MONDAY + timedelta(days=n) for n in (1, 2, 3))


async def tick(stage: Stage) -> Planned:
    return await plan(stage.app, stage.clock.now())


async def run(stage: Stage, account: Account) -> Report:
    report = await run_queued(stage.app, account.id)
    assert report is not None
    return report


async def opened(stage: Stage) -> list[tuple[Any, ...]]:
    """All batches in their order: trigger, slot, status."""
    return await stage.rows("SELECT trigger, slot_at, status FROM sync_batches ORDER BY id")


async def jobs(stage: Stage) -> list[str]:
    return [each for (each,) in await stage.rows("SELECT args ->> 'account_id' FROM procrastinate_jobs ORDER BY id")]


async def gaps(stage: Stage) -> list[str]:
    found = await stage.rows("SELECT subject FROM ledger_events WHERE kind = 'GAP' ORDER BY seq")
    return [subject for (subject,) in found]


async def test_who_is_due_gets_one_batch_with_its_job(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 15, 59)
    assert await tick(stage) == Planned()
    stage.at(MONDAY, 16)
    assert await tick(stage) == Planned(due=1)
    assert await opened(stage) == [("scheduled", ist(MONDAY, 16), "queued")]
    assert await jobs(stage) == [str(account.id)]
    assert await stage.one("SELECT planned_through FROM broker_accounts") == ist(MONDAY, 16)
    report = await run(stage, account)
    assert (report.status, report.standing) == ("completed", "final")


async def test_the_same_tick_twice_plans_nothing_new(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(MONDAY, 16)
    await tick(stage)
    assert await tick(stage) == Planned()
    await run(stage, account)
    assert await tick(stage) == Planned()
    assert len(await opened(stage)) == len(await jobs(stage)) == 1


async def test_two_planners_at_once_open_one_batch_each_account(stage: Stage) -> None:
    for number in (1, 2, 3):
        await stage.connect(number)
    stage.at(MONDAY, 16)
    both = await asyncio.gather(*(tick(stage) for _ in range(4)))
    assert sum(planned.due for planned in both) == 3
    assert len(await opened(stage)) == len(await jobs(stage)) == 3


async def test_a_machine_that_slept_three_hours_catches_up_once(stage: Stage) -> None:
    account = await stage.connect(2)
    await stage.rows("UPDATE broker_accounts SET schedules = %s RETURNING id", '[{"cron": "0 14-18 * * *"}]')
    stage.at(MONDAY, 17, 15)
    assert await tick(stage) == Planned(due=1)
    assert await opened(stage) == [("catch-up", ist(MONDAY, 17), "queued")]
    assert (await run(stage, account)).standing == "final"
    assert await gaps(stage) == []


async def test_a_machine_that_slept_three_days_writes_each_lost_day_off_once(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    await tick(stage)
    await run(stage, account)
    stage.at(date(2026, 4, 24), 10)
    assert await tick(stage) == Planned(due=1)
    assert (await opened(stage))[-1] == ("catch-up", ist(THURSDAY, 23, 15), "queued")
    lost = [day.isoformat() for day in (TUESDAY, WEDNESDAY, THURSDAY)]
    await run(stage, account)
    assert await gaps(stage) == lost
    for at in ((16, 0), (23, 15)):
        stage.at(date(2026, 4, 24), *at)
        await tick(stage)
        await run(stage, account)
    assert await gaps(stage) == lost
    findings = await stage.rows("SELECT subject FROM open_findings WHERE kind = 'GAP' ORDER BY subject")
    assert [subject for (subject,) in findings] == lost
    covered = await stage.rows("SELECT trading_on, state FROM coverage WHERE section = 'orders' ORDER BY 1")
    assert covered == [(day, "lost") for day in (TUESDAY, WEDNESDAY, THURSDAY)]


async def test_a_lost_day_is_written_off_even_when_the_login_is_dead(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    await stage.sync(account)
    stage.at(WEDNESDAY, 10)
    stage.sim.add_fault(Fault(kind="status", status=401, times=None))
    await tick(stage)
    assert (await run(stage, account)).status == "failed"
    assert await gaps(stage) == [TUESDAY.isoformat()]


async def test_a_manual_sync_hides_no_lost_day(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    await stage.sync(account)
    stage.at(WEDNESDAY, 16)
    await stage.sync(account)
    await tick(stage)
    await run(stage, account)
    assert await gaps(stage) == [TUESDAY.isoformat()]


async def test_a_day_read_only_after_midnight_is_lost_for_its_list_was_empty(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    await stage.sync(account)
    stage.at(WEDNESDAY, 8)
    assert (await stage.sync(account)).standing == "late"
    assert await gaps(stage) == []  # Tuesday still might turn up
    stage.at(WEDNESDAY, 16)
    await stage.sync(account)
    assert await gaps(stage) == [TUESDAY.isoformat()]


async def test_an_account_owes_no_day_before_it_was_connected(stage: Stage) -> None:
    stage.at(TUESDAY, 20)
    account = await stage.connect(2)
    stage.at(WEDNESDAY, 16)
    await stage.sync(account)
    assert await gaps(stage) == []


async def test_an_open_batch_holds_the_slot_back_until_it_has_ended(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(MONDAY, 16)
    await tick(stage)
    stage.at(MONDAY, 23, 15)
    assert await tick(stage) == Planned()
    assert await stage.one("SELECT planned_through FROM broker_accounts") == ist(MONDAY, 16)
    await run(stage, account)
    stage.at(MONDAY, 23, 16)
    assert await tick(stage) == Planned(due=1)
    assert (await opened(stage))[-1] == ("scheduled", ist(MONDAY, 23, 15), "queued")


@pytest.mark.parametrize("state", ["paused", "closed"])
async def test_who_is_paused_or_closed_is_not_planned(stage: Stage, state: str) -> None:
    await stage.connect(1)
    await stage.rows("UPDATE broker_accounts SET state = %s RETURNING id", state)
    stage.at(MONDAY, 16)
    assert await tick(stage) == Planned()


async def test_a_schedule_nobody_can_read_costs_no_day(stage: Stage) -> None:
    account = await stage.connect(1)
    async with transaction(stage.app.pool) as tx:
        await set_schedules(tx, account.id, [{"cron": "whenever"}])
    stage.at(MONDAY, 16)
    assert await tick(stage) == Planned(due=1)


async def test_the_tick_takes_a_fixed_number_of_statements(stage: Stage) -> None:
    for number in (1, 2, 3):
        await stage.connect(number)
    stage.at(MONDAY, 16)
    with counted_statements() as statements:
        await tick(stage)
    assert len(statements) <= 13, statements.texts


# ── a crowd ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def crowd(stage: Stage, size: int) -> None:
    """So many accounts that nobody will sync."""
    await stage.rows(
        """
        WITH owner AS (INSERT INTO users (name, created_at) VALUES ('crowd', now()) RETURNING id)
        INSERT INTO broker_accounts (user_id, broker, label, login, sealed_credentials, planned_through, created_at)
        SELECT owner.id, 'groww', 'one of many ' || n, 'totp', '\\x00', %s, %s FROM owner, generate_series(1, %s) AS n
        RETURNING 1
        """,
        stage.clock.now(),
        stage.clock.now(),
        size,
    )


async def waiting(stage: Stage) -> dict[str, float]:
    """How many seconds the job of each account still has to wait."""
    found = await stage.rows(
        """SELECT args ->> 'account_id', extract(epoch FROM scheduled_at - clock_timestamp())::float8
           FROM procrastinate_jobs WHERE scheduled_at IS NOT NULL"""
    )
    return dict(found)


async def test_more_than_twenty_accounts_reach_the_broker_one_after_the_other(stage: Stage) -> None:
    await crowd(stage, 40)
    stage.at(MONDAY, 16)
    assert await tick(stage) == Planned(due=40)
    seconds = await waiting(stage)
    assert len(seconds) == 40
    assert all(-60 <= each <= 120 for each in seconds.values())  # counted from the tick, which was a moment ago
    assert max(seconds.values()) - min(seconds.values()) > 60
    assert (await sweep(stage.app, stage.clock.now())).woken == 0
    await stage.rows("UPDATE sync_batches SET id = uuidv7(interval '-2 minutes') RETURNING id")
    assert (await sweep(stage.app, stage.clock.now())).woken == 0  # its job waits, so it is not lost


async def test_an_account_waits_as_long_each_day(stage: Stage) -> None:
    await crowd(stage, 21)
    orders = []
    for day in (MONDAY, TUESDAY):
        stage.at(day, 16)
        await tick(stage)
        seconds = await waiting(stage)
        orders.append(sorted(seconds, key=lambda one: seconds[one]))
        await stage.rows("UPDATE sync_batches SET status = 'completed', finished_at = %s WHERE status = 'queued' "
                         "RETURNING id", stage.clock.now())  # fmt: skip
        await stage.rows("DELETE FROM procrastinate_jobs RETURNING id")
    assert orders[0] == orders[1]
    assert all(timedelta(0) <= wait(UUID(each)) <= timedelta(minutes=2) for each in orders[0])


@pytest.mark.parametrize(("size", "at"), [(20, (16, 0)), (21, (17, 0))])
async def test_twenty_accounts_wait_for_nobody_and_what_is_late_already_does_not_either(
    stage: Stage, size: int, at: tuple[int, int]
) -> None:
    await crowd(stage, size)
    stage.at(MONDAY, *at)
    assert await tick(stage) == Planned(due=size)
    assert await waiting(stage) == {}


async def test_a_sync_by_hand_waits_for_no_job(stage: Stage) -> None:
    account = await stage.connect(2)
    await crowd(stage, 21)
    stage.at(MONDAY, 16)
    await tick(stage)
    assert str(account.id) in await waiting(stage)
    report = await stage.sync(account)
    assert report.status == "completed"
    assert await run_queued(stage.app, account.id) is None  # what its job finds when it wakes at last


async def test_a_late_pass_that_is_switched_off_is_not_due(stage: Stage) -> None:
    account = await stage.connect(1)
    async with transaction(stage.app.pool) as tx:
        await set_schedules(tx, account.id, account.schedules, late_pass=False)
    stage.at(MONDAY, 23, 59)
    await tick(stage)
    assert await opened(stage) == [("catch-up", ist(MONDAY, 16), "queued")]


async def announce(stage: Stage, on: date, kind: str, source: str = "circular") -> None:
    async with transaction(stage.app.pool) as tx:
        await market_days.add(tx, [MarketDay(exchange="NSE", day_on=on, kind=kind, source=source)], stage.clock.now())


async def test_a_process_without_a_worker_follows_it_as_well(stage: Stage) -> None:
    """`serve --no-worker`: its calendar tells pages and health what was entered by another process."""
    stop = asyncio.Event()
    standing_by = asyncio.create_task(stand_by(stage.app, stop, seconds=0.02))
    for on in (TUESDAY, WEDNESDAY):  # from the start, and while it runs
        await announce(stage, on, "closed")
        async with asyncio.timeout(5):
            while stage.app.calendar.is_session(on):  # noqa: ASYNC110 - the database tells it
                await asyncio.sleep(0.01)
    stop.set()
    await standing_by


async def test_the_planner_follows_what_is_entered_while_it_runs(stage: Stage) -> None:
    await announce(stage, TUESDAY, "closed")
    assert stage.app.calendar.is_session(TUESDAY)
    await tick(stage)
    assert not stage.app.calendar.is_session(TUESDAY)
    await announce(stage, TUESDAY, "withdrawn")
    await tick(stage)
    assert stage.app.calendar.is_session(TUESDAY)


async def test_a_market_day_that_nobody_can_read_costs_no_day(stage: Stage) -> None:
    await stage.connect(1)
    await stage.rows(
        "INSERT INTO market_days (exchange, day_on, kind, opens_at, closes_at, source, noted_at) "
        "VALUES ('NSE', %s, 'special', now(), now(), 'by hand', now()) RETURNING 1",
        TUESDAY,
    )
    stage.at(MONDAY, 16)
    assert await tick(stage) == Planned(due=1)


async def test_the_end_of_the_calendar_is_logged_once_a_day_from_a_month_before(stage: Stage) -> None:
    pulse, days = Pulse(), []
    for on in (date(2026, 11, 30), date(2026, 12, 1), date(2026, 12, 2)):
        stage.clock.set(ist(on, 9))
        with capture_logs() as entries:
            await jobs_tick(stage.app, pulse)
            await jobs_tick(stage.app, pulse)
        days.append([entry["warning"] for entry in entries if entry["event"] == "calendar"])
    assert [len(warnings) for warnings in days] == [0, 1, 1]
    assert "known until 2026-12-31 only" in days[1][0]


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_missing_is_read_again_after_a_quarter_of_an_hour(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    stage.sim.add_fault(Fault(kind="status", path="/v1/holdings/user", status=500, times=None))
    await tick(stage)
    first = await run(stage, account)
    assert first.status == "partial", first
    ended_at = await stage.one("SELECT finished_at FROM sync_batches")
    stage.move(ended_at + timedelta(minutes=14, seconds=59))
    assert await tick(stage) == Planned()
    stage.sim.faults.waiting.clear()
    stage.move(ended_at + timedelta(minutes=15))
    assert await tick(stage) == Planned(retries=1)
    assert await stage.one("SELECT wanted FROM sync_batches WHERE trigger = 'retry'") == ["holdings"]
    assert (await run(stage, account)).status == "completed"
    stage.move(ended_at + timedelta(hours=1))
    assert await tick(stage) == Planned()


async def test_what_a_replay_finds_missing_is_read_again(stage: Stage) -> None:
    """The batch itself says that it was completed; what of it counts was understood later."""
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    await tick(stage)
    assert (await run(stage, account)).status == "completed"
    stage.move(stage.clock.now() + timedelta(minutes=20))
    assert await tick(stage) == Planned()
    await stage.rows(
        """
        WITH replay AS (
            INSERT INTO sync_batches (account_id, trigger, status, fence, queued_at, started_at, finished_at)
            SELECT account_id, 'replay', 'completed', fence + 1, %(now)s, %(now)s, %(now)s FROM account_heads)
        INSERT INTO rereadings (account_id, seq, batch_id, observed_at, trading_on, status, sections, flags, reason)
        SELECT account_id, seq + 1, b.id, %(now)s, b.trading_on, 'partial',
            jsonb_set(b.sections, '{holdings,outcome}', '"failed"'), '[]', 'a test'
        FROM account_heads JOIN sync_batches b USING (account_id) RETURNING 1
        """.replace("%(now)s", f"timestamptz '{stage.clock.now().isoformat()}'")
    )
    assert await tick(stage) == Planned(retries=1)
    assert await stage.one("SELECT wanted FROM sync_batches WHERE trigger = 'retry'") == ["holdings"]


async def test_three_retries_are_enough(stage: Stage) -> None:
    await stage.connect(1)
    stage.at(MONDAY, 16)
    await tick(stage)
    for _ in range(3):
        await stage.end_badly(error_class="BrokerUnavailable")
        stage.move(stage.clock.now() + timedelta(minutes=15))
        assert await tick(stage) == Planned(retries=1)
    await stage.end_badly(error_class="BrokerUnavailable")
    stage.move(stage.clock.now() + timedelta(minutes=15))
    assert await tick(stage) == Planned()
    stage.at(MONDAY, 23, 15)
    assert await tick(stage) == Planned(due=1)


async def looks(stage: Stage) -> int:
    """How many of the statements of one tick read what became of accounts that ended badly."""
    with counted_statements() as counted:
        await tick(stage)
    return sum("jsonb_each(last.sections)" in text for text in counted.texts)


@pytest.mark.parametrize("error_class", ["BrokerUnavailable", "BrokerLoginRequired"])
async def test_an_account_that_failed_is_looked_at_once_and_again_when_its_time_has_come(
    stage: Stage, error_class: str
) -> None:
    """On an evening when all accounts fail a tick costs what it costs when none does."""
    await stage.connect(1)
    stage.at(MONDAY, 16)
    await tick(stage)
    await stage.end_badly(error_class=error_class)
    told = []
    for minute in (1, 2, 14, 15, 16, 17):
        stage.at(MONDAY, 16, minute)
        told.append(await looks(stage) > 0)
    assert told == [True, False, False, True, False, False]
    retried = error_class == "BrokerUnavailable"
    assert bool(await stage.rows("SELECT FROM sync_batches WHERE trigger = 'retry'")) == retried
    if retried:
        await stage.end_badly(error_class=error_class)
        assert await looks(stage) > 0, "another batch is looked at anew"


async def test_an_account_that_somebody_holds_is_looked_at_when_it_is_free(stage: Stage) -> None:
    await stage.connect(1)
    stage.at(MONDAY, 16)
    await tick(stage)
    await stage.end_badly(error_class="BrokerUnavailable")
    stage.at(MONDAY, 16, 20)
    async with transaction(stage.app.pool) as tx:
        await tx.execute("SELECT FROM broker_accounts FOR UPDATE")
        assert await tick(stage) == Planned()
    assert await tick(stage) == Planned(retries=1)


@pytest.mark.parametrize("error_class", ["WorkerLost", "CancelledError"])
async def test_what_was_interrupted_is_planned_again_at_once(stage: Stage, error_class: str) -> None:
    await stage.connect(1)
    stage.at(MONDAY, 16)
    await tick(stage)
    await stage.end_badly(error_class=error_class)
    assert await tick(stage) == Planned(retries=1)


@pytest.mark.parametrize("error_class", ["WorkerLost", "CancelledError"])
async def test_interruptions_use_up_none_of_the_three_retries(stage: Stage, error_class: str) -> None:
    await stage.connect(1)
    stage.at(MONDAY, 16)
    await tick(stage)
    for error in [error_class] * 4 + ["BrokerUnavailable", error_class, "BrokerUnavailable"]:
        await stage.end_badly(error_class=error)
        stage.move(stage.clock.now() + timedelta(minutes=15))
        assert await tick(stage) == Planned(retries=1)
    await stage.end_badly(error_class="BrokerUnavailable")
    stage.move(stage.clock.now() + timedelta(minutes=15))
    assert await tick(stage) == Planned()


async def test_an_account_that_ends_its_worker_twenty_times_in_a_row_waits_for_its_next_slot(stage: Stage) -> None:
    await stage.connect(1)
    stage.at(MONDAY, 16)
    await tick(stage)
    for _ in range(20):
        await stage.end_badly(error_class="WorkerLost")
        assert await tick(stage) == Planned(retries=1)
    assert await stage.rows("SELECT kind FROM notices") == []
    await stage.end_badly(error_class="WorkerLost")
    assert await tick(stage) == Planned()
    assert await stage.rows("SELECT kind FROM notices") == [("sync_failed",)]
    stage.at(MONDAY, 23, 15)
    assert await tick(stage) == Planned(due=1)
    await stage.end_badly(error_class="WorkerLost")
    assert await tick(stage) == Planned(retries=1)


@pytest.mark.parametrize("error_class", ["BrokerLoginRequired", "BrokerNotEntitled", "SecretUnreadable"])
async def test_what_only_the_owner_can_mend_waits_for_the_next_slot(stage: Stage, error_class: str) -> None:
    await stage.connect(1)
    stage.at(MONDAY, 16)
    await tick(stage)
    await stage.end_badly(error_class=error_class)
    stage.at(MONDAY, 22)
    assert await tick(stage) == Planned()
    stage.at(MONDAY, 23, 15)
    assert await tick(stage) == Planned(due=1)


# ── what died ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _claimed_long_ago(stage: Stage, account: Account) -> None:
    await stage.rows(
        """UPDATE sync_batches SET status = 'running', started_at = queued_at, fence = 1,
               heartbeat_at = clock_timestamp() - interval '21 s' RETURNING id"""
    )
    await stage.rows("UPDATE account_heads SET fence = 1 WHERE account_id = %s RETURNING 1", account.id)


async def test_a_dead_workers_batch_is_given_up_and_planned_again(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    await tick(stage)
    await _claimed_long_ago(stage, account)
    swept = await sweep(stage.app, stage.clock.now())
    assert (swept.stale, swept.retries) == (1, 1)
    assert [(trigger, status) for trigger, _, status in await opened(stage)] == [
        ("scheduled", "failed"),
        ("retry", "queued"),
    ]
    assert await stage.one("SELECT fence FROM account_heads") == 2
    assert len(await jobs(stage)) == 2
    assert (await run(stage, account)).status == "completed"


@pytest.mark.parametrize(("seconds", "woken"), [(19, 0), (21, 1)])
async def test_a_queued_batch_that_lost_its_job_gets_another(stage: Stage, seconds: int, woken: int) -> None:
    await stage.connect(1)
    stage.at(MONDAY, 16)
    await tick(stage)
    await stage.rows("DELETE FROM procrastinate_jobs RETURNING id")
    await stage.rows("UPDATE sync_batches SET id = uuidv7(make_interval(secs => %s)) RETURNING id", -float(seconds))
    assert (await sweep(stage.app, stage.clock.now())).woken == woken
    assert (await sweep(stage.app, stage.clock.now())).woken == 0
    assert len(await jobs(stage)) == woken


async def test_a_doubled_job_changes_nothing(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(MONDAY, 16)
    await tick(stage)
    reports = await asyncio.gather(*(run_queued(stage.app, account.id) for _ in range(3)))
    assert [report.status for report in reports if report] == ["completed"]
    before = await stage.one("SELECT seq FROM account_heads")
    assert await run_queued(stage.app, account.id) is None
    assert await stage.one("SELECT seq FROM account_heads") == before
    assert len(await opened(stage)) == 1
