"""A few connections that are asked prepared statements straight through libpq, many at a time: the way of hot reads.

A statement of a pool's cursor costs several times what a short read costs PostgreSQL: a connection is taken and given
back, watched and left alone again, and a result becomes objects. A line is watched all the time. What is asked while
an earlier answer is on its way travels at once, each question an implicit transaction of its own; answers come in the
order of the questions. Parameters and answers are the texts that PostgreSQL takes and gives.

Nothing else is ever run on a line, so what it has prepared stays prepared.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

from portfolio_scheduler.db.pool import LIMITS, Tx, count, session_options, unreachable
from portfolio_scheduler.errors import DatabaseUnavailable

LINES = 4  # as many questions are worked on at the same time; PostgreSQL works well on few
WAITING = 32  # on each of them, before further ones are refused
OPEN_SECONDS = 2
# PostgreSQL itself ends a statement sooner, even with some slow ones before it; a server that is gone says nothing.
ANSWER_SECONDS = 3 * LIMITS["api"].statement_seconds


class Prepared(Struct, frozen=True):
    """A statement with $1, $2 … in it, and the name by which a session that has prepared it knows it."""

    name: str
    text: str


class _Question(Struct):
    answer: "asyncio.Future[PGresult]"
    preparing: list[str]  # what is prepared on its way, whose results come first


class Lines:
    """Belongs to one event loop. Opened by the first question, and anew after a connection was lost."""

    def __init__(self, conninfo: str, *, name: str, size: int = LINES) -> None:
        self._lines = [_Line(conninfo, name) for _ in range(size)]

    async def ask(self, needed: Sequence[Prepared], values: Sequence[bytes | None]) -> PGresult:
        """The result of the last of these statements, which may need the others. One round trip."""
        line = min(self._lines, key=lambda each: each.waiting)
        if line.waiting >= WAITING:
            raise DatabaseUnavailable(
                f"{WAITING} reads wait already on each of {len(self._lines)} connections; try again."
            )
        return await line.ask(needed, values)

    async def close(self) -> None:
        for line in self._lines:
            await line.close()


@asynccontextmanager
async def opened_lines(conninfo: str, *, name: str) -> AsyncIterator[Lines]:
    """Lines that are closed at the end."""
    lines = Lines(conninfo, name=name)
    try:
        yield lines
    finally:
        await lines.close()


class _Line:
    def __init__(self, conninfo: str, name: str) -> None:
        self._conninfo, self._name = conninfo, name
        self._connection: Tx | None = None
        self._socket = -1
        self._opening = asyncio.Lock()
        self._openers = 0
        self._asked: deque[_Question] = deque()
        self._results: list[PGresult] = []  # of the first of those asked, as far as they have come
        self._prepared: set[str] = set()
        self._is_full = False  # the socket takes no more for now
        self._heard_at = 0.0  # when the last answer came, by the loop's clock

    @property
    def waiting(self) -> int:
        return len(self._asked) + self._openers

    async def ask(self, needed: Sequence[Prepared], values: Sequence[bytes | None]) -> PGresult:
        if self._connection is None:
            await self._open()
        try:
            question = self._send(needed, values)
        except psycopg.OperationalError as error:
            self._lose(error)
            raise
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await question.answer
        except TimeoutError as error:
            if asyncio.get_running_loop().time() - self._heard_at >= ANSWER_SECONDS:  # else it is slow, and not gone
                self._lose(psycopg.OperationalError("the database did not answer"))
            raise DatabaseUnavailable(f"The database gave no answer within {ANSWER_SECONDS} s; try again.") from error

    async def _open(self) -> None:
        self._openers += 1
        try:
            async with asyncio.timeout(OPEN_SECONDS), self._opening:
                if self._connection is None:
                    self._watch(await self._connected())
        except TimeoutError as error:
            raise DatabaseUnavailable(f"The database took no connection within {OPEN_SECONDS} s; try again.") from error
        finally:
            self._openers -= 1

    async def _connected(self) -> Tx:
        # A read of many joins takes PostgreSQL fifty times as long to plan as to run, so it is planned once for a
        # connection, without looking at the parameters: all reads are by account, whichever it is.
        options = session_options("api", self._name, plan_cache_mode="force_generic_plan")
        try:
            return await AsyncConnection.connect(self._conninfo, **options)
        except psycopg.OperationalError as error:
            raise unreachable(self._conninfo, error) from error

    def _watch(self, connection: Tx) -> None:
        connection.pgconn.enter_pipeline_mode()
        self._connection, self._socket = connection, connection.pgconn.socket
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def _send(self, needed: Sequence[Prepared], values: Sequence[bytes | None]) -> _Question:
        if self._connection is None:
            raise psycopg.OperationalError("the connection to the database was lost")
        libpq = self._connection.pgconn
        new = [each for each in needed if each.name not in self._prepared]
        for each in new:
            count(f"PREPARE {each.name}")
            libpq.send_prepare(each.name.encode(), each.text.encode())
            self._prepared.add(each.name)
        count(needed[-1].text)
        libpq.send_query_prepared(needed[-1].name.encode(), values)
        libpq.pipeline_sync()
        self._flush()
        question = _Question(asyncio.get_running_loop().create_future(), [each.name for each in new])
        self._asked.append(question)
        return question

    def _flush(self) -> None:
        """Send what is not sent yet; what the socket does not take now goes when it takes more."""
        assert self._connection is not None
        was_full, self._is_full = self._is_full, bool(self._connection.pgconn.flush())
        if self._is_full and not was_full:
            asyncio.get_running_loop().add_writer(self._socket, self._flush_later)
        elif was_full and not self._is_full:
            asyncio.get_running_loop().remove_writer(self._socket)

    def _flush_later(self) -> None:
        try:
            self._flush()
        except psycopg.OperationalError as error:
            self._lose(error)

    def _receive(self) -> None:
        assert self._connection is not None
        libpq = self._connection.pgconn
        try:
            libpq.consume_input()
            while self._asked and not libpq.is_busy():
                result = libpq.get_result()  # None stands between those of two statements
                if result is None:
                    if libpq.status == ConnStatus.BAD:
                        raise psycopg.OperationalError("the connection to the database was lost")
                elif result.status == ExecStatus.PIPELINE_SYNC:
                    self._answer()
                else:
                    self._results.append(result)
        except psycopg.OperationalError as error:
            self._lose(error)

    def _answer(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        question, results = self._asked.popleft(), self._results
        self._results = []
        for name, result in zip(question.preparing, results, strict=False):
            if result.status != ExecStatus.COMMAND_OK:
                self._prepared.discard(name)
        if question.answer.done():  # whoever asked has gone away
            return
        failed = [result for result in results if result.status == ExecStatus.FATAL_ERROR]
        if failed:
            question.answer.set_exception(psycopg.errors.error_from_result(failed[0]))
        else:
            question.answer.set_result(results[-1])

    def _lose(self, error: psycopg.OperationalError) -> None:
        """The connection is gone, and with it every answer that was to come; the next question opens another."""
        connection, asked = self._connection, self._asked
        self._connection, self._asked, self._results, self._prepared = None, deque(), [], set()
        self._is_full = False
        if connection is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            connection.pgconn.finish()
        for question in asked:
            if not question.answer.done():
                question.answer.set_exception(psycopg.OperationalError(str(error)))

    async def close(self) -> None:
        self._lose(psycopg.OperationalError("the service stops"))
