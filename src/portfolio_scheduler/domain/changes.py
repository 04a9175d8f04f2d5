"""What changed: `diff` compares what we know with what the broker says, `fold` applies the changes.

Two properties guard everything: a second look at the same statement finds nothing, and folding all changes of an
account gives its current state. Both functions are pure.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from portfolio_scheduler.domain.corporate_actions import CorporateAction
from portfolio_scheduler.domain.money import WIDE, ZERO
from portfolio_scheduler.domain.records import Fill, Holding, Order, Outcome, Position, SectionResult

PLACED = "ORDER_PLACED"
ADDED = "QUANTITY_ADDED"
REMOVED = "QUANTITY_REMOVED"
MODIFIED = "ORDER_MODIFIED"
CANCELLED = "ORDER_CANCELLED"
STATUS = "STATUS_CHANGED"
REGRESSED = "REGRESSED"

NO_FINDING = frozenset({"CONFIG", "RECOVERED"})  # what the owner did, and what was learned in time
WHOLE_LIST = "*"  # the subject of a finding about a list that came back empty


class OrderSeen(Struct, frozen=True, kw_only=True):
    """An order as first seen."""

    order: Order
    listed_on: date  # the trading day of the list it stood in


class OrderDetails(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What else the broker said differently along with a change; only what differs is set."""

    amo_status: str | UnsetType | None = UNSET
    order_type: str | UnsetType = UNSET
    validity: str | UnsetType | None = UNSET
    product: str | UnsetType = UNSET
    remaining_quantity: Decimal | UnsetType | None = UNSET
    deliverable_quantity: Decimal | UnsetType | None = UNSET
    remark: str | UnsetType | None = UNSET
    exchange_at: datetime | UnsetType | None = UNSET
    exchange_raw: str | UnsetType | None = UNSET
    order_reference_id: str | UnsetType | None = UNSET
    trade_on: date | UnsetType | None = UNSET
    trade_raw: str | UnsetType | None = UNSET
    regressed_to: str | UnsetType = UNSET  # REGRESSED: the status the broker now claims, and terms amended too late


NO_DETAILS = OrderDetails()


class OrderChange(Struct, frozen=True, kw_only=True):
    """One step in the trail of an order. `quantity_delta` is filled units: + for a buy, - for a sale."""

    broker_order_id: str
    change_type: str
    trading_on: date
    segment: str
    exchange: str
    trading_symbol: str
    side: str
    quantity_delta: Decimal
    status_before: str | None
    status_after: str
    quantity_before: Decimal | None
    quantity_after: Decimal
    filled_before: Decimal | None
    filled_after: Decimal
    price_before: Decimal | None
    price_after: Decimal | None
    trigger_price_before: Decimal | None
    trigger_price_after: Decimal | None
    average_fill_price_after: Decimal | None
    details: OrderDetails


class FillSeen(Struct, frozen=True, kw_only=True):
    """An execution, complete with what its order says of it."""

    fill: Fill
    trading_on: date


class HoldingChange(Struct, frozen=True, kw_only=True):
    """A holding after a change. Quantity 0 with an empty past of its own means it is gone."""

    holding: Holding
    trading_on: date
    quantity_before: Decimal
    average_price_before: Decimal | None
    explanation: str
    details: dict[str, str]

    @property
    def gone(self) -> bool:
        return "gone" in self.details


class PositionChange(Struct, frozen=True, kw_only=True):
    """A line of the day's positions after a change."""

    position: Position
    trading_on: date
    quantity_before: Decimal
    gone: bool
    explanation: str
    details: dict[str, str]


class Event(Struct, frozen=True, kw_only=True):
    """Something missing, odd or set right. An event stays open as a finding until CLEARED."""

    kind: str
    section: str
    subject: str
    trading_on: date
    observed_at: datetime
    details: dict[str, str]

    @property
    def finding(self) -> tuple[str, str, str]:
        """Which finding it opens, or, for CLEARED, which one it closes."""
        return (self.details.get("cleared", self.kind), self.section, self.subject)


Change = OrderSeen | OrderChange | FillSeen | HoldingChange | PositionChange | Event


NEAR = timedelta(days=31)  # a date further from its list is no date of this order


class KnownOrder(Struct, frozen=True, kw_only=True):
    """An order at its high-water mark, with what was observed beside it."""

    order: Order
    listed_on: date
    first_seq: int
    last_seq: int
    fills_quantity: Decimal = ZERO
    fills_value: Decimal = ZERO
    regressed: tuple[str, Decimal] | None = None  # status and filled quantity of the last regression

    @property
    def day(self) -> date:
        """The day it counts for: the broker's trade date, if it lies near the list in which the order was first seen.

        A list read at 08:00 still belongs to the day before and may hold the new day's orders; one read in the evening
        holds those placed for tomorrow.
        """
        said = self.order.trade_on
        return said if said is not None and abs(said - self.listed_on) <= NEAR else self.listed_on


class KnownHolding(Struct, frozen=True, kw_only=True):
    holding: Holding
    changed_on: date
    last_seq: int


class KnownPosition(Struct, frozen=True, kw_only=True):
    position: Position
    trading_on: date
    last_seq: int


class Finding(Struct, frozen=True, kw_only=True):
    event: Event
    last_seq: int


PositionKey = tuple[str, str, str, str]


class State(Struct, frozen=True, kw_only=True):
    """What we know of an account: the fold of its facts, or the part of it that a statement can touch."""

    orders: dict[str, KnownOrder] = {}
    fills: dict[tuple[str, str], Fill] = {}  # by order and trade id
    holdings: dict[str, KnownHolding] = {}  # by ISIN
    positions: dict[PositionKey, KnownPosition] = {}
    findings: dict[tuple[str, str, str], Finding] = {}


def fold(state: State, facts: Iterable[tuple[int, Change]]) -> State:
    """Apply numbered changes in their order. Does not touch `state`."""
    orders, fills = dict(state.orders), dict(state.fills)
    holdings, positions, findings = dict(state.holdings), dict(state.positions), dict(state.findings)
    for seq, change in facts:
        match change:
            case OrderSeen():
                orders[change.order.broker_order_id] = KnownOrder(
                    order=change.order, listed_on=change.listed_on, first_seq=seq, last_seq=seq
                )
            case OrderChange():
                orders[change.broker_order_id] = _changed(orders[change.broker_order_id], change, seq)
            case FillSeen():
                fills[change.fill.broker_order_id, change.fill.broker_trade_id] = change.fill
                known = orders[change.fill.broker_order_id]
                orders[change.fill.broker_order_id] = replace(
                    known,
                    last_seq=seq,
                    fills_quantity=known.fills_quantity + change.fill.quantity,
                    fills_value=WIDE.fma(change.fill.quantity, change.fill.price, known.fills_value),
                )
            case HoldingChange():
                if change.gone:
                    holdings.pop(change.holding.isin, None)
                else:
                    holdings[change.holding.isin] = KnownHolding(
                        holding=change.holding, changed_on=change.trading_on, last_seq=seq
                    )
            case PositionChange():
                if change.gone:
                    positions.pop(change.position.key, None)
                else:
                    positions[change.position.key] = KnownPosition(
                        position=change.position, trading_on=change.trading_on, last_seq=seq
                    )
            case Event():
                _note(findings, change, seq)
    return State(orders=orders, fills=fills, holdings=holdings, positions=positions, findings=findings)


def _note(findings: dict[tuple[str, str, str], "Finding"], event: Event, seq: int) -> None:
    """An event opens a finding or closes one; what the owner did is none."""
    if event.kind == "CLEARED":
        findings.pop(event.finding, None)
    elif event.kind not in NO_FINDING:
        findings[event.finding] = Finding(event=event, last_seq=seq)


def _changed(known: KnownOrder, change: OrderChange, seq: int) -> KnownOrder:
    if change.change_type == REGRESSED:
        claimed = change.details.regressed_to
        assert claimed is not UNSET
        return replace(known, last_seq=seq, regressed=(claimed, change.filled_after))
    extra = {}
    if change.details != NO_DETAILS:
        extra = {name: value for name, value in asdict(change.details).items() if value is not UNSET}
    order = replace(
        known.order,
        status=change.status_after,
        quantity=change.quantity_after,
        filled_quantity=change.filled_after,
        price=change.price_after,
        trigger_price=change.trigger_price_after,
        average_fill_price=change.average_fill_price_after,
        **extra,
    )
    return replace(known, order=order, last_seq=seq, regressed=None)


class Moment(Struct, frozen=True, kw_only=True):
    """When a statement was observed, and against what it is explained."""

    observed_at: datetime
    observed_on: date  # the calendar date in India
    trading_on: date  # the trading day it belongs to (rule 10)
    holdings_read_on: date | None = None  # trading day of the last good reading of holdings; None before the first
    deliveries: tuple[tuple[str, date, Decimal], ...] = ()  # known delivery fills since then: ISIN, day, signed units
    actions: tuple[CorporateAction, ...] = ()  # linked, effective by now, and not yet seen in these holdings

    @property
    def rolled(self) -> bool:
        """Whether the broker's day may have ended since the trading day: its day lists may be a new day's."""
        return self.observed_on > self.trading_on


class Difference(Struct, frozen=True, kw_only=True):
    """What `diff` found: the changes in the order they are to be written, and the outcome of each section after it."""

    changes: tuple[Change, ...]
    sections: dict[str, SectionResult]


def suspect(reason: str) -> SectionResult:
    return SectionResult(outcome=Outcome.SUSPECT, reason=reason)


def as_details(**values: Any) -> dict[str, str]:
    """Details of an event: text only, None left out."""
    return {name: str(value) for name, value in values.items() if value is not None}
