"""What an account knew at a point of its history, in memory: one telling of what its batches read, batch after batch.

A replay tells the history twice, as it is recorded and as it is understood now.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db.batches import Readings
from portfolio_scheduler.db.corporate_actions import WAITS
from portfolio_scheduler.db.snapshots import Context
from portfolio_scheduler.domain.changes import (
    Change,
    FillSeen,
    HoldingChange,
    KnownOrder,
    Moment,
    OrderChange,
    OrderSeen,
    State,
    fold,
)
from portfolio_scheduler.domain.corporate_actions import ARRIVED, TURNED, CorporateAction
from portfolio_scheduler.domain.line_diff import DELIVERY, SHOWN
from portfolio_scheduler.domain.records import SIDES, Fill, Margin, Outcome, SectionResult
from portfolio_scheduler.domain.valuation import Trade

GOOD = frozenset({Outcome.OK, Outcome.NOT_ENTITLED})


class Reading(Struct, frozen=True, kw_only=True):
    """What a batch read."""

    trading_on: date
    standing: str
    status: str
    sections: dict[str, SectionResult]
    flags: tuple[str, ...]
    margin: Margin | None


class DayEnd(Struct, frozen=True, kw_only=True):
    """What a day's snapshot is made of: the book as it was read, the orders and executions as they are known of it."""

    moment: Moment
    state: State
    margin: Margin | None
    orders: tuple[KnownOrder, ...]  # these and the executions: with all that was told of the day afterwards
    executions: tuple[FillSeen, ...]
    movements: tuple[HoldingChange, ...] = ()

    def counted(self, compared: Context) -> Context:
        """The context of the valuation, with the orders and executions of this telling."""
        day = self.moment.trading_on
        since = compared.before.trading_on if compared.before else day - timedelta(days=1)
        return Context(
            before=compared.before,
            latest=compared.latest,
            previous_session_on=compared.previous_session_on,
            orders_count=sum(1 for known in self.orders if compared.previous_session_on < known.day <= day),
            fills_count=sum(1 for seen in self.executions if seen.trading_on == day),
            trades=tuple(
                _trade(seen.fill, seen.trading_on)
                for seen in self.executions
                if since < seen.trading_on <= day and _is_delivery(seen.fill)
            ),
        )

    def says_the_same(self, other: "DayEnd", compared: Context) -> bool:
        """Whether a snapshot of the one is a snapshot of the other, at the same prices."""
        same_book = (self.margin, self.book, self.movements) == (other.margin, other.book, other.movements)
        return same_book and self.counted(compared) == other.counted(compared)

    @property
    def book(self) -> tuple[dict[object, object], dict[object, object]]:
        """The holdings and the day's positions."""
        day = self.moment.trading_on
        holdings: dict[object, object] = {isin: known.holding for isin, known in self.state.holdings.items()}
        positions: dict[object, object] = {
            key: known.position for key, known in self.state.positions.items() if known.trading_on == day
        }
        return holdings, positions


class Telling:
    """One telling of the history, up to the batch told last."""

    def __init__(self, actions: Sequence[CorporateAction] = ()) -> None:
        self.state = State()
        self.movements: list[HoldingChange] = []
        self._actions = actions  # linked by now, in their order
        self._held_since: date | None = None
        self.executions: list[FillSeen] = []
        self._shown: list[HoldingChange] = []
        self._readings: list[Reading] = []

    def tell(self, changes: Sequence[Change], reading: Reading | None) -> None:
        """The next batch. Numbers do not matter here: nothing is saved from this state."""
        self.state = fold(self.state, ((0, change) for change in changes))
        self.executions += [change for change in changes if isinstance(change, FillSeen)]
        held = [change for change in changes if isinstance(change, HoldingChange)]
        self.movements += [change for change in held if change.explanation in {"corporate_action", "transferred"}]
        self._shown += [change for change in held if SHOWN in change.details]
        days = [change.trading_on for change in held]
        self._held_since = min([self._held_since, *days] if self._held_since else days, default=None)
        if reading is not None:
            self._readings.append(reading)

    def moment(self, observed_at: datetime, trading_on: date) -> Moment:
        """The moment of a reading that comes next. See `db.snapshots.deliveries`."""
        since = self.readings(trading_on).holdings_read_on
        return Moment(
            observed_at=observed_at,
            observed_on=ist_date(observed_at),
            trading_on=trading_on,
            holdings_read_on=since,
            deliveries=() if since is None else tuple(self._deliveries(since)),
            actions=() if since is None else tuple(self._due(since, ist_date(observed_at))),
        )

    def _deliveries(self, since: date) -> Iterator[tuple[str, date, Decimal]]:
        for seen in self.executions:
            if seen.trading_on >= since and seen.fill.isin and _is_delivered(seen.fill):
                yield seen.fill.isin, seen.trading_on, _units(seen.fill)
        for change in self._shown:
            if change.trading_on >= since:
                yield change.holding.isin, change.trading_on, -Decimal(change.details[SHOWN])

    def _due(self, since: date, until: date) -> Iterator[CorporateAction]:
        """See `db.corporate_actions.due`."""
        told = ("isin", "new_isin", "action", "effective_on")
        seen = {
            tuple(change.details.get(name) for name in told)
            for change in self.movements
            if change.explanation == "corporate_action" and change.details.get("effect") in {TURNED, ARRIVED}
        }
        for one in self._actions:
            key = (one.isin, one.new_isin, one.kind.value, one.effective_on.isoformat())
            began = self._held_since is not None and one.effective_on > self._held_since
            is_near = since - WAITS <= one.effective_on <= until
            if is_near and began and one.isin in self.state.holdings and key not in seen:
                yield one

    def readings(self, trading_on: date) -> Readings:
        """What has been read before, for the day and at all. See `db.batches.readings`."""
        read_on = [r.trading_on for r in self._readings if _outcome(r, "holdings") is Outcome.OK]
        that_day = [reading for reading in self._readings if reading.trading_on == trading_on]
        done = {
            name
            for reading in that_day
            if reading.standing != "provisional"
            for name, result in reading.sections.items()
            if result.outcome in GOOD
        }
        asked = {name for reading in that_day if reading.standing != "provisional" for name in reading.sections}
        margins = [reading.margin for reading in that_day if reading.margin is not None]
        return Readings(
            holdings_read_on=max(read_on, default=None),
            done=sorted(done),
            asked=sorted(asked),
            margin=margins[-1] if margins else None,
        )

    def foldable(self, changes: Iterable[Change]) -> list[Change]:
        """Those of the changes whose order is known, in this telling or among them."""
        known = set(self.state.orders)
        kept: list[Change] = []
        for change in changes:
            if isinstance(change, OrderSeen):
                known.add(change.order.broker_order_id)
            of = (
                change.broker_order_id
                if isinstance(change, OrderChange)
                else change.fill.broker_order_id
                if isinstance(change, FillSeen)
                else None
            )
            if of is None or of in known:
                kept.append(change)
        return kept

    def read_days(self) -> set[date]:
        """Trading days whose orders were read while they lasted, or of which an order is known."""
        read = {
            reading.trading_on
            for reading in self._readings
            if reading.standing != "late"
            and any(
                name.startswith("orders:") and result.outcome in {Outcome.OK, Outcome.UNSTABLE}
                for name, result in reading.sections.items()
            )
        }
        return read | {known.listed_on for known in self.state.orders.values()}


def _outcome(reading: Reading, section: str) -> Outcome | None:
    result = reading.sections.get(section)
    return result.outcome if result else None


def _is_delivery(fill: Fill) -> bool:
    return fill.segment == "CASH" and fill.product == "CNC" and fill.side in SIDES


def _is_delivered(fill: Fill) -> bool:
    return fill.segment == "CASH" and fill.product in DELIVERY and fill.side in SIDES


def _units(fill: Fill) -> Decimal:
    return fill.quantity if fill.side == "BUY" else -fill.quantity


def _trade(fill: Fill, on: date) -> Trade:
    isin = fill.isin or f"{fill.exchange}:{fill.trading_symbol}"
    symbol = fill.trading_symbol
    return Trade(isin=isin, traded_on=on, units=_units(fill), price=fill.price, trading_symbol=symbol)
