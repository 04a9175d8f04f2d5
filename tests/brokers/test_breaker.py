"""A broker that is down is not stormed, an account that fails alone stops nobody, and one account has one budget."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from portfolio_scheduler.brokers.breaker import FAILURES, OPEN_SECONDS, Breaker
from portfolio_scheduler.brokers.budget import LONGEST_HONOURED_SECONDS, Budget, Budgets, Rate
from portfolio_scheduler.brokers.groww import wire
from portfolio_scheduler.brokers.groww.client import RATES, ROUTES, Groww
from portfolio_scheduler.brokers.http import Http, Policy
from portfolio_scheduler.clock import StoppedClock
from portfolio_scheduler.domain.records import Outcome
from portfolio_scheduler.errors import BrokerError, BrokerUnavailable

from .conftest import credentials
from .scripted import Scripted, always, failure, in_turn, raw

PATH = "/holdings/user"
GOOD = {"holdings": []}
DOWN = raw("bad gateway", 502)


class Accounts:
    """Accounts of one process that share a breaker."""

    def __init__(self, server: Scripted, clock: StoppedClock) -> None:
        self.server, self.clock, self.breaker = server, clock, Breaker()

    async def ask(self, account: str, times: int = 1) -> list[BrokerError | None]:
        policy = Policy(attempts=1, session_seconds=10**6)
        ended = []
        async with Http(
            self.server.url, ROUTES, Budget(RATES, self.clock), self.clock,
            headers={}, policy=policy, breaker=self.breaker, account=account,
        ) as http:  # fmt: skip
            for _ in range(times):
                try:
                    ended.append((await http.send("GET", PATH, call="holdings", judge=wire.judge, headers={})).problem)
                except BrokerUnavailable as refused:
                    ended.append(refused)
        return ended


@pytest.fixture
def accounts(server: Scripted, clock: StoppedClock) -> Accounts:
    return Accounts(server, clock)


async def test_after_twenty_failures_in_a_row_an_account_sends_nothing_for_five_minutes(accounts: Accounts) -> None:
    accounts.server.on(PATH, always(DOWN))
    ended = await accounts.ask("a", times=FAILURES + 10)
    assert accounts.server.count(PATH) == FAILURES
    assert "20 calls in a row" in ended[-1].message  # type: ignore[union-attr]
    accounts.clock.advance(OPEN_SECONDS - 10)
    await accounts.ask("a")
    assert accounts.server.count(PATH) == FAILURES


async def test_then_one_probe_decides(accounts: Accounts) -> None:
    accounts.server.on(PATH, in_turn(*[DOWN] * (FAILURES + 1), GOOD))
    await accounts.ask("a", times=FAILURES)
    accounts.clock.advance(OPEN_SECONDS)
    await accounts.ask("a", times=5)
    assert accounts.server.count(PATH) == FAILURES + 1, "it failed, so the breaker stays open"
    accounts.clock.advance(OPEN_SECONDS)
    assert await accounts.ask("a", times=5) == [None] * 5
    assert not accounts.breaker.is_open


async def test_an_account_that_fails_alone_stops_nobody(accounts: Accounts) -> None:
    accounts.server.on(PATH, always(DOWN))
    await accounts.ask("bad", times=FAILURES + 5)
    assert accounts.breaker.is_open
    accounts.server.on(PATH, GOOD)
    assert await accounts.ask("good") == [None]
    assert not accounts.breaker.is_open


async def test_a_broker_that_is_down_costs_every_other_account_one_call_at_a_time(accounts: Accounts) -> None:
    accounts.server.on(PATH, always(DOWN))
    await accounts.ask("a", times=FAILURES)
    at_once, most = 0, 0

    async def slow(_: web.Request) -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return raw("bad gateway", 502)

    accounts.server.on(PATH, slow)
    await asyncio.gather(*(accounts.ask(name, times=4) for name in "bcdef"))
    assert accounts.server.count(PATH) == FAILURES + 5
    assert most == 1


@pytest.mark.parametrize("answer", [failure(404, "GA004"), failure(403, "403"), raw("", 400)])
async def test_a_refusal_is_an_answer_too(accounts: Accounts, answer: web.Response) -> None:
    accounts.server.on(PATH, in_turn(*[DOWN] * (FAILURES - 1), answer, *[DOWN] * (FAILURES - 1), GOOD))
    await accounts.ask("a", times=2 * FAILURES)
    assert accounts.server.count(PATH) == 2 * FAILURES


async def test_a_dead_broker_costs_twenty_calls_whatever_is_asked(server: Scripted, clock: StoppedClock) -> None:
    groww = Groww(server.url)
    for path in list(server.answers):
        if "token" not in path and "user/detail" not in path:
            server.on(path, always(DOWN))
    async with groww.open(credentials(), None, clock) as session:
        book = await session.fetch_book(None)
    assert book.sections["holdings"].outcome is Outcome.FAILED
    failed = [request for request in server.asked if not request.path.endswith(("/access", "/user/detail"))]
    assert len(failed) <= FAILURES + 3, "three were in flight when the twentieth failed"


async def test_a_session_ends_after_ten_minutes_and_keeps_what_it_has(server: Scripted, clock: StoppedClock) -> None:
    def slow(_: web.Request) -> Any:
        clock.advance(601)
        return GOOD

    server.on(PATH, slow)
    async with Groww(server.url).open(credentials(), None, clock) as session:
        book = await session.fetch_book(["holdings"])
        late = await session.fetch_book(["margin"])
    assert book.sections["holdings"].outcome is Outcome.OK
    assert "longer than 10 minutes" in (late.sections["margin"].reason or "")


async def test_two_sessions_of_one_account_share_its_budget_and_other_accounts_do_not(
    server: Scripted, clock: StoppedClock
) -> None:
    groww = Groww(server.url, rates={**RATES, "reads": Rate(per_second=100, per_minute=8)})
    start = clock.monotonic()
    for name, waits in (("one", False), ("other", False), ("one", True)):
        async with groww.open(credentials(api_key=name), None, clock) as session:
            before = clock.monotonic()
            await session.fetch_book(None)
            assert (clock.monotonic() - before > 30) is waits
    assert clock.monotonic() - start < 120


async def test_a_throttled_account_is_left_alone_by_the_next_session_too(server: Scripted, clock: StoppedClock) -> None:
    groww = Groww(server.url)
    server.on("/user/detail", always(raw("", 429, **{"Retry-After": "1800"})))
    async with groww.open(credentials(), None, clock) as session:
        book = await session.fetch_book(None)
        assert book.sections["owner"].error == "BrokerThrottled"
        assert session.resume_at is not None
        assert 1700 < (session.resume_at - clock.now()).total_seconds() <= 1800
        kept = session.token
    asked = len(server.asked)
    async with groww.open(credentials(), kept, clock) as session:
        await session.fetch_book(None)
    assert len(server.asked) == asked


async def test_a_login_that_is_throttled_is_not_asked_for_again_at_once(server: Scripted, clock: StoppedClock) -> None:
    server.on("/token/api/access", always(raw("", 429)))
    async with Groww(server.url).open(credentials(), None, clock) as session:
        with pytest.raises(BrokerError, match="slow down"):
            await session.fetch_book(None)
        assert session.resume_at is not None


def test_a_nonsensical_retry_after_silences_nobody_for_ever(clock: StoppedClock) -> None:
    assert Budget(RATES, clock).pause_seconds(999_999_999) == LONGEST_HONOURED_SECONDS


def test_budgets_nobody_uses_are_forgotten(clock: StoppedClock) -> None:
    budgets = Budgets(RATES)
    first = budgets.of("a", clock)
    assert budgets.of("a", clock) is first
    clock.advance(3600)
    assert budgets.of("a", clock) is not first
