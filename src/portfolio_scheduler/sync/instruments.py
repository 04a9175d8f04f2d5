"""The list of instruments, taken in once a trading day: a broker's public file, or one that the owner names."""

import asyncio
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db import corporate_actions, instruments
from portfolio_scheduler.db.instruments import InstrumentFile
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain.corporate_actions import ActionKind, CorporateAction
from portfolio_scheduler.domain.instruments import Listing
from portfolio_scheduler.domain.tables import BadLine
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.log import logger
from portfolio_scheduler.market.files import digest, lines_of, text_lines

BROKER = "groww"
SHOWN = 20  # bad lines that are kept to be told
BAD_ALLOWED = 100  # one line in so many may be unreadable; more, and the file is not what it seems
LINES_PER_BREATH = 500  # between two of them others get their turn

log = logger()


class Loaded(Struct, frozen=True, kw_only=True):
    """What became of a list of instruments."""

    file: InstrumentFile
    unchanged: bool = False  # the very same file as the last one
    bad: tuple[BadLine, ...] = ()  # the first of the lines that were left out
    bad_count: int = 0
    unclear: tuple[str, ...] = ()  # symbols listed with two ISINs; what was known of them stays


async def load_instruments(app: App, path: Path | None = None, *, again: bool = False) -> Loaded | None:
    """Take in today's list: Groww's, or the file at `path`. None when Groww's has been taken in today already.

    A file that is cut off, no such list, or much shorter than what is known changes nothing and raises.
    """
    today = ist_date(app.clock.now())
    if path is None and not again:
        async with transaction(app.pool) as tx:
            last = await instruments.last_file(tx)
        if last is not None and last.read_on >= today:
            return None
    with TemporaryFile() as file:
        if path is None:
            await app.brokers[BROKER].fetch_instruments(file, app.clock)
        else:
            _copy(path, file)
        heading = InstrumentFile(
            read_on=today,
            source=BROKER if path is None else f"file:{path.name[:100]}",
            read_at=app.clock.now(),
            digest=digest(file),
        )
        loaded = await _load(app, file, heading)
    done = loaded.file
    log.info("instruments loaded", source=done.source, listed=done.listed, opened=done.opened, closed=done.closed)
    return loaded


async def link(app: App, action: CorporateAction) -> None:
    """Keep a corporate action, so that the next readings that show it are explained by it."""
    async with transaction(app.pool) as tx:
        await corporate_actions.link(tx, action, "owner", app.clock.now())
    log.info("corporate action linked", action=action.kind.value, isin=action.isin, new_isin=action.new_isin)


async def unlink(app: App, kind: ActionKind, isin: str, new_isin: str, effective_on: date) -> bool:
    """Forget a corporate action. Whether there was one."""
    async with transaction(app.pool) as tx:
        return await corporate_actions.unlink(tx, kind, isin, new_isin, effective_on)


def _copy(path: Path, into: IO[bytes]) -> None:
    with lines_of(path) as lines:
        for line in lines:
            into.write(line.encode())


async def _load(app: App, file: IO[bytes], heading: InstrumentFile) -> Loaded:
    listings = app.brokers[BROKER].parse_instruments(text_lines(file, heading.source))
    async with transaction(app.pool) as tx:
        await instruments.lock(tx)
        last = await instruments.last_file(tx)
        if last is not None and last.digest == heading.digest and last.read_on <= heading.read_on:
            same = InstrumentFile(
                read_on=heading.read_on,
                source=heading.source,
                read_at=heading.read_at,
                digest=heading.digest,
                listed=last.listed,
            )
            await instruments.note(tx, same)
            return Loaded(file=same, unchanged=True)
        bad = _Bad()
        await _copied(tx, listings, bad)
        await _check_coverage(tx)
        done, unclear = await instruments.take_in(tx, heading)
    return Loaded(file=done, bad=tuple(bad.first), bad_count=bad.count, unclear=tuple(unclear))


class _Bad:
    """Lines that were left out: how many, the first of them, and whether the last line was one."""

    def __init__(self) -> None:
        self.first: list[BadLine] = []
        self.count = 0

    def add(self, line: BadLine) -> None:
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(line)


async def _copied(tx: Tx, listings: Iterable[Listing | BadLine], bad: _Bad) -> None:
    """Copy the listings as they are read. The last line tells whether the file is whole."""
    good = 0
    last: Listing | BadLine | None = None
    async with instruments.copying(tx) as copy:
        for number, listing in enumerate(listings, start=1):
            last = listing
            if number % LINES_PER_BREATH == 0:
                await asyncio.sleep(0)
            if isinstance(listing, BadLine):
                bad.add(listing)
            else:
                good += 1
                await copy.write_row((number, *_fields(listing)))
    if isinstance(last, BadLine):
        raise InvalidInput(
            f"The list of instruments seems to be cut off: its last line, {last.line}, {last.reason}. Nothing changed."
        )
    if good == 0:
        raise InvalidInput("The list of instruments lists nothing. Nothing changed.")
    if bad.count * BAD_ALLOWED > good:
        first = bad.first[0]
        raise InvalidInput(
            f"{bad.count} lines of the list of instruments cannot be read, the first is line {first.line}: it "
            f"{first.reason}. Nothing changed."
        )


def _fields(listing: Listing) -> tuple[object, ...]:
    return (
        listing.exchange,
        listing.segment,
        listing.trading_symbol,
        listing.isin,
        listing.name,
        listing.instrument_type,
        listing.lot_size,
        listing.tick_size,
    )


async def _check_coverage(tx: Tx) -> None:
    """A list that lost much of what is known was cut off between two lines. Contracts expire in bulk, shares do not."""
    for part in await instruments.coverage(tx):
        lost = part.known - part.listed
        if part.segment == "CASH":
            is_short = lost > max(5, part.known // 10)
        else:
            is_short = part.known >= 1000 and part.listed * 3 < part.known
        if is_short or (part.listed == 0 and part.segment == "CASH"):
            raise InvalidInput(
                f"The list of instruments names {part.listed} of {part.exchange} {part.segment}, where {part.known} "
                "are known: it seems to be cut off. Nothing changed."
            )
