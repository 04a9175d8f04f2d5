"""What changed: the trails of orders and holdings as the ledger keeps them."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.rows import rows


class ChangeRow(Struct, frozen=True, kw_only=True):
    """One fact about an order or a holding. What does not apply to its kind is None."""

    account_id: UUID
    account: str
    seq: int
    kind: str  # order or holding
    change_type: str  # ORDER_PLACED, QUANTITY_ADDED …; of a holding the explanation: traded, settled …
    trading_on: date
    observed_at: datetime
    trading_symbol: str
    isin: str | None = None
    broker_order_id: str | None = None
    side: str | None = None
    quantity_delta: Decimal  # of an order the units filled, of a holding the units more or less
    quantity_before: Decimal | None
    quantity_after: Decimal
    filled_before: Decimal | None = None
    filled_after: Decimal | None = None
    status_before: str | None = None
    status_after: str | None = None
    price_before: Decimal | None = None  # of an order its limit, of a holding its average price
    price_after: Decimal | None = None
    trigger_price_before: Decimal | None = None
    trigger_price_after: Decimal | None = None
    average_fill_price_after: Decimal | None = None


# The newest of each account and kind are found by the index of its trading days, so that days come first in the order.
# That an order was placed is said by its first sight, before anything of it was filled.
_CHANGES: LiteralString = """
SELECT c.*, a.label AS account FROM broker_accounts a CROSS JOIN LATERAL (
    (SELECT account_id, seq, 'order' AS kind, 'ORDER_PLACED' AS change_type, listed_on AS trading_on, observed_at,
        trading_symbol, NULL AS isin, broker_order_id, side, 0 AS quantity_delta, NULL AS quantity_before,
        quantity AS quantity_after, NULL AS filled_before, 0 AS filled_after, NULL AS status_before,
        status AS status_after, NULL AS price_before, price AS price_after, NULL AS trigger_price_before,
        trigger_price AS trigger_price_after,
        CASE WHEN filled_quantity = 0 THEN average_fill_price END AS average_fill_price_after
    FROM effective_order_history
    WHERE account_id = a.id AND (%(symbol)s::text IS NULL OR trading_symbol = upper(%(symbol)s))
        AND (%(order)s::text IS NULL OR broker_order_id = %(order)s)
        AND (%(on)s::date IS NULL OR listed_on = %(on)s){of_page_listed}
    ORDER BY listed_on {down}, observed_at {down}, seq {down} LIMIT %(limit)s)
    UNION ALL
    (SELECT account_id, seq, 'order', change_type, trading_on, observed_at, trading_symbol, NULL,
        broker_order_id, side, quantity_delta, quantity_before, quantity_after, filled_before, filled_after,
        status_before, status_after, price_before, price_after, trigger_price_before, trigger_price_after,
        average_fill_price_after
    FROM effective_order_quantity_changes
    WHERE account_id = a.id AND change_type <> 'ORDER_PLACED'
        AND (%(symbol)s::text IS NULL OR trading_symbol = upper(%(symbol)s))
        AND (%(order)s::text IS NULL OR broker_order_id = %(order)s)
        AND (%(on)s::date IS NULL OR trading_on = %(on)s){of_page}
    ORDER BY trading_on {down}, observed_at {down}, seq {down} LIMIT %(limit)s)
    UNION ALL
    (SELECT account_id, seq, 'holding', explanation, trading_on, observed_at, trading_symbol, isin,
        NULL, NULL, quantity - quantity_before, quantity_before, quantity, NULL, NULL,
        NULL, NULL, average_price_before, average_price, NULL, NULL, NULL
    FROM effective_holding_changes
    WHERE account_id = a.id
        AND (%(symbol)s::text IS NULL OR upper(%(symbol)s) IN (trading_symbol, isin))
        AND %(order)s::text IS NULL
        AND (%(on)s::date IS NULL OR trading_on = %(on)s){of_page}
    ORDER BY trading_on {down}, observed_at {down}, seq {down} LIMIT %(limit)s)
) c
WHERE a.id = ANY(%(accounts)s)
ORDER BY c.trading_on {down}, c.observed_at {down}, a.id {down}, c.seq {down} LIMIT %(limit)s
"""
_ALL: LiteralString = _CHANGES.replace("{of_page_listed}", "").replace("{of_page}", "").replace("{down}", "DESC")

# Further conditions of a page; without one there are none.
_OF_PAGE: LiteralString = """
        AND (%(since)s::date IS NULL OR {day} >= %(since)s) AND (%(to)s::date IS NULL OR {day} <= %(to)s)
        AND (%(until)s::date IS NULL OR {day} <= %(until)s)
        AND (%(key_on)s::date IS NULL OR ({day}, observed_at, account_id, seq)
            {beyond} (%(key_on)s, %(key_at)s::timestamptz, %(key_account)s::uuid, %(key_seq)s::bigint))
"""


def changes_page(*, newest_first: bool, which: LiteralString) -> LiteralString:
    """The same as a page, of the accounts `a` for which a condition holds: also with %(since)s, %(to)s, %(until)s,
    and what comes after the keys."""
    query = (
        _CHANGES.replace("a.id = ANY(%(accounts)s)", which)
        .replace("{of_page_listed}", _OF_PAGE.replace("{day}", "listed_on"))
        .replace("{of_page}", _OF_PAGE.replace("{day}", "trading_on"))
    )
    if newest_first:
        return query.replace("{down}", "DESC").replace("{beyond}", "<")
    return query.replace("{down}", "ASC").replace("{beyond}", ">")


async def changes(
    tx: Tx,
    account_ids: Sequence[UUID],
    *,
    symbol: str | None = None,
    order: str | None = None,
    on: date | None = None,
    limit: int | None = None,
) -> list[ChangeRow]:
    """Changes of orders and holdings, newest first: of one symbol or ISIN, one order, one trading day, or all."""
    given = {"accounts": list(account_ids), "symbol": symbol, "order": order, "on": on, "limit": limit}
    return await rows(tx, _ALL, given, ChangeRow)


async def trail(tx: Tx, account_id: UUID, broker_order_id: str) -> list[ChangeRow]:
    """The story of one order, oldest first."""
    found = await changes(tx, [account_id], order=broker_order_id)
    return sorted(found, key=lambda change: change.seq)
