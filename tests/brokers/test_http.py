"""What the client does when the network or the server misbehaves."""

import asyncio
import gzip
import re
import time
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from portfolio_scheduler.brokers.budget import Budget, Rate
from portfolio_scheduler.brokers.groww import wire
from portfolio_scheduler.brokers.groww.client import RATES, ROUTES, Groww
from portfolio_scheduler.brokers.http import Http, Policy, checked_base, retry_after_seconds
from portfolio_scheduler.clock import StoppedClock
from portfolio_scheduler.errors import (
    BrokerAnswerUnknown,
    BrokerRefused,
    BrokerThrottled,
    BrokerUnavailable,
    NotAllowed,
    SetupProblem,
)

from .scripted import Scripted, always, failure, in_turn, raw

PATH = "/holdings/user"
GOOD = {"holdings": []}
MIB = 1024 * 1024


@pytest.fixture
async def http(server: Scripted, clock: StoppedClock) -> AsyncIterator[Http]:
    policy = Policy(deadline_seconds=0.5)
    async with Http(server.url, ROUTES, Budget(RATES, clock), clock, headers={}, policy=policy) as client:
        yield client


async def ask(http: Http, path: str = PATH, method: str = "GET", **more: Any) -> Any:
    return await http.send(method, path, call="holdings", judge=wire.judge, headers={}, **more)


@pytest.mark.parametrize(
    "trouble",
    [
        raw("bad gateway", 502),
        raw("<html>busy</html>", 500),
        failure(503, "GA003"),
        failure(500, "GA000"),
        failure(200, "GA000"),
        raw("<html>maintenance</html>"),
        raw('{"status": "SUCCESS", "payload": {"hold'),
        raw(""),
        raw(b"\x1f\x8b\x08garbage", **{"Content-Encoding": "gzip"}),
        raw(gzip.compress(b'{"status":"SUCCESS","payload":{}}' * 50)[:-20], **{"Content-Encoding": "gzip"}),
    ],
    ids=range(10),
)
async def test_passing_trouble_is_tried_again(http: Http, server: Scripted, trouble: web.Response) -> None:
    server.on(PATH, in_turn(trouble, trouble, GOOD))
    assert (await ask(http)).problem is None
    assert server.count(PATH) == 3


async def test_lasting_trouble_ends_after_five_attempts(http: Http, server: Scripted, clock: StoppedClock) -> None:
    server.on(PATH, always(raw("bad gateway", 502)))
    start = clock.monotonic()
    reply = await ask(http)
    assert isinstance(reply.problem, BrokerUnavailable)
    assert server.count(PATH) == 5
    assert clock.monotonic() - start <= 2 + 4 + 8 + 16


@pytest.mark.parametrize("refusal", [failure(400, "GA001"), failure(404, "GA004"), failure(200, "GA006")])
async def test_a_refusal_is_not_tried_again(http: Http, server: Scripted, refusal: web.Response) -> None:
    server.on(PATH, always(refusal))
    assert isinstance((await ask(http)).problem, BrokerRefused)
    assert server.count(PATH) == 1


async def test_a_null_payload_or_whole_but_bad_json_is_not_what_we_know(http: Http, server: Scripted) -> None:
    for body in ('{"status": "SUCCESS", "payload": null}', '{"status": "SUCCESS"}', '{"payload": NaN}', '{"a": 1,}'):
        server.on(PATH, always(raw(body)))
        assert isinstance((await ask(http)).problem, BrokerAnswerUnknown), body
    assert server.count(PATH) == 4


async def test_a_redirect_is_not_followed(http: Http, server: Scripted) -> None:
    other = server.url.replace("/v1", "/v1/margins/detail/user")
    for status in (301, 302, 307, 308):
        server.on(PATH, always(web.Response(status=status, headers={"Location": other})))
        with pytest.raises(BrokerAnswerUnknown, match="redirect"):
            await ask(http)
    assert server.count("/margins/detail/user") == 0


async def test_a_large_body_is_not_read(http: Http, server: Scripted) -> None:
    server.on(PATH, lambda _: raw(b" " * (5 * MIB + 1)))
    with pytest.raises(BrokerAnswerUnknown, match="larger than 5120 KiB"):
        await ask(http)


async def test_a_gzip_bomb_stops_at_five_mebibytes(http: Http, server: Scripted) -> None:
    bomb = gzip.compress(bytes(256 * MIB), 1)
    server.on(PATH, lambda _: raw(bomb, **{"Content-Encoding": "gzip"}))
    tracemalloc.start()
    with pytest.raises(BrokerAnswerUnknown, match="larger"):
        await ask(http)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * MIB


async def test_gzip_is_unpacked(http: Http, server: Scripted) -> None:
    body = b'{"status": "SUCCESS", "payload": {"holdings": []}}'
    server.on(PATH, always(raw(gzip.compress(body), **{"Content-Encoding": "gzip"})))
    assert (await ask(http)).body == body
    server.on(PATH, always(raw(body, **{"Content-Encoding": "br"})))
    with pytest.raises(BrokerAnswerUnknown, match="packed"):
        await ask(http)


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(200):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"status":')
    request.transport.abort()
    return response


async def test_a_slow_loris_meets_the_deadline(server: Scripted, clock: StoppedClock) -> None:
    policy = Policy(deadline_seconds=0.2, attempts=2)
    server.on(PATH, drip)
    async with Http(server.url, ROUTES, Budget(RATES, clock), clock, headers={}, policy=policy) as http:
        start = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=re.escape("within 0.2 s")):
            await ask(http)
        assert time.monotonic() - start < 2


async def test_an_endless_body_stops_at_five_mebibytes(http: Http, server: Scripted) -> None:
    server.on(PATH, endless)
    with pytest.raises(BrokerAnswerUnknown, match="larger"):
        await ask(http)


async def test_a_connection_cut_in_the_body_is_tried_again(http: Http, server: Scripted) -> None:
    server.on(PATH, in_turn(cut, cut, GOOD))
    assert (await ask(http)).problem is None


async def test_nobody_there(clock: StoppedClock) -> None:
    async with Http("http://127.0.0.1:9/v1", ROUTES, Budget(RATES, clock), clock, headers={}) as http:
        with pytest.raises(BrokerUnavailable, match="ClientConnectorError") as raised:
            await ask(http)
    assert raised.value.__cause__ is None


async def test_a_server_without_a_proper_certificate(server: Scripted, clock: StoppedClock) -> None:
    async with Http(server.url.replace("http:", "https:"), ROUTES, Budget(RATES, clock), clock, headers={}) as http:
        with pytest.raises(BrokerUnavailable, match="SSL"):
            await ask(http)
    assert server.asked == []


async def test_no_cookie_is_kept(http: Http, server: Scripted) -> None:
    server.on(PATH, in_turn(raw('{"payload": {}}', **{"Set-Cookie": "s=1"})))
    await ask(http)
    await ask(http)
    assert "Cookie" not in server.asked[1].headers


# --- 429 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "waits"),
    [(None, 60), ("7", 7), ("garbage", 60), ("Fri, 24 Apr 2026 10:30:20 GMT", 20), ("Fri, 24 Apr 2020 1:1:1 GMT", 60)],
)
@pytest.mark.parametrize("form", [raw("", 429), failure(429, "429"), failure(200, "429"), raw("<html>", 429)])
async def test_a_429_makes_the_account_wait(
    http: Http, server: Scripted, clock: StoppedClock, form: web.Response, header: str | None, waits: int
) -> None:
    throttled = raw(form.body, form.status, **({"Retry-After": header} if header else {}))
    server.on(PATH, in_turn(throttled, GOOD))
    start = clock.monotonic()
    assert (await ask(http)).problem is None
    assert clock.monotonic() - start == pytest.approx(waits)


async def test_a_lasting_429_is_given_up_in_time(http: Http, server: Scripted, clock: StoppedClock) -> None:
    server.on(PATH, always(raw("", 429, **{"Retry-After": "1"})))
    start = clock.monotonic()
    with pytest.raises(BrokerThrottled) as raised:
        await ask(http)
    assert clock.monotonic() - start == pytest.approx(1 + 60 + 120)
    assert raised.value.retry_after_seconds == 240
    asked = len(server.asked)
    with pytest.raises(BrokerThrottled):  # and then left alone
        await ask(http, "/margins/detail/user")
    assert len(server.asked) == asked


async def test_of_many_calls_at_most_six_go_out_in_a_throttled_minute(
    http: Http, server: Scripted, clock: StoppedClock
) -> None:
    start, calls = clock.now(), []

    def busy(_: web.Request) -> Any:
        calls.append((clock.now() - start).total_seconds())
        return raw("", 429, **{"Retry-After": "1"}) if calls[-1] < 60 else GOOD

    server.on(PATH, busy)
    replies = await asyncio.gather(*(ask(http) for _ in range(20)))
    assert all(reply.problem is None for reply in replies)
    assert sum(at < 60 for at in calls) <= 6


# --- The rate budget --------------------------------------------------------------------------------------------------


async def test_no_second_and_no_minute_is_ever_overfull(clock: StoppedClock) -> None:
    budget, times = Budget({"reads": Rate(per_second=15, per_minute=375)}, clock), []
    for _ in range(1000):
        async with budget.turn("reads"):
            times.append(clock.monotonic())
    for many, seconds in ((15, 1), (375, 60)):
        assert all(later - first >= seconds - 1e-3 for first, later in zip(times, times[many:], strict=False))
    assert times[-1] - times[0] <= 1000 / 375 * 60


async def test_the_classes_do_not_share_their_budget(clock: StoppedClock) -> None:
    rate = Rate(per_second=1, per_minute=1)
    budget, start = Budget({"reads": rate, "live": rate}, clock), clock.monotonic()
    for kind in ("reads", "live"):
        async with budget.turn(kind):
            pass
    assert clock.monotonic() == start


# --- Where requests may go --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://api.groww.in/v1", "ftp://127.0.0.1/v1", "https://", "api.groww.in/v1", "https://u:p@api.groww.in/v1",
        "https://api.groww.in/v1?x=1", "https://api.groww.in/v1#x", "http://127.0.0.1.evil.example/v1", "https://[::1/v1",
        "http://localhost.evil.example/v1", "https://grоww.in/v1", "http://10.0.0.1/v1",
    ],
)  # fmt: skip
def test_an_address_that_could_leak_credentials_is_refused(url: str) -> None:
    with pytest.raises(SetupProblem):
        checked_base(url)
    with pytest.raises(SetupProblem):
        Groww(url)


def test_credentials_go_to_groww_or_to_this_machine_only() -> None:
    for url in (
        "https://api.groww.in.evil.example/v1",
        "https://evil.example/v1",
        "https://api.groww.in@evil.example/v1",
    ):
        with pytest.raises(SetupProblem):
            Groww(url)
    for url in ("https://api.groww.in/v1", "http://127.0.0.1:8900/v1", "http://[::1]:8900/v1", "http://localhost/v1"):
        Groww(url)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/order/create"), ("POST", "/order/modify"), ("POST", "/order/cancel"), ("GET", "/order/create"),
        ("POST", "/order-advance/create"), ("PUT", "/order-advance/modify/1"), ("DELETE", "/order/detail/1"),
        ("GET", "/order/detail/../create"), ("GET", "/order/detail/.."), ("GET", "/order/detail/a/b"),
        ("GET", "//evil.example/order/list"), ("GET", "/order/list/"), ("GET", "@evil.example"), ("POST", PATH),
        ("GET", "/holdings/user?x"), ("GET", "/token/api/access"), ("get", PATH), ("GET", "/order/list\n"), ("GET", ""),
    ],
)  # fmt: skip
async def test_nothing_off_the_list_is_sent(http: Http, server: Scripted, method: str, path: str) -> None:
    with pytest.raises(NotAllowed):
        await ask(http, path, method)
    assert server.asked == []


async def test_a_header_cannot_be_forged(http: Http, server: Scripted) -> None:
    with pytest.raises(NotAllowed):
        await http.send("GET", PATH, call="x", judge=wire.judge, headers={"Authorization": "Bearer a\r\nX-Evil: 1"})
    assert server.asked == []


def test_retry_after() -> None:
    now = datetime(2026, 4, 24, 10, 30, tzinfo=UTC)
    cases = {None: None, "5": 5, " 5 ": 5, "0": None, "-5": None, "1e9": None, "9" * 20: None, "": None}
    assert {header: retry_after_seconds(header, now) for header in cases} == cases
    assert retry_after_seconds("Fri, 24 Apr 2026 10:31:00 GMT", now) == 60
