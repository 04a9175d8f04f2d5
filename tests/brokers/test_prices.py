"""Last traded prices: one bad symbol never loses another."""

from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from portfolio_scheduler.domain.records import Instrument, Outcome

from .conftest import Account
from .scripted import Scripted, always, failure, raw

LTP = "/live-data/ltp"


def instruments(*symbols: str, segment: str = "CASH", exchange: str = "NSE") -> list[Instrument]:
    return [
        Instrument(key=f"KEY-{symbol}", exchange=exchange, segment=segment, trading_symbol=symbol) for symbol in symbols
    ]


def market(bad: set[str], *, names: bool = True) -> Any:
    def answer(request: web.Request) -> Any:
        symbols = request.query["exchange_symbols"].split(",")
        wrong = [symbol for symbol in symbols if symbol.partition("_")[2] in bad]
        if wrong:
            message = f"Invalid trading symbol: {wrong[0].partition('_')[2]}" if names else "Bad request"
            return failure(400, "GA001", message)
        return dict.fromkeys(symbols, 100.05)

    return answer


async def prices(account: Account, wanted: list[Instrument]) -> Any:
    return account.parse(await account.do("fetch_prices", wanted))


async def test_fifty_a_call(account: Account, server: Scripted) -> None:
    server.on(LTP, market(set()))
    statement = await prices(account, instruments(*(f"S{n:03}" for n in range(120))))
    assert len(statement.prices) == 120
    assert [len(query["exchange_symbols"].split(",")) for query in server.queries(LTP)] == [50, 50, 20]


@pytest.mark.parametrize("names", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("bad", [{"S07"}, {"S00", "S49"}, {f"S{n:02}" for n in range(0, 50, 9)}])
async def test_a_bad_symbol_loses_no_other(account: Account, server: Scripted, bad: set[str], names: bool) -> None:
    server.on(LTP, market(bad, names=names))
    symbols = [f"S{n:02}" for n in range(50)]
    statement = await prices(account, instruments(*symbols))
    assert {price.trading_symbol for price in statement.prices} == set(symbols) - bad
    assert {price.key for price in statement.prices} == {f"KEY-{symbol}" for symbol in set(symbols) - bad}
    assert statement.sections["prices"].outcome is Outcome.OK
    assert set(statement.flags) == {f"prices:unpriced:NSE_{symbol}" for symbol in bad}


async def test_a_symbol_is_dropped_by_its_whole_name_only(account: Account, server: Scripted) -> None:
    server.on(LTP, market({"M"}))
    statement = await prices(account, instruments("M", "M&M", "MM", "BAJAJ-AUTO", "L&TFH", "ODD NAME,1%"))
    assert {price.trading_symbol for price in statement.prices} == {"M&M", "MM", "BAJAJ-AUTO", "L&TFH"} | (
        {"ODD NAME,1%"} & {price.trading_symbol for price in statement.prices}
    )
    assert "NSE_M%26M" in server.asked[1].raw_path


async def test_segments_and_exchanges_are_asked_apart(account: Account, server: Scripted) -> None:
    server.on(LTP, market(set()))
    wanted = [
        *instruments("INFY", exchange=""),
        *instruments("SCRIP", exchange="BSE"),
        *instruments("NIFTY26APRFUT", segment="FNO"),
        *instruments("GOLD26JUNFUT", segment="COMMODITY", exchange="MCX"),
    ]
    statement = await prices(account, wanted)
    assert {(p.segment, p.exchange, p.trading_symbol) for p in statement.prices} == {
        ("CASH", "NSE", "INFY"), ("CASH", "BSE", "SCRIP"), ("FNO", "NSE", "NIFTY26APRFUT"),
        ("COMMODITY", "MCX", "GOLD26JUNFUT"),
    }  # fmt: skip
    assert server.count(LTP) == 3


async def test_not_entitled_is_no_failure_and_no_new_login(account: Account, server: Scripted) -> None:
    server.on(LTP, always(failure(403, "403", "Access forbidden for this request.")))
    statement = await prices(account, instruments(*(f"S{n:03}" for n in range(120))))
    assert statement.sections["prices"].outcome is Outcome.NOT_ENTITLED
    assert (server.count(LTP), server.count("/token/api/access")) == (1, 1)


async def test_a_batch_that_fails_leaves_the_others(account: Account, server: Scripted) -> None:
    good = market(set())
    server.on(LTP, lambda request: raw("", 502) if "NSE_S000" in request.query_string else good(request))
    statement = await prices(account, instruments(*(f"S{n:03}" for n in range(60))))
    assert len(statement.prices) == 10
    assert statement.sections["prices"].outcome is Outcome.UNSTABLE


async def test_no_price_is_made_of_nothing(account: Account, server: Scripted) -> None:
    server.on(LTP, raw('{"payload": {"NSE_A": null, "NSE_B": 0, "NSE_C": -1, "NSE_D": "1_000", "NSE_E": 1e999999999,'
                       '"NSE_F": "12.5", "NSE_G": true, "NSE_X": 5}}'))  # fmt: skip
    statement = await prices(account, instruments(*"ABCDEFGH"))
    assert [(price.trading_symbol, price.price) for price in statement.prices] == [("F", Decimal("12.5"))]
    assert len(statement.flags) == 7


async def test_nothing_to_price_costs_nothing(account: Account, server: Scripted) -> None:
    statement = await prices(account, [])
    assert statement.sections["prices"].outcome is Outcome.OK
    assert server.asked == []
