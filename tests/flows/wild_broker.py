"""A broker with books of its own that lives through days, and what it says of them: true, stale or nothing.

Its answers are bytes that `parse` reads, as a real broker's are, so they can be kept, replayed and repeated.
"""

import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace

from portfolio_scheduler.brokers.broker import AccessToken, Credentials
from portfolio_scheduler.clock import Clock
from portfolio_scheduler.domain.records import (
    Answer,
    Fetched,
    Fill,
    Holding,
    Instrument,
    Margin,
    Order,
    Outcome,
    Owner,
    Position,
    Price,
    SectionResult,
    Statement,
)
from portfolio_scheduler.errors import BrokerLoginRequired, BrokerUnavailable
from tests.builders import OK, a_fill, a_holding, a_position, an_order, d

SHARES = ("INFY", "TCS", "ITC", "SBIN", "WIPRO", "LT")
FUTURE = "NIFTY26MAYFUT"
SEGMENTS = ("CASH", "FNO")
BOOK = ("owner", "holdings", "positions:CASH", "positions:FNO", "orders:CASH", "orders:FNO", "margin")
STILL = datetime(2000, 1, 1, tzinfo=UTC)
WORKING = ("NEW", "ACKED", "OPEN", "MODIFICATION_REQUESTED", "CANCELLATION_REQUESTED", "WAITING_FOR_GODOT")
KINDS: dict[str, Any] = {
    "owner": Owner,
    "margin": Margin,
    "holdings": tuple[Holding, ...],
    "positions": tuple[Position, ...],
    "orders": tuple[Order, ...],
    "earlier": Order,
    "unknown": str,
    "fills": tuple[Fill, ...],
    "prices": tuple[Price, ...],
}


def isin_of(symbol: str) -> str:
    return f"INE{symbol:0<6}01"[:12]


class Books:
    """What is true at the broker: orders with their trades, holdings that follow a day later, positions of the day."""

    def __init__(self, random: Random, client: str, on: date) -> None:
        self.random = random
        self.client = client
        self.on = on
        self.orders: dict[str, Order] = {}  # all there ever were
        self.versions: dict[str, list[Order]] = {}
        self.trades: dict[str, list[Fill]] = {}
        self.listed: list[str] = []  # today's
        self.before: list[str] = []  # of the day before
        self.holdings = {
            isin_of(s): a_holding(isin_of(s), random.randint(5, 50), 100, trading_symbol=s) for s in SHARES
        }
        self.carried = 0  # futures
        self.cash = d(100000)

    def turn(self, on: date) -> None:
        """Midnight: what was bought and sold reaches the holdings, today's lists are yesterday's, open orders lapse."""
        for position in self.positions():
            if position.segment == "CASH":
                self._deliver(position.trading_symbol, int(position.quantity))
            else:
                self.carried = int(position.quantity)
        for name in self.listed:
            if self.orders[name].status in WORKING:
                self._put(replace(self.orders[name], status="CANCELLED"))
        self.before, self.listed, self.on = self.listed, [], on

    def _deliver(self, symbol: str, units: int) -> None:
        isin = isin_of(symbol)
        line = self.holdings.get(isin) or a_holding(isin, 0, 100, trading_symbol=symbol)
        quantity = line.quantity + units
        if quantity > 0:
            self.holdings[isin] = replace(line, quantity=quantity)
        else:
            self.holdings.pop(isin, None)

    def positions(self) -> list[Position]:
        """The lines of today, made of today's trades and of the futures carried over."""
        bought, sold = dict[str, int](), dict[str, int]()
        for name in self.listed:
            order = self.orders[name]
            sums = bought if order.side == "BUY" else sold
            sums[order.trading_symbol] = sums.get(order.trading_symbol, 0) + int(order.filled_quantity)
        lines = []
        for symbol in sorted({*(s for s, units in (bought | sold).items()), *([FUTURE] if self.carried else [])}):
            plus, minus = bought.get(symbol, 0), sold.get(symbol, 0)
            if symbol != FUTURE and (plus or minus):
                lines.append(a_position(symbol, bought=plus, sold=minus, isin=isin_of(symbol)))
            elif symbol == FUTURE and (plus or minus or self.carried):
                line = a_position(symbol, bought=plus, sold=minus, segment="FNO", product="NRML")
                held = d(self.carried + plus - minus)
                lines.append(replace(line, quantity=held, net_carry_forward_quantity=d(self.carried)))
        return lines

    # ── what happens ──

    def stir(self, at: datetime, *, trading: bool) -> None:
        """Some of what can happen, at this moment. Nothing is filled while the exchange is closed."""
        acts: list[Callable[[datetime], None]] = [self._place, self._place, self._move, self._amend, self._cancel]
        acts += [self._fill] * 5 + [self._complete] * 2 if trading else []
        for _ in range(self.random.randint(0, 9)):
            self.random.choice(acts)(at)
        if self.random.random() < 0.06:
            self.random.choice([self._transfer_out, self._pledge, self._receive])()
        if self.random.random() < 0.3:
            self.cash += self.random.randint(-500, 500)

    def _put(self, order: Order) -> None:
        self.orders[order.broker_order_id] = order
        self.versions.setdefault(order.broker_order_id, []).append(order)

    def _place(self, at: datetime) -> None:
        name = f"{self.client}-{len(self.orders) + 1}"
        symbol = self.random.choice((*SHARES, FUTURE))
        line = self.holdings.get(isin_of(symbol))
        spare = int(line.quantity) - self._being_sold(symbol) if line else 0
        sells = self.random.random() < 0.4 and (symbol == FUTURE or spare > 0)
        units = self.random.randint(1, min(spare, 30) if sells and symbol != FUTURE else 30)
        kind: dict[str, Any] = {"segment": "FNO", "product": "NRML"} if symbol == FUTURE else {}
        sides: dict[str, Any] = {"sell": units} if sells else {"buy": units}
        order = an_order(symbol, id=name, created_at=at.replace(microsecond=0), status="NEW", **sides, **kind).order
        self._put(order)
        self.listed.append(name)

    def _being_sold(self, symbol: str) -> int:
        orders = [self.orders[name] for name in self.listed]
        return sum(int(o.quantity) for o in orders if o.side == "SELL" and o.trading_symbol == symbol)

    def _working(self) -> Order | None:
        working = [self.orders[name] for name in self.listed if self.orders[name].status in WORKING]
        return self.random.choice(working) if working else None

    def _fill(self, at: datetime) -> None:
        if order := self._working():
            units = self.random.randint(1, int(order.quantity - order.filled_quantity))
            trades = self.trades.setdefault(order.broker_order_id, [])
            name = f"{order.broker_order_id}/{len(trades) + 1}"
            trades.append(a_fill(units, order.price, order=order.broker_order_id, trade=name, traded_at=at))
            filled = order.filled_quantity + units
            status = "EXECUTED" if filled == order.quantity else self.random.choice(("OPEN", order.status))
            left = order.quantity - filled
            self._put(
                replace(
                    order,
                    filled_quantity=filled,
                    remaining_quantity=left,
                    status=status,
                    average_fill_price=order.price,
                )
            )

    def _move(self, at: datetime) -> None:
        del at
        if order := self._working():
            self._put(replace(order, status=self.random.choice(WORKING), remark=self.random.choice((None, "seen"))))

    def _amend(self, at: datetime) -> None:
        del at
        if order := self._working():
            more = 0 if order.side == "SELL" else self.random.randint(0, 5)
            price = d(self.random.randint(90, 110)) if not order.filled_quantity else order.price
            self._put(replace(order, quantity=order.quantity + more, price=price))

    def _cancel(self, at: datetime) -> None:
        del at
        if order := self._working():
            refused = not order.filled_quantity and self.random.random() < 0.3
            self._put(replace(order, status="REJECTED" if refused else "CANCELLED"))

    def _complete(self, at: datetime) -> None:
        del at
        done = [self.orders[name] for name in self.listed if self.orders[name].status == "EXECUTED"]
        if done:
            self._put(replace(self.random.choice(done), status="COMPLETED"))

    def _transfer_out(self) -> None:
        untouched = [i for i, line in self.holdings.items() if not self._being_sold(line.trading_symbol)]
        if len(untouched) > 1:
            del self.holdings[self.random.choice(untouched)]

    def _pledge(self) -> None:
        isin = self.random.choice([*self.holdings])
        line = self.holdings[isin]
        self.holdings[isin] = replace(line, pledge_quantity=d(self.random.randint(0, int(line.quantity))))

    def _receive(self) -> None:
        symbol = self.random.choice(SHARES)
        self._deliver(symbol, self.random.randint(1, 9))


class Lies:
    """How the broker departs from its books in one reading."""

    def __init__(self, random: Random | None = None, *, at_night: bool = False) -> None:
        self.failing: dict[str, str] = {}  # section → class of the error
        self.refuses: type[BrokerUnavailable] | type[BrokerLoginRequired] | None = None
        self.hides_holdings = 0.0
        self.stale = self.omits = self.unstable = self.old_lists = self.forgets = False
        if random is None:
            return
        errors = ("BrokerThrottled", "BrokerUnavailable", "BrokerAnswerUnknown")
        self.failing = {s: random.choice(errors) for s in (*BOOK, "fills", "prices") if random.random() < 0.03}
        if random.random() < 0.04:
            self.refuses = random.choice((BrokerUnavailable, BrokerLoginRequired))
        self.hides_holdings = random.choice((0, 0, 0, 0, 0, 0, 0, 0, 0.2, 1))
        self.stale, self.omits, self.unstable, self.forgets = (random.random() < p for p in (0.35, 0.05, 0.05, 0.2))
        self.old_lists = at_night and random.random() < 0.5

    @property
    def is_honest(self) -> bool:
        return not (self.failing or self.refuses or self.hides_holdings or self.omits or self.unstable or self.stale)


class WildBroker:
    """Says what stands in the books, but for its lies. `served` is what it said last, by section."""

    name = "groww"
    approval_url = "https://groww.example/approve"

    def __init__(self, books: Books) -> None:
        self.books = books
        self.lies = Lies()
        self.now: datetime | None = None  # the broker's own clock
        self.heard = False
        self.served: dict[str, Any] = {}
        self.outcomes: dict[str, SectionResult] = {}

    @asynccontextmanager
    async def open(
        self, credentials: Credentials, token: AccessToken | None, clock: Clock
    ) -> AsyncIterator["WildSession"]:
        del credentials, token
        self.heard, self.served, self.outcomes = False, {}, {}
        yield WildSession(self, clock)

    def parse(
        self, answers: Sequence[Answer], sections: dict[str, SectionResult], observed_at: datetime, trading_on: date
    ) -> Statement:
        said: dict[str, list[Any]] = {}
        failed = {name for name, result in sections.items() if result.outcome is Outcome.FAILED}
        for answer in answers:
            if answer.section not in failed and answer.status == 200:
                said.setdefault(answer.call, []).append(msgspec.json.decode(answer.body, type=KINDS[answer.call]))

        def rows(call: str) -> tuple[Any, ...]:
            return tuple(row for part in said.get(call, ()) for row in part)

        return Statement(
            observed_at=observed_at,
            owner=next(iter(said.get("owner", ())), None),
            holdings=rows("holdings"),
            positions=rows("positions"),
            orders=rows("orders"),
            earlier=tuple(said.get("earlier", ())),
            unanswered=tuple(said.get("unknown", ())),
            fills=rows("fills"),
            margin=next(iter(said.get("margin", ())), None),
            prices=tuple(replace(p, priced_on=trading_on, priced_at=observed_at) for p in rows("prices")),
            sections=sections,
            digests={answer.section: answer.digest for answer in answers},
        )


class WildSession:
    """One reading."""

    token = None
    resume_at = None
    mints = 0

    def __init__(self, broker: WildBroker, clock: Clock) -> None:
        self._broker = broker
        self._books, self._lies, self._random = broker.books, broker.lies, broker.books.random
        self._at = clock.now()

    @property
    def clock_offset(self) -> timedelta | None:
        told = self._broker.now
        return told - self._at if self._broker.heard and told is not None else None

    async def fetch_book(self, sections: Collection[str] | None = None) -> Fetched:
        self._broker.heard = True
        if self._lies.refuses is not None:
            raise self._lies.refuses("the broker will not have us now", call="book")
        wanted = [name for name in BOOK if sections is None or name == "owner" or name in sections]
        return self._said([(name.partition(":")[0], name, name, self._about(name)) for name in wanted])

    def _about(self, section: str) -> Any:
        kind, _, segment = section.partition(":")
        match kind:
            case "owner":
                return Owner(ucc=self._books.client, segments=SEGMENTS)
            case "margin":
                return Margin(clear_cash=self._books.cash)
            case "holdings":
                lines = [self._books.holdings[isin] for isin in sorted(self._books.holdings)]
                return tuple(line for line in lines if self._random.random() >= self._lies.hides_holdings)
            case "positions":
                return tuple(p for p in self._books.positions() if p.segment == segment)
        return tuple(order for order in self._listed() if order.segment == segment)

    def _listed(self) -> list[Order]:
        names = self._books.before if self._lies.old_lists else self._books.listed
        orders = [self._books.orders[name] for name in names]
        if orders and self._lies.stale:
            versions = self._books.versions
            orders = [self._random.choice(versions[order.broker_order_id]) for order in orders]
        if orders and self._lies.omits:
            orders.pop(self._random.randrange(len(orders)))
        return orders

    async def fetch_earlier(self, orders: Sequence[Order]) -> Fetched:
        told = []
        for order in orders:
            name = order.broker_order_id
            known: Any = name if self._lies.forgets else self._books.orders[name]
            call = "unknown" if self._lies.forgets else "earlier"
            told.append((call, f"earlier:{order.segment}", name, known))
        return Fetched(answers=self._said(told).answers)

    async def fetch_fills(self, orders: Sequence[Order]) -> Fetched:
        asked = [("fills", "fills", o.broker_order_id, self._trades(o)) for o in orders]
        return self._said(asked, ("fills",))

    def _trades(self, order: Order) -> tuple[Fill, ...]:
        """As far as the order was filled when it was listed: the two answers are of one moment."""
        found, left = [], order.filled_quantity
        for trade in self._books.trades.get(order.broker_order_id, ()):
            if left > 0:
                found.append(trade)
                left -= trade.quantity
        return tuple(found)

    async def fetch_prices(self, instruments: Sequence[Instrument]) -> Fetched:
        prices = tuple(
            Price(
                **{name: getattr(i, name) for name in ("key", "exchange", "segment", "trading_symbol")},
                price=price_of(i.key, self._books.on),
                source="ltp",
                priced_on=self._books.on,
                priced_at=self._at,
            )
            for i in instruments
        )
        still = tuple(replace(p, priced_at=STILL) for p in prices)  # so that the same prices are the same bytes
        return self._said([("prices", "prices", "ltp", still)] if prices else [], ("prices",))

    def _said(self, told: Sequence[tuple[str, str, str, Any]], sections: Collection[str] = ()) -> Fetched:
        """The answers, garbled where the section fails; `served` keeps what was said."""
        answers = []
        results = dict.fromkeys((*sections, *(s for _, s, _, _ in told if not s.startswith("earlier"))), OK)
        for name in results:
            if name in self._lies.failing:
                results[name] = SectionResult(
                    outcome=Outcome.FAILED, error=self._lies.failing[name], reason="it failed"
                )
            elif name.startswith("orders:") and self._lies.unstable:
                results[name] = SectionResult(outcome=Outcome.UNSTABLE, reason="it never settled")
        for call, section, request, what in told:
            failed = section in self._lies.failing
            body = b"<html>no</html>" if failed else msgspec.json.encode(what)
            digest = hashlib.sha256(body).digest()
            answers.append(
                Answer(
                    call=call,
                    section=section,
                    request=request,
                    status=503 if failed else 200,
                    body=body,
                    digest=digest,
                    fetched_at=self._at,
                )
            )
            if not failed:
                self._broker.served.setdefault(call, []).append((section, what))
        self._broker.outcomes |= results
        return Fetched(answers=tuple(answers), sections=results)


def price_of(key: str, on: date) -> Decimal:
    """The one price that an instrument has on a day."""
    return Decimal(5000 + zlib.crc32(f"{key} {on}".encode()) % 10000) / 100


def orders_said(served: Mapping[str, list[tuple[str, Any]]]) -> list[Order]:
    """All orders that a reading spoke of, today's first."""
    today = [order for _, part in served.get("orders", ()) for order in part]
    return [*today, *(order for _, order in served.get("earlier", ()))]
