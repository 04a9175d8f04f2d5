"""Who is due? Once a minute `plan` turns due slots into queued batches; between ticks `sweep` repairs what died.

A slot is due once, however often the planner runs and however many run at once: the database holds one batch per
account and slot, and one open batch per account. A machine that slept gets one run for all it missed, because one
reading says all that can still be read; which days are lost is written down by that run (`sync.gaps`).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec
from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db import planning, queue
from portfolio_scheduler.db.planning import Due, Group
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.domain.schedule import Schedule
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.failpoints import failpoint
from portfolio_scheduler.log import logger

LATE = timedelta(minutes=10)  # a slot older than this was slept through, and its run is a catch-up

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
    """Open a batch, with its job, for every account that is due. One transaction, a fixed number of statements.

    An account with an open batch is left alone and its `planned_through` stays, so that the first tick after that
    batch has ended plans the slot: the running sync may have read the orders before the slot. That costs a needless
    run now and then, and never a missed one.
    """
    async with transaction(app.pool) as tx:
        groups = await planning.idle_accounts(tx, now)
        due = [each for group in groups for each in _due(app, group, now)]
        added = await planning.add_due(tx, due, now) if due else []
        retries = await planning.add_retries(tx, now)
        noticed = await planning.add_notices(tx, now, ist_date(now))
        await queue.enqueue(tx, [*added, *retries])
        failpoint("planning")
    failpoint("planned")
    for account, kind, text in noticed:
        log.warning("the owner must hear of it", account=account, kind=kind, reason=text)
    return Planned(due=len(added), retries=len(retries))


async def sweep(app: App, now: datetime) -> Swept:
    """Give up batches whose worker died, plan them again, and wake workers for queued batches that lost their job."""
    async with transaction(app.pool) as tx:
        stale = await planning.give_up_stale(tx, now, app.settings.lease_seconds)
        unwoken = await planning.unwoken(tx, app.settings.lease_seconds)
        retries = await planning.add_retries(tx, now) if stale else []
        await queue.enqueue(tx, [*unwoken, *retries])
        failpoint("sweeping")
    return Swept(stale=len(stale), retries=len(retries), woken=len(unwoken))


def _due(app: App, group: Group, now: datetime) -> Iterator[Due]:
    """Each account of a group at its newest due slot."""
    slot_at = newest_slot(app, group, now)
    if slot_at is not None:
        trigger = "scheduled" if now - slot_at <= LATE else "catch-up"
        for account_id in group.account_ids:
            yield Due(account_id=account_id, slot_at=slot_at, trigger=trigger)


def newest_slot(app: App, group: Group, now: datetime) -> datetime | None:
    """The last instant at which these accounts were due since they were planned; None when they were not."""
    earliest = now - schedule.LOOK_BACK
    after = earliest if group.planned_through > now else max(group.planned_through, earliest)
    sessions = app.calendar.sessions(ist_date(after), ist_date(now))
    due = schedule.slots(_schedules(msgspec.json.encode(group.schedules)), after, now)
    due += schedule.always_due(sessions, after, now, commodity=group.commodity)
    return max(due, default=None)


@lru_cache(maxsize=1024)
def _schedules(stored: bytes) -> tuple[Schedule, ...]:
    """A schedule that cannot be read must cost no day: the default holds until somebody sets it right."""
    try:
        return schedule.parse(msgspec.json.decode(stored))
    except InvalidInput as error:
        log.warning("a schedule cannot be read, the default holds instead", reason=error.message)
        return (schedule.DEFAULT,)
