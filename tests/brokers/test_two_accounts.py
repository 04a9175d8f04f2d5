"""Accounts that are synced at the same time share nothing."""

import asyncio
from typing import Any

from aiohttp import web

from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.clock import StoppedClock

from .conftest import TODAY, credentials
from .scripted import Scripted, a_holding, failure


async def test_many_accounts_at_once_each_see_only_themselves(server: Scripted, clock: StoppedClock) -> None:
    sockets: dict[str, set[Any]] = {}

    def who(request: web.Request) -> str:
        assert "Cookie" not in request.headers
        number = request.headers["Authorization"].rpartition("-")[2]
        sockets.setdefault(number, set()).add(request.transport.get_extra_info("peername"))
        return number

    async def mint(request: web.Request) -> Any:
        await asyncio.sleep(0.01)
        number = who(request)
        response = web.json_response({"token": f"token-{number}", "expiry": "2026-04-25T06:00:00"})
        response.set_cookie("account", number)
        return response

    async def holdings(request: web.Request) -> Any:
        await asyncio.sleep(0.005)
        return {"holdings": [a_holding(int(who(request)))]}

    server.on("/token/api/access", mint)

    def owner(request: web.Request) -> Any:
        return failure(401, "401") if who(request) == "13" else {"ucc": who(request), "active_segments": ["CASH"]}

    server.on("/user/detail", owner)
    server.on("/holdings/user", holdings)
    groww = Groww(server.url)

    async def sync(number: int) -> Any:
        async with groww.open(credentials(api_key=f"key-{number}"), None, clock) as session:
            fetched = await session.fetch_book(None)
            assert session.token is not None
            assert session.token.token == f"token-{number}"
            return groww.parse(fetched.answers, fetched.sections, clock.now(), TODAY)

    numbers = [number for number in range(20) if number != 13]
    results = await asyncio.gather(*map(sync, [13, *numbers]), return_exceptions=True)
    assert type(results[0]).__name__ == "BrokerLoginRequired"  # one bad account harms no other
    for number, statement in zip(numbers, results[1:], strict=True):
        assert statement.owner.ucc == str(number)
        assert [holding.isin for holding in statement.holdings] == [f"INE{number:06d}011"]
    used = [socket for number in sockets for socket in sockets[number]]
    assert len(used) == len(set(used))  # no connection carried two accounts
