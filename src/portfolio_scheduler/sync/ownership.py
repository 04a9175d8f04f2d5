"""What the owner does to an account: pausing, resuming, closing. Each is a CONFIG fact, written with what it says."""

from uuid import UUID

from portfolio_scheduler.app import App
from portfolio_scheduler.db import accounts, batches, ledger
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain.changes import Event
from portfolio_scheduler.errors import Conflict
from portfolio_scheduler.log import logger

PAUSED = ("paused", "paused")  # the state, and what the fact of it says
RESUMED = ("active", "resumed")
CLOSED = "the account was removed while this batch was open; nothing was written after that"

log = logger()


async def pause(app: App, account_id: UUID) -> bool:
    """Stop the schedule; a running sync ends by itself. False when it was paused already."""
    return await _switch(app, account_id, *PAUSED)


async def resume(app: App, account_id: UUID) -> bool:
    """Take the schedule up again; what was due last is read at once. False when it was not paused."""
    return await _switch(app, account_id, *RESUMED)


async def _switch(app: App, account_id: UUID, to: str, subject: str) -> bool:
    async with transaction(app.pool) as tx:
        return await switch(app, tx, account_id, to, subject)


async def switch(app: App, tx: Tx, account_id: UUID, to: str, subject: str) -> bool:
    """Pause or resume as a part of a transaction. False when it was so already."""
    head = await ledger.seize(tx, account_id)
    account = checked_open(await accounts.load(tx, account_id))
    if (account.state == "paused") == (to == "paused"):
        return False
    await accounts.set_state(tx, account_id, to)
    await append_config(app, tx, head, subject, {"state": to, "before": account.state})
    return True


async def close(app: App, account_id: UUID) -> UUID | None:
    """Destroy the secrets, stop the schedule, keep the history. Returns the batch that was open and has been ended.

    Whoever syncs the account meanwhile is fenced: from this commit on nobody writes into its history.
    """
    async with transaction(app.pool) as tx:
        ended = await shut(app, tx, account_id)
    log.info("account closed", account=str(account_id), ended=str(ended) if ended else None)
    return ended


async def shut(app: App, tx: Tx, account_id: UUID) -> UUID | None:
    """The same as a part of a transaction."""
    head = await ledger.seize(tx, account_id)
    account = checked_open(await accounts.load(tx, account_id))
    ended = await batches.shut(tx, account_id, app.clock.now(), CLOSED)
    await append_config(app, tx, head, "closed", {"state": "closed", "before": account.state})
    await accounts.close(tx, account_id)
    return ended


def checked_open(account: Account) -> Account:
    if account.state == "closed":
        raise Conflict(
            f"Account {account.label!r} ({account.id}) has been removed; its history stays readable. To read it again "
            "from the broker, connect it as a new account: portfolio-scheduler accounts add"
        )
    return account


async def append_config(app: App, tx: Tx, head: ledger.Head, subject: str, details: dict[str, str]) -> None:
    """A fact of what the owner did, now."""
    now = app.clock.now()
    event = Event(
        kind="CONFIG",
        section="account",
        subject=subject,
        trading_on=app.calendar.trading_on(now),
        observed_at=now,
        details=details,
    )
    await ledger.append(tx, head, ledger.Batch(None, now, {}), [event])
