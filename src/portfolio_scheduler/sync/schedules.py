"""When an account is read: what the owner sets (a CONFIG fact, like all the owner does), and what comes of it."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db import accounts, gaps, ledger
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.domain.schedule import DAY, Schedule, Timetable
from portfolio_scheduler.market import timetables
from portfolio_scheduler.market.timetables import Run, timetable
from portfolio_scheduler.sync.ownership import append_config, checked_open


def _timetable(account: Account) -> Timetable:
    return timetable(account.schedules, late_pass=account.late_pass, segments=account.segments)


async def set_schedules(
    app: App, account_id: UUID, schedules: Sequence[Schedule] | None, *, late_pass: bool | None
) -> tuple[Account, bool]:
    """Give an account schedules, switch its late pass, or both; None leaves it as it is. False: it was so already."""
    async with transaction(app.pool) as tx:
        return await change_schedules(app, tx, account_id, schedules, late_pass=late_pass)


async def change_schedules(
    app: App, tx: Tx, account_id: UUID, schedules: Sequence[Schedule] | None, *, late_pass: bool | None
) -> tuple[Account, bool]:
    """The same as a part of a transaction."""
    head = await ledger.seize(tx, account_id)
    account = checked_open(await accounts.load(tx, account_id))
    listed = account.schedules if schedules is None else schedule.stored(schedules)
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


def _said(account: Account) -> dict[str, str]:
    listed = "; ".join(" ".join(str(part) for part in one.values()) for one in account.schedules)
    return {"schedules": listed or "none", "late_pass": "on" if account.late_pass else "off"}


def _check(app: App, account: Account) -> None:
    schedules = schedule.parse(account.schedules)
    timetables.check(schedules, late_pass=account.late_pass, now=app.clock.now())


async def mornings(app: App, tx: Tx, account_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """When accounts are read for orders that have no end. Before the close, the day's run may still bring it."""
    now = app.clock.now()
    session = app.calendar.session(ist_date(now))
    open_still = session is not None and now < session.closes_at
    return await gaps.mornings(tx, account_ids, now, ist_date(now) if open_still else ist_date(now) + DAY)


async def runs(app: App, account: Account, count: int) -> list[Run]:
    """The next runs of an account. One that is due already comes first."""
    async with transaction(app.pool) as tx:
        morning_at = (await mornings(app, tx, [account.id])).get(account.id)
    return timetables.runs(
        app.calendar,
        _timetable(account),
        app.clock.now(),
        count,
        planned_through=account.planned_through,
        morning_at=morning_at,
    )


def unread_close(app: App, account: Account) -> date | None:
    """The first trading day of the next two weeks without a run between its close and midnight."""
    return timetables.unread_close(app.calendar, _timetable(account), app.clock.now())
