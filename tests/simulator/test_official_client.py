"""The contract: Groww's own Python SDK runs against the simulator and gets what its code expects."""

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from growwapi import GrowwAPI
from growwapi.groww.exceptions import (
    GrowwAPIAuthenticationException,
    GrowwAPIException,
    InstrumentNotFoundException,
)

Result = TypeVar("Result")
GROWW = "https://api.groww.in/v1"


@pytest.fixture
def redirected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Sends the SDK's hard-coded addresses to the simulator, and its instruments file away from its package."""

    def redirect(url: str) -> None:
        real_get, real_post = requests.get, requests.post
        monkeypatch.setattr(requests, "get", lambda to="", *a, url="", **k: real_get(move(url or to), *a, **k))
        monkeypatch.setattr(requests, "post", lambda to="", *a, url="", **k: real_post(move(url or to), *a, **k))
        monkeypatch.setattr(GrowwAPI, "INSTRUMENT_CSV_URL", f"{url}/instruments/instrument.csv")
        (tmp_path / "common").mkdir()
        monkeypatch.setattr("growwapi.groww.client.get_cwd", lambda: str(tmp_path / "common"))

        def move(to: str) -> str:
            moved = to.replace(GROWW, url)
            assert moved.startswith(("http://127.0.0.1:",)), f"the SDK asked {to}"
            return moved

    return redirect


class Sdk:
    """The SDK logged in as an account; its blocking calls run in a thread."""

    def __init__(self, sim: Any, token: str) -> None:
        self.api = GrowwAPI(token)
        self.api.domain = sim.url

    async def __call__(self, name: str, *arguments: Any, **named: Any) -> Any:
        return await asyncio.to_thread(getattr(self.api, name), *arguments, **named)


async def in_thread(call: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
    return await asyncio.to_thread(call, *arguments, **named)


@pytest.fixture
async def trader(start, redirected, at) -> tuple[Any, Sdk]:
    """The active trader after the last session, and the SDK logged in with TOTP."""
    groww = await start(seed=7)
    redirected(groww.sim.url)
    groww.sim.set_clock(at(4, 24, 16))
    login = groww.sim.accounts[1]
    token = await in_thread(GrowwAPI.get_access_token, login.api_key, totp=groww.totp(2))
    return groww.login(2), await in_thread(Sdk, groww.sim, token)


async def test_it_logs_in_with_totp(start, redirected):
    groww = await start()
    redirected(groww.sim.url)
    token = await in_thread(GrowwAPI.get_access_token, groww.sim.accounts[0].api_key, totp=groww.totp(1))
    profile = await (await in_thread(Sdk, groww.sim, token))("get_user_profile")
    assert profile["ucc"] == groww.sim.accounts[0].ucc


async def test_it_logs_in_with_key_and_secret(start, redirected, monkeypatch):
    """The SDK stamps its checksum with the machine's time, so the simulator is set to a day that has that time."""
    groww = await start(on=date(2026, 4, 24))
    redirected(groww.sim.url)
    now = groww.sim.now.timestamp()
    monkeypatch.setattr("growwapi.groww.client.time.time", lambda: now)
    login = groww.sim.accounts[2]
    token = await in_thread(GrowwAPI.get_access_token, login.api_key, secret=login.secret)
    profile = await (await in_thread(Sdk, groww.sim, token))("get_user_profile")
    assert profile["ucc"] == login.ucc
    assert profile["active_segments"] == ["CASH"]


async def test_a_wrong_code_is_an_sdk_error(start, redirected):
    groww = await start()
    redirected(groww.sim.url)
    with pytest.raises(GrowwAPIException, match="Invalid TOTP"):
        await in_thread(GrowwAPI.get_access_token, groww.sim.accounts[0].api_key, totp="000000")


async def test_a_dead_token_is_an_authentication_error(trader, at):
    groww, sdk = trader
    groww.sim.set_clock(at(4, 25, 6))
    with pytest.raises(GrowwAPIAuthenticationException):
        await sdk("get_holdings_for_user")


async def test_holdings_and_positions(trader):
    _, sdk = trader
    held = (await sdk("get_holdings_for_user"))["holdings"]
    assert len(held) > 10
    assert all(
        row["quantity"] == row["demat_free_quantity"] + row["t1_quantity"] + row["groww_locked_quantity"]
        for row in held
    )
    everything = (await sdk("get_positions_for_user"))["positions"]
    contracts = (await sdk("get_positions_for_user", segment="FNO"))["positions"]
    assert {row["product"] for row in contracts} == {"NRML"}
    assert len(contracts) < len(everything)
    one = contracts[0]["trading_symbol"]
    found = (await sdk("get_position_for_trading_symbol", one, "FNO"))["positions"]
    assert found == contracts[:1]


async def test_orders_and_their_trades(trader):
    """Detail, status, status by reference and trades of every order of the day agree with the list."""
    _, sdk = trader
    orders = (await sdk("get_order_list", segment="CASH", page=0))["order_list"]
    assert len(orders) >= 3
    for order in orders:
        order_id, reference = order["groww_order_id"], order["order_reference_id"]
        assert await sdk("get_order_detail", "CASH", order_id) == order
        status = await sdk("get_order_status", "CASH", order_id)
        assert status == await sdk("get_order_status_by_reference", "CASH", reference)
        assert status["order_status"] == order["order_status"]
        fills = (await sdk("get_trade_list_for_order", order_id, "CASH"))["trade_list"]
        assert sum(fill["quantity"] for fill in fills) == order["filled_quantity"]


async def test_the_whole_list_needs_no_segment(trader):
    _, sdk = trader
    orders = (await sdk("get_order_list"))["order_list"]
    assert [order["created_at"] for order in orders] == sorted((order["created_at"] for order in orders), reverse=True)


async def test_an_unknown_order_is_not_found(trader):
    _, sdk = trader
    with pytest.raises(GrowwAPIException) as caught:
        await sdk("get_order_detail", "CASH", "GMK0")
    assert caught.value.code == "GA004"


async def test_margins(trader):
    _, sdk = trader
    margins = await sdk("get_available_margin_details")
    assert margins["net_margin_used"] == pytest.approx(
        margins["fno_margin_details"]["net_fno_margin_used"]
        + margins["equity_margin_details"]["net_equity_margin_used"]
    )
    order = {
        "trading_symbol": "INFY",
        "transaction_type": "BUY",
        "quantity": 10,
        "price": 1000.5,
        "order_type": "LIMIT",
    }
    needed = await sdk("get_order_margin_details", "CASH", [order | {"product": "CNC", "exchange": "NSE"}])
    assert needed["cash_cnc_margin_required"] == 10005


async def test_prices(trader):
    """After the close the last price is the close in the package."""
    _, sdk = trader
    assert await sdk("get_ltp", ("NSE_INFY", "BSE_M&M"), "CASH") == {"NSE_INFY": 1154.6, "BSE_M&M": 3038.4}
    assert await sdk("get_ltp", "NSE_INFY, NSE_TCS", "CASH") == {"NSE_INFY": 1154.6, "NSE_TCS": 2396.9}
    day = (await sdk("get_ohlc", "NSE_INFY", "CASH"))["NSE_INFY"]
    assert day["low"] <= 1154.6 <= day["high"]
    quote = await sdk("get_quote", "INFY", "NSE", "CASH")
    assert quote["last_price"] == 1154.6
    assert round(quote["last_price"] - quote["day_change"], 2) == day["close"]


async def test_one_bad_symbol_fails_the_batch(trader):
    _, sdk = trader
    with pytest.raises(GrowwAPIException, match="Invalid trading symbol: NOSUCH"):
        await sdk("get_ltp", ("NSE_INFY", "NSE_NOSUCH"), "CASH")


async def test_instruments(trader):
    _, sdk = trader
    assert len((await sdk("get_all_instruments")).columns) == 21
    infosys = await sdk("get_instrument_by_exchange_and_trading_symbol", "NSE", "INFY")
    assert infosys["isin"] == "INE009A01021"
    assert (await sdk("get_instrument_by_groww_symbol", "NSE-INFY")) == infosys
    assert (await sdk("get_instrument_by_exchange_token", infosys["exchange_token"])) == infosys
    with pytest.raises(InstrumentNotFoundException):
        await sdk("get_instrument_by_exchange_and_trading_symbol", "NSE", "NOSUCH")


async def test_every_contract_it_holds_is_an_instrument(trader):
    _, sdk = trader
    for row in (await sdk("get_positions_for_user", segment="FNO"))["positions"]:
        found = await sdk("get_instrument_by_exchange_and_trading_symbol", "NSE", row["trading_symbol"])
        assert found["segment"] == "FNO"
        key = f"NSE_{row['trading_symbol']}"
        assert (await sdk("get_ltp", key, "FNO"))[key] > 0


@pytest.fixture
async def at_noon(start, redirected, at) -> tuple[Any, Sdk]:
    groww = await start(seed=7)
    redirected(groww.sim.url)
    groww.sim.set_clock(at(4, 24, 12))
    return groww, await in_thread(Sdk, groww.sim, groww.sim.token(1))


def an_order(symbol: str, quantity: int, **more: Any) -> dict[str, Any]:
    return {
        "validity": "DAY", "exchange": "NSE", "order_type": "MARKET", "product": "CNC", "quantity": quantity,
        "segment": "CASH", "trading_symbol": symbol, "transaction_type": "BUY", **more,
    }  # fmt: skip


async def test_a_market_order_is_executed(at_noon, at):
    groww, sdk = at_noon
    placed = await sdk("place_order", **an_order("INFY", 3))
    assert placed["order_status"] == "NEW"
    groww.sim.set_clock(at(4, 24, 12, 1))
    order = await sdk("get_order_detail", "CASH", placed["groww_order_id"])
    assert (order["order_status"], order["filled_quantity"]) == ("EXECUTED", 3)


async def test_a_limit_order_is_modified_and_cancelled(at_noon, at):
    groww, sdk = at_noon
    placed = await sdk("place_order", **an_order("INFY", 3, order_type="LIMIT", price=900.0))
    order_id = placed["groww_order_id"]
    groww.sim.set_clock(at(4, 24, 12, 1))
    modified = await sdk(
        "modify_order", quantity=5, order_type="LIMIT", segment="CASH", groww_order_id=order_id, price=901.0
    )
    assert modified == {"groww_order_id": order_id, "order_status": "MODIFICATION_REQUESTED"}
    groww.sim.set_clock(at(4, 24, 12, 2))
    order = await sdk("get_order_detail", "CASH", order_id)
    assert (order["order_status"], order["quantity"], order["price"]) == ("OPEN", 5, 901)
    assert (await sdk("cancel_order", order_id, "CASH"))["order_status"] == "CANCELLATION_REQUESTED"
    groww.sim.set_clock(at(4, 24, 12, 3))
    assert (await sdk("get_order_status", "CASH", order_id))["order_status"] == "CANCELLED"


async def test_a_reference_is_used_once(at_noon):
    _, sdk = at_noon
    await sdk("place_order", **an_order("INFY", 1, order_reference_id="my-order-1"))
    with pytest.raises(GrowwAPIException) as caught:
        await sdk("place_order", **an_order("INFY", 1, order_reference_id="my-order-1"))
    assert caught.value.code == "GA007"


async def test_the_feed_token(at_noon, monkeypatch):
    groww, sdk = at_noon
    url = f"{groww.sim.url}/api/apex/v1/socket/token/create/"
    monkeypatch.setattr(GrowwAPI, "_GROWW_GENERATE_SOCKET_TOKEN_URL", url)

    class KeyPair:
        public_key = b"UTEST"

    answer = await sdk("generate_socket_token", KeyPair)
    assert answer.keys() == {"token", "subscriptionId", "expiry"}
