"""A client that is quick enough not to be what is measured: HTTP/1.1 on open sockets, one question at a time each."""

import asyncio
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import cast

from msgspec import Struct

from portfolio_scheduler.bench.crew import Failed

_LENGTH = b"content-length: "


class Run(Struct, frozen=True, kw_only=True):
    """How a number of requests went."""

    seconds: float
    latencies: list[float]  # seconds, sorted

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Milliseconds."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)] * 1000


def request(path: str, token: str, **headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class _Line(asyncio.Protocol):
    """One connection. Asks again as soon as the answer is whole, until the time is up."""

    def __init__(self, asked: Iterator[bytes], status: int, until: float, ended: "asyncio.Future[None]") -> None:
        self.asked, self.status, self.until, self.ended = asked, status, until, ended
        self.latencies: list[float] = []
        self.heads: list[bytes] = []
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._ask()

    def _ask(self) -> None:
        now = perf_counter()
        question = next(self.asked, None) if now < self.until else None
        if question is None:
            self._transport.close()
            return
        self._sent_at = now
        self._transport.write(question)

    def data_received(self, received: bytes) -> None:
        self._buffer = self._buffer + received if self._buffer else received
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        at = head.find(_LENGTH)
        length = int(head[at + len(_LENGTH) :].partition(b"\r\n")[0]) if at >= 0 else 0
        if len(body) < length:
            return
        self.latencies.append(perf_counter() - self._sent_at)
        self._buffer = b""
        if int(head[9:12]) != self.status:
            self._fail(Failed(f"Expected {self.status}, got {(head + body)[:500].decode(errors='replace')}"))
            return
        if len(self.heads) < 2:
            self.heads.append(head)
        self._ask()

    def _fail(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
        self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def ask(port: int, questions: Sequence[Iterator[bytes]], *, seconds: float, status: int = 200) -> Run:
    """As many connections as there are lines of questions, until the time is up or nothing is left to ask."""
    loop = asyncio.get_running_loop()
    started = perf_counter()
    lines = []
    for asked in questions:
        ended = loop.create_future()
        line = _Line(asked, status, started + seconds, ended)
        await loop.create_connection(lambda line=line: line, "127.0.0.1", port)  # type: ignore[misc]
        lines.append(line)
    await asyncio.gather(*(line.ended for line in lines))
    elapsed = perf_counter() - started
    return Run(seconds=elapsed, latencies=sorted(each for line in lines for each in line.latencies))


async def tags(port: int, questions: Sequence[bytes]) -> list[str]:
    """The ETag of each answer."""
    found = []
    for question in questions:
        ended = asyncio.get_running_loop().create_future()
        line = _Line(iter([question]), 200, perf_counter() + 60, ended)
        await asyncio.get_running_loop().create_connection(lambda line=line: line, "127.0.0.1", port)  # type: ignore[misc]
        await ended
        (head,) = line.heads
        found.append(head.lower().partition(b"etag: ")[2].partition(b"\r\n")[0].decode())
    return found
