"""What the portfolio of one trading day is worth, and why it differs from the day before. Pure.

Rules 7, 8, 9 and 12 of docs/architecture.md: no price is invented, nothing is counted twice, and
`value - value before = market_move + net_invested + transferred + unexplained` holds exactly or is not stated.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, localcontext

from msgspec import Struct
from msgspec.structs import replace

from portfolio_scheduler.domain.corporate_actions import Carried, Movement, Stood, carry
from portfolio_scheduler.domain.market_days import Session
from portfolio_scheduler.domain.money import ZERO
from portfolio_scheduler.domain.records import Holding, Margin, Position

PAISA = Decimal("0.01")
LATE = "profit or loss of the day's positions unknown: read on a later date"
NAMED = 5  # so many instruments are named in a note
EXACT = 60  # digits of working precision: every product and sum below is exact


class PricePoint(Struct, frozen=True, kw_only=True):
    """The newest price of an instrument not after the day in question."""

    price: Decimal
    priced_on: date
    source: str
    priced_at: datetime | None = None
    early_at: datetime | None = None  # the same, if the session of that day had not closed: it is no closing price


class Trade(Struct, frozen=True, kw_only=True):
    """A delivery execution: `units` bought (+) or sold (-) at `price`."""

    isin: str
    traded_on: date
    units: Decimal
    price: Decimal
    trading_symbol: str | None = None


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One ISIN of a snapshot. `basis` says how the quantity came about (rule 8)."""

    isin: str
    trading_symbol: str
    quantity: Decimal
    average_price: Decimal | None
    price: Decimal | None
    priced_on: date | None
    source: str | None
    basis: str  # "added": holdings + today's net; "contained": holdings already have it; "unexplained": neither fits
    early_at: datetime | None = None  # when its price was read, if that was before the close

    @property
    def value(self) -> Decimal | None:
        return None if self.price is None else self.quantity * self.price

    @property
    def invested(self) -> Decimal | None:
        return None if self.average_price is None else self.quantity * self.average_price


class Before(Struct, frozen=True, kw_only=True):
    """The last snapshot before the day in question."""

    trading_on: date
    holdings_value: Decimal | None
    lines: tuple[Line, ...]
    movements: tuple[Movement, ...] = ()  # what came or went since otherwise than by executions


class DayChange(Struct, frozen=True, kw_only=True):
    """Rule 9. Either all amounts (rupees) or a reason."""

    previous_on: date | None = None
    previous_value: Decimal | None = None
    day_change: Decimal | None = None
    market_move: Decimal | None = None
    net_invested: Decimal | None = None
    transferred: Decimal | None = None
    unexplained: Decimal | None = None
    day_change_reason: str | None = None


class Valuation(Struct, frozen=True, kw_only=True):
    """The valued portfolio of one trading day. Amounts in rupees; None is unknown, never 0."""

    trading_on: date
    holdings_value: Decimal | None  # of the lines that have a price; None when something is held and nothing has one
    invested: Decimal | None
    unrealised_pnl: Decimal | None
    positions_pnl: Decimal | None
    cash: Decimal | None
    margin_used: Decimal | None
    holdings_count: int
    positions_count: int
    priced_ratio: Decimal  # share of the holdings lines that have a price
    oldest_price_on: date | None
    change: DayChange
    lines: tuple[Line, ...]
    notes: tuple[str, ...]  # what is unknown or odd, in words


class Book(Struct, frozen=True, kw_only=True):
    """What is held: the lines of holdings and of the day's positions, with cash and margin."""

    holdings: tuple[Holding, ...]
    positions: tuple[Position, ...]  # of this trading day
    margin: Margin | None
    read_late: bool = False  # on a later date: holdings have taken in the day's deliveries, positions may have moved on


def value(
    trading_on: date,
    book: Book,
    prices: Mapping[str, PricePoint],
    before: Before | None,
    previous_session_on: date,
    trades: Sequence[Trade],
) -> Valuation:
    """Value the book. `prices` by instrument key; `trades` are the delivery executions since `before`."""
    with localcontext() as context:
        context.prec = EXACT
        book, prices, before, trades = _by_isin(book, prices, before, trades)
        lines = _lines(book, prices, before, trades)
        held = [line for line in lines if line.quantity]
        priced = [line for line in held if line.price is not None]
        holdings_value = _total(line.value for line in priced) if priced or not held else None
        invested = _total(line.invested for line in held)
        with_cost = _total(line.invested for line in priced)
        pnl, notes = (None, (LATE,)) if book.read_late else positions_pnl(book.positions, prices)
        return Valuation(
            trading_on=trading_on,
            holdings_value=holdings_value,
            invested=invested,
            unrealised_pnl=None if with_cost is None or holdings_value is None else holdings_value - with_cost,
            positions_pnl=pnl,
            cash=book.margin.clear_cash if book.margin else None,
            margin_used=book.margin.net_margin_used if book.margin else None,
            holdings_count=len(held),
            positions_count=sum(1 for position in book.positions if position.quantity),
            priced_ratio=_ratio(len(priced), len(held)),
            oldest_price_on=min((line.priced_on for line in priced if line.priced_on), default=None),
            change=day_change(lines, holdings_value, before, previous_session_on, trades),
            lines=lines,
            notes=(*_line_notes(held), *notes, *_early_notes(held, book.positions, prices)),
        )


def marked(
    points: Mapping[str, PricePoint], trading_on: date, session_of: Callable[[date], Session | None], now: datetime
) -> dict[str, PricePoint]:
    """A price read while the exchange was trading is no closing price; while it still is, nobody expects one."""
    sessions = {on: session_of(on) for on in {point.priced_on for point in points.values()}}
    return {key: _marked(point, sessions[point.priced_on], trading_on, now) for key, point in points.items()}


def _marked(point: PricePoint, session: Session | None, trading_on: date, now: datetime) -> PricePoint:
    if session is None or point.priced_at is None or point.priced_at >= session.closes_at:
        return point
    if point.priced_on == trading_on and now < session.closes_at:
        return point
    return replace(point, early_at=point.priced_at)


def _total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum, or None as soon as one part is unknown."""
    total = ZERO
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _ratio(part: int, whole: int) -> Decimal:
    return Decimal(1) if whole == 0 else (Decimal(part) / Decimal(whole)).quantize(Decimal("0.0001"))


def _line_notes(held: Sequence[Line]) -> list[str]:
    notes = [f"{line.trading_symbol} has no price" for line in held if line.price is None]
    notes += [f"{line.trading_symbol}: average price unknown" for line in held if line.average_price is None]
    notes += [
        f"{line.trading_symbol}: quantity {line.quantity} is not explained by what was held and traded"
        for line in held
        if line.basis == "unexplained"
    ]
    return notes


def _early_notes(
    held: Sequence[Line], positions: Sequence[Position], prices: Mapping[str, PricePoint]
) -> Iterator[str]:
    """Of which instruments no closing price is known but one read while the exchange was still trading."""
    names = {line.trading_symbol for line in held if line.early_at is not None}
    for position in positions:
        point = prices.get(instrument_key(position))
        if position.quantity and not is_delivery(position) and point is not None and point.early_at is not None:
            names.add(position.trading_symbol)
    if names:
        told = ", ".join(sorted(names)[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        yield f"{'1 price is' if len(names) == 1 else f'{len(names)} prices are'} from before the close: {told}"


class Today(Struct, kw_only=True):
    """Today's delivery trades of one instrument as the positions show them."""

    trading_symbol: str
    bought: Decimal = ZERO
    bought_value: Decimal = ZERO
    sold: Decimal = ZERO


def effective_lines(
    book: Book, prices: Mapping[str, PricePoint], before: Before | None, trades: Sequence[Trade]
) -> tuple[Line, ...]:
    """Rule 8: holdings plus today's delivery trades, each unit counted once. Sorted by ISIN."""
    return _lines(*_by_isin(book, prices, before, trades))


def _by_isin(
    book: Book, prices: Mapping[str, PricePoint], before: Before | None, trades: Sequence[Trade]
) -> tuple[Book, Mapping[str, PricePoint], Before | None, Sequence[Trade]]:
    """The same, each share under its ISIN wherever one of them names it: a position, a trade or the line of the day
    before that comes without is no other share."""
    isins = _isins(book, before, trades)
    nameless = [p for p in book.positions if is_delivery(p) and not p.isin and p.trading_symbol in isins]
    aliases = {isins[p.trading_symbol]: prices[key] for p in nameless if (key := instrument_key(p)) in prices}
    positions = tuple(replace(p, isin=isins[p.trading_symbol]) if p in nameless else p for p in book.positions)
    named = tuple(
        replace(trade, isin=isins.get(trade.trading_symbol or "", trade.isin)) if _is_unnamed(trade.isin) else trade
        for trade in trades
    )
    return replace(book, positions=positions), aliases | dict(prices), _named(before, isins), named


def _isins(book: Book, before: Before | None, trades: Sequence[Trade]) -> dict[str, str]:
    """The ISIN of each share by its symbol; what the holdings say counts most."""
    isins = {line.trading_symbol: line.isin for line in before.lines if not _is_unnamed(line.isin)} if before else {}
    isins |= {t.trading_symbol: t.isin for t in trades if t.trading_symbol and not _is_unnamed(t.isin)}
    isins |= {p.trading_symbol: p.isin for p in book.positions if is_delivery(p) and p.isin}
    return isins | {holding.trading_symbol: holding.isin for holding in book.holdings}


def _is_unnamed(key: str) -> bool:
    """Whether a line or a trade goes by EXCHANGE:SYMBOL."""
    return ":" in key


def _named(before: Before | None, isins: Mapping[str, str]) -> Before | None:
    """The lines of the day before, under their ISINs unless two lines would become one."""
    if before is None:
        return None
    taken = {line.isin for line in before.lines}
    lines = []
    for line in before.lines:
        isin = isins.get(line.trading_symbol, line.isin) if _is_unnamed(line.isin) else line.isin
        is_free = isin not in taken
        taken.add(isin)
        lines.append(replace(line, isin=isin) if is_free else line)
    return replace(before, lines=tuple(lines))


def _lines(
    book: Book, prices: Mapping[str, PricePoint], before: Before | None, trades: Sequence[Trade]
) -> tuple[Line, ...]:
    holdings = {holding.isin: holding for holding in book.holdings}
    todays = _todays(book)
    expected = _expected(book, before, trades)
    lines = []
    for isin in sorted(holdings.keys() | todays.keys()):
        line = _effective_line(isin, holdings.get(isin), todays.get(isin), expected)
        point = prices.get(isin)
        if point is not None:
            line = Line(
                isin=line.isin,
                trading_symbol=line.trading_symbol,
                quantity=line.quantity,
                average_price=line.average_price,
                basis=line.basis,
                price=point.price,
                priced_on=point.priced_on,
                source=point.source,
                early_at=point.early_at,
            )
        lines.append(line)
    return tuple(lines)


def _todays(book: Book) -> dict[str, Today]:
    """Today's delivery trades by ISIN. Carried-forward quantities are not today's."""
    todays: dict[str, Today] = {}
    for position in book.positions:
        if is_delivery(position):
            today = todays.setdefault(instrument_key(position), Today(trading_symbol=position.trading_symbol))
            today.bought += position.credit_quantity
            today.bought_value += position.credit_quantity * position.credit_price
            today.sold += position.debit_quantity
    return todays


def is_delivery(position: Position) -> bool:
    return position.segment == "CASH" and position.product == "CNC"


def instrument_key(position: Position) -> str:
    """The key its price is kept under: the ISIN in the cash market, else EXCHANGE:SYMBOL."""
    if position.segment == "CASH" and position.isin:
        return position.isin
    return f"{position.exchange}:{position.trading_symbol}"


def _expected(book: Book, before: Before | None, trades: Sequence[Trade]) -> dict[str, Decimal] | None:
    """What each ISIN should come to by what was held before and traded since; None before the first snapshot."""
    if before is None:
        return {holding.isin: holding.quantity for holding in book.holdings} if book.read_late else None
    return expected_units(before, trades)


def expected_units(before: Before, trades: Sequence[Trade]) -> dict[str, Decimal]:
    """What each ISIN comes to by what was held before, made of by corporate actions, traded and moved since."""
    carried = carried_over(before, trades)
    expected = {isin: stood.quantity for isin, stood in carried.stood.items()}
    for isin, units in (*((trade.isin, trade.units) for trade in carried.trades), *carried.arrived.items()):
        expected[isin] = expected.get(isin, ZERO) + units
    return expected


def carried_over(before: Before, trades: Sequence[Trade]) -> Carried:
    """What was held before, in the units that corporate actions since have made of it."""
    stood = {
        line.isin: Stood(
            isin=line.isin,
            trading_symbol=line.trading_symbol,
            quantity=line.quantity,
            value=line.value,
            price=line.price,
        )
        for line in before.lines
    }
    return carry(stood, trades, before.movements)


def _effective_line(
    isin: str, holding: Holding | None, today: Today | None, expected: dict[str, Decimal] | None
) -> Line:
    held = holding.quantity if holding else ZERO
    bought, sold = (today.bought, today.sold) if today else (ZERO, ZERO)
    added = held + bought - sold
    goal = added if expected is None else expected.get(isin, ZERO)
    basis = "added" if goal == added and added >= 0 else "contained" if goal == held else "unexplained"
    quantity = held if basis == "contained" or added < 0 else added
    average = holding.average_price if holding else None
    if quantity != held and today is not None and bought:
        average = _average(held, average, today)
    symbol = holding.trading_symbol if holding else today.trading_symbol if today else isin
    return Line(
        isin=isin,
        trading_symbol=symbol,
        quantity=quantity,
        average_price=average,
        price=None,
        priced_on=None,
        source=None,
        basis=basis,
    )


def _average(held: Decimal, average: Decimal | None, today: Today) -> Decimal | None:
    """Average cost after today's purchases; unknown when what was held has no known cost."""
    if held and average is None:
        return None
    cost = held * (average or ZERO) + today.bought_value
    return (cost / (held + today.bought)).quantize(Decimal("0.0001"))


def positions_pnl(
    positions: Sequence[Position], prices: Mapping[str, PricePoint]
) -> tuple[Decimal | None, tuple[str, ...]]:
    """Profit and loss of everything that is not delivery: realised by the broker plus open at our price."""
    total: Decimal | None = ZERO
    notes = []
    for position in positions:
        if is_delivery(position):
            continue
        pnl = position_pnl(position, prices.get(instrument_key(position)))
        if pnl is None:
            notes.append(f"{position.trading_symbol} {position.product}: profit or loss unknown (no price or no entry)")
        total = None if pnl is None or total is None else total + pnl
    return total, tuple(notes)


def position_pnl(position: Position, point: PricePoint | None) -> Decimal | None:
    """Realised plus unrealised profit and loss of one line in rupees; None when a part is unknown."""
    if position.realised_pnl is None:
        return None
    if position.quantity == 0:
        return position.realised_pnl
    if point is None or position.net_price is None:
        return None
    return position.realised_pnl + position.quantity * (point.price - position.net_price)


def day_change(
    lines: Sequence[Line],
    holdings_value: Decimal | None,
    before: Before | None,
    previous_session_on: date,
    trades: Sequence[Trade],
) -> DayChange:
    """Rule 9, by ISIN: sold and bought units move from their execution price, the rest from the last close.

    A corporate action changes units, not value: what it turned moves from the value it had. Units that came or left by
    transfer do so at today's price, and so do units on their way and fractions that are paid out in cash.
    """
    if before is None:
        return DayChange(day_change_reason="no earlier snapshot")
    if before.trading_on != previous_session_on:
        return DayChange(day_change_reason=f"no snapshot of the previous trading day, {previous_session_on}")
    if holdings_value is None or before.holdings_value is None:
        unpriced_on = "today" if holdings_value is None else f"on {before.trading_on}"
        return DayChange(day_change_reason=f"nothing that is held had a price {unpriced_on}")
    carried = carried_over(before, trades)
    if not carried.is_clear:
        return DayChange(day_change_reason="executions before a corporate action stand in the units before it")
    now = {line.isin: line for line in lines}
    traded: dict[str, list[Trade]] = {}
    for trade in carried.trades:
        traded.setdefault(trade.isin, []).append(trade)
    market_move = net_invested = transferred = unexplained = ZERO
    for isin in now.keys() | carried.stood.keys() | traded.keys():
        arrived = carried.arrived.get(isin, ZERO)
        parts = _line_change(carried.stood.get(isin), now.get(isin), traded.get(isin, []), arrived)
        if isinstance(parts, str):
            return DayChange(day_change_reason=parts)
        market_move, net_invested = market_move + parts[0], net_invested + parts[1]
        transferred, unexplained = transferred + parts[2], unexplained + parts[3]
    change = holdings_value - before.holdings_value
    assert change == market_move + net_invested + transferred + unexplained, "the parts of a day change add up"
    return DayChange(
        previous_on=before.trading_on,
        previous_value=before.holdings_value,
        day_change=change,
        market_move=market_move,
        net_invested=net_invested,
        transferred=transferred,
        unexplained=unexplained,
    )


def _line_change(
    then: Stood | None, now: Line | None, trades: Sequence[Trade], arrived: Decimal
) -> tuple[Decimal, Decimal, Decimal, Decimal] | str:
    """Market move, net invested, transferred and unexplained amount of one ISIN, or why they cannot be told."""
    before, after = (then.quantity if then else ZERO), (now.quantity if now else ZERO)
    price_before, price = (then.price if then else None), (now.price if now else None)
    value_before = then.value if then and then.value is not None else ZERO
    name = now.trading_symbol if now else then.trading_symbol if then else trades[0].isin
    if before and after and (price_before is None) != (price is None):
        return f"{name} had a price on only one of the two days"
    if not any(known is not None for known in (price_before, price)):
        if trades and (before or after):
            return f"{name} was traded and has no price"
        if before or after:
            return ZERO, ZERO, ZERO, ZERO  # never priced: in neither value
    if before and price_before is None:
        return f"{name} had no price the day before"
    if after and price is None:
        return f"{name} has no price"
    # With nothing left, the price of today cancels out of the sum unless something is unexplained.
    close = price if price is not None else price_before if price_before is not None else trades[-1].price
    traded = sum((trade.units for trade in trades), ZERO)
    invested = sum((trade.units * trade.price for trade in trades), ZERO)
    fractions = (then.lost * close).quantize(PAISA) if then else ZERO
    moved = before * close - value_before + traded * close - invested + fractions
    return moved, invested, arrived * close - fractions, (after - before - traded - arrived) * close
