"""A snapshot counts the orders of its day, by the date the broker gives them, not by the list they stood in."""

from datetime import date, timedelta

import msgspec
import pytest

from portfolio_scheduler.db.snapshots import NEAR_DAYS
from portfolio_scheduler.domain.changes import NEAR
from portfolio_scheduler.simulator.faults import Fault
from tests.builders import TUESDAY
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger

COUNTS = """SELECT DISTINCT ON (trading_on) trading_on, orders_count FROM portfolio_snapshots
    ORDER BY trading_on, revision DESC"""


async def read_two_evenings(stage: Stage, traded_on: date) -> tuple[int, int, dict[date, int]]:
    """How many orders the first evening's list had, all dated so, and the second's; and what was counted."""
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    dated = msgspec.Raw(msgspec.json.encode(f"{traded_on}T00:00:00"))
    stage.sim.add_fault(Fault(kind="edit", path="/v1/order/list", rows="order_list", values={"trade_date": dated}))
    stage.sim.faults.waiting[-1].times = None
    await stage.sync(account)
    stage.sim.faults.waiting.clear()
    stage.at(TUESDAY, 16)
    await stage.sync(account)
    listed = [
        await stage.one("SELECT count(*) FROM order_history WHERE listed_on = %s", on) for on in (FIRST_DAY, TUESDAY)
    ]
    await check_ledger(stage, account.id)
    return listed[0], listed[1], dict(await stage.rows(COUNTS))


async def test_an_order_placed_for_tomorrow_counts_tomorrow(stage: Stage) -> None:
    monday, tuesday, counted = await read_two_evenings(stage, TUESDAY)
    assert monday
    assert counted == {FIRST_DAY: 0, TUESDAY: monday + tuesday}


async def test_an_order_of_the_weekend_counts_on_the_next_session(stage: Stage) -> None:
    monday, tuesday, counted = await read_two_evenings(stage, FIRST_DAY - timedelta(days=1))
    assert counted == {FIRST_DAY: monday, TUESDAY: tuesday}


async def test_an_order_of_an_earlier_day_that_stands_in_the_list_is_none_of_today(stage: Stage) -> None:
    _, tuesday, counted = await read_two_evenings(stage, FIRST_DAY - timedelta(days=3))
    assert counted == {FIRST_DAY: 0, TUESDAY: tuesday}


@pytest.mark.parametrize("nonsense", [date(1970, 1, 1), date(2027, 1, 1)])
async def test_a_date_far_from_the_list_is_not_believed(stage: Stage, nonsense: date) -> None:
    monday, tuesday, counted = await read_two_evenings(stage, nonsense)
    assert counted == {FIRST_DAY: monday, TUESDAY: tuesday}


def test_near_is_the_same_in_the_database() -> None:
    assert int(NEAR_DAYS) == NEAR.days
