"""Corporate actions that somebody linked: kept for all accounts, given to a reading that may show them."""

from datetime import date, datetime, timedelta
from uuid import UUID

from psycopg import AsyncCursor
from psycopg.rows import TupleRow

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.corporate_actions import ActionKind, CorporateAction

WAITS = timedelta(days=45)  # units may arrive so long after the ex-date

_COLUMNS = "kind, isin, new_isin, effective_on, new_units, old_units"

# Effective after the account's first reading, of something it holds, and not yet seen in its holdings.
_DUE = f"""
SELECT {_COLUMNS} FROM corporate_actions c
WHERE c.effective_on BETWEEN %(since)s AND %(until)s
    AND EXISTS (SELECT FROM real_holdings h WHERE h.account_id = %(account)s AND h.isin = c.isin)
    AND c.effective_on > (SELECT min(g.trading_on) FROM effective_holding_changes g WHERE g.account_id = %(account)s)
    AND NOT EXISTS (
        SELECT FROM effective_holding_changes g WHERE g.account_id = %(account)s AND g.explanation = 'corporate_action'
            AND (g.details ->> 'isin', g.details ->> 'new_isin', g.details ->> 'action', g.details ->> 'effective_on')
                = (c.isin, c.new_isin, c.kind, c.effective_on::text)
            AND g.details ->> 'effect' IN ('turned', 'arrived'))
ORDER BY c.effective_on, c.isin
"""  # noqa: S608 - put together from constants


async def due(tx: Tx, account_id: UUID, read_on: date | None, until_on: date) -> tuple[CorporateAction, ...]:
    """The actions that a reading of the account's holdings may show, after one of `read_on`; none before the first."""
    if read_on is None:
        return ()
    cursor = await tx.execute(_DUE, {"account": account_id, "since": read_on - WAITS, "until": until_on})
    return tuple(await _actions(cursor))


async def of_account(tx: Tx, account_id: UUID) -> tuple[CorporateAction, ...]:
    """All linked actions of what the account ever held, oldest first."""
    cursor = await tx.execute(
        f"SELECT {_COLUMNS} FROM corporate_actions c WHERE isin IN (SELECT isin FROM holding_changes "  # noqa: S608 - constants
        "WHERE account_id = %s) ORDER BY effective_on, isin",
        (account_id,),
    )
    return tuple(await _actions(cursor))


async def link(tx: Tx, action: CorporateAction, source: str, now: datetime) -> None:
    """Keep an action; one of the same kind, day and ISINs takes the new ratio."""
    await tx.execute(
        """
        INSERT INTO corporate_actions (kind, isin, new_isin, effective_on, new_units, old_units, source, noted_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (isin, effective_on, kind, new_isin) DO UPDATE SET new_units = EXCLUDED.new_units,
            old_units = EXCLUDED.old_units, source = EXCLUDED.source, noted_at = EXCLUDED.noted_at
        """,
        (
            action.kind.value,
            action.isin,
            action.new_isin,
            action.effective_on,
            action.new_units,
            action.old_units,
            source,
            now,
        ),
    )
    await _name_successor(tx, action.isin)


async def unlink(tx: Tx, kind: ActionKind, isin: str, new_isin: str, effective_on: date) -> bool:
    """Forget an action that was linked by mistake. What was written down because of it stays."""
    cursor = await tx.execute(
        "DELETE FROM corporate_actions WHERE kind = %s AND isin = %s AND new_isin = %s AND effective_on = %s",
        (kind.value, isin, new_isin, effective_on),
    )
    await _name_successor(tx, isin)
    return bool(cursor.rowcount)


async def of(tx: Tx, isin: str) -> list[CorporateAction]:
    """What happened to an ISIN, or brought it about, newest first."""
    cursor = await tx.execute(
        f"SELECT {_COLUMNS} FROM corporate_actions WHERE %(isin)s IN (isin, new_isin) "  # noqa: S608 - constants
        "ORDER BY effective_on DESC, kind, new_isin",
        {"isin": isin},
    )
    return await _actions(cursor)


async def _actions(cursor: AsyncCursor[TupleRow]) -> list[CorporateAction]:
    return [
        CorporateAction(
            kind=ActionKind(kind),
            isin=isin,
            new_isin=new_isin,
            effective_on=effective_on,
            new_units=new_units,
            old_units=old_units,
        )
        for kind, isin, new_isin, effective_on, new_units, old_units in await cursor.fetchall()
    ]


async def _name_successor(tx: Tx, isin: str) -> None:
    await tx.execute(
        """
        UPDATE instruments i SET successor_isin = s.new_isin FROM (SELECT (
            SELECT new_isin FROM corporate_actions WHERE isin = %(isin)s AND kind IN ('split', 'merger', 'rename')
            ORDER BY effective_on DESC LIMIT 1) AS new_isin) s
        WHERE i.isin = %(isin)s AND i.successor_isin IS DISTINCT FROM s.new_isin
        """,
        {"isin": isin},
    )
