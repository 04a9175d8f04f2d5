"""What changed, as it changes: a WebSocket opened with a ticket, and server-sent events where there can be none.

The ticket keeps the token out of addresses, where logs would find it. It is good once, for half a minute.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
import psycopg
from litestar import WebSocket, get, post, websocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect
from litestar.response import Stream
from msgspec import Meta, Struct

from portfolio_scheduler.clock import SystemClock
from portfolio_scheduler.db import live
from portfolio_scheduler.db.viewers import Entry, as_viewer, at_the_door
from portfolio_scheduler.errors import LoginRequired, PortfolioSchedulerError, TooMany
from portfolio_scheduler.identity import opaque
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import READ, At, Who, check_person, check_scope
from portfolio_scheduler.web.errors import PROBLEMS, WRITE_PROBLEMS
from portfolio_scheduler.web.live import Ended, Listener, Told
from portfolio_scheduler.web.place import Place

FIRST_SECONDS = 5  # for the ticket to come
SEND_SECONDS = 10  # for a message to leave; who reads no more is let go
SILENT_SECONDS = 65  # without an answer to three pings
LARGEST = 64 * 1024  # bytes of a message of the client's
MESSAGES_A_MINUTE = 100  # of the client's
UNKNOWN = 100  # sockets whose ticket has not come

# Why a socket is closed. 1008, 1009, 1013 are the protocol's own words; those from 4000 on are ours.
NOT_YOURS, TOO_LARGE, TRY_LATER = 1008, 1009, 1013
LOGIN_ENDED, TOO_MANY = 4401, 4429
MACHINE = SystemClock()

_encode = msgspec.json.Encoder().encode


class TicketAnswer(Struct, frozen=True, kw_only=True):
    """Opens one WebSocket at `/ws`: send `{"ticket": "…"}` as the first message."""

    ticket: str
    expires_at: datetime


class _First(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ticket: Annotated[str, Meta(max_length=100)]


class _Close(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@post("/ws-ticket", status_code=201, tags=["syncs"], responses=WRITE_PROBLEMS, security=SECURITY)
async def make_ws_ticket(place: At, entry: Who) -> TicketAnswer:
    """A ticket for one WebSocket, good once and for 30 seconds. The socket lives as long as this access token: take a
    new token and a new ticket in time."""
    text, digest = opaque.make(opaque.Kind.WS_TICKET)
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_person(viewer)
        assert entry.good_until is not None
        expires_at = await live.issue(tx, viewer, digest, entry.at, entry.good_until)
    return TicketAnswer(ticket=text, expires_at=expires_at)


@get("/events", tags=["syncs"], responses=PROBLEMS, security=SECURITY, media_type="text/event-stream")
async def stream_events(place: At, entry: Who) -> Stream:
    """What changed, as server-sent events: the messages of the WebSocket, each a line `data:`. Ends with the token."""
    async with as_viewer(place.pool, entry) as (_, viewer):
        check_scope(viewer, READ)
    place.live.check_room(viewer.user_id)
    return Stream(_lines(place, entry, viewer.user_id), media_type="text/event-stream")


async def _lines(place: Place, entry: Entry, user_id: UUID) -> AsyncIterator[bytes]:
    with place.live.listener(entry, user_id, entry.good_until) as one:
        try:
            async for told in place.live.messages(one):
                yield b"data: " + _encode(told) + b"\n\n"
        except (Ended, PortfolioSchedulerError, psycopg.Error):
            return


_unknown: set[int] = set()


@websocket("/ws")
async def open_socket(socket: WebSocket[object, object, State]) -> None:
    """Send the ticket; then hear what changed."""
    place: Place = socket.app.state.place
    if socket.headers.get("origin") != place.app.settings.url or len(_unknown) >= UNKNOWN:
        await socket.close(code=NOT_YOURS)  # before it was accepted: the handshake is refused with 403
        return
    await socket.accept()
    try:
        entry, user_id, until = await _known(place, socket)
        with place.live.listener(entry, user_id, until) as one:
            await _exchange(place, socket, one)
    except _Close as close:
        await _end(socket, close.code, close.reason)
    except (Ended, LoginRequired):
        await _end(socket, LOGIN_ENDED, "the login or its token has ended; take a new ticket")
    except TooMany as error:
        await _end(socket, TOO_MANY, error.message[:100])
    except (PortfolioSchedulerError, psycopg.Error):
        await _end(socket, TRY_LATER, "the database does not answer; try again")
    except (WebSocketDisconnect, TimeoutError):
        return


async def _end(socket: WebSocket[object, object, State], code: int, reason: str) -> None:
    async with asyncio.timeout(1):
        await socket.close(code=code, reason=reason)


async def _known(place: Place, socket: WebSocket[object, object, State]) -> tuple[Entry, UUID, datetime]:
    """Who it is, by the ticket in the first message, and until when."""
    _unknown.add(id(socket))
    try:
        async with asyncio.timeout(FIRST_SECONDS):
            first = await _received(socket)
    except TimeoutError:
        raise _Close(NOT_YOURS, "no ticket came") from None
    finally:
        _unknown.discard(id(socket))
    try:
        digest = opaque.digest_of(opaque.Kind.WS_TICKET, msgspec.json.decode(first, type=_First).ticket)
    except (msgspec.MsgspecError, LoginRequired):
        raise _Close(LOGIN_ENDED, "the first message must be a ticket of POST /ws-ticket") from None
    now = place.app.clock.now()
    async with at_the_door(place.pool, now) as tx:
        ticket = await live.redeem(tx, digest)
    if ticket is None or ticket.expires_at <= now:
        raise _Close(LOGIN_ENDED, "this ticket is used or expired; take a new one")
    entry = Entry(at=now, session_id=ticket.session_id)
    async with as_viewer(place.pool, entry) as (_, viewer):
        return entry, viewer.user_id, ticket.open_until


async def _received(socket: WebSocket[object, object, State]) -> str | bytes:
    event = await socket.receive()
    if event["type"] != "websocket.receive":
        raise WebSocketDisconnect(detail="gone")
    text = event.get("text")
    content: str | bytes = text if text is not None else event.get("bytes") or b""
    if len(content) > LARGEST:
        raise _Close(TOO_LARGE, f"a message may have {LARGEST} bytes")
    return content


async def _exchange(place: Place, socket: WebSocket[object, object, State], one: Listener) -> None:
    """Send and receive until one of the two ends."""
    heard = _Heard()
    sending = asyncio.create_task(_send(place, socket, one, heard), name="socket out")
    receiving = asyncio.create_task(_receive(socket, heard), name="socket in")
    try:
        done, _ = await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
    for task in done:
        task.result()


class _Heard:
    """When the client last said something."""

    def __init__(self) -> None:
        self.at = MACHINE.monotonic()


async def _send(place: Place, socket: WebSocket[object, object, State], one: Listener, heard: _Heard) -> None:
    async for told in place.live.messages(one):
        if MACHINE.monotonic() - heard.at > SILENT_SECONDS:
            raise _Close(NOT_YOURS, "three pings were not answered")
        await _sent(socket, told)


async def _sent(socket: WebSocket[object, object, State], told: Told) -> None:
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await socket.send_data(_encode(told).decode(), mode="text")
    except TimeoutError:
        raise _Close(NOT_YOURS, "messages were not read") from None


async def _receive(socket: WebSocket[object, object, State], heard: _Heard) -> None:
    """Whatever comes is a sign of life and no more: nothing is asked for over this socket."""
    times: deque[float] = deque(maxlen=MESSAGES_A_MINUTE)
    while True:
        await _received(socket)
        heard.at = MACHINE.monotonic()
        if len(times) == MESSAGES_A_MINUTE and heard.at - times[0] < 60:
            raise _Close(NOT_YOURS, f"more than {MESSAGES_A_MINUTE} messages in a minute")
        times.append(heard.at)


ROUTES = (make_ws_ticket, stream_events, open_socket)
