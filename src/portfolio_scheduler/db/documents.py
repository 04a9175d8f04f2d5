"""Rows travel as one JSON document each way: PostgreSQL turns it into rows and back, msgspec into records.

One parameter and one round trip for any number of rows, decimals exact (strings in, numbers out), and no cached plan
that depends on how many there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import msgspec
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


def insert(table: LiteralString, columns: Sequence[LiteralString]) -> sql.Composed:
    """INSERT of the rows of one document: the parameter is the JSON array."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL(
        "INSERT INTO {table} ({names}) SELECT {names} FROM json_populate_recordset(NULL::{table}, %s)"
    ).format(table=sql.Identifier(table), names=names)


def upsert(table: LiteralString, columns: Sequence[LiteralString], key: Sequence[LiteralString]) -> sql.Composed:
    """INSERT of the rows of one document; a row with the same key takes the new values."""
    changed = sql.SQL(", ").join(
        sql.SQL("{name} = EXCLUDED.{name}").format(name=sql.Identifier(name)) for name in columns if name not in key
    )
    return insert(table, columns) + sql.SQL(" ON CONFLICT ({key}) DO UPDATE SET {changed}").format(
        key=sql.SQL(", ").join(map(sql.Identifier, key)), changed=changed
    )


async def write(tx: Tx, statement: sql.Composed, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run an `insert` or `upsert`; nothing to write is no statement."""
    if rows:
        await tx.execute(statement, (document(rows),))


async def read(tx: Tx, statement: LiteralString, parameters: Mapping[str, Any], decoder: msgspec.json.Decoder[T]) -> T:
    """Run a query that answers one JSON document, and decode it."""
    cursor = await tx.execute(statement, parameters)
    row = await cursor.fetchone()
    assert row is not None
    return decoder.decode(row[0])
