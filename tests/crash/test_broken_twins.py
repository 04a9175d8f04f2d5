"""The negative control: the same harness on deliberately broken workers must report losses and duplicates."""

from collections.abc import Callable, Sequence

import psycopg

from tests.conftest import Database
from tests.crash.arena import EVENING, NOON, Arena
from tests.crash.lanes import Outcome, in_lanes
from tests.crash.test_frozen import frozen
from tests.crash.worker_process import Trouble
from tests.scale import scaled

# What the database itself refuses would hide the mistakes of the twin from the oracle.
LAST_LINES_OF_DEFENCE = ("order_history_once", "order_fills_once", "portfolio_snapshots_revision")
TABLES = (
    "order_history",
    "order_quantity_changes",
    "order_fills",
    "holding_changes",
    "position_changes",
    "ledger_events",
)


def weaken(place: Arena) -> None:
    """Take away the unique keys behind which a broken worker would be safe."""
    for index in LAST_LINES_OF_DEFENCE:
        place.connection.execute(f"DROP INDEX {index}")  # type: ignore[call-overload]
    for table in TABLES:
        place.connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey")  # type: ignore[call-overload]


async def test_a_worker_that_writes_in_several_commits_is_caught_doubling(
    template: Database, admin: "psycopg.Connection[object]", tell: Callable[[str, object], None]
) -> None:
    outcome = await in_lanes(template, admin, range(scaled(20)), killed_between_commits, checked=False)
    tell("twin in several commits, killed", outcome)
    assert outcome.duplicated > 0
    assert outcome.wrong != []


async def test_a_worker_that_says_done_too_early_is_caught_losing(
    template: Database, admin: "psycopg.Connection[object]", tell: Callable[[str, object], None]
) -> None:
    outcome = await in_lanes(template, admin, range(scaled(20)), killed_after_saying_done, checked=False)
    tell("twin done before it is, killed", outcome)
    assert outcome.lost > 0
    assert outcome.wrong != []


async def test_a_zombie_that_asks_for_no_fence_is_caught_writing(
    template: Database, admin: "psycopg.Connection[object]", tell: Callable[[str, object], None]
) -> None:
    outcome = await in_lanes(
        template, admin, ["facts_numbered"] * scaled(10), woken_without_fence, count=1, checked=False
    )
    tell("twin without a fence, stopped", outcome)
    assert outcome.fenced == 0
    assert outcome.duplicated > 0
    assert outcome.gaps > 0


async def killed_between_commits(place: Arena, outcome: Outcome, works: Sequence[object]) -> None:
    weaken(place)
    for _ in works:
        place.next_moment(NOON)
        place.start(Trouble(point="facts_written", act="kill"), twin="in several commits")
        await place.done()
        place.end_workers()
        outcome.judged("twin", place.judge())


async def killed_after_saying_done(place: Arena, outcome: Outcome, works: Sequence[object]) -> None:
    for number, _ in enumerate(works):
        place.next_moment(NOON if number % 2 == 0 else EVENING)
        place.start(Trouble(point="head_locked", act="kill"), twin="done before it is")
        await place.done()
        place.end_workers()
        outcome.judged("twin", place.judge())


async def woken_without_fence(place: Arena, outcome: Outcome, points: Sequence[str]) -> None:
    weaken(place)
    for point in points:
        await frozen(place, outcome, point, "stop", twin="in several commits")
