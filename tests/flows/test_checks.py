"""The checks: nothing to say about a history as it is written, and every kind of damage is caught and named."""

from datetime import date

import psycopg
import pytest
from msgspec.structs import replace

from portfolio_scheduler.checks import Problem, check
from portfolio_scheduler.clock import ist
from portfolio_scheduler.db.ledger import FACT_TABLES
from portfolio_scheduler.market.calendar import SHIPPED_UNTIL
from tests.conftest import Database
from tests.flows.conftest import Stage

DAYS = [date(2026, 4, 20), date(2026, 4, 21), date(2026, 4, 22)]

# Damage by somebody who may do everything, and the check that must name it.
SOME_ISIN = "isin = (SELECT min(isin) FROM real_holdings)"
DAMAGE = {
    "a fact deleted": (
        "numbers",
        "DELETE FROM holding_changes WHERE seq = (SELECT min(seq) FROM holding_changes)",
    ),
    "the head set back": ("numbers", "UPDATE account_heads SET seq = seq - 1"),
    "a fact altered": ("state", "UPDATE holding_changes SET quantity = quantity + 1 WHERE trading_on = '2026-04-20'"),
    "a first sight deleted": ("state", "DELETE FROM order_history"),
    "a holding altered": ("state", f"UPDATE real_holdings SET average_price = 1 WHERE {SOME_ISIN}"),
    "a holding lost": ("state", f"DELETE FROM real_holdings WHERE {SOME_ISIN}"),
    "a finding invented": (
        "state",
        """INSERT INTO open_findings
        SELECT account_id, 'MISSING', 'orders:CASH', 'G1', seq, trading_on, observed_at, '{}'
        FROM portfolio_snapshots LIMIT 1""",
    ),
    "a position altered": ("state", "UPDATE real_positions SET net_price = 1"),
    "executions altered": ("fills", "UPDATE current_orders SET fills_quantity = fills_quantity + 1"),
    "values altered": (
        "snapshots",
        "UPDATE portfolio_snapshots SET holdings_value = holdings_value + 1, previous_value = previous_value + 1",
    ),
    "a line altered": (
        "snapshots",
        """UPDATE portfolio_snapshots SET lines = jsonb_set(lines, '{0,quantity}', '"1"')
        WHERE trading_on = '2026-04-22'""",
    ),
    "a count altered": ("snapshots", "UPDATE portfolio_snapshots SET holdings_count = holdings_count + 1"),
    "another day before": (
        "snapshots",
        """UPDATE portfolio_snapshots SET previous_value = previous_value + 1, day_change = day_change - 1,
        market_move = market_move - 1""",
    ),
    "a day forgotten": (
        "coverage",
        "UPDATE sync_batches SET trading_on = '2026-04-20' WHERE trading_on = '2026-04-21'",
    ),
    "a batch left running": (
        "batches",
        """INSERT INTO sync_batches (account_id, trigger, status, queued_at, started_at, heartbeat_at)
        SELECT account_id, 'manual', 'running', now(), now(), now() - interval '1 minute' FROM account_heads""",
    ),
    "a batch left waiting": (
        "batches",
        """INSERT INTO sync_batches (id, account_id, trigger, status, queued_at)
        SELECT uuidv7(interval '-2 hours'), account_id, 'manual', 'queued', now() FROM account_heads""",
    ),
}


async def checked(stage: Stage, account: object) -> list[Problem]:
    return await check(stage.app, [account])  # type: ignore[list-item]


async def a_history(stage: Stage) -> object:
    account = await stage.connect(2)
    for day in DAYS:
        stage.at(day, 16)
        await stage.sync(account)
    return account


async def test_nothing_is_wrong_with_what_the_product_writes(stage: Stage) -> None:
    account = await a_history(stage)
    assert await checked(stage, account) == []


@pytest.mark.parametrize("name", DAMAGE)
async def test_damage_is_caught_and_named(stage: Stage, database: Database, name: str) -> None:
    account = await a_history(stage)
    caught, statement = DAMAGE[name]
    with psycopg.connect(database.superuser) as connection:
        for table in (*FACT_TABLES, "sync_batches"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
        connection.execute(statement)  # type: ignore[arg-type]
    problems = await checked(stage, account)
    assert caught in {problem.check for problem in problems}, problems
    for problem in problems:
        assert problem.where
        assert problem.remedy
        assert problem.account == account.label  # type: ignore[attr-defined]


async def test_a_day_that_nobody_read_is_a_problem_until_it_is_recorded_as_a_gap(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(DAYS[0], 16)
    await stage.sync(account)
    stage.at(DAYS[2], 10)
    assert [(p.check, p.where) for p in await checked(stage, account)] == [("coverage", DAYS[1].isoformat())]
    await stage.sync(account)
    assert await checked(stage, account) == []


async def test_a_calendar_that_ends_soon_is_a_problem_of_the_installation(stage: Stage) -> None:
    clock = type(stage.clock)(ist(SHIPPED_UNTIL, 10))
    [problem] = await check(replace(stage.app, clock=clock), [])
    assert (problem.check, problem.account) == ("calendar", None)


async def test_every_fact_table_is_numbered(database: Database) -> None:
    with psycopg.connect(database.owner) as connection:
        facts = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
            "AND obj_description(oid, 'pg_class') LIKE 'fact:%' ORDER BY 1"
        ).fetchall()
    assert [name for (name,) in facts] == sorted(FACT_TABLES)
