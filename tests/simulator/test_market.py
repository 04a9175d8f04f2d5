"""Prices: real closes, and a path between them that the seed decides."""

from datetime import date

import pytest

from portfolio_scheduler.simulator.contracts import Contract, Contracts
from portfolio_scheduler.simulator.market import Market, load_closes, load_stocks, load_trading_days
from portfolio_scheduler.simulator.wall import wall_at

DAY = date(2026, 4, 24)


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(7)


def test_the_package_has_the_figures():
    assert len(load_stocks()) == 87
    days = load_trading_days()
    assert (days.first, days.last) == (date(2024, 1, 1), DAY)
    assert date(2026, 2, 1) in days, "the budget Sunday"
    assert load_closes()["INFY"][-1] == 115_460
    assert all(len(column) == len(days) for column in load_closes().values())


def test_before_the_open_the_price_is_yesterdays_close(market):
    assert market.paise("INFY", wall_at(DAY, 9)) == market.paise("INFY", wall_at(date(2026, 4, 23), 15, 30))


def test_from_the_close_on_the_price_is_the_close(market):
    for hour, minute in ((15, 30), (16, 0), (23, 59)):
        assert market.paise("INFY", wall_at(DAY, hour, minute)) == 115_460
    assert market.paise("INFY", wall_at(date(2026, 4, 26), 12)) == 115_460, "Sunday"


def test_the_path_is_the_seeds(market):
    noon = wall_at(DAY, 12)
    assert market.paise("INFY", noon) == Market(7).paise("INFY", noon)
    assert market.path("INFY", 570) != Market(8).path("INFY", 570)


def test_the_path_stays_near_the_closes_and_on_the_tick(market):
    for stock in load_stocks():
        for minute in range(0, 375, 25):
            price = market.paise(stock.symbol, wall_at(DAY, 9, 15) + minute * 60)
            low, high = sorted(market.close(stock.symbol, len(market.days) - back) for back in (1, 2))
            assert low * 0.93 < price < high * 1.07
            assert price % 5 == 0


def test_high_and_low_hold_the_last_price(market):
    for hour in range(9, 17):
        day = market.day_prices("TCS", wall_at(DAY, hour, 20))
        assert day.low <= day.last <= day.high
        assert day.low <= day.open <= day.high


def test_contracts_expire_on_the_last_tuesday(market):
    contracts = Contracts(market)
    assert contracts.expiry_of(2026, 4) == date(2026, 4, 28)
    assert contracts.expiry_of(2026, 3) == date(2026, 3, 30), "the 31st was a holiday"
    assert contracts.expiries(date(2026, 4, 24))[0] == date(2026, 4, 28)


def test_a_symbol_names_one_contract(market):
    contracts = Contracts(market)
    for contract in contracts.listed(DAY):
        assert contracts.find(contract.symbol) == contract
    assert contracts.find("NIFTY26APR24600CE") == Contract("NIFTY", date(2026, 4, 28), "CE", 24_600)
    assert contracts.find("NIFTY") is None


def test_an_option_is_worth_more_than_its_intrinsic_value_until_it_expires(market):
    contracts = Contracts(market)
    contract = Contract("NIFTY", date(2026, 4, 28), "CE", 24_000)
    spot = market.paise("NIFTY", wall_at(DAY, 12))
    assert contracts.paise(contract, wall_at(DAY, 12)) > spot - 24_000 * 100 > 0
    assert contracts.paise(contract._replace(strike=30_000), wall_at(date(2026, 4, 28), 15, 30)) == 5
