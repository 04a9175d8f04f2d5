"""T3: PostgreSQL is stopped at once, again and again, and workers are killed, while accounts are read for days."""

import asyncio
import random
import signal
from collections.abc import Callable
from contextlib import suppress

from tests.crash.arena import EVENING, NOON, Arena, arena
from tests.crash.lanes import Outcome
from tests.crash.server import Server, server
from tests.scale import FULL, scaled

EVENTS = 12_000
ACCOUNTS = 40 if FULL else 10
CRASHES, KILLS = scaled(15), scaled(30)  # at least
WORKERS = 8 if FULL else 3
KINDS = ("trader",)  # orders that are filled in parts, amended, cancelled, rejected; shares and contracts


async def test_nothing_is_lost_or_doubled_while_the_database_crashes(tell: Callable[[str, object], None]) -> None:
    outcome, killed = Outcome(), Killer(3)
    async with server() as database, arena(database.database, count=ACCOUNTS, load=None, kinds=KINDS) as place:
        while outcome.expected < scaled(EVENTS):
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


class Killer:
    """Kills workers, whatever they are doing."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.count = 0

    def kill_one(self, place: Arena) -> None:
        alive = [worker for worker in place.workers if worker.is_alive]
        if alive:
            self.chance.choice(alive).send(signal.SIGKILL)
            self.count += 1


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


async def back(place: Arena) -> None:
    """The last crash may still be going on."""
    while place.connection.closed or not _answers(place):
        place.reconnect()
        await asyncio.sleep(0.05)


def _answers(place: Arena) -> bool:
    with suppress(Exception):
        place.facts()
        return True
    return False
