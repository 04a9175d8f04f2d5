"""`rebuild`: the derived tables of an account, emptied and written anew from the facts that count.

One statement a table, inside the database: no row travels, so memory stays small however long the history.
"""

from uuid import UUID

from psycopg import sql

from portfolio_scheduler.db.past import FINDING_STATES, HOLDING_STATES, ORDER_STATES, POSITION_STATES
from portfolio_scheduler.db.pool import Tx

_ORDERS = f"WITH s AS (SELECT * FROM effective_order_history WHERE account_id = ANY(%(accounts)s)) {ORDER_STATES}"
_STATES = {
    "current_orders": _ORDERS,
    "real_holdings": HOLDING_STATES,
    "real_positions": POSITION_STATES,
    "open_findings": FINDING_STATES,
}
DERIVED = tuple(_STATES)


async def rebuild(tx: Tx, account_id: UUID) -> dict[str, int]:
    """Write the account's derived tables anew, its head locked. Returns the rows of each table."""
    await tx.execute("SELECT FROM account_heads WHERE account_id = %s FOR UPDATE", (account_id,))
    await tx.execute("SET LOCAL statement_timeout = 0")  # a million facts take longer than a sync may
    written = {}
    for table, states in _STATES.items():
        name = sql.Identifier(table)
        await tx.execute(sql.SQL("DELETE FROM {} WHERE account_id = %s").format(name), (account_id,))
        columns = await _columns(tx, table)
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        insert = sql.SQL("INSERT INTO {} ({names}) SELECT {names} FROM ({states}) st").format(
            name, names=names, states=sql.SQL(states)
        )
        cursor = await tx.execute(insert, {"accounts": [account_id], "until": None})
        written[table] = cursor.rowcount
    return written


async def _columns(tx: Tx, table: str) -> list[str]:
    """The columns that are written; the database computes the others."""
    cursor = await tx.execute(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
        """,
        (table,),
    )
    return [name for (name,) in await cursor.fetchall()]
