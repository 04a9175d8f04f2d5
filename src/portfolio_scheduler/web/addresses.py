"""Where a request comes from: the peer, or what a proxy that we trust says of it."""

from collections.abc import Sequence
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from litestar import Request

UNKNOWN = "unknown"

Address = IPv4Address | IPv6Address


def address_of(request: Request[Any, Any, Any], proxies: Sequence[str]) -> str:
    """The client's address. `X-Forwarded-For` is read from its end as far as proxies of ours wrote it."""
    peer = _parsed(request.client.host if request.client else "")
    if peer is None:
        return UNKNOWN  # a Unix socket, say
    hops = [hop for line in request.headers.getall("x-forwarded-for", []) for hop in line.split(",")]
    while hops and _is_within(peer, proxies):
        hop = _parsed(hops.pop())
        if hop is None:  # not an address: whoever wrote it is as far as we can see
            break
        peer = hop
    return str(peer)


def bucket_of(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the /64 that one owner of IPv6 addresses has."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return address


def _parsed(text: str) -> Address | None:
    try:
        found = ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


@cache
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)


def _is_within(address: Address, networks: Sequence[str]) -> bool:
    return any(address in _network(text) for text in networks)
