"""Once a day, before the market opens, the list of instruments is taken in. `jobs.work` asks every minute.

It has nothing to do with syncs: they do not wait for it, and need none of it.
"""

import asyncio
import os
import socket
from datetime import datetime, timedelta

import psycopg

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist, ist_date
from portfolio_scheduler.db import instrument_loading
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.errors import PortfolioSchedulerError
from portfolio_scheduler.log import logger
from portfolio_scheduler.sync.instruments import Loaded, load_instruments

HOUR = 8  # IST; brokers make the day's list in the night, the market opens at 09:15
RETRY_AFTER = timedelta(minutes=15)

log = logger()


def last_morning(now: datetime) -> datetime:
    """The newest 08:00 IST that has passed."""
    this = ist(ist_date(now), HOUR)
    return this if this <= now else this - timedelta(days=1)


async def take_in_instruments(app: App) -> Loaded | None:
    """Take in the list if none was since the last morning; of all processes one does it. None when it did not.

    What goes wrong is logged, kept for `status`, and tried again a quarter of an hour later, without an end: the names
    known so far hold until it succeeds.
    """
    now, worker = app.clock.now(), f"{socket.gethostname()}:{os.getpid()}"
    async with transaction(app.pool) as tx:
        if not await instrument_loading.is_due(tx, last_morning(now)):
            return None
        if not await instrument_loading.claim(tx, worker, now, now + RETRY_AFTER):
            return None
    try:
        loaded = await load_instruments(app, again=True)
    except (PortfolioSchedulerError, psycopg.Error, OSError) as error:
        reason = error.message if isinstance(error, PortfolioSchedulerError) else f"{type(error).__name__}: {error}"
        log.warning("the list of instruments was not taken in; it is tried again", reason=reason)
        async with transaction(app.pool) as tx:
            await instrument_loading.failed(tx, worker, reason[:500], now + RETRY_AFTER)
        return None
    except asyncio.CancelledError:
        await asyncio.shield(_over(app, worker))
        raise
    await _over(app, worker)
    return loaded


async def _over(app: App, worker: str) -> None:
    async with transaction(app.pool) as tx:
        await instrument_loading.done(tx, worker)
