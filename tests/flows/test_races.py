"""Recipes T6 and T7: many workers at one account, and a button that is pressed many times at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from portfolio_scheduler.app import App
from portfolio_scheduler.cli.syncing import sync_one
from portfolio_scheduler.db import planning, queue
from portfolio_scheduler.db.planning import Due
from portfolio_scheduler.db.pool import make_pool, opened, transaction
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.plan import plan
from portfolio_scheduler.sync.run import Report, run_queued
from tests.conftest import Database
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger
from tests.scale import scaled

ROUNDS, RACERS, PRESSES = 50, 8, 20


@pytest.fixture
async def crowded(stage: Stage, database: Database) -> AsyncIterator[App]:
    """The product with a connection for every racer."""
    async with opened(make_pool(database.worker, "worker", max_size=PRESSES + 4)) as pool:
        yield replace(stage.app, pool=pool)


async def test_of_eight_workers_at_one_account_exactly_one_runs_its_batch(stage: Stage, crowded: App) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    rounds = scaled(ROUNDS)
    for number in range(rounds):
        slot_at = stage.clock.now() + timedelta(seconds=number)
        async with transaction(crowded.pool) as tx:
            due = [Due(account_id=account.id, slot_at=slot_at, trigger="scheduled")]
            assert await planning.add_due(tx, due, slot_at) == [account.id]
            await queue.enqueue(tx, [account.id])
        reports = await asyncio.gather(*(run_queued(crowded, account.id) for _ in range(RACERS)))
        assert [type(report) for report in reports if report is not None] == [Report], number
    ended = await stage.rows("SELECT status, count(*) FROM sync_batches GROUP BY status")
    assert ended == [("completed", rounds)]
    assert await stage.one("SELECT count(*) FROM portfolio_snapshots") == 1
    await check_ledger(stage, account.id)


@pytest.mark.parametrize("round_", range(scaled(10)))
@pytest.mark.parametrize("with_the_tick", [False, True])
async def test_a_sync_pressed_twenty_times_at_once_is_one_batch_that_all_answers_name(
    stage: Stage, crowded: App, with_the_tick: bool, round_: int
) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    slow = Fault(kind="delay", path="/v1/holdings", seconds=60)  # until all have been pressed
    stage.sim.add_fault(slow)

    async def ticked() -> None:
        if with_the_tick:
            await plan(crowded, crowded.clock.now())
            await run_queued(crowded, account.id)

    presses = [asyncio.create_task(sync_one(crowded, account, retry=False)) for _ in range(PRESSES)]
    ticking = asyncio.create_task(ticked())
    ended = asyncio.as_completed(presses)
    for _ in range(PRESSES - 1):  # all but the one that may be running it
        await next(ended)
    await asyncio.sleep(0.2)  # that may still be on its way
    slow.seconds = 0
    outcomes, _ = await asyncio.gather(asyncio.gather(*presses), ticking)
    batches = await stage.rows("SELECT id::text, status FROM sync_batches")
    assert [status for _, status in batches] == ["completed"], (round_, batches)
    assert {outcome.batch_id for outcome in outcomes} == {batches[0][0]}
    words = Counter(outcome.status for outcome in outcomes)
    assert words["completed"] <= 1  # who ran it; with the tick it may have been the worker
    assert words["running"] == PRESSES - words["completed"]
    await check_ledger(stage, account.id)
