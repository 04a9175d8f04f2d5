"""T3: PostgreSQL is stopped at once, again and again, and workers are killed, while accounts are read for days."""

import asyncio
from collections.abc import Callable

import pytest

from tests.crash.arena import EVENING, NOON, Arena, arena
from tests.crash.chaos import chaos
from tests.crash.lanes import Outcome
from tests.crash.server import Server, server
from tests.crash.storm import Killer, back
from tests.scale import PROOF, scaled

EVENTS = 12_000
ACCOUNTS = 40 if PROOF else 10
CRASHES, KILLS = scaled(15), scaled(30)  # at least
WORKERS = 8 if PROOF else 3
KINDS = ("trader",)  # orders that are filled in parts, amended, cancelled, rejected; shares and contracts


@pytest.mark.long
async def test_nothing_is_lost_or_doubled_while_the_database_crashes(tell: Callable[[str, object], None]) -> None:
    outcome, killed = Outcome(), Killer(3)
    async with server() as database, arena(database.database, count=ACCOUNTS, load=None, kinds=KINDS) as place:
        while outcome.expected < scaled(EVENTS, share=20):
            place.next_moment(NOON if outcome.runs % 2 == 0 else EVENING)
            await storm(place, database, killed, outcome)
            outcome.judged("database crashes", place.judge())
        outcome.wrong += await place.problems()
    batches = sum(count for _, count in place.oracle.readings)
    tell(
        "T3 database crashes",
        f"{database.crashes} crashes, {killed.count} workers killed, {batches} readings, "
        f"{place.moved_on} waits for the planner; {outcome}",
    )
    assert outcome.wrong == []
    assert database.crashes >= CRASHES
    assert killed.count >= KILLS


async def storm(place: Arena, database: Server, killer: Killer, outcome: Outcome) -> None:
    """Workers at work, disturbed a few times, until all accounts have been read."""
    disturbing = asyncio.create_task(disturb(place, database, killer))
    if not await place.done(workers=WORKERS):
        outcome.wrong.append("not all accounts were read")
    await disturbing
    place.end_workers()
    await back(place)


async def disturb(place: Arena, database: Server, killer: Killer) -> None:
    """Two crashes and four killed workers, in the rhythm of the recipe, counted from when the server is back."""
    for _ in range(2):
        for _ in range(2):
            await asyncio.sleep(killer.chance.uniform(0.15, 0.6))
            killer.kill_one(place)
        await asyncio.sleep(killer.chance.uniform(0.15, 0.4))
        await database.crash()


@pytest.mark.skipif(not PROOF, reason="a soak of minutes: `make proof` runs a short one, `make chaos` a long one")
async def test_a_soak_with_everything_breaking_loses_and_doubles_nothing(tell: Callable[[str, object], None]) -> None:
    soak = await chaos(3)
    tell("T4 soak of 3 minutes", soak)
    assert soak.outcome.wrong == []
    assert soak.crashes > 0
    assert soak.killed > 0
