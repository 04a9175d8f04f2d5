"""The proxy does what its toxics say."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from tests.crash.proxy import Proxy, Toxic, proxied


@pytest.fixture
async def heard() -> AsyncIterator[tuple[Proxy, list[bytes]]]:
    """A proxy before a server that answers every line with itself, and what the server heard."""
    lines: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            lines.append(line)
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with proxied(server.sockets[0].getsockname()[:2]) as proxy:
        yield proxy, lines
    server.close()


async def ask(proxy: Proxy, *lines: bytes) -> bytes:
    """Send lines one by one; what came back until the connection ended or nothing more is due."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    got = b""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        for line in lines:
            writer.write(line)
            got += await asyncio.wait_for(reader.readexactly(len(line)), 2)
    writer.close()
    return got


async def test_without_a_toxic_it_passes_everything_on(heard: tuple[Proxy, list[bytes]]) -> None:
    assert await ask(heard[0], b"a\n", b"b\n") == b"a\nb\n"


async def test_cut_at_a_pattern_lets_the_server_answer_unheard(
    heard: tuple[Proxy, list[bytes]],
) -> None:
    proxy, lines = heard
    proxy.toxics = [Toxic(kind="cut at", pattern=b"COMMIT")]
    assert await ask(proxy, b"BEGIN\n", b"COMMIT\n") == b"BEGIN\n"
    assert lines == [b"BEGIN\n", b"COMMIT\n"]
    assert proxy.hits == {"cut at": 1}


async def test_cut_before_a_pattern_keeps_it_from_the_server(heard: tuple[Proxy, list[bytes]]) -> None:
    proxy, lines = heard
    proxy.toxics = [Toxic(kind="cut at", pattern=b"COMMIT", answered=False)]
    assert await ask(proxy, b"BEGIN\n", b"COMMIT\n") == b"BEGIN\n"
    assert lines == [b"BEGIN\n"]


async def test_cut_after_so_many_bytes(heard: tuple[Proxy, list[bytes]]) -> None:
    heard[0].toxics = [Toxic(kind="cut after", size=4)]
    assert await ask(heard[0], b"ab\n", b"cd\n") == b"ab\n"


@pytest.mark.parametrize("kind", ["reset", "refuse", "cut"])
async def test_connections_that_break_bring_nothing(heard: tuple[Proxy, list[bytes]], kind: str) -> None:
    heard[0].toxics = [Toxic(kind=kind)]  # type: ignore[arg-type]
    assert await ask(heard[0], b"a\n") == b""


async def test_a_black_hole_answers_nothing_and_ends_nothing(heard: tuple[Proxy, list[bytes]]) -> None:
    heard[0].toxics = [Toxic(kind="blackhole")]
    reader, writer = await asyncio.open_connection("127.0.0.1", heard[0].port)
    writer.write(b"a\n")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.2)
    writer.close()


@pytest.mark.parametrize("toxic", [Toxic(kind="latency", seconds=0.1), Toxic(kind="slow", seconds=0.1, size=1)])
async def test_what_is_slow_takes_its_time(heard: tuple[Proxy, list[bytes]], toxic: Toxic) -> None:
    heard[0].toxics = [toxic]
    began = time.monotonic()
    assert await ask(heard[0], b"a\n") == b"a\n"
    assert time.monotonic() - began > 0.15


async def test_all_connections_can_be_cut_at_once(heard: tuple[Proxy, list[bytes]]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", heard[0].port)
    writer.write(b"a\n")
    assert await reader.readline() == b"a\n"
    heard[0].cut_all()
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 2) == b""
    writer.close()
