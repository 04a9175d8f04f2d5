"""When an account is read: what the owner sets (a CONFIG fact, like all the owner does), and what comes of it."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from uuid import UUID

import msgspec
from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist, ist_date
from portfolio_scheduler.db import accounts, gaps, ledger
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.domain.schedule import DAY, Reason, Schedule, Slot, Timetable
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.sync.dating import standing_at
from portfolio_scheduler.sync.ownership import append_config, checked_open
from portfolio_scheduler.sync.plan import LATE
from portfolio_scheduler.sync.slots import timetable

MOST = 20  # schedules of an account
MOST_A_DAY = 96  # runs: every quarter of an hour
LOOKED_AHEAD = timedelta(days=14)


class Run(Struct, frozen=True, kw_only=True):
    """One run to come: when, why, and which trading day it will read as what."""

    at: datetime
    reason: Reason
    trading_on: date
    standing: str  # provisional before the close, final after it, late on another day
    note: str | None  # what is special about that day at the exchange


def _timetable(account: Account) -> Timetable:
    return timetable(account.schedules, late_pass=account.late_pass, segments=account.segments)


async def set_schedules(
    app: App, account_id: UUID, schedules: Sequence[Schedule] | None, *, late_pass: bool | None
) -> tuple[Account, bool]:
    """Give an account schedules, switch its late pass, or both; None leaves it as it is. False: it was so already."""
    async with transaction(app.pool) as tx:
        head = await ledger.seize(tx, account_id)
        account = checked_open(await accounts.load(tx, account_id))
        listed = account.schedules if schedules is None else _listed(schedules)
        after = msgspec.structs.replace(
            account, schedules=listed, late_pass=account.late_pass if late_pass is None else late_pass
        )
        _check(app, after)
        if (after.schedules, after.late_pass) == (account.schedules, account.late_pass):
            return account, False
        await accounts.set_schedules(tx, account_id, after.schedules, late_pass=after.late_pass)
        said = {f"{name}_before": text for name, text in _said(account).items()}
        await append_config(app, tx, head, "schedules", _said(after) | said)
    return after, True


def _listed(schedules: Sequence[Schedule]) -> list[dict[str, str]]:
    """As they are stored, each once."""
    return [{"cron": one.cron, "timezone": one.timezone} for one in dict.fromkeys(schedules)]


def _said(account: Account) -> dict[str, str]:
    listed = "; ".join(" ".join(str(part) for part in one.values()) for one in account.schedules)
    return {"schedules": listed or "none", "late_pass": "on" if account.late_pass else "off"}


def _check(app: App, account: Account) -> None:
    schedules = schedule.parse(account.schedules)
    if not schedules and not account.late_pass:
        raise InvalidInput(
            "Without a schedule and without the late pass nothing would ever be read; `accounts pause` stops an "
            "account."
        )
    if len(schedules) > MOST:
        raise InvalidInput(f"{len(schedules)} schedules are too many; an account may have {MOST}.")
    now = app.clock.now()
    for day in range(7):
        since = now + day * DAY
        if (count := len(schedule.slots(schedules, since, since + DAY))) > MOST_A_DAY:
            raise InvalidInput(
                f"These schedules are due {count} times a day; at most {MOST_A_DAY} (every 15 minutes) are allowed, "
                "for each asks the broker ten questions."
            )


async def mornings(app: App, tx: Tx, account_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """When accounts are read for orders that have no end. Before the close, the day's run may still bring it."""
    now = app.clock.now()
    session = app.calendar.session(ist_date(now))
    open_still = session is not None and now < session.closes_at
    return await gaps.mornings(tx, account_ids, now, ist_date(now) if open_still else ist_date(now) + DAY)


async def runs(app: App, account: Account, count: int) -> list[Run]:
    """The next runs of an account. One that is due already comes first."""
    now, table = app.clock.now(), _timetable(account)
    slots = [*_overdue(app, table, account.planned_through, now)]
    slots += islice(schedule.upcoming(table, app.calendar.between, now), count)
    async with transaction(app.pool) as tx:
        morning_at = (await mornings(app, tx, [account.id])).get(account.id)
    if morning_at is not None and morning_at not in {slot.at for slot in slots}:
        slots = sorted([*slots, Slot(morning_at, Reason.UNFINISHED)], key=lambda slot: slot.at)
    return [_run(app, slot) for slot in slots[:count]]


def _overdue(app: App, table: Timetable, planned_through: datetime, now: datetime) -> Iterator[Slot]:
    """The newest slot that nobody has seen to; slept through, it is caught up with now."""
    since = now - schedule.LOOK_BACK
    slots = schedule.due(table, app.calendar.between(since, now), since, now)
    if slots and planned_through < slots[-1].at:
        yield slots[-1] if now - slots[-1].at <= LATE else Slot(now, Reason.CATCH_UP)


def _run(app: App, slot: Slot) -> Run:
    on = app.calendar.trading_on(slot.at)
    return Run(
        at=slot.at,
        reason=slot.reason,
        trading_on=on,
        standing=standing_at(app, slot.at, on),
        note=app.calendar.remark(ist_date(slot.at)),
    )


def unread_close(app: App, account: Account) -> date | None:
    """The first trading day of the next two weeks without a run between its close and midnight."""
    now, table = app.clock.now(), _timetable(account)
    for session in app.calendar.between(now, now + LOOKED_AHEAD):
        midnight = ist(session.on + DAY, 0)
        sessions = [session]
        after = session.closes_at - timedelta(microseconds=1)
        if session.closes_at > now and not schedule.due(table, sessions, after, midnight - timedelta(microseconds=1)):
            return session.on
    return None
