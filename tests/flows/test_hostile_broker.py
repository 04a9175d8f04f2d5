"""A broker at its worst, against whole syncs: bursts of errors drawn by a seed, and one bad account among many."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from portfolio_scheduler.app import App
from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.brokers.http import Policy
from portfolio_scheduler.clock import StoppedClock
from portfolio_scheduler.db.pool import Pool
from portfolio_scheduler.domain.records import Outcome
from portfolio_scheduler.market.calendar import make_calendar
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.simulator.server import SimulatorOptions, running
from portfolio_scheduler.sync.plan import plan
from portfolio_scheduler.sync.run import run_queued
from tests.conftest import Database, keys_of
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger
from tests.scale import scaled

ACCOUNTS = scaled(100)
BAD = 4
PATIENT = Policy(deadline_seconds=5, backoff_seconds=0.02)


@pytest.fixture
async def crowd(database: Database, pool: Pool) -> AsyncIterator[Stage]:
    async with running(SimulatorOptions(accounts=ACCOUNTS, seed=7, on=FIRST_DAY)) as sim:
        clock = StoppedClock(sim.now)
        app = App(
            settings=database.settings,
            pool=pool,
            conninfo=database.worker,
            api_conninfo=database.api,
            clock=clock,
            calendar=make_calendar(),
            **await keys_of(database.settings, pool, clock),
            brokers={"groww": Groww(sim.url, PATIENT)},
        )
        yield Stage(app, sim, clock)


@pytest.mark.parametrize("kind", ["html", "drop", "gateway"])
async def test_one_bad_account_among_many_stops_no_other(crowd: Stage, kind: str) -> None:
    """All of them in one process, which shares a breaker: 5xx, cut connections, a dead login."""
    accounts = [await crowd.connect(number) for number in range(1, ACCOUNTS + 1)]
    crowd.at(FIRST_DAY, 16)
    crowd.sim.add_fault(Fault(kind=kind, path="/v1", account=BAD, status=401 if kind == "gateway" else 502, times=None))  # type: ignore[arg-type]
    assert (await plan(crowd.app, crowd.clock.now())).due == ACCOUNTS
    lanes = asyncio.Semaphore(2)  # connections of the pool, of which a test has four

    async def run(number: int) -> str:
        async with lanes:
            report = await run_queued(crowd.app, accounts[number - 1].id)
        assert report is not None
        return report.status

    ended = await asyncio.gather(*(run(number) for number in range(1, ACCOUNTS + 1)))
    assert ended[BAD - 1] == "failed"
    assert [status for number, status in enumerate(ended, 1) if number != BAD] == ["completed"] * (ACCOUNTS - 1)


SEEDS = scaled(200, 40)


async def test_bursts_of_errors_cost_sections_at_most_and_never_half_of_one(stage: Stage) -> None:
    """A third of all answers is an error: five attempts bring nearly all sections, the others change nothing."""
    stage.app.brokers["groww"] = Groww(stage.sim.url, PATIENT)  # type: ignore[index]
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    sections, failed = 0, 0
    for seed in range(SEEDS):
        stage.sim.faults.waiting.clear()
        for n, status in enumerate((500, 502, 503, 504)):
            stage.sim.add_fault(
                Fault(kind="status", path="/v1", method="GET", status=status, percent=8, seed=4 * seed + n, times=None)
            )
        report = await stage.sync(account)
        sections += len(report.sections)
        failed += sum(result.outcome is not Outcome.OK for result in report.sections.values())
        assert all(result.error == "BrokerUnavailable" for result in report.sections.values() if result.error)
        await check_ledger(stage, account.id)
    assert sections
    assert failed <= max(2, sections // 100), f"{failed} of {sections}"
    orders = await stage.one("SELECT count(*) FROM order_history")
    assert orders in {0, len(stage.sim.account(2).orders)}


async def test_the_same_seed_fails_the_same_calls(stage: Stage) -> None:
    """What a seed found once it finds again: else no failure could be looked into."""
    drawn = []
    for _ in range(2):
        stage.sim.faults.__init__()  # type: ignore[misc]
        stage.sim.add_fault(Fault(kind="status", status=503, percent=30, seed=11, times=None))
        drawn.append([stage.sim.faults.next_for("GET", "/v1/x", 1) is not None for _ in range(200)])
    assert drawn[0] == drawn[1]
    assert 30 < sum(drawn[0]) < 90
