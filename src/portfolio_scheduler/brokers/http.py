"""The one way out to a broker: a client per account that can send nothing but the requests on its list.

Deadline, size, redirects, rate and retries are dealt with here, and aiohttp's exceptions end here. What an answer means
is the broker's business: it hands in a `judge`.
"""

import asyncio
import random
import re
import ssl
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import urlsplit

import aiohttp
from msgspec import Struct
from yarl import URL

from portfolio_scheduler.brokers.breaker import Breaker
from portfolio_scheduler.brokers.budget import Budget
from portfolio_scheduler.clock import Clock
from portfolio_scheduler.errors import (
    BrokerAnswerUnknown,
    BrokerError,
    BrokerThrottled,
    BrokerUnavailable,
    NotAllowed,
    SetupProblem,
)
from portfolio_scheduler.log import logger

Judge = Callable[[int, bytes, str], BrokerError | None]
"""(HTTP status, body, call) → what is wrong with the answer, or None. Errors with `retryable` are tried again."""

PIECE_BYTES = 256 * 1024
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class Route(Struct, frozen=True, kw_only=True):
    """A request that may be sent, and the class of the rate budget it counts in."""

    method: str
    path: re.Pattern[str]
    kind: str


class Policy(Struct, frozen=True, kw_only=True):
    """Limits of one client."""

    deadline_seconds: float = 15.0  # one request, from asking for a connection to the last byte
    body_limit_bytes: int = 5 * 1024 * 1024  # after decompression
    connections: int = 4  # requests in flight
    attempts: int = 5  # requests for one answer
    backoff_seconds: float = 2.0  # doubles each time; the actual wait is random between 0 and it
    backoff_limit_seconds: float = 60.0
    patience_seconds: float = 300.0  # one answer with all its retries; also the sum of all waits for 429s
    session_seconds: float = 600.0  # all answers of one session


class Reply(Struct, frozen=True, kw_only=True):
    """An answer as it came, with what is wrong with it."""

    status: int
    body: bytes
    problem: BrokerError | None = None
    retry_after_seconds: float | None = None


class _Request(Struct, frozen=True, kw_only=True):
    """One request, however often it is sent."""

    method: str
    url: URL
    call: str
    judge: Judge
    headers: Mapping[str, str]  # with the token in it
    body: bytes | None
    into: BinaryIO | None

    def __repr__(self) -> str:  # never what it carries
        return f"_Request({self.call})"


class Http:
    """HTTP client of one account. Use as a context manager."""

    def __init__(
        self,
        base_url: str,
        routes: Sequence[Route],
        budget: Budget,
        clock: Clock,
        *,
        headers: Mapping[str, str],
        policy: Policy | None = None,
        breaker: Breaker | None = None,
        account: str = "",
    ) -> None:
        """`account` tells the accounts that share a `breaker` apart; it is never sent."""
        self._base = checked_base(base_url)
        self._routes = tuple(routes)
        self._clock = clock
        self._policy = policy or Policy()
        self._budget = budget
        self._breaker = breaker or Breaker()
        self._account = account
        self._slots = asyncio.Semaphore(self._policy.connections)
        self._headers = {"Accept-Encoding": "gzip", "User-Agent": "portfolio-scheduler", **headers}
        self._session: aiohttp.ClientSession | None = None
        self._waited_seconds = 0.0  # how long 429s have held this session up, all in all
        self._ends_at = float("inf")
        self.clock_offset: timedelta | None = None  # the broker's clock minus ours, by the Date of its answers
        self._log = logger()

    def __repr__(self) -> str:
        return f"Http({urlsplit(self._base).hostname!r})"

    @property
    def given_up_seconds(self) -> float:
        """How long the broker wants to be left alone, longer than anybody waits here; 0 when it does not."""
        return self._budget.given_up_seconds

    async def __aenter__(self) -> Self:
        self._ends_at = self._clock.monotonic() + self._policy.session_seconds
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._policy.connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._policy.deadline_seconds),
            headers=self._headers,
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        call: str,
        judge: Judge,
        headers: Mapping[str, str],
        query: str = "",
        body: bytes | None = None,
        waits_for_429: bool = True,
        into: BinaryIO | None = None,
    ) -> Reply:
        """One answer, with its retries. `path` and `query` are percent-encoded; anything off the list is `NotAllowed`.

        With `into` a good answer is written there piece by piece, each attempt anew, and the reply's body stays empty.

        Retried are timeouts, broken connections and whatever `judge` finds `retryable`. An answer that stays bad comes
        back with its problem; no answer at all raises `BrokerUnavailable`, a refusal to follow or read one
        `BrokerAnswerUnknown`, a pause longer than our patience `BrokerThrottled`. A session that has lasted too long,
        or a broker that answers nobody, sends nothing more and raises `BrokerUnavailable`.
        """
        route = self._route(method, path)
        url = URL(f"{self._base}{path}?{query}" if query else self._base + path, encoded=True)
        for value in headers.values():
            if not _HEADER_VALUE.fullmatch(value):
                raise NotAllowed("A header value may only hold printable ASCII characters.")
        asked = _Request(method=method, url=url, call=call, judge=judge, headers=headers, body=body, into=into)
        started = self._clock.monotonic()
        attempt = 0
        while True:
            self._check_may_send(call)
            async with (
                self._slots,
                self._breaker.turn(self._account, call, self._clock),
                self._budget.turn(route.kind),
            ):
                reply, problem = await self._tried(asked)
            if problem is None or not problem.retryable:
                self._budget.succeeded()
                assert reply is not None
                return reply
            if isinstance(problem, BrokerThrottled):
                self._pause(problem, patient=waits_for_429)
                continue
            attempt += 1
            delay = min(self._policy.backoff_seconds * 2 ** (attempt - 1), self._policy.backoff_limit_seconds)
            delay *= random.random()  # noqa: S311
            spent = self._clock.monotonic() - started
            if attempt >= self._policy.attempts or spent + delay > self._policy.patience_seconds:
                if reply is None:
                    raise problem
                return reply
            self._log.info("broker call is tried again", call=call, attempt=attempt, problem=type(problem).__name__)
            await self._clock.sleep(delay)

    def _route(self, method: str, path: str) -> Route:
        for route in self._routes:
            if route.method == method and route.path.fullmatch(path):
                return route
        raise NotAllowed(f"{method} {path.partition('?')[0][:60]!r} is not on the list of requests we send.")

    def _pause(self, problem: BrokerThrottled, *, patient: bool) -> None:
        """Hold the account, or give up when it would take longer than we wait. Calls already in flight count once."""
        if self._budget.paused and patient:
            return
        seconds = self._budget.pause_seconds(problem.retry_after_seconds)
        if not patient or self._waited_seconds + seconds > self._policy.patience_seconds:
            self._budget.give_up(seconds)
            self._check_may_send(problem.call)
        self._log.info("broker asks us to slow down", call=problem.call, pause_seconds=round(seconds))
        self._waited_seconds += seconds
        self._budget.pause(seconds)

    def _check_may_send(self, call: str | None) -> None:
        if (seconds := self._budget.given_up_seconds) > 0:
            raise BrokerThrottled(
                f"The broker asks us to slow down; try again in {seconds:.0f} s.",
                call=call,
                retry_after_seconds=seconds,
            )
        if self._clock.monotonic() > self._ends_at:
            raise BrokerUnavailable(
                f"Reading has taken longer than {self._policy.session_seconds / 60:.0f} minutes; {call} was not asked "
                "for any more.",
                call=call,
            )

    async def _tried(self, asked: _Request) -> tuple[Reply | None, BrokerError | None]:
        """One request; the breaker hears how it ended, for all accounts."""
        reply: Reply | None = None
        try:
            reply = await self._once(asked)
            problem = reply.problem
        except BrokerUnavailable as unreached:
            problem = unreached
        self._breaker.heard(self._account, problem, self._clock.monotonic())
        return reply, problem

    async def _once(self, asked: _Request) -> Reply:
        """One request, one answer. Library exceptions become ours, without their text: it can hold addresses."""
        if self._session is None:
            raise NotAllowed("The client is not open.")
        call, into = asked.call, asked.into
        try:
            async with self._session.request(
                asked.method, asked.url, headers=asked.headers, data=asked.body, allow_redirects=False
            ) as response:
                status = response.status
                self._compare_clocks(response.headers.get("Date"))
                if 300 <= status < 400:
                    raise BrokerAnswerUnknown(
                        f"The broker answered {call} with a redirect, which is never followed.",
                        call=call,
                        status=status,
                    )
                if into is not None and status == 200:
                    content = await self._save(response, call, into)
                else:
                    content = await self._read(response, call)
                retry_after = response.headers.get("Retry-After")
        except TimeoutError:
            seconds = self._policy.deadline_seconds
            raise BrokerUnavailable(f"No complete answer to {call} within {seconds:g} s.", call=call) from None
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise BrokerUnavailable(
                f"The connection failed during {call} ({type(error).__name__}).", call=call
            ) from None
        problem = asked.judge(status, content, call)
        if isinstance(problem, BrokerThrottled):
            problem.retry_after_seconds = retry_after_seconds(retry_after, self._clock.now())
        return Reply(status=status, body=content, problem=problem)

    def _compare_clocks(self, header: str | None) -> None:
        """The smallest difference counts: a wrong clock shows in every answer, one out of a cache only in itself."""
        at = http_date(header)
        if at is None:
            return
        offset = at - self._clock.now()
        if self.clock_offset is None or abs(offset) < abs(self.clock_offset):
            self.clock_offset = offset

    async def _read(self, response: aiohttp.ClientResponse, call: str) -> bytes:
        """The body, unpacked, never more than the limit in memory."""
        limit = self._policy.body_limit_bytes
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit:
                raise _too_large(call, limit)
            chunks.append(chunk)
        body = b"".join(chunks)
        unpacker = _unpacker(response, call)
        if unpacker is None:
            return body
        try:
            unpacked = unpacker.decompress(body, limit + 1)
        except zlib.error:
            raise BrokerUnavailable(f"The packed answer to {call} is damaged.", call=call) from None
        if len(unpacked) > limit:
            raise _too_large(call, limit)
        if not unpacker.eof:
            raise BrokerUnavailable(f"The packed answer to {call} is cut off.", call=call)
        return unpacked

    async def _save(self, response: aiohttp.ClientResponse, call: str, into: BinaryIO) -> bytes:
        """The body, unpacked, into a file: no more than a piece of it in memory, no more than the limit on disk."""
        into.seek(0)
        into.truncate()
        unpacker = _unpacker(response, call)
        left = self._policy.body_limit_bytes
        try:
            async for chunk in response.content.iter_any():
                piece = chunk
                while piece:
                    unpacked = unpacker.decompress(piece, PIECE_BYTES) if unpacker else piece
                    left -= len(unpacked)
                    if left < 0:
                        raise _too_large(call, self._policy.body_limit_bytes)
                    into.write(unpacked)
                    piece = unpacker.unconsumed_tail if unpacker else b""
        except zlib.error:
            raise BrokerUnavailable(f"The packed answer to {call} is damaged.", call=call) from None
        if unpacker and not unpacker.eof:
            raise BrokerUnavailable(f"The packed answer to {call} is cut off.", call=call)
        return b""


def _unpacker(response: aiohttp.ClientResponse, call: str) -> "zlib._Decompress | None":
    """What undoes the answer's packing; None when it is not packed."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"identity", ""}:
        return None
    if encoding != "gzip":
        raise BrokerAnswerUnknown(
            f"The answer to {call} is packed in a way we did not ask for.", call=call, status=response.status
        )
    return zlib.decompressobj(wbits=31)


def _too_large(call: str, limit: int) -> BrokerAnswerUnknown:
    return BrokerAnswerUnknown(f"The answer to {call} is larger than {limit // 1024} KiB; it was not read.", call=call)


def checked_base(url: str) -> str:
    """The base address without a closing slash. https, or http on this machine only; nothing but host and path."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise SetupProblem("The broker's address is not a URL.") from None
    if not host or parts.query or parts.fragment or "@" in parts.netloc or not url.isascii():
        raise SetupProblem("The broker's address must be a plain URL: scheme, host and path.")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise SetupProblem(f"The broker's address must begin with https:// ({host} is not this machine).")
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """What a Retry-After header asks for: seconds or a date. None for garbage and for a moment that has passed."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text) or None
    at = http_date(text)
    seconds = (at - now).total_seconds() if at else 0
    return seconds if seconds > 0 else None


def http_date(header: str | None) -> datetime | None:
    """The instant of a Date or Retry-After header; None for garbage."""
    try:
        at = parsedate_to_datetime(header or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
