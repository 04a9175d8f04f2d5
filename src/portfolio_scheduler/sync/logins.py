"""Will tonight's syncs be able to log in? Asked on every trading day before the close, while the owner can still act.

At 15:15 IST, or another time of the settings, every account is probed once: TOTP logins renew themselves on the way,
an approval login that nobody has approved becomes a notice with the link. A machine that slept catches up as long as
the account's run has not begun; from then on the sync itself tells. The claim of a probe is a row of the database, so
neither a restart nor any number of workers doubles it.
"""

import asyncio
from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import IST, ist, ist_date
from portfolio_scheduler.db import accounts, logins, notices
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.errors import (
    BrokerLoginRequired,
    BrokerNotEntitled,
    PortfolioSchedulerError,
    SecretUnreadable,
)
from portfolio_scheduler.log import logger
from portfolio_scheduler.market.timetables import timetable
from portfolio_scheduler.sync.connect import probe
from portfolio_scheduler.sync.slots import next_run

OK, OWNER, LATER = "ok", "owner", "later"
AT_ONCE = 6  # probes of one process
A_DAY = timedelta(days=1)
ONLY_THE_OWNER = (BrokerLoginRequired, BrokerNotEntitled, SecretUnreadable)

log = logger()


class Probe(Struct, frozen=True, kw_only=True):
    """An account to probe, and the run whose login is at stake."""

    account_id: UUID
    run_at: datetime


async def probe_logins(app: App) -> int:
    """Probe the accounts whose turn it is, a few at a time until none is left. Returns how many."""
    now = app.clock.now()
    on = ist_date(now)
    if now < _probe_at(app, on) or not app.calendar.is_session(on):
        return 0
    due = await _due(app, on, now)
    for start in range(0, len(due), AT_ONCE):
        some = {each.account_id: each for each in due[start : start + AT_ONCE]}
        async with transaction(app.pool) as tx:
            mine = await logins.claim(tx, list(some), on)
        ended = await asyncio.gather(*(_probe(app, some[one], on) for one in mine), return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error  # a bug, or the database went away; the others have ended
    return len(due)


def _probe_at(app: App, on: date) -> datetime:
    at = app.settings.login_probe
    return ist(on, at.hour, at.minute)


async def _due(app: App, on: date, now: datetime) -> list[Probe]:
    """Accounts that are not probed yet and whose first run after the time of the probe is still to come."""
    async with transaction(app.pool) as tx:
        groups = await logins.unprobed(tx, on, now)
    found = []
    for group in groups:
        kind = timetable(group.schedules, late_pass=group.late_pass, segments=group.segments)
        run_at = next_run(app, kind, _probe_at(app, on))
        if run_at is not None and now < run_at <= now + A_DAY:
            found += [Probe(account_id=one, run_at=run_at) for one in group.account_ids]
    return found


async def _probe(app: App, due: Probe, on: date) -> None:
    """Try the login and write down how it ended. What the owner alone can mend becomes a notice."""
    async with transaction(app.pool) as tx:
        account = await accounts.load(tx, due.account_id)
    outcome = OK
    error: PortfolioSchedulerError | None = None
    try:
        await probe(app, account)
    except ONLY_THE_OWNER as refused:
        outcome, error = OWNER, refused
    except PortfolioSchedulerError as trouble:
        outcome, error = LATER, trouble
    log.info("login probed", account=account.label, outcome=outcome)
    async with transaction(app.pool) as tx:
        now = app.clock.now()
        await logins.finish(tx, account.id, on, outcome=outcome, text=error.message if error else None, now=now)
        if outcome == OWNER and error is not None:
            await accounts.needs_login(tx, account.id)
            kind, text, link = what_to_do(app, account, error, due.run_at)
            if await notices.notice(tx, account.id, kind, on=on, at=now, text=text, link=link):
                log.warning("the owner must act", account=account.label, kind=kind, reason=text, link=link)


def what_to_do(
    app: App, account: Account, error: PortfolioSchedulerError, run_at: datetime
) -> tuple[str, str, str | None]:
    """Kind, text and link of the notice about a login that will not work."""
    before = f"{run_at.astimezone(IST):%H:%M}"
    if isinstance(error, SecretUnreadable):
        return notices.SECRET_UNREADABLE, error.message, None
    if isinstance(error, BrokerNotEntitled):
        return notices.NOT_ENTITLED, error.message, None
    if account.login == Login.APPROVAL:
        text = f"{account.label} needs approval before {before}: approve its API key for today."
        return notices.APPROVAL_NEEDED, text, app.brokers[account.broker].approval_url
    if account.login == Login.TOKEN:
        text = f"{account.label} needs a new access token before {before}: paste today's with `accounts login`."
        return notices.TOKEN_NEEDED, text, None
    return notices.LOGIN_REFUSED, f"{account.label} cannot log in, and is due at {before}. {error.message}", None
