"""Closing prices from a file, for those without live data: all of it or nothing, and every line that is odd is told."""

import asyncio
import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.db import price_lines
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain.tables import BadLine, BadLines
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.log import logger
from portfolio_scheduler.market.calendar import Calendar
from portfolio_scheduler.market.files import lines_of
from portfolio_scheduler.market.price_files import Close, closes
from portfolio_scheduler.sync.revalue import Revalued, revalue

SHOWN = 1000  # bad lines of a kind that are kept to be told
LINES_PER_BREATH = 500  # between two of them others get their turn
LINES_PER_COPY = 100_000  # no statement runs for long, whatever the file's length
PREFIX = "import:"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")

log = logger()


class Imported(Struct, frozen=True, kw_only=True):
    """What became of a file of prices."""

    prices: int  # one for each ISIN, day and source
    new: int
    changed: int  # were another before
    first_on: date
    last_on: date
    bad: tuple[BadLine, ...] = ()  # lines that were left out
    bad_count: int = 0
    revalued: tuple[Revalued, ...] = ()


async def import_prices(app: App, path: Path, *, source: str | None = None, skip_bad: bool = False) -> Imported:
    """Keep the closing prices of a file, then value the days that lacked them anew.

    `source` names where they are from; by default the exchange. Unless `skip_bad`, one bad line keeps all of it out:
    `BadLines`.
    """
    if source is not None and not _NAME.fullmatch(source):
        raise InvalidInput(f"{source[:40]!r} cannot be the name of a source: small letters, digits, dots and dashes.")
    reading = _Reading(app.calendar, app.clock.now(), source)
    with lines_of(path) as lines:
        async with transaction(app.pool) as tx:
            await _copied(tx, reading, closes(lines))
            await _drop_bad(tx, reading, path.name, skip_bad=skip_bad)
            prices, new, changed = await price_lines.keep(tx, reading.closes_at)
    days = sorted(reading.closes_at)
    log.info("prices imported", file=path.name, prices=prices, new=new, changed=changed, bad=reading.bad_count)
    return Imported(
        prices=prices,
        new=new,
        changed=changed,
        first_on=days[0],
        last_on=days[-1],
        bad=tuple(reading.bad),
        bad_count=reading.bad_count,
        revalued=tuple(await revalue(app, days[0])) if new or changed else (),
    )


class _Reading:
    """What has been read of the file so far."""

    def __init__(self, calendar: Calendar, now: datetime, source: str | None) -> None:
        self.closes_at: dict[date, datetime] = {}
        self.bad: list[BadLine] = []
        self.bad_count = 0
        self.good_count = 0
        self._calendar = calendar
        self._now = now
        self._source = source

    def add_bad(self, line: BadLine) -> None:
        self.bad_count += 1
        if len(self.bad) < SHOWN:
            self.bad.append(line)

    def taken(self, close: Close) -> bool:
        """Whether the line is used: its day must be a session that has closed by the calendar."""
        if close.priced_on not in self.closes_at:
            session = self._calendar.session(close.priced_on)
            if session is None or session.closes_at > self._now:
                what = "is no trading day" if session is None else "has not closed yet"
                self.add_bad(BadLine(line=close.line, reason=f"{close.priced_on} {what}"))
                return False
            self.closes_at[close.priced_on] = session.closes_at
        self.good_count += 1
        return True

    def source_of(self, close: Close) -> str:
        return PREFIX + (self._source or (close.exchange or "csv").lower())


async def _copied(tx: Tx, reading: _Reading, found: Iterator[Close | BadLine]) -> None:
    more = True
    while more:
        more = False
        async with price_lines.copying(tx) as copy:
            for number, close in enumerate(found, start=1):
                if number % LINES_PER_BREATH == 0:
                    await asyncio.sleep(0)
                if isinstance(close, BadLine):
                    reading.add_bad(close)
                elif reading.taken(close):
                    await copy.write_row(
                        (
                            close.line,
                            reading.source_of(close),
                            close.priced_on,
                            close.isin,
                            close.exchange,
                            close.trading_symbol,
                            close.rank,
                            close.price,
                        )
                    )
                if number == LINES_PER_COPY:
                    more = True
                    break


async def _drop_bad(tx: Tx, reading: _Reading, name: str, *, skip_bad: bool) -> None:
    """Leave the bad lines out, or refuse the file for them. What contradicts what is found as long as anything does."""
    left = reading.good_count
    while bad := await price_lines.look_up(tx, SHOWN):
        for line in bad:
            reading.add_bad(line)
        left -= len(bad)
        if not skip_bad:
            break
        await price_lines.leave_out(tx, [line.line for line in bad])
    reading.bad.sort(key=lambda line: line.line)
    if reading.bad_count and not skip_bad:
        raise BadLines(
            f"{reading.bad_count} lines of {name} cannot be used, so nothing was imported. Correct them, or import "
            "the others with --skip-bad.",
            tuple(reading.bad),
        )
    if left <= 0:
        raise InvalidInput(f"{name} holds no closing price of a share that can be used; nothing was imported.")
