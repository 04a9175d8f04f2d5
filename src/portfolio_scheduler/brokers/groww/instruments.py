"""Groww's public list of instruments: a file of some 150 000 lines, offered without login on a host of its own."""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import BinaryIO

from portfolio_scheduler.brokers.budget import Budget, Rate
from portfolio_scheduler.brokers.http import Http, Policy, Route
from portfolio_scheduler.clock import Clock
from portfolio_scheduler.domain.instruments import Listing, is_isin, is_symbol, is_word
from portfolio_scheduler.domain.money import decimal
from portfolio_scheduler.domain.tables import BadLine, Table, field
from portfolio_scheduler.errors import BrokerError, BrokerRefused, BrokerUnavailable, InvalidInput
from portfolio_scheduler.settings import GROWW_URL

ASSETS_URL = "https://growwapi-assets.groww.in"
PATH = "/instruments/instrument.csv"
# Everything that is ever sent to that host. No token goes there: the client is made without one.
ROUTES = (Route(method="GET", path=re.compile(PATH), kind="file"),)
POLICY = Policy(deadline_seconds=300, body_limit_bytes=200 * 1024 * 1024, connections=1, attempts=3)

COLUMNS = (
    "exchange",
    "segment",
    "trading_symbol",
    "isin",
    "name",
    "instrument_type",
    "lot_size",
    "tick_size",
)
NEEDED = frozenset(COLUMNS[:4])
NAME_LIMIT = 200


async def download(groww_url: str, into: BinaryIO, clock: Clock) -> None:
    """Write the file of today into `into`, piece by piece. From the simulator when that is where Groww is."""
    base = ASSETS_URL if groww_url.rstrip("/") == GROWW_URL else groww_url
    budget = Budget({"file": Rate(per_second=1, per_minute=5)}, clock)
    async with Http(base, ROUTES, budget, clock, headers={"Accept": "text/csv"}, policy=POLICY) as http:
        reply = await http.send("GET", PATH, call="instruments", judge=judge, headers={}, into=into)
    if reply.problem is not None:
        raise reply.problem


def judge(status: int, body: bytes, call: str) -> BrokerError | None:  # noqa: ARG001 - the shape of `Judge`
    if status == 200:
        return None
    kind = BrokerUnavailable if status >= 500 or status in {408, 429} else BrokerRefused
    return kind(f"Groww does not give its list of instruments (HTTP {status}).", call=call, status=status)


def parse(lines: Iterable[str]) -> Iterator[Listing | BadLine]:
    """The listings, by header name, in the order of the file. Lines without a symbol are no listings.

    `InvalidInput` when it is no such file at all.
    """
    table = Table(lines)
    missing = NEEDED - set(table.columns)
    if missing:
        raise InvalidInput(
            f"This is not Groww's list of instruments: its first line names no {', '.join(sorted(missing))}."
        )
    places = table.places(COLUMNS)
    for number, row in table.rows():
        if isinstance(row, BadLine):
            yield row
        elif symbol := field(row, places[2]):
            listing = _listing(row, places, symbol)
            yield listing if isinstance(listing, Listing) else BadLine(line=number, reason=listing)


def _listing(row: list[str], places: tuple[int | None, ...], symbol: str) -> Listing | str:
    exchange, segment, isin = field(row, places[0]), field(row, places[1]), field(row, places[3])
    if not is_symbol(symbol):
        return f"{symbol[:40]!r} is no trading symbol"
    if not (is_word(exchange) and is_word(segment)):
        return f"{symbol} has no exchange or segment that can be read"
    if segment != "CASH":
        isin = ""  # of a contract it would be its underlying's
    elif isin and not _known_isin(isin):
        return f"{symbol}: {isin[:20]!r} is no ISIN"
    return Listing(
        exchange=exchange,
        segment=segment,
        trading_symbol=symbol,
        isin=isin or None,
        name=_printable(field(row, places[4])) or None,
        instrument_type=_printable(field(row, places[5]))[:20] or None,
        lot_size=_number(field(row, places[6])),
        tick_size=_number(field(row, places[7])),
    )


_known_isin = lru_cache(maxsize=16384)(is_isin)  # most stand there twice, once for each exchange


def _printable(text: str) -> str:
    return text[:NAME_LIMIT] if text.isprintable() else ""


@lru_cache(maxsize=1024)
def _number(text: str) -> Decimal | None:
    """Lot and tick sizes say nothing about money; one that cannot be read is left out."""
    try:
        return decimal(text) if text else None
    except InvalidInput:
        return None
