"""What must be true of every account on every day."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from portfolio_scheduler.clock import ist
from portfolio_scheduler.simulator.accounts import Account
from portfolio_scheduler.simulator.options import SimulatorOptions
from portfolio_scheduler.simulator.world import World

FIRST = date(2026, 1, 27)


def sessions(world: World, first: date) -> list[date]:
    days = world.market.days
    return [days[index] for index in range(days.index_at(first), len(days))]


def check_orders(account: Account) -> None:
    for order in account.orders.values():
        assert sum(fill.quantity for fill in order.fills) == order.filled_quantity
        assert sum(fill.quantity * fill.price for fill in order.fills) == order.filled_value
        assert order.quantity == order.filled_quantity + order.remaining_quantity
        assert not order.is_working, "after the close nothing works"
        assert (order.status == "EXECUTED") == (order.remaining_quantity == 0)
        assert (order.status == "REJECTED") <= (order.filled_quantity == 0 and order.remark != "")
        assert all(order.created_at <= fill.at for fill in order.fills)


def check_positions(account: Account) -> None:
    traded: dict[tuple[str, str, str], int] = {}
    for order in account.orders.values():
        sign = 1 if order.ticket.transaction_type == "BUY" else -1
        key = (order.ticket.segment, order.ticket.symbol, order.ticket.product)
        traded[key] = traded.get(key, 0) + sign * order.filled_quantity
    for key, position in account.positions.items():
        assert position.quantity == position.carried + position.bought - position.sold
        assert position.bought - position.sold == traded.pop((key.segment, key.symbol, key.product), 0)
        assert key.product != "MIS" or position.quantity == 0
    assert not any(traded.values()), "every fill stands in a position"


@pytest.mark.parametrize("seed", [7, 11])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_sixty_days_add_up(seed, number):
    """Orders, positions, holdings and cash of each day follow from the day before and the day's fills."""
    world = World(SimulatorOptions(seed=seed, on=FIRST))
    days = sessions(world, FIRST)
    assert len(days) == 60
    for day in days:
        world.set_clock(ist(day, 9))
        account = world.account(number)
        before = {isin: holding.quantity for isin, holding in account.holdings.items()}
        world.set_clock(ist(day, 16))
        world.account(number)
        check_orders(account)
        check_positions(account)
        assert account.cash > 0
        expected = before | {
            isin: before.get(isin, 0) + delivery.net for isin, delivery in account.deliveries().items()
        }
        bought = {isin: delivery.net for isin, delivery in account.deliveries().items() if delivery.net > 0}
        world.set_clock(ist(day + timedelta(days=1), 0))
        world.account(number)
        assert {isin: holding.quantity for isin, holding in account.holdings.items()} == {
            isin: quantity for isin, quantity in expected.items() if quantity
        }
        assert {isin: holding.t1 for isin, holding in account.holdings.items() if holding.t1} == bought
        assert all(holding.free >= 0 and holding.cost > 0 for holding in account.holdings.values())


def test_cash_follows_from_what_was_bought_and_sold():
    """The quiet investor trades shares only: cash tomorrow = cash today − bought + sold − charges (+ money paid in)."""
    world = World(SimulatorOptions(seed=7, on=FIRST))
    account = world.account(1)
    trades = 0
    for day in sessions(world, FIRST):
        world.set_clock(ist(day, 9, 11))
        world.account(1)
        cash = account.cash
        world.set_clock(ist(day, 16))
        world.account(1)
        for order in account.orders.values():
            sign = -1 if order.ticket.transaction_type == "BUY" else 1
            cash += sign * order.filled_value - order.charges
            trades += 1
        world.set_clock(ist(day + timedelta(days=1), 0))
        world.account(1)
        assert account.cash == cash
    assert trades > 5


def test_it_does_not_matter_when_one_looks():
    """An account that is looked at every hour is the same as one that is first looked at on the last day."""
    often, once = (World(SimulatorOptions(seed=5, on=date(2026, 4, 1))) for _ in range(2))
    for day in sessions(often, date(2026, 4, 1)):
        for hour in range(10, 18):
            often.set_clock(ist(day, hour))
            often.account(2)
    once.set_clock(often.clock.now())
    seen, fresh = often.account(2), once.account(2)
    assert [order.row() for order in seen.orders.values()] == [order.row() for order in fresh.orders.values()]
    assert seen.holdings == fresh.holdings
    assert seen.cash == fresh.cash


def test_accounts_do_something():
    """Over sixty days the trader shows everything an order can become."""
    world = World(SimulatorOptions(seed=7, on=FIRST))
    statuses, remarks, segments, revisions, splits = set(), set(), set(), 0, 0
    for day in sessions(world, FIRST):
        world.set_clock(ist(day, 16))
        for order in world.account(2).orders.values():
            statuses.add(order.status)
            remarks.add(order.remark)
            segments.add(order.ticket.segment)
            revisions += order.revision
            splits += len(order.fills) > 1
    assert statuses == {"EXECUTED", "CANCELLED", "REJECTED"}
    assert segments == {"CASH", "FNO"}
    assert "Intraday square-off" in remarks
    assert "Order cancelled: validity DAY expired" in remarks
    assert revisions > 10
    assert splits > 10


def test_the_quiet_investor_is_quiet():
    world = World(SimulatorOptions(seed=7, on=FIRST))
    count = 0
    for day in sessions(world, FIRST):
        world.set_clock(ist(day, 16))
        count += len(world.account(1).orders)
    assert 4 <= count <= 30
    assert 12 <= len(world.account(1).holdings) <= 30


def test_sixty_days_take_little_time():
    import time

    world = World(SimulatorOptions(seed=7, on=FIRST))
    began = time.process_time()
    for day in sessions(world, FIRST):
        world.set_clock(ist(day, 16))
        for number in (1, 2, 3):
            world.account(number)
    assert (time.process_time() - began) / 60 < 0.02, "a few milliseconds a day"


def test_no_money_is_a_float():
    world = World(SimulatorOptions(seed=7))
    world.set_clock(ist(date(2026, 4, 24), 16))
    account = world.account(2)
    rows = [order.row() for order in account.orders.values()] + [row.row() for row in account.positions.values()]
    values = [value for row in rows for value in row.values()]
    assert not [value for value in values if isinstance(value, float)]
    assert any(isinstance(value, Decimal) for value in values)
