"""A simulator over real HTTP, and a small client that asks it what a test wants to know."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta
from typing import Any

import aiohttp
import pyotp
import pytest

from portfolio_scheduler.clock import ist
from portfolio_scheduler.simulator.server import Simulator, SimulatorOptions, running


class Client:
    """Asks a simulator as one account, and drives it over its control API."""

    def __init__(self, sim: Simulator, http: aiohttp.ClientSession) -> None:
        self.sim = sim
        self.http = http
        self.token = sim.token(1)

    def login(self, number: int) -> "Client":
        self.token = self.sim.token(number)
        return self

    async def ask(self, path: str, *, method: str = "GET", json: object = None, **query: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.request(method, self.sim.url + path, params=query, json=json, headers=headers) as answer:
            return answer.status, await answer.json()

    async def payload(self, path: str, *, method: str = "GET", json: object = None, **query: str) -> Any:
        status, body = await self.ask(path, method=method, json=json, **query)
        assert (status, body["status"]) == (200, "SUCCESS"), body
        return body["payload"]

    async def holdings(self) -> dict[str, dict[str, Any]]:
        return {row["trading_symbol"]: row for row in (await self.payload("/holdings/user"))["holdings"]}

    async def positions(self, **query: str) -> list[dict[str, Any]]:
        return list((await self.payload("/positions/user", **query))["positions"])

    async def orders(self, **query: str) -> list[dict[str, Any]]:
        return list((await self.payload("/order/list", **{"page_size": "100", **query}))["order_list"])

    async def trades(self, order: dict[str, Any]) -> list[dict[str, Any]]:
        path = f"/order/trades/{order['groww_order_id']}"
        return list((await self.payload(path, segment=order["segment"]))["trade_list"])

    async def buy(self, symbol: str, quantity: int, **more: object) -> dict[str, Any]:
        order = {
            "trading_symbol": symbol,
            "quantity": quantity,
            "price": 0,
            "trigger_price": None,
            "validity": "DAY",
            "exchange": "NSE",
            "segment": "CASH",
            "product": "CNC",
            "order_type": "MARKET",
            "transaction_type": "BUY",
            "order_reference_id": None,
        }
        return dict(await self.payload("/order/create", method="POST", json=order | more))

    async def control(self, path: str, *, method: str = "POST", json: object = None) -> tuple[int, Any]:
        async with self.http.request(method, f"{self.sim.control_url}/{path}", json=json) as answer:
            return answer.status, await answer.json()

    async def mint(self, number: int, **body: object) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.sim.accounts[number - 1].api_key}"}
        async with self.http.post(self.sim.url + "/token/api/access", json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    def totp(self, number: int, *, late_seconds: int = 0) -> str:
        secret = self.sim.accounts[number - 1].totp_secret
        assert secret is not None
        return pyotp.TOTP(secret).at(self.sim.now - timedelta(seconds=late_seconds))

    def approval(self, number: int, *, late_seconds: int = 0) -> dict[str, object]:
        stamp = int(self.sim.now.timestamp()) - late_seconds
        checksum = hashlib.sha256(f"{self.sim.accounts[number - 1].secret}{stamp}".encode()).hexdigest()
        return {"key_type": "approval", "checksum": checksum, "timestamp": stamp}


Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts simulators; each ends with the test."""
    async with AsyncExitStack() as stack:

        async def started(**options: Any) -> Client:
            sim = await stack.enter_async_context(running(SimulatorOptions(**options)))
            return Client(sim, await stack.enter_async_context(aiohttp.ClientSession()))

        yield started


@pytest.fixture
def at() -> Callable[..., datetime]:
    """A moment of 2026 by month, day and wall clock in India."""
    return lambda month, day, hour, minute=0, second=0: ist(date(2026, month, day), hour, minute, second)
