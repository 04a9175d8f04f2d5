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
from msgspec import Struct
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


Act = tuple[str, int, int]  # what happens, to which of those it can happen to, and how much of it


class Books:
    """What is true at the broker: orders with their trades, holdings that follow a day later, positions of the day.

    Nothing here is left to chance: the same acts make the same books.
    """

    def __init__(self, client: str, on: date) -> None:
        self.client = client
        self.on = on
        self.orders: dict[str, Order] = {}  # all there ever were
        self.versions: dict[str, list[Order]] = {}
        self.trades: dict[str, list[Fill]] = {}
        self.listed: list[str] = []  # today's
        self.before: list[str] = []  # of the day before
        self.holdings = {
            isin_of(s): a_holding(isin_of(s), 5 + 9 * n, 100, trading_symbol=s) for n, s in enumerate(SHARES)
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

    def act(self, acts: Sequence[Act], at: datetime, *, trading: bool) -> None:
        """What can happen at this moment of what is asked. Nothing is filled while the exchange is closed."""
        for name, which, amount in acts:
            if trading or name not in IN_TRADING:
                ACTS[name](self, which, amount, at)

    def _put(self, order: Order) -> None:
        self.orders[order.broker_order_id] = order
        self.versions.setdefault(order.broker_order_id, []).append(order)

    def _place(self, which: int, amount: int, at: datetime) -> None:
        name = f"{self.client}-{len(self.orders) + 1}"
        symbols = (*SHARES, FUTURE)
        symbol = symbols[which % len(symbols)]
        line = self.holdings.get(isin_of(symbol))
        spare = int(line.quantity) - self._being_sold(symbol) if line else 0
        sells = which >= len(symbols) and (symbol == FUTURE or spare > 0)
        units = min(amount + 1, spare) if sells and symbol != FUTURE else amount + 1
        kind: dict[str, Any] = {"segment": "FNO", "product": "NRML"} if symbol == FUTURE else {}
        sides: dict[str, Any] = {"sell": units} if sells else {"buy": units}
        order = an_order(symbol, id=name, created_at=at.replace(microsecond=0), status="NEW", **sides, **kind).order
        self._put(order)
        self.listed.append(name)

    def _being_sold(self, symbol: str) -> int:
        orders = [self.orders[name] for name in self.listed]
        return sum(int(o.quantity) for o in orders if o.side == "SELL" and o.trading_symbol == symbol)

    def _one_of(self, statuses: Collection[str], which: int) -> Order | None:
        """An order of today that has one of these."""
        found = [self.orders[name] for name in self.listed if self.orders[name].status in statuses]
        return found[which % len(found)] if found else None

    def _fill(self, which: int, amount: int, at: datetime) -> None:
        if order := self._one_of(WORKING, which):
            units = min(amount + 1, int(order.quantity - order.filled_quantity))
            trades = self.trades.setdefault(order.broker_order_id, [])
            name = f"{order.broker_order_id}/{len(trades) + 1}"
            trades.append(a_fill(units, order.price, order=order.broker_order_id, trade=name, traded_at=at))
            filled = order.filled_quantity + units
            left = order.quantity - filled
            self._put(
                replace(
                    order,
                    filled_quantity=filled,
                    remaining_quantity=left,
                    status="EXECUTED" if not left else "OPEN" if amount % 2 else order.status,
                    average_fill_price=order.price,
                )
            )

    def _move(self, which: int, amount: int, _: datetime) -> None:
        if order := self._one_of(WORKING, which):
            self._put(
                replace(order, status=WORKING[amount % len(WORKING)], remark="seen" if amount >= len(WORKING) else None)
            )

    def _amend(self, which: int, amount: int, _: datetime) -> None:
        if order := self._one_of(WORKING, which):
            more = 0 if order.side == "SELL" else amount % 6
            price = order.price if order.filled_quantity else d(90 + amount % 21)
            self._put(replace(order, quantity=order.quantity + more, price=price))

    def _cancel(self, which: int, amount: int, _: datetime) -> None:
        if order := self._one_of(WORKING, which):
            refused = not order.filled_quantity and amount % 10 > 6
            self._put(replace(order, status="REJECTED" if refused else "CANCELLED"))

    def _complete(self, which: int, _: int, __: datetime) -> None:
        if order := self._one_of(("EXECUTED",), which):
            self._put(replace(order, status="COMPLETED"))

    def _transfer_out(self, which: int, _: int, __: datetime) -> None:
        untouched = [i for i, line in self.holdings.items() if not self._being_sold(line.trading_symbol)]
        if len(untouched) > 1:
            del self.holdings[untouched[which % len(untouched)]]

    def _pledge(self, which: int, amount: int, _: datetime) -> None:
        if self.holdings:
            isin = [*self.holdings][which % len(self.holdings)]
            line = self.holdings[isin]
            self.holdings[isin] = replace(line, pledge_quantity=min(d(amount), line.quantity))

    def _receive(self, which: int, amount: int, _: datetime) -> None:
        self._deliver(SHARES[which % len(SHARES)], 1 + amount % 9)

    def _pay(self, which: int, amount: int, _: datetime) -> None:
        self.cash += amount if which % 2 else -amount


ACTS: dict[str, Callable[[Books, int, int, datetime], None]] = {
    "place": Books._place,
    "fill": Books._fill,
    "move": Books._move,
    "amend": Books._amend,
    "cancel": Books._cancel,
    "complete": Books._complete,
    "transfer out": Books._transfer_out,
    "pledge": Books._pledge,
    "receive": Books._receive,
    "pay": Books._pay,
}
IN_TRADING = {"fill", "complete"}


LIES = (
    "stale", "omits an order", "never settles", "forgets earlier orders", "hides a holding", "hides all holdings",
    "unavailable", "wants a login",
)  # fmt: skip
REFUSALS: Mapping[str, type[BrokerUnavailable] | type[BrokerLoginRequired]] = {
    "unavailable": BrokerUnavailable,
    "wants a login": BrokerLoginRequired,
}
ERRORS = ("BrokerThrottled", "BrokerUnavailable", "BrokerAnswerUnknown")


class Lies(Struct, frozen=True, kw_only=True):
    """How the broker departs from its books in one reading."""

    told: frozenset[str] = frozenset()  # of LIES
    failing: dict[str, str] = {}  # section → class of the error
    yesterdays_lists: bool = False
    salt: int = 0  # which order is stale, left out …


HONEST = Lies()


class WildBroker:
    """Says what stands in the books, but for its lies. `served` is what it said last, by section."""

    name = "groww"
    approval_url = "https://groww.example/approve"

    def __init__(self, books: Books) -> None:
        self.books = books
        self.lies = HONEST
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
        self._books, self._lies, self._random = broker.books, broker.lies, Random(broker.lies.salt)
        self._at = clock.now()

    @property
    def clock_offset(self) -> timedelta | None:
        told = self._broker.now
        return told - self._at if self._broker.heard and told is not None else None

    async def fetch_book(self, sections: Collection[str] | None = None) -> Fetched:
        self._broker.heard = True
        for name, refusal in REFUSALS.items():
            if name in self._lies.told:
                raise refusal("the broker will not have us now", call="book")
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
                return self._held()
            case "positions":
                return tuple(p for p in self._books.positions() if p.segment == segment)
        return tuple(order for order in self._listed() if order.segment == segment)

    def _held(self) -> tuple[Holding, ...]:
        lines = [self._books.holdings[isin] for isin in sorted(self._books.holdings)]
        if "hides all holdings" in self._lies.told:
            return ()
        if "hides a holding" in self._lies.told and lines:
            lines.pop(self._random.randrange(len(lines)))
        return tuple(lines)

    def _listed(self) -> list[Order]:
        names = self._books.before if self._lies.yesterdays_lists else self._books.listed
        orders = [self._books.orders[name] for name in names]
        if orders and "stale" in self._lies.told:
            versions = self._books.versions
            orders = [self._random.choice(versions[order.broker_order_id]) for order in orders]
        if orders and "omits an order" in self._lies.told:
            orders.pop(self._random.randrange(len(orders)))
        return orders

    async def fetch_earlier(self, orders: Sequence[Order]) -> Fetched:
        told = []
        forgets = "forgets earlier orders" in self._lies.told
        for order in orders:
            name = order.broker_order_id
            known: Any = name if forgets else self._books.orders[name]
            call = "unknown" if forgets else "earlier"
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
            elif name.startswith("orders:") and "never settles" in self._lies.told:
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
