"""What bonus, split, merger, demerger, transfer and pledge do to prices and holdings."""

from datetime import date
from decimal import Decimal

import pytest

from portfolio_scheduler.simulator.corporate_actions import CorporateAction
from portfolio_scheduler.simulator.options import Load

EX_DATE = date(2026, 4, 22)


@pytest.fixture
def with_action(start):
    """An account of all stocks on Monday 20 April; the action comes on Wednesday."""

    async def started(**action):
        return await start(
            on=date(2026, 4, 20), load=Load(holdings=87), actions=(CorporateAction(on=EX_DATE, **action),)
        )

    return started


async def price(groww, symbol: str) -> Decimal:
    answer = await groww.payload("/live-data/ltp", segment="CASH", exchange_symbols=f"NSE_{symbol}")
    return Decimal(str(answer[f"NSE_{symbol}"]))


async def before_and_after(groww, at, symbol: str):
    """Holding and price on the evening before and on the morning of the ex-date."""
    groww.sim.set_clock(at(4, 21, 16))
    before, price_before = (await groww.login(1).holdings())[symbol], await price(groww, symbol)
    groww.sim.set_clock(at(4, 22, 9))
    held = await groww.login(1).holdings()
    return before, price_before, held


async def test_a_bonus_keeps_the_isin_and_doubles_the_units(with_action, at):
    groww = await with_action(kind="bonus", symbol="ABB", new=2, old=1)
    before, price_before, held = await before_and_after(groww, at, "ABB")
    after = held["ABB"]
    assert (after["quantity"], after["isin"]) == (before["quantity"] * 2, before["isin"])
    assert after["average_price"] == pytest.approx(before["average_price"] / 2)
    assert await price(groww, "ABB") * 2 == price_before


async def test_a_bonus_may_arrive_later(with_action, at):
    groww = await with_action(kind="bonus", symbol="ABB", new=2, old=1, credited_on=date(2026, 4, 24))
    before, _, held = await before_and_after(groww, at, "ABB")
    units = before["quantity"]
    after = held["ABB"]
    assert (after["quantity"], after["corporate_action_additional_quantity"]) == (units, units)
    groww.sim.set_clock(at(4, 24, 9))
    after = (await groww.login(1).holdings())["ABB"]
    assert (after["quantity"], after["corporate_action_additional_quantity"]) == (units * 2, 0)


async def test_a_split_changes_the_isin(with_action, at):
    groww = await with_action(kind="split", symbol="ABB", new=5, old=1, isin_before="INE117A01014")
    before, price_before, held = await before_and_after(groww, at, "ABB")
    after = held["ABB"]
    assert (before["isin"], after["isin"]) == ("INE117A01014", "INE117A01022")
    assert after["quantity"] == before["quantity"] * 5
    assert await price(groww, "ABB") * 5 == price_before


async def test_the_instruments_file_has_the_isin_of_the_day(with_action, at):
    groww = await with_action(kind="split", symbol="ABB", new=5, old=1, isin_before="INE117A01014")
    for day, isin in ((21, "INE117A01014"), (22, "INE117A01022")):
        groww.sim.set_clock(at(4, day, 9))
        async with groww.http.get(groww.sim.url + "/instruments/instrument.csv") as answer:
            assert isin in (await answer.text()).splitlines()[1]


async def test_a_merger_turns_one_company_into_units_of_another(with_action, at):
    groww = await with_action(kind="merger", symbol="ABB", new=3, old=2, into="SIEMENS")
    groww.sim.set_clock(at(4, 21, 16))
    other = (await groww.login(1).holdings())["SIEMENS"]
    before, _, held = await before_and_after(groww, at, "ABB")
    assert "ABB" not in held
    assert held["SIEMENS"]["quantity"] == other["quantity"] + before["quantity"] * 3 // 2
    assert (await groww.ask("/live-data/ltp", segment="CASH", exchange_symbols="NSE_ABB"))[0] == 400


async def test_a_demerger_gives_units_of_a_new_company_and_part_of_the_cost(with_action, at):
    groww = await with_action(kind="demerger", symbol="ABB", into="SYN00500", cost_permille=300)
    before, _, held = await before_and_after(groww, at, "ABB")
    assert held["ABB"]["quantity"] == held["SYN00500"]["quantity"] == before["quantity"]
    assert held["ABB"]["average_price"] == pytest.approx(before["average_price"] * 0.7)
    assert held["SYN00500"]["average_price"] == pytest.approx(before["average_price"] * 0.3)


async def test_units_come_and_go_without_orders(start):
    groww = await start(load=Load(holdings=1))
    await groww.control("accounts/1/transfer", json={"symbol": "INFY", "quantity": 10, "price": 1000})
    row = (await groww.holdings())["INFY"]
    assert (row["quantity"], row["demat_free_quantity"], row["average_price"]) == (10, 10, 1000)
    assert (await groww.control("accounts/1/transfer", json={"symbol": "INFY", "quantity": -11}))[0] == 400
    await groww.control("accounts/1/transfer", json={"symbol": "INFY", "quantity": -10})
    assert "INFY" not in await groww.holdings()
    assert await groww.orders() == []


async def test_pledged_units_stay_in_the_quantity(start):
    groww = await start(load=Load(holdings=1))
    (symbol, before), *_ = (await groww.holdings()).items()
    await groww.control("accounts/1/pledge", json={"symbol": symbol, "quantity": 400})
    row = (await groww.holdings())[symbol]
    assert (row["quantity"], row["pledge_quantity"]) == (before["quantity"], 400)
    assert row["demat_free_quantity"] == before["quantity"] - 400
    assert (await groww.control("accounts/1/pledge", json={"symbol": symbol, "quantity": -401}))[0] == 400
    await groww.control("accounts/1/pledge", json={"symbol": symbol, "quantity": -400})
    assert (await groww.holdings())[symbol] == before
