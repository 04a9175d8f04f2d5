"""T3: PostgreSQL is stopped at once, again and again, and workers are killed, while accounts are read for days."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from tests.crash.arena import EVENING, NOON, Arena, arena
from tests.crash.chaos import chaos
from tests.crash.lanes import Outcome
from tests.crash.server import Server, server
from tests.crash.storm import Killer, back
from tests.scale import PROOF, scaled

EVENTS = 12_000
ACCOUNTS = 40 if PROOF else 10
DAYS = 5 if PROOF else 1
CRASHES, KILLS = scaled(15), scaled(30)  # at least
WORKERS = 8 if PROOF else 3
KINDS = ("trader",)  # orders that are filled in parts, amended, cancelled, rejected; shares and contracts


@pytest.mark.long
async def test_nothing_is_lost_or_doubled_while_the_database_crashes(tell: Callable[[str, object], None]) -> None:
    outcome, killer = Outcome(), Killer(3)
    async with server() as database, arena(database.database, count=ACCOUNTS, load=None, kinds=KINDS) as place:
        disturbing = asyncio.create_task(rhythm(place, database, killer))
        while len(place.oracle.readings) < 2 * DAYS or place.oracle.expected.total() < scaled(EVENTS, share=20):
            place.next_moment(EVENING if place.oracle.readings and place.hour == NOON else NOON)
            if not await place.done(workers=WORKERS):
                outcome.wrong.append("not all accounts were read")
            place.end_workers()  # their time is over; the next ones begin at the next moment
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
        await back(place)
        outcome.judged("database crashes", place.judge())
        outcome.wrong += await place.problems()
    readings = sum(count for _, count in place.oracle.readings)
    tell(
        "T3 database crashes",
        f"{database.crashes} crashes, {killer.count} workers killed, {readings} readings, "
        f"{place.moved_on} waits for the planner; {outcome}",
    )
    assert outcome.wrong == []
    assert outcome.expected >= scaled(EVENTS, share=20)
    assert database.crashes >= CRASHES
    assert killer.count >= KILLS


async def rhythm(place: Arena, database: Server, killer: Killer) -> None:
    """From the first day to the last: 0.15 to 0.4 s after the first reading that ended since the last crash, the next.

    Two workers are killed meanwhile. Without that one reading nothing would ever end on a slow machine.
    """
    ended = 0
    while True:
        await back(place)
        await place.until(partial(place.has_completed_more_than, ended))
        ended = place.completed()
        wait = killer.chance.uniform(0.15, 0.4)
        for _ in range(2):
            await asyncio.sleep(wait * 0.4)
            killer.kill_one(place)
        await asyncio.sleep(wait * 0.2)
        await asyncio.shield(database.crash())


@pytest.mark.skipif(not PROOF, reason="a soak of minutes: `make proof` runs a short one, `make chaos` a long one")
async def test_a_soak_with_everything_breaking_loses_and_doubles_nothing(tell: Callable[[str, object], None]) -> None:
    soak = await chaos(3)
    tell("T4 soak of 3 minutes", soak)
    assert soak.outcome.wrong == []
    assert soak.crashes > 0
    assert soak.killed > 0
