"""What a long history costs: a day of a year ago looked up, and the derived tables written anew.

The history is an account's first day, written by the engine and then repeated inside the database, days apart.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from portfolio_scheduler.app import App, running
from portfolio_scheduler.bench import place, statements
from portfolio_scheduler.bench.apply_only import NOW, Hand, new_accounts
from portfolio_scheduler.bench.figures import Figure, Scale, at_most, figure
from portfolio_scheduler.bench.raw_writer import FACTS
from portfolio_scheduler.clock import StoppedClock, SystemClock
from portfolio_scheduler.db import prices
from portfolio_scheduler.db.pool import Tx, make_pool, opened, transaction
from portfolio_scheduler.db.reads.holdings import holdings
from portfolio_scheduler.db.reads.orders import orders
from portfolio_scheduler.db.reads.positions import positions
from portfolio_scheduler.db.rebuilding import rebuild

ORDERS = 20_000
FACTS_REBUILT = 1_000_000
ACCOUNTS_REBUILT = 10
DAYS_APART = 3
YEAR = timedelta(days=365)


async def measure_as_of(scale: Scale) -> list[Figure]:
    """Holdings, positions and orders of one account, as they were a year before its last day."""
    days = scale.of(ORDERS, 300) // statements.ORDERS
    async with _histories(1, days) as (app, [account_id], facts):
        then = statements.DAY + DAYS_APART * timedelta(days=days) - YEAR if not scale.quick else statements.DAY

        async def look() -> None:
            async with transaction(app.pool) as tx:
                held = await holdings(tx, [account_id], until_on=then)
                assert len(held) == statements.HOLDINGS
                await positions(tx, [account_id], until_on=then)
                await orders(tx, [account_id], until_on=then, limit=200)

        await look()
        milliseconds = [1e3 * await _seconds(look) for _ in range(scale.of(15, 1))]
    note = f"holdings, positions and the newest 200 orders; {days * statements.ORDERS:,} orders, {facts:,} facts"
    return [figure("as-of", "one account a year back", "ms", milliseconds, at_most(100), note)]


async def measure_rebuild(scale: Scale) -> list[Figure]:
    """The derived tables of accounts of a hundred thousand facts each, one after the other."""
    accounts = scale.of(ACCOUNTS_REBUILT, 1)
    days = scale.of(FACTS_REBUILT // ACCOUNTS_REBUILT // 400, 2)
    async with _histories(accounts, days) as (app, account_ids, facts):
        seconds = []
        for account_id in account_ids:

            async def write_anew(account_id: UUID = account_id) -> None:
                async with transaction(app.pool) as tx:
                    await rebuild(tx, account_id)

            seconds.append(await _seconds(write_anew) * FACTS_REBUILT / facts)
    note = f"measured on {accounts} accounts of {facts:,} facts each"
    return [figure("rebuild", "a million facts", "s", seconds, note=note)]


async def _seconds(work: Callable[[], Awaitable[None]]) -> float:
    clock = SystemClock()
    started = clock.monotonic()
    await work()
    return clock.monotonic() - started


@asynccontextmanager
async def _histories(accounts: int, days: int) -> AsyncIterator[tuple[App, list[UUID], int]]:
    """Accounts with so many days behind them, and how many facts each has. The planner knows the tables."""
    with place.fresh() as (settings, owner):
        async with running(settings, StoppedClock(NOW)) as app:
            async with transaction(app.pool) as tx:
                await prices.save(tx, statements.prices())
            account_ids = await new_accounts(app, accounts)
            hand = Hand(app)
            await hand.claim(account_ids, "first")
            await hand.apply("first")
            for account_id in account_ids:
                async with transaction(app.pool) as tx:
                    facts = await _repeat(tx, account_id, days - 1)
                    await rebuild(tx, account_id)
            async with opened(make_pool(owner, "worker", max_size=1)) as pool, transaction(pool) as tx:
                await tx.execute("ANALYZE")
            yield app, account_ids, facts


async def _repeat(tx: Tx, account_id: UUID, times: int) -> int:
    """The account's facts again and again: later, numbered on, orders with ids of their own. Returns how many."""
    cursor = await tx.execute("SELECT seq FROM account_heads WHERE account_id = %s", (account_id,))
    (stride,) = await cursor.fetchone() or (0,)
    for table in FACTS:
        cursor = await tx.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attgenerated = ''",
            (table,),
        )
        names = [name for (name,) in await cursor.fetchall()]
        values = ", ".join(_LATER.get(name, f"f.{name}") for name in names)
        insert = (
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} "  # noqa: S608 - names from the catalogue
            f"FROM {table} f, generate_series(1, %(times)s) AS n (k) WHERE f.account_id = %(account)s"
        )
        given = {"account": account_id, "times": times, "stride": stride, "apart": DAYS_APART}
        await tx.execute(insert.encode(), given)
    facts = int(stride) * (times + 1)
    await tx.execute("UPDATE account_heads SET seq = %s WHERE account_id = %s", (facts, account_id))
    return facts


_LATER = {
    "seq": "f.seq + k * %(stride)s",
    "broker_order_id": "f.broker_order_id || '-' || k",
    "trading_on": "f.trading_on + k * %(apart)s::int",
    "listed_on": "f.listed_on + k * %(apart)s::int",
}
