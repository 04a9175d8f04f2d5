"""The server's habits: pages, batches, limits, entitlement, sameness, size."""

import time

import pytest

from portfolio_scheduler.simulator.options import Load, Quirks


@pytest.fixture
async def busy(start, at):
    """An account with 130 orders of today."""
    groww = await start(load=Load(holdings=5, orders=130, filled=3))
    groww.sim.set_clock(at(4, 24, 16))
    return groww


@pytest.mark.parametrize(("page_size", "length"), [(None, 25), ("10", 10), ("100", 100), ("1000", 100)])
async def test_a_page_has_a_default_and_a_cap(busy, page_size, length):
    query = {} if page_size is None else {"page_size": page_size}
    assert len((await busy.payload("/order/list", **query))["order_list"]) == length


async def test_pages_count_from_zero_and_run_out(busy):
    pages = [await busy.orders(page=str(page)) for page in range(3)]
    assert [len(page) for page in pages] == [100, 30, 0]
    assert len({order["groww_order_id"] for page in pages for order in page}) == 130


async def test_the_newest_order_comes_first(busy):
    created = [order["created_at"] for order in await busy.orders()]
    assert created == sorted(created, reverse=True)


@pytest.mark.parametrize("query", [{"page": "-1"}, {"page": "x"}, {"page_size": "0"}, {"segment": "GOLD"}])
async def test_a_wrong_parameter_is_refused(busy, query):
    status, body = await busy.ask("/order/list", **query)
    assert (status, body["error"]["code"]) == (400, "GA001")


async def test_trades_come_in_pages_of_fifty_at_most(busy):
    filled = [order for order in await busy.orders(page="1") if order["filled_quantity"]]
    assert len(filled) == 3
    assert [len(await busy.trades(order)) for order in filled] == [1, 1, 1]
    path = f"/order/trades/{filled[0]['groww_order_id']}"
    assert (await busy.payload(path, segment="CASH", page="1"))["trade_list"] == []
    assert (await busy.ask(path, segment="CASH", page_size="51"))[0] == 400


async def test_a_load_has_exactly_its_size(start):
    groww = await start(load=Load(holdings=150, positions=40))
    held = await groww.holdings()
    assert len(held) == 150
    assert len({row["isin"] for row in held.values()}) == 150
    assert len(await groww.positions()) == 40
    made_up = [symbol for symbol in held if symbol.startswith("SYN")]
    prices = await groww.payload("/live-data/ltp", segment="CASH", exchange_symbols=f"NSE_{made_up[0]}")
    assert next(iter(prices.values())) > 0


async def test_made_up_isins_are_valid(start):
    groww = await start(load=Load(holdings=300))
    for row in (await groww.holdings()).values():
        digits = "".join(str(int(character, 36)) for character in row["isin"])
        doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
        assert sum(value // 10 + value % 10 for value in doubled) % 10 == 0, row["isin"]


async def test_prices_come_by_comma_or_by_repetition(start):
    groww = await start()
    comma = await groww.payload("/live-data/ltp", segment="CASH", exchange_symbols="NSE_INFY,NSE_TCS")
    url = f"{groww.sim.url}/live-data/ltp?segment=CASH&exchange_symbols=NSE_INFY&exchange_symbols=NSE_TCS"
    async with groww.http.get(url, headers={"Authorization": f"Bearer {groww.token}"}) as answer:
        assert (await answer.json())["payload"] == comma


async def test_fifty_prices_at_most(start):
    groww = await start()
    symbols = [f"NSE_{stock.symbol}" for stock in groww.sim.world.instruments.stocks]
    assert len(await groww.payload("/live-data/ltp", segment="CASH", exchange_symbols=",".join(symbols[:50]))) == 50
    assert (await groww.ask("/live-data/ltp", segment="CASH", exchange_symbols=",".join(symbols[:51])))[0] == 400


async def test_one_bad_symbol_loses_the_other_49(start):
    groww = await start()
    status, body = await groww.ask("/live-data/ltp", segment="CASH", exchange_symbols="NSE_INFY,NSE_XYZQ")
    assert (status, body["error"]["message"]) == (400, "Invalid trading symbol: XYZQ")


async def test_an_expired_contract_has_no_price(start, at):
    groww = await start(on=at(3, 30, 9).date())
    key = "NSE_NIFTY26MARFUT"
    assert (await groww.payload("/live-data/ltp", segment="FNO", exchange_symbols=key))[key] > 20_000
    groww.sim.set_clock(at(4, 1, 9))
    assert (await groww.login(1).ask("/live-data/ltp", segment="FNO", exchange_symbols=key))[0] == 400


async def test_live_data_is_forbidden_without_the_plan(start):
    groww = await start(quirks=Quirks(not_entitled=frozenset({2})))
    ask = {"segment": "CASH", "exchange_symbols": "NSE_INFY"}
    status, body = await groww.login(2).ask("/live-data/ltp", **ask)
    assert (status, body["error"]) == (
        403,
        {"code": "403", "message": "Access forbidden for this request.", "metadata": None},
    )
    assert (await groww.ask("/holdings/user"))[0] == 200
    assert (await groww.login(1).ask("/live-data/ltp", **ask))[0] == 200


async def test_ohlc_may_be_a_text_that_is_not_json(start):
    groww = await start(quirks=Quirks(ohlc_as_text=True))
    (text,) = (await groww.payload("/live-data/ohlc", segment="CASH", exchange_symbols="NSE_INFY")).values()
    assert text.startswith("{open: ")


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("naive", "2026-04-24T09:20:00"),
        ("zulu", "2026-04-24T03:50:00Z"),
        ("offset", "2026-04-24T09:20:00+05:30"),
        ("space", "2026-04-24 09:20:00"),
        ("seconds", 1777002600),
        ("milliseconds", 1777002600000),
    ],
)
async def test_times_can_be_written_in_every_way(start, at, how, wanted):
    groww = await start(load=Load(orders=1, filled=1), quirks=Quirks(order_times=how))
    groww.sim.set_clock(at(4, 24, 16))
    (order,) = await groww.orders()
    assert order["created_at"] == wanted
    assert (await groww.payload(f"/order/detail/{order['groww_order_id']}", segment="CASH")) == order
    assert type((await groww.trades(order))[0]["trade_date_time"]) is type(wanted)


async def test_a_page_may_be_repeated_for_ever(busy):
    await busy.control("quirks", json={"repeats_pages": True})
    assert await busy.orders(page="7") == await busy.orders(page="0")


async def test_limits_are_off_unless_asked_for(start):
    groww = await start()
    for _ in range(30):
        assert (await groww.ask("/holdings/user"))[0] == 200


async def test_twenty_reads_a_second(start, at):
    """The clock stands still, so the window only resets when it is moved."""
    groww = await start(limits=True)
    statuses = [(await groww.ask("/holdings/user"))[0] for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    assert (await groww.ask("/positions/user"))[0] == 429, "shared by all calls of the type"
    assert (await groww.ask("/live-data/ltp", segment="CASH", exchange_symbols="NSE_INFY"))[0] == 200
    assert (await groww.login(2).ask("/holdings/user"))[0] == 200, "but not by other accounts"
    groww.sim.set_clock(at(4, 24, 9, 0, 1))
    assert (await groww.login(1).ask("/holdings/user"))[0] == 200


async def test_five_mints_a_second(start):
    groww = await start(limits=True)
    statuses = [(await groww.mint(1, key_type="totp", totp=groww.totp(1)))[0] for _ in range(6)]
    assert statuses == [200] * 5 + [429]


async def test_the_version_header_may_be_demanded(start):
    groww = await start(quirks=Quirks(strict_version_header=True))
    assert (await groww.ask("/user/detail"))[0] == 400
    headers = {"Authorization": f"Bearer {groww.token}", "X-API-VERSION": "1.0"}
    async with groww.http.get(groww.sim.url + "/user/detail", headers=headers) as answer:
        assert answer.status == 200


PATHS = ("/user/detail", "/holdings/user", "/positions/user", "/order/list", "/margins/detail/user")


async def test_the_same_seed_gives_the_same_bytes(start, at):
    async def everything(seed: int) -> list[bytes]:
        groww = await start(seed=seed)
        groww.sim.set_clock(at(4, 24, 16))
        found = []
        for number in (1, 2, 3):
            headers = {"Authorization": f"Bearer {groww.sim.token(number)}"}
            for path in PATHS:
                async with groww.http.get(groww.sim.url + path, headers=headers) as answer:
                    found.append(await answer.read())
        return found

    first, again, other = await everything(7), await everything(7), await everything(8)
    assert first == again
    assert first != other


async def test_thousands_of_accounts_cost_nothing_until_asked(start):
    began = time.process_time()
    groww = await start(accounts=5000)
    assert time.process_time() - began < 2
    assert len({login.api_key for login in groww.sim.accounts}) == 5000
    assert (await groww.login(5000).payload("/user/detail"))["ucc"] == groww.sim.accounts[4999].ucc
    assert len({login.ucc for login in groww.sim.accounts}) == 5000


async def test_kinds_are_cycled(start):
    groww = await start(accounts=6)
    assert [login.kind for login in groww.sim.accounts] == ["quiet", "trader", "approval"] * 2
    assert [login.method for login in groww.sim.accounts[:3]] == ["totp", "totp", "approval"]


async def test_an_unknown_path_is_not_found(start):
    groww = await start()
    assert (await groww.ask("/nothing/here"))[0] == 404
    assert (await groww.ask("/order/create"))[0] == 404, "the method counts too"
