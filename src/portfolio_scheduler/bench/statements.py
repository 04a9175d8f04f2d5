"""Statements made without a broker: an account of 50 holdings, 10 positions and 100 orders, 75 of them filled.

As in a real sync, executions are there only for orders of which more is filled than was known before.
"""

from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from portfolio_scheduler.clock import ist
from portfolio_scheduler.domain.money import ZERO
from portfolio_scheduler.domain.records import (
    OK,
    Answer,
    Fetched,
    Fill,
    Holding,
    Margin,
    Order,
    Owner,
    Position,
    Price,
    Statement,
)

DAY = date(2026, 4, 20)
HOLDINGS, POSITIONS, ORDERS, FILLED = 50, 10, 100, 75
SEGMENTS = ("CASH",)
BOOK = ("owner", "holdings", "positions:CASH", "orders:CASH", "margin")
SECTIONS = (*BOOK, "fills", "prices")


def _digest(what: str) -> bytes:
    return sha256(what.encode()).digest()


def isin(number: int) -> str:
    return f"INE{number:06d}019"[:12]


def symbol(number: int) -> str:
    return f"STOCK{number:03d}"


def _price(number: int) -> Decimal:
    return Decimal(10000 + 1237 * number).scaleb(-2)


def prices() -> tuple[Price, ...]:
    """The day's closing prices, which accounts share."""
    return tuple(
        Price(
            key=isin(n),
            exchange="NSE",
            segment="CASH",
            trading_symbol=symbol(n),
            price=_price(n),
            source="ltp",
            priced_on=DAY,
            priced_at=ist(DAY, 15, 31),
        )
        for n in range(HOLDINGS)
    )


def _holding(number: int) -> Holding:
    return Holding(
        isin=isin(number),
        trading_symbol=symbol(number),
        quantity=Decimal(1000 + number),
        average_price=_price(number) - 1,
        demat_free_quantity=Decimal(1000 + number),
        exchanges=("NSE", "BSE"),
    )


def order(number: int, *, filled: bool, status: str) -> Order:
    created_at = ist(DAY, 9, 20, 0)
    return Order(
        broker_order_id=f"GMK260420{number:012d}",
        segment="CASH",
        exchange="NSE",
        trading_symbol=symbol(number % POSITIONS),
        product="CNC",
        side="BUY",
        order_type="LIMIT",
        validity="DAY",
        status=status,
        amo_status="NA",
        quantity=Decimal(10),
        filled_quantity=Decimal(10) if filled else ZERO,
        remaining_quantity=ZERO if filled else Decimal(10),
        price=_price(number % POSITIONS),
        average_fill_price=_price(number % POSITIONS) if filled else None,
        created_at=created_at,
        trade_on=DAY,
        created_raw="2026-04-20T09:20:00",
        exchange_raw="2026-04-20T09:20:00",
        trade_raw="2026-04-20T00:00:00",
    )


def fill_of(filled: Order) -> Fill:
    return Fill(
        broker_order_id=filled.broker_order_id,
        broker_trade_id=f"T{filled.broker_order_id}",
        exchange_trade_id=f"X{filled.broker_order_id}",
        exchange_order_id=f"E{filled.broker_order_id}",
        segment=filled.segment,
        exchange=filled.exchange,
        trading_symbol=filled.trading_symbol,
        isin=isin(int(filled.trading_symbol.removeprefix("STOCK"))),
        product=filled.product,
        side=filled.side,
        quantity=filled.filled_quantity,
        price=filled.average_fill_price or ZERO,
        status="EXECUTED",
        settlement_number="2026075",
        traded_at=ist(DAY, 9, 21, 0),
        traded_raw="2026-04-20T09:21:00",
    )


def _position(number: int, bought: Decimal) -> Position:
    return Position(
        segment="CASH",
        exchange="NSE",
        trading_symbol=symbol(number),
        product="CNC",
        isin=isin(number),
        quantity=bought,
        credit_quantity=bought,
        credit_price=_price(number),
        net_price=_price(number),
        realised_pnl=ZERO,
    )


def first(at: datetime | None = None, *, orders: int = ORDERS, filled: int = FILLED) -> Statement:
    """The account as it is seen first, after the close."""
    listed = [order(n, filled=n < filled, status="EXECUTED" if n < filled else "OPEN") for n in range(orders)]
    return _statement(listed, at or ist(DAY, 16))


def changed(at: datetime | None = None) -> Statement:
    """The same with one order in ten changed: five more filled, five cancelled."""
    listed = list(first().orders)
    for n in range(FILLED, FILLED + 5):
        listed[n] = order(n, filled=True, status="EXECUTED")
        listed[n + 5] = order(n + 5, filled=False, status="CANCELLED")
    return _statement(listed, at or ist(DAY, 16, 5), already_filled=FILLED)


def unchanged() -> Statement:
    """What `changed` said, read once more."""
    return replace(changed(ist(DAY, 16, 10)), fills=())


def answers_of(statement: Statement) -> Fetched:
    """The answers that said this, so far as it matters: the same for the same content."""
    said = (statement.owner, statement.holdings, statement.positions, statement.orders, statement.margin)
    answers = [
        Answer(
            call=section,
            section=section,
            request=f"/{section}",
            status=200,
            body=body,
            digest=sha256(body).digest(),
            fetched_at=statement.observed_at,
        )
        for section, body in zip(BOOK, map(msgspec.json.encode, said), strict=True)
    ]
    return Fetched(answers=tuple(answers), sections=dict.fromkeys(BOOK, OK))


def _statement(orders: list[Order], at: datetime, *, already_filled: int = 0) -> Statement:
    fills = [fill_of(each) for each in orders[already_filled:] if each.filled_quantity]
    bought = dict.fromkeys(range(POSITIONS), ZERO)
    for each in orders:
        bought[int(each.trading_symbol.removeprefix("STOCK"))] += each.filled_quantity
    digests = {section: _digest(section) for section in SECTIONS}
    return Statement(
        observed_at=at,
        owner=Owner(ucc="", vendor_user_id="bench", segments=SEGMENTS),
        holdings=tuple(_holding(n) for n in range(HOLDINGS)),
        positions=tuple(_position(number, units) for number, units in bought.items()),
        orders=tuple(orders),
        fills=tuple(fills),
        margin=Margin(clear_cash=Decimal("123456.78"), net_margin_used=ZERO),
        sections=dict.fromkeys(SECTIONS, OK),
        digests=digests | {f"fills:{fill.broker_order_id}": _digest(fill.broker_order_id) for fill in fills},
    )


def of_account(statement: Statement, ucc: str) -> Statement:
    """The same said by another account."""
    return replace(statement, owner=Owner(ucc=ucc, vendor_user_id=ucc, segments=SEGMENTS))
