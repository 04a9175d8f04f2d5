"""Parts of a day come at different times: whatever failed and was fetched again, the day ends as in one go."""

import pytest

from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.domain.records import Outcome
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.connect import connect
from portfolio_scheduler.sync.run import Report
from tests.builders import TUESDAY
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger

FIGURES = """SELECT trading_on, holdings_value, invested, unrealised_pnl, positions_pnl, cash, margin_used,
    holdings_count, positions_count, orders_count, fills_count, priced_ratio,
    day_change, market_move, net_invested, unexplained, lines
    FROM portfolio_snapshots WHERE account_id = %s ORDER BY trading_on, revision"""
FACTS = {
    "order_history": "broker_order_id, listed_on, status, filled_quantity",
    "order_quantity_changes": "broker_order_id, change_type, trading_on, quantity_delta, status_after, price_after",
    "order_fills": "broker_order_id, broker_trade_id, quantity, price, trading_on",
    "holding_changes": "isin, trading_on, quantity, average_price, explanation",
    "position_changes": "segment, trading_symbol, product, trading_on, quantity, gone, explanation",
    "ledger_events": "kind, section, subject",
}


async def told(stage: Stage, account: Account) -> dict[str, list[str]]:
    """All facts of the account but their numbers, and the figures of its snapshots."""
    facts = {}
    for table, columns in FACTS.items():
        rows = await stage.rows(f"SELECT {columns} FROM {table} WHERE account_id = %s", account.id)
        facts[table] = sorted(map(repr, rows))
    facts["figures"] = [repr(row) for row in await stage.rows(FIGURES, account.id)]
    return facts


def missing(report: Report) -> list[str]:
    return [name for name, result in report.sections.items() if result.outcome is not Outcome.OK]


@pytest.mark.parametrize(
    ("path", "after"),
    [
        ("/v1/holdings/user", 0),
        ("/v1/positions/user", 0),
        ("/v1/order/list", 0),
        ("/v1/order/trades", 0),
        ("/v1/order/trades", 2),
        ("/v1/margins", 0),
        ("/v1/live-data", 0),
        ("/v1/live-data", 1),
    ],
)
async def test_whatever_failed_first_the_day_ends_as_a_clean_one(stage: Stage, path: str, after: int) -> None:
    broken, clean = await stage.connect(2), await a_twin(stage)
    stage.at(FIRST_DAY, 16)
    for account in (broken, clean):
        await stage.sync(account)
    stage.at(TUESDAY, 16)
    odd = '{"status":"SUCCESS","payload":1}'
    stage.sim.add_fault(Fault(kind="raw", path=path, body=odd, times=None, after=after))
    first = await stage.sync(broken)
    assert first.status == "partial", first
    stage.sim.faults.waiting.clear()
    second = await stage.sync(broken, trigger="retry", wanted=missing(first))
    assert (second.status, second.counts["snapshots"]) == ("completed", 1), second
    await stage.sync(clean)
    for account in (broken, clean):
        await check_ledger(stage, account.id)
    assert await told(stage, broken) == await told(stage, clean)


async def a_twin(stage: Stage, number: int = 2) -> Account:
    """The same broker account, connected by another user: what it says is the same, what happens to it is not."""
    return await connect(
        stage.app, broker="groww", label="twin", credentials=stage.credentials(number), user="somebody else"
    )
