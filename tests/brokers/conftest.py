from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
from aiohttp import web

from portfolio_scheduler.brokers.broker import AccessToken, Credentials
from portfolio_scheduler.brokers.groww.client import Groww, GrowwSession
from portfolio_scheduler.brokers.http import Policy
from portfolio_scheduler.clock import StoppedClock, ist
from portfolio_scheduler.domain.records import Login

from .scripted import KEY, SECRET, TOTP_SECRET, Scripted

TODAY = date(2026, 4, 24)


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock(ist(TODAY, 16, 0))


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    scripted = Scripted()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", scripted.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    scripted.url = f"http://{host}:{port}/v1"
    yield scripted
    await runner.cleanup()


def credentials(login: Login = Login.TOTP, **changes: str) -> Credentials:
    return Credentials(**({"login": login, "api_key": KEY, "api_secret": SECRET, "totp_secret": TOTP_SECRET} | changes))


class Account:
    """Opens a session, does one thing, closes it."""

    def __init__(self, server: Scripted, clock: StoppedClock, policy: Policy | None = None) -> None:
        self.groww = Groww(server.url, policy)
        self.clock = clock
        self.session: GrowwSession | None = None

    async def do(
        self, what: str, *args: Any, login: Credentials | None = None, token: AccessToken | None = None
    ) -> Any:
        async with self.groww.open(login or credentials(), token, self.clock) as session:
            self.session = session
            return await getattr(session, what)(*args)

    def parse(self, fetched: Any) -> Any:
        return self.groww.parse(fetched.answers, fetched.sections, self.clock.now(), TODAY)

    async def book(self, *args: Any, **kwargs: Any) -> Any:
        return self.parse(await self.do("fetch_book", *(args or (None,)), **kwargs))


@pytest.fixture
def account(server: Scripted, clock: StoppedClock) -> Account:
    return Account(server, clock)
