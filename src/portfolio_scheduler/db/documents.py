"""Rows travel as one JSON document each way: PostgreSQL turns it into rows and back, msgspec into records.

One parameter and one round trip for any number of rows, decimals exact (strings in, numbers out), and no cached plan
that depends on how many there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, LiteralString, TypeVar

import msgspec
from msgspec import Struct
from psycopg import sql

from portfolio_scheduler.db.pool import Tx

T = TypeVar("T")


def _refused(value: Any) -> str:
    raise TypeError(f"no column holds a {type(value).__name__}")


_encoder = msgspec.json.Encoder(enc_hook=_refused)


def document(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as a JSON array."""
    return _encoder.encode(list(rows)).decode()


def hex_bytes(value: bytes | None) -> str | None:
    """Bytes as PostgreSQL reads them from text."""
    return None if value is None else f"\\x{value.hex()}"


def insert(table: str, columns: Sequence[str]) -> str:
    """INSERT of the rows of one document: the parameter is the JSON array."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = "INSERT INTO {table} ({names}) SELECT {names} FROM json_populate_recordset(NULL::{table}, %s)"
    return sql.SQL(statement).format(table=sql.Identifier(table), names=names).as_string(None)


def upsert(table: str, columns: Sequence[str], key: Sequence[str], *, newest_by: str | None = None) -> str:
    """INSERT of the rows of one document; a row with the same key takes the new values, unless they are older."""
    changed = sql.SQL(", ").join(
        sql.SQL("{name} = EXCLUDED.{name}").format(name=sql.Identifier(name)) for name in columns if name not in key
    )
    conflict: sql.Composed = sql.SQL(" ON CONFLICT ({key}) DO UPDATE SET {changed}").format(
        key=sql.SQL(", ").join(map(sql.Identifier, key)), changed=changed
    )
    if newest_by:
        conflict += sql.SQL(" WHERE {table}.{name} <= EXCLUDED.{name}").format(
            table=sql.Identifier(table), name=sql.Identifier(newest_by)
        )
    return insert(table, columns) + conflict.as_string(None)


class Write(Struct, frozen=True):
    """One writing statement with its parameters."""

    statement: str
    parameters: tuple[Any, ...]


def rows_of(statement: str, rows: Sequence[Mapping[str, Any]]) -> list[Write]:
    """The write of these rows by an `insert` or `upsert`; nothing to write is no statement."""
    return [Write(statement, (document(rows),))] if rows else []


async def write(tx: Tx, writes: Sequence[Write]) -> None:
    """Run writes to different tables or rows as one statement: one round trip, one plan, kept prepared."""
    if writes:
        parameters = [parameter for one in writes for parameter in one.parameters]
        await tx.execute(_together(tuple(one.statement for one in writes)), parameters)


@lru_cache(maxsize=256)
def _together(statements: tuple[str, ...]) -> str:
    parts = ", ".join(f"w{i} AS ({statement})" for i, statement in enumerate(statements))
    return f"WITH {parts} SELECT"


async def read(tx: Tx, statement: LiteralString, parameters: Mapping[str, Any], decoder: msgspec.json.Decoder[T]) -> T:
    """Run a query that answers one JSON document, and decode it."""
    cursor = await tx.execute(statement, parameters)
    row = await cursor.fetchone()
    assert row is not None
    return decoder.decode(row[0])
