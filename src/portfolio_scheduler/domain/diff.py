"""`diff`: the changes that turn what we knew into what the broker says. Pure; a second look finds nothing."""

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from portfolio_scheduler.domain.changes import (
    Change,
    Difference,
    Event,
    FillSeen,
    KnownOrder,
    Moment,
    State,
    fold,
    suspect,
)
from portfolio_scheduler.domain.line_diff import delivery_moves, diff_holdings, diff_positions
from portfolio_scheduler.domain.order_diff import diff_earlier, diff_fills, diff_orders, discrepancies
from portfolio_scheduler.domain.records import Outcome, SectionResult, Statement

# Findings that end by themselves when a good reading no longer shows them. The others stay on record.
ENDING = frozenset({"MISSING", "SUSPECT", "DISCREPANCY"})
UNSTABLE = SectionResult(outcome=Outcome.UNSTABLE, error="BrokerAnswerUnknown")  # a record of it could not be used


def diff(state: State, statement: Statement, moment: Moment) -> Difference:
    """What is new in the statement. A section that failed changes nothing it owns."""
    orders = [*diff_orders(state, statement, moment), *diff_earlier(state, statement, moment)]
    after_orders = fold(state, enumerate(orders, start=1)).orders
    fills = list(diff_fills(state, statement, moment, after_orders, _isins(state, statement)))
    after_fills = fold(State(orders=after_orders), enumerate(fills, start=1)).orders
    moves = delivery_moves(moment, (f for f in fills if isinstance(f, FillSeen)))
    holdings = list(diff_holdings(state, statement, moment, moves))
    positions = list(diff_positions(state, statement, moment))
    found: list[Change] = [*orders, *fills, *holdings, *positions, *discrepancies(statement, moment, after_fills)]
    found.extend(_quarantined(statement, moment))
    changes = [change for change in found if not (isinstance(change, Event) and _is_known(state, change))]
    changes.extend(_cleared(state, statement, moment, found, after_fills))
    return Difference(changes=tuple(changes), sections=_sections(statement, found))


def _isins(state: State, statement: Statement) -> dict[str, str]:
    """The ISIN of each share that is or was among the holdings or positions, by its symbol."""
    holdings = (*(known.holding for known in state.holdings.values()), *statement.holdings)
    positions = (*(known.position for known in state.positions.values()), *statement.positions)
    isins = {p.trading_symbol: p.isin for p in positions if p.segment == "CASH" and p.isin}
    return isins | {holding.trading_symbol: holding.isin for holding in holdings}


def _is_known(state: State, event: Event) -> bool:
    finding = state.findings.get(event.finding)
    return finding is not None and finding.event.details == event.details


def _quarantined(statement: Statement, moment: Moment) -> Iterator[Event]:
    """One finding for each record that could not be used; what goes by the same name shares one."""
    reasons: dict[tuple[str, str], set[str]] = {}
    for record in statement.quarantined:
        reasons.setdefault((record["section"], record["record"]), set()).add(record["reason"])
    for (section, subject), said in reasons.items():
        yield Event(
            kind="QUARANTINED",
            section=section,
            subject=subject,
            trading_on=moment.trading_on,
            observed_at=moment.observed_at,
            details={"reason": "; ".join(sorted(said))},
        )


def _cleared(
    state: State, statement: Statement, moment: Moment, found: Iterable[Change], orders: Mapping[str, KnownOrder]
) -> Iterator[Event]:
    """Findings of sections read well just now that this reading no longer shows."""
    still = {change.finding for change in found if isinstance(change, Event)}
    for key, finding in state.findings.items():
        kind, section, subject = key
        if (
            kind in ENDING
            and key not in still
            and statement.ok(section)
            and _concerns(statement, finding.event, moment, orders)
        ):
            recovered = any(order.broker_order_id == subject for order in statement.earlier)
            yield Event(
                kind="CLEARED",
                section=section,
                subject=subject,
                trading_on=finding.event.trading_on if recovered else moment.trading_on,
                observed_at=moment.observed_at,
                details={"cleared": kind},
            )


def _concerns(statement: Statement, event: Event, moment: Moment, orders: Mapping[str, KnownOrder]) -> bool:
    """Whether this statement can tell that the finding is over: a list of today knows nothing of yesterday's orders."""
    if event.kind == "SUSPECT":
        return True
    if event.kind == "DISCREPANCY":  # executions are compared with what is known of the order, listed now or not
        return event.subject in orders
    listed = any(order.broker_order_id == event.subject for order in (*statement.orders, *statement.earlier))
    return listed and event.trading_on <= moment.trading_on


def _sections(statement: Statement, found: Iterable[Change]) -> dict[str, SectionResult]:
    sections = dict(statement.sections)
    for change in found:
        if isinstance(change, Event) and change.kind == "SUSPECT":
            sections[change.section] = suspect(f"{change.subject} vanished without an execution that explains it")
        elif isinstance(change, Event) and change.kind == "QUARANTINED" and statement.ok(change.section):
            reason = f"{change.subject} contradicts what is known under this id; it is quarantined, see the findings."
            sections[change.section] = replace(UNSTABLE, reason=reason)
    return sections
