"""A broker at its worst, against whole syncs: bursts of errors drawn by a seed, and one bad account among many."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from portfolio_scheduler.app import App
from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.brokers.http import Policy
from portfolio_scheduler.clock import StoppedClock
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Pool
from portfolio_scheduler.domain.records import Outcome
from portfolio_scheduler.jobs import SYNCS_AT_ONCE
from portfolio_scheduler.market.calendar import make_calendar
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.simulator.server import SimulatorOptions, running
from portfolio_scheduler.sync.plan import plan
from portfolio_scheduler.sync.run import run_queued
from tests.conftest import Database, keys_of
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger
from tests.scale import PROOF, scaled

ACCOUNTS = scaled(100)
BAD = 4
DAY = timedelta(days=1)
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


@pytest.mark.skipif(not PROOF, reason="a figure of `make proof`: machines differ too much for a limit")
async def test_what_one_bad_account_costs_the_others_in_time(crowd: Stage, tell: Callable[[str, object], None]) -> None:
    """As many at once as a worker reads, with the retries of production: the bad one waits, the others go on."""
    crowd.app.brokers["groww"] = Groww(crowd.sim.url)  # type: ignore[index]
    accounts = [await crowd.connect(number) for number in range(1, ACCOUNTS + 1)]
    took: list[float] = []
    for on in (FIRST_DAY, FIRST_DAY + DAY, FIRST_DAY + 2 * DAY):  # the first has more to write
        crowd.at(on, 16)
        if len(took) == 2:
            crowd.sim.add_fault(Fault(kind="status", path="/v1", account=BAD, status=502, times=None))
        took.append(await _until_all_others_were_read(crowd, accounts))
    without, with_it = took[1:]
    tell(
        "T36 one bad account",
        f"{ACCOUNTS - 1} others read in {with_it:.1f} s, {without:.1f} s without it: {with_it / without - 1:+.0%}",
    )


async def _until_all_others_were_read(crowd: Stage, accounts: list[Account]) -> float:
    at_once = asyncio.Semaphore(SYNCS_AT_ONCE)
    ended: dict[int, float] = {}
    began = time.monotonic()

    async def run(number: int) -> None:
        async with at_once:
            report = await crowd.sync(accounts[number - 1])
        ended[number] = time.monotonic()
        assert (report.status == "completed") or number == BAD

    await asyncio.gather(*(run(number) for number in range(1, ACCOUNTS + 1)))
    return max(at for number, at in ended.items() if number != BAD) - began


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
