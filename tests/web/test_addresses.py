"""Where a request comes from, and how many of one client are answered in a minute."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar.testing import RequestFactory

from portfolio_scheduler.errors import SetupProblem, TooMany
from portfolio_scheduler.settings import load
from portfolio_scheduler.web.addresses import address_of, bucket_of
from portfolio_scheduler.web.pace import REMEMBERED, Pace

NOW = datetime(2026, 4, 20, 10, 30, tzinfo=UTC)
PROXIES = ("192.0.2.0/24", "2001:db8:1::/48")


def request(peer: str, *forwarded: str) -> Any:
    made = RequestFactory().get("/", headers={"X-Forwarded-For": ", ".join(forwarded)} if forwarded else {})
    made.scope["client"] = (peer, 1)
    return made


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.1", [], "203.0.113.1"),
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),  # anybody may write that header
        ("192.0.2.1", ["198.51.100.1"], "198.51.100.1"),
        ("192.0.2.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),  # the first was written by the client
        ("192.0.2.1", ["198.51.100.1", "192.0.2.2"], "198.51.100.1"),  # two proxies of ours
        ("192.0.2.1", ["nonsense"], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1", "nonsense"], "192.0.2.1"),
        ("192.0.2.1", [], "192.0.2.1"),
        ("::ffff:203.0.113.1", [], "203.0.113.1"),
        ("2001:db8:1::5", ["2001:db8:9::1"], "2001:db8:9::1"),
        ("", [], "unknown"),
    ],
)
def test_only_our_proxies_are_believed(peer: str, forwarded: list[str], address: str) -> None:
    assert address_of(request(peer, *forwarded), PROXIES) == address


def test_without_proxies_nobody_is_believed() -> None:
    assert address_of(request("192.0.2.1", "198.51.100.1"), ()) == "192.0.2.1"


def test_an_owner_of_ipv6_addresses_is_one_client() -> None:
    assert bucket_of("2001:db8::1") == bucket_of("2001:db8::ffff:1") != bucket_of("2001:db8:0:1::1")
    assert bucket_of("203.0.113.1") != bucket_of("203.0.113.2")
    assert bucket_of("unknown") == "unknown"


def test_proxies_are_networks_and_never_the_whole_internet() -> None:
    def proxies(text: str) -> tuple[str, ...]:
        return load({"PORTFOLIO_SCHEDULER_PROXIES": text}).proxies

    assert proxies("") == ()
    assert proxies("192.0.2.0/24, ::1") == ("192.0.2.0/24", "::1/128")
    for wrong in ("somewhere", "192.0.2.1/24", "0.0.0.0/0", "::/0", "192.0.2.0/24;::1"):
        with pytest.raises(SetupProblem, match="PORTFOLIO_SCHEDULER_PROXIES"):
            proxies(wrong)


def test_a_minutes_worth_of_requests_and_then_as_they_refill() -> None:
    pace = Pace(120)
    for _ in range(120):
        pace.count("asha", NOW)
    with pytest.raises(TooMany) as refused:
        pace.count("asha", NOW)
    assert refused.value.retry_after_seconds == 1
    pace.count("ravi", NOW)
    pace.count("asha", NOW + timedelta(seconds=0.5))
    with pytest.raises(TooMany):
        pace.count("asha", NOW + timedelta(seconds=0.5))
    for _ in range(120):
        pace.count("asha", NOW + timedelta(minutes=5))
    with pytest.raises(TooMany):
        pace.count("asha", NOW + timedelta(minutes=5))


def test_a_clock_that_goes_back_gives_nothing_away_and_takes_nothing() -> None:
    pace = Pace(2)
    pace.count("asha", NOW)
    pace.count("asha", NOW - timedelta(hours=1))
    with pytest.raises(TooMany):
        pace.count("asha", NOW - timedelta(hours=1))


def test_who_asks_is_forgotten_before_memory_runs_out() -> None:
    pace = Pace(1)
    for n in range(REMEMBERED + 10):
        pace.count(n, NOW)
    assert len(pace._left) == REMEMBERED


def test_no_limit_where_none_is_wanted() -> None:
    pace = Pace(None)
    for _ in range(1000):
        pace.count("asha", NOW)
