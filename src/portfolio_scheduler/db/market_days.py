"""What the exchanges announced beyond the regular calendar. Entries are added, never changed: the newest counts."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from psycopg.rows import class_row

from portfolio_scheduler.db.documents import document, insert
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.market_days import MarketDay


class Entry(Struct, frozen=True, kw_only=True):
    """An announcement with when it was entered and whether it still counts."""

    day: MarketDay
    noted_at: datetime
    counts: bool


_COLUMNS = ("exchange", "day_on", "kind", "opens_at", "closes_at", "note", "source", "noted_at")
_INSERT = insert("market_days", _COLUMNS)
_SELECTED = "exchange, day_on, kind, opens_at, closes_at, note, source"
# How far announcements reach is said by one entry of the exchange, whatever day it names.
_SAME = "exchange, kind = 'known_until', CASE WHEN kind <> 'known_until' THEN day_on END"


async def listed(tx: Tx) -> list[MarketDay]:
    """The entries that count, withdrawals included, oldest day first."""
    async with tx.cursor(row_factory=class_row(MarketDay)) as cursor:
        await cursor.execute(
            f"""
            SELECT {_SELECTED} FROM (SELECT DISTINCT ON ({_SAME}) * FROM market_days ORDER BY {_SAME}, id DESC) newest
            ORDER BY exchange, day_on, kind
            """  # noqa: S608 - put together from constants
        )
        return await cursor.fetchall()


async def history(tx: Tx) -> list[Entry]:
    """All entries ever made, newest first."""
    cursor = await tx.execute(
        f"""
        SELECT {_SELECTED}, noted_at, id = first_value(id) OVER (PARTITION BY {_SAME} ORDER BY id DESC)
        FROM market_days ORDER BY id DESC
        """  # noqa: S608 - put together from constants
    )
    names = MarketDay.__struct_fields__
    return [
        Entry(day=MarketDay(**dict(zip(names, row, strict=False))), noted_at=row[-2], counts=row[-1])
        for row in await cursor.fetchall()
    ]


async def add(tx: Tx, days: Sequence[MarketDay], now: datetime) -> None:
    """Enter announcements; each counts from now on instead of what was entered about its day before."""
    if days:
        rows = [{name: getattr(day, name) for name in _COLUMNS[:-1]} | {"noted_at": now} for day in days]
        await tx.execute(_INSERT, (document(rows),))
