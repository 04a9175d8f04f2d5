"""What the API is measured on: accounts with a long history, written by the database itself in a minute or two.

Every account has its own owner with a session, 50 holdings that have a price of each day, a batch and a snapshot a
day, and orders of one step and one execution each, evenly over the days.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import LiteralString

import msgspec
from msgspec import Struct

from portfolio_scheduler.clock import ist
from portfolio_scheduler.db.pool import Pool, transaction

HOLDINGS = 50
ACCOUNTS_AT_ONCE = 20
SECTIONS = ("holdings", "positions:CASH", "orders:CASH", "fills", "margin")


class Ground(Struct, frozen=True, kw_only=True):
    """How much there is."""

    accounts: int
    days: Sequence[date]
    orders_a_day: int

    @property
    def now(self) -> datetime:
        """A quarter of an hour after the last reading."""
        return ist(self.days[-1], 16, 15)

    @property
    def orders(self) -> int:
        return self.accounts * len(self.days) * self.orders_a_day


# Ids are made of numbers, so that the client and pgbench know them without asking: number 7's account is this.
ID: LiteralString = "md5('{what}' || {number})::uuid"
ACCOUNT: LiteralString = ID.replace("{what}", "account")
SESSION: LiteralString = ID.replace("{what}", "session")
_USER: LiteralString = ID.replace("{what}", "user")
_BATCH: LiteralString = "md5('batch' || n || '/' || d)::uuid"

_NAMES: dict[LiteralString, LiteralString] = {
    "{user}": _USER.replace("{number}", "n"),
    "{account}": ACCOUNT.replace("{number}", "n"),
    "{session}": SESSION.replace("{number}", "n"),
    "{batch}": _BATCH,
    "{isin}": "'INE' || lpad(h::text, 9, '0')",
    "{symbol}": "'SHARE' || h",
    "{numbers}": "generate_series(%(first)s::int, %(last)s::int) n",
    "{days}": "unnest(%(days)s::date[]) WITH ORDINALITY x (day, d)",
    # Each day's facts: a snapshot and three for each order; before them, on the first day, the holdings.
    "{start}": "(%(holdings)s + (d - 1) * (1 + 3 * %(orders)s))",
    "{order_columns}": "segment, exchange, trading_symbol, product, side, order_type, validity, status, quantity, "
    "filled_quantity, price, average_fill_price, created_at, flags",
    "{order_values}": "'CASH', 'NSE', 'SHARE' || (1 + (n + d * 7 + o) %% 50), 'CNC', "
    "(ARRAY['BUY', 'SELL'])[1 + o %% 2], 'LIMIT', 'DAY', 'EXECUTED', 10 + o, 10 + o, 100.5 + o, 100.25 + o, "
    "day + time '04:30' + o * interval '7 minutes', '{}'::text[]",
    "{orders}": "generate_series(1, %(orders)s::int) o",
    "{observed}": "(day + time '10:30')::timestamp AT TIME ZONE 'UTC'",
}

_SHARED: tuple[LiteralString, ...] = (
    """
    INSERT INTO closing_prices (instrument_key, priced_on, source, price, priced_at, exchange, segment, trading_symbol)
    SELECT {isin}, day, 'groww', 100 + h + d * 0.05, {observed}, 'NSE', 'CASH', {symbol}
    FROM generate_series(1, %(holdings)s::int) h, {days}
    """,
)

_OF_ACCOUNTS: tuple[LiteralString, ...] = (
    "INSERT INTO users (id, name, created_at) SELECT {user}, 'user ' || n, %(now)s FROM {numbers}",
    """
    INSERT INTO sessions (id, user_id, begun_at, authenticated_at, refreshed_at, expires_at, idle_seconds, remembered,
        second_factor, device_digest, refresh_digest, address, agent)
    SELECT {session}, {user}, %(now)s, %(now)s, %(now)s, %(now)s::timestamptz + interval '1 day', 86400, false, false,
        '', '', '', '' FROM {numbers}
    """,
    """
    INSERT INTO broker_accounts (id, user_id, broker, ucc, label, login, segments, sealed_credentials, planned_through,
        created_at)
    SELECT {account}, {user}, 'groww', 'UCC' || n, 'account ' || n, 'totp', '{CASH}', '\\x00', %(now)s,
        %(begun)s FROM {numbers}
    """,
    """
    INSERT INTO account_heads (account_id, seq, fence)
    SELECT {account}, %(holdings)s + %(count)s * (1 + 3 * %(orders)s), %(count)s FROM {numbers}
    """,
    """
    INSERT INTO sync_batches (id, account_id, trigger, status, fence, queued_at, started_at, finished_at, observed_at,
        trading_on, standing, sections, last_seq)
    SELECT {batch}, {account}, 'scheduled', 'completed', d, {observed}, {observed}, {observed}, {observed}, day,
        'final',
        %(sections)s::jsonb, {start} + 1 + 3 * %(orders)s FROM {numbers}, {days}
    """,
    """
    INSERT INTO holding_changes (account_id, seq, batch_id, observed_at, trading_on, isin, trading_symbol, quantity,
        average_price, t1_quantity, demat_free_quantity, demat_locked_quantity, broker_locked_quantity, pledge_quantity,
        repledge_quantity, corporate_action_quantity, transfer_quantity, exchanges, quantity_before, explanation,
        details)
    SELECT {account}, h, {batch}, {observed}, day, {isin}, {symbol}, 10 + h, 90.25 + h, 0, 10 + h, 0, 0, 0, 0, 0, 0,
        '{NSE}', 0, 'first_seen', '{}'
    FROM {numbers}, {days}, generate_series(1, %(holdings)s::int) h WHERE d = 1
    """,
    """
    INSERT INTO real_holdings (account_id, last_seq, changed_on, isin, trading_symbol, quantity, average_price,
        t1_quantity, demat_free_quantity, demat_locked_quantity, broker_locked_quantity, pledge_quantity,
        repledge_quantity, corporate_action_quantity, transfer_quantity, exchanges)
    SELECT account_id, seq, trading_on, isin, trading_symbol, quantity, average_price, t1_quantity, demat_free_quantity,
        0, 0, 0, 0, 0, 0, exchanges
    FROM holding_changes WHERE account_id IN (SELECT {account} FROM {numbers})
    """,
    """
    INSERT INTO order_history (account_id, seq, batch_id, observed_at, broker_order_id, listed_on, {order_columns})
    SELECT {account}, {start} + o, {batch}, {observed}, 'GMK' || n || 'D' || d || 'O' || o, day, {order_values}
    FROM {numbers}, {days}, {orders}
    """,
    """
    INSERT INTO current_orders (account_id, first_seq, last_seq, broker_order_id, listed_on, fills_quantity,
        fills_value,
        {order_columns})
    SELECT {account}, {start} + o, {start} + 2 * %(orders)s + o, 'GMK' || n || 'D' || d || 'O' || o, day, 10 + o,
        (10 + o) * (100.25 + o), {order_values}
    FROM {numbers}, {days}, {orders}
    """,
    """
    INSERT INTO order_quantity_changes (account_id, seq, batch_id, observed_at, broker_order_id, change_type,
        trading_on,
        segment, exchange, trading_symbol, side, quantity_delta, status_after, quantity_after, filled_after,
        price_after,
        average_fill_price_after, details)
    SELECT account_id, seq + %(orders)s, batch_id, observed_at, broker_order_id,
        CASE side WHEN 'BUY' THEN 'QUANTITY_ADDED' ELSE 'QUANTITY_REMOVED' END, listed_on, segment, exchange,
        trading_symbol, side, CASE side WHEN 'BUY' THEN quantity ELSE -quantity END, status, quantity, quantity, price,
        average_fill_price, '{}'
    FROM order_history WHERE account_id IN (SELECT {account} FROM {numbers})
    """,
    """
    INSERT INTO order_fills (account_id, seq, batch_id, observed_at, broker_order_id, broker_trade_id, segment,
        exchange,
        trading_symbol, product, side, quantity, price, trading_on, traded_at, synthetic, flags)
    SELECT account_id, seq + 2 * %(orders)s, batch_id, observed_at, broker_order_id, 'T' || broker_order_id, segment,
        exchange, trading_symbol, product, side, quantity, average_fill_price, listed_on, created_at, false, '{}'
    FROM order_history WHERE account_id IN (SELECT {account} FROM {numbers})
    """,
    # The lines of all but the last two days are left out: they would be most of the database, and nobody reads them.
    """
    INSERT INTO portfolio_snapshots (account_id, seq, batch_id, observed_at, trading_on, revision, reason,
        holdings_value,
        invested, unrealised_pnl, positions_pnl, cash, margin_used, holdings_count, positions_count, orders_count,
        fills_count, priced_ratio, oldest_price_on, day_change_reason, lines, details)
    SELECT {account}, {start} + 1 + 3 * %(orders)s, {batch}, {observed}, day, 1, 'first complete statement', 200000 + d,
        180000, 20000 + d, 0, 50000, 0, %(holdings)s, 0, %(orders)s, %(orders)s, 1, day, 'no earlier snapshot',
        CASE WHEN d > %(count)s - 2 THEN (SELECT jsonb_agg(jsonb_build_object('isin', {isin}, 'trading_symbol',
        {symbol},
            'quantity', 10 + h, 'average_price', 90.25 + h, 'price', 100 + h + d * 0.05, 'priced_on', day,
            'source', 'groww', 'basis', 'added')) FROM generate_series(1, %(holdings)s::int) h) ELSE '[]' END,
        '{"notes": []}'
    FROM {numbers}, {days}
    """,
)


def _spelled(statement: LiteralString) -> LiteralString:
    for name, meaning in _NAMES.items():
        statement = statement.replace(name, meaning)
    return statement


async def build(pool: Pool, ground: Ground) -> None:
    """Write it all, as the worker's role."""
    given = {
        "days": list(ground.days),
        "count": len(ground.days),
        "orders": ground.orders_a_day,
        "holdings": HOLDINGS,
        "now": ground.now,
        "begun": ist(ground.days[0], 9),
        "sections": msgspec.json.encode({name: {"outcome": "ok"} for name in SECTIONS}).decode(),
    }
    async with transaction(pool) as tx:
        for statement in _SHARED:
            await tx.execute(_spelled(statement), given)
    for first in range(1, ground.accounts + 1, ACCOUNTS_AT_ONCE):
        last = min(first + ACCOUNTS_AT_ONCE - 1, ground.accounts)
        async with transaction(pool) as tx:
            await tx.execute("SET LOCAL statement_timeout = 0")
            for statement in _OF_ACCOUNTS:
                await tx.execute(_spelled(statement), given | {"first": first, "last": last})
