"""The pair of `diff` and `fold`, over random days of a broker that says anything."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from portfolio_scheduler.clock import ist
from portfolio_scheduler.domain.changes import Change, State, fold
from portfolio_scheduler.domain.diff import diff
from portfolio_scheduler.domain.records import STATUS_RANK, Fill, Order, Statement
from tests.builders import ALL_SECTIONS, a_holding, a_moment, a_position, a_statement, an_order, d
from tests.scale import scaled

IDS = st.sampled_from(["G1", "G2", "G3"])
UNITS = st.integers(0, 10)
PRICES = st.decimals("0.05", "5000", places=2)
STATUSES = st.sampled_from([*STATUS_RANK, "SOMETHING_NEW"])


@st.composite
def orders(draw: st.DrawFn) -> tuple[Order, ...]:
    made = []
    for broker_order_id in draw(st.sets(IDS)):
        order = an_order("INFY" if broker_order_id != "G3" else "TCS", buy=10, id=broker_order_id)
        order = order.being(draw(STATUSES)).amended(price=float(draw(PRICES)), remark=draw(st.sampled_from(["", "x"])))
        order = order.amended(average_fill_price=draw(st.sampled_from([None, 0])))
        if filled := draw(UNITS):
            order = order.filled(filled, draw(PRICES))
        made.append(order.order)
    return tuple(made)


@st.composite
def statements(draw: st.DrawFn, day: int) -> Statement:
    listed = draw(orders())
    fills = [
        Fill(broker_order_id=order.broker_order_id, broker_trade_id=f"T{n}", quantity=d(n + 1), price=d(100), isin="A")
        for order in listed
        for n in range(draw(st.integers(0, 3)))
    ]
    holdings = [a_holding(isin, draw(UNITS), t1_quantity=draw(UNITS)) for isin in draw(st.sets(st.sampled_from("ABC")))]
    positions = [
        a_position(symbol, bought=draw(UNITS), sold=draw(UNITS)) for symbol in draw(st.sets(st.sampled_from("XY")))
    ]
    at = ist(date(2026, 4, 20) + timedelta(days=day), draw(st.integers(10, 23)))
    failed = tuple(draw(st.sets(st.sampled_from(ALL_SECTIONS), max_size=2)))
    return replace(
        a_statement(at=at, without=failed),
        orders=listed,
        fills=tuple(fills),
        holdings=tuple(holdings),
        positions=tuple(positions),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Statement]:
    return [draw(statements(day)) for day in sorted(draw(st.lists(st.integers(0, 3), min_size=1, max_size=6)))]


def told(history: Sequence[Statement]) -> tuple[State, list[Change], list[State]]:
    """Sync each statement in turn; the state after each and all changes."""
    state, changes, states = State(), list[Change](), list[State]()
    read_before = None
    for statement in history:
        moment = a_moment(statement.observed_at, read_before=read_before)
        new = diff(state, statement, moment).changes
        state = fold(state, enumerate(new, start=len(changes) + 1))
        changes.extend(new)
        states.append(state)
        read_before = moment.trading_on
    return state, changes, states


@given(histories())
@settings(max_examples=scaled(600), deadline=None)
def test_a_second_identical_sync_adds_nothing(history: list[Statement]) -> None:
    state, _, _ = told(history)
    last = history[-1]
    again = diff(state, last, a_moment(last.observed_at, read_before=a_moment(last.observed_at).trading_on))
    assert again.changes == ()


@given(histories())
@settings(max_examples=scaled(600), deadline=None)
def test_folding_all_facts_gives_the_current_state(history: list[Statement]) -> None:
    state, changes, _ = told(history)
    assert fold(State(), enumerate(changes, start=1)) == state


@given(histories())
@settings(max_examples=scaled(600), deadline=None)
def test_the_filled_quantity_never_falls(history: list[Statement]) -> None:
    _, _, states = told(history)
    high: dict[str, Decimal] = {}
    for state in states:
        for broker_order_id, known in state.orders.items():
            assert known.order.filled_quantity >= high.get(broker_order_id, Decimal(0))
            high[broker_order_id] = known.order.filled_quantity


@given(histories())
@settings(max_examples=scaled(600), deadline=None)
def test_deltas_of_an_order_add_up_to_its_filled_quantity(history: list[Statement]) -> None:
    state, changes, _ = told(history)
    for broker_order_id, known in state.orders.items():
        deltas = [c.quantity_delta for c in changes if getattr(c, "broker_order_id", None) == broker_order_id]
        assert sum(deltas, Decimal(0)) == known.order.filled_quantity


def test_a_fold_that_forgets_a_fill_is_caught() -> None:
    """Negative control: the comparison above can fail."""
    history = [a_statement(orders=(an_order(buy=10).filled(4),))]
    state, changes, _ = told(history)
    broken = [change for change in changes if getattr(change, "quantity_delta", 0) == 0]
    assert fold(State(), enumerate(broken, start=1)) != state
