"""Where a request comes from is what proxies of ours say, and nobody else."""

from typing import Any

import pytest
from litestar import Request

from portfolio_scheduler.web.addresses import address_of, bucket_of

PROXIES = ("127.0.0.1/32", "2001:db8::/64")


def seen(peer: str, *forwarded: str, proxies: tuple[str, ...] = PROXIES) -> str:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    scope: Any = {"type": "http", "headers": headers, "client": (peer, 1), "state": {}, "query_string": b""}
    request: Request[Any, Any, Any] = Request(scope)
    return address_of(request, proxies)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.7", (), "203.0.113.7"),
        ("203.0.113.7", ("198.51.100.1",), "203.0.113.7"),  # not a proxy of ours: what it says is not believed
        ("127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("9.9.9.9, 198.51.100.1",), "198.51.100.1"),  # what the client wrote itself stands before
        ("127.0.0.1", ("9.9.9.9", "198.51.100.1, 2001:db8::5"), "198.51.100.1"),
        ("127.0.0.1", ("nonsense",), "127.0.0.1"),
        ("::ffff:127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("", ("198.51.100.1",), "unknown"),
    ],
)
def test_only_the_word_of_our_proxies_counts(peer: str, forwarded: tuple[str, ...], address: str) -> None:
    assert seen(peer, *forwarded) == address


def test_without_proxies_nobody_is_believed() -> None:
    assert seen("127.0.0.1", "198.51.100.1", proxies=()) == "127.0.0.1"


def test_one_owner_of_many_addresses_is_one_client() -> None:
    assert bucket_of("2001:db8:1:2:3::4") == bucket_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert bucket_of("198.51.100.1") == "198.51.100.1"
