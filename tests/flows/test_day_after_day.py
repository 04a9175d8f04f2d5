"""Days go by: what is written each day agrees with the day before, with the broker, and with itself."""

from datetime import date
from decimal import Decimal

import pytest

from portfolio_scheduler.domain.line_diff import DELIVERY
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.simulator.server import Simulator
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger, facts_of

DAYS = [date(2026, 4, day) for day in (20, 21, 22, 23, 24)]


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_week_is_written_down_without_a_hole_or_a_riddle(stage: Stage, number: int) -> None:
    account = await stage.connect(number)
    for day in DAYS:
        stage.at(day, 16)
        report = await stage.sync(account)
        assert (report.status, report.counts["snapshots"]) == ("completed", 1), report
        await check_ledger(stage, account.id)
    unexplained = await stage.one("SELECT count(*) FROM holding_changes WHERE explanation = 'unexplained'")
    days = await stage.rows("SELECT trading_on, unexplained FROM portfolio_snapshots ORDER BY trading_on")
    assert unexplained == 0
    assert [day for day, _ in days] == DAYS
    assert [amount for _, amount in days] == [None, 0, 0, 0, 0]


async def test_every_order_and_execution_of_the_broker_is_in_the_ledger(stage: Stage) -> None:
    account = await stage.connect(2)
    expected: set[tuple[str, str, Decimal]] = set()
    for day in DAYS:
        stage.at(day, 16)
        await stage.sync(account)
        expected |= orders_of(stage.sim, 2)
    rows = await stage.rows("SELECT broker_order_id, status, filled_quantity FROM current_orders")
    assert set(rows) == expected
    short = await stage.rows("SELECT broker_order_id FROM current_orders WHERE fills_quantity <> filled_quantity")
    assert short == []


def orders_of(sim: Simulator, number: int) -> set[tuple[str, str, Decimal]]:
    """The orders of an account as the simulator itself knows them, past its HTTP answers."""
    orders = sim.account(number).orders.values()
    return {(order.order_id, order.status, Decimal(order.filled_quantity)) for order in orders}


async def test_a_second_sync_of_the_same_day_adds_nothing(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    await stage.sync(account)
    before = await facts_of(stage, account.id)
    again = await stage.sync(account)
    assert again.status == "completed"
    assert {name: count for name, count in again.counts.items() if count} == {}
    assert await facts_of(stage, account.id) == before


async def test_a_midday_sync_is_provisional_and_freezes_nothing(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 12)
    midday = await stage.sync(account)
    assert (midday.standing, midday.counts["snapshots"]) == ("provisional", 0)
    stage.at(FIRST_DAY, 16)
    final = await stage.sync(account)
    assert (final.standing, final.counts["snapshots"]) == ("final", 1)
    await check_ledger(stage, account.id)


async def test_the_trail_of_an_order_grows_through_the_day(stage: Stage) -> None:
    """The trader has an order each day that is partly filled in the morning and cancelled in the afternoon."""
    account = await stage.connect(2)
    for hour in (11, 13, 16):
        stage.at(FIRST_DAY, hour, 30)
        await stage.sync(account)
    trails = await stage.rows(
        "SELECT broker_order_id, array_agg(change_type ORDER BY seq), array_agg(batch_id ORDER BY seq) "
        "FROM order_quantity_changes GROUP BY 1"
    )
    cancelled = [
        (types, batches)
        for _, types, batches in trails
        if types[-1] == "ORDER_CANCELLED" and any(name.startswith("QUANTITY_") for name in types)
    ]
    assert cancelled, trails
    assert all(len(set(batches)) > 1 for _, batches in cancelled), "seen filling in one sync and cancelled in another"


async def test_a_share_bought_today_is_counted_once_today_and_tomorrow(stage: Stage) -> None:
    account = await stage.connect(2)
    for day in DAYS[:3]:
        stage.at(day, 16)
        await stage.sync(account)
    bought = await stage.rows(
        "SELECT DISTINCT isin FROM order_fills WHERE trading_on = %s AND side = 'BUY' AND product = ANY(%s)",
        DAYS[1],
        list(DELIVERY),
    )
    assert bought, "the story needs a purchase"
    for (isin,) in bought:
        rows = await stage.rows(
            "SELECT (line ->> 'quantity')::numeric - coalesce((SELECT sum(CASE side WHEN 'BUY' THEN quantity "
            "ELSE -quantity END) FROM order_fills f WHERE f.isin = %s AND f.trading_on = s.trading_on "
            "AND product = 'CNC'), 0) FROM portfolio_snapshots s, jsonb_array_elements(lines) line "
            "WHERE line ->> 'isin' = %s AND trading_on = %s",
            isin,
            isin,
            DAYS[1],
        )
        before = await stage.rows(
            "SELECT (line ->> 'quantity')::numeric FROM portfolio_snapshots s, jsonb_array_elements(lines) line "
            "WHERE line ->> 'isin' = %s AND trading_on = %s",
            isin,
            DAYS[0],
        )
        assert rows[0][0] == (before[0][0] if before else 0)


async def test_positions_without_isins_are_no_riddle_beside_trades_that_have_them(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.sim.add_fault(Fault(kind="edit", path="/v1/positions", rows="positions", without=["symbol_isin"], times=None))
    for day in DAYS[:4]:
        stage.at(day, 16)
        await stage.sync(account)
    assert await stage.one("SELECT count(*) FROM position_changes WHERE isin IS NOT NULL") == 0
    assert await stage.one("SELECT count(*) FROM order_fills WHERE isin IS NOT NULL") > 0
    days = await stage.rows("SELECT unexplained FROM portfolio_snapshots ORDER BY trading_on")
    assert [amount for (amount,) in days] == [None, 0, 0, 0]
    await check_ledger(stage, account.id)
