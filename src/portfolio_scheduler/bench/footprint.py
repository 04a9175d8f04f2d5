"""How much memory a worker takes, and how many bytes an account leaves in the database in a year."""

from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection

from portfolio_scheduler.bench.end_to_end import NORMAL, simulator_options
from portfolio_scheduler.bench.figures import Figure, Scale, at_most, figure
from portfolio_scheduler.bench.stage import Stage, staged, trading_days
from portfolio_scheduler.clock import ist
from portfolio_scheduler.db import embedded
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.jobs import SYNCS_AT_ONCE
from portfolio_scheduler.sync.run import sync_account

MB = 10**6
MIB = 2**20
SHARED = frozenset({"closing_prices", "instruments", "market_days"})  # one row for all accounts
TIMES = ((16, 0), (23, 15))  # what the product schedules by itself for every trading day
VACUUMED_EVERY = 5  # trading days: in a year autovacuum comes by every day, in the minute that this takes it does not


async def measure_memory(scale: Scale) -> list[Figure]:
    accounts = scale.of(1000, 3)
    days = trading_days(2)
    async with staged(simulator_options(NORMAL, accounts, days[0])) as stage:
        ids = [account.id for account in await stage.connect(range(1, accounts + 1))]
        with stage.working(1) as crew:
            peaks = []
            for day in days:
                stage.stand_at(ist(day, 16))
                await stage.sync(ids)
                peaks.append(max(crew.tell("peak_bytes")) / MIB)
    note = f"first day {peaks[0]:.0f} MiB, second day; one process, {SYNCS_AT_ONCE} syncs at once"
    return [figure("memory", f"worker, peak resident, {accounts:,} accounts", "MiB", peaks[1:], at_most(150), note)]


class Size(Struct, frozen=True):
    """Bytes of one table."""

    table: str
    rows: int
    bytes: int  # with what is stored out of line
    index_bytes: int


async def measure_size(scale: Scale) -> list[Figure]:
    accounts, days = scale.of(2, 1), trading_days(scale.of(250, 2))
    async with staged(simulator_options(NORMAL, accounts, days[0])) as stage:
        before = {size.table: size for size in await _sizes(stage)}
        connected = await stage.connect(range(1, accounts + 1))
        for number, day in enumerate(days, start=1):
            for hour, minute in TIMES:
                stage.stand_at(ist(day, hour, minute))
                for account in connected:
                    report = await sync_account(stage.app, account.id, trigger="scheduled")
                    assert report.status == "completed", report.error
            if number % VACUUMED_EVERY == 0:
                await _vacuum(stage)
        sizes = [_grown(size, before.get(size.table), accounts) for size in await _sizes(stage)]
    of_account = [size for size in sizes if size.table not in SHARED and size.bytes + size.index_bytes]
    total = sum(size.bytes + size.index_bytes for size in of_account) / MB
    note = f"{len(days)} trading days of 5 orders, 3 filled; read at 16:00 and 23:15; mean of {accounts} accounts"
    return [
        figure("size", "database, per account and year", "MB", [total], at_most(5), note),
        *(_line(size, "") for size in sorted(of_account, key=lambda s: -s.bytes - s.index_bytes)),
        *(_line(size, ", shared by all accounts") for size in sizes if size.table in SHARED and size.rows),
    ]


def _line(size: Size, what: str) -> Figure:
    note = f"{size.rows:,} rows; table {size.bytes / MB:.2f}, indexes {size.index_bytes / MB:.2f}"
    return figure("size", f"  {size.table}{what}", "MB", [(size.bytes + size.index_bytes) / MB], note=note)


def _grown(size: Size, before: Size | None, accounts: int) -> Size:
    share = 1 if size.table in SHARED else accounts
    was = before or Size(size.table, 0, 0, 0)
    return Size(
        size.table,
        (size.rows - was.rows) // share,
        (size.bytes - was.bytes) // share,
        (size.index_bytes - was.index_bytes) // share,
    )


async def _vacuum(stage: Stage) -> None:
    """What autovacuum does. No transaction may be open, so this is none of ours."""
    superuser = embedded.conninfo(stage.app.settings, user=embedded.SUPERUSER)
    async with await AsyncConnection.connect(superuser, autocommit=True) as connection:
        await connection.execute("VACUUM")


async def _sizes(stage: Stage) -> list[Size]:
    """Every table of ours; the queue's are empty again when its jobs are done."""
    async with transaction(stage.app.pool) as tx:
        cursor = await tx.execute(
            """
            SELECT c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid) FROM pg_class c
            WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'procrastinate%%'
                AND has_table_privilege(c.oid, 'SELECT')
            ORDER BY c.relname
            """,
            (),
        )
        found: list[tuple[Any, ...]] = await cursor.fetchall()
        sizes = []
        for table, size, index_size in found:
            cursor = await tx.execute(f"SELECT count(*) FROM {table}".encode())  # noqa: S608 - from the catalogue
            (rows,) = await cursor.fetchone() or (0,)
            sizes.append(Size(table, rows, size, index_size))
        return sizes
