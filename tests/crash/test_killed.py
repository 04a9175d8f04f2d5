"""T1: workers are killed at each failpoint, and everything is written once."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest

from tests.conftest import Database
from tests.crash.arena import EVENING, HOURS, LEASE_SECONDS, NIGHT, NOON, Arena
from tests.crash.lanes import Outcome, in_lanes
from tests.crash.points import failpoints
from tests.crash.worker_process import Trouble
from tests.scale import scaled

RUNS = 240
ACCOUNTS = 4

# Points that are reached at some times of day only, or once in a worker's life, or only when something is wrong.
AT = {"token_minted": NOON, "token_kept": NOON, "days_marked_lost": NOON, "snapshot_taken": EVENING, "repeated": NIGHT}
ONCE = {"planning", "planned", "sweeping", "failing", "beating"}
NEEDS: dict[str, dict[str, Any]] = {
    "beating": {"kind": "delay", "path": "/v1/margins", "seconds": LEASE_SECONDS * 0.6},
    "failing": {"kind": "failure", "path": "/v1/user/detail", "status": 400, "code": "GA001"},
}


@pytest.mark.long
async def test_a_worker_killed_at_any_failpoint_loses_nothing_and_doubles_nothing(
    template: Database, admin: "psycopg.Connection[Any]", tell: Callable[[str, object], None]
) -> None:
    points = failpoints()
    works = points * max(-(-scaled(RUNS) // len(points)), 2)
    outcome = await in_lanes(template, admin, works, killed, count=ACCOUNTS)
    tell("T1 killed at a failpoint", outcome)
    assert outcome.wrong == []
    assert outcome.runs == len(works)
    assert outcome.expected > 20 * len(works)


async def killed(place: Arena, outcome: Outcome, points: Sequence[str]) -> None:
    """One worker after the other is killed; another one ends its work."""
    chance = random.Random(",".join(points))
    for point in points:
        nth = 1 if point in ONCE else chance.randint(1, ACCOUNTS - 1)
        await prepare(place, point)
        worker = place.start(Trouble(point=point, act="kill", nth=nth))
        if not await place.done():
            outcome.wrong.append(f"{point}: not all accounts were read")
        if worker.told() != [("kill", point)]:
            outcome.wrong.append(f"{point}: was not reached {nth} times; teach the test when it is")
        place.end_workers()
        outcome.judged(f"killed at {point} ({nth})", place.judge())


async def prepare(place: Arena, point: str) -> None:
    """A moment at which that point is reached, with what it needs."""
    noon = not place.oracle.readings or place.hour == EVENING
    hour = AT.get(point) or (NOON if noon else EVENING)
    todays = HOURS if noon else HOURS[1:]
    for earlier in todays[: todays.index(hour)] if hour in todays else [EVENING]:  # or orders are left open for ever
        place.next_moment(earlier, skipping=1)
        await place.done()
        place.end_workers()
    place.next_moment(hour, skipping=1)
    if point in NEEDS:
        place.break_broker(**NEEDS[point])
