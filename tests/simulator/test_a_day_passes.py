"""What a day, a night and a settlement do to an account."""

from datetime import date
from decimal import Decimal

import pytest

from portfolio_scheduler.simulator.options import Load, Quirks

MONDAY, TUESDAY, WEDNESDAY = (4, 20), (4, 21), (4, 22)


@pytest.fixture
async def monday(start, at):
    """An account with nothing planned, on Monday 20 April at noon."""
    groww = await start(on=date(2026, 4, 20), load=Load(holdings=2))
    groww.sim.set_clock(at(*MONDAY, 12))
    return groww


async def test_a_delivery_goes_from_positions_to_t1_to_free(monday, at):
    groww = monday
    await groww.buy("INFY", 10)
    groww.sim.set_clock(at(*MONDAY, 16))
    (position,) = await groww.positions(segment="CASH")
    assert (position["quantity"], position["credit_quantity"], position["product"]) == (10, 10, "CNC")
    assert "INFY" not in await groww.holdings()

    groww.sim.set_clock(at(*TUESDAY, 9))
    assert await groww.login(1).positions() == []
    row = (await groww.holdings())["INFY"]
    assert (row["quantity"], row["t1_quantity"], row["demat_free_quantity"]) == (10, 10, 0)
    assert row["average_price"] == position["credit_price"]

    groww.sim.set_clock(at(*WEDNESDAY, 9))
    row = (await groww.login(1).holdings())["INFY"]
    assert (row["quantity"], row["t1_quantity"], row["demat_free_quantity"]) == (10, 0, 10)


async def test_a_purchase_of_friday_is_t1_until_the_night_to_tuesday(start, at):
    groww = await start(on=date(2026, 4, 17), load=Load(holdings=0))
    groww.sim.set_clock(at(4, 17, 12))
    await groww.buy("INFY", 10)
    for day, t1 in ((18, 10), (19, 10), (20, 10), (21, 0)):
        groww.sim.set_clock(at(4, day, 10))
        assert (await groww.login(1).holdings())["INFY"]["t1_quantity"] == t1, day


async def test_a_sale_is_a_debit_today_and_leaves_the_holdings_tomorrow(monday, at):
    groww = monday
    held = await groww.holdings()
    symbol, before = next(iter(held.items()))
    await groww.buy(symbol, 400, transaction_type="SELL")
    groww.sim.set_clock(at(*MONDAY, 16))
    (position,) = await groww.positions()
    assert (position["quantity"], position["debit_quantity"]) == (-400, 400)
    row = (await groww.holdings())[symbol]
    assert (row["quantity"], row["groww_locked_quantity"]) == (before["quantity"], 400)
    groww.sim.set_clock(at(*TUESDAY, 9))
    row = (await groww.login(1).holdings())[symbol]
    assert (row["quantity"], row["average_price"]) == (before["quantity"] - 400, before["average_price"])


async def test_holdings_may_already_contain_today(monday, at):
    groww = monday
    await groww.control("quirks", json={"holdings_include_today": True})
    symbol, before = next(iter((await groww.holdings()).items()))
    await groww.buy("INFY", 10)
    await groww.buy(symbol, 400, transaction_type="SELL")
    groww.sim.set_clock(at(*MONDAY, 13))
    held = await groww.holdings()
    assert (held["INFY"]["quantity"], held["INFY"]["t1_quantity"]) == (10, 10)
    assert held[symbol]["quantity"] == before["quantity"] - 400
    groww.sim.set_clock(at(*TUESDAY, 9))
    after = await groww.login(1).holdings()
    assert {name: row["quantity"] for name, row in after.items()} == {
        name: row["quantity"] for name, row in held.items()
    }


async def test_nobody_sells_what_is_not_there(monday, at):
    groww = monday
    placed = await groww.buy("INFY", 1, transaction_type="SELL")
    assert placed["order_status"] == "REJECTED"
    assert "insufficient holdings" in placed["remark"]


async def test_what_is_bought_today_may_be_sold_today(monday, at):
    groww = monday
    await groww.buy("INFY", 10)
    groww.sim.set_clock(at(*MONDAY, 12, 5))
    await groww.buy("INFY", 4, transaction_type="SELL")
    groww.sim.set_clock(at(*MONDAY, 12, 10))
    (position,) = await groww.positions()
    assert (position["quantity"], position["credit_quantity"], position["debit_quantity"]) == (6, 10, 4)
    gained = 4 * (Decimal(str(position["debit_price"])) - Decimal(str(position["credit_price"])))
    assert Decimal(str(position["realised_pnl"])) == gained
    groww.sim.set_clock(at(*TUESDAY, 9))
    assert (await groww.login(1).holdings())["INFY"]["quantity"] == 6


async def test_the_order_list_forgets_yesterday_at_midnight(monday, at):
    groww = monday
    placed = await groww.buy("INFY", 1)
    groww.sim.set_clock(at(*MONDAY, 23, 59, 59))
    assert [order["groww_order_id"] for order in await groww.orders()] == [placed["groww_order_id"]]
    groww.sim.set_clock(at(*TUESDAY, 0))
    assert await groww.orders() == []
    status, body = await groww.ask(f"/order/detail/{placed['groww_order_id']}", segment="CASH")
    assert (status, body["error"]["code"]) == (404, "GA004")


async def test_the_day_may_end_at_six_instead(start, at):
    groww = await start(on=date(2026, 4, 17), load=Load(orders=2, filled=1), quirks=Quirks(rolls_at_hour=6))
    groww.sim.set_clock(at(4, 18, 5, 59))
    assert len(await groww.orders()) == 2
    groww.sim.set_clock(at(4, 18, 6))
    assert await groww.login(1).orders() == []


async def test_yesterdays_orders_may_be_remembered(start, at):
    groww = await start(on=date(2026, 4, 20), load=Load(orders=1, filled=1), quirks=Quirks(remembers_orders=True))
    groww.sim.set_clock(at(*MONDAY, 16))
    (order,) = await groww.orders()
    fills = await groww.trades(order)
    groww.sim.set_clock(at(*TUESDAY, 9))
    assert await groww.login(1).orders() == [], "the list forgets all the same"
    assert await groww.payload(f"/order/detail/{order['groww_order_id']}", segment="CASH") == order
    assert await groww.trades(order) == fills
    groww.sim.set_clock(at(*WEDNESDAY, 9))
    assert (await groww.login(1).ask(f"/order/detail/{order['groww_order_id']}", segment="CASH"))[0] == 404


async def test_orders_live_for_the_day(monday, at):
    groww = monday
    await groww.buy("INFY", 1, order_type="LIMIT", price=500)
    groww.sim.set_clock(at(*MONDAY, 15, 29))
    assert (await groww.orders())[0]["order_status"] == "OPEN"
    groww.sim.set_clock(at(*MONDAY, 15, 30))
    (order,) = await groww.orders()
    assert (order["order_status"], order["remaining_quantity"]) == ("CANCELLED", 1)


def a_falling_stock(world) -> tuple[str, int]:
    """A symbol, and a price in paise on its way down in the next two hours."""
    for stock in world.instruments.stocks:
        prices = [world.market.paise(stock.symbol, world.now + minute * 60) for minute in range(120)]
        if min(prices) < prices[0] - 200 and prices[5] > (middle := (min(prices) + prices[0]) // 10 * 5):
            return stock.symbol, middle
    raise AssertionError("some stock always falls")


async def test_a_limit_order_waits_until_the_price_gets_there(monday, at):
    groww = monday
    symbol, limit = a_falling_stock(groww.sim.world)
    await groww.buy(symbol, 1, order_type="LIMIT", price=limit / 100)
    groww.sim.set_clock(at(*MONDAY, 12, 5))
    assert (await groww.orders())[0]["order_status"] == "OPEN"
    groww.sim.set_clock(at(*MONDAY, 14))
    (order,) = await groww.orders()
    assert order["order_status"] == "EXECUTED"
    assert order["average_fill_price"] <= limit / 100
    assert order["exchange_time"] > "2026-04-20T12:05:00"


async def test_cash_moves_with_trades(monday, at):
    groww = monday
    before = await groww.payload("/margins/detail/user")
    await groww.buy("INFY", 10)
    groww.sim.set_clock(at(*MONDAY, 13))
    during = await groww.payload("/margins/detail/user")
    (order,) = await groww.orders()
    spent = Decimal(str(order["average_fill_price"])) * 10
    assert during["clear_cash"] == before["clear_cash"]
    assert Decimal(str(during["equity_margin_details"]["cnc_margin_used"])) == spent
    groww.sim.set_clock(at(*TUESDAY, 9))
    after = await groww.login(1).payload("/margins/detail/user")
    charges = Decimal(str(during["brokerage_and_charges"]))
    assert Decimal(str(after["clear_cash"])) == Decimal(str(before["clear_cash"])) - spent - charges


async def test_an_order_outside_the_session_is_rejected(monday, at):
    groww = monday
    groww.sim.set_clock(at(*MONDAY, 18))
    placed = await groww.buy("INFY", 1)
    assert (placed["order_status"], placed["remark"]) == ("REJECTED", "Order rejected: the market is closed")


async def test_intraday_positions_are_squared_off(monday, at):
    groww = monday
    await groww.buy("INFY", 5, product="MIS", transaction_type="SELL")
    groww.sim.set_clock(at(*MONDAY, 15, 10))
    assert [row["quantity"] for row in await groww.positions()] == [-5]
    groww.sim.set_clock(at(*MONDAY, 15, 20))
    assert [row["quantity"] for row in await groww.positions()] == [0]
    assert [order["transaction_type"] for order in await groww.orders()] == ["BUY", "SELL"]
    groww.sim.set_clock(at(*TUESDAY, 9))
    groww.login(1)
    assert await groww.positions() == []
    assert "INFY" not in await groww.holdings()


async def test_the_exchange_can_be_told_to_fill_a_part(monday, at):
    groww = monday
    placed = await groww.buy("INFY", 10, order_type="LIMIT", price=500)
    order_id = placed["groww_order_id"]
    groww.sim.set_clock(at(*MONDAY, 12, 1))
    status, _ = await groww.control("accounts/1/fill", json={"order_id": order_id, "quantity": 4, "price": 499.95})
    assert status == 200
    await groww.payload("/order/cancel", method="POST", json={"groww_order_id": order_id, "segment": "CASH"})
    groww.sim.set_clock(at(*MONDAY, 12, 2))
    (order,) = await groww.orders()
    assert (order["order_status"], order["filled_quantity"], order["remaining_quantity"]) == ("CANCELLED", 4, 6)
    assert [fill["quantity"] for fill in await groww.trades(order)] == [4]


@pytest.mark.parametrize("seed", [0, 1, 7, 8, 4711])
async def test_the_trader_cancels_a_partly_filled_order_every_day(start, at, seed):
    """The demonstration shows the trail of such an order of the last day, whatever the seed."""
    groww = await start(seed=seed)
    for minute in ((11, 0), (16, 0)):
        groww.sim.set_clock(at(4, 24, *minute))
        partly = [
            order
            for order in await groww.login(2).orders(segment="CASH")
            if 0 < order["filled_quantity"] < order["quantity"]
        ]
        assert partly, f"at {minute}"
        wanted = "OPEN" if minute[0] == 11 else "CANCELLED"
        assert wanted in {order["order_status"] for order in partly}


async def test_contracts_are_carried_forward(start, at):
    groww = await start(on=date(2026, 4, 22))
    groww.sim.set_clock(at(4, 22, 16))
    today = {row["trading_symbol"]: row for row in await groww.login(2).positions(segment="FNO")}
    groww.sim.set_clock(at(4, 23, 9))
    tomorrow = {row["trading_symbol"]: row for row in await groww.login(2).positions(segment="FNO")}
    held = {symbol: row for symbol, row in today.items() if row["quantity"]}
    assert tomorrow.keys() == held.keys()
    assert tomorrow
    for symbol, row in tomorrow.items():
        assert row["net_carry_forward_quantity"] == row["quantity"] == held[symbol]["quantity"]
        assert row["net_carry_forward_price"] == row["net_price"] == held[symbol]["net_price"]
        assert (row["credit_quantity"], row["debit_quantity"], row["realised_pnl"]) == (0, 0, 0)
