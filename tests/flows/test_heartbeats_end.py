"""A batch's heartbeat ends with the batch, at whatever moment it is told to."""

import asyncio

import pytest
from msgspec import structs

from portfolio_scheduler.db import batches
from portfolio_scheduler.db.batches import Claim
from portfolio_scheduler.db.pool import make_pool, opened, transaction
from portfolio_scheduler.sync.run import heartbeat, worker_name
from tests.conftest import Database
from tests.flows.conftest import Stage

SOON_SECONDS = 10


@pytest.fixture
async def claim(stage: Stage) -> Claim:
    account = await stage.connect(1)
    async with transaction(stage.app.pool) as tx:
        return await batches.start(
            tx, account.id, trigger="manual", now=stage.clock.now(), worker=worker_name(), stale_seconds=20
        )


@pytest.mark.parametrize("steps", range(12))
async def test_a_heartbeat_that_is_given_its_connection_as_it_is_told_to_end_ends(
    stage: Stage, database: Database, claim: Claim, steps: int
) -> None:
    async with opened(make_pool(database.worker, "worker", max_size=1)) as pool:
        app = structs.replace(stage.app, pool=pool, settings=structs.replace(stage.app.settings, lease_seconds=0))
        async with asyncio.timeout(SOON_SECONDS):
            held = await pool.getconn()
            async with heartbeat(app, claim):
                while not pool.get_stats().get("requests_waiting"):  # noqa: ASYNC110 - no event tells it
                    await asyncio.sleep(0.001)
                await pool.putconn(held)
                for _ in range(steps):
                    await asyncio.sleep(0)
