"""Restating: any recorded history, corrected, folds to what is understood now; agreeing histories change nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from portfolio_scheduler.domain.changes import Change, OrderDetails, State, fold
from portfolio_scheduler.domain.diff import diff
from portfolio_scheduler.domain.records import Statement
from portfolio_scheduler.domain.restating import Told, restate, touchable
from tests.builders import a_moment
from tests.domain.test_properties import histories
from tests.scale import scaled

Facts = dict[int, Told[int]]


def told(history: list[Statement]) -> list[tuple[int, Change]]:
    """What each statement tells, by its place in the history; the state is cut down to what a sync would load."""
    state, facts, read_before = State(), list[tuple[int, Change]](), None
    for batch, statement in enumerate(history):
        moment = a_moment(statement.observed_at, read_before=read_before)
        ids = {o.broker_order_id for o in statement.orders} | {f.broker_order_id for f in statement.fills}
        changes = diff(touchable(state, ids, moment.trading_on), statement, moment).changes
        state = fold(state, ((0, change) for change in changes))
        facts += [(batch, change) for change in changes]
        read_before = moment.trading_on
    return facts


def corrected(counting: Facts, understood: list[tuple[int, Change]], head: int) -> Facts:
    """The facts that count after a replay, by number."""
    recorded = [one for _, one in sorted(counting.items(), key=lambda pair: (pair[1].batch, pair[0]))]
    after = dict(counting)
    for one in restate(recorded, [Told(batch, change) for batch, change in understood]):
        if one.old is not None:
            del after[one.old.seq or 0]
        if one.new is not None:
            head += 1
            after[head] = Told(one.new.batch, one.new.change, head)
    return after


def without_numbers(state: State) -> object:
    orders = {k: (o.order, o.listed_on, o.fills_quantity, o.fills_value, o.regressed) for k, o in state.orders.items()}
    holdings = {key: (known.holding, known.changed_on) for key, known in state.holdings.items()}
    positions = {key: (known.position, known.trading_on) for key, known in state.positions.items()}
    return orders, state.fills, holdings, positions, {key: known.event for key, known in state.findings.items()}


def folded(facts: Facts) -> object:
    return without_numbers(fold(State(), ((seq, facts[seq].change) for seq in sorted(facts))))


def numbered(facts: list[tuple[int, Change]]) -> Facts:
    return {seq: Told(batch, change, seq) for seq, (batch, change) in enumerate(facts, start=1)}


@given(st.lists(histories(), min_size=2, max_size=4))
@settings(max_examples=scaled(400), deadline=None)
def test_a_corrected_history_folds_by_number_to_what_is_understood_now(versions: list[list[Statement]]) -> None:
    """However often it is corrected, and however little the versions have in common."""
    counting, head = numbered(told(versions[0])), 10_000
    for version in versions[1:]:
        understood = told(version)
        counting = corrected(counting, understood, head)
        head += 10_000
        assert folded(counting) == folded(numbered(understood))
        again = [one for _, one in sorted(counting.items(), key=lambda pair: (pair[1].batch, pair[0]))]
        assert restate(again, [Told(batch, change) for batch, change in understood]) == []


@given(histories())
@settings(max_examples=scaled(200), deadline=None)
def test_a_history_that_is_understood_as_before_is_not_restated(history: list[Statement]) -> None:
    facts = told(history)
    assert restate(numbered(facts).values(), [Told(batch, change) for batch, change in told(history)]) == []


def test_what_a_step_mentions_beside_is_all_known_to_the_database() -> None:
    from portfolio_scheduler.db.past import MENTIONED

    assert {name for name, _ in MENTIONED} == set(OrderDetails.__struct_fields__) - {"regressed_to"}
