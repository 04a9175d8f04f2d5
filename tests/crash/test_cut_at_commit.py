"""T5, T8, T9: the database takes the transaction away: cut exactly at COMMIT, sessions ended, conflicts."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.conftest import Database
from tests.crash.arena import EVENING, NOON, Arena
from tests.crash.lanes import Outcome, in_lanes
from tests.crash.proxy import Proxy, Toxic, proxied
from tests.crash.worker_process import Act, Trouble
from tests.scale import scaled

CUTS = 100
CHANCE = 0.25  # of each commit of a worker: claims, tokens, answers, applies, heartbeats, plans and all else
TIMES = {"terminate": 50, "40001": 30, "40P01": 30}
IN_APPLY = ["facts_written", "state_saved"]
POINTS = {"terminate": [*IN_APPLY, "batch_finished", "keeping_answers"], "40001": IN_APPLY, "40P01": IN_APPLY}


@pytest.mark.long
async def test_a_connection_cut_exactly_at_commit_leaves_everything_once(
    template: Database, admin: "psycopg.Connection[Any]", tell: Callable[[str, object], None]
) -> None:
    cuts: list[int] = []

    async def lane(place: Arena, outcome: Outcome, answered: Sequence[bool]) -> None:
        for number, heard in enumerate(answered):
            cuts.append(await _cut(place, outcome, number, answered=heard))

    wanted = scaled(CUTS)
    outcome = await in_lanes(template, admin, [True, True, True, False] * max(wanted // 20, 1), lane)
    tell("T5 cut at COMMIT", f"{sum(cuts)} cuts; {outcome}")
    assert outcome.wrong == []
    assert sum(cuts) >= wanted


async def _cut(place: Arena, outcome: Outcome, number: int, *, answered: bool) -> int:
    place.next_moment(EVENING if number % 2 else NOON)
    parts = conninfo_to_dict(place.database.worker)
    socket = Path(str(parts["host"])) / f".s.PGSQL.{parts['port']}"
    async with proxied(socket, seed=number) as proxy:
        place.conninfo = make_conninfo(place.database.worker, host="127.0.0.1", port=proxy.port)
        proxy.toxics = [Toxic(kind="cut at", pattern=b"COMMIT", answered=answered, chance=CHANCE)]
        if not await place.done():
            outcome.wrong.append("not all accounts were read")
        place.end_workers()
        outcome.judged(f"cut at commit, {'after' if answered else 'before'} the server heard it", place.judge())
        return _hits(proxy)


def _hits(proxy: Proxy) -> int:
    return proxy.hits.get("cut at", 0)


@pytest.mark.parametrize("act", TIMES)
async def test_an_apply_that_the_database_ends_is_tried_again(
    template: Database, admin: "psycopg.Connection[Any]", tell: Callable[[str, object], None], act: Act
) -> None:
    """An administrator ends the session, or another transaction gets in its way; PostgreSQL says so, nobody else.

    It happens four times to each worker, in the midst of what it writes. What overtakes it meets all of its batches at
    once, and each is tried three times only, so that happens twice.
    """
    times = 2 if act == "40001" else 4
    happened: list[int] = []
    again: list[int] = []

    async def lane(place: Arena, outcome: Outcome, points: Sequence[str]) -> None:
        make_way(place, act)
        for number, point in enumerate(points):
            place.next_moment(EVENING if number % 2 else NOON)
            told = Trouble(point=point, act="tell", times=1000)
            worker = place.start(told, Trouble(point=point, act=act, times=times))
            if not await place.done():
                outcome.wrong.append("not all accounts were read")
            acts = Counter(what for what, _ in worker.told())
            happened.append(acts[act])
            again.append(acts["tell"] - len(place.numbers))  # else each account comes by once
            outcome.wrong += [f"{act} at {point}: a batch failed: {error}" for error in place.failed()]
            place.end_workers()
            outcome.judged(f"{act} at {point}", place.judge())

    wanted = scaled(TIMES[act])
    points = POINTS[act]
    outcome = await in_lanes(template, admin, (points * wanted)[: max(-(-wanted // times), 2)], lane)
    tell(f"T8/T9 {act} in the midst of it", f"{sum(happened)} times, {sum(again)} tried again; {outcome}")
    assert outcome.wrong == []
    assert sum(happened) >= wanted
    assert sum(again) >= wanted, "what got in its way did not"


def make_way(place: Arena, act: Act) -> None:
    """What it takes for PostgreSQL to raise it: deadlocks looked for at once; transactions that see one moment."""
    name = place.database.name
    if act == "40P01":
        place.connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '50ms'")  # type: ignore[call-overload]
    if act == "40001":
        place.connection.execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"  # type: ignore[call-overload]
        )
