"""Networks that fail in every way: each is told apart from an answer, none takes longer than its deadline."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from portfolio_scheduler.brokers.budget import Budget
from portfolio_scheduler.brokers.groww import wire
from portfolio_scheduler.brokers.groww.client import RATES, ROUTES, Groww
from portfolio_scheduler.brokers.http import Http, Policy
from portfolio_scheduler.clock import StoppedClock
from portfolio_scheduler.domain.records import Outcome
from portfolio_scheduler.errors import BrokerError, BrokerUnavailable

from .conftest import credentials
from .scripted import Scripted

PATH = "/holdings/user"


async def ended(url: str, clock: StoppedClock) -> BrokerError:
    policy = Policy(deadline_seconds=0.5, attempts=1)
    async with Http(url, ROUTES, Budget(RATES, clock), clock, headers={}, policy=policy) as http:
        with pytest.raises(BrokerError) as raised:
            await http.send("GET", PATH, call="holdings", judge=wire.judge, headers={})
    return raised.value


@pytest.fixture
def deaf() -> Iterator[str]:
    """A port whose queue is full: nobody gets a connection, and nobody is told so."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
            waiting.append(one)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        for one in waiting:
            one.close()


async def test_no_connection_in_time(deaf: str, clock: StoppedClock) -> None:
    error = await ended(deaf, clock)
    assert isinstance(error, BrokerUnavailable)
    assert "within 0.5 s" in error.message


async def test_no_such_host(clock: StoppedClock) -> None:
    error = await ended("https://no-such-host.invalid/v1", clock)
    assert isinstance(error, BrokerUnavailable)


async def test_a_connection_that_is_reset_before_any_answer(server: Scripted, clock: StoppedClock) -> None:
    def reset(request: web.Request) -> Any:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.on(PATH, reset)
    error = await ended(server.url, clock)
    assert isinstance(error, BrokerUnavailable)
    assert "connection failed" in error.message


async def test_a_redirect_sends_nothing_to_the_other_host(server: Scripted, clock: StoppedClock) -> None:
    """Neither a request nor, therefore, any credentials; whatever status the redirect has."""
    heard: list[str] = []

    async def listen(request: web.BaseRequest) -> web.StreamResponse:
        heard.append(request.path)
        return web.json_response({})

    other = web.ServerRunner(web.Server(listen))
    await other.setup()
    await web.TCPSite(other, "127.0.0.1", 0).start()
    elsewhere = f"http://127.0.0.1:{other.addresses[0][1]}/v1{PATH}"
    try:
        for status in (301, 302, 303, 307, 308):
            server.on(PATH, lambda _, s=status: web.Response(status=s, headers={"Location": elsewhere}))
            server.on("/token/api/access", server.mint)
            async with Groww(server.url).open(credentials(), None, clock) as session:
                book = await session.fetch_book(["holdings"])
            assert book.sections["holdings"].outcome is Outcome.FAILED
        server.on("/token/api/access", lambda _: web.Response(status=307, headers={"Location": elsewhere}))
        async with Groww(server.url).open(credentials(), None, clock) as session:
            with pytest.raises(BrokerError):
                await session.fetch_book(None)
        assert heard == []
    finally:
        await other.cleanup()
