"""Closing prices: one per instrument, trading day and source, shared by all accounts."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import LiteralString

import msgspec

from portfolio_scheduler.db.documents import document, read, rows_of, upsert, write
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.records import Price
from portfolio_scheduler.domain.valuation import PricePoint

_COLUMNS = ("instrument_key", "priced_on", "source", "price", "priced_at", "exchange", "segment", "trading_symbol")
_UPSERT = upsert("closing_prices", _COLUMNS, ("instrument_key", "priced_on", "source"), newest_by="priced_at")


def _row(price: Price) -> dict[str, object]:
    return {
        "instrument_key": price.key,
        "priced_on": price.priced_on,
        "source": price.source,
        "price": price.price,
        "priced_at": price.priced_at,
        "exchange": price.exchange,
        "segment": price.segment,
        "trading_symbol": price.trading_symbol,
    }


# The newest price of an instrument of that {key} which is not after {until}.
NEWEST: LiteralString = """
    SELECT price, priced_on, source, priced_at FROM closing_prices c
    WHERE c.instrument_key = {key} AND c.priced_on <= {until}
    ORDER BY c.priced_on DESC, c.priced_at DESC, c.source DESC LIMIT 1
"""
_NEWEST: LiteralString = """
    SELECT coalesce(json_object_agg(k.key, to_json(p)), '{}')::text
    FROM unnest(%(keys)s::text[]) k (key) CROSS JOIN LATERAL ({newest}) p
""".replace("{newest}", NEWEST.replace("{key}", "k.key").replace("{until}", "%(until)s"))

_points = msgspec.json.Decoder(dict[str, PricePoint])


async def save(tx: Tx, prices: Sequence[Price]) -> None:
    """Keep prices; of one instrument, day and source the latest, whichever comes first.

    Written sorted by key: rows shared between accounts deadlock otherwise.
    """
    latest = {(p.key, p.priced_on, p.source): p for p in sorted(prices, key=lambda p: p.priced_at)}
    rows = [_row(price) for _, price in sorted(latest.items())]
    await write(tx, rows_of(_UPSERT, rows))


_AMEND = f"{_UPSERT} AND (closing_prices.priced_at < EXCLUDED.priced_at OR closing_prices.price <> EXCLUDED.price)"


async def amend(tx: Tx, prices: Sequence[Price]) -> int:
    """Keep prices read long ago and parsed anew: none replaces a later reading. Returns how many differed."""
    last = {(p.key, p.priced_on, p.source): p for p in sorted(prices, key=lambda p: p.priced_at)}
    if not last:
        return 0
    cursor = await tx.execute(_AMEND, (document(map(_row, last.values())),))
    return cursor.rowcount


async def newest(tx: Tx, keys: Collection[str], until_on: date) -> dict[str, PricePoint]:
    """For each instrument its newest price not after `until_on`; instruments without one are absent."""
    if not keys:
        return {}
    return await read(tx, _NEWEST, {"keys": sorted(keys), "until": until_on}, _points)


async def priced_since(tx: Tx, keys: Collection[str], priced_on: date, since: datetime) -> set[str]:
    """Which instruments already have a price of that day read at or after `since`, from whichever account."""
    if not keys:
        return set()
    cursor = await tx.execute(
        """
        SELECT DISTINCT instrument_key FROM closing_prices
        WHERE instrument_key = ANY(%s) AND priced_on = %s AND priced_at >= %s
        """,
        (sorted(keys), priced_on, since),
    )
    return {key for (key,) in await cursor.fetchall()}
