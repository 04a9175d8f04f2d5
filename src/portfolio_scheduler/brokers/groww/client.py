"""Reading one Groww account: which calls, in which order, until when.

`Groww` is the broker, `GrowwSession` the reads of one account. Every read ends as raw answers plus an outcome for each
section; making records of them is `parse.py`'s work. What a call was for and cannot be seen in its answer stands in the
answer's `request` after "#", which is never sent.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from functools import partial
from typing import BinaryIO, ClassVar, TypeVar
from urllib.parse import quote, urlencode

from msgspec import Struct, structs

from portfolio_scheduler.brokers.breaker import Breaker
from portfolio_scheduler.brokers.broker import AccessToken, Credentials
from portfolio_scheduler.brokers.budget import Budgets, Rate
from portfolio_scheduler.brokers.groww import instruments, parse, wire
from portfolio_scheduler.brokers.groww.login import APPROVAL_URL, MINT_PATH, GrowwLogin
from portfolio_scheduler.brokers.http import Http, Policy, Route, is_loopback
from portfolio_scheduler.clock import Clock
from portfolio_scheduler.domain.instruments import Listing
from portfolio_scheduler.domain.money import ZERO
from portfolio_scheduler.domain.records import (
    OK,
    Answer,
    Fetched,
    Instrument,
    Order,
    Outcome,
    SectionResult,
    Statement,
)
from portfolio_scheduler.domain.tables import BadLine
from portfolio_scheduler.errors import (
    BrokerAnswerUnknown,
    BrokerError,
    BrokerLoginRequired,
    BrokerNotEntitled,
    BrokerRefused,
    SetupProblem,
)
from portfolio_scheduler.failpoints import failpoint
from portfolio_scheduler.settings import GROWW_URL

READS, LIVE, AUTH = "reads", "live", "auth"
# Three quarters of what Groww allows (20/s and 500/min, 10/s and 300/min); logins far below their 5/s and 30/min.
RATES = {
    READS: Rate(per_second=15, per_minute=375),
    LIVE: Rate(per_second=7, per_minute=225),
    AUTH: Rate(per_second=1, per_minute=5),
}


def _route(method: str, path: str, kind: str) -> Route:
    return Route(method=method, path=re.compile(path), kind=kind)


_ID = r"(?!\.+$)[A-Za-z0-9._~%-]+"
# Everything that is ever sent to Groww. Reads, and the mint of a token; no order can be placed, changed or cancelled.
ROUTES = (
    _route("POST", MINT_PATH, AUTH),
    _route("GET", "/user/detail", READS),
    _route("GET", "/holdings/user", READS),
    _route("GET", "/positions/user", READS),
    _route("GET", "/order/list", READS),
    _route("GET", f"/order/detail/{_ID}", READS),
    _route("GET", f"/order/trades/{_ID}", READS),
    _route("GET", "/margins/detail/user", READS),
    _route("GET", "/live-data/ltp", LIVE),
)

ASSUMED_SEGMENTS = ("CASH", "FNO")  # when user detail does not say
ORDERS_PER_PAGE = 100  # what we ask for; Groww may send fewer
LEAST_PAGE_CAP = 25  # the smallest cap in Groww's docs: a shorter page was not cut
PAGES_PER_SCAN = 40
SCANS = 4
TRADES_PER_PAGE = 50
PRICES_PER_CALL = 50
CONFLICTS_LOOKED_UP = 20
FILLS_AT_ONCE = 4
FILL_FAILURES = 5  # after so many orders without an answer the others are not asked for

_BAD_SYMBOL = re.compile(r"Invalid trading symbol:?\s*(\S+)", re.IGNORECASE)


class Groww:
    """The broker "groww". `open` makes a session for one account, `parse` turns its answers into a statement."""

    name: ClassVar[str] = "groww"
    approval_url: ClassVar[str] = APPROVAL_URL

    def __init__(
        self, base_url: str = GROWW_URL, policy: Policy | None = None, rates: Mapping[str, Rate] = RATES
    ) -> None:
        host = re.match(r"https?://(\[[^\]]*\]|[^/:]*)", base_url)
        if base_url.rstrip("/") != GROWW_URL and not (host and is_loopback(host[1].strip("[]"))):
            raise SetupProblem(f"Groww's address must be {GROWW_URL} or on this machine; credentials go nowhere else.")
        self._base_url = base_url
        self._policy = policy
        self._budgets = Budgets(rates)
        self._breaker = Breaker()

    @asynccontextmanager
    async def open(
        self, credentials: Credentials, token: AccessToken | None, clock: Clock
    ) -> AsyncIterator["GrowwSession"]:
        key = hashlib.sha256((credentials.api_key or credentials.access_token).encode()).hexdigest()
        http = Http(
            self._base_url,
            ROUTES,
            self._budgets.of(key, clock),
            clock,
            headers={"Accept": "application/json", "X-API-VERSION": "1.0"},
            policy=self._policy,
            breaker=self._breaker,
            account=key,
        )
        async with http:
            yield GrowwSession(http, GrowwLogin(http, credentials, token, clock), clock)

    def parse(
        self, answers: Sequence[Answer], sections: dict[str, SectionResult], observed_at: datetime, trading_on: date
    ) -> Statement:
        return parse.parse(answers, sections, observed_at, trading_on)

    async def fetch_instruments(self, into: BinaryIO, clock: Clock) -> None:
        await instruments.download(self._base_url, into, clock)

    def parse_instruments(self, lines: Iterable[str]) -> Iterator[Listing | BadLine]:
        return instruments.parse(lines)


T = TypeVar("T")
Row = TypeVar("Row", bound=Struct)


class _Read(Struct):
    """What a reader of one group of sections has gathered so far; answers stay even when it fails half-way."""

    answers: list[Answer]
    sections: dict[str, SectionResult]


class _Scan(Struct):
    """One pass over the pages of an order list."""

    orders: dict[str, wire.OrderKey]
    conflicting: dict[str, None]
    without_segment: bool = False
    pages: int = 0  # that were not empty
    first_page: int = 0  # orders on it
    ended_empty: bool = False

    def agrees_with(self, other: "_Scan") -> bool:
        return self.orders == other.orders

    @property
    def may_be_cut(self) -> bool:
        """One page, then the same again: either the list ends here, or the server does not know `page`."""
        return not self.ended_empty and self.pages == 1 and self.first_page >= LEAST_PAGE_CAP


def _ended(error: BrokerError) -> SectionResult:
    outcome = Outcome.NOT_ENTITLED if isinstance(error, BrokerNotEntitled) else Outcome.FAILED
    return SectionResult(outcome=outcome, error=type(error).__name__, reason=error.message)


def _unstable(reason: str, error: str | None = None) -> SectionResult:
    return SectionResult(outcome=Outcome.UNSTABLE, error=error, reason=reason)


class GrowwSession:
    """Reads of one account. Sections are read side by side, at most four requests at a time."""

    def __init__(self, http: Http, login: GrowwLogin, clock: Clock) -> None:
        self._http = http
        self._login = login
        self._clock = clock

    def __repr__(self) -> str:
        return f"GrowwSession({self._login!r})"

    @property
    def token(self) -> AccessToken | None:
        return self._login.token

    @property
    def mints(self) -> int:
        return self._login.mints

    @property
    def clock_offset(self) -> timedelta | None:
        return self._http.clock_offset

    @property
    def resume_at(self) -> datetime | None:
        seconds = self._http.given_up_seconds
        return self._clock.now() + timedelta(seconds=seconds) if seconds else None

    # --- The book --------------------------------------------------------------------------------------------------

    async def fetch_book(self, sections: Collection[str] | None = None) -> Fetched:
        """User detail, holdings, positions, orders and margin, or the named sections; user detail in any case.

        "positions" and "orders" stand for those of all active segments, "orders:FNO" for one of them.
        """
        await self._login.bearer()
        owner = _Read([], {})
        active = await self._guarded(owner, ["owner"], self._read_owner) or ASSUMED_SEGMENTS
        plan: list[tuple[list[str], Callable[[_Read], Awaitable[object]]]] = []
        if _wants(sections, "holdings"):
            plan.append((["holdings"], self._read_holdings))
        for group, whole, one in (
            ("positions", self._read_positions, self._read_positions_of),
            ("orders", self._read_orders, self._read_orders_of),
        ):
            wanted = _segments(sections, group, active)
            if set(wanted) >= set(active):
                names = [f"{group}:{segment}" for segment in wanted]
                plan.append((names, partial(whole, segments=wanted)))
            else:
                plan += [([f"{group}:{segment}"], partial(one, segment=segment)) for segment in wanted]
        if _wants(sections, "margin"):
            plan.append((["margin"], self._read_margin))
        reads = [_Read([], {}) for _ in plan]
        await _all(self._guarded(read, names, reader) for read, (names, reader) in zip(reads, plan, strict=True))
        return _joined([owner, *reads])

    async def _guarded(self, read: _Read, names: Iterable[str], reader: Callable[[_Read], Awaitable[T]]) -> T | None:
        """Run one reader; its failure is the outcome of those of its sections that have none yet.

        A login that dies later than at the first read is one, too: what other readers have is as good as ever.
        """
        try:
            result = await reader(read)
        except BrokerError as error:
            if isinstance(error, BrokerLoginRequired) and "owner" in names:
                raise
            for name in names:
                read.sections.setdefault(name, _ended(error))
            return None
        for name in names:
            read.sections.setdefault(name, OK)
        return result

    async def _each(
        self, read: _Read, group: str, segments: Sequence[str], reader: Callable[..., Awaitable[None]]
    ) -> None:
        """Read a group of sections segment by segment; each has its own outcome."""
        parts = [_Read([], {}) for _ in segments]
        await _all(
            self._guarded(part, [f"{group}:{segment}"], partial(reader, segment=segment))
            for part, segment in zip(parts, segments, strict=True)
        )
        for part in parts:  # in the order of the segments, whichever came first
            read.answers += part.answers
            read.sections |= part.sections

    async def _read_owner(self, read: _Read) -> tuple[str, ...]:
        answer = await self._get(read, "owner", "owner", "/user/detail")
        [(owner, _)] = _decoded(wire.OWNER, answer).good
        return tuple(dict.fromkeys(filter(None, owner.active_segments or ())))

    async def _read_holdings(self, read: _Read) -> None:
        _decoded(wire.HOLDINGS, await self._get(read, "holdings", "holdings", "/holdings/user"))

    async def _read_margin(self, read: _Read) -> None:
        await self._get(read, "margin", "margin", "/margins/detail/user")

    async def _read_positions(self, read: _Read, segments: Sequence[str]) -> None:
        """All segments in one call; segment by segment when a row does not say which is its own."""
        try:
            answer = await self._get(read, "positions", "positions", "/positions/user")
            rows = [row for row, _ in _decoded(wire.POSITIONS, answer).good]
        except BrokerRefused:  # perhaps it wants a segment
            rows = None
        if rows is not None and all(row.segment or not row.trading_symbol for row in rows):
            for segment in dict.fromkeys([*segments, *(row.segment for row in rows if row.segment)]):
                read.sections[f"positions:{segment}"] = OK
        else:
            read.answers.clear()
            await self._each(read, "positions", segments, self._read_positions_of)

    async def _read_positions_of(self, read: _Read, segment: str) -> None:
        answer = await self._get(
            read, "positions", f"positions:{segment}", "/positions/user", urlencode({"segment": segment})
        )
        _decoded(wire.POSITIONS, answer)

    # --- Orders ----------------------------------------------------------------------------------------------------

    async def _read_orders(self, read: _Read, segments: Sequence[str]) -> None:
        """All segments in one list when it proves complete by ending in an empty page, else segment by segment."""
        try:
            result, scan = await self._scan_until_stable(read, "orders", None)
        except BrokerRefused:  # perhaps it wants a segment
            scan = None
        if scan is not None and scan.ended_empty and not scan.without_segment:
            seen = (order.segment for order in scan.orders.values() if order.segment)
            for segment in dict.fromkeys([*segments, *seen]):
                read.sections[f"orders:{segment}"] = result
        else:
            read.answers.clear()
            await self._each(read, "orders", segments, self._read_orders_of)

    async def _read_orders_of(self, read: _Read, segment: str) -> None:
        section = f"orders:{segment}"
        result, scan = await self._scan_until_stable(read, section, segment)
        if result.outcome is Outcome.OK and scan.may_be_cut:
            result = _unstable(f"Groww answered every page with the same {scan.first_page} orders; there may be more.")
        read.sections[section] = result

    async def _scan_until_stable(self, read: _Read, section: str, segment: str | None) -> tuple[SectionResult, _Scan]:
        """Scan once when one page holds all; else again until two scans in a row agree, at most four times."""
        scan = await self._scan(read, section, segment, 1)
        result = OK
        if scan.pages > 1:
            result = _unstable(f"The order list changed in each of {SCANS} readings.")
            for number in range(2, SCANS + 1):
                previous, scan = scan, await self._scan(read, section, segment, number)
                if scan.agrees_with(previous):
                    result = OK
                    break
        await self._look_up(read, section, segment, scan)
        return result, scan

    async def _scan(self, read: _Read, section: str, segment: str | None, number: int) -> _Scan:
        scan = _Scan({}, {})
        for page in range(PAGES_PER_SCAN):
            query = urlencode(
                ({"segment": segment} if segment else {}) | {"page": str(page), "page_size": str(ORDERS_PER_PAGE)}
            )
            answer = await self._get(read, "orders", section, "/order/list", query, about=f"scan={number}")
            failpoint("page_read")
            rows = _decoded(wire.ORDER_KEYS, answer)
            if not rows.good and not rows.bad:
                scan.ended_empty = True
                return scan
            known = len(scan.orders)
            for order, _ in rows.good:
                scan.without_segment |= not order.segment
                order_id = order.groww_order_id
                if order_id and scan.orders.setdefault(order_id, order) != order:
                    scan.conflicting[order_id] = None
            if len(scan.orders) == known:
                return scan
            scan.pages += 1
            scan.first_page = scan.first_page or len(rows.good)
        raise BrokerAnswerUnknown(
            f"paging runaway: the order list did not end within {PAGES_PER_SCAN} pages.", call="orders"
        )

    async def _look_up(self, read: _Read, section: str, segment: str | None, scan: _Scan) -> None:
        """Ask for each order that came in two versions within one scan; without an answer the versions must do."""
        for order_id in list(scan.conflicting)[:CONFLICTS_LOOKED_UP]:
            of = segment or scan.orders[order_id].segment or "CASH"
            try:
                await self._get(
                    read,
                    "order",
                    section,
                    f"/order/detail/{quote(order_id, safe='')}",
                    urlencode({"segment": of}),
                )
            except (BrokerRefused, BrokerNotEntitled):
                continue

    async def fetch_earlier(self, orders: Sequence[Order]) -> Fetched:
        """Orders of earlier days, by their id. Nobody knows how long Groww answers for them: a 404 is silence."""
        read = _Read([], {})
        for order in orders:
            path = f"/order/detail/{quote(order.broker_order_id, safe='')}"
            try:
                await self._get(read, "earlier", "earlier", path, urlencode({"segment": order.segment}))
            except (BrokerRefused, BrokerNotEntitled):
                continue
            except BrokerError:  # asked again by the next sync
                break
        return Fetched(answers=tuple(read.answers))

    # --- Fills -----------------------------------------------------------------------------------------------------

    async def fetch_fills(self, orders: Sequence[Order]) -> Fetched:
        """The executions of these orders. One that cannot be read leaves the section unstable, all of them failed."""
        asked = [order for order in orders if order.filled_quantity > 0]
        reads = [_Read([], {}) for _ in asked]
        failures: list[BrokerError] = []

        lanes = asyncio.Semaphore(FILLS_AT_ONCE)

        async def one(read: _Read, order: Order) -> None:
            async with lanes:
                if len(failures) >= FILL_FAILURES:
                    failures.append(failures[-1])
                    return
                try:
                    await self._read_fills_of(read, order)
                except BrokerLoginRequired:
                    raise
                except BrokerError as error:
                    failures.append(error)

        await _all(one(read, order) for read, order in zip(reads, asked, strict=True))
        result = OK
        if failures and len(failures) == len(asked):
            result = _ended(failures[0])
        elif failures:
            result = _unstable(
                f"The fills of {len(failures)} of {len(asked)} orders could not be read: {failures[0].message}",
                type(failures[0]).__name__,
            )
        return Fetched(answers=_joined(reads).answers, sections={"fills": result})

    async def _read_fills_of(self, read: _Read, order: Order) -> None:
        """Pages until they add up to the order's filled quantity or bring no new trade."""
        ids: set[str | None] = set()
        filled = ZERO
        path = f"/order/trades/{quote(order.broker_order_id, safe='')}"
        for page in range(PAGES_PER_SCAN):
            query = urlencode({"segment": order.segment, "page": page, "page_size": TRADES_PER_PAGE})
            try:
                answer = await self._get(read, "fills", "fills", path, query)
            except BrokerRefused as refused:
                if page == 0 and (refused.status == 404 or refused.code in wire.NOT_FOUND_CODES):
                    # Groww has no trades of some F&O orders: their own filled figures must do (see parse.py).
                    read.answers[-1] = _about(read.answers[-1], parse.filled_figures(order))
                    return
                raise
            trades = [trade for trade, _ in _decoded(wire.TRADE_KEYS, answer).good]
            new = [trade for trade in trades if (trade.groww_trade_id or trade.exchange_trade_id) not in ids]
            ids.update(trade.groww_trade_id or trade.exchange_trade_id for trade in new)
            filled += sum((parse.quantity_or_zero(trade.quantity) for trade in new), ZERO)
            if not new or filled == order.filled_quantity:
                return
        raise BrokerAnswerUnknown("paging runaway: the trades of an order did not end.", call="fills")

    # --- Prices ----------------------------------------------------------------------------------------------------

    async def fetch_prices(self, instruments: Sequence[Instrument]) -> Fetched:
        """Last traded prices, fifty of one segment a call. A symbol Groww does not know loses no other price."""
        read = _Read([], {})
        by_segment: dict[str, dict[str, Instrument]] = {}
        for instrument in sorted(set(instruments)):
            symbol = f"{instrument.exchange or 'NSE'}_{instrument.trading_symbol}"
            by_segment.setdefault(instrument.segment, {})[symbol] = instrument
        batches = [
            (segment, dict(list(symbols.items())[start : start + PRICES_PER_CALL]))
            for segment, symbols in sorted(by_segment.items())
            for start in range(0, len(symbols), PRICES_PER_CALL)
        ]
        failures: list[BrokerError] = []
        for segment, symbols in batches:
            try:
                await self._read_prices_of(read, segment, symbols)
            except BrokerLoginRequired:
                raise
            except BrokerNotEntitled as error:
                failures = [error]
                break
            except BrokerError as error:
                failures.append(error)
        priced = any(answer.status == 200 for answer in read.answers)
        result = OK
        if failures and (not priced or isinstance(failures[0], BrokerNotEntitled)):
            result = _ended(failures[0])
        elif failures:
            result = _unstable(f"Some prices could not be read: {failures[0].message}", type(failures[0]).__name__)
        return Fetched(answers=tuple(read.answers), sections={"prices": result})

    async def _read_prices_of(self, read: _Read, segment: str, symbols: dict[str, Instrument]) -> None:
        """One batch. A refusal that names a symbol drops it, one that names none halves the batch."""
        if not symbols:
            return
        names = ",".join(quote(symbol, safe="") for symbol in symbols)
        keys = ",".join(quote(instrument.key, safe="") for instrument in symbols.values())
        try:
            await self._get(
                read,
                "ltp",
                "prices",
                "/live-data/ltp",
                f"segment={quote(segment, safe='')}&exchange_symbols={names}",
                about=f"keys={keys}",
            )
        except BrokerRefused:
            if len(symbols) == 1:
                return
            bad = _named_symbol(read.answers[-1].body, symbols)
            if bad:
                await self._read_prices_of(read, segment, {s: i for s, i in symbols.items() if s not in bad})
                return
            items = list(symbols.items())
            for half in (items[: len(items) // 2], items[len(items) // 2 :]):
                await self._read_prices_of(read, segment, dict(half))

    # --- One call --------------------------------------------------------------------------------------------------

    async def _get(
        self, read: _Read, call: str, section: str, path: str, query: str = "", *, about: str = ""
    ) -> Answer:
        """One read with the account's token; a dead token is renewed once. A bad answer is kept, then raised."""
        while True:
            token = await self._login.bearer()
            reply = await self._http.send(
                "GET",
                path,
                query=query,
                call=call,
                judge=wire.judge,
                headers={"Authorization": f"Bearer {token}"},
            )
            if not isinstance(reply.problem, BrokerLoginRequired):
                break
            await self._login.renew(token)
        body = reply.body if reply.problem is None else reply.body[:REFUSAL_LIMIT_BYTES]
        answer = Answer(
            call=call,
            section=section,
            request=(f"{path}?{query}" if query else path) + (f"#{about}" if about else ""),
            status=reply.status,
            body=body,
            digest=hashlib.sha256(body).digest(),
            fetched_at=self._clock.now(),
        )
        read.answers.append(answer)
        if reply.problem is not None:
            raise reply.problem
        return answer


REFUSAL_LIMIT_BYTES = 64 * 1024  # of an answer that is kept only to see what went wrong


def _decoded(shape: wire.Shape[Row], answer: Answer) -> wire.Rows[Row]:
    try:
        return shape.rows(answer.body)
    except wire.UNREADABLE:
        raise BrokerAnswerUnknown(
            f"Groww's answer to {answer.call} is not of the shape we know; it is kept.",
            call=answer.call,
            status=answer.status,
        ) from None


def _about(answer: Answer, about: str) -> Answer:
    return structs.replace(answer, request=f"{answer.request}#{about}")


def _named_symbol(body: bytes, symbols: Collection[str]) -> set[str]:
    """The symbols of a batch that a refusal names, if any: exactly, never by part of a name."""
    found = _BAD_SYMBOL.search(wire.read_fault(body)[1])
    if found is None:
        return set()
    named = found[1].rstrip(".,;")
    return {symbol for symbol in symbols if named in {symbol, symbol.partition("_")[2]}}


def _wants(sections: Collection[str] | None, name: str) -> bool:
    return sections is None or name in sections


def _segments(sections: Collection[str] | None, group: str, active: Sequence[str]) -> list[str]:
    """The segments of a group of sections that were asked for, active ones first."""
    if sections is None or group in sections:
        return list(active)
    asked = {name.partition(":")[2] for name in sections if name.startswith(f"{group}:")}
    return sorted(asked, key=lambda segment: (segment not in active, segment))


def _joined(reads: Iterable[_Read]) -> Fetched:
    answers: list[Answer] = []
    sections: dict[str, SectionResult] = {}
    for read in reads:
        answers += read.answers
        sections |= read.sections
    return Fetched(answers=tuple(answers), sections=sections)


async def _all(readers: Iterable[Awaitable[object]]) -> None:
    """Run side by side and let all of them end before the first error, if any, is raised."""
    for result in await asyncio.gather(*readers, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
