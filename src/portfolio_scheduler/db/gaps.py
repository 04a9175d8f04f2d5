"""Which days of an account have been decided, read while they lasted or given up, and which orders have no end yet."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from portfolio_scheduler.db.documents import read
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.records import Order


async def last_decided(tx: Tx, account_id: UUID) -> date | None:
    """The newest day whose orders were read while it lasted, or that was given up."""
    cursor = await tx.execute(
        """
        SELECT greatest(
            (SELECT trading_on FROM effective_batches b
             WHERE account_id = %(account)s AND standing IN ('provisional', 'final') AND EXISTS (
                 SELECT FROM jsonb_each(b.sections) s
                 WHERE starts_with(s.key, 'orders:') AND s.value ->> 'outcome' IN ('ok', 'unstable'))
             ORDER BY trading_on DESC LIMIT 1),
            (SELECT max(trading_on) FROM effective_ledger_events WHERE account_id = %(account)s AND kind = 'GAP'
                AND section = 'orders'))
        """,
        {"account": account_id},
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def unseen(tx: Tx, account_id: UUID, days: Sequence[date]) -> list[date]:
    """Those of the days that brought no order either. A reading after midnight may still have found the old list."""
    cursor = await tx.execute(
        """
        SELECT on_ FROM unnest(%s::date[]) AS days (on_)
        WHERE NOT EXISTS (SELECT FROM effective_order_history WHERE account_id = %s AND listed_on = on_) ORDER BY on_
        """,
        (list(days), account_id),
    )
    return [on for (on,) in await cursor.fetchall()]


ASKED_AT_ONCE = 50  # the rest by the next sync
LOOK_BACK = timedelta(days=14)  # for so long an order is asked for while it is open still or the broker in trouble

# Rows `o` of current_orders that were open when last seen or asked for, neither asked for today nor given up since.
# The statuses are spelt out for the index `current_orders_open`; a test holds them to FILL_FINAL.
UNFINISHED: LiteralString = """
    o.status NOT IN ('CANCELLED', 'COMPLETED', 'DELIVERY_AWAITED', 'EXECUTED', 'FAILED', 'REJECTED')
    AND coalesce(o.trade_on, o.listed_on) < %(today)s AND o.listed_on < %(today)s
    AND NOT EXISTS (SELECT FROM effective_ledger_events e
        WHERE e.account_id = o.account_id AND e.trading_on >= o.listed_on AND e.subject = o.broker_order_id
            AND (e.kind = 'GAP'
                OR (e.kind = 'RECOVERED' AND (e.observed_at AT TIME ZONE 'Asia/Kolkata')::date >= %(today)s)))
"""
# The day on which such an order was last asked for and answered as still open; NULL if it never was.
_ANSWERED_ON: LiteralString = """(
    SELECT max((e.observed_at AT TIME ZONE 'Asia/Kolkata')::date) FROM effective_ledger_events e
    WHERE e.account_id = o.account_id AND e.kind = 'RECOVERED' AND e.trading_on >= o.listed_on
        AND e.subject = o.broker_order_id)"""

# When they are asked for without waiting for the day's run: the morning after, before any session opens. By account.
_MORNINGS: LiteralString = f"""
    SELECT o.account_id, max((greatest(o.listed_on, o.trade_on, {_ANSWERED_ON}) + 1 + time '08:15')
        AT TIME ZONE 'Asia/Kolkata') AS at
    FROM current_orders o WHERE {{of}} o.listed_on >= %(since)s AND {UNFINISHED} GROUP BY o.account_id
"""  # noqa: S608 - a constant
MORNINGS: LiteralString = _MORNINGS.replace("{of}", "")
_MORNINGS_OF: LiteralString = _MORNINGS.replace("{of}", "o.account_id = ANY(%(accounts)s) AND")


async def mornings(tx: Tx, account_ids: Sequence[UUID], now: datetime, today: date) -> dict[UUID, datetime]:
    """The mornings still to come at which accounts are read for their unfinished orders of days before `today`."""
    query = f"""
        SELECT m.account_id, m.at FROM ({_MORNINGS_OF}) m JOIN broker_accounts a ON a.id = m.account_id
        WHERE m.at > %(now)s AND (a.login = 'totp' OR a.token_expires_at > m.at)
    """  # noqa: S608 - a constant
    given = {"accounts": list(account_ids), "now": now, "today": today, "since": today - LOOK_BACK}
    cursor = await tx.execute(query, given)
    return dict(await cursor.fetchall())


class Unfinished(Struct, frozen=True, kw_only=True):
    """An order of an earlier day of which nobody knows the end."""

    order: Order
    listed_on: date
    answered_on: date | None  # when the broker was last asked for it and called it open still

    def is_hopeless(self, today: date) -> bool:
        """Whether it has been asked for so long that nothing is to be expected."""
        return self.listed_on < today - LOOK_BACK


_unfinished = msgspec.json.Decoder(list[Unfinished])


async def unfinished(tx: Tx, account_id: UUID, today: date, listed: Sequence[str]) -> list[Unfinished]:
    """Orders of days before this date that were open when last seen, do not stand in the list read now, and that
    nobody has asked for today. Oldest first."""
    query = f"""
        SELECT coalesce(json_agg(json_build_object('order', to_json(o), 'listed_on', o.listed_on,
            'answered_on', {_ANSWERED_ON}) ORDER BY o.first_seq), '[]')::text FROM (
            SELECT * FROM current_orders o
            WHERE account_id = %(account)s AND broker_order_id <> ALL(%(listed)s) AND {UNFINISHED}
            ORDER BY first_seq LIMIT %(most)s) o
    """  # noqa: S608 - a constant
    parameters = {"account": account_id, "today": today, "listed": list(listed), "most": ASKED_AT_ONCE}
    return await read(tx, query, parameters, _unfinished)
