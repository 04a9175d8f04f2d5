"""Units that come and go without an order: each ends as its right explanation, or as unexplained, never as a wrong
number. The simulator's prices are those of each day, so a split shows in them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec
import pytest

from portfolio_scheduler.app import App
from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.clock import StoppedClock
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Pool, transaction
from portfolio_scheduler.db.reads.holdings import holdings as read_holdings
from portfolio_scheduler.domain.corporate_actions import ActionKind, make_action
from portfolio_scheduler.market.calendar import make_calendar
from portfolio_scheduler.simulator.corporate_actions import CorporateAction
from portfolio_scheduler.simulator.instruments import made_up_stock
from portfolio_scheduler.simulator.market import load_stocks
from portfolio_scheduler.simulator.options import Load
from portfolio_scheduler.simulator.server import SimulatorOptions, running
from portfolio_scheduler.sync.instruments import link
from portfolio_scheduler.sync.replay import replay
from tests.conftest import Database, keys_of
from tests.flows.conftest import Stage
from tests.flows.instrument_files import an_isin
from tests.flows.ledger_checks import check_ledger

MONDAY, BEFORE, EX_DATE, AFTER = (date(2026, 4, day) for day in (20, 21, 22, 23))
ISINS = {stock.symbol: stock.isin for stock in load_stocks()}
ABB, SIEMENS, OLD_ABB, NEWCO = ISINS["ABB"], ISINS["SIEMENS"], an_isin(1), made_up_stock(500).isin

Staged = Callable[..., Awaitable[tuple[Stage, Account]]]


@pytest.fixture
async def staged(database: Database, pool: Pool) -> AsyncIterator[Staged]:
    """An account of all stocks, read on Monday and Tuesday evening; the action comes on Wednesday."""
    stack = []

    async def start(**action: Any) -> tuple[Stage, Account]:
        actions = (CorporateAction(on=EX_DATE, symbol="ABB", **action),) if action else ()
        options = SimulatorOptions(accounts=1, seed=7, on=MONDAY, load=Load(holdings=87), actions=actions)
        running_sim = running(options)
        sim = await running_sim.__aenter__()
        stack.append(running_sim)
        app = App(
            settings=database.settings,
            pool=pool,
            conninfo=database.worker,
            api_conninfo=database.api,
            clock=StoppedClock(sim.now),
            calendar=make_calendar(),
            **await keys_of(database.settings, pool, StoppedClock(sim.now)),
            brokers={"groww": Groww(sim.url)},
        )
        assert isinstance(app.clock, StoppedClock)
        stage = Stage(app, sim, app.clock)
        account = await stage.connect(1)
        for day in (MONDAY, BEFORE):
            await evening(stage, account, day)
        return stage, account

    yield start
    for one in stack:
        await one.__aexit__(None, None, None)


async def evening(stage: Stage, account: Account, on: date, minute: int = 0) -> Any:
    stage.at(on, 16, minute)
    report = await stage.sync(account)
    await check_ledger(stage, account.id)
    return report


async def linked(stage: Stage, kind: str, isin: str, new_isin: str, ratio: str) -> None:
    await link(stage.app, make_action(ActionKind(kind), isin, new_isin, ratio, EX_DATE))


async def control(stage: Stage, call: str, **body: Any) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{stage.sim.control_url}/accounts/1/{call}", data=msgspec.json.encode(body)) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def changes(stage: Stage, on: date) -> dict[str, tuple[Any, ...]]:
    rows = await stage.rows(
        "SELECT isin, quantity_before, quantity, explanation, details ->> 'action', details ->> 'effect' "
        "FROM holding_changes WHERE trading_on = %s ORDER BY seq",
        on,
    )
    return {row[0]: row[1:] for row in rows}


async def day_change(stage: Stage, on: date) -> tuple[Decimal, ...]:
    """Value, day change, market move, net invested, transferred, unexplained of the newest revision."""
    return await stage.one(  # type: ignore[no-any-return]
        "SELECT holdings_value, day_change, market_move, net_invested, transferred, unexplained "
        "FROM portfolio_snapshots WHERE trading_on = %s ORDER BY revision DESC LIMIT 1",
        on,
    )


async def held_before(stage: Stage, isin: str) -> Decimal:
    return Decimal(await stage.one("SELECT quantity FROM real_holdings WHERE isin = %s", isin))


async def close_of(stage: Stage, on: date) -> Decimal:
    query = "SELECT price FROM closing_prices WHERE instrument_key = %s AND priced_on = %s"
    return Decimal(await stage.one(query, ABB, on))


def is_quiet(change: tuple[Decimal, ...]) -> bool:
    """Whether all of the day's change is the market's, and no more than markets do."""
    value, whole, moved, invested, transferred, unexplained = change
    return (whole, invested, transferred, unexplained) == (moved, 0, 0, 0) and abs(moved) < value / 20


async def test_a_split_that_is_known_is_explained_at_once(staged: Staged) -> None:
    stage, account = await staged(kind="split", new=5, isin_before=OLD_ABB)
    units = await held_before(stage, OLD_ABB)
    await linked(stage, "split", OLD_ABB, ABB, "5:1")
    report = await evening(stage, account, EX_DATE)
    assert (report.status, report.counts["snapshots"]) == ("completed", 1)
    assert await changes(stage, EX_DATE) == {
        ABB: (0, units * 5, "corporate_action", "split", "turned"),
        OLD_ABB: (units, 0, "corporate_action", "split", "turned"),
    }
    assert is_quiet(await day_change(stage, EX_DATE))
    async with transaction(stage.app.pool) as tx:
        lines = {row.isin: row for row in await read_holdings(tx, [account.id])}
    assert OLD_ABB not in lines
    assert "unexplained" not in {row.basis for row in lines.values()}
    await evening(stage, account, AFTER)
    assert is_quiet(await day_change(stage, AFTER)), "an action counts on one day only"


async def test_a_split_that_nobody_linked_waits_and_stays_unexplained(staged: Staged) -> None:
    stage, account = await staged(kind="split", new=5, isin_before=OLD_ABB)
    units = await held_before(stage, OLD_ABB)
    first = await evening(stage, account, EX_DATE)
    assert (first.status, first.counts["snapshots"]) == ("partial", 0)
    assert await changes(stage, EX_DATE) == {}, "neither gone nor come: never both at once in the value"
    second = await evening(stage, account, EX_DATE, 5)
    assert (second.status, second.counts["snapshots"]) == ("completed", 1)
    assert await changes(stage, EX_DATE) == {
        ABB: (0, units * 5, "unexplained", None, None),
        OLD_ABB: (units, 0, "unexplained", None, None),
    }
    value, whole, moved, _, transferred, unexplained = await day_change(stage, EX_DATE)
    assert (transferred, whole) == (0, moved + unexplained)
    assert unexplained != 0
    assert abs(whole) < value / 20


async def test_a_bonus_that_is_known(staged: Staged) -> None:
    stage, account = await staged(kind="bonus", new=2)
    units = await held_before(stage, ABB)
    await linked(stage, "bonus", ABB, ABB, "2:1")
    await evening(stage, account, EX_DATE)
    assert await changes(stage, EX_DATE) == {ABB: (units, units * 2, "corporate_action", "bonus", "turned")}
    assert is_quiet(await day_change(stage, EX_DATE))


async def test_a_bonus_that_nobody_linked_is_unexplained(staged: Staged) -> None:
    stage, account = await staged(kind="bonus", new=2)
    units = await held_before(stage, ABB)
    await evening(stage, account, EX_DATE)
    assert await changes(stage, EX_DATE) == {ABB: (units, units * 2, "unexplained", None, None)}
    _, whole, moved, _, _, unexplained = await day_change(stage, EX_DATE)
    assert whole == moved + unexplained
    assert unexplained > 0


async def test_a_bonus_that_is_credited_later_is_on_its_way_until_then(staged: Staged) -> None:
    stage, account = await staged(kind="bonus", new=2, credited_on=AFTER)
    units = await held_before(stage, ABB)
    await linked(stage, "bonus", ABB, ABB, "2:1")
    await evening(stage, account, EX_DATE)
    assert await changes(stage, EX_DATE) == {ABB: (units, units, "corporate_action", "bonus", "announced")}
    value, whole, moved, invested, transferred, unexplained = await day_change(stage, EX_DATE)
    price = await close_of(stage, EX_DATE)
    assert (transferred, invested, unexplained) == (-units * price, 0, 0)
    assert abs(moved) < value / 20
    assert whole == moved + transferred
    await evening(stage, account, AFTER)
    assert await changes(stage, AFTER) == {ABB: (units, units * 2, "corporate_action", "bonus", "arrived")}
    _, _, _, _, transferred, unexplained = await day_change(stage, AFTER)
    assert (transferred > 0, unexplained) == (True, 0)


async def test_a_merger_that_is_known(staged: Staged) -> None:
    stage, account = await staged(kind="merger", new=3, old=2, into="SIEMENS")
    units, others = await held_before(stage, ABB), await held_before(stage, SIEMENS)
    await linked(stage, "merger", ABB, SIEMENS, "3:2")
    report = await evening(stage, account, EX_DATE)
    assert report.status == "completed"
    assert await changes(stage, EX_DATE) == {
        SIEMENS: (others, others + units * 3 // 2, "corporate_action", "merger", "turned"),
        ABB: (units, 0, "corporate_action", "merger", "turned"),
    }
    _, whole, moved, invested, transferred, unexplained = await day_change(stage, EX_DATE)
    assert (invested, unexplained, whole) == (0, 0, moved + transferred)


async def test_a_merger_that_nobody_linked(staged: Staged) -> None:
    stage, account = await staged(kind="merger", new=3, old=2, into="SIEMENS")
    await evening(stage, account, EX_DATE)
    assert await changes(stage, EX_DATE) == {}
    await evening(stage, account, EX_DATE, 5)
    assert {row[2] for row in (await changes(stage, EX_DATE)).values()} == {"unexplained"}


async def test_a_demerger_that_is_known_and_one_that_is_not(staged: Staged) -> None:
    stage, account = await staged(kind="demerger", into="SYN00500", cost_permille=300)
    units = await held_before(stage, ABB)
    await linked(stage, "demerger", ABB, NEWCO, "1:1")
    await evening(stage, account, EX_DATE)
    assert await changes(stage, EX_DATE) == {
        ABB: (units, units, "corporate_action", "demerger", "cost"),
        NEWCO: (0, units, "corporate_action", "demerger", "turned"),
    }
    _, whole, moved, invested, transferred, unexplained = await day_change(stage, EX_DATE)
    assert (whole, invested, transferred, unexplained) == (moved, 0, 0, 0)


async def test_a_demerger_that_nobody_linked(staged: Staged) -> None:
    stage, account = await staged(kind="demerger", into="SYN00500", cost_permille=300)
    units = await held_before(stage, ABB)
    await evening(stage, account, EX_DATE)
    assert await changes(stage, EX_DATE) == {
        ABB: (units, units, "repriced", None, None),
        NEWCO: (0, units, "unexplained", None, None),
    }


async def test_a_wrong_ratio_explains_nothing(staged: Staged) -> None:
    stage, account = await staged(kind="bonus", new=2)
    await linked(stage, "bonus", ABB, ABB, "3:1")
    await evening(stage, account, EX_DATE)
    assert (await changes(stage, EX_DATE))[ABB][2:] == ("unexplained", None, None)


async def test_an_action_explains_one_change_only(staged: Staged) -> None:
    stage, account = await staged(kind="bonus", new=2)
    units = await held_before(stage, ABB)
    await linked(stage, "bonus", ABB, ABB, "2:1")
    await evening(stage, account, EX_DATE)
    await control(stage, "transfer", symbol="ABB", quantity=int(units * 2), price=100)
    await evening(stage, account, AFTER)
    assert await changes(stage, AFTER) == {ABB: (units * 2, units * 4, "unexplained", None, None)}


@pytest.mark.parametrize("quantity", [10, -10])
async def test_a_transfer_that_the_broker_shows_on_its_way(staged: Staged, quantity: int) -> None:
    stage, account = await staged()
    units = await held_before(stage, ABB)
    stage.at(BEFORE, 17)
    await control(stage, "transfer", symbol="ABB", quantity=quantity, price=100, settles_on="2026-04-23")
    await evening(stage, account, EX_DATE)
    assert await changes(stage, EX_DATE) == {ABB: (units, units, "transferred", None, None)}
    assert is_quiet(await day_change(stage, EX_DATE))
    await evening(stage, account, AFTER)
    assert await changes(stage, AFTER) == {ABB: (units, units + quantity, "transferred", None, None)}
    _, whole, moved, invested, transferred, unexplained = await day_change(stage, AFTER)
    price = await close_of(stage, AFTER)
    assert (transferred, invested, unexplained) == (quantity * price, 0, 0)
    assert whole == moved + transferred


async def test_a_whole_holding_transferred_out_is_gone_at_once(staged: Staged) -> None:
    stage, account = await staged()
    units = await held_before(stage, ABB)
    stage.at(BEFORE, 17)
    await control(stage, "transfer", symbol="ABB", quantity=-int(units), settles_on="2026-04-23")
    await evening(stage, account, EX_DATE)
    report = await evening(stage, account, AFTER)
    assert report.status == "completed"
    assert await changes(stage, AFTER) == {ABB: (units, 0, "transferred", None, None)}
    _, _, _, _, transferred, unexplained = await day_change(stage, AFTER)
    assert (transferred < 0, unexplained) == (True, 0)


async def test_a_transfer_that_nobody_announced_is_unexplained(staged: Staged) -> None:
    stage, account = await staged()
    units = await held_before(stage, ABB)
    stage.at(BEFORE, 17)
    await control(stage, "transfer", symbol="ABB", quantity=10, price=100)
    await evening(stage, account, EX_DATE)
    assert await changes(stage, EX_DATE) == {ABB: (units, units + 10, "unexplained", None, None)}
    _, _, _, invested, transferred, unexplained = await day_change(stage, EX_DATE)
    assert (invested, transferred, unexplained > 0) == (0, 0, True)


async def test_pledging_moves_no_money(staged: Staged) -> None:
    stage, account = await staged()
    units = await held_before(stage, ABB)
    for day, quantity in ((EX_DATE, 5), (AFTER, -5)):
        stage.at(day, 10)
        await control(stage, "pledge", symbol="ABB", quantity=quantity)
        await evening(stage, account, day)
        assert await changes(stage, day) == {ABB: (units, units, "pledged", None, None)}
        assert is_quiet(await day_change(stage, day))


async def test_a_purchase_settles(staged: Staged) -> None:
    """Bought on Wednesday, in the holdings on Thursday as T1, settled on Friday."""
    stage, account = await staged()
    stage.at(EX_DATE, 10)
    headers = {"Authorization": f"Bearer {stage.sim.token(1)}", "X-API-VERSION": "1.0"}
    async with aiohttp.ClientSession(headers=headers) as http:
        order = {
            "trading_symbol": "ABB", "quantity": 3, "validity": "DAY", "exchange": "NSE", "segment": "CASH",
            "product": "CNC", "order_type": "MARKET", "transaction_type": "BUY", "order_reference_id": "ref-0001",
        }  # fmt: skip
        async with http.post(f"{stage.sim.url}/order/create", json=order) as answer:
            assert answer.status == 200, await answer.text()
    units = await held_before(stage, ABB)
    found = []
    for day in (EX_DATE, AFTER, date(2026, 4, 24)):
        await evening(stage, account, day)
        found.append((await changes(stage, day)).get(ABB))
        assert (await day_change(stage, day))[5] == 0
    assert found == [
        None,
        (units, units + 3, "traded", None, None),
        (units + 3, units + 3, "settled", None, None),
    ]


async def test_a_replay_explains_what_was_linked_as_the_sync_did(staged: Staged) -> None:
    stage, account = await staged(kind="split", new=5, isin_before=OLD_ABB)
    await linked(stage, "split", OLD_ABB, ABB, "5:1")
    await evening(stage, account, EX_DATE)
    done = await replay(stage.app, account.id, since_on=MONDAY)
    assert (done.voided, done.added, done.snapshots) == (0, 0, ())


async def test_a_link_that_came_late_is_told_by_a_replay(staged: Staged) -> None:
    stage, account = await staged(kind="bonus", new=2)
    units = await held_before(stage, ABB)
    await evening(stage, account, EX_DATE)
    await evening(stage, account, AFTER)
    assert (await day_change(stage, EX_DATE))[5] != 0
    await linked(stage, "bonus", ABB, ABB, "2:1")
    await replay(stage.app, account.id, since_on=EX_DATE)
    await check_ledger(stage, account.id)
    found = await stage.rows(
        "SELECT quantity_before, quantity, explanation FROM effective_holding_changes WHERE trading_on = %s", EX_DATE
    )
    assert found == [(units, units * 2, "corporate_action")]
    assert is_quiet(await day_change(stage, EX_DATE))
    assert is_quiet(await day_change(stage, AFTER))
