"""Holdings and positions: what each change is explained by, and what waits for a second reading."""

from datetime import date
from typing import Any

import pytest

from portfolio_scheduler.clock import ist
from portfolio_scheduler.domain.changes import Change, Event, FillSeen, HoldingChange, PositionChange, State, fold
from portfolio_scheduler.domain.diff import diff
from portfolio_scheduler.domain.records import Holding, Outcome, Position, Statement
from tests.builders import (
    MONDAY,
    TUESDAY,
    a_fill,
    a_holding,
    a_moment,
    a_position,
    a_statement,
    an_order,
    later,
)

INFY = "INE009A01021"
MON, TUE = ist(MONDAY, 16), ist(TUESDAY, 16)


def after(*statements: tuple[Statement, date | None]) -> State:
    state = State()
    for n, (statement, read_before) in enumerate(statements):
        changes = diff(state, statement, a_moment(statement.observed_at, read_before=read_before)).changes
        state = fold(state, enumerate(changes, start=1000 * n + 1))
    return state


def holding_changes(changes: tuple[Change, ...]) -> list[HoldingChange]:
    return [change for change in changes if isinstance(change, HoldingChange)]


def explained(before: Holding, now: Holding, **rest: Any) -> str:
    state = after((a_statement(at=MON, holdings=(before,)), None))
    found = diff(state, a_statement(at=TUE, holdings=(now,), **rest), a_moment(TUE, read_before=MONDAY)).changes
    (change,) = holding_changes(found)
    return change.explanation


def a_purchase(units: int, *, side: str = "BUY", product: str = "CNC") -> dict[str, Any]:
    order = an_order(id="G9", product=product, **({"buy": units} if side == "BUY" else {"sell": units}))
    filled = order.filled(units).being("EXECUTED")
    return {"orders": (filled,), "fills": (a_fill(units, order="G9", isin=INFY),)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"t1_quantity": 0, "demat_free_quantity": 10}, "settled"),
        ({"pledge_quantity": 4}, "pledged"),
        ({"broker_locked_quantity": 4}, "locked"),
        ({"corporate_action_quantity": 10}, "corporate_action"),
        ({"transfer_quantity": 3}, "transferred"),
        ({"trading_symbol": "INFOSYS"}, "renamed"),
        ({"quantity": 12}, "unexplained"),
    ],
)
def test_what_moved_explains_the_change(change: dict[str, Any], expected: str) -> None:
    quantity = change.pop("quantity", 10)
    assert (
        explained(a_holding(INFY, 10, t1_quantity=5), a_holding(INFY, quantity, **({"t1_quantity": 5} | change)))
        == expected
    )


def test_another_average_price_alone_is_repriced() -> None:
    assert explained(a_holding(INFY, 10, 100), a_holding(INFY, 10, 99)) == "repriced"


def test_executions_explain_a_changed_quantity() -> None:
    assert explained(a_holding(INFY, 10), a_holding(INFY, 14), **a_purchase(4)) == "traded"
    assert explained(a_holding(INFY, 10), a_holding(INFY, 6), **a_purchase(4, side="SELL")) == "traded"


def test_intraday_executions_explain_nothing() -> None:
    assert explained(a_holding(INFY, 10), a_holding(INFY, 14), **a_purchase(4, product="MIS")) == "unexplained"


def test_executions_of_the_day_before_arrive_today() -> None:
    bought = a_statement(at=MON, holdings=(a_holding(INFY, 10),), **a_purchase(4))
    state = after((bought, None))
    moment = a_moment(TUE, read_before=MONDAY).__class__(
        observed_at=TUE,
        observed_on=TUESDAY,
        trading_on=TUESDAY,
        holdings_read_on=MONDAY,
        deliveries=((INFY, MONDAY, a_holding(INFY, 4).quantity),),
    )
    found = diff(state, a_statement(at=TUE, holdings=(a_holding(INFY, 14),)), moment).changes
    assert [change.explanation for change in holding_changes(found)] == ["traded"]


def test_the_first_reading_opens_the_account() -> None:
    found = diff(State(), a_statement(holdings=(a_holding(INFY, 10),)), a_moment()).changes
    assert [change.explanation for change in holding_changes(found)] == ["first_seen"]


def test_a_holding_sold_out_is_gone_at_once() -> None:
    state = after((a_statement(at=MON, holdings=(a_holding(INFY, 10), a_holding("INE467B01029", 1))), None))
    statement = a_statement(at=TUE, holdings=(a_holding("INE467B01029", 1),), **a_purchase(10, side="SELL"))
    found = diff(state, statement, a_moment(TUE, read_before=MONDAY))
    assert [(c.explanation, c.gone) for c in holding_changes(found.changes)] == [("traded", True)]
    assert found.sections["holdings"].outcome is Outcome.OK


@pytest.mark.parametrize("left", [(), (a_holding("INE467B01029", 1),)], ids=["whole list", "one line"])
def test_a_holding_that_vanishes_without_reason_waits_for_a_second_reading(left: tuple[Holding, ...]) -> None:
    everything = (a_holding(INFY, 10), a_holding("INE467B01029", 1), a_holding("INE002A01018", 1))
    kept = (*left, a_holding("INE002A01018", 1)) if left else ()
    state = after((a_statement(at=MON, holdings=everything), None))
    moment = a_moment(TUE, read_before=MONDAY)
    statement = a_statement(at=TUE, holdings=kept)
    first = diff(state, statement, moment)
    assert first.sections["holdings"].outcome is Outcome.SUSPECT
    assert holding_changes(first.changes) == []
    state = fold(state, enumerate(first.changes, start=5000))
    too_soon = diff(state, statement, later(moment, 29))
    assert (too_soon.changes, too_soon.sections["holdings"].outcome) == ((), Outcome.SUSPECT)
    second = diff(state, statement, later(moment, 30))
    assert {change.explanation for change in holding_changes(second.changes)} == {"unexplained"}
    assert second.sections["holdings"].outcome is Outcome.OK
    state = fold(state, enumerate(second.changes, start=6000))
    assert set(state.holdings) == {holding.isin for holding in kept}
    assert state.findings == {}


def test_a_suspicion_has_the_same_reason_in_whatever_order_the_lines_are_known() -> None:
    """The database gives them in another order than a replay finds them."""
    lines = tuple(a_holding(isin, 1) for isin in (INFY, "INE467B01029", "INE002A01018"))
    first, second = (after((a_statement(at=MON, holdings=known), None)) for known in (lines, lines[::-1]))
    statement, moment = a_statement(at=TUE, holdings=lines[:1]), a_moment(TUE, read_before=MONDAY)
    found, same = diff(first, statement, moment), diff(second, statement, moment)
    assert found.sections["holdings"].outcome is Outcome.SUSPECT
    assert (found.changes, found.sections) == (same.changes, same.sections)


def test_an_unstable_list_concludes_nothing_from_absence() -> None:
    state = after((a_statement(at=MON, holdings=(a_holding(INFY, 10),)), None))
    shaky = a_statement(at=TUE, without=("holdings",))
    unstable = shaky.sections["holdings"].__class__(outcome=Outcome.UNSTABLE)
    statement = shaky.__class__(observed_at=TUE, owner=shaky.owner, sections=shaky.sections | {"holdings": unstable})
    assert diff(state, statement, a_moment(TUE, read_before=MONDAY)).changes == ()


def position_changes(changes: tuple[Change, ...]) -> list[tuple[str, bool]]:
    return [(change.explanation, change.gone) for change in changes if isinstance(change, PositionChange)]


def test_yesterdays_positions_end_with_their_day() -> None:
    state = after((a_statement(at=MON, positions=(a_position(bought=5),)), None))
    found = diff(state, a_statement(at=TUE), a_moment(TUE)).changes
    assert position_changes(found) == [("day_ended", True)]


def test_a_position_that_vanishes_within_its_day_waits_for_a_second_reading() -> None:
    state = after((a_statement(at=MON, positions=(a_position(bought=5),)), None))
    moment = a_moment(ist(MONDAY, 17))
    first = diff(state, a_statement(at=ist(MONDAY, 17)), moment)
    assert position_changes(first.changes) == []
    assert first.sections["positions:CASH"].outcome is Outcome.SUSPECT
    state = fold(state, enumerate(first.changes, start=100))
    second = diff(state, a_statement(at=ist(MONDAY, 18)), a_moment(ist(MONDAY, 18)))
    assert position_changes(second.changes) == [("unexplained", True)]


def test_a_flat_position_may_vanish_within_its_day() -> None:
    flat = a_position(bought=5, sold=5)
    state = after((a_statement(at=MON, positions=(flat,)), None))
    found = diff(state, a_statement(at=ist(MONDAY, 17)), a_moment(ist(MONDAY, 17))).changes
    assert position_changes(found) == [("unexplained", True)]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (a_position(bought=5), a_position(bought=7), "traded"),
        (a_position(bought=5), a_position(bought=5, realised_pnl=a_holding().quantity), "revalued"),
        (a_position(bought=5), a_position(bought=5, quantity=a_holding(quantity=9).quantity), "unexplained"),
    ],
)
def test_what_changed_in_a_position_within_its_day(before: Position, now: Position, expected: str) -> None:
    state = after((a_statement(at=MON, positions=(before,)), None))
    found = diff(state, a_statement(at=ist(MONDAY, 17), positions=(now,)), a_moment(ist(MONDAY, 17))).changes
    assert position_changes(found) == [(expected, False)]


def test_a_contract_carried_into_the_next_day_is_that_days_line() -> None:
    carried = a_position("NIFTY26APRFUT", segment="FNO", product="NRML", quantity=a_holding(quantity=50).quantity)
    state = after((a_statement(at=MON, positions=(carried,)), None))
    found = diff(state, a_statement(at=TUE, positions=(carried,)), a_moment(TUE)).changes
    assert position_changes(found) == [("carried", False)]
    state = fold(state, enumerate(found, start=100))
    assert diff(state, a_statement(at=TUE, positions=(carried,)), a_moment(TUE)).changes == ()


def test_findings_are_events_with_their_section() -> None:
    state = after((a_statement(at=MON, holdings=(a_holding(INFY, 10),)), None))
    found = diff(state, a_statement(at=TUE), a_moment(TUE, read_before=MONDAY)).changes
    assert [(e.kind, e.section, e.subject) for e in found if isinstance(e, Event)] == [("SUSPECT", "holdings", INFY)]


def test_a_glitch_that_emptied_the_list_confirms_no_single_line() -> None:
    """All gone once, one gone the next time: that one was missed once, the list was a glitch."""
    everything = (a_holding(INFY, 10), a_holding("INE467B01029", 1), a_holding("INE002A01018", 1))
    state = after((a_statement(at=MON, holdings=everything), None))
    moment = a_moment(TUE, read_before=MONDAY)
    state = fold(state, enumerate(diff(state, a_statement(at=TUE), moment).changes, start=5000))
    second = diff(state, a_statement(at=TUE, holdings=everything[1:]), later(moment, 60))
    assert holding_changes(second.changes) == []
    assert second.sections["holdings"].outcome is Outcome.SUSPECT
    state = fold(state, enumerate(second.changes, start=6000))
    third = diff(state, a_statement(at=TUE, holdings=everything[1:]), later(moment, 120))
    assert [change.holding.isin for change in holding_changes(third.changes)] == [INFY]
    assert fold(state, enumerate(third.changes, start=7000)).findings == {}


def test_a_contract_carried_over_night_was_not_traded() -> None:
    """Read at 02:00: what was bought during the day has become carried forward."""
    bought = a_position("NIFTY26APRFUT", segment="FNO", product="NRML", bought=50)
    units = bought.quantity
    carried = a_position(
        "NIFTY26APRFUT", segment="FNO", product="NRML", quantity=units, carry_forward_credit_quantity=units
    )
    state = after((a_statement(at=MON, positions=(bought,)), None))
    night = ist(TUESDAY, 2)
    found = diff(state, a_statement(at=night, positions=(carried,)), a_moment(night, on=MONDAY)).changes
    assert position_changes(found) == [("carried", False)]


def test_executions_without_an_isin_explain_the_holding_of_their_symbol() -> None:
    """The name of a share bought for the first time stands only in the positions."""
    order = an_order("INFY", buy=4, id="G9").filled(4).being("EXECUTED")
    bought = a_statement(
        at=MON,
        orders=(order,),
        fills=(a_fill(4, order="G9"),),
        positions=(a_position("INFY", bought=4, isin=INFY),),
    )
    (seen,) = [change for change in diff(State(), bought, a_moment(MON)).changes if isinstance(change, FillSeen)]
    assert seen.fill.isin == INFY
