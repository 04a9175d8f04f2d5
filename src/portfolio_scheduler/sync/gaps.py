"""Days whose orders can no longer be read. Groww lists today's orders only, so a missed day is lost: once, and visibly.

Every sync asks before it reads, whoever started it. So whatever has been read, all days before it are decided, and
what lies between the last day that is and the present trading day was missed.
"""

from collections.abc import Sequence
from datetime import date, datetime

from portfolio_scheduler.app import App
from portfolio_scheduler.db import gaps, ledger, state
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.batches import Claim
from portfolio_scheduler.db.gaps import Unfinished
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.changes import Event, KnownOrder, State, as_details, fold
from portfolio_scheduler.domain.money import plain
from portfolio_scheduler.domain.order_diff import order_section
from portfolio_scheduler.failpoints import failpoint
from portfolio_scheduler.log import logger

ORDERS = "orders"
GIVEN_UP = "given_up_after_days"

log = logger()


async def mark_lost_days(
    app: App, account: Account, claim: Claim, observed_at: datetime, trading_on: date, tx: Tx
) -> None:
    """Append one GAP for each trading day before this one whose orders nobody read on that day."""
    if not await _missed(app, tx, account, trading_on):
        return
    head = await ledger.lock(tx, account.id, claim.fence)
    missed = await _missed(app, tx, account, trading_on)  # again, now that nobody else can be at it
    lost = [_gap(app, on, observed_at) for on in missed]
    facts = await ledger.append(tx, head, ledger.Batch(claim.id, observed_at, {}), lost)
    await state.save(tx, account.id, State(), fold(State(), facts), head.seq)  # type: ignore[arg-type]
    failpoint("days_marked_lost")
    log.warning("days are lost", days=[on.isoformat() for on in missed])


async def mark_given_up(
    account: Account, claim: Claim, given_up: Sequence[Unfinished], observed_at: datetime, tx: Tx
) -> None:
    """Append one GAP for each of these orders, which have been asked for by their id for two weeks."""
    if not given_up:
        return
    head = await ledger.lock(tx, account.id, claim.fence)
    answered = {one.order.broker_order_id for one in given_up if one.answered_on is not None}
    ids = [one.order.broker_order_id for one in given_up]
    known = await state.load(tx, account.id, ids, date.max, fills_of=())
    lost = [_given_up(known.orders[one], observed_at, answered=one in answered) for one in ids]
    facts = await ledger.append(tx, head, ledger.Batch(claim.id, observed_at, {}), lost)
    await state.save(tx, account.id, State(), fold(State(), facts), head.seq)  # type: ignore[arg-type]
    log.warning("orders are given up", orders=ids)


def _given_up(known: KnownOrder, observed_at: datetime, *, answered: bool) -> Event:
    days = gaps.LOOK_BACK.days
    never = f"the order was open when it was last seen, and for {days} days nobody could be asked how it ended"
    still = f"the broker has called the order open for {days} days; it is not asked for any more"
    return Event(
        kind="GAP",
        section=order_section(known.order),
        subject=known.order.broker_order_id,
        trading_on=known.listed_on,
        observed_at=observed_at,
        details=as_details(
            reason=still if answered else never,
            status=known.order.status,
            filled=plain(known.order.filled_quantity),
            **{GIVEN_UP: days},
        ),
    )


def is_given_up(event: Event) -> bool:
    """Whether it is such a GAP: no answer says it, so no answer read again can take it back."""
    return event.kind == "GAP" and GIVEN_UP in event.details


def is_lost_day(event: Event) -> bool:
    """Whether it says that a day was missed; a GAP of `orders:CASH` is about one order."""
    return event.kind == "GAP" and event.section == ORDERS


async def _missed(app: App, tx: Tx, account: Account, trading_on: date) -> list[date]:
    decided_on = await gaps.last_decided(tx, account.id)
    if decided_on is None:  # never read: the first day is the one whose close the account has seen
        sessions = app.calendar.sessions(app.calendar.trading_on(account.created_at), trading_on)
        days = [session.on for session in sessions if session.closes_at > account.created_at]
    else:
        days = [session.on for session in app.calendar.sessions(decided_on, trading_on) if session.on > decided_on]
    days = [on for on in days if on < trading_on]
    return await gaps.unseen(tx, account.id, days) if days else []


def _gap(app: App, on: date, observed_at: datetime) -> Event:
    reason = "nobody read this day's orders on that day; the broker does not list them any more"
    if not app.calendar.is_known(on):
        reason += " (the calendar does not know whether the exchange was open)"
    return Event(
        kind="GAP",
        section=ORDERS,
        subject=on.isoformat(),
        trading_on=on,
        observed_at=observed_at,
        details={"reason": reason},
    )
