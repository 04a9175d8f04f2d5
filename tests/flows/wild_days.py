"""A walk through days at random, with a small model beside it that knows the rules and none of the product's code.

The model is told what the broker said and whether the batch says that it was applied. After each step it compares
what it expects with what stands in the database.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

from msgspec.structs import replace

from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.clock import ist
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.domain.records import Login, Order
from portfolio_scheduler.errors import Conflict
from portfolio_scheduler.market.calendar import make_calendar
from portfolio_scheduler.sync import ownership
from portfolio_scheduler.sync.connect import connect
from portfolio_scheduler.sync.plan import plan, sweep
from portfolio_scheduler.sync.replay import replay
from portfolio_scheduler.sync.run import Report, run_queued
from tests.flows.conftest import Stage
from tests.flows.ledger_checks import FACT_TABLES, check_ledger, check_rebuild, facts_of
from tests.flows.wild_broker import SEGMENTS, Books, Lies, WildBroker, isin_of, orders_said

# Months with something in them: a Sunday and a Saturday session, an afternoon's, holidays, and one like any other.
STARTS = (date(2026, 1, 19), date(2024, 2, 19), date(2025, 10, 6), date(2026, 3, 23), date(2026, 6, 1))
REQUIRED = {"holdings", "fills", "margin", "prices", *(f"{s}:{n}" for s in ("positions", "orders") for n in SEGMENTS)}
RANKS = {"NEW": 0, "ACKED": 1, "EXECUTED": 3, "COMPLETED": 5, "CANCELLED": 5, "REJECTED": 5}  # all others: 2
FOR_GOOD = {"COMPLETED", "CANCELLED", "REJECTED"}
TERMS = ("quantity", "price", "trigger_price", "order_type", "validity")
DAY = timedelta(days=1)


class Crash(Exception):
    """The worker ends here."""


class Fuse:
    """Burns with each look at the clock or the calendar, which a sync takes all along, also amid its transactions."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.kills = False  # nothing runs any more after it: nobody closes the batch

    def burn(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            if not self.kills:
                self.left = None
            raise Crash


class Fragile:
    """A clock or a calendar on that fuse."""

    def __init__(self, whole: Any, fuse: Fuse) -> None:
        self._whole, self._fuse = whole, fuse

    def __getattr__(self, name: str) -> Any:
        self._fuse.burn()
        return getattr(self._whole, name)


class Model:
    """What must stand in the ledger, by what the broker said in the readings that were applied."""

    def __init__(self, connected_at: datetime) -> None:
        first = connected_at.date() - 10 * DAY
        self.sessions = make_calendar().sessions(first, first + 90 * DAY)
        self.connected_at = connected_at
        self.orders: dict[str, Order] = {}  # as far as they had come
        self.highest: dict[str, Decimal] = {}
        self.trades: dict[str, Decimal] = {}
        self.read: set[date] = set()  # sessions whose orders were read while they lasted
        self.ordered: set[date] = set()  # sessions of which an order was first seen
        self.lost: set[date] = set()
        self.reached: date | None = None  # the session of the last reading that began
        self.done: dict[date, set[str]] = {}  # sections read well after the close
        self.snapshots: set[date] = set()
        self.holdings: dict[str, Decimal] = {}
        self.unsure: set[str] = set()  # lines that a suspicious list showed otherwise
        self.missed: set[str] = set()  # lines that a suspicious list left out
        self.positions: dict[str, dict[str, Decimal]] = {}  # by segment

    def session_of(self, at: datetime) -> Any:
        return max((s for s in self.sessions if s.opens_at <= at), key=lambda s: s.on)

    def hear(self, at: datetime) -> None:
        """A reading began: what went by unread before it is lost."""
        self.reached = on = self.session_of(at).on
        went_by = {s.on for s in self.sessions if s.on < on and s.closes_at > self.connected_at}
        self.lost |= went_by - self.read - self.ordered

    def standing(self, at: datetime) -> str:
        session = self.session_of(at)
        if ist(session.on + DAY, 0) <= at:
            return "late"
        return "final" if session.closes_at <= at else "provisional"

    def apply(self, broker: WildBroker, outcomes: dict[str, str], at: datetime) -> None:
        on, standing = self.session_of(at).on, self.standing(at)
        good = {name for name, outcome in outcomes.items() if outcome == "ok"}
        listed = [name for name, outcome in outcomes.items() if name.startswith("orders:") and outcome != "failed"]
        if listed and standing != "late":
            self.read.add(on)
        for order in orders_said(broker.served):
            self._believe(order, on)
        for _, fills in broker.served.get("fills", ()):
            for fill in fills:
                self.trades[fill.broker_trade_id] = fill.quantity
        self._hold(broker, outcomes)
        if standing != "provisional":
            done = self.done.setdefault(on, set())
            bad = outcomes.keys() - good
            if not bad and (done | good).issuperset(REQUIRED):
                self.snapshots.add(on)
            done |= good

    def _hold(self, broker: WildBroker, outcomes: dict[str, str]) -> None:
        """A good list is the truth; a suspicious one takes nothing away. What is gone was sold, or missed before."""
        said = dict(broker.served)
        for section, lines in said.get("positions", ()):
            if outcomes[section] == "ok":
                self.positions[section] = {line.trading_symbol: line.quantity for line in lines}
        for section, lines in said.get("holdings", ()):
            listed = {line.isin: line.quantity for line in lines}
            gone = self.holdings.keys() - listed.keys()
            if outcomes[section] == "ok":
                assert gone <= self.missed | self._sold(), "a line is gone that was missing once only"
                self.holdings, self.unsure, self.missed = listed, set(), set()
            else:
                assert outcomes[section] == "suspect"
                self.unsure |= {isin for isin, units in listed.items() if units != self.holdings.get(isin)}
                self.unsure |= gone & (self.missed | self._sold())  # that one was missed for the second time
                self.missed |= gone

    def _sold(self) -> set[str]:
        sells = {name for name, order in self.orders.items() if order.side == "SELL" and order.filled_quantity}
        return {isin_of(self.orders[name].trading_symbol) for name in sells}

    def _believe(self, seen: Order, on: date) -> None:
        known = self.orders.get(seen.broker_order_id)
        self.highest[seen.broker_order_id] = max(
            self.highest.get(seen.broker_order_id, Decimal(0)), seen.filled_quantity
        )
        if known is None:
            self.ordered.add(on)
        if known is None or not goes_back(known, seen):
            self.orders[seen.broker_order_id] = seen


def goes_back(known: Order, seen: Order) -> bool:
    """Rule 11: less filled, a status of a lower rank or after the end, terms amended after the end."""
    if seen.filled_quantity < known.filled_quantity:
        return True
    ended = RANKS.get(known.status, 2) >= 3 and seen.filled_quantity == known.filled_quantity
    if ended and any(getattr(known, name) != getattr(seen, name) for name in TERMS):
        return True
    moved = known.status != seen.status
    return moved and (known.status in FOR_GOOD or RANKS.get(seen.status, 2) < RANKS.get(known.status, 2))


class Walk:
    """One account, one seed."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.random = Random(seed)
        self.seed = seed
        self.on = self.random.choice(STARTS)
        self.fuse = Fuse()
        self.books = Books(self.random, f"U{seed}", self.on)
        self.broker = WildBroker(self.books)
        self.stage = stage
        stage.app = replace(
            stage.app,
            brokers={"groww": self.broker},
            calendar=Fragile(make_calendar(), self.fuse),
            clock=Fragile(stage.clock, self.fuse),
        )
        self.now = ist(self.on, 9)
        self.model = Model(self.now)
        self.journal: list[str] = []
        self.seen = Counter[str]()
        self.paused = False
        self.unread = False  # whether a worker died between keeping answers and telling what they say

    async def live(self, days: int) -> Account:
        """Go through the days; whatever fails says after which steps of which seed."""
        try:
            self._at(self.now)
            login = Credentials(login=Login.TOKEN, access_token="a token")
            self.account = await connect(self.stage.app, broker="groww", label=f"seed {self.seed}", credentials=login)
            for _ in range(days):
                await self._day()
                self.on += DAY
                self.books.turn(self.on)
                await self._night()
            self._at(self.now + DAY)
            await self._calm()
            await self._replay()
            await check_ledger(self.stage, self.account.id)
        except BaseException as error:
            error.add_note(f"seed {self.seed}; last steps:\n  " + "\n  ".join(self.journal[-12:]))
            raise
        return self.account

    # ── a day ──

    async def _day(self) -> None:
        if self.random.random() < 0.04:
            await self._pause_or_resume()
        if self.random.random() < 0.15:
            self._say(f"{self.on}: nobody is awake")
            self.books.stir(ist(self.on, 11), trading=self._is_trading(ist(self.on, 11)))
            return
        moments = [(8, 0), (11, 0), (13, 50), (16, 0), (19, 0), (23, 20)]
        for hour, minute in sorted(self.random.sample(moments, self.random.choice((1, 1, 1, 2)))):
            self._at(ist(self.on, hour, minute))
            self.books.stir(self.now, trading=self._is_trading(self.now))
            await self._step(self.random.choice(self._steps(hour)))
        if self.random.random() < 0.05:
            await self._replay()
        if self.random.random() < 0.05:
            self._say("rebuild")
            await check_rebuild(self.stage, self.account.id)

    async def _night(self) -> None:
        if self.random.random() < 0.2:
            self._at(ist(self.on, 0, 40))
            await self._step(self._at_night)

    async def _at_night(self) -> None:
        await self._sync(Lies(self.random, at_night=True))

    def _steps(self, hour: int) -> list[Callable[[], Any]]:
        usual: list[Callable[[], Any]] = (
            [self._wild] * 4 + [self._calm] * 3 + [self._crash] * 2 + [self._twice, self._stale]
        )
        return usual + ([self._planned] * 5 if hour in {16, 23} else [self._set_back])

    async def _step(self, step: Callable[[], Any]) -> None:
        await step()
        await self._check()

    async def _wild(self) -> None:
        await self._sync(Lies(self.random))

    async def _calm(self) -> None:
        """A good reading, and the same again: the second adds nothing."""
        await self._sync(Lies())
        before = await facts_of(self.stage, self.account.id)
        self._at(self.now + timedelta(seconds=10))
        await self._sync(Lies())
        assert await facts_of(self.stage, self.account.id) == before, "a second identical sync added something"

    async def _stale(self) -> None:
        """A good reading, and one that comes from a server that lags behind."""
        await self._sync(Lies())
        self._at(self.now + timedelta(minutes=5))
        lies = Lies()
        lies.stale = True
        await self._sync(lies)

    async def _twice(self) -> None:
        """Two at once: one reads, the other is told so."""
        self.broker.lies = Lies()
        self._say(f"{self.now}: two at once")
        ended = await asyncio.gather(*(self.stage.sync(self.account) for _ in range(2)), return_exceptions=True)
        refused = [one for one in ended if isinstance(one, Conflict)]
        reports = [one for one in ended if isinstance(one, Report)]
        assert (len(refused), len(reports)) == (1, 1), ended
        self._note(reports[0])

    async def _set_back(self) -> None:
        """Our clock is some minutes slow; the broker's is right."""
        self.broker.now = self.now
        behind = timedelta(minutes=self.random.choice((1, 3, 8, 40)))
        self.stage.clock.set(self.now - behind)
        self._say(f"the clock is set back by {behind}")
        observed_at = self.now if behind > timedelta(minutes=5) else self.now - behind
        await self._sync(Lies(self.random), observed_at)
        self._at(self.now)

    async def _planned(self) -> None:
        """What the service does each minute. A paused account is left alone."""
        self.broker.lies = Lies(self.random)
        await sweep(self.stage.app, self.now)
        planned = await plan(self.stage.app, self.now)
        report = await run_queued(self.stage.app, self.account.id)
        self._say(f"{self.now}: planned {planned}: {report and report.status}")
        if report is not None:
            assert not self.paused
            self.seen["planned"] += 1
            self._note(report)

    async def _crash(self) -> None:
        self.broker.lies = Lies()
        self.fuse.left, self.fuse.kills = self.random.randint(0, 16), self.random.random() < 0.5
        self._say(f"{self.now}: crash after {self.fuse.left} looks, kills: {self.fuse.kills}")
        before, report = await self._last_batch(), None
        with whole_again(self.fuse):
            try:
                report = await self.stage.sync(self.account)
            except Crash:
                self.seen["crashes"] += 1
        if report is not None:
            self._note(report)
            return
        last = await self._last_batch()
        kept, applied = last[1:] if last[0] != before[0] else (False, False)
        assert not applied, "a crash is the end of all or nothing"
        await self._hear_the_dead()
        self.unread |= kept
        self.seen["crashes after the answers were kept"] += kept
        await self.stage.rows(
            "UPDATE sync_batches SET heartbeat_at = heartbeat_at - interval '1 hour' "
            "WHERE account_id = %s AND status = 'running' RETURNING id",
            self.account.id,
        )
        await self._check()
        self._at(self.now + timedelta(seconds=10))
        await self._sync(Lies())

    async def _last_batch(self) -> tuple[object, bool, bool]:
        """The newest batch, whether its answers were kept, and whether they were applied."""
        found = await self.stage.rows(
            "SELECT id, standing IS NOT NULL, sections <> '{}' FROM sync_batches WHERE account_id = %s "
            "ORDER BY fence DESC LIMIT 1",
            self.account.id,
        )
        return found[0] if found else (None, False, False)

    async def _hear_the_dead(self) -> None:
        """A worker that died may have written lost days off before; all of them, or none."""
        before = set(self.model.lost)
        self.model.hear(self.now)
        if await self._gaps() == sorted(before):
            self.model.lost = before

    async def _pause_or_resume(self) -> None:
        self.paused = not self.paused
        switch = ownership.pause if self.paused else ownership.resume
        assert await switch(self.stage.app, self.account.id)
        self._say(f"{self.on}: {switch.__name__}d")

    async def _replay(self) -> None:
        since = self.on - self.random.randint(0, 10) * DAY
        self._say(f"replay since {since}")
        if self.unread:
            await self._replay_what_a_crash_left()
        before = await facts_of(self.stage, self.account.id)
        done = await replay(self.stage.app, self.account.id, since_on=since)
        assert (done.voided, done.added, done.rereadings, done.prices, done.snapshots) == (0, 0, 0, 0, ()), done
        assert await facts_of(self.stage, self.account.id) == before
        self.seen["replays"] += 1

    async def _replay_what_a_crash_left(self) -> None:
        """What a dead worker had read is told in its place. The sync after it said the same, so the model stands."""
        done = await replay(self.stage.app, self.account.id, since_on=date.min)
        self._say(f"what crashes left is read: {done}")
        self.unread = False
        await self._check()

    # ── a sync, and what the model makes of it ──

    async def _sync(self, lies: Lies, observed_at: datetime | None = None) -> None:
        self.broker.lies = lies
        report = await self.stage.sync(self.account)
        self._note(report, observed_at or self.now)
        said = {name: result.outcome.value for name, result in report.sections.items() if result.outcome.value != "ok"}
        lied = {name: value for name, value in vars(lies).items() if value}
        self._say(f"{self.now}: {report.status} {report.standing} {said} {lied}")

    def _note(self, report: Report, at: datetime | None = None) -> None:
        """What a reading that ended says of itself is what the model goes by, but never more than the broker said."""
        at = at or self.now
        self.seen["syncs"] += 1
        if self.broker.heard:
            self.model.hear(at)
        if not report.sections:
            return
        outcomes = {name: result.outcome.value for name, result in report.sections.items()}
        for name, result in self.broker.outcomes.items():
            assert outcomes[name] in {result.outcome.value, "suspect"}, (name, outcomes)
        assert report.trading_on == self.model.session_of(at).on
        assert report.standing == self.model.standing(at)
        self.model.apply(self.broker, outcomes, at)
        self.last = outcomes

    async def _check(self) -> None:
        await self._check_orders()
        await self._check_lines()
        await self._check_days()
        await self._check_numbers()

    async def _check_orders(self) -> None:
        """Each order once; deltas add up to the most that was filled; the current view has the high-water mark."""
        ledger = await self.stage.rows(
            "SELECT broker_order_id, coalesce(units, 0) FROM effective_order_history LEFT JOIN ("
            "SELECT broker_order_id, sum(abs(quantity_delta)) AS units FROM effective_order_quantity_changes "
            "WHERE account_id = %s GROUP BY 1) c USING (broker_order_id) WHERE account_id = %s "
            "ORDER BY 1",
            self.account.id,
            self.account.id,
        )
        assert ledger == sorted(self.model.highest.items())
        current = await self.stage.rows(
            "SELECT broker_order_id, status, filled_quantity, quantity, price FROM current_orders "
            "WHERE account_id = %s",
            self.account.id,
        )
        expected = [(n, o.status, o.filled_quantity, o.quantity, o.price) for n, o in self.model.orders.items()]
        assert sorted(current) == sorted(expected)
        fills = await self.stage.rows(
            "SELECT broker_trade_id, quantity FROM effective_order_fills WHERE account_id = %s", self.account.id
        )
        assert sorted(fills) == sorted(self.model.trades.items())

    async def _check_lines(self) -> None:
        """The holdings and positions that stand there, but for what nobody can be sure of yet."""
        query = "SELECT isin, quantity FROM real_holdings WHERE account_id = %s"
        sure = {isin: q for isin, q in await self.stage.rows(query, self.account.id) if isin not in self.model.unsure}
        assert sure == {isin: q for isin, q in self.model.holdings.items() if isin not in self.model.unsure}
        query = "SELECT 'positions:' || segment, trading_symbol, quantity FROM real_positions WHERE account_id = %s"
        expected = [(s, name, q) for s, lines in self.model.positions.items() for name, q in lines.items()]
        assert sorted(await self.stage.rows(query, self.account.id)) == sorted(expected)

    async def _check_days(self) -> None:
        assert await self._gaps() == sorted(self.model.lost)
        snapshots = await self.stage.rows(
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

    async def _gaps(self) -> list[date]:
        gaps = await self.stage.rows(
            "SELECT trading_on FROM effective_ledger_events WHERE account_id = %s AND kind = 'GAP' "
            "AND section = 'orders' ORDER BY 1",
            self.account.id,
        )
        return [on for (on,) in gaps]

    async def _check_numbers(self) -> None:
        union = " UNION ALL ".join(f"SELECT account_id, seq FROM {table}" for table in FACT_TABLES)
        head, count, distinct, highest = await self.stage.one(
            f"SELECT h.seq, count(f.seq), count(DISTINCT f.seq), coalesce(max(f.seq), 0) FROM account_heads h "
            f"LEFT JOIN ({union}) f USING (account_id) WHERE account_id = %s GROUP BY h.seq",
            self.account.id,
        )
        assert head == count == distinct == highest, "every number is used once"

    # ── time ──

    def _at(self, now: datetime) -> None:
        self.now = self.broker.now = now
        self.stage.clock.set(now)

    def _is_trading(self, at: datetime) -> bool:
        return any(s.opens_at <= at < s.closes_at for s in self.model.sessions)

    def _say(self, what: str) -> None:
        self.journal.append(what)


@contextmanager
def whole_again(fuse: Fuse) -> Iterator[None]:
    try:
        yield
    finally:
        fuse.left, fuse.kills = None, False


def figures(row: dict[str, Any]) -> dict[str, Any]:
    """What two revisions of a day may differ in."""
    names = ("holdings_value", "invested", "unrealised_pnl", "positions_pnl", "cash", "margin_used")
    names += ("holdings_count", "positions_count", "orders_count", "fills_count")
    names += ("previous_on", "previous_value", "day_change", "market_move", "net_invested", "unexplained")
    return {name: row[name] for name in names} | {"lines": {line["isin"]: line["quantity"] for line in row["lines"]}}


def day_change_adds_up(row: dict[str, Any]) -> bool:
    if row["day_change"] is None:
        return bool(row["day_change_reason"])
    parts = sum(Decimal(str(row[n])) for n in ("market_move", "net_invested", "transferred", "unexplained"))
    change = Decimal(str(row["holdings_value"])) - Decimal(str(row["previous_value"]))
    return Decimal(str(row["day_change"])) == parts == change
