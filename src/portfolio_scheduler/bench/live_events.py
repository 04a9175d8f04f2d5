"""How soon a client hears of a change: from the return of the commit to the message on its WebSocket.

Server, database and clients share the machine; the changes are committed by connections of their own, one at a time and
then as syncs that begin and end at the rate a machine reads accounts at.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from statistics import quantiles
from uuid import UUID

import aiohttp
from msgspec import Struct

from portfolio_scheduler.app import App, running
from portfolio_scheduler.bench import place
from portfolio_scheduler.bench.figures import Figure, Scale, at_most, figure
from portfolio_scheduler.clock import SystemClock
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.identity import opaque
from portfolio_scheduler.web.server import listening

PEOPLE = 20
SOCKETS = 5  # of each
RATE = 60  # accounts a second
AIM_MS = 200

MAKE = """
WITH u AS (INSERT INTO users (name, created_at) SELECT 'person ' || n, now() FROM generate_series(1, %(people)s) n
        RETURNING id),
    s AS (INSERT INTO sessions (user_id, begun_at, authenticated_at, refreshed_at, expires_at, idle_seconds, remembered,
            second_factor, device_digest, refresh_digest, address, agent)
        SELECT id, now(), now(), now(), now() + interval '1 day', 86400, false, false, '', '', '', '' FROM u),
    a AS (INSERT INTO broker_accounts (user_id, broker, label, login, sealed_credentials, planned_through, created_at)
        SELECT id, 'groww', 'account ' || n, 'totp', '\\x00', now(), now() FROM u, generate_series(1, 5) n RETURNING id)
INSERT INTO account_heads (account_id) SELECT id FROM a
"""
TICKET = """
INSERT INTO socket_tickets (digest, user_id, session_id, expires_at, open_until)
SELECT %s, user_id, id, now() + interval '1 hour', now() + interval '1 hour' FROM sessions ORDER BY id OFFSET %s LIMIT 1
"""
QUEUE = """
INSERT INTO sync_batches (account_id, trigger, status, queued_at) VALUES (%s, 'scheduled', 'queued', now()) RETURNING id
"""
BEGIN = "UPDATE sync_batches SET status = 'running', started_at = now() WHERE id = %s"
END = "UPDATE sync_batches SET status = 'completed', finished_at = now() WHERE id = %s"


class _Heard(Struct):
    """When each change was committed, and when each socket of its owner's heard of it."""

    committed: dict[tuple[str, str], float] = {}
    at: list[tuple[tuple[str, str], float]] = []

    def milliseconds(self) -> list[float]:
        return [max(0.0, (at - self.committed[what]) * 1e3) for what, at in self.at if what in self.committed]


async def measure(scale: Scale) -> list[Figure]:
    """Every account is its owner's, who has five sockets open."""
    people = scale.of(PEOPLE, 2)
    with place.fresh() as (settings, _):
        async with running(settings) as app, listening(app, "127.0.0.1", 0, None) as address:
            async with transaction(app.pool) as tx:
                await tx.execute(MAKE, {"people": people})
                found = await (await tx.execute("SELECT id FROM broker_accounts ORDER BY id")).fetchall()
            accounts = [row[0] for row in found]
            heard = _Heard()
            async with _sockets(app, address, people, heard):
                alone = await _one_by_one(app, accounts[: scale.of(100, 5)], heard)
                crowd = await _together(app, accounts, heard)
    sockets = f"{people * SOCKETS} sockets, {SOCKETS} of each person"
    return [
        *_figures("one change at a time", alone, sockets),
        *_figures(f"{len(accounts)} syncs, {RATE}/s", crowd, sockets),
    ]


def _figures(name: str, samples: Sequence[float], note: str) -> list[Figure]:
    counted = f"{len(samples):,} messages, {note}"
    return [
        figure("live", f"{name}, p50", "ms", samples, at_most(AIM_MS), counted),
        figure("live", f"{name}, p99", "ms", [quantiles(samples, n=100)[98]], at_most(AIM_MS), counted),
    ]


@asynccontextmanager
async def _sockets(app: App, address: str, people: int, heard: _Heard) -> AsyncIterator[None]:
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(aiohttp.ClientSession())
        tasks = []
        for number in range(people * SOCKETS):
            text, digest = opaque.make(opaque.Kind.WS_TICKET)
            async with transaction(app.pool) as tx:
                await tx.execute(TICKET, (digest, number % people))
            socket = await opened.enter_async_context(
                http.ws_connect(f"{address}/ws", headers={"Origin": app.settings.url})
            )
            await socket.send_json({"ticket": text})
            if json.loads((await socket.receive()).data)["type"] != "ready":
                raise AssertionError("a socket was not opened")
            tasks.append(asyncio.create_task(_listen(socket, heard)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(socket: aiohttp.ClientWebSocketResponse, heard: _Heard) -> None:
    clock = SystemClock()
    async for message in socket:
        told = json.loads(message.data)
        if told["type"] == "batch":
            heard.at.append(((told["batch"], told["status"]), clock.monotonic()))


async def _one_by_one(app: App, accounts: Sequence[UUID], heard: _Heard) -> list[float]:
    for account in accounts:
        await _sync(app, account, heard, pause=0.02)
    return await _settled(heard)


async def _together(app: App, accounts: Sequence[UUID], heard: _Heard) -> list[float]:
    async def later(number: int, account: UUID) -> None:
        await asyncio.sleep(number / RATE)
        await _sync(app, account, heard, pause=0.1)

    await asyncio.gather(*(later(number, account) for number, account in enumerate(accounts)))
    return await _settled(heard)


async def _sync(app: App, account: UUID, heard: _Heard, *, pause: float = 0) -> None:
    """Only what is told of a sync: it begins and it ends."""
    clock = SystemClock()
    async with transaction(app.pool) as tx:
        row = await (await tx.execute(QUEUE, (account,))).fetchone()
    assert row is not None
    for statement, status in ((BEGIN, "running"), (END, "completed")):
        async with transaction(app.pool) as tx:
            await tx.execute(statement, (row[0],))
        heard.committed[str(row[0]), status] = clock.monotonic()
        await asyncio.sleep(pause)


async def _settled(heard: _Heard) -> list[float]:
    """The milliseconds of what was heard since the last time, once nothing more comes."""
    async with asyncio.timeout(timedelta(minutes=1).total_seconds()):
        before = -1
        while before != len(heard.at):
            before = len(heard.at)
            await asyncio.sleep(0.5)
    samples = heard.milliseconds()
    heard.committed.clear()
    heard.at.clear()
    return samples
