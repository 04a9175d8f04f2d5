"""T2 and T21: a worker is stopped past its lease; when it wakes up, another one has done its work."""

import signal
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest

from tests.conftest import Database
from tests.crash.arena import Arena
from tests.crash.lanes import Outcome, in_lanes
from tests.crash.points import failpoints
from tests.crash.test_killed import prepare
from tests.crash.worker_process import Trouble
from tests.scale import PROOF, scaled

RUNS = 60  # of points at which there is a batch to lose
STOP_SECONDS = 20
# At these a worker holds no claim (or has kept its promise already): nothing is taken from it, and it writes nothing.
FREE = {"claiming", "planning", "planned", "sweeping", "applied", "repeated", "failing"}


@pytest.mark.long
async def test_a_worker_that_wakes_up_after_its_lease_writes_nothing(
    template: Database, admin: "psycopg.Connection[Any]", tell: Callable[[str, object], None]
) -> None:
    points = failpoints()
    held = [point for point in points if point not in FREE]
    works = points * (-(-RUNS // len(held)) if PROOF else 1)
    outcome = await in_lanes(template, admin, works, stopped)
    tell("T2 stopped past the lease", outcome)
    assert outcome.wrong == []
    assert outcome.runs == len(works)
    assert outcome.fenced == sum(point not in FREE for point in works)


async def test_a_machine_suspended_in_mid_fetch_is_fenced_and_its_syncs_run_again(
    template: Database, admin: "psycopg.Connection[Any]", tell: Callable[[str, object], None]
) -> None:
    works = ["page_read", "book_read"] * scaled(10)
    outcome = await in_lanes(template, admin, works, suspended)
    tell("T21 suspended for 45 minutes", outcome)
    assert outcome.wrong == []
    assert outcome.fenced == outcome.runs == len(works)


async def stopped(place: Arena, outcome: Outcome, points: Sequence[str]) -> None:
    for point in points:
        await frozen(place, outcome, point, "stop")


async def suspended(place: Arena, outcome: Outcome, points: Sequence[str]) -> None:
    for point in points:
        await frozen(place, outcome, point, "suspend")


async def frozen(place: Arena, outcome: Outcome, point: str, act: Any, *, nth: int = 1, **duty: Any) -> None:
    """The worker stops itself there, a second one ends the work, the first goes on and is asked to end."""
    await prepare(place, point)
    zombie = place.start(Trouble(point=point, act=act, nth=nth), **duty)
    if not await place.frozen(zombie):
        outcome.wrong.append(f"{point}: was not reached")
    place.workers.remove(zombie)
    if not await place.done():
        outcome.wrong.append(f"{point}: not all accounts were read")
    taken = place.taken_over(zombie.pid)
    before = place.facts()
    place.workers.append(zombie)
    zombie.send(signal.SIGCONT)
    zombie.send(signal.SIGTERM)
    if not await place.ended(zombie, STOP_SECONDS):
        outcome.wrong.append(f"{point}: the worker that woke up was still there after {STOP_SECONDS} s")
    written = place.facts() - before
    if written:
        outcome.wrong.append(f"{point}: the worker that lost its batch wrote {written} facts")
    elif taken and point not in FREE:
        outcome.fenced += 1
    place.end_workers()
    outcome.judged(f"stopped at {point}", place.judge())
