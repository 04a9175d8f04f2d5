"""The machine that makes days at random: Hypothesis orders what happens, and shrinks what fails to what it takes.

Each step takes time, so that so many steps are a month at least.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, timedelta
from typing import Any

import hypothesis
import psycopg
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from portfolio_scheduler import failpoints
from portfolio_scheduler.app import App
from portfolio_scheduler.clock import StoppedClock
from portfolio_scheduler.db.pool import make_pool, opened
from portfolio_scheduler.simulator.server import Simulator, SimulatorOptions
from tests.conftest import Database, copied, keys_of
from tests.crash import points
from tests.flows.conftest import Stage
from tests.flows.wild_broker import BOOK, ERRORS, HONEST, LIES, Act, Lies
from tests.flows.wild_days import AT_NIGHT, CALENDAR, HOURS, Fuse, Month

DAYS = 30
STEPS_ON = {1: 4, 3: 4}  # by weekday; on all others one
STEPS = DAYS + 3 * 9  # thirty days have nine Tuesdays and Thursdays at most
# Months with something in them: a Sunday and a Saturday session, an afternoon's, holidays, and one like any other.
STARTS = (date(2026, 6, 1), date(2026, 1, 19), date(2024, 2, 19), date(2025, 10, 6), date(2026, 3, 23))


# The more often a name stands here, the more often it happens; the first is what a failure shrinks to.
HAPPENS = (
    *["place"] * 4, *["fill"] * 6, *["complete"] * 2, "move", *["amend"] * 3, *["cancel"] * 2,
    "transfer out", "pledge", "receive", "pay",
)  # fmt: skip
ACTS = st.lists(st.tuples(st.sampled_from(HAPPENS), st.integers(0, 13), st.integers(0, 29)), max_size=8)
AFTER = st.integers(0, 2)  # moments of the day; 0: a little later
TOLD = st.sets(st.sampled_from(LIES), max_size=2).map(frozenset)
FAILING = st.dictionaries(st.sampled_from((*BOOK, "fills", "prices")), st.sampled_from(ERRORS), max_size=1)
SALT = st.integers(0, 9)
LIED = st.builds(Lies, told=TOLD, failing=FAILING, salt=SALT)
LIED_AT_NIGHT = st.builds(Lies, told=TOLD, failing=FAILING, salt=SALT, yesterdays_lists=st.booleans())
# Those of a network are not reached by a broker that has none, nor is a heartbeat within a few milliseconds.
ELSEWHERE = {"token_minted", "token_kept", "page_read", "beating"}
POINTS = [point for point in points.failpoints() if point not in ELSEWHERE]
WHERE = st.sampled_from(POINTS) | st.integers(0, 16)  # a point, or so many looks at the clock


Acts = Sequence[Act]


class Machine(RuleBasedStateMachine):
    """What can happen, in any order."""

    def __init__(self, months: "Months") -> None:
        super().__init__()
        self._months = months
        months.steps = 0
        self._ends = AsyncExitStack()
        self._month: Month | None = None
        self._failed = False
        self._touched = False
        self._is_new = False  # whether something was read since the last replay or rebuild
        self._steps = 0

    @property
    def month(self) -> Month:
        assert self._month is not None
        return self._month

    @initialize(on=st.sampled_from(STARTS))
    def an_account_is_connected(self, on: date) -> None:
        fuse = Fuse()
        stage, looks = self._run(self._ends.enter_async_context(self._months.stage()))
        self._month = Month(stage, looks, fuse, on)
        failpoints.arm(fuse.reach)
        self._run(self.month.begin())

    @rule(after=AFTER, acts=ACTS)
    def nobody_looks(self, after: int, acts: Acts) -> None:
        self._passes(after, acts)

    @rule(after=AFTER, acts=ACTS, lies=LIED)
    def the_account_is_read(self, after: int, acts: Acts, lies: Lies) -> None:
        self._passes(after, acts)
        self._does(self.month.read(lies))

    @rule(after=AFTER, acts=ACTS)
    def the_account_is_read_twice(self, after: int, acts: Acts) -> None:
        self._passes(after, acts)
        self._does(self.month.read_twice())

    @rule(after=AFTER, acts=ACTS, salt=SALT)
    def the_broker_lags_behind(self, after: int, acts: Acts, salt: int) -> None:
        self._passes(after, acts)
        self._does(self.month.read(HONEST))
        self.month.wait(0, ())
        self._does(self.month.read(Lies(told=frozenset({"stale"}), salt=salt)))

    @rule(after=AFTER, acts=ACTS)
    def two_read_at_once(self, after: int, acts: Acts) -> None:
        self._passes(after, acts)
        self._does(self.month.read_two_at_once())

    @rule(after=AFTER, acts=ACTS, lies=LIED)
    def the_service_ticks(self, after: int, acts: Acts, lies: Lies) -> None:
        self._passes(after, acts)
        self._does(self.month.tick(lies))

    @rule(after=AFTER, acts=ACTS, where=WHERE, kills=st.booleans())
    def a_worker_crashes(self, after: int, acts: Acts, where: str | int, kills: bool) -> None:
        self._passes(after, acts)
        self._does(self.month.crash(where, kills=kills))

    @rule(lies=LIED_AT_NIGHT)
    def a_late_pass_comes_after_midnight(self, lies: Lies) -> None:
        self._turns(AT_NIGHT)
        self._does(self.month.read(lies))

    @rule(after=AFTER, acts=ACTS, minutes=st.sampled_from((1, 3, 8, 40)))
    def the_clock_is_set_back(self, after: int, acts: Acts, minutes: int) -> None:
        self._passes(after, acts)
        self._does(self.month.read_with_a_slow_clock(timedelta(minutes=minutes)))

    @rule()
    def the_owner_pauses_or_resumes(self) -> None:
        self._passes(0)
        self._does(self.month.pause_or_resume())

    @precondition(lambda self: self._is_new)
    @rule(days=st.integers(0, 10))
    def a_replay(self, days: int) -> None:
        self._passes(0)
        self._does(self.month.replay(days))
        self._is_new = False

    @precondition(lambda self: self._is_new)
    @rule()
    def a_rebuild(self) -> None:
        self._passes(0)
        self._does(self.month.rebuild())
        self._is_new = False

    @rule()
    def the_next_day(self) -> None:
        self._turns(HOURS[0])

    # ── what holds after each step, and at the end ──

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        if self._touched:
            self._touched = False
            self._run(self.month.check())

    def teardown(self) -> None:
        try:
            if self._month is not None and not self._failed:
                self._run(self.month.end())
                self._months.seen.update({"months": 1, **self.month.seen})
        finally:
            self._months.run(self._ends.aclose())

    def _passes(self, after: int, acts: Acts = ()) -> None:
        """Time goes on, and at the broker something happens meanwhile. Most days are quiet."""
        self._months.steps += 1
        on = self.month.on
        if self._steps >= STEPS_ON.get(on.weekday(), 1):
            self.month.turn(HOURS[0])
        self.month.wait(after, acts)
        self._steps = self._steps + 1 if self.month.on == on else 1

    def _turns(self, hour: tuple[int, int]) -> None:
        self._months.steps += 1
        self._steps = 1
        self.month.turn(hour)

    def _does(self, what: Any) -> None:
        self._touched = self._is_new = True
        self._run(what)

    def _run(self, what: Any) -> Any:
        try:
            return self._months.run(what)
        except BaseException:
            self._failed = True
            raise


class Months:
    """Where the machine's months take place: each in a fresh database."""

    def __init__(self, runner: asyncio.Runner, template: Database, admin: "psycopg.Connection[Any]") -> None:
        self.run = runner.run
        self.seen = Counter[str]()
        self.steps = 0  # of the newest month
        self._template = template
        self._admin = admin
        self._simulator = Simulator(SimulatorOptions(accounts=1))  # not asked: the months have a broker of their own

    @asynccontextmanager
    async def stage(self) -> "AsyncIterator[tuple[Stage, psycopg.Connection[Any]]]":
        with copied(self._template, self._admin) as database:
            async with opened(make_pool(database.worker, "worker", max_size=4)) as pool:
                clock = StoppedClock(self._simulator.now)
                app = App(
                    settings=database.settings,
                    pool=pool,
                    conninfo=database.worker,
                    api_conninfo=database.api,
                    clock=clock,
                    calendar=CALENDAR,
                    **await keys_of(database.settings, pool, clock),
                    brokers={},
                )
                with psycopg.connect(database.superuser, autocommit=True) as looks:
                    yield Stage(app, self._simulator, clock), looks

    def go(self, count: int, *, first: int = 1, **more: Any) -> None:
        """So many months, or a failure that is shrunk. Hypothesis ends some early: others take their place.

        `first` is the number of the first of them, of those that are the same each time.
        """
        for number in itertools.count(first):
            if (days := count * DAYS - self.seen["days"]) <= 0:
                return
            settings = hypothesis.settings(
                max_examples=-(-days // DAYS),
                stateful_step_count=STEPS + 1,
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
                **more,
            )

            def machine() -> Machine:
                return Machine(self)

            if settings.derandomize:  # or they would be the same months again
                machine = hypothesis.seed(number)(machine)
                settings = hypothesis.settings(settings, derandomize=False, database=None)
            run_state_machine_as_test(machine, settings=settings)
