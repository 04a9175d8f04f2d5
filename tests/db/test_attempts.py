"""Limits that hold across processes: never more in any stretch, however many try at once."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

from portfolio_scheduler.db.people.attempts import Bucket, count
from portfolio_scheduler.db.pool import Pool
from portfolio_scheduler.db.viewers import at_the_door

NOW = datetime(2026, 5, 4, 10, 30, tzinfo=UTC)


async def tried(pool: Pool, buckets: list[Bucket], at: datetime) -> bool:
    async with at_the_door(pool, at) as tx:
        return (await count(tx, buckets, at)).retry_after_seconds is None


async def test_no_stretch_wherever_it_begins_holds_more(api_pool: Pool) -> None:
    bucket, chance, at, passed = Bucket("x", 4, 300), random.Random(5), NOW, []
    for _ in range(200):
        at += timedelta(seconds=chance.choice([1, 5, 20, 60, 200]))
        if await tried(api_pool, [bucket], at):
            passed.append(at)
    for begin in passed:
        within = [one for one in passed if begin <= one < begin + timedelta(seconds=300)]
        assert len(within) <= 4
    assert len(passed) > 40, "and it is not much stricter than it says"


async def test_of_many_at_once_as_many_pass_as_may(api_pool: Pool) -> None:
    mine, all_ = Bucket("mine", 5, 300), Bucket("all", 1000, 300)
    passed = await asyncio.gather(*(tried(api_pool, [mine, all_], NOW) for _ in range(30)))
    assert sum(passed) == 5


async def test_what_one_bucket_refuses_none_counts(api_pool: Pool) -> None:
    full, other = Bucket("full", 1, 300), Bucket("other", 2, 300)
    assert await tried(api_pool, [full, other], NOW)
    assert not any([await tried(api_pool, [full, other], NOW) for _ in range(5)])
    assert await tried(api_pool, [other], NOW), "five refused tries used nothing up"
    assert not await tried(api_pool, [other], NOW)


async def test_old_counts_go(api_pool: Pool) -> None:
    for n in range(30):
        assert await tried(api_pool, [Bucket(f"b{n}", 1, 300)], NOW)
    later = NOW + timedelta(days=3)
    for n in range(3):
        assert await tried(api_pool, [Bucket(f"c{n}", 1, 300)], later)
    async with at_the_door(api_pool, later) as tx:
        cursor = await tx.execute("SELECT count(*) FROM attempts")
        assert await cursor.fetchone() == (3,)
