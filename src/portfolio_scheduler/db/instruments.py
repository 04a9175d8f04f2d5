"""Instruments: which symbol meant which ISIN, from when to when. Taken in from whole files, changed lines only."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct
from psycopg.rows import class_row

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.instruments import Listing
from portfolio_scheduler.errors import Conflict

LOCK = 7_640_891_576_956_012_810  # our number among advisory locks: one file is taken in at a time


class Known(Struct, frozen=True, kw_only=True):
    """A name as it holds, or held."""

    exchange: str
    segment: str
    trading_symbol: str
    isin: str | None
    name: str | None
    instrument_type: str | None
    lot_size: Decimal | None
    tick_size: Decimal | None
    from_on: date
    to_on: date | None  # the first day on which it no longer held
    successor_isin: str | None
    source: str


class InstrumentFile(Struct, frozen=True, kw_only=True):
    """A file that was taken in, and what it changed."""

    read_on: date
    source: str
    read_at: datetime
    digest: bytes
    listed: int = 0
    opened: int = 0
    closed: int = 0
    relabelled: int = 0


class Coverage(Struct, frozen=True, kw_only=True):
    """How many names of one exchange and segment hold now, and how many the new file lists."""

    exchange: str
    segment: str
    known: int
    listed: int


async def lock(tx: Tx) -> None:
    """Until the transaction ends nobody else takes in a file."""
    await tx.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))


async def last_file(tx: Tx) -> InstrumentFile | None:
    async with tx.cursor(row_factory=class_row(InstrumentFile)) as cursor:
        await cursor.execute("SELECT * FROM instrument_files ORDER BY read_on DESC, read_at DESC LIMIT 1")
        return await cursor.fetchone()


_COLUMNS = Listing.__struct_fields__
_COPY = f"COPY instrument_lines (line, {', '.join(_COLUMNS)}) FROM STDIN"


@asynccontextmanager
async def copying(tx: Tx) -> AsyncIterator[Any]:
    """`await copy.write_row((line, *fields))` for each line of the file."""
    async with tx.cursor() as cursor, cursor.copy(_COPY) as copy:
        yield copy


async def coverage(tx: Tx) -> list[Coverage]:
    """Of each exchange and segment that holds names now: how many of it the copied file lists."""
    async with tx.cursor(row_factory=class_row(Coverage)) as cursor:
        await cursor.execute(
            """
            SELECT k.exchange, k.segment, k.known, coalesce(l.listed, 0) AS listed
            FROM (SELECT exchange, segment, count(*) AS known FROM instruments
                  WHERE to_on IS NULL GROUP BY 1, 2) k
            LEFT JOIN (SELECT exchange, segment, count(DISTINCT trading_symbol) AS listed FROM instrument_lines
                  GROUP BY 1, 2) l USING (exchange, segment)
            ORDER BY 1, 2
            """
        )
        return await cursor.fetchall()


# A symbol listed with two ISINs says nothing: what was known of it stays. Cash-market names are kept for ever once
# closed; a contract that is no longer listed has expired, and its name never means another.
_TAKE_IN = """
WITH listed AS MATERIALIZED (
    SELECT DISTINCT ON (exchange, segment, trading_symbol) *, min(isin) OVER w IS NOT DISTINCT FROM max(isin) OVER w
        AS is_clear
    FROM instrument_lines
    WINDOW w AS (PARTITION BY exchange, segment, trading_symbol)
    ORDER BY exchange, segment, trading_symbol, line
), compared AS MATERIALIZED (
    SELECT l.*, i.from_on, i.ctid AS place, i.trading_symbol IS NULL AS is_new,
        i.isin IS DISTINCT FROM l.isin AS differs,
        (i.name, i.instrument_type, i.lot_size, i.tick_size)
            IS DISTINCT FROM (l.name, l.instrument_type, l.lot_size, l.tick_size) AS relabelled
    FROM listed l LEFT JOIN instruments i ON i.to_on IS NULL
        AND (i.exchange, i.segment, i.trading_symbol) = (l.exchange, l.segment, l.trading_symbol)
    WHERE l.is_clear
), gone AS MATERIALIZED (
    SELECT i.ctid AS place, i.segment = 'CASH' AND i.from_on < %(on)s AS is_kept FROM instruments i
    WHERE i.to_on IS NULL AND NOT EXISTS (
        SELECT FROM listed l
        WHERE (l.exchange, l.segment, l.trading_symbol) = (i.exchange, i.segment, i.trading_symbol))
), closed AS (
    UPDATE instruments SET to_on = %(on)s
    WHERE ctid IN (SELECT place FROM gone WHERE is_kept
        UNION ALL SELECT place FROM compared WHERE differs AND NOT is_new AND from_on < %(on)s)
    RETURNING 1
), removed AS (
    DELETE FROM instruments WHERE ctid IN (SELECT place FROM gone WHERE NOT is_kept) RETURNING 1
), relabelled AS (
    UPDATE instruments i SET isin = c.isin, name = c.name, instrument_type = c.instrument_type,
        lot_size = c.lot_size, tick_size = c.tick_size
    FROM compared c WHERE i.ctid = c.place AND NOT c.is_new
        AND ((c.differs AND c.from_on = %(on)s) OR (NOT c.differs AND c.relabelled))
    RETURNING 1
), opened AS (
    INSERT INTO instruments (exchange, segment, trading_symbol, from_on, isin, name, instrument_type, lot_size,
        tick_size, source)
    SELECT exchange, segment, trading_symbol, %(on)s, isin, name, instrument_type, lot_size, tick_size, %(source)s
    FROM compared WHERE is_new OR (differs AND from_on < %(on)s)
    RETURNING 1
)
SELECT (SELECT count(*) FROM listed), (SELECT count(*) FROM opened),
    (SELECT count(*) FROM closed) + (SELECT count(*) FROM removed), (SELECT count(*) FROM relabelled),
    ARRAY(SELECT exchange || ':' || trading_symbol FROM listed WHERE NOT is_clear ORDER BY 1 LIMIT 20)
"""


async def take_in(tx: Tx, file: InstrumentFile) -> tuple[InstrumentFile, list[str]]:
    """Make what is known from that day on what the copied lines say. Returns what changed, and the symbols that
    the file lists with two ISINs. `Conflict` for a file older than what is known."""
    last = await last_file(tx)
    if last is not None and last.read_on > file.read_on:
        raise Conflict(
            f"The instruments are known as of {last.read_on}; a list of {file.read_on} would put older names over "
            "newer ones, so it was not taken in."
        )
    cursor = await tx.execute(_TAKE_IN, {"on": file.read_on, "source": file.source})
    row = await cursor.fetchone()
    assert row is not None
    listed, opened, closed, relabelled, unclear = row
    await tx.execute("DELETE FROM instrument_lines")
    done = InstrumentFile(
        read_on=file.read_on,
        source=file.source,
        read_at=file.read_at,
        digest=file.digest,
        listed=listed,
        opened=opened,
        closed=closed,
        relabelled=relabelled,
    )
    await note(tx, done)
    return done, unclear


async def note(tx: Tx, file: InstrumentFile) -> None:
    """Remember that a file was read that day; of several that day and source the last, with all they changed."""
    await tx.execute(
        """
        INSERT INTO instrument_files AS f (read_on, source, read_at, digest, listed, opened, closed, relabelled)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (read_on, source) DO UPDATE SET read_at = EXCLUDED.read_at, digest = EXCLUDED.digest,
            listed = EXCLUDED.listed, opened = f.opened + EXCLUDED.opened, closed = f.closed + EXCLUDED.closed,
            relabelled = f.relabelled + EXCLUDED.relabelled
        """,
        (file.read_on, file.source, file.read_at, file.digest, file.listed, file.opened, file.closed, file.relabelled),
    )


async def named(tx: Tx, word: str) -> Sequence[Known]:
    """All that is known under a symbol or an ISIN, cash market first, newest first."""
    async with tx.cursor(row_factory=class_row(Known)) as cursor:
        await cursor.execute(
            """
            SELECT exchange, segment, trading_symbol, isin, name, instrument_type, lot_size, tick_size, from_on, to_on,
                successor_isin, source
            FROM instruments WHERE trading_symbol = %(word)s OR isin = %(word)s
            ORDER BY segment <> 'CASH', trading_symbol, exchange DESC, from_on DESC LIMIT 1000
            """,
            {"word": word},
        )
        return await cursor.fetchall()
