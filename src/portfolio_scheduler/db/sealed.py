"""Sealed values as the database sees them: how many each key holds, and their exchange for rewrapped ones."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row
from psycopg.sql import SQL, Composed, Identifier

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.sealing import PLACES, Place


class KeyUse(Struct, frozen=True, kw_only=True):
    """How many values of one purpose are sealed to one key."""

    purpose: str
    scheme: int
    key_id: str
    values: int


class Sealed(Struct, frozen=True, kw_only=True):
    """A sealed value and where it belongs."""

    account_id: UUID
    row_id: UUID
    value: bytes


async def uses(tx: Tx) -> list[KeyUse]:
    """Every key that something is sealed to, whether we have it or not."""
    counts = SQL(" UNION ALL ").join(
        SQL("SELECT {} AS purpose, substring({} FROM 1 FOR 9) AS head FROM {} WHERE length({}) > 0").format(
            place.purpose, Identifier(place.column), Identifier(place.table), Identifier(place.column)
        )
        for place in PLACES
    )
    query = SQL(
        """
        SELECT purpose, get_byte(head, 0) AS scheme, encode(substring(head FROM 2), 'hex') AS key_id, count(*) AS values
        FROM ({}) sealed GROUP BY purpose, head ORDER BY purpose, scheme, key_id
        """
    ).format(counts)
    async with tx.cursor(row_factory=class_row(KeyUse)) as cursor:
        await cursor.execute(query)
        return await cursor.fetchall()


async def not_begun_with(tx: Tx, place: Place, head: bytes, after: UUID, limit: int) -> list[Sealed]:
    """The next values of a place, in the order of their rows, that are sealed otherwise."""
    query = _of(
        place,
        """
        SELECT {account} AS account_id, {row} AS row_id, {column} AS value FROM {table}
        WHERE {row} > %(after)s AND substring({column} FROM 1 FOR %(length)s) <> %(head)s ORDER BY {row} LIMIT %(limit)s
        """,
    )
    async with tx.cursor(row_factory=class_row(Sealed)) as cursor:
        await cursor.execute(query, {"after": after, "length": len(head), "head": head, "limit": limit})
        return await cursor.fetchall()


async def exchange(tx: Tx, place: Place, before: Sequence[Sealed], after: Sequence[bytes]) -> int:
    """Put new values in the place of the old ones, where these still stand and nobody is at the row.

    It waits for no lock, so it can hold up nobody's transaction for longer than its own takes, nor deadlock with it.
    """
    query = _of(
        place,
        """
        WITH given AS (SELECT * FROM unnest(%s::uuid[], %s::bytea[], %s::bytea[]) AS g (row_id, before, after)),
            free AS (SELECT t.{row} AS row_id, g.after FROM {table} t JOIN given g ON t.{row} = g.row_id
                WHERE t.{column} = g.before FOR UPDATE OF t SKIP LOCKED)
        UPDATE {table} t SET {column} = free.after FROM free WHERE t.{row} = free.row_id
        """,
    )
    cursor = await tx.execute(query, ([one.row_id for one in before], [one.value for one in before], list(after)))
    return cursor.rowcount


def _of(place: Place, text: str) -> Composed:
    names = {"table": place.table, "column": place.column, "account": place.account, "row": place.row}
    return SQL(text).format(**{name: Identifier(value) for name, value in names.items()})
