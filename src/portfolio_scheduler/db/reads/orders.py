"""Orders as last known, their executions, and one order's story."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.db.past import ORDER_STATES
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.rows import rows


class OrderRow(Struct, frozen=True, kw_only=True):
    """One order at its high-water mark."""

    account_id: UUID
    account: str
    broker_order_id: str
    listed_on: date  # the trading day of the list it stood in
    segment: str
    exchange: str
    trading_symbol: str
    product: str
    side: str
    order_type: str
    validity: str | None
    status: str
    quantity: Decimal
    filled_quantity: Decimal
    open_quantity: Decimal  # what may still be filled
    price: Decimal | None
    trigger_price: Decimal | None
    average_fill_price: Decimal | None
    filled_value: Decimal | None
    remark: str | None
    created_at: datetime | None
    exchange_at: datetime | None
    flags: list[str]


class FillRow(Struct, frozen=True, kw_only=True):
    """One execution."""

    account_id: UUID
    account: str
    seq: int
    broker_order_id: str
    broker_trade_id: str
    trading_on: date
    traded_at: datetime | None
    segment: str
    exchange: str
    trading_symbol: str
    isin: str | None
    product: str
    side: str
    quantity: Decimal
    price: Decimal
    value: Decimal
    synthetic: bool  # the order's own filled figures: the broker gave no trade list


# Further conditions of a page on rows {t} with the number {seq}; without a page there are none.
_OF_PAGE: LiteralString = """
        AND (%(since)s::date IS NULL OR {t}.{day} >= %(since)s) AND (%(to)s::date IS NULL OR {t}.{day} <= %(to)s)
        AND (%(side)s::text IS NULL OR {t}.side = upper(%(side)s))
        AND (%(segment)s::text IS NULL OR {t}.segment = upper(%(segment)s))
        AND (%(key_on)s::date IS NULL OR ({t}.{day}, coalesce({t}.{at}, '-infinity'::timestamptz), {seq})
            {beyond} (%(key_on)s, coalesce(%(key_at)s::timestamptz, '-infinity'), %(key_seq)s::bigint))
"""


def _ordered(query: LiteralString, *, newest_first: bool = True) -> LiteralString:
    if newest_first:
        return query.replace("{down}", "DESC").replace("{nulls}", "NULLS LAST").replace("{beyond}", "<")
    return query.replace("{down}", "ASC").replace("{nulls}", "NULLS FIRST").replace("{beyond}", ">")


# The newest of each account are found by its index, so that the newest of all cost no reading of everybody's years.
_ORDERS: LiteralString = """
SELECT o.*, a.label AS account FROM broker_accounts a CROSS JOIN LATERAL (
    SELECT * FROM current_orders c
    WHERE c.account_id = a.id AND (%(on)s::date IS NULL OR c.listed_on = %(on)s)
        AND (%(symbol)s::text IS NULL OR c.trading_symbol = upper(%(symbol)s))
        AND (%(status)s::text IS NULL OR c.status = upper(%(status)s)){of_page}
    ORDER BY c.listed_on {down}, c.created_at {down} {nulls}, c.first_seq {down} LIMIT %(limit)s
) o
WHERE a.id = ANY(%(accounts)s)
ORDER BY o.listed_on {down}, o.created_at {down} {nulls}, o.account_id, o.first_seq {down} LIMIT %(limit)s
"""


# Which orders are asked for is decided first (newest first, by their last status), then their states are put together.
_ORDERS_THEN: LiteralString = """
WITH listed AS (
    SELECT * FROM effective_order_history h
    WHERE h.account_id = ANY(%(accounts)s) AND h.listed_on <= %(until)s
        AND (%(on)s::date IS NULL OR h.listed_on = %(on)s)
        AND (%(symbol)s::text IS NULL OR h.trading_symbol = upper(%(symbol)s)){of_page}
    ORDER BY h.listed_on {down}, h.created_at {down} {nulls}, h.account_id, h.seq {down} OFFSET 0
), s AS (
    SELECT * FROM listed h
    WHERE %(status)s::text IS NULL OR upper(%(status)s) = coalesce((
        SELECT c.status_after FROM effective_order_quantity_changes c
        WHERE c.account_id = h.account_id AND c.broker_order_id = h.broker_order_id
            AND c.change_type <> 'REGRESSED' AND c.trading_on <= %(until)s
        ORDER BY c.seq DESC LIMIT 1), h.status)
    LIMIT %(limit)s
)
SELECT o.*, a.label AS account, o.filled_quantity * o.average_fill_price AS filled_value,
    CASE WHEN o.status IN ('EXECUTED', 'DELIVERY_AWAITED', 'COMPLETED', 'CANCELLED', 'REJECTED', 'FAILED') THEN 0
         ELSE o.quantity - o.filled_quantity END AS open_quantity
FROM ({states}) o JOIN broker_accounts a ON a.id = o.account_id
ORDER BY o.listed_on {down}, o.created_at {down} {nulls}, o.account_id, o.first_seq {down}
""".replace("{states}", ORDER_STATES)
_NOW: LiteralString = _ordered(_ORDERS.replace("{of_page}", ""))
_THEN: LiteralString = _ordered(_ORDERS_THEN.replace("{of_page}", ""))


def orders_page(*, newest_first: bool, then: bool) -> LiteralString:
    """The same as a page: also with %(since)s, %(to)s, %(side)s, %(segment)s, and what comes after the keys."""
    of_page = _OF_PAGE.replace("{day}", "listed_on").replace("{at}", "created_at")
    if then:
        of_page = of_page.replace("{t}", "h").replace("{seq}", "h.seq")
    else:
        of_page = of_page.replace("{t}", "c").replace("{seq}", "c.first_seq")
    return _ordered((_ORDERS_THEN if then else _ORDERS).replace("{of_page}", of_page), newest_first=newest_first)


async def orders(
    tx: Tx,
    account_ids: Sequence[UUID],
    *,
    on: date | None = None,
    symbol: str | None = None,
    status: str | None = None,
    limit: int | None = None,
    until_on: date | None = None,
) -> list[OrderRow]:
    """Orders, newest first: of one trading day or of all; as they stand now, or stood at the end of a day."""
    given = {"accounts": list(account_ids), "on": on, "symbol": symbol, "status": status, "limit": limit}
    if until_on is not None:
        return await rows(tx, _THEN, given | {"until": until_on}, OrderRow)
    return await rows(tx, _NOW, given, OrderRow)


_FILLS: LiteralString = """
SELECT f.*, a.label AS account, f.quantity * f.price AS value FROM broker_accounts a CROSS JOIN LATERAL (
    SELECT * FROM effective_order_fills c
    WHERE c.account_id = a.id AND (%(on)s::date IS NULL OR c.trading_on = %(on)s)
        AND (%(symbol)s::text IS NULL OR c.trading_symbol = upper(%(symbol)s)){of_page}
    ORDER BY c.trading_on {down}, c.traded_at {down} {nulls}, c.seq {down} LIMIT %(limit)s
) f
WHERE a.id = ANY(%(accounts)s)
ORDER BY f.trading_on {down}, f.traded_at {down} {nulls}, f.account_id, f.seq {down} LIMIT %(limit)s
"""
_ALL_FILLS: LiteralString = _ordered(_FILLS.replace("{of_page}", ""))


def fills_page(*, newest_first: bool) -> LiteralString:
    """The same as a page, as of orders; also of one order, and until a day."""
    of_page = _OF_PAGE.replace("{day}", "trading_on").replace("{at}", "traded_at")
    of_page = of_page.replace("{t}", "c").replace("{seq}", "c.seq") + _OF_ORDER_UNTIL
    return _ordered(_FILLS.replace("{of_page}", of_page), newest_first=newest_first)


_OF_ORDER_UNTIL: LiteralString = """
        AND (%(order)s::text IS NULL OR c.broker_order_id = %(order)s)
        AND (%(until)s::date IS NULL OR c.trading_on <= %(until)s)
"""


async def fills(
    tx: Tx, account_ids: Sequence[UUID], *, on: date | None = None, symbol: str | None = None, limit: int | None = None
) -> list[FillRow]:
    """Executions, newest first: of one trading day or of all."""
    given = {"accounts": list(account_ids), "on": on, "symbol": symbol, "limit": limit}
    return await rows(tx, _ALL_FILLS, given, FillRow)


_CUT_SHORT = """
SELECT o.*, a.label AS account FROM current_orders o JOIN broker_accounts a ON a.id = o.account_id
WHERE o.account_id = ANY(%(accounts)s) AND o.status = 'CANCELLED' AND o.filled_quantity > 0
ORDER BY o.listed_on DESC, (SELECT count(*) FROM effective_order_quantity_changes c
    WHERE c.account_id = o.account_id AND c.broker_order_id = o.broker_order_id) DESC, o.first_seq DESC
LIMIT %(limit)s
"""


async def partly_filled_and_cancelled(tx: Tx, account_ids: Sequence[UUID], *, limit: int = 1) -> list[OrderRow]:
    """Orders that were cancelled after a part was filled, newest first: the trails that tell most."""
    return await rows(tx, _CUT_SHORT, {"accounts": list(account_ids), "limit": limit}, OrderRow)
