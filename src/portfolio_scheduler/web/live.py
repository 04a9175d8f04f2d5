"""Who hears what changed: one listener for the process, and a bounded queue for each socket or stream.

An event passes only after the database has said, for this very event, that the login still counts and that the viewer
may see the account. Who reads too slowly loses events and is told to fetch anew (`resync`); nobody is waited for.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from uuid import UUID

import psycopg
from msgspec import Struct

from portfolio_scheduler.clock import Clock, SystemClock
from portfolio_scheduler.db import live
from portfolio_scheduler.db.live import Event, Seen
from portfolio_scheduler.db.pool import Pool
from portfolio_scheduler.db.viewers import Entry, Viewer
from portfolio_scheduler.errors import DatabaseUnavailable, LoginRequired, NotAllowed, TooMany
from portfolio_scheduler.log import first_line, logger

SOCKETS_OF_A_USER = 5  # and streams, in one process
MOST = 2000  # of everybody
WAITING = 100  # events of one socket
CHECK_SECONDS = 2.5  # between looks whether the login still counts
PING_SECONDS = 20
ANEW_SECONDS = 1  # after the listener lost its connection

MACHINE = SystemClock()  # what is timed here is real time
log = logger()


class Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message: something of that account changed, up to its fact of that number. Fetch what you show of it."""

    type: str  # batch, account, history; resync: fetch everything anew; ready, ping
    account: UUID | None = None
    batch: UUID | None = None
    status: str | None = None  # of the batch, or of the account; new for one just added
    seq: int | None = None


READY, PING, RESYNC = Told(type="ready"), Told(type="ping"), Told(type="resync")


class Ended(Exception):
    """The login has ended, or the access token that opened it has expired."""


class Listener:
    """One socket or stream: what waits for it."""

    def __init__(self, entry: Entry, user_id: UUID, until: datetime | None) -> None:
        self.entry, self.user_id, self.until = entry, user_id, until
        self.owners: frozenset[UUID] = frozenset({user_id})
        self._waiting: dict[tuple[str, UUID, UUID | None], Event] = {}
        self._lost = False
        self.woken = asyncio.Event()

    def put(self, event: Event) -> None:
        """Of one thing the newest event is enough; too many of them are all given up for one `resync`."""
        key = (event.type, event.account, event.batch)
        self._waiting.pop(key, None)
        self._waiting[key] = event
        if len(self._waiting) > WAITING:
            self.lose()
        self.woken.set()

    def lose(self) -> None:
        self._waiting.clear()
        self._lost = True
        self.woken.set()

    def take(self) -> tuple[bool, list[Event]]:
        """Whether events were lost, and those that wait."""
        lost, events = self._lost, list(self._waiting.values())
        self._lost = False
        self._waiting.clear()
        self.woken.clear()
        return lost, events


class _Look:
    """One question to the database on behalf of all sockets of a login that an event has woken together."""

    def __init__(self) -> None:
        self.accounts: set[UUID] = set()
        self.task: asyncio.Task[tuple[Viewer, Seen]] | None = None


class Live:
    """All listeners of this process. Belongs to one event loop."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool, self._clock = pool, clock
        self._listeners: dict[UUID, set[Listener]] = {}
        self._looks: dict[tuple[UUID | None, bytes | None], _Look] = {}  # those that have not begun

    @asynccontextmanager
    async def hearing(self, pool: Pool) -> AsyncIterator[None]:
        """While inside, events come in over a connection of their own."""
        task = asyncio.create_task(self._hear(pool), name="live")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _hear(self, pool: Pool) -> None:
        troubled = False
        while True:
            try:
                async for event in live.events(pool):
                    if event is None:  # what happened before nobody heard
                        self._lose()
                        troubled = False
                    else:
                        self.publish(event)
            except (psycopg.Error, DatabaseUnavailable) as error:
                if not troubled:
                    log.warning("changes are not heard", error=type(error).__name__, reason=first_line(error))
                troubled = True
            await asyncio.sleep(ANEW_SECONDS)

    def publish(self, event: Event) -> None:
        for listeners in self._listeners.values():
            for one in listeners:
                if event.user in one.owners:
                    one.put(event)

    def _lose(self) -> None:
        for listeners in self._listeners.values():
            for one in listeners:
                one.lose()

    def check_room(self, user_id: UUID) -> None:
        open_ones = len(self._listeners.get(user_id, ()))
        if open_ones >= SOCKETS_OF_A_USER or sum(map(len, self._listeners.values())) >= MOST:
            raise TooMany(f"{open_ones} sockets and streams are open already; close one.", retry_after_seconds=10)

    @contextmanager
    def listener(self, entry: Entry, user_id: UUID, until: datetime | None) -> Iterator[Listener]:
        """A place for one socket or stream; `TooMany` when the user has enough of them."""
        self.check_room(user_id)
        mine = self._listeners.setdefault(user_id, set())
        one = Listener(entry, user_id, until)
        mine.add(one)
        try:
            yield one
        finally:
            mine.discard(one)
            if not mine:
                self._listeners.pop(user_id, None)

    async def messages(self, one: Listener) -> AsyncIterator[Told]:
        """What to send, for ever; `Ended` when the login does not count any more, which is looked at all the time."""
        await self._visible(one, [])
        yield READY
        pinged_at = MACHINE.monotonic()
        while True:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await one.woken.wait()
            except TimeoutError:
                pass
            lost, events = one.take()
            visible = await self._visible(one, events)
            if lost:
                yield RESYNC
            for event in events:
                if event.account in visible:
                    yield _told(event)
            if MACHINE.monotonic() - pinged_at >= PING_SECONDS:
                pinged_at = MACHINE.monotonic()
                yield PING

    async def _visible(self, one: Listener, events: list[Event]) -> frozenset[UUID]:
        """Of which of these accounts the viewer may hear now."""
        now = self._clock.now()
        if one.until is not None and now >= one.until:
            raise Ended
        entry = Entry(at=now, session_id=one.entry.session_id, token_digest=one.entry.token_digest)
        try:
            viewer, seen = await self._look(entry, {event.account for event in events})
        except (LoginRequired, NotAllowed) as error:
            raise Ended from error
        if viewer.scopes is not None and "read" not in viewer.scopes:
            raise Ended
        one.owners = seen.owners
        return seen.accounts

    async def _look(self, entry: Entry, accounts: set[UUID]) -> tuple[Viewer, Seen]:
        """What the login may see now: asked after the events came, once for all its sockets."""
        key = (entry.session_id, entry.token_digest)
        look = self._looks.setdefault(key, _Look())
        look.accounts |= accounts
        if look.task is None:
            look.task = asyncio.create_task(self._ask(key, entry, look), name="live look")
            look.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # whoever asked may be gone
        return await asyncio.shield(look.task)

    async def _ask(self, key: tuple[UUID | None, bytes | None], entry: Entry, look: _Look) -> tuple[Viewer, Seen]:
        await asyncio.sleep(0)  # those woken by the same event join
        self._looks.pop(key, None)  # who comes from here on asks anew
        return await live.seen(self._pool, entry, sorted(look.accounts))


def _told(event: Event) -> Told:
    return Told(type=event.type, account=event.account, batch=event.batch, status=event.status, seq=event.seq)
