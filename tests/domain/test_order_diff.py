"""Rule 11, as a table over every status and field: what an order's change is called and what it carries."""

from datetime import date, datetime
from decimal import Decimal

import pytest

from portfolio_scheduler.clock import ist
from portfolio_scheduler.domain.changes import Change, Event, FillSeen, OrderChange, OrderSeen, State, fold
from portfolio_scheduler.domain.diff import diff
from portfolio_scheduler.domain.records import (
    FILL_FINAL,
    STATUS_FINAL,
    STATUS_RANK,
    WORKING_RANK,
    Outcome,
    Statement,
    stand_in_id,
)
from tests.builders import MONDAY, TUESDAY, AnOrder, a_fill, a_moment, a_statement, an_order, d

STATUSES = [*STATUS_RANK, "SOMETHING_NEW"]


def told(*orders: AnOrder, state: State | None = None) -> list[OrderChange]:
    """The steps that `diff` tells of these orders."""
    changes = diff(state or State(), a_statement(orders=orders, without=("fills",)), a_moment()).changes
    return [change for change in changes if isinstance(change, OrderChange)]


def known(order: AnOrder) -> State:
    changes = diff(State(), a_statement(orders=(order,), without=("fills",)), a_moment()).changes
    return fold(State(), enumerate(changes, start=1))


def names(changes: list[OrderChange]) -> list[str]:
    return [change.change_type for change in changes]


def first_sight(order: AnOrder) -> list[str]:
    """What is told of an order that nobody had seen before; its first sight is what `changes` calls placed."""
    changes = diff(State(), a_statement(orders=(order,), without=("fills",)), a_moment()).changes
    return ["ORDER_PLACED" if isinstance(change, OrderSeen) else change.change_type for change in changes]  # type: ignore[union-attr]


def steps(before: AnOrder, after: AnOrder) -> list[str]:
    return names(told(after, state=known(before)))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (an_order(buy=10), ["ORDER_PLACED"]),
        (an_order(buy=10).filled(10).being("EXECUTED"), ["ORDER_PLACED", "QUANTITY_ADDED"]),
        (an_order(sell=10).filled(4), ["ORDER_PLACED", "QUANTITY_REMOVED"]),
        (an_order(buy=10).filled(4).being("CANCELLED"), ["ORDER_PLACED", "QUANTITY_ADDED", "ORDER_CANCELLED"]),
        (an_order(buy=10).being("CANCELLED"), ["ORDER_PLACED", "ORDER_CANCELLED"]),
        (an_order(buy=10).being("REJECTED"), ["ORDER_PLACED"]),
    ],
)
def test_first_sight_is_placed_then_filled_then_cancelled(order: AnOrder, expected: list[str]) -> None:
    assert first_sight(order) == expected


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("after", STATUSES)
def test_every_change_of_status_has_its_name(before: str, after: str) -> None:
    found = steps(an_order().being(before), an_order().being(after))
    rank_before, rank_after = (STATUS_RANK.get(status, WORKING_RANK) for status in (before, after))
    if before == after:
        assert found == []
    elif before in STATUS_FINAL or rank_after < rank_before:
        assert found == ["REGRESSED"]
    elif after == "CANCELLED":
        assert found == ["ORDER_CANCELLED"]
    else:
        assert found == ["STATUS_CHANGED"]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("quantity", 12, ["ORDER_MODIFIED"]),
        ("price", 101, ["ORDER_MODIFIED"]),
        ("trigger_price", 99, ["ORDER_MODIFIED"]),
        ("order_type", "MARKET", ["ORDER_MODIFIED"]),
        ("validity", "IOC", ["ORDER_MODIFIED"]),
        ("product", "MIS", ["ORDER_MODIFIED"]),
        ("amo_status", "PLACED", ["STATUS_CHANGED"]),
        ("average_fill_price", 99, ["STATUS_CHANGED"]),
        ("filled_quantity", 3, ["QUANTITY_ADDED"]),
        ("remark", "seen by the exchange", []),
        ("exchange_raw", "2026-04-20T10:15:01", []),
        ("deliverable_quantity", 3, []),
    ],
)
def test_every_field_that_changes_has_its_name(field: str, value: object, expected: list[str]) -> None:
    assert steps(an_order(), an_order().amended(**{field: value})) == expected


def test_amended_filled_and_cancelled_at_once_are_told_in_that_order() -> None:
    after = an_order(buy=10).amended(price=101).filled(4).being("CANCELLED")
    found = told(after, state=known(an_order(buy=10)))
    assert names(found) == ["ORDER_MODIFIED", "QUANTITY_ADDED", "ORDER_CANCELLED"]
    assert [change.quantity_delta for change in found] == [0, 4, 0]
    assert (found[0].price_before, found[0].price_after) == (100, 101)


def test_a_fill_counts_filled_units_signed_by_side() -> None:
    bought = told(an_order(buy=10).filled(7), state=known(an_order(buy=10).filled(4)))
    sold = told(an_order(sell=10).filled(7), state=known(an_order(sell=10).filled(4)))
    assert [(c.change_type, c.quantity_delta) for c in bought + sold] == [
        ("QUANTITY_ADDED", 3),
        ("QUANTITY_REMOVED", -3),
    ]


def test_what_is_said_besides_reaches_the_current_order_with_the_last_step() -> None:
    state = known(an_order(buy=10))
    after = an_order(buy=10).filled(4).amended(remark="partly")
    state = fold(state, enumerate(told(after, state=state), start=10))
    order = state.orders["G1"].order
    assert (order.remaining_quantity, order.remark, order.filled_quantity) == (6, "partly", 4)


def test_a_regression_keeps_the_high_water_mark_and_is_told_once() -> None:
    state = known(an_order(buy=10).filled(10).being("EXECUTED"))
    back = an_order(buy=10).filled(6).being("OPEN")
    first = told(back, state=state)
    state = fold(state, enumerate(first, start=10))
    assert names(first) == ["REGRESSED"]
    assert (state.orders["G1"].order.filled_quantity, state.orders["G1"].order.status) == (10, "EXECUTED")
    assert told(back, state=state) == []
    recovered = told(an_order(buy=10).filled(10).being("EXECUTED"), state=state)
    state = fold(state, enumerate(recovered, start=20))
    assert names(recovered) == ["STATUS_CHANGED"]
    assert names(told(back, state=state)) == ["REGRESSED"], "a second regression is a second event"


@pytest.mark.parametrize(
    "other",
    [an_order("TCS"), an_order(sell=10), an_order(created_at=ist(TUESDAY, 9, 20))],
    ids=["symbol", "side", "time"],
)
def test_an_id_that_comes_back_as_another_order_is_quarantined(other: AnOrder) -> None:
    state = known(an_order(buy=10))
    changes = diff(state, a_statement(orders=(other,), without=("fills",)), a_moment()).changes
    assert [getattr(change, "kind", None) for change in changes] == ["QUARANTINED"]
    state = fold(state, enumerate(changes, start=10))
    assert diff(state, a_statement(orders=(other,), without=("fills",)), a_moment()).changes == ()


def test_an_unknown_side_moves_units_without_claiming_a_direction() -> None:
    found = told(an_order(buy=10, side="SHORT").filled(4))
    assert names(found) == ["STATUS_CHANGED"]
    assert found[0].quantity_delta == 0
    assert (found[0].filled_before, found[0].filled_after) == (0, 4)


def test_an_order_missing_from_todays_list_is_noted_once_and_kept() -> None:
    state = known(an_order(buy=10))
    empty = a_statement()
    changes = diff(state, empty, a_moment()).changes
    assert [change.kind for change in changes if hasattr(change, "kind")] == ["MISSING"]
    state = fold(state, enumerate(changes, start=10))
    assert "G1" in state.orders
    assert diff(state, empty, a_moment()).changes == ()
    back = diff(state, a_statement(orders=(an_order(buy=10),)), a_moment()).changes
    assert [change.kind for change in back if hasattr(change, "kind")] == ["CLEARED"]


def test_yesterdays_orders_are_not_missed_today() -> None:
    assert diff(known(an_order(buy=10)), a_statement(), a_moment(ist(TUESDAY, 16))).changes == ()


def fills_of(changes: tuple[Change, ...]) -> list[tuple[str, Decimal]]:
    return [(c.fill.broker_trade_id, c.fill.quantity) for c in changes if isinstance(c, FillSeen)]


def test_executions_are_kept_once_and_add_up() -> None:
    order = an_order(buy=10).filled(10).being("EXECUTED")
    statement = a_statement(orders=(order,), fills=(a_fill(4), a_fill(6, trade="T2")))
    changes = diff(State(), statement, a_moment()).changes
    assert fills_of(changes) == [("T1", 4), ("T2", 6)]
    state = fold(State(), enumerate(changes, start=1))
    assert state.orders["G1"].fills_quantity == 10
    assert diff(state, statement, a_moment()).changes == ()


def test_executions_that_do_not_add_up_are_a_discrepancy_until_they_do() -> None:
    order = an_order(buy=10).filled(10).being("EXECUTED")
    short = diff(State(), a_statement(orders=(order,), fills=(a_fill(4),)), a_moment()).changes
    assert [c.kind for c in short if hasattr(c, "kind")] == ["DISCREPANCY"]
    state = fold(State(), enumerate(short, start=1))
    whole = diff(state, a_statement(orders=(order,), fills=(a_fill(4), a_fill(6, trade="T2"))), a_moment()).changes
    assert fills_of(whole) == [("T2", 6)]
    assert [c.kind for c in whole if hasattr(c, "kind")] == ["CLEARED"]


def test_the_same_trade_id_with_other_figures_is_quarantined() -> None:
    order = an_order(buy=10).filled(10).being("EXECUTED")
    state = fold(
        State(), enumerate(diff(State(), a_statement(orders=(order,), fills=(a_fill(10),)), a_moment()).changes)
    )
    changes = diff(state, a_statement(orders=(order,), fills=(a_fill(9),)), a_moment()).changes
    assert [c.kind for c in changes if hasattr(c, "kind")] == ["QUARANTINED"]


def test_a_stand_in_covers_only_what_known_executions_leave_open() -> None:
    part = a_statement(orders=(an_order(buy=10).filled(4),), fills=(a_fill(4, 100),))
    state = fold(State(), enumerate(diff(State(), part, a_moment()).changes))
    whole = an_order(buy=10).filled(10, 103).being("EXECUTED")
    stand_in = a_fill(10, 103, trade="order:G1:10", synthetic=True)
    changes = diff(state, a_statement(orders=(whole,), fills=(stand_in,)), a_moment()).changes
    seen = [change.fill for change in changes if isinstance(change, FillSeen)]
    assert [(fill.quantity, fill.price) for fill in seen] == [(6, d(105))]


def test_a_failed_section_changes_nothing_it_owns() -> None:
    order = an_order(buy=10).filled(10).being("EXECUTED")
    statement = a_statement(orders=(order,), fills=(a_fill(10),), without=("orders:CASH", "fills"))
    assert diff(State(), statement, a_moment()).changes == ()


def test_orders_keep_the_day_of_the_list_they_stood_in() -> None:
    after_hours = an_order(trade_on=TUESDAY)
    changes = diff(State(), a_statement(orders=(after_hours,)), a_moment()).changes
    state = fold(State(), enumerate(changes, start=1))
    assert (state.orders["G1"].listed_on, state.orders["G1"].order.trade_on) == (MONDAY, TUESDAY)


def executions(*statements: Statement, at: datetime | None = None) -> list[FillSeen]:
    """The executions that the statements tell of, one after the other."""
    state, seen = State(), list[FillSeen]()
    for number, statement in enumerate(statements):
        changes = diff(state, statement, a_moment(at)).changes
        state = fold(state, enumerate(changes, start=1 + 1000 * number))
        seen += [change for change in changes if isinstance(change, FillSeen)]
    return seen


def test_executions_that_turn_up_after_a_stand_in_are_not_counted_on_top_of_it() -> None:
    part = a_statement(
        orders=(an_order(buy=10).filled(4, 100),), fills=(a_fill(4, 100, trade="synthetic:4", synthetic=True),)
    )
    whole = a_statement(
        orders=(an_order(buy=10).filled(10, 103).being("EXECUTED"),), fills=(a_fill(4), a_fill(6, 105, trade="T2"))
    )
    seen = executions(part, whole, whole)
    assert [(s.fill.quantity, s.fill.price, s.fill.synthetic) for s in seen] == [(4, 100, True), (6, 105, True)]


def test_a_stand_in_that_would_cost_nothing_or_less_is_a_discrepancy_instead() -> None:
    part = a_statement(orders=(an_order(buy=10).filled(4),), fills=(a_fill(4, 100),))
    state = fold(State(), enumerate(diff(State(), part, a_moment()).changes))
    whole = an_order(buy=10).filled(10, 39).being("EXECUTED")
    stand_in = a_fill(10, 39, trade="synthetic:10", synthetic=True)
    changes = diff(state, a_statement(orders=(whole,), fills=(stand_in,)), a_moment()).changes
    assert [c for c in changes if isinstance(c, FillSeen)] == []
    assert [c.kind for c in changes if hasattr(c, "kind")] == ["DISCREPANCY"]


def test_a_stand_in_for_a_sliver_of_a_unit_keeps_its_price_exact() -> None:
    order = an_order(buy=10).filled("0.000000000003", "900000000.000001").being("EXECUTED")
    stand_in = a_fill("0.000000000003", "900000000.000001", trade="synthetic:1", synthetic=True)
    (seen,) = executions(a_statement(orders=(order,), fills=(stand_in,)))
    assert seen.fill.price == d("900000000.000001")


@pytest.mark.parametrize(
    ("traded_at", "trade_on", "expected"),
    [
        (ist(MONDAY, 10), TUESDAY, MONDAY),
        (None, MONDAY, MONDAY),
        (None, None, MONDAY),
        (ist(date(2099, 1, 1), 10), None, MONDAY),  # the broker's clock is broken
        (ist(date(2001, 1, 1), 10), MONDAY, MONDAY),
        (ist(date(2001, 1, 1), 10), date(2099, 1, 1), MONDAY),
    ],
)
def test_an_execution_belongs_to_a_day_on_which_it_can_have_happened(
    traded_at: datetime | None, trade_on: date | None, expected: date
) -> None:
    order = an_order(buy=10, trade_on=trade_on).filled(10).being("EXECUTED")
    (seen,) = executions(a_statement(orders=(order,), fills=(a_fill(10, traded_at=traded_at),)))
    assert seen.trading_on == expected


def test_an_order_placed_for_tomorrow_fills_on_its_own_day() -> None:
    """Placed on Monday evening, in both lists, filled on Tuesday; its trades carry no time."""
    waiting = an_order(buy=10, amo_status="PENDING")
    state = fold(State(), enumerate(diff(State(), a_statement(orders=(waiting,)), a_moment()).changes, start=1))
    filled = an_order(buy=10, trade_on=TUESDAY).filled(10).being("EXECUTED")
    tuesday = a_statement(at=ist(TUESDAY, 16), orders=(filled,), fills=(a_fill(10),))
    changes = diff(state, tuesday, a_moment(ist(TUESDAY, 16))).changes
    assert [change.trading_on for change in changes if isinstance(change, FillSeen)] == [TUESDAY]
    after = fold(state, enumerate(changes, start=100)).orders["G1"]
    assert (after.listed_on, after.order.trade_on) == (MONDAY, TUESDAY)


def test_an_order_whose_symbol_was_missing_at_first_is_still_the_same_order() -> None:
    state = known(an_order("", buy=10))
    assert names(told(an_order("INFY", buy=10).filled(4), state=state)) == ["QUANTITY_ADDED"]


ENDED = sorted(FILL_FINAL)


@pytest.mark.parametrize("status", ENDED)
@pytest.mark.parametrize(
    "late", [{"quantity": 12}, {"price": 101}, {"trigger_price": 99}, {"order_type": "MARKET"}, {"validity": "IOC"}]
)
def test_an_amendment_after_the_end_goes_back_and_changes_nothing_that_is_known(
    status: str, late: dict[str, object]
) -> None:
    ended = an_order(buy=10).filled(10).being(status)
    found = told(ended.amended(**late), state=known(ended))
    assert names(found) == ["REGRESSED"]
    (name,) = late
    assert str(found[0].details.regressed_to).startswith(f"{status}: {name} ")
    after = fold(known(ended), [(9, found[0])])
    assert after.orders["G1"].order == ended.order, "the high-water mark stays"
    assert told(ended.amended(**late), state=after) == [], "it is told once"
    assert names(told(ended.amended(quantity=13, price=7), state=after)) == ["REGRESSED"], "another one is told too"
    assert names(told(ended, state=after)) == ["STATUS_CHANGED"], "the way back up"


def test_an_order_that_fills_more_after_its_end_had_not_ended() -> None:
    ended = an_order(buy=10).filled(10).being("EXECUTED")
    found = told(an_order(buy=15).filled(15).being("EXECUTED"), state=known(ended))
    assert names(found) == ["ORDER_MODIFIED", "QUANTITY_ADDED"]


def test_a_product_that_is_converted_after_the_end_is_recorded() -> None:
    ended = an_order(buy=10).filled(10).being("EXECUTED")
    (change,) = told(ended.amended(product="MIS"), state=known(ended))
    assert (change.change_type, change.details.product) == ("ORDER_MODIFIED", "MIS")
    assert fold(known(ended), [(9, change)]).orders["G1"].order.product == "MIS"


NINE = ist(MONDAY, 9, 30)


@pytest.mark.parametrize(
    ("first", "then", "is_another"),
    [
        (ist(MONDAY, 0), NINE, False),  # a date, then a time
        (NINE, NINE.replace(second=17), False),
        (NINE.replace(second=17), NINE.replace(second=17, microsecond=250_000), False),
        (NINE.replace(second=17), NINE, False),  # less exact later
        (NINE, None, False),
        (NINE.replace(second=17), NINE.replace(second=18), True),
        (NINE, NINE.replace(minute=31), True),
        (ist(MONDAY, 0), ist(TUESDAY, 9), True),
    ],
)
def test_a_creation_time_that_becomes_more_exact_is_the_same(
    first: datetime, then: datetime | None, is_another: bool
) -> None:
    before = an_order(created_at=first)
    found = diff(known(before), a_statement(orders=(before.amended(created_at=then),)), a_moment())
    assert [change.kind for change in found.changes if isinstance(change, Event)] == ["QUARANTINED"] * is_another


def test_an_id_that_comes_back_as_another_order_shows_in_its_section() -> None:
    found = diff(known(an_order()), a_statement(orders=(an_order("TCS"),)), a_moment())
    assert found.sections["orders:CASH"].outcome is Outcome.UNSTABLE
    assert "G1 contradicts" in (found.sections["orders:CASH"].reason or "")
    assert found.sections["orders:FNO"].outcome is Outcome.OK
    again = fold(known(an_order()), enumerate(found.changes, start=5))
    second = diff(again, a_statement(orders=(an_order("TCS"),)), a_moment())
    assert (second.changes, second.sections["orders:CASH"].outcome) == ((), Outcome.UNSTABLE)


def test_a_cancelled_trade_is_kept_as_a_finding_and_counts_as_no_execution() -> None:
    order = an_order(buy=10).filled(6)
    trades = (a_fill(6, trade="T1", status="EXECUTED"), a_fill(4, trade="T2", status="CANCELLED"))
    found = diff(State(), a_statement(orders=(order,), fills=trades), a_moment())
    assert [change.fill.broker_trade_id for change in found.changes if isinstance(change, FillSeen)] == ["T1"]
    (event,) = [change for change in found.changes if isinstance(change, Event)]
    assert (event.kind, event.subject) == ("ANNULLED", "G1/T2")
    assert "4 at 100" in event.details["reason"]
    state = fold(State(), enumerate(found.changes, start=1))
    assert state.orders["G1"].fills_quantity == 6
    assert diff(state, a_statement(orders=(order,), fills=trades), a_moment()).changes == ()


def test_a_trade_that_is_cancelled_later_is_found_and_the_filled_quantity_stays() -> None:
    order = an_order(buy=10).filled(6)
    first = diff(State(), a_statement(orders=(order,), fills=(a_fill(6),)), a_moment())
    state = fold(State(), enumerate(first.changes, start=1))
    cancelled = a_fill(6, status="CANCELLED")
    (event,) = diff(state, a_statement(orders=(order,), fills=(cancelled,)), a_moment()).changes
    assert isinstance(event, Event)
    assert event.kind == "ANNULLED"


def test_only_cancelled_trades_after_a_stand_in_are_no_execution() -> None:
    order = an_order(buy=10).filled(6)
    stand_in = a_fill(6, trade=stand_in_id(d(6)), synthetic=True)
    first = diff(State(), a_statement(orders=(order,), fills=(stand_in,)), a_moment())
    state = fold(State(), enumerate(first.changes, start=1))
    cancelled = a_fill(6, status="CANCELLED")
    found = diff(state, a_statement(orders=(order,), fills=(cancelled,)), a_moment()).changes
    assert [change.kind for change in found if isinstance(change, Event)] == ["ANNULLED"]
    assert len(found) == 1
