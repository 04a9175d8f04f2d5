"""Worked examples by hand: effective quantity (rule 8), day change (rule 9), values and what is not known."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio_scheduler.domain.records import Holding, Margin, Position
from portfolio_scheduler.domain.valuation import Before, Book, Line, PricePoint, Trade, Valuation, value
from tests.builders import MONDAY, TUESDAY, a_holding, a_position, d

INFY, TCS = "INE009A01021", "INE467B01029"
FRIDAY = date(2026, 4, 17)


def at(price: object, on: date = TUESDAY) -> PricePoint:
    return PricePoint(price=d(price), priced_on=on, source="ltp")


def a_line(isin: str = INFY, quantity: object = 10, price: object = 100, on: date = MONDAY) -> Line:
    return Line(
        isin=isin,
        trading_symbol=isin,
        quantity=d(quantity),
        average_price=d(90),
        price=None if price is None else d(price),
        priced_on=None if price is None else on,
        source=None if price is None else "ltp",
        basis="added",
    )


def monday(*lines: Line) -> Before:
    worth = sum((line.quantity * line.price for line in lines if line.price is not None), Decimal(0))
    return Before(trading_on=MONDAY, holdings_value=worth, lines=lines)


def valued(
    *holdings: Holding,
    positions: tuple[Position, ...] = (),
    prices: dict[str, PricePoint] | None = None,
    before: Before | None = None,
    trades: tuple[Trade, ...] = (),
    previous_on: date = MONDAY,
    margin: Margin | None = None,
) -> Valuation:
    book = Book(holdings=holdings, positions=positions, margin=margin)
    return value(TUESDAY, book, prices or {}, before, previous_on, trades)


def bought(units: object, price: object, isin: str = INFY) -> Trade:
    return Trade(isin=isin, traded_on=TUESDAY, units=d(units), price=d(price))


def quantity_of(valuation: Valuation, isin: str = INFY) -> tuple[Decimal, str]:
    (line,) = [line for line in valuation.lines if line.isin == isin]
    return line.quantity, line.basis


# ── effective quantity ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("held", "credit", "debit", "before", "expected"),
    [
        (10, 0, 0, None, (10, "added")),  # nothing traded
        (10, 5, 0, 10, (15, "added")),  # bought today: still only in the positions
        (15, 5, 0, 10, (15, "contained")),  # bought today: the holdings have it already
        (10, 0, 4, 10, (6, "added")),  # sold today: the holdings have not heard of it
        (6, 0, 4, 10, (6, "contained")),  # sold today: the holdings are reduced already
        (10, 0, 10, 10, (0, "added")),  # sold out
        (10, 5, 5, 10, (10, "added")),  # bought and sold
        (0, 5, 0, 0, (5, "added")),  # the first purchase of a share
        (20, 5, 0, 10, (25, "unexplained")),  # neither fits
        (10, 5, 0, None, (15, "added")),  # no day before to compare with
    ],
)
def test_each_unit_is_counted_once(
    held: int, credit: int, debit: int, before: int | None, expected: tuple[int, str]
) -> None:
    trades = tuple(bought(units, 100) for units in (credit, -debit) if units)
    found = valued(
        *([a_holding(INFY, held, trading_symbol="INFY")] if held else []),
        positions=(a_position("INFY", bought=credit, sold=debit, isin=INFY),) if credit or debit else (),
        before=None if before is None else monday(a_line(quantity=before)),
        trades=trades,
        prices={INFY: at(100)},
    )
    assert quantity_of(found) == expected


def test_carried_forward_quantities_are_not_todays() -> None:
    carried = a_position("INFY", isin=INFY, carry_forward_credit_quantity=d(50), quantity=d(50))
    assert quantity_of(valued(a_holding(INFY, 10, trading_symbol="INFY"), positions=(carried,))) == (10, "added")


def test_a_purchase_without_an_isin_finds_its_holding_by_symbol() -> None:
    found = valued(
        a_holding(INFY, 10, trading_symbol="INFY"),
        positions=(a_position("INFY", bought=5),),
    )
    assert [(line.isin, line.quantity) for line in found.lines] == [(INFY, 15)]


def test_the_average_price_takes_in_what_was_bought_today() -> None:
    found = valued(
        a_holding(INFY, 10, 100, trading_symbol="INFY"),
        positions=(a_position("INFY", bought=10, bought_at=120, isin=INFY),),
        prices={INFY: at(130)},
    )
    assert found.lines[0].average_price == 110
    assert (found.invested, found.unrealised_pnl) == (2200, 400)


# ── day change ──────────────────────────────────────────────────────────────────────────────────────────────────────


def parts(valuation: Valuation) -> tuple[Decimal | None, ...]:
    change = valuation.change
    return (change.day_change, change.market_move, change.net_invested, change.unexplained)


def test_prices_alone_are_market_move() -> None:
    found = valued(a_holding(INFY, 10), prices={INFY: at(105)}, before=monday(a_line(quantity=10, price=100)))
    assert parts(found) == (50, 50, 0, 0)


def test_todays_purchase_moves_from_its_price_to_the_close() -> None:
    """10 held at 100, 5 more bought at 102, close 105: 10 × 5 + 5 × 3 = 65 moved, 510 invested."""
    found = valued(
        a_holding(INFY, 10),
        positions=(a_position("INFY", bought=5, bought_at=102, isin=INFY),),
        prices={INFY: at(105)},
        before=monday(a_line(quantity=10, price=100)),
        trades=(bought(5, 102),),
    )
    assert parts(found) == (575, 65, 510, 0)


def test_a_sale_moves_from_the_last_close_to_its_price() -> None:
    """10 held at 100, 4 sold at 103, close 105: 6 × 5 + 4 × 3 = 42 moved, 412 taken out."""
    found = valued(
        a_holding(INFY, 10),
        positions=(a_position("INFY", sold=4, isin=INFY),),
        prices={INFY: at(105)},
        before=monday(a_line(quantity=10, price=100)),
        trades=(bought(-4, 103),),
    )
    assert parts(found) == (-370, 42, -412, 0)


def test_a_share_sold_out_needs_no_price_of_today() -> None:
    found = valued(before=monday(a_line(quantity=10, price=100)), trades=(bought(-10, 103),))
    assert parts(found) == (-1000, 30, -1030, 0)


def test_units_nobody_can_explain_are_told_apart() -> None:
    found = valued(a_holding(INFY, 15), prices={INFY: at(105)}, before=monday(a_line(quantity=10, price=100)))
    assert parts(found) == (575, 50, 0, 525)
    assert any("not explained" in note for note in found.notes)


@pytest.mark.parametrize(
    ("before", "previous_on", "prices", "reason"),
    [
        (None, MONDAY, {INFY: at(105)}, "no earlier snapshot"),
        (monday(a_line()), FRIDAY, {INFY: at(105)}, "no snapshot of the previous trading day"),
        (monday(a_line()), MONDAY, {}, "nothing that is held had a price today"),
        (monday(a_line(price=None)), MONDAY, {INFY: at(105)}, "price on only one of the two days"),
    ],
)
def test_a_day_change_that_cannot_be_told_says_why(
    before: Before | None, previous_on: date, prices: dict[str, PricePoint], reason: str
) -> None:
    found = valued(a_holding(INFY, 10), prices=prices, before=before, previous_on=previous_on)
    assert found.change.day_change is None
    assert reason in (found.change.day_change_reason or "")


def test_a_line_that_never_had_a_price_is_in_neither_value() -> None:
    found = valued(
        a_holding(INFY, 10),
        a_holding(TCS, 5),
        prices={INFY: at(105)},
        before=monday(a_line(quantity=10, price=100), a_line(TCS, 5, None)),
    )
    assert parts(found) == (50, 50, 0, 0)
    assert found.priced_ratio == d("0.5")


MONEY = st.decimals("0.01", "99999.99", places=2)
UNITS = st.integers(0, 500)


@given(
    st.lists(
        st.tuples(UNITS, UNITS, MONEY, MONEY, st.lists(st.tuples(st.integers(-50, 50), MONEY), max_size=3)), max_size=6
    )
)
@settings(max_examples=200, deadline=None)
def test_the_parts_always_add_up(
    lines: list[tuple[int, int, Decimal, Decimal, list[tuple[int, Decimal]]]],
) -> None:
    """The identity is asserted inside; here it must survive any portfolio, explained or not."""
    isins = [f"INE{i:09}" for i in range(len(lines))]
    before = monday(*(a_line(isin, held, price) for isin, (held, _, price, _, _) in zip(isins, lines, strict=True)))
    trades = [
        bought(units, price, isin)
        for isin, (*_, traded) in zip(isins, lines, strict=True)
        for units, price in traded
        if units
    ]
    found = valued(
        *(a_holding(isin, now) for isin, (_, now, *_) in zip(isins, lines, strict=True)),
        prices={isin: at(price) for isin, (_, _, _, price, _) in zip(isins, lines, strict=True)},
        before=before,
        trades=tuple(trades),
    )
    change = found.change
    assert found.holdings_value is not None
    assert before.holdings_value is not None
    assert change.day_change == found.holdings_value - before.holdings_value


# ── value, positions, what is not known ─────────────────────────────────────────────────────────────────────────────


def test_no_price_is_never_zero_nor_cost() -> None:
    found = valued(a_holding(INFY, 10, 100), a_holding(TCS, 1, 3000), prices={INFY: at(105, FRIDAY)})
    assert (found.holdings_value, found.priced_ratio, found.oldest_price_on) == (1050, d("0.5"), FRIDAY)
    assert found.unrealised_pnl == 50
    assert any("has no price" in note for note in found.notes)


def test_nothing_priced_is_no_value_and_nothing_held_is_zero() -> None:
    assert valued(a_holding(INFY, 10)).holdings_value is None
    assert valued().holdings_value == 0
    unpriced = Before(trading_on=MONDAY, holdings_value=None, lines=(a_line(price=None),))
    change = valued(a_holding(INFY, 10), prices={INFY: at(105)}, before=unpriced).change
    assert (change.day_change, change.day_change_reason) == (None, "nothing that is held had a price on 2026-04-20")


def test_an_unknown_average_price_leaves_the_profit_unknown() -> None:
    unknown = Holding(isin=INFY, trading_symbol="INFY", quantity=d(10))
    found = valued(unknown, prices={INFY: at(105)})
    assert (found.holdings_value, found.invested, found.unrealised_pnl) == (1050, None, None)


def future(quantity: object, entry: object, realised: object | None = 0) -> Position:
    return a_position(
        "NIFTY26APRFUT",
        segment="FNO",
        product="NRML",
        quantity=d(quantity),
        net_price=d(entry),
        realised_pnl=None if realised is None else d(realised),
    )


@pytest.mark.parametrize(
    ("position", "price", "expected"),
    [
        (future(50, 24000), 24100, 5000),  # long, price rose
        (future(-50, 24000), 24100, -5000),  # short, price rose
        (future(0, 0, 1250), None, 1250),  # closed: what was realised
        (future(50, 24000, 300), 24100, 5300),  # realised and open
        (future(50, 24000), None, None),  # open without a price
        (future(50, 24000, None), 24100, None),  # realised part unknown
    ],
)
def test_profit_of_positions_is_realised_plus_open(position: Position, price: int | None, expected: int | None) -> None:
    prices = {} if price is None else {"NSE:NIFTY26APRFUT": at(price)}
    found = valued(positions=(position,), prices=prices)
    assert found.positions_pnl == expected
    assert (found.positions_pnl is None) == bool(found.notes)


def test_delivery_and_contract_values_are_not_in_the_positions_profit() -> None:
    found = valued(
        positions=(a_position("INFY", bought=5, isin=INFY), future(50, 24000)),
        prices={INFY: at(105), "NSE:NIFTY26APRFUT": at(24000)},
    )
    assert (found.positions_pnl, found.holdings_value) == (0, 525)


def test_cash_that_was_not_said_is_unknown() -> None:
    assert valued().cash is None
    assert valued(margin=Margin(clear_cash=d(25000))).cash == 25000


# ── one share under two names ───────────────────────────────────────────────────────────────────────────────────────


def bought_today(isin: str | None) -> Position:
    return a_position("INFY", bought=4, bought_at=100, isin=isin)


def a_trade(isin: str | None) -> Trade:
    return Trade(isin=isin or "NSE:INFY", traded_on=TUESDAY, units=d(4), price=d(100), trading_symbol="INFY")


@pytest.mark.parametrize("position", [INFY, None])
@pytest.mark.parametrize("trade", [INFY, None])
@pytest.mark.parametrize("priced_under", [INFY, "NSE:INFY"])
def test_a_share_that_comes_with_and_without_its_isin_is_one_share(
    position: str | None, trade: str | None, priced_under: str
) -> None:
    key = priced_under if position is None else INFY
    if position is None and trade is None:
        key = "NSE:INFY"
    found = valued(
        positions=(bought_today(position),), prices={key: at(110)}, before=monday(), trades=(a_trade(trade),)
    )
    (line,) = found.lines
    assert (line.quantity, line.basis, line.value) == (4, "added", 440)
    change = found.change
    assert (change.net_invested, change.market_move, change.unexplained) == (400, 40, 0), change


def test_a_line_of_yesterday_without_an_isin_is_the_holding_of_today() -> None:
    yesterday = monday(Line(isin="NSE:INFY", trading_symbol="INFY", quantity=d(4), average_price=d(100), price=d(100),
                            priced_on=MONDAY, source="ltp", basis="added"))  # fmt: skip
    found = valued(a_holding(INFY, 4, trading_symbol="INFY"), prices={INFY: at(110)}, before=yesterday)
    assert (found.change.market_move, found.change.unexplained) == (40, 0)


def test_two_shares_are_never_made_one() -> None:
    """Nobody knows which ISIN the share without one has."""
    found = valued(
        a_holding(TCS, 1, trading_symbol="TCS"),
        positions=(bought_today(None),),
        prices={"NSE:INFY": at(110), TCS: at(10)},
        before=monday(Line(isin=TCS, trading_symbol="TCS", quantity=d(1), average_price=d(1), price=d(10),
                           priced_on=MONDAY, source="ltp", basis="added")),
        trades=(a_trade(None),),
    )  # fmt: skip
    assert [(line.isin, line.quantity) for line in found.lines] == [(TCS, 1), ("NSE:INFY", 4)]
    assert found.change.unexplained == 0
