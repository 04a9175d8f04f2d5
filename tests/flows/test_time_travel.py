"""`--as-of`: what was known at the end of a day, put together by the database, is what the fold says."""

from datetime import date
from typing import Any

from portfolio_scheduler.cli.summary import summarise
from portfolio_scheduler.db import ledger, past
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.db.reads import holdings, orders, positions
from portfolio_scheduler.domain.changes import State
from portfolio_scheduler.domain.restating import day_of
from portfolio_scheduler.sync.replay import replay
from portfolio_scheduler.sync.run import sync_account
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import as_text
from tests.flows.replaying import broken
from tests.flows.test_replay import wrong_averages, wrong_orders

DAYS = [date(2026, 4, day) for day in (20, 21, 22, 23)]
TABLES = {
    "current_orders": "WITH s AS (SELECT * FROM effective_order_history WHERE account_id = ANY(%(accounts)s) "
    f"AND listed_on <= %(until)s) {past.ORDER_STATES}",
    "real_holdings": past.HOLDING_STATES,
    "real_positions": past.POSITION_STATES,
    "open_findings": past.FINDING_STATES,
}


async def then(stage: Stage, account_id: Any, table: str, until: date) -> list[Any]:
    async with transaction(stage.app.pool) as tx:
        cursor = await tx.execute(
            f"SELECT to_jsonb(t) FROM ({TABLES[table]}) t", {"accounts": [account_id], "until": until}
        )
        return sorted(([row] for (row,) in await cursor.fetchall()), key=repr)


async def now(stage: Stage, account_id: Any, table: str) -> list[Any]:
    computed = "'open_quantity,filled_value,locked_quantity,invested_value,day_quantity,day_value,net_value'"
    rows = await stage.rows(
        f"SELECT to_jsonb(t) - string_to_array({computed}, ',') FROM {table} t WHERE account_id = %s", account_id
    )
    return sorted(([row] for (row,) in rows), key=repr)


async def test_a_past_day_is_what_was_known_when_it_ended(stage: Stage) -> None:
    account = await stage.connect(2)
    told = {}
    for day in DAYS:
        for hour in (11, 16):
            stage.at(day, hour)
            await stage.sync(account)
        async with transaction(stage.app.pool) as tx:
            ids = [account.id]
            told[day] = (
                {table: await now(stage, account.id, table) for table in TABLES},
                await holdings.holdings(tx, ids),
                await positions.positions(tx, ids),
                await orders.orders(tx, ids),
                await summarise(stage.app, account),
            )
    assert await as_text(stage, "real_holdings", account.id)
    for day in DAYS:
        tables, held, lines, placed, summary = told[day]
        for table, rows in tables.items():
            assert await then(stage, account.id, table, day) == rows, (day, table)
        async with transaction(stage.app.pool) as tx:
            assert await holdings.holdings(tx, [account.id], until_on=day) == held
            assert await positions.positions(tx, [account.id], until_on=day) == lines
            assert await orders.orders(tx, [account.id], until_on=day) == placed
            assert await orders.orders(tx, [account.id], until_on=day, on=day, limit=1) == placed[:1]
            cancelled = [order for order in placed if order.status == "CANCELLED"]
            assert await orders.orders(tx, [account.id], until_on=day, status="cancelled") == cancelled
        assert await summarise(stage.app, account, until_on=day) == summary


async def test_a_past_day_of_a_corrected_history_is_what_its_fold_says(stage: Stage) -> None:
    account = await stage.connect(2)
    for number, day in enumerate(DAYS):
        stage.at(day, 16)
        breaks = wrong_orders if number == 0 else wrong_averages
        await sync_account(broken(stage, breaks) if number < 3 else stage.app, account.id)
    await replay(stage.app, account.id, since_on=FIRST_DAY)
    async with transaction(stage.app.pool) as tx:
        changes = await ledger.load_changes(tx, account.id)
    for day in DAYS:
        folded = ledger.folded([one for one in changes if day_of(one.change) <= day], State())
        async with transaction(stage.app.pool) as tx:
            found = await past.book(tx, account.id, day)
            placed = await orders.orders(tx, [account.id], until_on=day)
        assert (found.holdings, found.positions) == (folded.holdings, folded.positions)
        names = (
            "status",
            "quantity",
            "filled_quantity",
            "price",
            "average_fill_price",
            "remark",
            "order_type",
            "product",
        )
        assert {o.broker_order_id: [getattr(o, n) for n in names] for o in placed} == {
            key: [getattr(known.order, n) for n in names] for key, known in folded.orders.items()
        }
