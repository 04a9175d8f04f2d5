"""Several arenas side by side: most of a crash run is waiting for a lease to end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import psycopg
from msgspec import Struct

from portfolio_scheduler.simulator.options import Load
from tests.conftest import Database, copied
from tests.crash.arena import Arena, arena
from tests.crash.oracle import Verdict

T = TypeVar("T")
LANES = 4
LOAD = Load(holdings=6, orders=12, filled=6)


class Outcome(Struct):
    """What some runs came to, for the assertion and for the table."""

    runs: int = 0
    expected: int = 0
    got: int = 0
    lost: int = 0
    duplicated: int = 0
    unknown: int = 0
    gaps: int = 0
    applied_not_once: int = 0
    fenced: int = 0
    wrong: list[str] = []  # sentences: everything that should not be

    def judged(self, what: str, verdict: Verdict) -> None:
        """One run's end. Expectations add up over the runs of an arena, so the newest counts."""
        self.runs += 1
        self.expected, self.got = verdict.expected, verdict.got
        for name in ("lost", "duplicated", "unknown", "gaps", "applied_not_once"):
            setattr(self, name, len(getattr(verdict, name)))
        if not verdict.is_good:
            self.wrong.append(f"{what}: {verdict}")

    def added(self, other: "Outcome") -> "Outcome":
        return Outcome(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})

    def __str__(self) -> str:
        counts = {name: getattr(self, name) for name in self.__struct_fields__ if name != "wrong"}
        return ", ".join(f"{name} {count}" for name, count in counts.items() if name != "fenced" or count)


Lane = Callable[[Arena, Outcome, Sequence[T]], Awaitable[None]]


async def in_lanes(
    template: Database,
    admin: "psycopg.Connection[Any]",
    works: Sequence[T],
    lane: Lane[T],
    *,
    count: int = 4,
    load: Load | None = LOAD,
    kinds: Sequence[str] = ("quiet",),
    checked: bool = True,
) -> Outcome:
    """Share out the works over arenas of their own; each ends with the product's own checks."""

    async def one(own: Sequence[T], database: Database) -> Outcome:
        outcome = Outcome()
        async with arena(database, count=count, load=load, kinds=kinds) as place:
            await lane(place, outcome, own)
            place.end_workers()
            if checked:
                outcome.wrong += await place.problems()
        return outcome

    shares = [works[number::LANES] for number in range(min(LANES, len(works)))]
    total = Outcome()
    # All databases are made before and dropped after: PostgreSQL drops none while another lane lets a long answer
    # wait, and that lane would wait for us. All lanes end before one of them fails the test: each has connections and
    # processes to put away.
    with ExitStack() as databases:
        places = [(share, databases.enter_context(copied(template, admin))) for share in shares]
        for outcome in await asyncio.gather(*(one(*each) for each in places), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            total = total.added(outcome)
    return total
