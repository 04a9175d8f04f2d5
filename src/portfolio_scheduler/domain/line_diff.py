"""The part of `diff` about holdings and positions: what changed in a line, and what explains it."""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal

from msgspec.structs import replace

from portfolio_scheduler.domain.changes import (
    WHOLE_LIST,
    Event,
    FillSeen,
    HoldingChange,
    KnownPosition,
    Moment,
    PositionChange,
    State,
)
from portfolio_scheduler.domain.corporate_actions import Reading, recognised
from portfolio_scheduler.domain.money import ZERO, plain
from portfolio_scheduler.domain.records import Holding, Position, Statement

SECOND_READING_AFTER = timedelta(seconds=30)
DELIVERY = frozenset({"CNC", "MTF"})  # products that end in the demat account

# What moved when the quantity did not, in the order of what matters most to the owner.
MOVED = (
    ("pledged", ("pledge_quantity", "repledge_quantity")),
    ("corporate_action", ("corporate_action_quantity",)),
    ("transferred", ("transfer_quantity",)),
    ("locked", ("demat_locked_quantity", "broker_locked_quantity")),
    ("settled", ("t1_quantity", "demat_free_quantity")),
    ("repriced", ("average_price",)),
    ("renamed", ("trading_symbol", "exchanges")),
)


Moves = dict[str, dict[date, Decimal]]  # by ISIN and trading day: units bought (+) and sold (-) for delivery


def delivery_moves(moment: Moment, fills: Iterable[FillSeen]) -> Moves:
    """What was delivered in and out, by what was known before and by these executions."""
    moves: Moves = {}
    rows = list(moment.deliveries)
    for seen in fills:
        fill = seen.fill
        if fill.isin and fill.segment == "CASH" and fill.product in DELIVERY and fill.side in {"BUY", "SELL"}:
            rows.append((fill.isin, seen.trading_on, fill.quantity if fill.side == "BUY" else -fill.quantity))
    for isin, day, units in rows:
        days = moves.setdefault(isin, {})
        days[day] = days.get(day, ZERO) + units
    return moves


SHOWN = "shown_today"  # detail of a change explained by executions of its own day: how many units of that day


def explained_by_fills(moves: dict[date, Decimal], moment: Moment, delta: Decimal) -> dict[str, str] | None:
    """Whether executions since the last reading account for `delta`; None if not, else the details to keep.

    Brokers differ in when a day's executions reach the holdings: the next day (as Groww does), the same day, or at
    once within the day, so each of these sums may explain it. Executions explain once: what showed on its own day is
    noted, and the next readings of that day and the one after find it taken away from `moves`.
    """
    since, until = moment.holdings_read_on, moment.trading_on
    if since is None:
        return None
    sums = (
        sum((units for day, units in moves.items() if since <= day < until), ZERO),
        sum((units for day, units in moves.items() if since < day <= until), ZERO),
        sum((units for day, units in moves.items() if since <= day <= until), ZERO),
    )
    if delta not in sums:
        return None
    today = moves.get(until, ZERO)
    return {SHOWN: plain(today)} if today and delta != sums[0] else {}


def diff_holdings(state: State, statement: Statement, moment: Moment, moves: Moves) -> Iterator[HoldingChange | Event]:
    """Changes of the holdings; a line that vanished without executions that explain it waits for a second reading."""
    if not statement.applies("holdings"):
        return
    actions = _actions(state, statement, moment, moves)
    changes = []
    for holding in statement.holdings:
        known = state.holdings.get(holding.isin)
        if known is None or known.holding != holding:
            before, action = known.holding if known else None, actions.get(holding.isin)
            changes.append(_holding_change(before, holding, moment, moves.get(holding.isin, {}), action))
    gone: list[HoldingChange | Event] = []
    if statement.ok("holdings"):
        gone = list(_vanished_holdings(state, {h.isin for h in statement.holdings}, moment, moves, actions))
    # A list with a hole may have the missing units elsewhere: what came without a reason waits with what went.
    waits = any(isinstance(change, Event) for change in gone)
    yield from (change for change in changes if not (waits and _came_unexplained(change)))
    yield from gone


def _came_unexplained(change: HoldingChange) -> bool:
    return change.explanation == "unexplained" and change.holding.quantity != change.quantity_before


def _actions(state: State, statement: Statement, moment: Moment, moves: Moves) -> dict[str, dict[str, str]]:
    """What the known corporate actions explain in this reading, by ISIN."""
    if not moment.actions:
        return {}
    reading = Reading(
        before={isin: known.holding for isin, known in state.holdings.items()},
        after={holding.isin: holding for holding in statement.holdings},
        moves=moves,
        read_on=moment.holdings_read_on,
        trading_on=moment.trading_on,
    )
    return recognised(moment.actions, reading)


def _holding_change(
    before: Holding | None,
    after: Holding,
    moment: Moment,
    moves: dict[date, Decimal],
    action: dict[str, str] | None,
) -> HoldingChange:
    quantity_before = before.quantity if before else ZERO
    delta = after.quantity - quantity_before
    if moment.holdings_read_on is None:
        explanation = "first_seen"
    elif action is not None:
        explanation = "corporate_action"
    elif delta:
        explanation = _explain_quantity(before, after, delta, moment, moves)
    else:
        explanation = _explain_rest(before, after)
    details = action if action is not None and explanation == "corporate_action" else {}
    if explanation == "traded":
        details = explained_by_fills(moves, moment, delta) or {}
    return HoldingChange(
        holding=after,
        trading_on=moment.trading_on,
        quantity_before=quantity_before,
        average_price_before=before.average_price if before else None,
        explanation=explanation,
        details=details,
    )


def _explain_quantity(
    before: Holding | None, after: Holding, delta: Decimal, moment: Moment, moves: dict[date, Decimal]
) -> str:
    if explained_by_fills(moves, moment, delta) is not None:
        return "traded"
    announced = before.corporate_action_quantity if before else ZERO
    if announced and delta == announced - after.corporate_action_quantity:
        return "corporate_action"
    in_flight = before.transfer_quantity if before else ZERO
    if in_flight and abs(delta) == in_flight - after.transfer_quantity:
        return "transferred"
    return "unexplained"


def _explain_rest(before: Holding | None, after: Holding) -> str:
    if before is None:  # a line without units: some are on their way
        return next((name for name, fields in MOVED[1:3] if any(getattr(after, f) for f in fields)), "unexplained")
    for explanation, names in MOVED:
        if any(getattr(before, name) != getattr(after, name) for name in names):
            return explanation
    return "unexplained"


def _vanished_holdings(
    state: State, listed: set[str], moment: Moment, moves: Moves, actions: dict[str, dict[str, str]]
) -> Iterator[HoldingChange | Event]:
    # In an order of their own: the last one gives the section its reason, and a replay must come to the same.
    missing = [known.holding for isin, known in sorted(state.holdings.items()) if isin not in listed]
    for holding in missing:
        if holding.isin in actions:
            yield _closing(holding, moment, "corporate_action", actions[holding.isin])
        elif holding.quantity and holding.transfer_quantity == holding.quantity:
            yield _closing(holding, moment, "transferred")
    gone = [h for h in missing if h.isin not in actions and not (h.quantity and h.transfer_quantity == h.quantity)]
    unexplained = [
        holding
        for holding in gone
        if explained_by_fills(moves.get(holding.isin, {}), moment, -holding.quantity) is None
    ]
    glitch = () if listed else (WHOLE_LIST,)  # a list that was empty and is not any more was wrong the first time
    confirmed = [h for h in unexplained if _seen_before(state, "holdings", (h.isin, *glitch), moment)]
    for holding in gone:
        if holding not in unexplained:
            shown = explained_by_fills(moves.get(holding.isin, {}), moment, -holding.quantity)
            yield _closing(holding, moment, "traded" if holding.quantity else "settled", shown)
        elif holding in confirmed:
            yield _closing(holding, moment, "unexplained")
    waiting = [holding for holding in unexplained if holding not in confirmed]
    if not listed and len(waiting) > 1:
        yield _suspect("holdings", WHOLE_LIST, moment, {"said": "no holdings at all", "known": str(len(waiting))})
    else:
        for holding in waiting:
            yield _suspect("holdings", holding.isin, moment, {"said": "gone", "quantity": str(holding.quantity)})


def _closing(holding: Holding, moment: Moment, explanation: str, action: dict[str, str] | None = None) -> HoldingChange:
    return HoldingChange(
        holding=Holding(isin=holding.isin, trading_symbol=holding.trading_symbol, quantity=ZERO),
        trading_on=moment.trading_on,
        quantity_before=holding.quantity,
        average_price_before=holding.average_price,
        explanation=explanation,
        details={"gone": "true"} | (action or {}),
    )


def _seen_before(state: State, section: str, subjects: tuple[str, ...], moment: Moment) -> bool:
    """Whether an earlier reading, at least 30 seconds ago, already missed one of them."""
    for name in subjects:
        finding = state.findings.get(("SUSPECT", section, name))
        if finding and moment.observed_at - finding.event.observed_at >= SECOND_READING_AFTER:
            return True
    return False


def _suspect(section: str, subject: str, moment: Moment, details: dict[str, str]) -> Event:
    return Event(
        kind="SUSPECT",
        section=section,
        subject=subject,
        trading_on=moment.trading_on,
        observed_at=moment.observed_at,
        details=details,
    )


def position_section(position: Position) -> str:
    return f"positions:{position.segment}"


def diff_positions(state: State, statement: Statement, moment: Moment) -> Iterator[PositionChange | Event]:
    """Changes of the day's positions. They are per-day statements: yesterday's lines vanish overnight by nature."""
    listed = {position.key for position in statement.positions}
    for position in statement.positions:
        known = state.positions.get(position.key)
        if statement.applies(position_section(position)) and (
            known is None or known.position != position or known.trading_on != moment.trading_on
        ):
            yield _position_change(known, position, moment)
    for key, known in sorted(state.positions.items()):
        if key not in listed and statement.ok(position_section(known.position)):
            yield from _vanished_position(state, known, moment)


def _position_change(known: KnownPosition | None, after: Position, moment: Moment) -> PositionChange:
    return PositionChange(
        position=after,
        trading_on=moment.trading_on,
        quantity_before=known.position.quantity if known else ZERO,
        gone=False,
        explanation=_explain_position(known, after, moment),
        details={},
    )


def _explain_position(known: KnownPosition | None, after: Position, moment: Moment) -> str:
    traded = bool(after.credit_quantity or after.debit_quantity)
    if known is None:
        return "traded" if traded else "first_seen"
    before = known.position
    if known.trading_on != moment.trading_on or (moment.rolled and not traded):
        return "traded" if traded else "carried"
    if (before.credit_quantity, before.debit_quantity) != (after.credit_quantity, after.debit_quantity):
        return "traded"
    return "unexplained" if before.quantity != after.quantity else "revalued"


def _vanished_position(state: State, known: KnownPosition, moment: Moment) -> Iterator[PositionChange | Event]:
    position = known.position
    ended = moment.observed_on > known.trading_on
    section, name = position_section(position), _name(position)
    if not ended and position.quantity and not _seen_before(state, section, (name,), moment):
        yield _suspect(section, name, moment, {"quantity": str(position.quantity)})
        return
    yield PositionChange(
        position=replace(position, quantity=ZERO),
        trading_on=moment.trading_on,
        quantity_before=position.quantity,
        gone=True,
        explanation="day_ended" if ended else "unexplained",
        details={},
    )


def _name(position: Position) -> str:
    return "/".join(position.key)
