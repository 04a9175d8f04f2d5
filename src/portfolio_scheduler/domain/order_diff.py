"""The part of `diff` about orders and fills: rule 11 of docs/architecture.md, one step at a time."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal, localcontext
from typing import Any

from msgspec.structs import replace

from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.domain.changes import (
    ADDED,
    CANCELLED,
    MODIFIED,
    NO_DETAILS,
    REGRESSED,
    REMOVED,
    STATUS,
    Event,
    FillSeen,
    KnownOrder,
    Moment,
    OrderChange,
    OrderDetails,
    OrderSeen,
    State,
    as_details,
)
from portfolio_scheduler.domain.money import WIDE, ZERO, plain
from portfolio_scheduler.domain.records import (
    FILL_FINAL,
    SIDES,
    STATUS_FINAL,
    STATUS_RANK,
    WORKING_RANK,
    Fill,
    Order,
    Statement,
    may_be_same_time,
    stand_in_id,
)

# The fields that each kind of step moves.
STEP_FIELDS: dict[str, tuple[str, ...]] = {
    MODIFIED: ("quantity", "price", "trigger_price", "order_type", "validity", "product"),
    ADDED: ("filled_quantity", "average_fill_price"),
    CANCELLED: ("status", "amo_status", "average_fill_price"),
    STATUS: ("status", "amo_status", "average_fill_price"),
}
# What nobody can amend once an order has ended. The product can: brokers convert what was bought.
TERMS = ("quantity", "price", "trigger_price", "order_type", "validity")
BESIDE = (
    "amo_status",
    "remaining_quantity",
    "deliverable_quantity",
    "remark",
    "exchange_at",
    "exchange_raw",
    "order_reference_id",
    "trade_on",
    "trade_raw",
)

OrderFact = OrderSeen | OrderChange | Event


def order_section(order: Order) -> str:
    return f"orders:{order.segment}"


def diff_orders(state: State, statement: Statement, moment: Moment) -> Iterator[OrderFact]:
    """Changes of all orders of the statement whose section may be applied."""
    for order in statement.orders:
        if statement.applies(order_section(order)):
            yield from _diff_order(state, order, moment)
    yield from _missing(state, statement, moment)


def diff_earlier(state: State, statement: Statement, moment: Moment) -> Iterator[OrderFact]:
    """What became of orders of earlier days that were asked for by their id, told of their own day.

    RECOVERED says that it was learned so: of orders that nobody had seen nothing is known. An order that the broker
    does not know any more is a GAP of its own.
    """
    for order in statement.earlier:
        known = state.orders.get(order.broker_order_id)
        if known is None:
            continue
        on = replace(moment, trading_on=earlier_day(known, order, moment))
        if conflict := _conflict(known.order, order):
            yield _event("QUARANTINED", order_section(known.order), order.broker_order_id, on, conflict)
            continue
        yield from steps(known, order, on.trading_on)
        said = as_details(
            status_before=known.order.status,
            status=order.status,
            filled_before=plain(known.order.filled_quantity),
            filled=plain(order.filled_quantity),
        )
        yield _event("RECOVERED", order_section(known.order), order.broker_order_id, on, said)
    for broker_order_id in statement.unanswered:
        known = state.orders.get(broker_order_id)
        if known is not None:
            on = replace(moment, trading_on=known.listed_on)
            said = as_details(
                reason="the order was open when it was last seen, and the broker does not know it any more",
                status=known.order.status,
                filled=plain(known.order.filled_quantity),
            )
            yield _event("GAP", order_section(known.order), broker_order_id, on, said)


def earlier_day(known: KnownOrder, order: Order, moment: Moment) -> date:
    """The day the broker gives an order of an earlier day, if it can be true; else that of the list it stood in."""
    said = order.trade_on
    return said if said is not None and known.listed_on <= said < moment.trading_on else known.listed_on


def _diff_order(state: State, order: Order, moment: Moment) -> Iterator[OrderFact]:
    known = state.orders.get(order.broker_order_id)
    if known is None:
        yield OrderSeen(order=order, listed_on=moment.trading_on)
        yield from first_steps(order, moment.trading_on)
    elif known.order == order and known.regressed is None:
        return  # by far the most frequent case
    elif conflict := _conflict(known.order, order):
        yield _event("QUARANTINED", order_section(order), order.broker_order_id, moment, conflict)
    else:
        yield from steps(known, order, moment.trading_on)


def _conflict(known: Order, seen: Order) -> dict[str, str]:
    """Rule 3: an id that comes back with another symbol, side or time of creation is another order. Never merged."""
    pairs = {
        "trading_symbol": (known.trading_symbol, seen.trading_symbol),
        "side": (known.side, seen.side),
    }
    found = {
        name: f"{before} before, {after} now"
        for name, (before, after) in pairs.items()
        if before and after and before != after
    }
    if not may_be_same_time(known.created_at, seen.created_at):
        found["created_at"] = f"{known.created_at} before, {seen.created_at} now"
    return found


def _is_another(state: State, order: Order) -> bool:
    """Whether the id stands for another order than the one we know under it."""
    known = state.orders.get(order.broker_order_id)
    return known is not None and bool(_conflict(known.order, order))


def first_steps(order: Order, trading_on: date) -> Iterator[OrderChange]:
    """What an order had been through when it was first seen: its fill if any, its cancellation if it came to that.

    That it was placed is what `OrderSeen` itself says: one fact, not two.
    """
    if order.filled_quantity:
        unfilled = replace(order, filled_quantity=ZERO, average_fill_price=None)
        yield _fill_change(unfilled, order, trading_on)
    if order.status == "CANCELLED":
        yield replace(_change(CANCELLED, order, order, trading_on), status_before=None)


def steps(known: KnownOrder, seen: Order, trading_on: date) -> Iterator[OrderChange]:
    """The steps from the order as known to the order as seen now; none when nothing that matters differs."""
    before = known.order
    if _goes_back(before, seen):
        if known.regressed != _claim(before, seen):
            yield _regression(before, seen, trading_on)
        return
    kinds = _steps_taken(before, seen)
    if not kinds and known.regressed is not None:
        kinds = [STATUS]  # it came back to what it was
    now = before
    for i, kind in enumerate(kinds):
        # What the broker says besides rides along with the last step and is no event of its own.
        names = STEP_FIELDS[kind] + ((*BESIDE, "average_fill_price") if i == len(kinds) - 1 else ())
        after = replace(now, **{name: getattr(seen, name) for name in names})
        yield _fill_change(now, after, trading_on) if kind == ADDED else _change(kind, now, after, trading_on)
        now = after


def _steps_taken(before: Order, seen: Order) -> list[str]:
    """Amended, then filled, then cancelled or otherwise moved on: the order in which rule 11 tells them."""
    kinds = []
    if _differ(before, seen, STEP_FIELDS[MODIFIED]):
        kinds.append(MODIFIED)
    if seen.filled_quantity != before.filled_quantity:
        kinds.append(ADDED)
    if seen.status != before.status:
        kinds.append(CANCELLED if seen.status == "CANCELLED" else STATUS)
    elif not kinds and _differ(before, seen, STEP_FIELDS[STATUS]):
        kinds.append(STATUS)
    return kinds


def _differ(before: Order, after: Order, names: tuple[str, ...]) -> bool:
    return any(getattr(before, name) != getattr(after, name) for name in names)


def _goes_back(known: Order, seen: Order) -> bool:
    if seen.filled_quantity < known.filled_quantity or _is_amended_after_the_end(known, seen):
        return True
    if known.status == seen.status:
        return False
    rank = STATUS_RANK.get(seen.status, WORKING_RANK)
    return known.status in STATUS_FINAL or rank < STATUS_RANK.get(known.status, WORKING_RANK)


def _is_amended_after_the_end(known: Order, seen: Order) -> bool:
    """An ended order has nothing left to amend. More units filled prove that it had not ended: then it was amended."""
    ended = known.status in FILL_FINAL and seen.filled_quantity == known.filled_quantity
    return ended and _differ(known, seen, TERMS)


def _claim(known: Order, seen: Order) -> tuple[str, Decimal]:
    """What a broker that goes back now says: status, with the terms it changed after the end, and filled quantity."""
    terms = [f"{name} {getattr(seen, name)}" for name in TERMS if getattr(known, name) != getattr(seen, name)]
    if not terms or known.status not in FILL_FINAL:
        return seen.status, seen.filled_quantity
    return f"{seen.status}: {', '.join(terms)}", seen.filled_quantity


def _regression(known: Order, seen: Order, trading_on: date) -> OrderChange:
    change = _change(REGRESSED, known, known, trading_on)
    claim, filled = _claim(known, seen)
    return replace(change, filled_after=filled, details=OrderDetails(regressed_to=claim))


def _fill_change(before: Order, after: Order, trading_on: date) -> OrderChange:
    delta = after.filled_quantity - before.filled_quantity
    if after.side not in SIDES:  # an unknown word is not mapped to its neighbour: units moved, we cannot say which way
        return _change(STATUS, before, after, trading_on)
    buys = after.side == "BUY"
    change = _change(ADDED if buys else REMOVED, before, after, trading_on)
    return replace(change, quantity_delta=delta if buys else -delta)


def _change(change_type: str, before: Order, after: Order, trading_on: date) -> OrderChange:
    return OrderChange(
        broker_order_id=after.broker_order_id,
        change_type=change_type,
        trading_on=trading_on,
        segment=after.segment,
        exchange=after.exchange,
        trading_symbol=after.trading_symbol,
        side=after.side,
        quantity_delta=ZERO,
        status_before=before.status,
        status_after=after.status,
        quantity_before=before.quantity,
        quantity_after=after.quantity,
        filled_before=before.filled_quantity,
        filled_after=after.filled_quantity,
        price_before=before.price,
        price_after=after.price,
        trigger_price_before=before.trigger_price,
        trigger_price_after=after.trigger_price,
        average_fill_price_after=after.average_fill_price,
        details=_details(before, after),
    )


def _details(before: Order, after: Order) -> OrderDetails:
    if before is after:
        return NO_DETAILS
    names = ("order_type", "validity", "product", *BESIDE)
    return OrderDetails(
        **{name: getattr(after, name) for name in names if getattr(before, name) != getattr(after, name)}
    )


def _event(kind: str, section: str, subject: str, moment: Moment, details: Mapping[str, Any]) -> Event:
    return Event(
        kind=kind,
        section=section,
        subject=subject,
        trading_on=moment.trading_on,
        observed_at=moment.observed_at,
        details=as_details(**details),
    )


def _missing(state: State, statement: Statement, moment: Moment) -> Iterator[Event]:
    """Absence is not deletion: an order of today's list that is no longer in it keeps its state and is noted once."""
    if moment.rolled:
        return
    listed = {order.broker_order_id for order in statement.orders}
    for broker_order_id, known in state.orders.items():
        section = order_section(known.order)
        if known.listed_on == moment.trading_on and statement.ok(section) and broker_order_id not in listed:
            yield _event("MISSING", section, broker_order_id, moment, {"status": known.order.status})


def diff_fills(
    state: State,
    statement: Statement,
    moment: Moment,
    orders: Mapping[str, KnownOrder],
    isins: Mapping[str, str],
) -> Iterator[FillSeen | Event]:
    """New executions. `orders` are the orders as they stand after `diff_orders`; `isins` go by symbol."""
    if not statement.applies("fills"):
        return
    by_order = _by_order(statement.fills)
    listed = (order for order in statement.orders if order.broker_order_id in by_order)
    others = {order.broker_order_id for order in listed if _is_another(state, order)}
    days = {
        order.broker_order_id: replace(moment, trading_on=earlier_day(known, order, moment))
        for order in statement.earlier
        if (known := orders.get(order.broker_order_id))
    }
    stood_in = {broker_order_id for (broker_order_id, _), fill in state.fills.items() if fill.synthetic}
    for broker_order_id, fills in by_order.items():
        if broker_order_id in orders and broker_order_id not in others:
            when = days.get(broker_order_id, moment)
            yield from _annulled(fills, when)
            executed = [fill for fill in fills if not fill.is_cancelled]
            told = [_as_one(executed)] if broker_order_id in stood_in and executed else executed
            yield from _diff_fills_of(state, orders[broker_order_id], told, when, isins)


def _annulled(fills: Iterable[Fill], moment: Moment) -> Iterator[Event]:
    """A trade that the exchange took back is no execution. It is kept as a finding, with all that identifies it.

    One that counted as an execution before stays on record beside its finding, as the order's filled quantity does.
    """
    for fill in fills:
        if fill.is_cancelled:
            said = {"reason": f"the broker says that this trade of {fill.quantity} at {fill.price} is cancelled"}
            yield _event("ANNULLED", "fills", f"{fill.broker_order_id}/{fill.broker_trade_id}", moment, said)


def _by_order(fills: Iterable[Fill]) -> dict[str, list[Fill]]:
    grouped: dict[str, list[Fill]] = {}
    for fill in fills:
        grouped.setdefault(fill.broker_order_id, []).append(fill)
    return grouped


def _as_one(fills: list[Fill]) -> Fill:
    """Executions of an order that has had a stand-in, as another one: which of them it stood for nobody can tell."""
    with localcontext(WIDE):
        quantity = sum((fill.quantity for fill in fills), ZERO)
        price = sum((fill.quantity * fill.price for fill in fills), ZERO) / quantity
    return replace(
        fills[-1],
        broker_trade_id=stand_in_id(quantity),
        exchange_trade_id=None,
        quantity=quantity,
        price=price,
        synthetic=True,
        flags=("trades:after a stand-in",),
    )


def _diff_fills_of(
    state: State, known: KnownOrder, fills: list[Fill], moment: Moment, isins: Mapping[str, str]
) -> Iterator[FillSeen | Event]:
    seen: dict[str, Fill] = {}
    for fill in fills:
        before = state.fills.get((fill.broker_order_id, fill.broker_trade_id)) or seen.get(fill.broker_trade_id)
        if before is None:
            new = _beyond(known, fill) if fill.synthetic else fill
            if new is not None:
                seen[fill.broker_trade_id] = new
                yield FillSeen(fill=_complete(new, known.order, isins), trading_on=_fill_day(new, known, moment))
        elif (before.quantity, before.price) != (fill.quantity, fill.price) and not fill.synthetic:
            said = {
                "trade": fill.broker_trade_id,
                "before": f"{before.quantity} at {before.price}",
                "now": f"{fill.quantity} at {fill.price}",
            }
            yield _event("QUARANTINED", "fills", f"{fill.broker_order_id}/{fill.broker_trade_id}", moment, said)


def _beyond(known: KnownOrder, fill: Fill) -> Fill | None:
    """A stand-in for unknown executions covers only what known executions leave open, if it cost anything at all."""
    with localcontext(WIDE):
        quantity = fill.quantity - known.fills_quantity
        value = fill.quantity * fill.price - known.fills_value
        if quantity <= 0 or value <= 0:
            return None
        price = (value / quantity).quantize(Decimal("0.000001")).normalize() + 0
    return replace(fill, quantity=quantity, price=price)


def _complete(fill: Fill, order: Order, isins: Mapping[str, str]) -> Fill:
    segment, symbol = fill.segment or order.segment, fill.trading_symbol or order.trading_symbol
    return replace(
        fill,
        segment=segment,
        exchange=fill.exchange or order.exchange,
        trading_symbol=symbol,
        isin=fill.isin or (isins.get(symbol) if segment == "CASH" else None),
        product=fill.product or order.product,
        side=fill.side or order.side,
    )


def _fill_day(fill: Fill, known: KnownOrder, moment: Moment) -> date:
    """The day the broker gives, if it can be true: not before the order was made nor after it was read."""
    made_at = known.order.created_at
    earliest = ist_date(made_at) if made_at else known.listed_on
    said = (ist_date(fill.traded_at) if fill.traded_at else None, known.order.trade_on)
    return next((day for day in said if day and earliest <= day <= moment.observed_on), moment.trading_on)


def discrepancies(statement: Statement, moment: Moment, orders: Mapping[str, KnownOrder]) -> Iterator[Event]:
    """Executions must add up to the filled quantity; where they do not, say so. `orders` as after `diff_fills`."""
    if not statement.ok("fills"):
        return
    for broker_order_id, known in orders.items():
        if known.order.filled_quantity != known.fills_quantity:
            said = {"filled_quantity": known.order.filled_quantity, "fills_quantity": known.fills_quantity}
            yield _event("DISCREPANCY", "fills", broker_order_id, moment, said)
