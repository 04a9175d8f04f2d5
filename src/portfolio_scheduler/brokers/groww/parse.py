"""Turning Groww's raw answers into records: pure, exact, and never guessing.

A list that is not what we know fails its section. One record without its identity, or with a quantity that is none, is
quarantined and leaves its section unstable, so nothing is concluded from what is missing. A value that may be absent
and cannot be read is dropped and flagged.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlencode

from msgspec import Struct, structs

from portfolio_scheduler.brokers.groww import wire
from portfolio_scheduler.clock import IST
from portfolio_scheduler.domain.money import LIMIT, ZERO, checked, decimal, plain
from portfolio_scheduler.domain.records import (
    AMO_STATUSES,
    EXCHANGES,
    ORDER_TYPES,
    PRODUCTS,
    SEGMENTS,
    SIDES,
    STATUS_RANK,
    VALIDITIES,
    Answer,
    Fill,
    Holding,
    Margin,
    Order,
    Outcome,
    Owner,
    Position,
    Price,
    SectionResult,
    Statement,
    may_be_same_time,
    stand_in_id,
)
from portfolio_scheduler.errors import BrokerNotEntitled, BrokerRefused, InvalidInput

# Groww's words, as in its docs (annexures) and its SDK's constants. They are ours too; others are kept and flagged.
ORDER_WORDS = {
    "order_status": frozenset(STATUS_RANK),
    "segment": SEGMENTS,
    "exchange": EXCHANGES,
    "product": PRODUCTS,
    "transaction_type": SIDES,
    "order_type": ORDER_TYPES,
    "validity": VALIDITIES,
    "amo_status": AMO_STATUSES,
}
POSITION_WORDS = {"segment": SEGMENTS, "exchange": EXCHANGES, "product": PRODUCTS}
TRADE_WORDS = {
    "trade_status": frozenset({"EXECUTED", "DELIVERY_AWAITED", "COMPLETED", "CANCELLED"}),
    "segment": SEGMENTS,
    "exchange": EXCHANGES,
    "product": PRODUCTS,
    "transaction_type": SIDES,
}
# Our name of a field where it differs from Groww's, as it appears in flags.
OUR_NAME = {"order_status": "status", "trade_status": "status", "transaction_type": "side"}
REQUIRED_WORDS = frozenset({"order_status", "segment", "exchange", "product", "transaction_type", "order_type"})

QUANTITY_LIMIT = 10**9  # units
PRICE_LIMIT = 10**9  # rupees
AMOUNT_LIMIT = int(LIMIT) - 1  # rupees, of what is neither price nor quantity
ID_LIMIT = 200  # characters of an id, a symbol or a word
REMARK_LIMIT = 4000  # characters; the whole text stays in the raw answer
FUTURE_TOLERANCE = timedelta(minutes=5)
EPOCH_MILLISECONDS_FROM = 10**11  # a larger number counts milliseconds

_ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:[.,]([0-9]{1,12}))?)?"
    r" ?([Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_EPOCH = re.compile(r"[0-9]{9,14}(\.[0-9]{1,9})?")
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class _Unusable(Exception):
    """Why a record cannot be used."""


# --- Values ----------------------------------------------------------------------------------------------------------


_exact = lru_cache(maxsize=4096)(checked)  # the same few numbers fill most of an answer


def read_number(value: Any, limit: int = AMOUNT_LIMIT) -> Decimal:
    """An exact number from a JSON number or a plain decimal string; anything else is `InvalidInput`."""
    kind = type(value)
    if kind is int:
        if -limit <= value <= limit:
            return Decimal(value)
        raise InvalidInput("out of bounds")
    if kind is Decimal:
        number = _exact(value)
    elif kind is str:
        number = decimal(value)
    else:
        raise InvalidInput("not a number")
    if not -limit <= number <= limit:
        raise InvalidInput(f"beyond {limit}")
    return number


def quantity_or_zero(value: Any) -> Decimal:
    try:
        return read_number(value, QUANTITY_LIMIT)
    except InvalidInput:
        return ZERO


@lru_cache(maxsize=4096)
def read_time(value: Any) -> datetime | None:
    """Every form a time was seen in: naive (IST), Z, offset, space or T, fractions, a date only, epoch s or ms."""
    text = value if isinstance(value, str) else str(value)
    text = text.strip()
    try:
        if _EPOCH.fullmatch(text):
            epoch = Decimal(text)
            seconds = epoch / 1000 if epoch >= EPOCH_MILLISECONDS_FROM else epoch
            at = datetime.fromtimestamp(float(seconds), UTC)
        elif found := _DATE_TIME.fullmatch(text):
            day, clock, fraction, zone = found.groups()
            at = datetime.fromisoformat(f"{day}T{clock or '00:00'}")
            if fraction:
                at = at.replace(microsecond=int(f"{fraction:0<6}"[:6]))
            if zone and zone not in "Zz":
                zone = zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
                at = datetime.fromisoformat(f"{at.isoformat()}{zone}")
            else:
                at = at.replace(tzinfo=UTC if zone else IST)
        else:
            return None
        return at.astimezone(UTC) if _EARLIEST <= at < _LATEST else None
    except (ValueError, OverflowError):
        return None


def flag(field: str, word: str) -> str:
    """A flag that fits in one line and in PostgreSQL."""
    return f"{field}:{printable(word)[:60]}"


def printable(word: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in word)


class _Reader:
    """Reads the fields of one record and collects its flags. Required values raise `_Unusable`."""

    def __init__(self, row: Struct, dropped: Iterable[str], observed_at: datetime) -> None:
        self._row = row
        self._observed_at = observed_at
        self.flags = [flag(OUR_NAME.get(name, name), "unreadable") for name in dropped]

    def note(self, field: str, word: str) -> None:
        self.flags.append(flag(field, word))

    def amount(self, name: str, limit: int = PRICE_LIMIT) -> Decimal | None:
        """A number that may be absent."""
        value = getattr(self._row, name)
        if value is None:
            return None
        try:
            return read_number(value, limit)
        except InvalidInput:
            self.note(name, "unreadable")
            return None

    def price(self, name: str) -> Decimal:
        """A price that counts as 0 when it is absent, but not when it is odd."""
        return self._number(name, PRICE_LIMIT, ZERO)

    def quantity(self, name: str, *, signed: bool = False, required: bool = False) -> Decimal:
        """Units. An absent optional one is 0; an odd one spoils the record."""
        quantity = self._number(name, QUANTITY_LIMIT, None if required else ZERO)
        if quantity < 0 and not signed:
            raise _Unusable(f"{name} is negative")
        return quantity

    def _number(self, name: str, limit: int, absent: Decimal | None) -> Decimal:
        value = getattr(self._row, name)
        if value is None:
            if absent is None or any(held.startswith(f"{name}:") for held in self.flags):
                raise _Unusable(f"{name} is missing or unreadable")
            return absent
        try:
            return read_number(value, limit)
        except InvalidInput as error:
            raise _Unusable(f"{name} is {error.message}") from None

    def text(self, name: str, limit: int = ID_LIMIT) -> str | None:
        """Text that may be absent; empty counts as absent, too long is cut."""
        value: str | None = getattr(self._row, name)
        if not value:
            return None
        if len(value) > limit:
            self.note(OUR_NAME.get(name, name), f"cut from {len(value)} characters")
            return value[:limit]
        return value

    def identity(self, name: str) -> str:
        value: str | None = getattr(self._row, name)
        if not value or not value.strip():
            raise _Unusable(f"{name} is missing")
        if len(value) > ID_LIMIT:
            raise _Unusable(f"{name} is longer than {ID_LIMIT} characters")
        return value

    def words(self, known: dict[str, frozenset[str]], required: frozenset[str] = REQUIRED_WORDS) -> None:
        """Flag every word that is not on its list, and every required one that is missing."""
        for name, words in known.items():
            value = getattr(self._row, name)
            if value:
                if value not in words:
                    self.note(OUR_NAME.get(name, name), value)
            elif name in required:
                self.note(OUR_NAME.get(name, name), "missing")

    def time(self, name: str) -> tuple[datetime | None, str | None]:
        """The instant and the raw text; flagged when it is no time or lies in the future."""
        value = getattr(self._row, name)
        if value is None or value == "":
            return None, None
        if isinstance(value, bool | list | dict | wire.OddNumber):
            self.note(name, "unreadable")
            return None, None
        raw = str(value)[:ID_LIMIT].replace("\0", "?")
        at = read_time(value)
        if at is None:
            self.note(name, "unreadable")
        elif at > self._observed_at + FUTURE_TOLERANCE:
            self.note(name, "future")
        return at, raw


# --- The statement ---------------------------------------------------------------------------------------------------

Record = TypeVar("Record", Holding, Position, Order, Fill)


class _Draft:
    """The statement in the making."""

    def __init__(self, sections: dict[str, SectionResult], observed_at: datetime, trading_on: date) -> None:
        self.sections = dict(sections)
        self.observed_at = observed_at
        self.trading_on = trading_on
        self.digests: dict[str, bytes] = {}
        self.flags: set[str] = set()
        self.quarantined: list[dict[str, str]] = []

    def flag(self, section: str, *flags: str) -> None:
        self.flags.update(f"{printable(section)[:60]}:{held}" for held in flags)

    def quarantine(self, section: str, record: str, reason: str) -> None:
        found = {"section": printable(section), "record": printable(record)[:ID_LIMIT], "reason": reason}
        self.quarantined.append(found)
        self.flag(section, "record:quarantined")
        for name in self.owned(section):
            if self.sections[name].outcome is Outcome.OK:
                self.sections[name] = SectionResult(
                    outcome=Outcome.UNSTABLE,
                    error="BrokerAnswerUnknown",
                    reason="A record could not be used; it is quarantined with its reason.",
                )

    def fail(self, section: str, reason: str) -> None:
        for name in self.owned(section):
            if self.sections[name].outcome in {Outcome.OK, Outcome.UNSTABLE}:
                self.sections[name] = SectionResult(outcome=Outcome.FAILED, error="BrokerAnswerUnknown", reason=reason)

    def owned(self, section: str) -> list[str]:
        """An answer without segment ("orders") speaks for all sections of its group ("orders:CASH", …)."""
        return [name for name in self.sections if name == section or name.startswith(f"{section}:")]

    def found(self, group: str, segment: str) -> None:
        """A record of a segment nobody could ask for is kept. Segments we know have readings of their own."""
        if segment not in SEGMENTS:
            reason = "A record of it stood in another segment's list."
            self.sections.setdefault(f"{group}:{segment}", SectionResult(outcome=Outcome.UNSTABLE, reason=reason))

    def applies(self, section: str) -> bool:
        result = self.sections.get(section)
        return result is not None and result.outcome in {Outcome.OK, Outcome.UNSTABLE}

    def rows(self, shape: "wire.Shape[Any]", answer: Answer) -> Iterator[tuple[Any, _Reader]]:
        """The readable records of a good answer; the rest is noted here."""
        try:
            rows = shape.rows(answer.body)
        except wire.UNREADABLE:
            self.fail(answer.section, f"Groww's answer to {answer.call} is not of the shape we know; it is kept.")
            return
        for _ in range(rows.bad):
            self.quarantine(answer.section, "", "it is not a record we can read")
        for name in rows.twice:
            self.flag(answer.section, flag(name, "twice in one record"))
        for row, dropped in rows.good:
            yield row, _Reader(row, dropped, self.observed_at)


def parse(
    answers: Sequence[Answer], sections: dict[str, SectionResult], observed_at: datetime, trading_on: date
) -> Statement:
    """See `Broker.parse`. Answers of sections that failed are passed over, and so are refusals (but see `_fills`)."""
    draft = _Draft(sections, observed_at, trading_on)
    calls: dict[str, list[Answer]] = {}
    earlier, unanswered = _earlier(draft, [answer for answer in answers if answer.call == "earlier"])
    for answer in answers:
        if not any(draft.applies(name) for name in draft.owned(answer.section)):
            continue
        if _is_good(answer) or answer.call == "ltp" or (answer.call == "fills" and "#" in answer.request):
            calls.setdefault("orders" if answer.call == "order" else answer.call, []).append(answer)
    owner = _owner(draft, calls.get("owner", ()))
    holdings = _holdings(draft, calls.get("holdings", ()))
    positions = _positions(draft, calls.get("positions", ()))
    orders = _orders(draft, calls.get("orders", ()))
    fills = _fills(draft, calls.get("fills", ()))
    margin = _margin(draft, calls.get("margin", ()))
    prices = _prices(draft, calls.get("ltp", ()))
    for answer in answers:
        for name in draft.owned(answer.section):
            draft.digests[name] = answer.digest
    return Statement(
        observed_at=observed_at,
        owner=owner if draft.applies("owner") else None,
        holdings=tuple(holdings) if draft.applies("holdings") else (),
        positions=tuple(row for row in positions if draft.applies(f"positions:{row.segment}")),
        orders=tuple(row for row in orders if draft.applies(f"orders:{row.segment}")),
        earlier=tuple(earlier),
        unanswered=tuple(unanswered),
        fills=tuple(fills) if draft.applies("fills") else (),
        margin=margin if draft.applies("margin") else None,
        prices=tuple(prices) if draft.applies("prices") else (),
        sections={name: _digested(result, draft.digests.get(name)) for name, result in draft.sections.items()},
        digests=draft.digests,
        flags=tuple(sorted(draft.flags)),
        quarantined=tuple(draft.quarantined),
    )


def _digested(result: SectionResult, digest: bytes | None) -> SectionResult:
    """What was not understood, with the answer it was about."""
    if digest is None or result.error != "BrokerAnswerUnknown":
        return result
    return structs.replace(result, digest=digest.hex())


def _owner(draft: _Draft, answers: Sequence[Answer]) -> Owner | None:
    owner = None
    for answer in answers:
        for row, reader in draft.rows(wire.OWNER, answer):
            try:
                ucc = reader.identity("ucc")
            except _Unusable as error:
                draft.fail("owner", f"User detail cannot be used: {error}.")
                continue
            segments = tuple(dict.fromkeys(word for word in row.active_segments or () if word))
            for word in segments:
                if word not in SEGMENTS:
                    reader.note("segment", word)
            owner = Owner(ucc=ucc, vendor_user_id=reader.text("vendor_user_id"), segments=segments)
            draft.flag("owner", *reader.flags)
    return owner


def _holdings(draft: _Draft, answers: Sequence[Answer]) -> list[Holding]:
    found: list[tuple[str, str, Holding]] = []
    for answer in answers:
        for row, reader in draft.rows(wire.HOLDINGS, answer):
            try:
                holding = _holding(row, reader)
            except _Unusable as error:
                draft.quarantine("holdings", row.isin or row.trading_symbol or "", str(error))
                continue
            draft.flag("holdings", *reader.flags)
            found.append((holding.isin, "holdings", holding))
    return _once(draft, found)


def _holding(row: wire.GrowwHolding, reader: _Reader) -> Holding:
    isin = reader.identity("isin")
    if not _ISIN.fullmatch(isin):
        reader.note("isin", isin)
    exchanges = tuple(row.tradable_exchanges or ())
    for word in exchanges:
        if word not in EXCHANGES:
            reader.note("exchange", word)
    if not row.trading_symbol:
        reader.note("trading_symbol", "missing")
    return Holding(
        isin=isin,
        trading_symbol=reader.text("trading_symbol") or "",
        quantity=reader.quantity("quantity", required=True),
        average_price=reader.amount("average_price"),
        t1_quantity=reader.quantity("t1_quantity"),
        demat_free_quantity=reader.quantity("demat_free_quantity"),
        demat_locked_quantity=reader.quantity("demat_locked_quantity"),
        broker_locked_quantity=reader.quantity("groww_locked_quantity"),
        pledge_quantity=reader.quantity("pledge_quantity"),
        repledge_quantity=reader.quantity("repledge_quantity"),
        corporate_action_quantity=reader.quantity("corporate_action_additional_quantity"),
        transfer_quantity=reader.quantity("active_demat_transfer_quantity"),
        exchanges=exchanges,
    )


def _positions(draft: _Draft, answers: Sequence[Answer]) -> list[Position]:
    found: list[tuple[object, str, Position]] = []
    for answer in answers:
        asked = _asked(answer).get("segment")
        for row, reader in draft.rows(wire.POSITIONS, answer):
            if not row.trading_symbol and quantity_or_zero(row.quantity) == ZERO:
                continue  # an empty total row, seen in the field
            row.segment = row.segment or asked
            try:
                position = _position(reader)
            except _Unusable as error:
                draft.quarantine(answer.section, row.trading_symbol or "", str(error))
                continue
            draft.found("positions", position.segment)
            draft.flag(f"positions:{position.segment}", *reader.flags)
            found.append((position.key, f"positions:{position.segment}", position))
    return _once(draft, found)


def _position(reader: _Reader) -> Position:
    segment = reader.identity("segment")
    symbol = reader.identity("trading_symbol")
    reader.words(POSITION_WORDS)
    isin = reader.text("symbol_isin")
    if isin is not None and not _ISIN.fullmatch(isin):
        if segment == "CASH":  # a contract has none and may carry its own symbol there
            reader.note("isin", isin)
        isin = None
    return Position(
        segment=segment,
        exchange=reader.text("exchange") or "",
        trading_symbol=symbol,
        product=reader.text("product") or "",
        isin=isin,
        quantity=reader.quantity("quantity", signed=True, required=True),
        credit_quantity=reader.quantity("credit_quantity"),
        credit_price=reader.price("credit_price"),
        debit_quantity=reader.quantity("debit_quantity"),
        debit_price=reader.price("debit_price"),
        carry_forward_credit_quantity=reader.quantity("carry_forward_credit_quantity"),
        carry_forward_credit_price=reader.price("carry_forward_credit_price"),
        carry_forward_debit_quantity=reader.quantity("carry_forward_debit_quantity"),
        carry_forward_debit_price=reader.price("carry_forward_debit_price"),
        net_price=reader.amount("net_price"),
        net_carry_forward_quantity=reader.quantity("net_carry_forward_quantity", signed=True),
        net_carry_forward_price=reader.amount("net_carry_forward_price"),
        realised_pnl=reader.amount("realised_pnl", AMOUNT_LIMIT),
        flags=tuple(reader.flags),
    )


# --- Orders ----------------------------------------------------------------------------------------------------------


class _Versions(Struct):
    """What the scans said about one order, in the order they said it."""

    order: Order
    digest: bytes
    scan: str
    conflicting: bool = False
    unmergeable: bool = False


def _orders(draft: _Draft, answers: Sequence[Answer]) -> list[Order]:
    """Every order that stood in any scan. Of several versions the later wins unless less of it is filled."""
    seen: dict[str, _Versions] = {}
    for answer in answers:
        asked = _asked(answer)
        for row, reader in draft.rows(wire.ORDER if answer.call == "order" else wire.ORDERS, answer):
            row.segment = row.segment or asked.get("segment")
            try:
                order = _order(row, reader, draft.trading_on)
            except _Unusable as error:
                draft.quarantine(answer.section, row.groww_order_id or "", str(error))
                continue
            scan = "" if answer.call == "order" else asked.get("scan", "")
            draft.found("orders", order.segment)
            _add_version(seen, order, answer.digest, scan)
    orders = []
    for order_id, versions in seen.items():
        order, section = versions.order, f"orders:{versions.order.segment}"
        if versions.unmergeable:
            draft.quarantine(section, order_id, "the same id came with another symbol, side or creation time")
            continue
        if versions.conflicting:
            order = structs.replace(order, flags=(*order.flags, "broker_order_id:two versions"))
        draft.flag(section, *order.flags)
        draft.digests[f"order:{order_id}"] = versions.digest
        orders.append(order)
    return orders


def _earlier(draft: _Draft, answers: Sequence[Answer]) -> tuple[list[Order], list[str]]:
    """Orders of earlier days, and the ids that Groww knows nothing of. Of trouble on the way nothing is concluded."""
    orders, unanswered = [], []
    for answer in answers:
        order_id = unquote(answer.request.partition("?")[0].rpartition("/")[2])
        problem = wire.judge(answer.status, answer.body, answer.call)
        if isinstance(problem, BrokerRefused | BrokerNotEntitled):
            unanswered.append(order_id)
        if problem is not None:
            continue
        for row, reader in draft.rows(wire.ORDER, answer):
            row.segment = row.segment or _asked(answer).get("segment")
            try:
                order = _order(row, reader, date.min)
            except _Unusable as error:
                draft.quarantine("orders", order_id, str(error))
                continue
            if order.broker_order_id != order_id:
                draft.quarantine("orders", order_id, "the answer is about another order")
                continue
            draft.flag(f"orders:{order.segment}", *order.flags)
            draft.digests[f"order:{order_id}"] = answer.digest
            orders.append(order)
    return orders, unanswered


def _add_version(seen: dict[str, _Versions], order: Order, digest: bytes, scan: str) -> None:
    known = seen.get(order.broker_order_id)
    if known is None:
        seen[order.broker_order_id] = _Versions(order, digest, scan)
        return
    if known.order == order:
        known.scan = scan
        return
    same_time = may_be_same_time(known.order.created_at, order.created_at)
    known.unmergeable |= not same_time or _identity(known.order) != _identity(order)
    known.conflicting |= scan == known.scan or order.filled_quantity < known.order.filled_quantity
    known.scan = scan
    if order.filled_quantity >= known.order.filled_quantity:
        known.order, known.digest = order, digest


def _identity(order: Order) -> tuple[object, ...]:
    return (order.segment, order.exchange, order.trading_symbol, order.side)


def _order(row: wire.GrowwOrder, reader: _Reader, trading_on: date) -> Order:
    order_id = reader.identity("groww_order_id")
    segment = reader.identity("segment")
    reader.words(ORDER_WORDS)
    if not row.trading_symbol:
        reader.note("trading_symbol", "missing")
    created_at, created_raw = reader.time("created_at")
    exchange_at, exchange_raw = reader.time("exchange_time")
    trade_at, trade_raw = reader.time("trade_date")
    trade_on = trade_at.astimezone(IST).date() if trade_at else None
    if trade_on is not None and trade_on < trading_on:
        reader.note("trade_date", "an earlier day")
    quantity, filled = reader.quantity("quantity", required=True), reader.quantity("filled_quantity")
    if filled > quantity:
        reader.note("filled_quantity", "above quantity")
    return Order(
        broker_order_id=order_id,
        segment=segment,
        exchange=reader.text("exchange") or "",
        trading_symbol=reader.text("trading_symbol") or "",
        product=reader.text("product") or "",
        side=reader.text("transaction_type") or "",
        order_type=reader.text("order_type") or "",
        validity=reader.text("validity"),
        status=reader.text("order_status") or "",
        amo_status=reader.text("amo_status"),
        quantity=quantity,
        filled_quantity=filled,
        remaining_quantity=_optional_quantity(reader, "remaining_quantity"),
        deliverable_quantity=_optional_quantity(reader, "deliverable_quantity"),
        price=reader.amount("price"),
        trigger_price=reader.amount("trigger_price"),
        average_fill_price=reader.amount("average_fill_price"),
        remark=reader.text("remark", REMARK_LIMIT),
        order_reference_id=reader.text("order_reference_id"),
        created_at=created_at,
        exchange_at=exchange_at,
        trade_on=trade_on,
        created_raw=created_raw,
        exchange_raw=exchange_raw,
        trade_raw=trade_raw,
        flags=tuple(reader.flags),
    )


def _optional_quantity(reader: _Reader, name: str) -> Decimal | None:
    quantity = reader.amount(name, QUANTITY_LIMIT)
    if quantity is not None and quantity < 0:
        reader.note(name, "negative")
        return None
    return quantity


# --- Fills -----------------------------------------------------------------------------------------------------------


def filled_figures(order: Order) -> str:
    """What is known of an order's fill without its trades, to stand in the answer's `request` after "#"."""
    figures = {
        "filled_quantity": plain(order.filled_quantity),
        "average_fill_price": "" if order.average_fill_price is None else plain(order.average_fill_price),
        "exchange": order.exchange,
        "trading_symbol": order.trading_symbol,
        "product": order.product,
        "side": order.side,
    }
    return urlencode({name: value for name, value in figures.items() if value})


def _fills(draft: _Draft, answers: Sequence[Answer]) -> list[Fill]:
    """Trades, or one synthetic fill of an order whose trades Groww does not have (404)."""
    found: list[tuple[object, str, Fill]] = []
    for answer in answers:
        order_id = unquote(answer.request.partition("?")[0].rpartition("/")[2])
        draft.digests[f"fills:{order_id}"] = answer.digest
        if "#" in answer.request:
            fill = _synthetic_fill(order_id, _asked(answer))
            if fill is None:
                draft.quarantine("fills", order_id, "it has neither trades nor an average fill price")
            else:
                draft.flag("fills", *fill.flags)
                found.append(((order_id, fill.broker_trade_id), "fills", fill))
            continue
        for row, reader in draft.rows(wire.TRADES, answer):
            try:
                fill = _fill(row, reader, order_id)
            except _Unusable as error:
                draft.quarantine("fills", row.groww_trade_id or row.exchange_trade_id or order_id, str(error))
                continue
            draft.flag("fills", *fill.flags)
            found.append(((order_id, fill.broker_trade_id), "fills", fill))
    return _once(draft, found)


def _synthetic_fill(order_id: str, asked: dict[str, str]) -> Fill | None:
    quantity, price = quantity_or_zero(asked.get("filled_quantity")), quantity_or_zero(asked.get("average_fill_price"))
    if quantity <= 0 or price <= 0:
        return None
    return Fill(
        broker_order_id=order_id,
        broker_trade_id=stand_in_id(quantity),
        segment=asked.get("segment"),
        exchange=asked.get("exchange"),
        trading_symbol=asked.get("trading_symbol"),
        product=asked.get("product"),
        side=asked.get("side"),
        quantity=quantity,
        price=price,
        synthetic=True,
        flags=("trades:missing",),
    )


def _fill(row: wire.GrowwTrade, reader: _Reader, order_id: str) -> Fill:
    if row.groww_order_id and row.groww_order_id != order_id:
        raise _Unusable("it belongs to another order")
    trade_id = reader.identity("groww_trade_id" if (row.groww_trade_id or "").strip() else "exchange_trade_id")
    reader.words(TRADE_WORDS, frozenset())
    if row.trade_status == "CANCELLED":
        reader.note("status", "CANCELLED")
    quantity = reader.quantity("quantity", required=True)
    price = reader.amount("price")
    if quantity == 0 or price is None or price < 0:
        raise _Unusable("quantity or price is missing or unreadable")
    traded_at, traded_raw = reader.time("trade_date_time" if row.trade_date_time else "created_at")
    return Fill(
        broker_order_id=order_id,
        broker_trade_id=trade_id,
        exchange_trade_id=reader.text("exchange_trade_id"),
        exchange_order_id=reader.text("exchange_order_id"),
        segment=reader.text("segment"),
        exchange=reader.text("exchange"),
        trading_symbol=reader.text("trading_symbol"),
        isin=reader.text("isin"),
        product=reader.text("product"),
        side=reader.text("transaction_type"),
        quantity=quantity,
        price=price,
        status=reader.text("trade_status"),
        remark=reader.text("remark", REMARK_LIMIT),
        settlement_number=reader.text("settlement_number"),
        traded_at=traded_at,
        traded_raw=traded_raw,
        flags=tuple(reader.flags),
    )


# --- Margin and prices -----------------------------------------------------------------------------------------------


def _margin(draft: _Draft, answers: Sequence[Answer]) -> Margin | None:
    margin = None
    for answer in answers:
        for _row, reader in draft.rows(wire.MARGIN, answer):
            margin = Margin(**{name: reader.amount(name, AMOUNT_LIMIT) for name in Margin.__struct_fields__})
            draft.flag("margin", *reader.flags)
    return margin


def _prices(draft: _Draft, answers: Sequence[Answer]) -> list[Price]:
    """Each answer's request names the symbols asked for and, after "#", whose price each one is."""
    found: dict[tuple[str, str], Price] = {}
    asked: set[tuple[str, str]] = set()
    for answer in answers:
        segment, symbols = _symbols(answer.request)
        asked.update((key, symbol) for symbol, key in symbols)
        if not _is_good(answer):
            continue
        try:
            quoted = wire.read_prices(answer.body)
        except wire.UNREADABLE:
            draft.fail("prices", "Groww's answer to ltp is not of the shape we know; it is kept.")
            continue
        for symbol, key in symbols:
            exchange, _, trading_symbol = symbol.partition("_")
            try:
                price = read_number(quoted.get(symbol), PRICE_LIMIT)
            except InvalidInput:
                continue
            if price <= 0:
                continue
            found[(key, symbol)] = Price(
                key=key,
                exchange=exchange,
                segment=segment,
                trading_symbol=trading_symbol,
                price=price,
                source="ltp",
                priced_on=draft.trading_on,
                priced_at=answer.fetched_at,
            )
    draft.flag("prices", *(flag("unpriced", symbol) for key, symbol in asked if (key, symbol) not in found))
    return list(found.values())


def _symbols(request: str) -> tuple[str, list[tuple[str, str]]]:
    """Segment, and pairs of symbol and key; without its key a symbol's key is "EXCHANGE:SYMBOL"."""
    address, _, about = request.partition("#")
    asked = dict(part.partition("=")[::2] for part in address.partition("?")[2].split("&"))
    symbols = [unquote(symbol) for symbol in asked.get("exchange_symbols", "").split(",") if symbol]
    keys = [unquote(key) for key in about.removeprefix("keys=").split(",")] if about else []
    if len(keys) != len(symbols):
        keys = [symbol.replace("_", ":", 1) for symbol in symbols]
    return unquote(asked.get("segment", "")), list(zip(symbols, keys, strict=True))


# --- Common ----------------------------------------------------------------------------------------------------------


def _is_good(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _asked(answer: Answer) -> dict[str, str]:
    """The parameters of a request, those after "#" included."""
    address, _, about = answer.request.partition("#")
    query = f"{address.partition('?')[2]}&{about}"
    return {name: values[-1] for name, values in parse_qs(query).items()}


def _once(draft: _Draft, found: list[tuple[Any, str, Record]]) -> list[Record]:
    """Each record once. Of records that contradict each other under one key none is used."""
    records: dict[Any, Record] = {}
    spoilt = {key: section for key, section, record in found if records.setdefault(key, record) != record}
    for key, section in spoilt.items():
        del records[key]
        name = key if isinstance(key, str) else " ".join(map(str, key))
        draft.quarantine(section, name, "it came twice with different content")
    return list(records.values())
