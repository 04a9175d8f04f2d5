"""What a corporate action explains in a reading, to the unit, and what was held before carried over it."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio_scheduler.clock import ist
from portfolio_scheduler.domain.changes import Event, HoldingChange, Moment, State, fold
from portfolio_scheduler.domain.corporate_actions import ActionKind, CorporateAction, Movement, make_action
from portfolio_scheduler.domain.diff import diff
from portfolio_scheduler.domain.instruments import is_isin, is_symbol
from portfolio_scheduler.domain.records import Holding
from portfolio_scheduler.domain.valuation import Before, Book, Line, PricePoint, Trade, value
from portfolio_scheduler.errors import InvalidInput
from tests.builders import MONDAY, TUESDAY, a_holding, a_moment, a_statement, d

OLD, NEW, OTHER = "INE009A01021", "INE467B01029", "INE002A01018"
FRIDAY = MONDAY - timedelta(days=3)


def an_action(kind: str, ratio: str = "1:1", on: date = TUESDAY) -> CorporateAction:
    return make_action(ActionKind(kind), OLD, OLD if kind == "bonus" else NEW, ratio, on)


def seen(
    before: tuple[Holding, ...],
    now: tuple[Holding, ...],
    *actions: CorporateAction,
    traded: tuple[tuple[str, date, int], ...] = (),
) -> dict[str, str]:
    """What a reading on Tuesday after one on Monday makes of each ISIN; "suspect" for one that waits."""
    first = diff(State(), a_statement(at=ist(MONDAY, 16), holdings=before), a_moment(ist(MONDAY, 16)))
    state = fold(State(), enumerate(first.changes, start=1))
    moment = Moment(
        observed_at=ist(TUESDAY, 16),
        observed_on=TUESDAY,
        trading_on=TUESDAY,
        holdings_read_on=MONDAY,
        deliveries=tuple((isin, day, d(units)) for isin, day, units in traded),
        actions=actions,
    )
    found: dict[str, str] = {}
    for change in diff(state, a_statement(at=ist(TUESDAY, 16), holdings=now), moment).changes:
        if isinstance(change, HoldingChange):
            found[change.holding.isin] = change.details.get("effect", change.explanation)
        elif isinstance(change, Event) and change.kind == "SUSPECT":
            found[change.subject] = "suspect"
    return found


OLD_10, REST = a_holding(OLD, 10), a_holding(OTHER, 1)


@pytest.mark.parametrize(
    ("now", "action", "traded", "expected"),
    [
        # a split of one into five
        ((a_holding(NEW, 50),), an_action("split", "5:1"), (), {OLD: "turned", NEW: "turned"}),
        ((a_holding(NEW, 49),), an_action("split", "5:1"), (), {OLD: "suspect"}),
        ((), an_action("split", "5:1"), (), {OLD: "suspect"}),
        ((OLD_10, a_holding(NEW, 50)), an_action("split", "5:1"), (), {NEW: "unexplained"}),
        ((a_holding(NEW, 60),), an_action("split", "5:1"), ((OLD, MONDAY, 2),), {OLD: "turned", NEW: "turned"}),
        ((a_holding(NEW, 30),), an_action("split", "5:1"), ((OLD, MONDAY, -4),), {OLD: "turned", NEW: "turned"}),
        ((a_holding(NEW, 53),), an_action("split", "5:1"), ((NEW, TUESDAY, 3),), {OLD: "turned", NEW: "turned"}),
        # a bonus of one for one
        ((a_holding(OLD, 20),), an_action("bonus", "2:1"), (), {OLD: "turned"}),
        ((a_holding(OLD, 24),), an_action("bonus", "2:1"), ((OLD, MONDAY, 2),), {OLD: "turned"}),
        ((a_holding(OLD, 22),), an_action("bonus", "2:1"), ((OLD, TUESDAY, 2),), {OLD: "turned"}),
        ((a_holding(OLD, 12),), an_action("bonus", "2:1"), ((OLD, MONDAY, 2),), {OLD: "traded"}),
        ((a_holding(OLD, 30),), an_action("bonus", "2:1"), (), {OLD: "unexplained"}),
        ((a_holding(OLD, 10, corporate_action_quantity=10),), an_action("bonus", "2:1"), (), {OLD: "announced"}),
        ((a_holding(OLD, 12, corporate_action_quantity=12),), an_action("bonus", "2:1"), ((OLD, MONDAY, 2),),
         {OLD: "announced"}),
        ((a_holding(OLD, 10, corporate_action_quantity=3),), an_action("bonus", "2:1"), (), {OLD: "corporate_action"}),
        # three for two, half a unit lost
        ((a_holding(NEW, 15),), an_action("merger", "3:2"), (), {OLD: "turned", NEW: "turned"}),
        ((a_holding(NEW, 16),), an_action("merger", "3:2"), ((OLD, MONDAY, 1),), {OLD: "turned", NEW: "turned"}),
        # a demerger takes part of the cost
        ((a_holding(OLD, 10, 70), a_holding(NEW, 10, 30)), an_action("demerger"), (), {OLD: "cost", NEW: "turned"}),
        ((a_holding(OLD, 10, 70),), an_action("demerger"), (), {OLD: "repriced"}),
        ((a_holding(NEW, 10),), an_action("rename"), (), {OLD: "turned", NEW: "turned"}),
    ],
)  # fmt: skip
def test_an_action_explains_what_fits_it_to_the_unit(
    now: tuple[Holding, ...], action: CorporateAction, traded: Any, expected: dict[str, str]
) -> None:
    assert seen((OLD_10, REST), (*now, REST), action, traded=traded) == expected


def test_a_company_may_part_with_two_others_on_one_day() -> None:
    first = an_action("demerger")
    second = make_action(ActionKind.DEMERGER, OLD, OTHER, "1:2", TUESDAY)
    now = (a_holding(OLD, 10, 50), a_holding(NEW, 10), a_holding(OTHER, 5))
    assert seen((OLD_10,), now, first, second) == {OLD: "cost", NEW: "turned", OTHER: "turned"}


def test_units_announced_and_then_credited_have_arrived() -> None:
    waiting, there = a_holding(OLD, 10, corporate_action_quantity=10), a_holding(OLD, 20)
    assert seen((waiting, REST), (there, REST), an_action("bonus", "2:1", MONDAY)) == {OLD: "arrived"}
    assert seen((waiting, REST), (there, REST)) == {OLD: "corporate_action"}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (a_holding(OLD, 10, transfer_quantity=4), (a_holding(OLD, 6),), {OLD: "transferred"}),
        (a_holding(OLD, 10, transfer_quantity=4), (a_holding(OLD, 14),), {OLD: "transferred"}),
        (a_holding(OLD, 10, transfer_quantity=4), (a_holding(OLD, 8, transfer_quantity=2),), {OLD: "transferred"}),
        (a_holding(OLD, 10, transfer_quantity=4), (a_holding(OLD, 5),), {OLD: "unexplained"}),
        (a_holding(OLD, 10, transfer_quantity=10), (), {OLD: "transferred"}),
        (a_holding(OLD, 10, transfer_quantity=9), (), {OLD: "suspect"}),
        (OLD_10, (OLD_10, a_holding(NEW, 0, transfer_quantity=5)), {NEW: "transferred"}),
    ],
)
def test_a_transfer_shows_in_the_units_on_their_way(
    before: Holding, now: tuple[Holding, ...], expected: dict[str, str]
) -> None:
    assert seen((before, REST), (*now, REST)) == expected


def test_what_came_without_a_reason_waits_with_what_went() -> None:
    """Otherwise the value would hold both between two readings."""
    assert seen((OLD_10, REST), (a_holding(NEW, 50), REST)) == {OLD: "suspect"}
    assert seen((OLD_10, REST), (a_holding(NEW, 50), REST), traded=((NEW, TUESDAY, 50),)) == {
        OLD: "suspect",
        NEW: "traded",
    }


@pytest.mark.parametrize(
    ("kind", "isins", "ratio", "said"),
    [
        ("split", (OLD, OLD), "5:1", "from one ISIN to another"),
        ("bonus", (OLD, NEW), "2:1", "keeps the ISIN"),
        ("bonus", (OLD, OLD), "1:1", "write 2:1"),
        ("split", (OLD, "INE467B01028"), "5:1", "is no ISIN"),
        *(("split", (OLD, NEW), ratio, "is no ratio") for ratio in ("5", "5:", "0:1", "-1:1", "x:y", "NaN:1", "1e9:1")),
    ],
)
def test_an_action_that_cannot_be_is_refused(kind: str, isins: tuple[str, str], ratio: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        make_action(ActionKind(kind), *isins, ratio, TUESDAY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(OLD, True), ("INE117A01022", True), ("INE117A01023", False), ("ine009a01021", False), ("", False),
     (OLD + "0", False), ("INE009A0102\N{ARABIC-INDIC DIGIT ONE}", False)],
)  # fmt: skip
def test_the_check_digit_of_an_isin(text: str, expected: bool) -> None:
    assert is_isin(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("M&M", True), ("BAJAJ-AUTO", True), ("S" * 50, True), ("S" * 51, False), ("", False), (" A", False),
     ("A\n", False)],
)  # fmt: skip
def test_a_trading_symbol(text: str, expected: bool) -> None:
    assert is_symbol(text) is expected


# ── value ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def a_line(isin: str, quantity: object, price: object | None) -> Line:
    at = None if price is None else d(price)
    return Line(
        isin=isin, trading_symbol=isin, quantity=d(quantity), average_price=d(1), price=at,
        priced_on=None if at is None else MONDAY, source=None if at is None else "ltp", basis="added",
    )  # fmt: skip


def moved(action: CorporateAction, isin: str, units: object, effect: str = "turned") -> Movement:
    return Movement(isin=isin, units=d(units), explanation="corporate_action", details=action.details(effect))


def change_of(
    lines: tuple[Line, ...], holdings: dict[str, tuple[int, object | None]], *movements: Movement, trades: Any = ()
) -> Any:
    worth = sum((line.value for line in lines if line.value is not None), Decimal(0))
    before = Before(trading_on=MONDAY, holdings_value=worth, lines=lines, movements=movements)
    book = Book(holdings=tuple(a_holding(i, q) for i, (q, _) in holdings.items()), positions=(), margin=None)
    points = {
        i: PricePoint(price=d(price), priced_on=TUESDAY, source="ltp")
        for i, (_, price) in holdings.items()
        if price is not None
    }
    return value(TUESDAY, book, points, before, MONDAY, trades)


def test_a_split_counts_once_though_both_lines_name_it() -> None:
    action = an_action("split", "5:1")
    movements = (moved(action, OLD, -10), moved(action, NEW, 50))
    found = change_of((a_line(OLD, 10, 1000),), {NEW: (50, 201)}, *movements)
    assert (found.change.market_move, found.change.unexplained) == (50, 0)
    assert [line.basis for line in found.lines] == ["added"]


def test_a_merger_into_something_held_keeps_the_value_of_both() -> None:
    action = an_action("merger", "1:3")
    lines = (a_line(OLD, 10, 100), a_line(NEW, 5, 310))
    found = change_of(lines, {NEW: (8, 330)}, moved(action, OLD, -10), moved(action, NEW, 3))
    # a third of a unit is lost: 110.00; the rest of the change is the market's
    assert (found.change.transferred, found.change.unexplained) == (d("-110.00"), 0)
    assert found.change.day_change == 8 * 330 - 1000 - 1550


def test_an_unpriced_line_stays_unpriced_through_an_action() -> None:
    action = an_action("split", "5:1")
    found = change_of(
        (a_line(OLD, 10, None), a_line(OTHER, 1, 5)), {NEW: (50, 201), OTHER: (1, 5)}, moved(action, NEW, 50)
    )
    assert found.change.day_change is None
    assert "price on only one of the two days" in found.change.day_change_reason


def test_executions_from_before_an_action_leave_the_change_unsaid() -> None:
    action = an_action("split", "5:1", TUESDAY + timedelta(days=1))
    trade = Trade(isin=OLD, traded_on=TUESDAY, units=d(1), price=d(1000))
    found = change_of((a_line(OLD, 10, 1000),), {NEW: (55, 201)}, moved(action, NEW, 55), trades=(trade,))
    assert found.change.day_change is None
    assert [(line.quantity, line.basis) for line in found.lines] == [(55, "added")]


MONEY = st.decimals("0.05", "99999.95", places=2)


@given(
    kind=st.sampled_from(list(ActionKind)),
    ratio=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    held=st.integers(0, 1000),
    there=st.integers(0, 50),
    prices=st.tuples(MONEY, MONEY, MONEY, MONEY),
    after=st.tuples(st.integers(0, 1000), st.integers(0, 1000)),
    arrived=st.integers(-20, 20),
    effect=st.sampled_from(["turned", "announced", "arrived", "cost"]),
    trades=st.lists(st.tuples(st.sampled_from([OLD, NEW]), st.integers(-50, 50).filter(bool), MONEY), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_the_parts_add_up_whatever_the_action(
    kind: ActionKind, ratio: Any, held: int, there: int, prices: Any, after: Any, arrived: int, effect: str, trades: Any
) -> None:
    """The identity is asserted inside: explained or not, in whole units or not, it must hold to the last digit."""
    action = CorporateAction(
        kind=kind, isin=OLD, new_isin=OLD if kind is ActionKind.BONUS else NEW, effective_on=TUESDAY,
        new_units=d(ratio[0]), old_units=d(ratio[1]),
    )  # fmt: skip
    lines = (a_line(OLD, held, prices[0]), a_line(NEW, there, prices[1]))
    holdings: Any = {OLD: (after[0], prices[2]), NEW: (after[1], prices[3])}
    movements = (
        moved(action, action.new_isin, 1, effect),
        Movement(isin=NEW, units=d(arrived), explanation="transferred"),
    )
    made = tuple(Trade(isin=isin, traded_on=TUESDAY, units=d(units), price=price) for isin, units, price in trades)
    found = change_of(lines, holdings, *movements, trades=made)
    change = found.change
    total = change.market_move + change.net_invested + change.transferred + change.unexplained
    assert change.day_change == total == found.holdings_value - (held * prices[0] + there * prices[1])
