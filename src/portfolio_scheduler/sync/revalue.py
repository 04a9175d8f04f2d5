"""Days valued anew when prices or orders arrive that they lacked: a revision of the snapshot, never a change of it."""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db import accounts, batches, ledger, snapshots
from portfolio_scheduler.db.batches import Result
from portfolio_scheduler.db.ledger import Batch, Head, Snapshot
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.db.snapshots import DayToValue
from portfolio_scheduler.domain.changes import State
from portfolio_scheduler.domain.records import Margin
from portfolio_scheduler.errors import Conflict
from portfolio_scheduler.sync.snapshot import COMPARED, as_snapshot, differing, valued

WORKER = "revaluation"
COMPARED_ANEW = (*COMPARED, "priced_ratio", "previous_value", "day_change", "market_move")


class Revalued(Struct, frozen=True, kw_only=True):
    """What became of one account."""

    account: str  # label
    days: tuple[date, ...]  # that got a new revision
    problem: str | None = None


async def revalue(app: App, since_on: date) -> list[Revalued]:
    """Value the days since then anew, for each account with a line that had no price, or an older one than is known.

    Everything but prices stays as it was when the day was read. The days after a revised one follow, for they begin
    where it ended. An account that is being synced is left alone and named.
    """
    async with transaction(app.pool) as tx:
        due = await snapshots.days_to_value(tx, since_on)
    found = []
    for account_id, days in groupby(due, key=lambda day: day.account_id):
        try:
            found.append(await _revalue_account(app, account_id, list(days)))
        except Conflict as conflict:
            async with transaction(app.pool) as tx:
                account = await accounts.load(tx, account_id)
            found.append(Revalued(account=account.label, days=(), problem=conflict.message))
    return found


async def _revalue_account(app: App, account_id: UUID, days: Sequence[DayToValue]) -> Revalued:
    now = app.clock.now()
    async with transaction(app.pool) as tx:
        account = await accounts.load(tx, account_id)
        claim = await batches.start(tx, account_id, trigger="manual", now=now, worker=WORKER, wanted=[])
        head = await ledger.lock(tx, account_id, claim.fence)
        anew = Revisions(app, tx, head, Batch(claim.id, now, {}), {day.trading_on: day for day in days})
        revised: list[date] = []
        for day in days:
            is_due = day.is_outdated or (revised and app.calendar.previous(day.trading_on) == revised[-1])
            why = f"valued anew with prices known on {ist_date(now)}"
            if is_due and await anew.revise(day.trading_on, why):
                revised.append(day.trading_on)
        result = Result(status="completed", counts={"snapshots": len(revised)})
        await batches.finish(tx, claim, result, app.clock.now())
    return Revalued(account=account.label, days=tuple(revised))


async def revise_told(app: App, tx: Tx, head: Head, batch: Batch, told: Mapping[date, str]) -> int:
    """Revise the snapshots of days that something was told of afterwards, each for its reason, and what follows from
    them. A day without a snapshot has none to revise. Returns how many were written."""
    days = await snapshots.days_to_value(tx, min(told), head.account_id) if told else []
    anew = Revisions(app, tx, head, batch, {day.trading_on: day for day in days})
    revised: list[date] = []
    for on in anew.days:
        why = told.get(on)
        if why is not None or (revised and app.calendar.previous(on) == revised[-1]):
            because = why or f"the day before was revised on {ist_date(batch.observed_at)}"
            if await anew.revise(on, because, forced=why is not None):
                revised.append(on)
    return len(revised)


class Revisions:
    """New revisions of days of one account, in one transaction; `head` moves with each."""

    def __init__(self, app: App, tx: Tx, head: Head, batch: Batch, days: Mapping[date, DayToValue]) -> None:
        self.head = head
        self.days = days
        self._app = app
        self._tx = tx
        self._batch = batch
        self._facts: tuple[Sequence[ledger.Recorded], Mapping[UUID, int]] | None = None  # read when first needed

    async def revise(self, on: date, why: str, *, forced: bool = False) -> bool:
        """Append a revision of the day if a figure differs, or if it must be said that something else does."""
        known = await self._known_at(self.days[on])
        revision = await _revision(self._app, self._tx, self.head, self.days[on], known, why, forced=forced)
        if revision is None:
            return False
        await ledger.append(self._tx, self.head, self._batch, [revision])
        self.head = Head(self.head.account_id, self.head.seq + 1)
        return True

    async def _known_at(self, day: DayToValue) -> State:
        """What was known when the day was valued."""
        if self._facts is None:
            of = ("holding_changes", "position_changes")
            facts = await ledger.load_changes(self._tx, self.head.account_id, of=of)
            self._facts = facts, await batches.fences(self._tx, self.head.account_id)
        changes, fences = self._facts
        return ledger.folded([one for one in changes if one.batch_id and fences[one.batch_id] <= day.fence], State())


async def _revision(
    app: App, tx: Tx, head: Head, day: DayToValue, known: State, why: str, *, forced: bool
) -> Snapshot | None:
    previous_on = app.calendar.previous(day.trading_on)
    compared = await snapshots.context(tx, head.account_id, day.trading_on, previous_on)
    latest = compared.latest
    assert latest is not None
    margin = Margin(clear_cash=latest.cash, net_margin_used=latest.margin_used)
    read_late = ist_date(day.read_at) > day.trading_on
    valuation = await valued(app, tx, day.trading_on, known, margin, compared, read_late=read_late)
    snapshot = as_snapshot(valuation, compared, "")
    different = differing(latest, snapshot, COMPARED_ANEW)
    if not different and not forced:
        return None
    differs = f"differs in {', '.join(different)}" if different else "no figure differs"
    late = f"; read late, on {ist_date(day.read_at)}" if read_late else ""
    return replace(
        snapshot,
        revision=latest.revision + 1,
        reason=f"{why}: {differs}{late}",
        details=snapshot.details | {"state_seq": [str(day.state_seq)]},
    )
