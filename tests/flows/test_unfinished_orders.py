"""After a day that was not read to its end: orders known to be open are asked for once, and nothing is made up."""

import asyncio
import dataclasses
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from portfolio_scheduler.cli.standing import standings
from portfolio_scheduler.clock import ist
from portfolio_scheduler.db import accounts
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.gaps import UNFINISHED
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.db.reads.coverage import CoverageDay, coverage
from portfolio_scheduler.domain.records import FILL_FINAL, Statement
from portfolio_scheduler.domain.schedule import Reason
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.plan import Planned, plan
from portfolio_scheduler.sync.replay import replay
from portfolio_scheduler.sync.run import run_queued, sync_account
from portfolio_scheduler.sync.schedules import runs
from tests.builders import TUESDAY
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger
from tests.flows.replaying import broken

WEDNESDAY = TUESDAY + timedelta(days=1)
EVENTS = "SELECT kind, trading_on, subject FROM ledger_events WHERE kind IN ('GAP', 'RECOVERED') ORDER BY seq"


def remembers(stage: Stage) -> None:
    """Groww answers for yesterday's orders when they are asked for by id."""
    quirks = dataclasses.replace(stage.sim.world.quirks, remembers_orders=True)
    stage.sim.world.quirks = quirks
    for number in (1, 2, 3):
        stage.sim.account(number).quirks = quirks


async def read_until_ten(stage: Stage) -> tuple[Account, list[str]]:
    """The trader's Monday, read at 10:00 only: some of its orders are still open."""
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 10)
    await stage.sync(account)
    open_then = await stage.rows(
        "SELECT broker_order_id FROM current_orders WHERE status = 'OPEN' ORDER BY broker_order_id"
    )
    assert open_then, "the trader has open orders at ten"
    return account, [order for (order,) in open_then]


def details_asked(stage: Stage) -> int:
    return sum(request.path.startswith("/v1/order/detail/") for request in stage.sim.requests)


async def test_what_became_of_them_is_told_of_their_own_day(stage: Stage) -> None:
    remembers(stage)
    account, open_then = await read_until_ten(stage)
    stage.at(TUESDAY, 9, 30)
    assert (await stage.sync(account)).status == "completed"
    found = await stage.rows(EVENTS)
    assert [(kind, on) for kind, on, _ in found] == [("RECOVERED", FIRST_DAY)] * len(open_then)
    assert sorted(subject for _, _, subject in found) == open_then
    ends = await stage.rows(
        """SELECT o.broker_order_id, o.status, o.filled_quantity, o.fills_quantity FROM current_orders o
           WHERE o.listed_on = %s""",
        FIRST_DAY,
    )
    for order_id, status, filled, fills in ends:
        theirs = stage.sim.account(2).earlier_orders[order_id]
        assert (status, filled) == (theirs.status, Decimal(theirs.filled_quantity))
        assert filled == fills, "its executions were asked for as well"
    told = await stage.rows(
        "SELECT DISTINCT trading_on FROM order_quantity_changes WHERE broker_order_id = ANY(%s)", open_then
    )
    assert told == [(FIRST_DAY,)]
    days = await stage.rows("SELECT trading_on FROM order_fills WHERE broker_order_id = ANY(%s)", open_then)
    assert set(days) <= {(FIRST_DAY,)}
    await check_ledger(stage, account.id)


async def test_silence_is_a_gap_that_names_the_order(stage: Stage) -> None:
    account, open_then = await read_until_ten(stage)
    before = await stage.rows("SELECT broker_order_id, status, filled_quantity FROM current_orders ORDER BY 1")
    stage.at(TUESDAY, 9, 30)
    assert (await stage.sync(account)).status == "completed"
    found = await stage.rows(EVENTS)
    assert found == [("GAP", FIRST_DAY, order) for order in sorted(open_then, key=[s for _, _, s in found].index)]
    findings = await stage.rows("SELECT section, subject FROM open_findings WHERE kind = 'GAP' ORDER BY 2")
    assert findings == [("orders:CASH", order) for order in open_then]
    after = await stage.rows(
        "SELECT broker_order_id, status, filled_quantity FROM current_orders WHERE listed_on = %s ORDER BY 1", FIRST_DAY
    )
    assert after == before, "nothing is made up"
    await check_ledger(stage, account.id)


@pytest.mark.parametrize("answers", [True, False])
async def test_each_is_asked_for_once(stage: Stage, answers: bool) -> None:
    if answers:
        remembers(stage)
    account, open_then = await read_until_ten(stage)
    stage.sim.requests.clear()
    for hour in (9, 16):
        stage.at(TUESDAY, hour, 30)
        await stage.sync(account)
    stage.at(WEDNESDAY, 16)
    await stage.sync(account)
    asked = [r.path.rpartition("/")[2] for r in stage.sim.requests if r.path.startswith("/v1/order/detail/")]
    assert [asked.count(order) for order in open_then] == [1] * len(open_then)


async def test_a_broker_in_trouble_is_asked_again_and_nothing_is_concluded(stage: Stage) -> None:
    remembers(stage)
    account, open_then = await read_until_ten(stage)
    stage.at(TUESDAY, 9, 30)
    stage.sim.add_fault(Fault(kind="html", path="/v1/order/detail", status=503, times=None))
    assert (await stage.sync(account)).status == "completed", "today does not suffer from it"
    assert await stage.rows(EVENTS) == []
    stage.sim.faults.waiting.clear()
    stage.at(TUESDAY, 11)
    await stage.sync(account)
    assert len(await stage.rows(EVENTS)) == len(open_then)


async def test_a_day_read_to_its_end_asks_for_nothing(stage: Stage) -> None:
    account = await stage.connect(2)
    for on in (FIRST_DAY, TUESDAY, WEDNESDAY):
        stage.at(on, 16)
        await stage.sync(account)
    assert details_asked(stage) == 0


async def test_orders_nobody_had_seen_stay_unknown(stage: Stage) -> None:
    """The day is not called complete: what was placed after the last reading nobody can know."""
    remembers(stage)
    account, _ = await read_until_ten(stage)
    seen = await stage.one("SELECT count(*) FROM order_history")
    stage.at(TUESDAY, 9, 30)
    await stage.sync(account)
    orders = await stage.one("SELECT count(*) FROM order_history WHERE listed_on = %s", FIRST_DAY)
    assert orders == seen < len(stage.sim.account(2).earlier_orders)
    states = await stage.rows("SELECT state FROM coverage WHERE trading_on = %s AND section = 'orders:CASH'", FIRST_DAY)
    assert states == [("provisional",)]


async def test_a_missed_day_is_lost_and_its_open_orders_are_asked_for_all_the_same(stage: Stage) -> None:
    remembers(stage)
    account, open_then = await read_until_ten(stage)
    stage.at(WEDNESDAY, 9, 30)  # Tuesday was slept through, and Groww has forgotten Monday
    await stage.sync(account)
    found = await stage.rows(EVENTS)
    assert ("GAP", TUESDAY, TUESDAY.isoformat()) in found
    assert {("GAP", FIRST_DAY, order) for order in open_then} <= set(found)
    lost = await stage.rows("SELECT trading_on, section FROM coverage WHERE state = 'lost'")
    assert lost == [(TUESDAY, "orders")], "the day that was read is not lost"
    await check_ledger(stage, account.id)


@pytest.mark.parametrize("answers", [True, False])
async def test_a_replay_finds_the_same(stage: Stage, answers: bool) -> None:
    if answers:
        remembers(stage)
    account, _ = await read_until_ten(stage)
    stage.at(TUESDAY, 9, 30)
    await stage.sync(account)
    stage.move(ist(TUESDAY, 12))
    done = await replay(stage.app, account.id, since_on=FIRST_DAY)
    assert (done.batches, done.voided, done.added) == (2, 0, 0)
    await check_ledger(stage, account.id)


async def lost_from_the_evenings_list(stage: Stage) -> tuple[Account, str]:
    """Monday read at 10:00 and, with a snapshot, at 16:00; one order that was open at ten, and executed since, had
    gone from the evening's list."""
    remembers(stage)
    account, open_then = await read_until_ten(stage)
    stage.at(FIRST_DAY, 16)
    theirs = stage.sim.account(2)
    theirs.catch_up(int(ist(FIRST_DAY, 16).timestamp()))
    order_id = next(one for one in open_then if theirs.orders[one].filled_quantity)
    listed, theirs.orders = theirs.orders, {k: v for k, v in theirs.orders.items() if k != order_id}
    theirs.forget_answers()
    assert (await stage.sync(account)).counts["snapshots"] == 1
    assert await stage.rows("SELECT kind, subject FROM open_findings") == [("MISSING", order_id)]
    theirs.orders = listed
    theirs.forget_answers()
    return account, order_id


REVISIONS = "SELECT trading_on, revision, fills_count, reason FROM portfolio_snapshots ORDER BY seq"


async def test_a_day_that_has_its_snapshot_gets_a_revision_that_says_why(stage: Stage) -> None:
    account, order_id = await lost_from_the_evenings_list(stage)
    stage.at(TUESDAY, 9, 30)
    await stage.sync(account)
    (_, _, before, _), (on, revision, after, reason) = await stage.rows(REVISIONS)
    assert (on, revision) == (FIRST_DAY, 2)
    assert after == before + len(stage.sim.account(2).earlier_orders[order_id].fills)
    assert f"what became of order {order_id} was learned on {TUESDAY}: differs in fills_count" in reason
    assert await stage.rows("SELECT kind FROM open_findings") == [], "the order is not missing any more"
    stage.at(TUESDAY, 16)
    await stage.sync(account)
    assert len(await stage.rows(REVISIONS)) == 3, "one revision, and one snapshot of Tuesday"
    await check_ledger(stage, account.id)


async def test_a_reading_before_the_next_session_learns_it_as_well(stage: Stage) -> None:
    """At 08:15 it is still Monday's reading: late, so it revises nothing by its lists, but by what it asked for."""
    account, order_id = await lost_from_the_evenings_list(stage)
    stage.at(TUESDAY, 8, 15)
    assert (await stage.sync(account)).standing == "late"
    assert ("RECOVERED", FIRST_DAY, order_id) in await stage.rows(EVENTS)
    assert [(on, revision) for on, revision, *_ in await stage.rows(REVISIONS)] == [(FIRST_DAY, 1), (FIRST_DAY, 2)]
    await check_ledger(stage, account.id)


def keeps_open(stage: Stage, order_id: str) -> Any:
    """From the next night on Groww calls this order open still, whatever became of it."""
    theirs = stage.sim.account(2).earlier_orders[order_id]
    theirs.status, theirs.fills, theirs.filled_quantity, theirs.filled_value = "OPEN", [], 0, Decimal(0)
    theirs.exchange_time = None
    return theirs


async def test_an_order_that_is_open_still_is_asked_for_once_each_morning_until_it_ends(stage: Stage) -> None:
    account = await until_the_morning(stage)
    order_id = await stage.one("SELECT subject FROM open_findings WHERE kind = 'MISSING'")
    stage.at(TUESDAY, 8, 15)
    theirs = keeps_open(stage, order_id)
    remembered = dict(stage.sim.account(2).earlier_orders)
    asked = []
    for on in (TUESDAY, WEDNESDAY):
        for minutes in ((8, 15), (16, 0), (23, 15)):
            stage.at(on, *minutes)
            stage.sim.account(2).earlier_orders = remembered
            stage.sim.requests.clear()
            assert await plan(stage.app, stage.clock.now()) == Planned(due=1), (on, minutes)
            await run_queued(stage.app, account.id)
            asked.append(sum(request.path.endswith(order_id) for request in stage.sim.requests))
    assert asked == [1, 0, 0, 1, 0, 0], "once a day"
    recovered = [(on, subject) for kind, on, subject in await stage.rows(EVENTS) if kind == "RECOVERED"]
    assert recovered == [(FIRST_DAY, order_id)] * 2
    [morning] = await stage.rows("SELECT count(*) FROM portfolio_snapshots WHERE trading_on = %s", FIRST_DAY)
    assert morning == (1,), "nothing was learned that changes Monday"
    assert await next_run(stage, account) == (ist(WEDNESDAY + timedelta(days=1), 8, 15), Reason.UNFINISHED)
    stage.at(WEDNESDAY + timedelta(days=1), 8, 15)
    stage.sim.account(2).earlier_orders = remembered
    theirs.status = "CANCELLED"
    assert await plan(stage.app, stage.clock.now()) == Planned(due=1)
    await run_queued(stage.app, account.id)
    assert await stage.one("SELECT status FROM current_orders WHERE broker_order_id = %s", order_id) == "CANCELLED"
    stage.at(WEDNESDAY + timedelta(days=2), 8, 15)
    stage.sim.requests.clear()
    await stage.sync(account)
    assert details_asked(stage) == 0, "it has its end"
    await check_ledger(stage, account.id)
    done = await replay(stage.app, account.id, since_on=FIRST_DAY)
    assert (done.voided, done.added, done.snapshots) == (0, 0, ())


@pytest.mark.parametrize("forgets", [True, False])
async def test_an_order_that_never_ends_becomes_a_gap(stage: Stage, forgets: bool) -> None:
    """When the broker does not know it any more, and after two weeks at the latest."""
    account, order_id = await lost_from_the_evenings_list(stage)
    stage.at(TUESDAY, 8, 15)
    keeps_open(stage, order_id)
    remembered = dict(stage.sim.account(2).earlier_orders)
    days = (1, 2) if forgets else (1, 14, 15, 16)
    for day in days:
        stage.at(FIRST_DAY + timedelta(days=day), 8, 15)
        stage.sim.account(2).earlier_orders = {} if forgets and day == days[-1] else remembered
        await stage.sync(account)
    said = "SELECT kind, details ->> 'reason' FROM ledger_events WHERE subject = %s AND kind IN ('RECOVERED', 'GAP')"
    found = await stage.rows(f"{said} ORDER BY seq", order_id)
    assert [kind for kind, _ in found] == ["RECOVERED", *([] if forgets else ["RECOVERED"]), "GAP"]
    assert ("does not know it any more" if forgets else "has called the order open for 14 days") in found[-1][1]
    [day] = await covered(stage, account)
    assert (day.recovered, day.unanswered) == ([], [order_id]), "one order, one word"
    await check_ledger(stage, account.id)


async def covered(stage: Stage, account: Account) -> list[CoverageDay]:
    """Monday in `coverage`."""
    async with transaction(stage.app.pool) as tx:
        return await coverage(tx, [account.id], {FIRST_DAY: ist(FIRST_DAY, 15, 30)})


def misread_earlier(said: Statement) -> Statement:
    """Of orders that were asked for by their id, the last execution is overlooked and the others cost too much."""
    ids = {order.broker_order_id for order in said.earlier}
    wrong = [fill for fill in said.fills if fill.broker_order_id in ids]
    dearer = [msgspec.structs.replace(fill, price=fill.price + 1) for fill in wrong[:-1]]
    return msgspec.structs.replace(said, fills=(*(fill for fill in said.fills if fill not in wrong), *dearer))


@pytest.mark.parametrize("since_on", [FIRST_DAY, TUESDAY])
async def test_a_replay_from_a_later_day_on_revises_the_day_of_a_recovered_order(stage: Stage, since_on: date) -> None:
    """The facts of Tuesday's batch tell of Monday, so Monday's snapshot follows, wherever the replay begins."""
    account, _ = await lost_from_the_evenings_list(stage)
    stage.at(TUESDAY, 9, 30)
    await sync_account(broken(stage, misread_earlier), account.id)
    stage.at(TUESDAY, 16)
    await stage.sync(account)
    newest = "SELECT fills_count, reason FROM portfolio_snapshots WHERE trading_on = %s ORDER BY revision DESC LIMIT 1"
    before, _ = await stage.one(newest, FIRST_DAY)
    done = await replay(stage.app, account.id, since_on=since_on)
    assert FIRST_DAY in done.snapshots
    after, reason = await stage.one(newest, FIRST_DAY)
    told = await stage.one("SELECT count(*) FROM effective_order_fills WHERE trading_on = %s", FIRST_DAY)
    assert after == told == before + 1, "the execution that was overlooked counts"
    assert reason.startswith("replay: ")
    await check_ledger(stage, account.id)
    again = await replay(stage.app, account.id, since_on=since_on)
    assert (again.voided, again.added, again.snapshots) == (0, 0, ())


async def test_two_weeks_of_trouble_end_as_a_gap_that_names_the_order(stage: Stage) -> None:
    account, open_then = await read_until_ten(stage)
    stage.sim.add_fault(Fault(kind="html", path="/v1/order/detail", status=503, times=None))
    for days in (1, 14):
        stage.at(FIRST_DAY + timedelta(days=days), 16)
        await stage.sync(account)
        assert {subject for _, _, subject in await stage.rows(EVENTS)}.isdisjoint(open_then), "asked for still"
    stage.at(FIRST_DAY + timedelta(days=15), 16)
    for _ in range(2):
        await stage.sync(account)
        given_up = [(kind, on, subject) for kind, on, subject in await stage.rows(EVENTS) if subject in open_then]
        assert sorted(given_up) == [("GAP", FIRST_DAY, order) for order in open_then], "once"
    await check_ledger(stage, account.id)


async def next_run(stage: Stage, account: Account) -> tuple[datetime, Reason]:
    async with transaction(stage.app.pool) as tx:
        account = await accounts.load(tx, account.id)
    [run] = await runs(stage.app, account, 1)
    return run.at, run.reason


async def until_the_morning(stage: Stage) -> Account:
    """The same account, read by its late pass as well, which did not find the order either."""
    account, order_id = await lost_from_the_evenings_list(stage)
    theirs = stage.sim.account(2)
    listed, theirs.orders = theirs.orders, {k: v for k, v in theirs.orders.items() if k != order_id}
    for minutes in ((16, 0), (23, 15)):
        stage.at(FIRST_DAY, *minutes)
        theirs.forget_answers()
        await plan(stage.app, stage.clock.now())
        await run_queued(stage.app, account.id)
    theirs.orders = listed
    stage.at(TUESDAY, 8, 14)
    return account


async def test_the_next_morning_has_a_run_for_them_once(stage: Stage) -> None:
    account = await until_the_morning(stage)
    morning = ist(TUESDAY, 8, 15)
    assert await next_run(stage, account) == (morning, Reason.UNFINISHED)
    async with transaction(stage.app.pool) as tx:
        assert (await standings(stage.app, tx, [account.id]))[0].next_due_at == morning
    assert await plan(stage.app, stage.clock.now()) == Planned()
    stage.move(morning)
    planned = await asyncio.gather(*(plan(stage.app, morning) for _ in range(3)))
    assert sum(one.due for one in planned) == 1
    assert await stage.one("SELECT trigger FROM sync_batches WHERE slot_at = %s", morning) == "scheduled"
    report = await run_queued(stage.app, account.id)
    assert report is not None
    assert (report.status, report.standing) == ("completed", "late")
    assert await stage.rows("SELECT kind FROM open_findings") == []
    for minutes in ((8, 16), (9, 30)):
        stage.at(TUESDAY, *minutes)
        assert await plan(stage.app, stage.clock.now()) == Planned()
    assert await next_run(stage, account) == (ist(TUESDAY, 16), Reason.REGULAR)


async def test_a_morning_that_was_slept_through_is_caught_up_with(stage: Stage) -> None:
    await until_the_morning(stage)
    stage.at(TUESDAY, 9, 30)
    assert await plan(stage.app, stage.clock.now()) == Planned(due=1)
    slot = await stage.rows("SELECT trigger, slot_at FROM sync_batches WHERE status = 'queued'")
    assert slot == [("catch-up", ist(TUESDAY, 8, 15))]


async def test_who_has_been_read_since_or_cannot_log_in_has_no_such_run(stage: Stage) -> None:
    account = await until_the_morning(stage)
    stage.at(TUESDAY, 8, 20)
    stage.sim.add_fault(Fault(kind="html", path="/v1/order/detail", status=503, times=None))
    await stage.rows("UPDATE broker_accounts SET login = 'approval', token_expires_at = NULL RETURNING id")
    assert await plan(stage.app, stage.clock.now()) == Planned(), "the owner is not woken for it"
    await stage.rows("UPDATE broker_accounts SET login = 'totp' RETURNING id")
    await stage.sync(account)
    assert await plan(stage.app, stage.clock.now()) == Planned(), "it has been asked; the day's run asks again"


async def test_before_the_close_nobody_knows_which_orders_will_be_left(stage: Stage) -> None:
    account, _ = await read_until_ten(stage)
    assert Reason.UNFINISHED not in {run.reason for run in await runs(stage.app, account, 10)}
    stage.at(FIRST_DAY, 15, 31)
    assert Reason.UNFINISHED in {run.reason for run in await runs(stage.app, account, 10)}


async def test_the_index_of_open_orders_knows_the_statuses_that_end_one(stage: Stage) -> None:
    stated = await stage.one("SELECT pg_get_indexdef('current_orders_open'::regclass)")
    for text in (stated, UNFINISHED.split("AND")[0]):
        assert set(re.findall(r"'([A-Z_]+)'", text)) == FILL_FINAL
