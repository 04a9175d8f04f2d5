"""What the exchange announced about its days, entered by the owner; and the calendar that follows while we run."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db import market_days
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.domain.market_days import KNOWN_UNTIL, WITHDRAWN, MarketDay
from portfolio_scheduler.domain.tables import BadLine, BadLines
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.log import logger
from portfolio_scheduler.market import day_files
from portfolio_scheduler.market.calendar import SHIPPED_FROM
from portfolio_scheduler.market.files import lines_of

AHEAD = timedelta(days=3 * 366)  # further ahead a date is a typing mistake
MOST = 5000  # days of a file

log = logger()


class Announced(Struct, frozen=True, kw_only=True):
    """What became of announcements."""

    days: int
    new: int
    changed: int  # something else was entered about the day before
    past: tuple[date, ...] = ()  # days that are over: what was read of them keeps the trading day it was given
    warnings: tuple[str, ...] = ()  # what is still not known of the month to come


async def announce(app: App, days: Sequence[MarketDay]) -> Announced:
    """Enter announcements. Those that say what counts already are not entered again."""
    now = app.clock.now()
    today = ist_date(now)
    for day in days:
        _check(day, today)
    newest = {_key(day): day for day in days}  # the last line about a day counts
    async with transaction(app.pool) as tx:
        before = {_key(day): day for day in await market_days.listed(tx)}
        added = [day for key, day in newest.items() if before.get(key) != day]
        await market_days.add(tx, added, now)
        app.calendar.announce(await market_days.listed(tx))
    log.info("market days entered", days=len(newest), added=len(added))
    return Announced(
        days=len(newest),
        new=sum(_key(day) not in before for day in added),
        changed=sum(_key(day) in before for day in added),
        past=tuple(sorted({day.day_on for day in added if day.kind != KNOWN_UNTIL and day.day_on < today})),
        warnings=tuple(app.calendar.warnings(today)),
    )


async def withdraw(app: App, on: date, source: str, exchange: str) -> Announced:
    """What was entered about a day does not count any more; the shipped calendar holds again."""
    async with transaction(app.pool) as tx:
        found = [day for day in await market_days.listed(tx) if (day.exchange, day.day_on) == (exchange, on)]
    if not [day for day in found if day.kind not in {WITHDRAWN, KNOWN_UNTIL}]:
        raise InvalidInput(f"Nothing has been entered about {on} ({exchange}); `market-days list` prints what has.")
    return await announce(app, [MarketDay(exchange=exchange, day_on=on, kind=WITHDRAWN, source=source)])


async def import_days(app: App, path: Path, *, source: str, known_until: date | None) -> Announced:
    """Enter all days of a file, or none when a line is bad: `BadLines`."""
    days: list[MarketDay] = []
    bad: list[BadLine] = []
    with lines_of(path) as lines:
        for found in day_files.days(lines, source):
            if isinstance(found, BadLine):
                bad.append(found)
            else:
                days.append(found)
            if len(days) + len(bad) > MOST:
                raise InvalidInput(f"{path.name} has more than {MOST} lines; this is no list of days.")
    if bad:
        raise BadLines(f"{path.name}: {len(bad)} lines cannot be used; nothing was entered.", tuple(bad))
    if not days:
        raise InvalidInput(f"{path.name} names no day.")
    if known_until is not None:
        days.append(reach(known_until, source))
    return await announce(app, days)


def reach(known_until: date, source: str, exchange: str = "NSE") -> MarketDay:
    """Says that everything is entered until this day."""
    return MarketDay(exchange=exchange, day_on=known_until, kind=KNOWN_UNTIL, source=source)


def _key(day: MarketDay) -> tuple[str, date | None]:
    return day.exchange, None if day.kind == KNOWN_UNTIL else day.day_on


def _check(day: MarketDay, today: date) -> None:
    if not day.source:
        raise InvalidInput("Who says so? Give a source, such as the number of the exchange's circular.")
    if not SHIPPED_FROM <= day.day_on <= today + AHEAD:
        raise InvalidInput(f"{day.day_on} is no day from {SHIPPED_FROM} to {today + AHEAD}; is the year right?")
