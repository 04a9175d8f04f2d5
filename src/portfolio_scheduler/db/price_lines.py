"""Closing prices from files: copied line by line, looked up and compared in the database, kept all at once."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.tables import BadLine

_COPY = "COPY price_lines (line, source, priced_on, isin, exchange, trading_symbol, rank, price) FROM STDIN"


@asynccontextmanager
async def copying(tx: Tx) -> AsyncIterator[Any]:
    """`await copy.write_row((line, source, priced_on, isin, exchange, trading_symbol, rank, price))` for each line."""
    async with tx.cursor() as cursor, cursor.copy(_COPY) as copy:
        yield copy


# What a symbol meant on the day of the price, at any exchange unless the line names one.
_NAMES = """
    SELECT array_agg(DISTINCT i.isin ORDER BY i.isin) FROM instruments i
    WHERE i.trading_symbol = a.trading_symbol AND i.segment = 'CASH' AND i.isin IS NOT NULL
        AND (a.exchange IS NULL OR i.exchange = a.exchange)
        AND i.from_on <= a.priced_on AND (i.to_on IS NULL OR a.priced_on < i.to_on)
"""

_LOOK_UP = f"""
WITH asked AS (
    SELECT DISTINCT trading_symbol, exchange, priced_on FROM price_lines WHERE isin IS NULL
), found AS (
    SELECT a.*, ({_NAMES}) AS isins FROM asked a
)
UPDATE price_lines l SET isin = f.isins[1] FROM found f
WHERE l.isin IS NULL AND cardinality(f.isins) = 1
    AND l.trading_symbol = f.trading_symbol AND l.priced_on = f.priced_on AND l.exchange IS NOT DISTINCT FROM f.exchange
"""  # noqa: S608 - put together from constants

_UNKNOWN = f"""
SELECT a.line, a.trading_symbol, a.priced_on, ({_NAMES}) FROM price_lines a WHERE a.isin IS NULL ORDER BY a.line
LIMIT %s
"""  # noqa: S608

_TWICE = """
SELECT line, isin, priced_on FROM (
    SELECT *, min(price) OVER w <> max(price) OVER w AS differs FROM (
        SELECT *, rank = min(rank) OVER (PARTITION BY isin, priced_on, source) AS counts FROM price_lines
        WHERE isin IS NOT NULL
    ) ranked WHERE counts
    WINDOW w AS (PARTITION BY isin, priced_on, source)
) compared WHERE differs ORDER BY line LIMIT %s
"""


async def look_up(tx: Tx, limit: int) -> list[BadLine]:
    """Give each line its ISIN. Returns the lines (at most `limit` of a kind) that have none or contradict another."""
    await tx.execute(_LOOK_UP)
    bad = []
    cursor = await tx.execute(_UNKNOWN, (limit,))
    for line, symbol, on, isins in await cursor.fetchall():
        if isins:
            reason = f"{symbol} meant {' and '.join(isins)} on {on}; give the ISIN or the exchange"
        else:
            reason = f"{symbol} is not known as a symbol of {on}; give the ISIN"
        bad.append(BadLine(line=line, reason=reason))
    cursor = await tx.execute(_TWICE, (limit,))
    bad += [
        BadLine(line=line, reason=f"{isin} has another close on {on} in the same file")
        for line, isin, on in await cursor.fetchall()
    ]
    return sorted(bad, key=lambda line: line.line)


async def leave_out(tx: Tx, lines: Collection[int]) -> None:
    """Forget these lines."""
    await tx.execute("DELETE FROM price_lines WHERE line = ANY(%s)", (list(lines),))


_KEEP = """
WITH kept AS (
    INSERT INTO closing_prices AS c (instrument_key, priced_on, source, price, priced_at, exchange, segment,
        trading_symbol)
    SELECT DISTINCT ON (l.isin, l.priced_on, l.source) l.isin, l.priced_on, l.source, l.price, d.closes_at,
        coalesce(l.exchange, i.exchange, ''), 'CASH', coalesce(l.trading_symbol, i.trading_symbol, l.isin)
    FROM price_lines l
    JOIN unnest(%(days)s::date[], %(closes)s::timestamptz[]) d (priced_on, closes_at) USING (priced_on)
    LEFT JOIN LATERAL (
        SELECT n.exchange, n.trading_symbol FROM instruments n WHERE n.isin = l.isin AND l.trading_symbol IS NULL
        ORDER BY n.to_on IS NULL DESC, n.exchange DESC, n.from_on DESC LIMIT 1
    ) i ON true
    ORDER BY l.isin, l.priced_on, l.source, l.rank, l.line
    ON CONFLICT (instrument_key, priced_on, source) DO UPDATE SET price = EXCLUDED.price, priced_at = EXCLUDED.priced_at
        WHERE c.price IS DISTINCT FROM EXCLUDED.price
    RETURNING old.price IS NULL AS is_new
)
SELECT (SELECT count(DISTINCT (isin, priced_on, source)) FROM price_lines), count(*) FILTER (WHERE is_new),
    count(*) FILTER (WHERE NOT is_new) FROM kept
"""


async def keep(tx: Tx, closes_at: Mapping[date, datetime]) -> tuple[int, int, int]:
    """Keep what was copied as prices of the moment their session closed.

    Returns how many prices the file has, how many of them are new, and how many were another before.
    """
    cursor = await tx.execute(_KEEP, {"days": list(closes_at), "closes": list(closes_at.values())})
    row = await cursor.fetchone()
    assert row is not None
    prices, new, changed = row
    await tx.execute("DELETE FROM price_lines")
    return prices, new, changed
