"""T14: somebody holds an account's rows locked for minutes. It waits, everybody else goes on, and it is made up for."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import aiohttp
import psycopg
import pytest

from portfolio_scheduler.db.pool import Pool, transaction
from portfolio_scheduler.sync.plan import Planned, plan
from portfolio_scheduler.sync.run import run_queued
from portfolio_scheduler.web.server import listening
from tests.conftest import Database
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger


@contextmanager
def locked(database: Database, account_id: UUID) -> Iterator[None]:
    """An administrator's session that has locked the account and gone for lunch."""
    with psycopg.connect(database.superuser) as connection:
        connection.execute("SELECT FROM broker_accounts WHERE id = %s FOR UPDATE", [account_id])
        connection.execute("SELECT FROM account_heads WHERE account_id = %s FOR UPDATE", [account_id])
        yield
        connection.rollback()


async def test_a_locked_account_delays_no_other_and_is_planned_when_it_is_free(
    stage: Stage, database: Database
) -> None:
    held, other = await stage.connect(1), await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    with locked(database, held.id):
        assert await plan(stage.app, stage.clock.now()) == Planned(due=1)
        report = await run_queued(stage.app, other.id)
        assert report is not None
        assert report.status == "completed"
    assert await plan(stage.app, stage.clock.now()) == Planned(due=1)
    again = await run_queued(stage.app, held.id)
    assert again is not None
    assert again.status == "completed"


async def test_a_job_of_a_locked_account_gives_up_soon_and_its_batch_waits(stage: Stage, database: Database) -> None:
    """Its batch stays queued, for which the sweep wakes a worker. Meanwhile the others are served, health says 200."""
    held, other = await stage.connect(1), await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    assert await plan(stage.app, stage.clock.now()) == Planned(due=2)
    with locked(database, held.id):
        jobs = [asyncio.create_task(run_queued(stage.app, held.id)) for _ in range(12)]  # more than the pool has
        report = await run_queued(stage.app, other.id)
        assert report is not None
        assert report.status == "completed"
        async with listening(stage.app, "127.0.0.1", 0, None) as address, aiohttp.ClientSession() as session:
            for path in ("/health", "/health/ready"):
                async with session.get(address + path) as answer:
                    assert answer.status == 200, await answer.text()
        ended = await asyncio.gather(*jobs, return_exceptions=True)
        assert {type(end) for end in ended} <= {psycopg.errors.LockNotAvailable, type(None)}
        assert psycopg.errors.LockNotAvailable in {type(end) for end in ended}
    assert await stage.rows("SELECT status FROM sync_batches WHERE account_id = %s", held.id) == [("queued",)]
    report = await run_queued(stage.app, held.id)
    assert report is not None
    assert report.status == "completed"
    await check_ledger(stage, held.id)


async def test_a_request_of_the_web_gives_up_within_its_two_seconds(
    stage: Stage, database: Database, api_pool: Pool
) -> None:
    await stage.connect(1)
    with psycopg.connect(database.superuser) as connection:
        connection.execute("LOCK TABLE market_days IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            async with transaction(api_pool) as tx:
                await tx.execute("SELECT FROM market_days")
        connection.rollback()
