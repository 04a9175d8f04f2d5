"""T10 and T11: a worker is asked to end in the midst of its work, or runs out of memory."""

import itertools
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import psycopg
import pytest

from tests.conftest import Database
from tests.crash.arena import EVENING, NOON, Arena
from tests.crash.lanes import Outcome, in_lanes
from tests.crash.worker_process import Trouble
from tests.scale import scaled

STOP_SECONDS = 20
FETCH = ("book_read", "page_read")
APPLY = ("answers_kept", "facts_written", "batch_finished")
MEGABYTE = 1 << 20
AT_ITS_START = "ended before it read anything"
BODY_BYTES = 5 * MEGABYTE - 1000  # just below the cap of an answer


async def test_a_worker_that_is_asked_to_end_leaves_no_open_batch(
    template: Database, admin: "psycopg.Connection[Any]", tell: Callable[[str, object], None]
) -> None:
    longest: list[float] = []

    async def lane(place: Arena, outcome: Outcome, points: Sequence[str]) -> None:
        for number, point in enumerate(points):
            place.next_moment(EVENING if number % 2 else NOON)
            longest.append(await _asked(place, outcome, point))

    works = (FETCH + APPLY) * scaled(20, share=20)
    outcome = await in_lanes(template, admin, works, lane)
    tell("T10 asked to end", f"within {max(longest):.1f} s; {outcome}")
    assert outcome.wrong == []
    assert outcome.runs == len(works)


async def _asked(place: Arena, outcome: Outcome, point: str) -> float:
    """The worker is asked at this very point, and another one does what is left."""
    if point in FETCH:
        place.break_broker(kind="delay", path="/v1/margins", seconds=1, times=2)
    worker = place.start(Trouble(point=point, act="ask to end"))
    await place.until(lambda: bool(worker.told()))
    began = time.monotonic()
    if not await place.ended(worker, STOP_SECONDS):
        worker.send(signal.SIGUSR1)
        outcome.wrong.append(f"{point}: the worker was still there after {STOP_SECONDS} s")
    took = time.monotonic() - began
    if place.open_batches_of(worker.pid):
        outcome.wrong.append(f"{point}: the worker left a batch open")
    if not await place.done():
        outcome.wrong.append(f"{point}: not all accounts were read")
    place.end_workers()
    outcome.judged(f"asked to end at {point}", place.judge())
    return took


@pytest.mark.long
async def test_a_worker_that_runs_out_of_memory_costs_no_other_account_its_sync(
    template: Database, admin: "psycopg.Connection[Any]", tell: Callable[[str, object], None]
) -> None:
    """One of ten accounts is answered with as much as is allowed; the worker has a few megabytes left."""
    failed: list[str] = []

    async def lane(place: Arena, outcome: Outcome, works: Sequence[int]) -> None:
        for hour in itertools.islice(itertools.cycle((NOON, EVENING)), len(works)):
            place.next_moment(hour)
            failed.append(await _without_memory(place, outcome, 12 * MEGABYTE))
            while failed[-1] == AT_ITS_START:  # it had less than it takes to begin: that proves nothing of the others
                place.next_moment(hour, another_day=True)
                failed[-1] = await _without_memory(place, outcome, 16 * MEGABYTE)

    outcome = await in_lanes(template, admin, range(scaled(10)), lane, count=10)
    tell("T11 out of memory", f"ended as {', '.join(sorted(set(failed)))}; {outcome}")
    assert outcome.wrong == []
    assert set(failed) <= {"MemoryError", "WorkerLost"}


async def _without_memory(place: Arena, outcome: Outcome, memory: int) -> str:
    row = msgspec.json.encode({"isin": "INE002A01018", "trading_symbol": "RELIANCE", "quantity": 1, "average_price": 1})
    rows = b",".join([row] * (BODY_BYTES // (len(row) + 1)))
    body = b'{"status":"SUCCESS","payload":{"holdings":[' + rows + b"]}}"
    place.break_broker(kind="raw", path="/v1/holdings", account=10, times=None, body_base64=body)
    worker = place.start(memory_bytes=memory)
    await place.until(lambda: place.ended_badly(10) is not None or not worker.is_alive)
    place.broker.tell("heal")
    if worker.is_alive:  # with all the memory it wants again: as if somebody had started it anew
        place.end_workers()
    if not await place.done():
        outcome.wrong.append("not all accounts were read")
    place.end_workers()
    outcome.judged("out of memory", place.judge())
    return place.ended_badly(10) or AT_ITS_START
