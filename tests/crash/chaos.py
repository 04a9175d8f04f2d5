"""T4, the soak: `python -m tests.crash.chaos MINUTES`. Days are read while everything around them breaks.

PostgreSQL stops at once every 5 to 40 seconds, workers are killed, connections to the database and to the broker are
slow, cut or reset at random. After the given time there is quiet, in which what is open must end.
"""

import asyncio
import multiprocessing.forkserver
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from portfolio_scheduler import log
from portfolio_scheduler.failpoints import SWITCH
from tests.crash.arena import EVENING, Arena, arena
from tests.crash.lanes import Outcome
from tests.crash.proxy import Proxy, Toxic, proxied
from tests.crash.server import Server, server
from tests.crash.storm import Killer, back

HOST = "127.0.0.1"
ACCOUNTS = 20
WORKERS = 3
STORM_SECONDS = 60  # of one day at most; then it is left in peace until all accounts have been read
DATABASE_TOXICS = (
    Toxic(kind="latency", seconds=0.02, chance=0.2),
    Toxic(kind="cut", chance=0.002),
    Toxic(kind="cut at", pattern=b"COMMIT", chance=0.05),
    Toxic(kind="cut at", pattern=b"COMMIT", chance=0.05, answered=False),
    Toxic(kind="refuse", chance=0.3),
    Toxic(kind="cut after", size=20_000, chance=0.3),
)
BROKER_TOXICS = (
    Toxic(kind="latency", seconds=0.05, chance=0.3),
    Toxic(kind="slow", seconds=0.01, size=500, chance=0.1),
    Toxic(kind="cut", chance=0.02),
    Toxic(kind="reset", chance=0.2),
    Toxic(kind="cut after", size=3_000, chance=0.2),
)


class Soak(Struct):
    """What happened."""

    outcome: Outcome
    crash_at: float = 0  # when the database stops next: its rhythm goes on over the days
    crashes: int = 0
    killed: int = 0
    readings: int = 0
    waits: int = 0
    database_hits: dict[str, int] = {}
    broker_hits: dict[str, int] = {}

    def __str__(self) -> str:
        return (
            f"{self.readings} readings, {self.crashes} database crashes, {self.killed} workers killed, "
            f"{sum(self.database_hits.values())} faults of the database's network {self.database_hits}, "
            f"{sum(self.broker_hits.values())} of the broker's {self.broker_hits}, "
            f"{self.waits} waits for the planner; {self.outcome}"
        )


async def chaos(minutes: float, *, seed: int = 4, say: Callable[[str], None] = lambda line: None) -> Soak:
    """Run the soak; `wrong` of its outcome is empty when all is well."""
    ends_at = time.monotonic() + 60 * minutes
    soak, killer = Soak(outcome=Outcome()), Killer(seed)
    async with server() as database, arena(database.database, count=ACCOUNTS, load=None, kinds=("trader",)) as place:
        place.oracle.partial_is_fine = True
        broker = urlsplit(place.settings.groww_url)
        assert broker.port is not None
        parts = conninfo_to_dict(database.database.worker)
        socket = Path(str(parts["host"])) / f".s.PGSQL.{parts['port']}"
        async with (
            proxied(socket, seed=seed) as to_database,
            proxied(("127.0.0.1", broker.port), seed=seed) as to_broker,
        ):
            place.conninfo = make_conninfo(database.database.worker, host=HOST, port=to_database.port)
            url = broker._replace(netloc=f"{HOST}:{to_broker.port}").geturl()
            place.settings = msgspec.structs.replace(place.settings, groww_url=url)
            while time.monotonic() < ends_at and not soak.outcome.wrong:
                await _day(place, database, killer, soak, (to_database, to_broker))
                say(f"{(ends_at - time.monotonic()) / 60:.1f} minutes left: {soak}")
        soak.outcome.wrong += await place.problems()
    return soak


async def _day(place: Arena, database: Server, killer: Killer, soak: Soak, proxies: tuple[Proxy, Proxy]) -> None:
    place.next_moment(EVENING, another_day=True)
    disturbing = [
        asyncio.create_task(_crash_in_time(database, killer.chance, soak)),
        asyncio.create_task(_for_ever(killer.chance, 1, 8, lambda: killer.kill_one(place))),
        asyncio.create_task(_for_ever(killer.chance, 1, 5, lambda: _change(proxies, killer.chance))),
        asyncio.create_task(_calm_after(STORM_SECONDS, proxies)),
    ]
    if not await place.done(workers=WORKERS):
        soak.outcome.wrong.append("not all accounts were read")
    for task in disturbing:
        task.cancel()
    await asyncio.gather(*disturbing, return_exceptions=True)
    for proxy in proxies:
        proxy.toxics = []
    place.end_workers()
    await back(place)
    soak.outcome.judged("chaos", place.judge())
    soak.crashes, soak.killed, soak.waits = database.crashes, killer.count, place.moved_on
    soak.readings = sum(count for _, count in place.oracle.readings)
    soak.database_hits, soak.broker_hits = (dict(proxy.hits) for proxy in proxies)


async def _crash_in_time(database: Server, chance: random.Random, soak: Soak) -> None:
    ends_at = time.monotonic() + STORM_SECONDS
    while time.monotonic() < ends_at:
        await asyncio.sleep(max(soak.crash_at - time.monotonic(), 0.5))
        soak.crash_at = time.monotonic() + chance.uniform(5, 40)
        await asyncio.shield(database.crash())


async def _for_ever(
    chance: random.Random, least: float, most: float, act: Callable[[], Awaitable[None] | None]
) -> None:
    ends_at = time.monotonic() + STORM_SECONDS
    while time.monotonic() < ends_at:
        await asyncio.sleep(chance.uniform(least, most))
        if (doing := act()) is not None:
            await asyncio.shield(doing)


def _change(proxies: tuple[Proxy, Proxy], chance: random.Random) -> None:
    """Something else goes wrong from now on, or nothing."""
    for proxy, toxics in zip(proxies, (DATABASE_TOXICS, BROKER_TOXICS), strict=True):
        proxy.toxics = chance.sample(toxics, chance.randint(0, 2))
        if chance.random() < 0.1:
            proxy.cut_all()


async def _calm_after(seconds: float, proxies: tuple[Proxy, Proxy]) -> None:
    await asyncio.sleep(seconds + 5)
    for proxy in proxies:
        proxy.toxics = []


def main() -> int:
    os.environ[SWITCH] = "1"
    multiprocessing.forkserver.ensure_running()
    log.configure("error")
    began = time.monotonic()
    soak = asyncio.run(chaos(float(sys.argv[1]), say=lambda line: print(line, file=sys.stderr, flush=True)))
    print(f"chaos for {(time.monotonic() - began) / 60:.1f} minutes: {soak}")
    for line in soak.outcome.wrong:
        print(f"WRONG: {line}")
    return 1 if soak.outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
