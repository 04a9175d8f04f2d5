"""One account of `sync`: what is missing, the sync itself, and its outcome in one line."""

from datetime import date

from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.cli.render import day, printable
from portfolio_scheduler.db import accounts, batches
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.db.reads.accounts import BatchRow, last_ended
from portfolio_scheduler.domain import records
from portfolio_scheduler.errors import Conflict, Fenced, PortfolioSchedulerError
from portfolio_scheduler.sync.run import GOOD, Report, sync_account

RUNNING = "running"  # by another process
COMPLETE = "nothing missing"
WORDS = {
    "orders": "order",
    "order_changes": "step of an order",
    "fills": "fill",
    "holding_changes": "change of a holding",
    "position_changes": "change of a position",
    "events": "event",
    "snapshots": "snapshot",
}
PLURALS = {"order_changes": "steps of orders", "holding_changes": "changes of holdings"} | {
    "position_changes": "changes of positions"
}


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of the wish to sync one account."""

    account: str
    account_id: str
    status: str  # completed, partial, failed; running (elsewhere); nothing missing (retry)
    batch_id: str | None = None
    trading_on: date | None = None
    standing: str | None = None
    sections: dict[str, records.SectionResult] = {}
    counts: dict[str, int] = {}
    reason: str | None = None

    @property
    def failed(self) -> bool:
        return self.status in {"partial", "failed"}

    @property
    def line(self) -> str:
        """For people, in one line."""
        parts = [self.status]
        if self.trading_on:
            parts.append(f"{day(self.trading_on)}, {self.standing}")
        if new := _counted(self.counts):
            parts.append(new)
        elif self.status == "completed":
            parts.append("nothing new")
        if self.reason:
            parts.append(printable(self.reason))
        return f"{printable(self.account)}: {'; '.join(parts)}"


def _counted(counts: dict[str, int]) -> str:
    words = []
    for name, word in WORDS.items():
        if count := counts.get(name):
            plural = PLURALS.get(name, f"{word}s")
            words.append(f"{count} {word if count == 1 else plural}")
    return ", ".join(words)


async def sync_one(app: App, account: Account, *, retry: bool) -> Outcome:
    """Sync one account. What is ours to say becomes an outcome; what nobody foresaw is raised."""
    try:
        if not retry:
            return _done(await sync_account(app, account.id))
        last = await _last_of_today(app, account)
        wanted = missing(last) if last is not None else None
        if last is not None and wanted == []:
            return _nothing_missing(account, last)
        return _done(await sync_account(app, account.id, trigger="retry", wanted=wanted))
    except Fenced as error:
        return await _fenced(app, account, error)
    except Conflict as error:
        return await _running(app, account, error)
    except PortfolioSchedulerError as error:
        return _failed(account, error)


async def _last_of_today(app: App, account: Account) -> BatchRow | None:
    """The last batch that ended and belongs to the current trading day, also if it failed before it knew its day."""
    async with transaction(app.pool) as tx:
        last = await last_ended(tx, account.id)
    if last is None or last.started_at is None:
        return None
    on = last.trading_on or app.calendar.trading_on(last.started_at)
    return last if on == app.calendar.trading_on(app.clock.now()) else None


def missing(last: BatchRow) -> list[str] | None:
    """The sections a batch was asked for and did not read well; None when that is all of them."""
    if not last.sections:
        return last.wanted
    return sorted(name for name, result in last.sections.items() if result.outcome not in GOOD)


def _nothing_missing(account: Account, last: BatchRow) -> Outcome:
    return Outcome(
        account=account.label,
        account_id=str(account.id),
        status=COMPLETE,
        batch_id=str(last.id),
        trading_on=last.trading_on,
        standing=last.standing,
    )


async def _running(app: App, account: Account, error: Conflict) -> Outcome:
    async with transaction(app.pool) as tx:
        running = await batches.open_batch(tx, account.id)
    if running is None:
        return _failed(account, error)  # another conflict: the same broker account under another label
    return Outcome(
        account=account.label,
        account_id=str(account.id),
        status=RUNNING,
        batch_id=str(running.id),
        reason=error.message,
    )


async def _fenced(app: App, account: Account, error: Fenced) -> Outcome:
    async with transaction(app.pool) as tx:
        now = await accounts.load(tx, account.id)
    if now.state == "closed":
        return _failed(account, Conflict("the account was removed meanwhile; nothing was written after that"))
    return _failed(account, error)


def _failed(account: Account, error: PortfolioSchedulerError) -> Outcome:
    return Outcome(account=account.label, account_id=str(account.id), status="failed", reason=error.message)


def _done(report: Report) -> Outcome:
    return Outcome(
        account=report.account,
        account_id=report.account_id,
        status=report.status,
        batch_id=report.batch_id,
        trading_on=report.trading_on,
        standing=report.standing,
        sections=report.sections,
        counts=report.counts,
        reason=report.error,
    )
