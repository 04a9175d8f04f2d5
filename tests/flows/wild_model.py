"""What must stand in the ledger after days at random: a small model that knows the rules and no code of the product's.

It is told what the broker said, and whether the batch says that it was applied.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from portfolio_scheduler.clock import ist
from portfolio_scheduler.domain.records import Order
from portfolio_scheduler.market.calendar import Session, make_calendar
from tests.flows.wild_broker import SEGMENTS, WildBroker, isin_of, orders_said

REQUIRED = {"holdings", "fills", "margin", "prices", *(f"{s}:{n}" for s in ("positions", "orders") for n in SEGMENTS)}
RANKS = {"NEW": 0, "ACKED": 1, "EXECUTED": 3, "COMPLETED": 5, "CANCELLED": 5, "REJECTED": 5}  # all others: 2
FOR_GOOD = {"COMPLETED", "CANCELLED", "REJECTED"}
TERMS = ("quantity", "price", "trigger_price", "order_type", "validity")
DAY = timedelta(days=1)


class Model:
    """What must stand in the ledger, by what the broker said in the readings that were applied."""

    def __init__(self, connected_at: datetime) -> None:
        self.sessions = sessions_about(connected_at.date())
        self.connected_at = connected_at
        self.orders: dict[str, Order] = {}  # as far as they had come
        self.highest: dict[str, Decimal] = {}
        self.trades: dict[str, Decimal] = {}
        self.read: set[date] = set()  # sessions whose orders were read while they lasted
        self.ordered: set[date] = set()  # sessions of which an order was first seen
        self.lost: set[date] = set()
        self.done: dict[date, set[str]] = {}  # sections read well after the close
        self.snapshots: set[date] = set()
        self.holdings: dict[str, Decimal] = {}
        self.unsure: set[str] = set()  # lines that a suspicious list showed otherwise
        self.missed: set[str] = set()  # lines that a suspicious list left out
        self.positions: dict[str, dict[str, Decimal]] = {}  # by segment

    def session_of(self, at: datetime) -> Any:
        return max((s for s in self.sessions if s.opens_at <= at), key=lambda s: s.on)

    def hear(self, at: datetime) -> None:
        """A reading began: what went by unread before it is lost."""
        on = self.session_of(at).on
        went_by = {s.on for s in self.sessions if s.on < on and s.closes_at > self.connected_at}
        self.lost |= went_by - self.read - self.ordered

    def standing(self, at: datetime) -> str:
        session = self.session_of(at)
        if ist(session.on + DAY, 0) <= at:
            return "late"
        return "final" if session.closes_at <= at else "provisional"

    def apply(self, broker: WildBroker, outcomes: dict[str, str], at: datetime) -> None:
        on, standing = self.session_of(at).on, self.standing(at)
        good = {name for name, outcome in outcomes.items() if outcome == "ok"}
        listed = [name for name, outcome in outcomes.items() if name.startswith("orders:") and outcome != "failed"]
        if listed and standing != "late":
            self.read.add(on)
        for order in orders_said(broker.served):
            self._believe(order, on)
        for _, fills in broker.served.get("fills", ()):
            for fill in fills:
                self.trades[fill.broker_trade_id] = fill.quantity
        self._hold(broker, outcomes)
        if standing != "provisional":
            done = self.done.setdefault(on, set())
            bad = outcomes.keys() - good
            if not bad and (done | good).issuperset(REQUIRED):
                self.snapshots.add(on)
            done |= good

    def _hold(self, broker: WildBroker, outcomes: dict[str, str]) -> None:
        """A good list is the truth; a suspicious one takes nothing away. What is gone was sold, or missed before."""
        said = dict(broker.served)
        for section, lines in said.get("positions", ()):
            if outcomes[section] == "ok":
                self.positions[section] = {line.trading_symbol: line.quantity for line in lines}
        for section, lines in said.get("holdings", ()):
            listed = {line.isin: line.quantity for line in lines}
            gone = self.holdings.keys() - listed.keys()
            if outcomes[section] == "ok":
                assert gone <= self.missed | self._sold(), "a line is gone that was missing once only"
                self.holdings, self.unsure, self.missed = listed, set(), set()
            else:
                assert outcomes[section] == "suspect"
                self.unsure |= {isin for isin, units in listed.items() if units != self.holdings.get(isin)}
                self.unsure |= gone & (self.missed | self._sold())  # that one was missed for the second time
                self.missed |= gone

    def _sold(self) -> set[str]:
        sells = {name for name, order in self.orders.items() if order.side == "SELL" and order.filled_quantity}
        return {isin_of(self.orders[name].trading_symbol) for name in sells}

    def _believe(self, seen: Order, on: date) -> None:
        known = self.orders.get(seen.broker_order_id)
        self.highest[seen.broker_order_id] = max(
            self.highest.get(seen.broker_order_id, Decimal(0)), seen.filled_quantity
        )
        if known is None:
            self.ordered.add(on)
        if known is None or not goes_back(known, seen):
            self.orders[seen.broker_order_id] = seen


@cache
def sessions_about(on: date) -> Sequence[Session]:
    return make_calendar().sessions(on - 10 * DAY, on + 100 * DAY)


def goes_back(known: Order, seen: Order) -> bool:
    """Rule 11: less filled, a status of a lower rank or after the end, terms amended after the end."""
    if seen.filled_quantity < known.filled_quantity:
        return True
    ended = RANKS.get(known.status, 2) >= 3 and seen.filled_quantity == known.filled_quantity
    if ended and any(getattr(known, name) != getattr(seen, name) for name in TERMS):
        return True
    moved = known.status != seen.status
    return moved and (known.status in FOR_GOOD or RANKS.get(seen.status, 2) < RANKS.get(known.status, 2))


def figures(row: dict[str, Any]) -> dict[str, Any]:
    """What two revisions of a day may differ in."""
    names = ("holdings_value", "invested", "unrealised_pnl", "positions_pnl", "cash", "margin_used")
    names += ("holdings_count", "positions_count", "orders_count", "fills_count")
    names += ("previous_on", "previous_value", "day_change", "market_move", "net_invested", "unexplained")
    return {name: row[name] for name in names} | {"lines": {line["isin"]: line["quantity"] for line in row["lines"]}}


def day_change_adds_up(row: dict[str, Any]) -> bool:
    if row["day_change"] is None:
        return bool(row["day_change_reason"])
    parts = sum(Decimal(str(row[n])) for n in ("market_move", "net_invested", "transferred", "unexplained"))
    change = Decimal(str(row["holdings_value"])) - Decimal(str(row["previous_value"]))
    return Decimal(str(row["day_change"])) == parts == change
