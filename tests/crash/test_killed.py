"""T1: workers are killed at each failpoint, and everything is written once."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from portfolio_scheduler.simulator.options import Load, Quirks
from tests.conftest import Database
from tests.crash.arena import EVENING, LEASE_SECONDS, NOON, Arena, arena, copied
from tests.crash.points import failpoints
from tests.crash.worker_process import Trouble
from tests.scale import scaled

RUNS = 242
LANES = 4
ACCOUNTS = 4
LOAD = Load(holdings=6, orders=12, filled=6)

# Points that are reached at some times of day only, or once in a worker's life, or only when something is wrong.
AT = {"token_minted": NOON, "token_kept": NOON, "days_marked_lost": NOON, "snapshot_taken": EVENING}
ONCE = {"planning", "planned", "sweeping", "failing", "beating"}
NEEDS: dict[str, dict[str, Any]] = {
    "beating": {"kind": "delay", "path": "/v1/margins", "seconds": LEASE_SECONDS * 0.6},
    "failing": {"kind": "failure", "path": "/v1/user/detail", "status": 400, "code": "GA001"},
}


async def test_a_worker_killed_at_any_failpoint_loses_nothing_and_doubles_nothing(
    template: Database, admin: "psycopg.Connection[Any]"
) -> None:
    points = failpoints()
    runs = points * max(scaled(RUNS) // len(points), 2)
    lanes = [runs[number::LANES] for number in range(LANES)]
    told = await asyncio.gather(*(lane(template, admin, number, own) for number, own in enumerate(lanes)))
    assert [line for lines in told for line in lines] == []


async def lane(
    template: Database, admin: "psycopg.Connection[Any]", number: int, points: Sequence[str]
) -> list[str]:
    """One database after the other's kill. What went wrong."""
    chance = random.Random(number)
    wrong: list[str] = []
    with copied(template, admin) as database:
        async with arena(database, count=ACCOUNTS, load=LOAD, kinds=("quiet",)) as place:
            for point in points:
                wrong += await kill_at(place, point, 1 if point in ONCE else chance.randint(1, ACCOUNTS - 1))
            return wrong + await place.problems()


async def kill_at(place: Arena, point: str, nth: int) -> list[str]:
    """Kill one worker there; another one ends the work."""
    hour = AT.get(point) or (EVENING if place.oracle.readings and place.hour == NOON else NOON)
    if hour == EVENING and (not place.oracle.readings or place.hour == EVENING):
        place.next_moment(NOON, skipping=1)
        await place.done()
        place.end_workers()
    place.next_moment(hour, skipping=1)
    if point in NEEDS:
        place.break_broker(**NEEDS[point])
    worker = place.start(Trouble(point=point, act="kill", nth=nth))
    done = await place.done()
    told = worker.told()
    place.end_workers()
    wrong = [] if done else [f"{point}: not done"]
    if told != [("kill", point)]:
        wrong.append(f"{point}: was not reached {nth} times; teach the test when it is")
    verdict = place.judge()
    return wrong if verdict.is_good else [*wrong, f"killed at {point} ({nth}): {verdict}"]
