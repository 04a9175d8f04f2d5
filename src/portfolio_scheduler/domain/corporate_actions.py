"""Corporate actions: what turns units of one ISIN into units of another, how a reading shows it, and how what was held
before is carried over it. Pure. Nothing is guessed: an action is known because somebody linked the ISINs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from portfolio_scheduler.domain.instruments import is_isin
from portfolio_scheduler.domain.money import WIDE, ZERO, decimal
from portfolio_scheduler.domain.records import Holding
from portfolio_scheduler.errors import InvalidInput

if TYPE_CHECKING:
    from portfolio_scheduler.domain.valuation import Trade

FINE = Decimal("0.000001")
MOST_UNITS = 1_000_000  # on either side of a ratio


class ActionKind(StrEnum):
    SPLIT = "split"  # the ISIN changes, the company does not
    BONUS = "bonus"  # the ISIN stays
    MERGER = "merger"  # the old company is gone
    DEMERGER = "demerger"  # the old company stays, its units too
    RENAME = "rename"  # a new ISIN, unit for unit


class CorporateAction(Struct, frozen=True, kw_only=True):
    """`old_units` held of `isin` became `new_units` of `new_isin`: bonus 1:1 and split in two are both 2 for 1."""

    kind: ActionKind
    isin: str
    new_isin: str
    effective_on: date  # the ex-date: prices are new from this session on
    new_units: Decimal
    old_units: Decimal

    def turned(self, quantity: Decimal) -> tuple[Decimal, Decimal]:
        """How many whole units a quantity becomes, and the fraction of one that is lost (paid out in cash later)."""
        product = WIDE.multiply(quantity, self.new_units)
        whole, rest = WIDE.divmod(product, self.old_units)
        return whole, WIDE.divide(rest, self.old_units)

    def details(self, effect: str) -> dict[str, str]:
        """The action as a change of a holding names it."""
        return {
            "action": self.kind.value,
            "effect": effect,
            "isin": self.isin,
            "new_isin": self.new_isin,
            "ratio": f"{self.new_units:f}:{self.old_units:f}",
            "effective_on": self.effective_on.isoformat(),
        }


def make_action(kind: ActionKind, isin: str, new_isin: str, ratio: str, effective_on: date) -> CorporateAction:
    """An action as somebody tells it; `ratio` is units after : units before. `InvalidInput` for what cannot be."""
    for one in (isin, new_isin):
        if not is_isin(one):
            raise InvalidInput(f"{one[:20]!r} is no ISIN.")
    if (kind is ActionKind.BONUS) != (isin == new_isin):
        raise InvalidInput("A bonus keeps the ISIN: name it twice. Any other action leads from one ISIN to another.")
    new, colon, old = ratio.partition(":")
    try:
        units = decimal(new), decimal(old)
    except InvalidInput:
        units = ZERO, ZERO
    if not colon or min(units) <= 0 or max(units) > MOST_UNITS:
        raise InvalidInput(f"{ratio[:20]!r} is no ratio like 5:1, units after : units before.")
    if kind is ActionKind.BONUS and units[0] <= units[1]:
        raise InvalidInput(
            f"After a bonus there are more units than before: write 2:1 for a bonus of 1:1, not {ratio}."
        )
    return CorporateAction(
        kind=kind,
        isin=isin,
        new_isin=new_isin,
        effective_on=effective_on,
        new_units=units[0],
        old_units=units[1],
    )


# What a change of a holding has to do with its action.
TURNED = "turned"  # its quantity is what the action makes of it
ANNOUNCED = "announced"  # the units are promised, not yet credited
ARRIVED = "arrived"  # units announced before were credited
COST = "cost"  # only its cost changed: a demerger took part of it

Moves = Mapping[str, Mapping[date, Decimal]]  # by ISIN and trading day: units bought (+) and sold (-) for delivery


class Reading(Struct, frozen=True, kw_only=True):
    """What is known and said of the holdings, as far as an action shows in it."""

    before: Mapping[str, Holding]  # by ISIN
    after: Mapping[str, Holding]
    moves: Moves
    read_on: date | None  # trading day of the reading before
    trading_on: date

    def windows(self) -> Iterator[tuple[date, date]]:
        """First day and last day of executions that may have reached the holdings in between (see `line_diff`)."""
        since, until = self.read_on or self.trading_on, self.trading_on
        days = sorted({day for moves in self.moves.values() for day in moves if since <= day <= until})
        inside = [day for day in days if day < until]
        yield (date.max, date.min)
        for some in (inside, [day for day in days if day > since], days):
            if some:
                yield (some[0], some[-1])

    def moved(self, isin: str, window: tuple[date, date]) -> Mapping[date, Decimal]:
        return {day: units for day, units in self.moves.get(isin, {}).items() if window[0] <= day <= window[1]}


def recognised(actions: Iterable[CorporateAction], reading: Reading) -> dict[str, dict[str, str]]:
    """By ISIN the details of the changes that an action explains to the unit."""
    found: dict[str, dict[str, str]] = {}
    for action in sorted(actions, key=lambda action: (action.effective_on, action.isin)):
        held = reading.before.get(action.isin)
        taken = found.get(action.isin, {}).get("effect", COST) != COST or action.new_isin in found
        if held is None or not held.quantity or taken:
            continue
        for isin, effect in _effects(action, held, reading).items():
            found[isin] = action.details(effect)
    return found


def _effects(action: CorporateAction, held: Holding, reading: Reading) -> dict[str, str]:
    if action.kind is ActionKind.BONUS:
        now = reading.after.get(action.isin)
        effect = _bonus(action, held, now, reading) if now is not None else None
        return {action.isin: effect} if effect else {}
    is_kept = action.kind is ActionKind.DEMERGER
    if not is_kept and action.isin in reading.after:
        return {}
    now, known = reading.after.get(action.new_isin), reading.before.get(action.new_isin)
    if now is None or now.quantity - (known.quantity if known else ZERO) not in set(_given(action, held, reading)):
        return {}
    return {action.isin: COST if is_kept else TURNED, action.new_isin: TURNED}


def _given(action: CorporateAction, held: Holding, reading: Reading) -> Iterator[Decimal]:
    """How many units of the new ISIN may have come: by the action, and by executions since the last reading."""
    for window in reading.windows():
        old = reading.moved(action.isin, window)
        held_then = held.quantity + sum((u for day, u in old.items() if day < action.effective_on), ZERO)
        yield action.turned(held_then)[0] + sum(reading.moved(action.new_isin, window).values(), ZERO)


def _bonus(action: CorporateAction, held: Holding, now: Holding, reading: Reading) -> str | None:
    delta = now.quantity - held.quantity
    announced = now.corporate_action_quantity - held.corporate_action_quantity
    if delta and announced == -delta:
        return ARRIVED
    for window in reading.windows():
        moves = reading.moved(action.isin, window)
        held_then = held.quantity + sum((u for day, u in moves.items() if day < action.effective_on), ZERO)
        since = sum((u for day, u in moves.items() if day >= action.effective_on), ZERO)
        more = action.turned(held_then)[0] - held_then
        if now.quantity == held_then + more + since and not announced:
            return TURNED
        if now.quantity == held_then + since and announced == more:
            return ANNOUNCED
    return None


# ── what was held before, carried over what has happened since ──────────────────────────────────────────────────────


class Movement(Struct, frozen=True, kw_only=True):
    """A change of a holding that no execution made: `units` of it, how it was explained, and by which action."""

    isin: str
    units: Decimal
    explanation: str  # corporate_action or transferred
    details: dict[str, str] = {}


class Stood(Struct, frozen=True, kw_only=True):
    """What one ISIN stood at on the day before, in the units of today. An action moves units, never value."""

    isin: str
    trading_symbol: str
    quantity: Decimal
    value: Decimal | None  # None: it had no price
    price: Decimal | None
    lost: Decimal = ZERO  # fractions of a unit that the actions left over


class Carried(Struct, frozen=True, kw_only=True):
    """What was held before as it stands after the actions since."""

    stood: dict[str, Stood]
    trades: Sequence["Trade"]  # executions that are not in it yet
    arrived: dict[str, Decimal]  # by ISIN: units that came (+) or left (-) by transfer, or are still on their way (-)
    is_clear: bool = True  # False: executions before an action were scaled along, so their prices are of other units


def carry(stood: Mapping[str, Stood], trades: Sequence["Trade"], movements: Iterable[Movement]) -> Carried:
    """Apply the actions that the ledger recognised since, each once, and count what came or left otherwise."""
    now = dict(stood)
    arrived: dict[str, Decimal] = {}
    actions: dict[tuple[object, ...], tuple[CorporateAction, bool]] = {}
    for movement in movements:
        effect = movement.details.get("effect")
        if effect in {TURNED, ANNOUNCED}:
            action = _named(movement.details)
            key = (action.kind, action.isin, action.new_isin, action.effective_on)
            actions[key] = (action, effect == ANNOUNCED)
        elif effect != COST:
            arrived[movement.isin] = arrived.get(movement.isin, ZERO) + movement.units
    rest, is_clear = list(trades), True
    for action, is_announced in sorted(actions.values(), key=lambda pair: pair[0].effective_on):
        early = [trade for trade in rest if trade.isin == action.isin and trade.traded_on < action.effective_on]
        for trade in early:
            rest.remove(trade)
            now[trade.isin] = _with(now.get(trade.isin), trade)
            is_clear = False
        before = now.get(action.isin)
        if before is None:
            continue
        stood_before, now = now, _after(action, now, before)
        if is_announced:
            there = stood_before.get(action.new_isin)
            waiting = now[action.new_isin].quantity - (there.quantity if there else ZERO)
            arrived[action.new_isin] = arrived.get(action.new_isin, ZERO) - waiting
    return Carried(stood=now, trades=rest, arrived=arrived, is_clear=is_clear)


def _named(details: Mapping[str, str]) -> CorporateAction:
    new, old = details["ratio"].split(":")
    return CorporateAction(
        kind=ActionKind(details["action"]),
        isin=details["isin"],
        new_isin=details["new_isin"],
        effective_on=date.fromisoformat(details["effective_on"]),
        new_units=Decimal(new),
        old_units=Decimal(old),
    )


def _with(before: Stood | None, trade: "Trade") -> Stood:
    if before is None:
        before = Stood(isin=trade.isin, trading_symbol=trade.isin, quantity=ZERO, value=ZERO, price=None)
    value = None if before.value is None else before.value + trade.units * trade.price
    return replace(before, quantity=before.quantity + trade.units, value=value)


def _after(action: CorporateAction, stood: dict[str, Stood], before: Stood) -> dict[str, Stood]:
    """An action turns units; the value stays what it was, with the new units or, in a demerger, with the old."""
    units, lost = action.turned(before.quantity)
    after = dict(stood)
    if action.kind is ActionKind.BONUS:
        after[action.isin] = _at(before, units, before.value, before.lost + lost)
        return after
    value = before.value
    if action.kind is ActionKind.DEMERGER:
        value = None if before.value is None else ZERO
    else:
        del after[action.isin]
    there = after.get(action.new_isin)
    if there is None:
        there = Stood(isin=action.new_isin, trading_symbol=before.trading_symbol, quantity=ZERO, value=ZERO, price=None)
    total = None if value is None or there.value is None else there.value + value
    after[action.new_isin] = _at(there, there.quantity + units, total, there.lost + lost)
    return after


def _at(stood: Stood, quantity: Decimal, value: Decimal | None, lost: Decimal) -> Stood:
    price = None if value is None or not quantity else WIDE.divide(value, quantity).quantize(FINE)
    return replace(stood, quantity=quantity, value=value, price=price, lost=lost)
