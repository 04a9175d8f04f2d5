"""The composition root: settings, database, clock, calendar, brokers and vault become an `App`. No logic."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

from msgspec import Struct

from portfolio_scheduler.brokers.broker import Broker
from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.clock import Clock, SystemClock
from portfolio_scheduler.db import embedded, market_days, roles
from portfolio_scheduler.db.pool import Pool, make_pool, opened, transaction
from portfolio_scheduler.db.revisions import is_current
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.market.calendar import Calendar, make_calendar
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.vault import Vault


class App(Struct, frozen=True, kw_only=True):
    """Everything a door needs to do its work."""

    settings: Settings
    pool: Pool  # as the worker role
    conninfo: str  # of the worker role
    clock: Clock
    calendar: Calendar
    vault: Vault
    brokers: Mapping[str, Broker]


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The owner's connection string: of `DATABASE_URL`, or of the embedded server, which runs as long as this does."""
    if settings.database_url:
        yield settings.database_url
    else:
        with embedded.running(settings) as conninfo:
            yield conninfo


@asynccontextmanager
async def running(settings: Settings, clock: Clock | None = None) -> AsyncIterator[App]:
    """The product, ready to work. The embedded database is migrated by itself, any other only on request."""
    with database(settings) as owner:
        if not is_current(owner):
            if settings.database_url:
                raise SetupProblem("The database is not up to date; run `portfolio-scheduler migrate`.")
            from portfolio_scheduler.db.migrate import migrate  # noqa: PLC0415 - Alembic costs half a second

            migrate(owner, settings)
        conninfo = roles.conninfo(owner, settings, "worker")
        async with opened(make_pool(conninfo, "worker")) as pool:
            async with transaction(pool) as tx:
                overrides = await market_days.listed(tx)
            yield App(
                settings=settings,
                pool=pool,
                conninfo=conninfo,
                clock=clock or SystemClock(),
                calendar=make_calendar(overrides),
                vault=Vault.open_keys(settings),
                brokers={Groww.name: Groww(settings.groww_url)},
            )
