"""The benchmarks run to their end and say all they should. What they say on a test machine means nothing."""

import json
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner

from portfolio_scheduler.bench import statements
from portfolio_scheduler.bench.crew import Crew
from portfolio_scheduler.bench.figures import Scale, at_least, at_most, figure, ratios, significant
from portfolio_scheduler.bench.host import host
from portfolio_scheduler.bench.run import MEASURES
from portfolio_scheduler.cli.main import app
from portfolio_scheduler.domain.changes import Moment, OrderChange, OrderSeen, State, fold
from portfolio_scheduler.domain.diff import diff
from portfolio_scheduler.simulator.options import SimulatorOptions
from tests.conftest import open_folder
from tests.crash import worker_process
from tests.crash.conftest import nursery
from tests.scale import PROOF

__all__ = ["nursery"]

AIMED_AT = {
    "simulator": 1,
    "pure": 0,
    "apply": 8,
    "end-to-end": 5,
    "unchanged": 1,
    "limits": 3,
    "planner": 3,
    "first-day": 0,
    "memory": 1,
    "size": 1,
    "warm-start": 1,
    "as-of": 1,
    "rebuild": 0,
    "rewrap": 0,
    "live": 4,
    "api": 9,
}

SLOW = {"apply", "limits"}  # even when quick, they take a quarter of a minute: `make proof`
STARTED_ANEW = "simulator"  # the one whose process is started as outside the tests


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go: a place of the test's own, to see what is left there."""
    made = open_folder()
    monkeypatch.setenv("TMPDIR", str(made))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return made


@pytest.fixture
def forked(nursery: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark's processes are forked from one that has imported everything, as those of the crash tests are."""
    monkeypatch.setattr(Crew, "context", worker_process.nursery)


def bench(*options: str) -> Any:
    return CliRunner().invoke(app, ["bench", "--quick", *options])


@pytest.mark.long
@pytest.mark.parametrize("measure", [one for one in MEASURES if PROOF or one not in SLOW])
def test_every_benchmark_says_its_figures_and_leaves_nothing_behind(
    request: pytest.FixtureRequest, temporary: Path, measure: str
) -> None:
    if measure != STARTED_ANEW:
        request.getfixturevalue("forked")
    out = temporary / "figures.json"
    done = bench("--only", measure, "--json", "--out", str(out))
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report == json.loads(out.read_text())
    assert report["quick"] is True
    assert {line["measure"] for line in report["figures"]} == {measure}
    assert sum(line["aim"] is not None for line in report["figures"]) == AIMED_AT[measure]
    assert all(line["low"] <= line["median"] <= line["high"] for line in report["figures"])
    assert [path.name for path in temporary.iterdir()] == ["figures.json"]


def test_one_benchmark_as_a_table() -> None:
    done = bench("--only", "pure")
    assert done.exit_code == 0
    assert "fold, 1 000 orders" in done.stdout
    assert "these figures mean nothing" in done.stdout
    assert "accounts/s" not in done.stdout


@pytest.mark.parametrize("options", [("--only", "nonsense"), ("--only", "pure", "--out", "/no/such/folder/x.json")])
def test_wrong_use_is_one_sentence(options: tuple[str, ...]) -> None:
    done = bench(*options)
    assert done.exit_code != 0
    assert type(done.exception).__name__ == "InvalidInput"


def test_a_figure_is_the_median_with_its_spread_and_whether_it_meets_its_aim() -> None:
    line = figure("apply", "first sync", "× raw", [0.5, 0.7, 0.6123456], at_least(0.6))
    assert (line.median, line.low, line.high, line.runs) == (0.6123, 0.5, 0.7, 3)
    assert (line.aim, line.met) == ("≥ 0.6", True)
    assert figure("memory", "worker", "MiB", [151.0], at_most(150)).met is False
    assert figure("pure", "fold", "µs", [1.0]).met is None
    assert (significant(0), significant(1234567.0), significant(0.000123456)) == (0, 1235000, 0.0001235)
    assert ratios([2.0, 3.0], [1.0, 6.0]) == [2.0, 0.5]
    assert (Scale().runs >= 5, Scale(quick=True).runs) == (True, 1)


async def test_a_broker_that_counts_says_too_many_and_the_bench_counts_it() -> None:
    """Who asks 30 times within a second, with no budget of their own, is refused 10 times."""
    async with host(SimulatorOptions(accounts=1, limits=True)) as simulator, aiohttp.ClientSession() as client:
        headers = {"Authorization": f"Bearer {await simulator.token(1)}", "X-API-VERSION": "1.0"}
        for _ in range(30):
            async with client.get(f"{await simulator.url()}/holdings/user", headers=headers) as answer:
                await answer.read()
        assert await simulator.statuses() == {200: 20, 429: 10}


def test_the_statements_are_of_the_size_they_claim() -> None:
    """50 holdings, 10 positions, 100 orders of which 75 are filled; then ten of them change; then nothing does."""
    first, changed, unchanged = statements.first(), statements.changed(), statements.unchanged()
    assert (len(first.holdings), len(first.positions), len(first.orders), len(first.fills)) == (50, 10, 100, 75)
    before = {order.broker_order_id: order for order in first.orders}
    assert sum(before[order.broker_order_id] != order for order in changed.orders) == 10
    known, seq = State(), 0
    for said, orders_touched in ((first, 100), (changed, 10), (unchanged, 0)):
        moment = Moment(observed_at=said.observed_at, observed_on=statements.DAY, trading_on=statements.DAY)
        changes = diff(known, said, moment).changes
        assert not [change for change in changes if type(change).__name__ == "Event"]
        touched = {change.order.broker_order_id for change in changes if isinstance(change, OrderSeen)}
        touched |= {change.broker_order_id for change in changes if isinstance(change, OrderChange)}
        assert len(touched) == orders_touched
        known = fold(known, enumerate(changes, start=seq + 1))
        seq += len(changes)
    assert all(order.order.filled_quantity == order.fills_quantity for order in known.orders.values())
