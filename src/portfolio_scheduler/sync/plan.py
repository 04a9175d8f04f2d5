"""Who is due? Once a minute `plan` turns due slots into queued batches; between ticks `sweep` repairs what died.

A slot is due once, however often the planner runs and however many run at once: the database holds one batch per
account and slot, and one open batch per account. A machine that slept gets one run for all it missed, because one
reading says all that can still be read; which days are lost is written down by that run (`sync.gaps`).
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID

import msgspec
from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db import embedded, market_days, planning, queue
from portfolio_scheduler.db.planning import Due, Kind, KindDue
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.domain.market_days import MarketDay
from portfolio_scheduler.domain.schedule import Schedule, Timetable
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.failpoints import failpoint
from portfolio_scheduler.log import logger
from portfolio_scheduler.market.timetables import LATE

CROWD = 20  # so many accounts may reach the broker at once
JITTER = timedelta(minutes=2)
BREATH = 50  # kinds of accounts

log = logger()


class Planned(Struct, frozen=True, kw_only=True):
    """What one tick put on the queue."""

    due: int = 0
    retries: int = 0


class Swept(Struct, frozen=True, kw_only=True):
    """What one sweep repaired."""

    stale: int = 0  # batches whose worker was lost
    retries: int = 0
    woken: int = 0  # queued batches without a job


async def plan(app: App, now: datetime) -> Planned:
    """Open a batch, with its job, for every account that is due. A fixed number of statements; no transaction is
    open while slots are computed.

    An account with an open batch is left alone and its `planned_through` stays, so that the first tick after that
    batch has ended plans the slot: the running sync may have read the orders before the slot. That costs a needless
    run now and then, and never a missed one.
    """
    async with transaction(app.pool) as tx:
        _follow(app, await market_days.listed(tx))
        kinds = await planning.kinds(tx)
    found = await _due(app, kinds, now)
    async with transaction(app.pool) as tx:
        due = await planning.idle(tx, found, now) if found else []
        seen = {each.account_id for each in due}
        mornings = await planning.mornings(tx, now, ist_date(now), LATE)
        due += [each for each in mornings if each.account_id not in seen]
        added = await planning.add_due(tx, due, now) if due else []
        unsettled = await planning.unsettled(tx, now)
        retries, noticed = await _settle(app, tx, unsettled, now) if unsettled else ([], [])
        await queue.enqueue(tx, [*added, *retries], waits(due))
        failpoint("planning")
    failpoint("planned")
    for account, kind, text in noticed:
        log.warning("the owner must hear of it", account=account, kind=kind, reason=text)
    return Planned(due=len(added), retries=len(retries))


async def _settle(
    app: App, tx: Tx, unsettled: Sequence[UUID], now: datetime
) -> tuple[list[UUID], list[tuple[str, str, str]]]:
    """Retries and notices for accounts whose newest batch ended badly. Who has neither is not looked at for a while."""
    retries = await planning.add_retries(tx, unsettled, now, roomy=embedded.has_room(app.settings))
    noticed = await planning.add_notices(tx, unsettled, now, ist_date(now))
    await planning.note_looks(tx, unsettled, now)
    return retries, noticed


async def follow_calendar(app: App) -> None:
    """For a process that does not plan: what was announced meanwhile counts there as well."""
    async with transaction(app.pool) as tx:
        _follow(app, await market_days.listed(tx))


async def sweep(app: App, now: datetime) -> Swept:
    """Give up batches whose worker died, plan them again, and wake workers for queued batches that lost their job."""
    async with transaction(app.pool) as tx:
        stale = await planning.give_up_stale(tx, now, app.settings.lease_seconds)
        unwoken = await planning.unwoken(tx, app.settings.lease_seconds)
        unsettled = await planning.unsettled(tx, now) if stale else []
        roomy = embedded.has_room(app.settings)
        retries = await planning.add_retries(tx, unsettled, now, roomy=roomy) if unsettled else []
        await queue.enqueue(tx, [*unwoken, *retries])
        failpoint("sweeping")
    return Swept(stale=len(stale), retries=len(retries), woken=len(unwoken))


def _follow(app: App, days: Sequence[MarketDay]) -> None:
    """The calendar follows what has been entered meanwhile. What cannot be understood must cost no day."""
    try:
        app.calendar.announce(days)
    except InvalidInput as error:
        log.warning("market days cannot be read, the calendar stays as it was", reason=error.message)


async def _due(app: App, kinds: Sequence[Kind], now: datetime) -> list[KindDue]:
    """The newest slot of each kind of account, where some account of it may not have been planned since."""
    sessions = app.calendar.between(now - schedule.LOOK_BACK, now)
    found = []
    for number, kind in enumerate(kinds):
        if number % BREATH == BREATH - 1:
            await asyncio.sleep(0)  # syncs and their heartbeats run in this process, too
        slot_at = schedule.latest(_timetable(kind), sessions, now)
        if slot_at is not None and (kind.planned_since < slot_at or kind.planned_until > now):
            trigger = "scheduled" if now - slot_at <= LATE else "catch-up"
            found.append(KindDue(kind=kind, slot_at=slot_at, trigger=trigger))
    return found


def waits(due: Sequence[Due]) -> dict[UUID, timedelta]:
    """How long each of these shall wait so that they do not all reach the broker in the same second.

    Always the same for an account, so that its readings are a day apart. Few accounts need not wait, and what is late
    already must not.
    """
    if len(due) <= CROWD:
        return {}
    return {each.account_id: wait(each.account_id) for each in due if each.trigger == "scheduled"}


def wait(account_id: UUID) -> timedelta:
    digest = hashlib.sha256(account_id.bytes).digest()
    return JITTER * (int.from_bytes(digest[:4]) / 0xFFFFFFFF)


def _timetable(kind: Kind) -> Timetable:
    return Timetable(_schedules(msgspec.json.encode(kind.schedules)), kind.late_pass, kind.commodity)


@lru_cache(maxsize=16384)  # so that a schedule that cannot be read is told once
def _schedules(stored: bytes) -> tuple[Schedule, ...]:
    schedules, problem = schedule.kept(msgspec.json.decode(stored))
    if problem is not None:
        log.warning("a schedule cannot be read, the default holds instead", reason=problem)
    return schedules
