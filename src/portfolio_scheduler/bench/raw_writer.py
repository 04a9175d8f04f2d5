"""The baseline: a writer that is handed finished rows and puts them into the same tables, set by set.

Arrays through `unnest`, one statement a table, all in one round trip; no reading, no comparing, no deciding. The rows
are those that the engine wrote for an account like this one.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct
from psycopg import sql
from psycopg.types.json import Jsonb

from portfolio_scheduler.db.ledger import INSERTS
from portfolio_scheduler.db.pool import Pool, Tx, transaction

FACTS = (
    "order_history",
    "order_quantity_changes",
    "order_fills",
    "holding_changes",
    "position_changes",
    "ledger_events",
    "portfolio_snapshots",
)
NOT_BY_A_SYNC = 1  # rereadings are written by a replay
assert len(FACTS) + NOT_BY_A_SYNC == len(INSERTS), "a new fact table needs its line here"
DERIVED = ("current_orders", "real_holdings", "real_positions", "open_findings")
BATCH = ("status", "finished_at", "sections", "counts", "flags", "margin", "observed_at", "trading_on", "standing")
AS_TEXT = frozenset({"text[]", "jsonb"})  # arrays of these do not unnest into their elements


class Put(Struct, frozen=True):
    """One writing statement; `account` and `batch` are added to the columns."""

    statement: str
    columns: dict[str, list[Any]]


class Rows(Struct, frozen=True):
    """All that one batch of one account left behind."""

    facts: tuple[Put, ...]
    changed: tuple[Put, ...]  # rows of the derived tables that this batch changed
    stated: tuple[Put, ...]  # all rows of the derived tables: what a writer without a diff writes every time
    seq: int
    batch: dict[str, Any]


async def captured(tx: Tx, account_id: UUID, batch_id: UUID, before_seq: int) -> Rows:
    """What the engine wrote in this batch, as columns."""
    who = {"account": account_id, "batch": batch_id, "before": before_seq}
    facts = [await _put(tx, table, "account_id = %(account)s AND batch_id = %(batch)s", who) for table in FACTS]
    changed = [await _put(tx, table, "account_id = %(account)s AND last_seq > %(before)s", who) for table in DERIVED]
    stated = [await _put(tx, table, "account_id = %(account)s", who) for table in DERIVED]
    columns = sql.SQL(", ").join(map(sql.Identifier, BATCH))
    cursor = await tx.execute(
        sql.SQL("SELECT seq, {} FROM sync_batches JOIN account_heads USING (account_id) WHERE id = %s").format(columns),
        (batch_id,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return Rows(_some(facts), _some(changed), _some(stated), row[0], dict(zip(BATCH, row[1:], strict=True)))


def _some(puts: Sequence[Put]) -> tuple[Put, ...]:
    return tuple(put for put in puts if any(put.columns.values()))


async def _put(tx: Tx, table: str, where: str, parameters: dict[str, Any]) -> Put:
    cursor = await tx.execute(
        """
        SELECT a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL), coalesce(i.indisprimary, false)
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY(i.indkey)
        WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND a.attgenerated = '' AND a.attname <> 'account_id'
            AND a.attname <> 'batch_id' ORDER BY a.attnum
        """,
        (table,),
    )
    described = await cursor.fetchall()
    types = {name: kind for name, kind, _ in described}
    chosen = [f"{name}::text" if kind in AS_TEXT else name for name, kind in types.items()]
    cursor = await tx.execute(f"SELECT {', '.join(chosen)} FROM {table} WHERE {where}".encode(), parameters)  # noqa: S608
    rows = await cursor.fetchall()
    columns = {name: [row[i] for row in rows] for i, name in enumerate(types)}
    key = [name for name, _, is_key in described if is_key]
    return Put(_statement(table, types, key), columns)


def _statement(table: str, types: dict[str, str], key: Sequence[str]) -> str:
    """INSERT, or for a derived table an upsert."""
    shared = ("account_id", "batch_id") if table in FACTS else ("account_id",)
    given = ", ".join(f"%({name})s::{'text' if kind in AS_TEXT else kind}[]" for name, kind in types.items())
    taken = ", ".join(f"n.{name}::{kind}" if kind in AS_TEXT else f"n.{name}" for name, kind in types.items())
    text = (
        f"INSERT INTO {table} ({', '.join((*shared, *types))}) "  # noqa: S608 - names from the catalogue
        f"SELECT {', '.join(f'%({name})s::uuid' for name in shared)}, {taken} FROM unnest({given}) "
        f"AS n ({', '.join(types)})"
    )
    if table in FACTS:
        return text
    news = ", ".join(f"{name} = EXCLUDED.{name}" for name in types if name not in key)
    return f"{text} ON CONFLICT (account_id, {', '.join(key)}) DO UPDATE SET {news}"


_LOCK = "SELECT seq FROM account_heads WHERE account_id = %s FOR UPDATE"
_HEAD = "UPDATE account_heads SET seq = %s WHERE account_id = %s"
_FINISH = f"UPDATE sync_batches SET {', '.join(f'{name} = %({name})s' for name in BATCH)} WHERE id = %(batch_id)s"  # noqa: S608


async def write(pool: Pool, account_id: UUID, batch_id: UUID, rows: Rows, puts: Sequence[Put]) -> None:
    """Facts and the given rows of the derived tables, the head and the batch's end, in one transaction."""
    ids = {"account_id": account_id, "batch_id": batch_id}
    ending = {name: Jsonb(value) if isinstance(value, dict | list) else value for name, value in rows.batch.items()}
    async with transaction(pool) as tx, tx.pipeline():
        await tx.execute(_LOCK, (account_id,))
        for put in (*rows.facts, *puts):
            await tx.execute(put.statement.encode(), ids | put.columns, prepare=True)
        await tx.execute(_HEAD, (rows.seq, account_id))
        await tx.execute(_FINISH.encode(), ids | ending)
