"""What changed is heard on commit: over a WebSocket and as server-sent events, by those who may, and by nobody else.

A real server on a port, since a socket is one; the listener, the tickets and the limits as they run in production.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import aiohttp
import psutil
import psycopg
import pytest

from portfolio_scheduler.clock import SystemClock
from portfolio_scheduler.web import live
from portfolio_scheduler.web.server import listening
from tests.scale import scaled
from tests.web.conftest import ADDRESS, RELAXED, Person, Site

ORIGIN = {"Origin": ADDRESS}
MACHINE = SystemClock()


class Served:
    """An installation whose web listens on a port."""

    def __init__(self, site: Site, address: str, http: aiohttp.ClientSession) -> None:
        self.site, self.address, self.http = site, address, http

    async def ticket(self, person: Person) -> str:
        answer = await person.post("/ws-ticket")
        assert answer.status_code == 201, answer.text
        ticket: str = answer.json()["ticket"]
        return ticket

    @asynccontextmanager
    async def socket(
        self, ticket: str, headers: dict[str, str] = ORIGIN
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.http.ws_connect(f"{self.address}/ws", headers=headers, max_msg_size=0) as socket:
            await socket.send_json({"ticket": ticket})
            yield socket

    @asynccontextmanager
    async def heard_by(self, person: Person) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A socket that hears already."""
        async with self.socket(await self.ticket(person)) as socket:
            assert await told(socket) == {"type": "ready"}
            yield socket

    def write(self, statement: str, *params: object) -> float:
        """What another process commits; returns when it did."""
        with psycopg.connect(self.site.database.worker) as connection:
            connection.execute(statement, params)  # type: ignore[call-overload]
        return MACHINE.monotonic()


async def told(socket: aiohttp.ClientWebSocketResponse, seconds: float = 10) -> dict[str, Any]:
    """The next message, pings and the lost beginning apart."""
    while True:
        message = await socket.receive(timeout=seconds)
        assert message.type == aiohttp.WSMsgType.TEXT, message
        content: dict[str, Any] = json.loads(message.data)
        if content["type"] not in {"ping", "resync"}:
            return content


async def closed(socket: aiohttp.ClientWebSocketResponse, seconds: float = 10) -> int | None:
    """The code with which the server closes it."""
    async with asyncio.timeout(seconds):
        while (await socket.receive()).type == aiohttp.WSMsgType.TEXT:
            pass
    return socket.close_code


@pytest.fixture
async def served(site: Site) -> AsyncIterator[Served]:
    app = site.stage.app
    async with (
        listening(app, "127.0.0.1", 0, None, RELAXED) as address,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,  # else the 101st socket waits for ever
    ):
        yield Served(site, address, http)


QUEUE = "INSERT INTO sync_batches (account_id, trigger, status, queued_at) VALUES (%s, 'manual', 'queued', now())"
BEGIN = "UPDATE sync_batches SET status = 'running', started_at = now(), heartbeat_at = now() WHERE status = 'queued'"


async def test_the_story_of_a_sync_is_heard_by_its_owner_alone(served: Served) -> None:
    site = served.site
    asha, ravi = site.person("asha"), site.person("ravi")
    account = await site.account_of(asha)
    async with served.heard_by(asha) as mine, served.heard_by(ravi) as foreign:
        report = await site.stage.sync(account)
        heard = [await told(mine)]
        while heard[-1].get("status") != report.status:
            heard.append(await told(mine))
        seq = await site.stage.one("SELECT seq FROM account_heads")
        batches = [each for each in heard if each["type"] == "batch"]
        assert [each["status"] for each in batches][-2:] == ["running", "completed"]
        assert batches[-1] == {
            "type": "batch",
            "account": str(account.id),
            "batch": report.batch_id,
            "status": "completed",
            "seq": seq,
        }
        with pytest.raises(TimeoutError):
            await told(foreign, 0.3)


async def test_a_grant_is_asked_for_with_every_event(served: Served) -> None:
    site = served.site
    asha, ravi = site.person("asha"), site.person("ravi")
    account = await site.account_of(asha)
    served.write(
        "INSERT INTO viewer_grants (owner_id, viewer_id, owner_name, viewer_name, granted_at, expires_at) "
        "VALUES (%s, %s, 'asha', 'ravi', %s, %s)",
        asha.user, ravi.user, site.now, site.now + timedelta(days=1),
    )  # fmt: skip
    async with served.heard_by(ravi) as socket:
        served.write(QUEUE, account.id)
        assert (await told(socket))["status"] == "queued"
        served.write("UPDATE viewer_grants SET ended_at = %s", site.now)
        served.write(BEGIN)
        with pytest.raises(TimeoutError):
            await told(socket, 0.3)


async def test_a_ticket_is_good_once_for_half_a_minute_and_for_its_own_origin(served: Served) -> None:
    site = served.site
    asha = site.person("asha")
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ADDRESS + ".evil.example"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with served.socket("x", headers):
                pass
        assert refused.value.status == 403
    used = await served.ticket(asha)
    async with served.socket(used) as socket:
        assert await told(socket) == {"type": "ready"}
    expired = await served.ticket(asha)
    served.write("UPDATE socket_tickets SET expires_at = %s", site.now)
    refresh = "psr_" + "a" * 52
    for ticket in (used, expired, asha.token, refresh, "psw_" + "a" * 52, ""):
        async with served.socket(ticket) as socket:
            assert await closed(socket) == 4401, ticket
    async with served.http.ws_connect(f"{served.address}/ws", headers=ORIGIN) as socket:
        await socket.send_str("[" * 1000)
        assert await closed(socket) == 4401


async def test_too_large_too_many_and_too_often_close_the_socket(served: Served) -> None:
    asha = served.site.person("asha")
    async with served.heard_by(asha) as socket:
        await socket.send_str("x" * (1 << 20))
        assert await closed(socket) == 1009
    async with served.heard_by(asha) as socket:
        with pytest.raises((ConnectionError, aiohttp.ClientError, TimeoutError)):  # noqa: PT012 - closed on the way
            for _ in range(10_000):
                await socket.send_str("{}")
            raise TimeoutError
        assert await closed(socket) in {1008, 1006}
    ravi = served.site.person("ravi")
    async with AsyncExitStack() as opened:
        for _ in range(5):
            await opened.enter_async_context(served.heard_by(ravi))
        sixth = await opened.enter_async_context(served.socket(await served.ticket(ravi)))
        assert await closed(sixth) == 4429


async def test_a_logout_and_the_end_of_the_token_close_the_socket_within_five_seconds(served: Served) -> None:
    site = served.site
    asha, ravi = site.person("asha"), site.person("ravi")
    ticket = await served.ticket(ravi)
    served.write("UPDATE socket_tickets SET open_until = %s", site.now + timedelta(seconds=1))
    async with served.heard_by(asha) as out, served.socket(ticket) as expiring:
        assert await told(expiring) == {"type": "ready"}
        site.stage.clock.set(site.now + timedelta(seconds=2))
        ended_at = served.write("UPDATE sessions SET ended_at = now() WHERE id = %s", asha.session)
        assert [await closed(out), await closed(expiring)] == [4401, 4401]
        assert MACHINE.monotonic() - ended_at < 5


async def test_the_same_is_told_as_server_sent_events(served: Served) -> None:
    site = served.site
    asha = site.person("asha")
    account = await site.account_of(asha)
    headers = {"Authorization": f"Bearer {asha.token}"}
    async with served.http.get(f"{served.address}/events", headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert json.loads((await stream.content.readline())[6:]) == {"type": "ready"}
        served.write(QUEUE, account.id)
        told_of: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while not told_of or told_of[-1]["type"] != "batch":
                if (line := await stream.content.readline()).startswith(b"data: "):
                    told_of.append(json.loads(line[6:]))
        assert (told_of[-1]["account"], told_of[-1]["status"]) == (str(account.id), "queued")
    async with served.http.get(f"{served.address}/events") as refused:
        assert refused.status == 401


async def test_after_the_listener_lost_its_connection_everybody_is_told_to_fetch_anew(served: Served) -> None:
    site = served.site
    asha = site.person("asha")
    account = await site.account_of(asha)
    async with served.heard_by(asha) as socket:
        with psycopg.connect(site.database.superuser, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = %s AND application_name LIKE '%%live'", (site.database.name,)
            )  # fmt: skip
        served.write(QUEUE, account.id)
        async with asyncio.timeout(15):
            while json.loads((await socket.receive()).data)["type"] != "resync":
                pass
        served.write(BEGIN)
        assert (await told(socket))["status"] == "running"


async def test_who_does_not_read_costs_no_memory(served: Served, tell: Callable[[str, object], None]) -> None:
    """Slow readers: their queue is bounded, events are given up for one `resync`, nobody else waits."""
    one = live.Listener(None, UUID(int=1), None)  # type: ignore[arg-type]
    events = [
        live.Event(
            type="batch", user=UUID(int=1), account=UUID(int=number), batch=UUID(int=number), status="running", seq=1
        )
        for number in range(10_000)
    ]
    for event in events:
        one.put(event)
    lost, waiting = one.take()
    assert lost
    assert len(waiting) <= live.WAITING
    for _ in range(10_000):
        one.put(events[0])
    assert one.take() == (False, [events[0]])
    site = served.site
    asha = site.person("asha")
    account = await site.account_of(asha)
    people = [site.person(f"slow {number}") for number in range(scaled(40, share=10))]
    for person in people:
        served.write(
            "INSERT INTO viewer_grants (owner_id, viewer_id, owner_name, viewer_name, granted_at, expires_at) "
            "VALUES (%s, %s, 'asha', 'slow', %s, %s)",
            asha.user, person.user, site.now, site.now + timedelta(days=1),
        )  # fmt: skip
    sockets = []
    for person in people * 5:
        sockets.append(await served.http.ws_connect(f"{served.address}/ws", headers=ORIGIN))
        await sockets[-1].send_json({"ticket": await served.ticket(person)})
    process = psutil.Process()
    before = process.memory_info().rss
    async with served.heard_by(asha) as reading:
        with psycopg.connect(site.database.worker, autocommit=True) as connection:
            for number in range(scaled(2000, share=10)):
                connection.execute(
                    "SELECT tell(%s, %s)", (account.id, json.dumps({"type": "history", "status": str(number)}))
                )
        assert (await told(reading))["account"] == str(account.id)
    more = process.memory_info().rss - before
    tell(f"T53: {len(sockets)} slow readers, memory more by MiB", f"{more / 2**20:.1f}")
    assert more < 50 << 20
    for socket in sockets:
        await socket.close()
