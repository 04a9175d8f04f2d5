"""What a replay changes: the recorded history of each line beside its history as it is understood now. Pure.

A line is what a fold keeps apart: one order with its executions, one holding, one position, one finding. A line whose
histories differ is restated from the first difference on: the recorded facts from there are voided, the new ones take
their place. So the facts of a line that count are in their order by number alone, whatever was corrected when.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Generic, TypeVar

from msgspec import Struct

from portfolio_scheduler.domain.changes import (
    Change,
    Event,
    FillSeen,
    HoldingChange,
    OrderChange,
    OrderSeen,
    PositionChange,
    State,
)

Line = tuple[object, ...]
Batch = TypeVar("Batch")


class Told(Struct, Generic[Batch], frozen=True):
    """A change that a batch tells; `seq` is its number when it is recorded already."""

    batch: Batch
    change: Change
    seq: int | None = None


class Restatement(Struct, Generic[Batch], frozen=True):
    """What becomes of one fact: voided, added, or replaced by another that takes its place."""

    old: Told[Batch] | None
    new: Told[Batch] | None


def line_of(change: Change) -> Line:
    """The line a change belongs to."""
    match change:
        case OrderSeen():
            return ("order", change.order.broker_order_id)
        case OrderChange():
            return ("order", change.broker_order_id)
        case FillSeen():
            return ("order", change.fill.broker_order_id)
        case HoldingChange():
            return ("holding", change.holding.isin)
        case PositionChange():
            return ("position", *change.position.key)
        case Event():
            return ("finding", *change.finding)


def day_of(change: Change) -> date:
    """The trading day a change is told of."""
    return change.listed_on if isinstance(change, OrderSeen) else change.trading_on


def restate(recorded: Iterable[Told[Batch]], understood: Iterable[Told[Batch]]) -> list[Restatement[Batch]]:
    """How to get from the recorded changes to those understood now, both in their order. Nothing when they agree."""
    before, after = _by_line(recorded), _by_line(understood)
    found: list[Restatement[Batch]] = []
    for line in before | after:
        old, new = before.get(line, []), after.get(line, [])
        agreed = _agreed(old, new)
        found.extend(_paired(old[agreed:], new[agreed:]))
    return found


def _by_line(told: Iterable[Told[Batch]]) -> dict[Line, list[Told[Batch]]]:
    lines: dict[Line, list[Told[Batch]]] = {}
    for one in told:
        lines.setdefault(line_of(one.change), []).append(one)
    return lines


def _agreed(old: Sequence[Told[Batch]], new: Sequence[Told[Batch]]) -> int:
    """How many facts from the start are the same."""
    for n, (a, b) in enumerate(zip(old, new, strict=False)):
        if a.batch != b.batch or a.change != b.change:
            return n
    return min(len(old), len(new))


def _paired(old: Sequence[Told[Batch]], new: Sequence[Told[Batch]]) -> list[Restatement[Batch]]:
    """New facts with the voided ones they replace, in the order of the new; then what is voided for good."""
    waiting = {id(one): one for one in old}
    pairs = []
    for one in new:
        same = next((o for o in waiting.values() if _replaces(o, one)), None)
        if same is not None:
            del waiting[id(same)]
        pairs.append(Restatement(same, one))
    return pairs + [Restatement(one, None) for one in waiting.values()]


def _replaces(old: Told[Batch], new: Told[Batch]) -> bool:
    """Orders and executions keep their identity wherever they are first seen; other facts their batch."""
    match old.change, new.change:
        case OrderSeen(), OrderSeen():
            return True
        case FillSeen(fill=a), FillSeen(fill=b):
            return a.broker_trade_id == b.broker_trade_id
        case OrderChange(change_type=a), OrderChange(change_type=b):
            return a == b and old.batch == new.batch
        case _:
            return type(old.change) is type(new.change) and old.batch == new.batch


def touchable(state: State, order_ids: Iterable[str], trading_on: date) -> State:
    """The part of the state that a statement of that day with these orders can touch: what a sync loads."""
    ids = set(order_ids)
    orders = _kept(state.orders, lambda key, known: key in ids or known.listed_on == trading_on)
    return State(
        orders=orders,
        fills=_kept(state.fills, lambda key, _: key[0] in orders),
        holdings=state.holdings,
        positions=state.positions,
        findings=_kept(
            state.findings,
            lambda key, known: (
                key[0] == "SUSPECT" or known.event.trading_on >= trading_on or (key[0] == "MISSING" and key[2] in ids)
            ),
        ),
    )


Key = TypeVar("Key")
Known = TypeVar("Known")


def _kept(rows: dict[Key, Known], keep: Callable[[Key, Known], bool]) -> dict[Key, Known]:
    return {key: known for key, known in rows.items() if keep(key, known)}
