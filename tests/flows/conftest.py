"""Stories run the whole product: real PostgreSQL, the simulator over real HTTP, the clock in the test's hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

import pytest

from portfolio_scheduler.app import App
from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.clock import StoppedClock, ist
from portfolio_scheduler.db.accounts import FIRST_USER, Account
from portfolio_scheduler.db.pool import Pool, transaction
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.market.calendar import make_calendar
from portfolio_scheduler.simulator.server import Simulator, SimulatorOptions, running
from portfolio_scheduler.sync.connect import connect
from portfolio_scheduler.sync.run import Report, sync_account
from tests.conftest import Database, keys_of

FIRST_DAY = date(2026, 4, 20)


class Stage:
    """One product against one simulator, both at the same time of day."""

    def __init__(self, app: App, sim: Simulator, clock: StoppedClock) -> None:
        self.app = app
        self.sim = sim
        self.clock = clock

    def at(self, on: date, hour: int, minute: int = 0) -> None:
        """Move both clocks."""
        self.move(ist(on, hour, minute))

    def move(self, at: datetime) -> None:
        self.sim.set_clock(at)
        self.clock.set(at)

    async def connect(self, number: int = 1, label: str | None = None, user: str = FIRST_USER) -> Account:
        """Connect the simulator's account of that number."""
        return await connect(
            self.app,
            broker="groww",
            label=label or f"account {number}",
            credentials=self.credentials(number),
            user=user,
        )

    def credentials(self, number: int = 1) -> Credentials:
        login = self.sim.accounts[number - 1]
        if login.totp_secret:
            return Credentials(login=Login.TOTP, api_key=login.api_key, totp_secret=login.totp_secret)
        return Credentials(login=Login.APPROVAL, api_key=login.api_key, api_secret=login.secret or "")

    async def sync(self, account: Account, **rest: Any) -> Report:
        return await sync_account(self.app, account.id, **rest)

    async def end_badly(self, **values: object) -> None:
        """The queued batches fail, as if a worker had claimed and run them."""
        names = ", ".join(f"{name} = %s" for name in values)
        await self.rows(
            "WITH claimed AS (UPDATE account_heads h SET fence = h.fence + 1 FROM sync_batches b "
            "WHERE b.account_id = h.account_id AND b.status = 'queued' RETURNING h.account_id, h.fence) "
            f"UPDATE sync_batches b SET {names}, status = 'failed', finished_at = %s, fence = claimed.fence "
            "FROM claimed WHERE b.account_id = claimed.account_id AND b.status = 'queued' RETURNING b.id",
            *values.values(),
            self.clock.now(),
        )

    async def rows(self, query: str, *parameters: object) -> list[Any]:
        async with transaction(self.app.pool) as tx:
            cursor = await tx.execute(query, parameters)  # type: ignore[arg-type]
            return await cursor.fetchall()

    async def one(self, query: str, *parameters: object) -> Any:
        (row,) = await self.rows(query, *parameters)
        return row[0] if len(row) == 1 else row


@asynccontextmanager
async def staged(database: Database, pool: Pool, on: date) -> AsyncIterator[Stage]:
    """Three accounts (a quiet investor, a trader, one under the approval login), standing at 09:00 of a day."""
    async with running(SimulatorOptions(accounts=3, seed=7, on=on)) as sim:
        clock = StoppedClock(sim.now)
        app = App(
            settings=database.settings,
            pool=pool,
            conninfo=database.worker,
            api_conninfo=database.api,
            clock=clock,
            calendar=make_calendar(),
            **await keys_of(database.settings, pool, clock),
            brokers={"groww": Groww(sim.url)},
        )
        yield Stage(app, sim, clock)


@pytest.fixture
async def stage(database: Database, pool: Pool) -> AsyncIterator[Stage]:
    """A stage at 09:00 of 2026-04-20."""
    async with staged(database, pool, FIRST_DAY) as made:
        yield made
