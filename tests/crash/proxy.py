"""A proxy between the product and what it talks to, database or broker, that spoils connections on request.

It listens on the loopback interface and passes bytes on to a TCP port or a Unix socket. What goes wrong is a `Toxic`;
those that are set hold for connections that exist and for new ones.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

from msgspec import Struct

CHUNK = 65_536
Kind = Literal["latency", "cut", "reset", "blackhole", "slow", "cut after", "cut at", "refuse"]


class Toxic(Struct, kw_only=True):
    """What goes wrong with a connection, how likely it is (for each connection, or each time a pattern is seen)."""

    kind: Kind
    seconds: float = 0.05  # of `latency` before each piece, and of `slow` after each few bytes
    size: int = 1000  # of `cut after`, counted over what the server sends; of `slow`, how much at once
    pattern: bytes = b""  # of `cut at`: what the client sends
    answered: bool = True  # of `cut at`: let the server answer before, but not the client hear of it
    chance: float = 1.0


class Proxy:
    """A running proxy. `hits` counts what it did, by kind."""

    def __init__(self, upstream: "tuple[str, int] | Path", chance: random.Random) -> None:
        self.upstream = upstream
        self.toxics: list[Toxic] = []
        self.hits: dict[str, int] = {}
        self.port = 0
        self._chance = chance
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has connected. It may be late: the loop had it in hand already when we stopped to listen."""
        if self._closed:
            writer.transport.abort()
            return
        self._open.add(writer)  # a task that is cancelled before its first step would never close it
        task = asyncio.create_task(self.serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.cut_all()

    def cut_all(self) -> None:
        """Every connection breaks now."""
        for writer in list(self._open):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """However it ends, cancelled while it connects as well, both sides are closed."""
        pair = [writer]
        try:
            if self._toxic("refuse") or self._toxic("reset"):
                return
            with suppress(OSError):
                server_reader, server_writer = await self._connect()
                pair.append(server_writer)
                self._open.add(server_writer)
                await _Connection(self, reader, writer, server_reader, server_writer).run()
        finally:
            self._open -= set(pair)
            for each in pair:
                each.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.upstream, Path):
            return await asyncio.open_unix_connection(self.upstream)
        return await asyncio.open_connection(*self.upstream)

    def _toxic(self, kind: Kind) -> Toxic | None:
        """The toxic of this kind, if there is one and chance wills it."""
        for toxic in self.toxics:
            if toxic.kind == kind and self._chance.random() < toxic.chance:
                self.hits[kind] = self.hits.get(kind, 0) + 1
                return toxic
        return None


class _Connection:
    """One client, one server, and the bytes between them."""

    def __init__(
        self,
        proxy: Proxy,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._deaf = asyncio.Event()  # the client hears no more; the connection breaks once the server has answered
        self._cut_after = proxy._toxic("cut after")
        self._sent = 0

    async def run(self) -> None:
        tasks = [asyncio.create_task(self._up()), asyncio.create_task(self._down())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _up(self) -> None:
        with suppress(OSError):
            while piece := await self._client.read(CHUNK):
                toxic = self._at_pattern(piece)
                if toxic is not None and not toxic.answered:
                    return  # the server never sees it
                if toxic is not None:
                    self._deaf.set()
                await self._pass_on(piece, self._to_server)

    def _at_pattern(self, piece: bytes) -> Toxic | None:
        wanted = [toxic for toxic in self._proxy.toxics if toxic.kind == "cut at" and toxic.pattern in piece]
        return self._proxy._toxic("cut at") if wanted else None

    async def _down(self) -> None:
        with suppress(OSError):
            while piece := await self._server.read(CHUNK):
                if self._deaf.is_set():
                    return
                if self._cut_after is not None and self._sent + len(piece) > self._cut_after.size:
                    await self._pass_on(piece[: max(self._cut_after.size - self._sent, 0)], self._to_client)
                    return
                self._sent += len(piece)
                await self._pass_on(piece, self._to_client)

    async def _pass_on(self, piece: bytes, to: asyncio.StreamWriter) -> None:
        if self._proxy._toxic("cut"):
            raise ConnectionResetError
        if self._proxy._toxic("blackhole"):
            await asyncio.sleep(3600)
        if latency := self._proxy._toxic("latency"):
            await asyncio.sleep(latency.seconds)
        slow = self._proxy._toxic("slow")
        step = slow.size if slow else len(piece)
        for start in range(0, len(piece), max(step, 1)):
            to.write(piece[start : start + step])
            await to.drain()
            if slow:
                await asyncio.sleep(slow.seconds)


@asynccontextmanager
async def proxied(upstream: "tuple[str, int] | Path", *, seed: int = 1) -> AsyncIterator[Proxy]:
    """A proxy in front of that address, listening on a port of its own inside the block."""
    proxy = Proxy(upstream, random.Random(seed))
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
