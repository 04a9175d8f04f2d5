"""Connections and transactions. `transaction()` is the only commit in the code base.

Two exceptions, each in its own module and nowhere else: Alembic's run with the role grants (`migrate`), and the making
of the embedded cluster (`embedded`).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncCursor, AsyncServerCursor
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from portfolio_scheduler.errors import DatabaseUnavailable, SetupProblem, StorageFull

Role: TypeAlias = Literal["worker", "api"]
Tx: TypeAlias = AsyncConnection[TupleRow]


class Limits(msgspec.Struct, frozen=True):
    """What a role's sessions may take, in seconds (control C14)."""

    statement_seconds: int
    lock_seconds: int
    idle_in_transaction_seconds: int


# After so long without the database a pool gives up until it is asked again, instead of waiting ever longer by itself.
RECONNECT_SECONDS = 10
LISTEN_SECONDS = 15  # without a word, before a listening connection is tried
WAIT_SECONDS = 10.0  # for a free connection

LIMITS: dict[Role, Limits] = {"worker": Limits(60, 5, 30), "api": Limits(5, 2, 10)}

# An apply transaction that failed with one of these did nothing and may be run again.
WORTH_RETRYING = {
    "40001": "serialization failure",
    "40P01": "deadlock",
    "55P03": "lock not available",
    "25P03": "the session was idle in its transaction for too long, as after the machine has slept",
    "57P01": "administrator shut the session down",
    "57P02": "the server crashed and restarts",
    "57P03": "the server is starting",
}


class Statements:
    """The statements one task ran, in order; `BEGIN` and `COMMIT` count as well."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __len__(self) -> int:
        return len(self.texts)


_counted: ContextVar[Statements | None] = ContextVar("counted", default=None)


@contextmanager
def counted_statements() -> Iterator[Statements]:
    """Count the statements that run inside this block, in this task and in the tasks it starts."""
    statements = Statements()
    token = _counted.set(statements)
    try:
        yield statements
    finally:
        _counted.reset(token)


def _count(text: Any, times: int = 1) -> None:
    statements = _counted.get()
    if statements is not None:
        statements.texts.extend([text if isinstance(text, str) else repr(text)] * times)


class CountedCursor(AsyncCursor[Any]):
    """A cursor that tells `counted_statements()` what it runs."""

    async def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        _count(query)
        return await super().execute(query, *args, **kwargs)

    async def executemany(self, query: Any, params_seq: Any, **kwargs: Any) -> None:
        """psycopg sends the statement once for each row, so that is how often it counts."""
        rows: Sequence[Any] = list(params_seq)
        _count(query, len(rows))
        await super().executemany(query, rows, **kwargs)

    def stream(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        _count(query)
        return super().stream(query, *args, **kwargs)

    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        _count(statement)
        return super().copy(statement, *args, **kwargs)


class CountedServerCursor(AsyncServerCursor[Any]):
    """The same for cursors with a name."""

    async def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        _count(query)
        return await super().execute(query, *args, **kwargs)


class CountedConnection(AsyncConnection[TupleRow]):
    """A connection whose cursors are counted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursor_factory = CountedCursor
        self.server_cursor_factory = CountedServerCursor
        # Long reads → the name that this session knows them by (`db/gated.py`). psycopg has the session forget all that
        # is prepared whenever something is rolled back, so they are forgotten here too (`transaction`, `savepoint`).
        self.prepared: dict[str, str] = {}


class Pool(AsyncConnectionPool[CountedConnection]):
    """A pool that never swallows a cancellation.

    Before Python 3.12 `asyncio.wait_for`, by which the pool waits for a free connection, forgets a cancellation that
    comes in the same moment as the connection does (https://github.com/python/cpython/issues/86296): a heartbeat that
    was told to end would beat for ever. The task itself still knows that it was told.
    """

    async def getconn(self, timeout: float | None = None) -> CountedConnection:  # noqa: ASYNC109 - the library's
        task = asyncio.current_task()
        assert task is not None
        told = task.cancelling()
        connection = await super().getconn(timeout)
        if task.cancelling() > told:
            await self.putconn(connection)
            raise asyncio.CancelledError
        return connection


def make_pool(
    conninfo: str,
    role: Role,
    *,
    min_size: int = 1,
    max_size: int = 8,
    wait_seconds: float = WAIT_SECONDS,
    name: str = "",
) -> Pool:
    """A pool that is not open yet: use it with `async with opened(pool)`.

    The API's connections commit each pipeline by themselves, so that a read is one round trip (`pipelined`). `name`
    ends up in `application_name`, where `pg_stat_activity` and the server's log show it.
    """
    options = {
        "application_name": f"portfolio-scheduler {name or role}",
        "options": _session_options(LIMITS[role]),
        "connect_timeout": 10,
    }
    if role == "api":  # only there: procrastinate opens connections with these options and this one of its own
        options["autocommit"] = True
        # A read of many joins takes PostgreSQL fifty times as long to plan as to run, so it is planned once for a
        # connection, without looking at the parameters: all reads are by account, whichever it is.
        options["options"] = f"{options['options']} -c plan_cache_mode=force_generic_plan"
        options["prepare_threshold"] = 0
    return Pool(
        conninfo,
        connection_class=CountedConnection,
        kwargs=options,
        min_size=min_size,
        max_size=max_size,
        timeout=wait_seconds,
        reconnect_timeout=RECONNECT_SECONDS,
        open=False,
        name=name or role,
    )


def _session_options(limits: Limits) -> str:
    values = {
        "timezone": "UTC",
        "jit": "off",
        "statement_timeout": limits.statement_seconds * 1000,
        "lock_timeout": limits.lock_seconds * 1000,
        "idle_in_transaction_session_timeout": limits.idle_in_transaction_seconds * 1000,
    }
    return " ".join(f"-c {name}={value}" for name, value in values.items())


@asynccontextmanager
async def opened(pool: Pool) -> AsyncIterator[Pool]:
    """Open a pool, see that it reaches the database, close it at the end."""
    try:
        await _see_that_it_connects(pool)
        await pool.open()
        yield pool
    finally:
        await pool.close()


async def _see_that_it_connects(pool: Pool) -> None:
    """The pool retries in the background and keeps the reason to itself; one connection of our own tells it."""
    assert isinstance(pool.conninfo, str)
    try:
        connection = await AsyncConnection.connect(pool.conninfo, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise unreachable(pool.conninfo, error) from error
    await connection.close()


async def _connection_of(pool: Pool) -> CountedConnection:
    try:
        return await pool.getconn()
    except PoolTimeout as error:
        raise DatabaseUnavailable(
            f"No database connection became free within {pool.timeout:g} s: the database is down, or all "
            f"{pool.max_size} connections of the pool are busy; try again."
        ) from error


@asynccontextmanager
async def pipelined(pool: Pool) -> AsyncIterator[CountedConnection]:
    """Statements that travel together and are one implicit transaction of PostgreSQL's, for reads of the API.

    Results are there once the block has ended. Nothing that writes belongs here: it would commit.
    """
    connection = await _connection_of(pool)
    try:
        async with connection.pipeline():
            yield connection
    finally:
        await pool.putconn(connection)


async def notices(pool: Pool, channel: str) -> AsyncIterator[str | None]:
    """What is notified on a channel, for ever; None once when it begins to listen. For a pool of its own, as the API's
    role, whose connections commit by themselves."""
    connection = await _connection_of(pool)
    try:
        await connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
        yield None
        while True:
            async for notice in connection.notifies(timeout=LISTEN_SECONDS):
                yield notice.payload
            await connection.execute("SELECT")  # a connection that broke unnoticed is noticed here
    finally:
        await pool.putconn(connection)


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Tx]:
    """The only commit: everything inside happens together or not at all."""
    connection = await _connection_of(pool)
    try:
        _count("BEGIN")
        with _nothing_prepared_after_an_error(connection):
            async with connection.transaction():
                yield connection
        _count("COMMIT")
    except psycopg.errors.DiskFull as error:
        raise StorageFull from error
    finally:
        await pool.putconn(connection)


@asynccontextmanager
async def savepoint(tx: Tx) -> AsyncIterator[None]:
    """A part of a transaction that may fail alone, such as enqueueing a job that is already queued."""
    _count("SAVEPOINT")
    with _nothing_prepared_after_an_error(tx):
        async with tx.transaction():
            yield
    _count("RELEASE")


@contextmanager
def _nothing_prepared_after_an_error(tx: Tx) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if isinstance(tx, CountedConnection):
            tx.prepared.clear()
        raise


def is_worth_retrying(error: psycopg.Error) -> bool:
    """Whether the same transaction may succeed when run again: a conflict, or a connection that was lost."""
    lost = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    return lost or error.sqlstate in WORTH_RETRYING


def unreachable(conninfo: str, error: psycopg.OperationalError) -> SetupProblem:
    """What to tell about a failed connection: the host and the reason, never the password."""
    where = _where(conninfo)
    reason = _reason(error)
    if "password authentication failed" in reason or "no password supplied" in reason:
        return SetupProblem(
            f"The database {where} refuses the password ({reason}); correct DATABASE_URL, or for a role of the product "
            "run `portfolio-scheduler migrate --reset-passwords`."
        )
    return DatabaseUnavailable(
        f"The database {where} cannot be reached ({reason}); start it, or correct DATABASE_URL (without it the "
        "embedded database is used)."
    )


def _where(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    host, port = parts.get("host") or parts.get("hostaddr") or "localhost", parts.get("port") or 5432
    return f"{parts.get('dbname') or parts.get('user') or ''} on {host}, port {port},".lstrip()


def _reason(error: psycopg.OperationalError) -> str:
    """The telling line of libpq's answer, without its prefixes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    telling = next((line for line in lines if "failed: " in line), lines[-1])
    return telling.rpartition("failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")
