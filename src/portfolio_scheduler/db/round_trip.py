"""One prepared statement asked straight through libpq: the way of the reads that are asked most.

A cursor of psycopg's costs such a read several times what PostgreSQL does for it. Here parameters and answers are the
texts that PostgreSQL takes and gives; who asks knows what they mean.
"""

import asyncio
from collections.abc import Sequence

import psycopg
from msgspec import Struct
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from portfolio_scheduler.db.pool import CountedConnection, count


class Prepared(Struct, frozen=True):
    """A statement with $1, $2 … in it, and the name by which a session that has prepared it knows it."""

    name: str
    text: str


async def round_trip(
    connection: CountedConnection, needed: Sequence[Prepared], values: Sequence[bytes | None]
) -> PGresult:
    """The result of the last of these statements, which may need the others. What the session has not prepared yet is
    prepared on the way; all of it is one implicit transaction of PostgreSQL's."""
    libpq = connection.pgconn
    new = [each for each in needed if each.name not in connection.prepared]
    for each in new:
        count(f"PREPARE {each.name}")
    count(needed[-1].text)
    try:
        libpq.enter_pipeline_mode()
        for each in new:
            libpq.send_prepare(each.name.encode(), each.text.encode())
        libpq.send_query_prepared(needed[-1].name.encode(), values)
        libpq.pipeline_sync()
        results = await _results(libpq)
        libpq.exit_pipeline_mode()
    except BaseException:  # nobody knows what is still on its way
        await connection.close()
        raise
    for each, result in zip(new, results, strict=False):
        if result.status == ExecStatus.COMMAND_OK:
            connection.prepared.add(each.name)
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
    return results[-1]


async def _results(libpq: PGconn) -> list[PGresult]:
    """One for each command that was sent."""
    found: list[PGresult] = []
    unsent = libpq.flush()
    while True:
        while unsent or libpq.is_busy():
            await _until_ready(libpq.socket, writing=bool(unsent))
            libpq.consume_input()
            unsent = libpq.flush()
        result = libpq.get_result()  # None stands between those of two commands
        if result is not None:
            if result.status == ExecStatus.PIPELINE_SYNC:
                return found
            found.append(result)
        elif libpq.status == ConnStatus.BAD:
            raise psycopg.OperationalError("the connection to the database was lost")


async def _until_ready(socket: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(socket, _wake, ready)
    if writing:
        loop.add_writer(socket, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(socket)
        if writing:
            loop.remove_writer(socket)


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
