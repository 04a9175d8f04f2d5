"""A month at random in one account, as the machine in `wild_machine` orders it: what happens, and what must hold after.

The model beside it is told what the broker said and whether the batch says that it was applied. What it expects is
compared with what stands in the database.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import hypothesis
import psycopg
from msgspec import Struct
from msgspec.structs import replace

from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.clock import ist
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.errors import Conflict
from portfolio_scheduler.market.calendar import make_calendar
from portfolio_scheduler.sync import ownership
from portfolio_scheduler.sync.connect import connect
from portfolio_scheduler.sync.plan import plan, sweep
from portfolio_scheduler.sync.replay import replay
from portfolio_scheduler.sync.run import Report, run_queued
from tests.flows.conftest import Stage
from tests.flows.ledger_checks import FACT_TABLES, check_fold, check_ledger, check_rebuild, facts_of
from tests.flows.wild_broker import HONEST, Act, Books, Lies, WildBroker
from tests.flows.wild_model import DAY, Model, day_change_adds_up, figures

HOURS = ((8, 0), (11, 0), (13, 50), (16, 0), (19, 0), (23, 20))
AT_NIGHT = (0, 40)
A_LITTLE = timedelta(seconds=10)
AGAIN = timedelta(seconds=31)  # what is missing twice, so long apart, is believed
# Points of the planner and of those who take up what it planned; all others are points of a sync.
OF_THE_SERVICE = {"planning", "planned", "sweeping", "claiming", "claimed"}
AFTER_THE_END = {"applied", "repeated"}  # what is to be written is written
CALENDAR = make_calendar()


class Crash(Exception):
    """The worker ends here."""


class Fuse:
    """Ends a worker at a named point, or at one of its looks at the clock or the calendar, which it takes all along."""

    def __init__(self) -> None:
        self._where: str | int | None = None
        self._kills = False  # nothing runs any more after it: nobody closes the batch
        self._is_out = False

    @contextmanager
    def lit(self, where: str | int, *, kills: bool) -> Iterator[None]:
        self._where, self._kills, self._is_out = where, kills, False
        try:
            yield
        finally:
            self._where = None

    def look(self) -> None:
        if self._where is None:
            return
        if self._is_out:
            raise Crash
        if isinstance(self._where, int):
            self._where -= 1
            if self._where < 0:
                self._burn()

    def reach(self, point: str) -> None:
        if self._where is not None and (self._is_out or point == self._where):
            self._burn()

    def _burn(self) -> None:
        self._is_out = self._kills
        if not self._kills:
            self._where = None
        raise Crash


class Fragile:
    """A clock or a calendar on that fuse."""

    def __init__(self, whole: Any, fuse: Fuse) -> None:
        self._whole, self._fuse = whole, fuse

    def __getattr__(self, name: str) -> Any:
        self._fuse.look()
        return getattr(self._whole, name)


class Newest(Struct, frozen=True, kw_only=True):
    """The newest batch, as it says of itself."""

    id: object = None
    is_queued: bool = False
    is_kept: bool = False  # its answers are
    trading_on: date | None = None
    standing: str | None = None
    outcomes: dict[str, str] = {}  # only of one that was applied


class Month:
    """One account, from the morning it is connected."""

    def __init__(self, stage: Stage, looks: "psycopg.Connection[Any]", fuse: Fuse, on: date) -> None:
        self.on = on
        self.first = on
        self.fuse = fuse
        self.books = Books("U1", on)
        self.broker = WildBroker(self.books)
        self.stage = stage
        self.looks = looks  # past the product's own pool
        stage.app = replace(
            stage.app,
            brokers={"groww": self.broker},
            calendar=Fragile(CALENDAR, fuse),
            clock=Fragile(stage.clock, fuse),
        )
        self.now = ist(on, 9)
        self.model = Model(self.now)
        self.seen = Counter(days=1)
        self.paused = False
        self.unread = False  # whether a worker died between keeping answers and telling what they say
        self._at(self.now)

    async def begin(self) -> None:
        login = Credentials(login=Login.TOKEN, access_token="a token")
        self.account = await connect(self.stage.app, broker="groww", label="wild", credentials=login)

    async def end(self) -> None:
        self._at(self.now + DAY)
        await self.read_twice()
        await self._replay_what_a_crash_left()
        await check_ledger(self.stage, self.account.id)

    # ── time ──

    def wait(self, moments: int, acts: Sequence[Act]) -> None:
        """Until so many of the day's moments later, or until tomorrow's first; what happens meanwhile happens at the
        last of them at which the exchange is open."""
        later = [ist(self.on, *hour) for hour in HOURS if ist(self.on, *hour) > self.now]
        if moments == 0:
            passed = [self.now + A_LITTLE]
        elif moments <= len(later):
            passed = later[:moments]
        else:
            self.turn(HOURS[0])
            passed = [self.now]
        trading = [at for at in passed if any(s.opens_at <= at < s.closes_at for s in self.model.sessions)]
        self.books.act(acts, (trading or passed)[-1], trading=bool(trading))
        self._at(passed[-1])

    def turn(self, hour: tuple[int, int]) -> None:
        """Midnight goes by."""
        self.on += DAY
        self.books.turn(self.on)
        self._at(ist(self.on, *hour))
        self.seen["days"] += 1

    def _at(self, now: datetime) -> None:
        self.now = self.broker.now = now
        self.stage.clock.set(now)

    # ── readings ──

    async def read(self, lies: Lies) -> None:
        await self._sync(lies)

    async def read_twice(self) -> None:
        """A good reading, and the same again: the second adds nothing."""
        await self._sync(HONEST)
        if "suspect" in self._newest().outcomes.values():
            self._at(self.now + AGAIN)
            await self._sync(HONEST)
        before = await facts_of(self.stage, self.account.id)
        self._at(self.now + A_LITTLE)
        await self._sync(HONEST)
        assert await facts_of(self.stage, self.account.id) == before, "a second identical sync added something"

    async def read_two_at_once(self) -> None:
        """One reads, the other is told so."""
        self.broker.lies = HONEST
        ended = await asyncio.gather(*(self.stage.sync(self.account) for _ in range(2)), return_exceptions=True)
        refused = [one for one in ended if isinstance(one, Conflict)]
        reports = [one for one in ended if isinstance(one, Report)]
        assert (len(refused), len(reports)) == (1, 1), ended
        await self._note()

    async def read_with_a_slow_clock(self, behind: timedelta) -> None:
        """Our clock was set back; the broker's is right."""
        self.stage.clock.set(self.now - behind)
        observed_at = self.now if behind > timedelta(minutes=5) else self.now - behind
        await self._sync(HONEST, observed_at)
        self._at(self.now)

    async def tick(self, lies: Lies) -> None:
        """What the service does each minute. A paused account is left alone."""
        self.broker.lies = lies
        if await self._tick() is not None:
            assert not self.paused
            self.seen["planned"] += 1
            await self._note()

    async def _tick(self) -> Report | None:
        await sweep(self.stage.app, self.now)
        await plan(self.stage.app, self.now)
        return await run_queued(self.stage.app, self.account.id)

    async def _sync(self, lies: Lies, observed_at: datetime | None = None) -> None:
        self.broker.lies = lies
        await self.stage.sync(self.account)
        await self._note(observed_at)

    async def _note(self, at: datetime | None = None) -> None:
        """What a reading that ended says of itself is what the model goes by, but never more than the broker said."""
        at = at or self.now
        self.seen["syncs"] += 1
        if self.broker.heard:
            self.model.hear(at)
        batch = self._newest()
        hypothesis.note(f"{at}: {batch.standing} {batch.outcomes}")
        if not batch.outcomes:
            return
        for name, result in self.broker.outcomes.items():
            assert batch.outcomes[name] in {result.outcome.value, "suspect"}, (name, batch.outcomes)
        assert batch.trading_on == self.model.session_of(at).on
        assert batch.standing == self.model.standing(at)
        self.model.apply(self.broker, batch.outcomes, at)

    def _newest(self) -> Newest:
        found = self._rows(
            "SELECT id, status = 'queued', standing IS NOT NULL, trading_on, standing, "
            "(SELECT coalesce(jsonb_object_agg(key, value ->> 'outcome'), '{}') FROM jsonb_each(sections)) "
            "FROM sync_batches WHERE account_id = %s ORDER BY fence DESC, id DESC LIMIT 1",
            self.account.id,
        )
        return Newest(**dict(zip(Newest.__struct_fields__, found[0], strict=True))) if found else Newest()

    # ── crashes ──

    async def crash(self, where: str | int, *, kills: bool) -> None:
        """A worker ends there, and another one takes up what it left."""
        self.broker.lies = HONEST
        self.broker.heard = False
        before, crashed = self._newest(), False
        with self.fuse.lit(where, kills=kills):
            try:
                report = await (self._tick() if where in OF_THE_SERVICE else self.stage.sync(self.account))
            except Crash:
                crashed = True
        if not crashed:
            if report is not None:
                await self._note()
            return
        self.seen["crashes"] += 1
        self.seen[f"crashes at {where}"] += isinstance(where, str)
        await self._bury(before, where)
        await self.check()
        self._at(self.now + A_LITTLE)
        if self._newest().is_queued:
            assert await run_queued(self.stage.app, self.account.id) is not None
            await self._note()
        else:
            await self._sync(HONEST)

    async def _bury(self, before: Newest, where: str | int) -> None:
        """What a worker that died has done: all, or nothing but keep answers and write off lost days."""
        last = self._newest()
        if last.id != before.id and last.outcomes:
            assert where in AFTER_THE_END, "a crash is the end of all or nothing"
            await self._note()
            return
        lost = set(self.model.lost)
        self.model.hear(self.now)
        if self._gaps() == sorted(lost):
            self.model.lost = lost
        if last.id != before.id and last.is_kept:
            self.unread = True
            self.seen["crashes after the answers were kept"] += 1
        self._rows(
            "UPDATE sync_batches SET heartbeat_at = heartbeat_at - interval '1 hour' "
            "WHERE account_id = %s AND status = 'running' RETURNING id",
            self.account.id,
        )

    # ── the owner and the administrator ──

    async def pause_or_resume(self) -> None:
        self.paused = not self.paused
        switch = ownership.pause if self.paused else ownership.resume
        assert await switch(self.stage.app, self.account.id)

    async def replay(self, days: int) -> None:
        """The same parser understands the same."""
        await self._replay_what_a_crash_left()
        before = await facts_of(self.stage, self.account.id)
        done = await replay(self.stage.app, self.account.id, since_on=self.on - days * DAY)
        assert (done.voided, done.added, done.rereadings, done.prices, done.snapshots) == (0, 0, 0, 0, ()), done
        assert await facts_of(self.stage, self.account.id) == before
        self.seen["replays"] += 1

    async def _replay_what_a_crash_left(self) -> None:
        """What a dead worker had read is told in its place. The sync after it said the same, so the model stands; but
        what it had missed was missed once more than was known, and a day that waited for that has its snapshot."""
        if self.unread:
            await replay(self.stage.app, self.account.id, since_on=date.min)
            self.unread = False
            doubted = self._rows(
                "SELECT trading_on FROM sync_batches WHERE account_id = %s AND status = 'partial' "
                "AND EXISTS (SELECT FROM jsonb_each(sections) s WHERE s.value ->> 'outcome' = 'suspect')",
                self.account.id,
            )
            told = self._rows("SELECT trading_on FROM portfolio_snapshots WHERE account_id = %s", self.account.id)
            self.model.snapshots |= {on for (on,) in told} & {on for (on,) in doubted}
            await self.check()

    async def rebuild(self) -> None:
        await check_rebuild(self.stage, self.account.id)
        self.seen["rebuilds"] += 1

    # ── what must hold ──

    async def check(self) -> None:
        self._check_orders()
        self._check_lines()
        self._check_days()
        self._check_numbers()
        self.seen["checks"] += 1
        if self.seen["checks"] % 3 == 0:  # it reads the whole month
            await check_fold(self.stage, self.account.id)

    def _check_orders(self) -> None:
        """Each order once; deltas add up to the most that was filled; the current view has the high-water mark."""
        ledger = self._rows(
            "SELECT broker_order_id, coalesce(units, 0) FROM effective_order_history LEFT JOIN ("
            "SELECT broker_order_id, sum(abs(quantity_delta)) AS units FROM effective_order_quantity_changes "
            "WHERE account_id = %s GROUP BY 1) c USING (broker_order_id) WHERE account_id = %s "
            "ORDER BY 1",
            self.account.id,
            self.account.id,
        )
        assert ledger == sorted(self.model.highest.items())
        current = self._rows(
            "SELECT broker_order_id, status, filled_quantity, quantity, price FROM current_orders "
            "WHERE account_id = %s",
            self.account.id,
        )
        expected = [(n, o.status, o.filled_quantity, o.quantity, o.price) for n, o in self.model.orders.items()]
        assert sorted(current) == sorted(expected)
        fills = self._rows(
            "SELECT broker_trade_id, quantity FROM effective_order_fills WHERE account_id = %s", self.account.id
        )
        assert sorted(fills) == sorted(self.model.trades.items())

    def _check_lines(self) -> None:
        """The holdings and positions that stand there, but for what nobody can be sure of yet."""
        query = "SELECT isin, quantity FROM real_holdings WHERE account_id = %s"
        sure = {isin: q for isin, q in self._rows(query, self.account.id) if isin not in self.model.unsure}
        assert sure == {isin: q for isin, q in self.model.holdings.items() if isin not in self.model.unsure}
        query = "SELECT 'positions:' || segment, trading_symbol, quantity FROM real_positions WHERE account_id = %s"
        expected = [(s, name, q) for s, lines in self.model.positions.items() for name, q in lines.items()]
        assert sorted(self._rows(query, self.account.id)) == sorted(expected)

    def _check_days(self) -> None:
        assert self._gaps() == sorted(self.model.lost)
        snapshots = self._rows(
            "SELECT trading_on, revision, to_jsonb(s), EXISTS (SELECT FROM ledger_events e "
            "WHERE e.batch_id = s.batch_id AND e.kind IN ('RECOVERED', 'GAP') AND e.section <> 'orders') "
            "FROM portfolio_snapshots s "
            "WHERE account_id = %s ORDER BY 1, 2",
            self.account.id,
        )
        assert {on for on, *_ in snapshots} == self.model.snapshots
        for (on, revision, row, _), (next_on, next_revision, next_row, told) in pairwise(snapshots):
            if on == next_on:
                assert next_revision == revision + 1
                differs = figures(row) != figures(next_row)
                assert differs or told, f"revision {next_revision} of {on} differs in nothing, and nothing was told"
            else:
                assert next_revision == 1
        for on, _, row, _ in snapshots:
            assert day_change_adds_up(row), (on, row)

    def _rows(self, query: str, *parameters: object) -> list[Any]:
        return self.looks.execute(query, parameters).fetchall()  # type: ignore[call-overload]

    def _gaps(self) -> list[date]:
        gaps = self._rows(
            "SELECT trading_on FROM effective_ledger_events WHERE account_id = %s AND kind = 'GAP' "
            "AND section = 'orders' ORDER BY 1",
            self.account.id,
        )
        return [on for (on,) in gaps]

    def _check_numbers(self) -> None:
        union = " UNION ALL ".join(f"SELECT account_id, seq FROM {table}" for table in FACT_TABLES)
        ((head, count, distinct, highest),) = self._rows(
            f"SELECT h.seq, count(f.seq), count(DISTINCT f.seq), coalesce(max(f.seq), 0) FROM account_heads h "
            f"LEFT JOIN ({union}) f USING (account_id) WHERE account_id = %s GROUP BY h.seq",
            self.account.id,
        )
        assert head == count == distinct == highest, "every number is used once"
