"""What an account costs whose answers did not change since the afternoon: the late pass of a normal evening."""

from collections.abc import Sequence
from datetime import datetime
from statistics import median
from uuid import UUID

from portfolio_scheduler.bench.crew import Failed
from portfolio_scheduler.bench.end_to_end import NORMAL, Used, simulator_options
from portfolio_scheduler.bench.figures import Figure, Scale, at_least, figure, ratios
from portfolio_scheduler.bench.stage import Stage, staged, trading_days
from portfolio_scheduler.clock import ist
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.jobs import SYNCS_AT_ONCE

REPEATED = """
SELECT count(*) FROM sync_batches late JOIN sync_batches early
    ON early.account_id = late.account_id AND early.slot_at = %(early)s AND early.fingerprint = late.fingerprint
WHERE late.slot_at = %(late)s AND late.counts = '{}' AND NOT EXISTS (
    SELECT FROM portfolio_snapshots s WHERE s.account_id = late.account_id AND s.batch_id = late.id)
"""


async def measure(scale: Scale) -> list[Figure]:
    """Every day is read at 16:00, with its orders, and again at 23:15, when nothing has happened since."""
    accounts = scale.of(120, 3)
    days = trading_days(scale.runs + 1)
    async with staged(simulator_options(NORMAL, accounts, days[0])) as stage:
        ids = [account.id for account in await stage.connect(range(1, accounts + 1))]
        with stage.working(1) as crew:
            first, late = Look(stage, Used(stage, crew)), Look(stage, Used(stage, crew))
            for number, day in enumerate(days):
                early_at, late_at = ist(day, 16), ist(day, 23, 15)
                await first.take(ids, early_at, counted=number > 0)
                await late.take(ids, late_at, counted=number > 0)
                await _see_that_it_was_repeated(stage, early_at, late_at, accounts)
    cheaper = ratios(first.processor, late.processor)
    note = f"of worker, PostgreSQL and simulator: {median(first.processor):.1f} and {median(late.processor):.1f} ms"
    return [
        figure("unchanged", "first look of the day, 1 worker", "accounts/s", first.rates, note=first.told()),
        figure("unchanged", "second look, byte for byte the same", "accounts/s", late.rates, note=late.told()),
        figure("unchanged", "processor time, first : second", "×", cheaper, at_least(1), note),
    ]


class Look:
    """One reading of the day: accounts a second, and what it used."""

    def __init__(self, stage: Stage, used: Used) -> None:
        self.stage, self.used = stage, used
        self.rates: list[float] = []
        self.processor: list[float] = []  # ms an account
        self._syncs = 0

    async def take(self, account_ids: Sequence[UUID], at: datetime, *, counted: bool) -> None:
        """The first day makes plans and caches and is not counted."""
        self.stage.stand_at(at)
        before = sum(self.used.seconds.values())
        if counted:
            self.used.before()
        seconds = await self.stage.sync(account_ids)
        if counted:
            self.used.after()
            self._syncs += len(account_ids)
            self.rates.append(len(account_ids) / seconds)
            self.processor.append((sum(self.used.seconds.values()) - before) / len(account_ids) * 1e3)

    def told(self) -> str:
        return f"{self.used.told(self._syncs)}; {SYNCS_AT_ONCE} syncs at once"


async def _see_that_it_was_repeated(stage: Stage, early: datetime, late: datetime, expected: int) -> None:
    async with transaction(stage.app.pool) as tx:
        cursor = await tx.execute(REPEATED, {"early": early, "late": late})
        (found,) = await cursor.fetchone() or (0,)
    if found != expected:
        raise Failed(f"{found} of {expected} accounts were recognised at {late} as saying what they said before.")
