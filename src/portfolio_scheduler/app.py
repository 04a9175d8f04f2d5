"""The composition root: settings, database, clock, calendar, brokers and vault become an `App`. No logic."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

from msgspec import Struct

from portfolio_scheduler.brokers.broker import Broker
from portfolio_scheduler.clock import Clock, SystemClock
from portfolio_scheduler.db import market_days, roles
from portfolio_scheduler.db.pool import WAIT_SECONDS, Pool, make_pool, opened, transaction
from portfolio_scheduler.db.revisions import is_current
from portfolio_scheduler.db.server import check, database
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.market.calendar import Calendar, make_calendar
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.vault import Vault

NAMES = ("groww",)


class App(Struct, frozen=True, kw_only=True):
    """Everything a door needs to do its work."""

    settings: Settings
    pool: Pool  # as the worker role
    conninfo: str  # of the worker role
    clock: Clock
    calendar: Calendar
    vault: Vault
    brokers: Mapping[str, Broker]


class Brokers(Mapping[str, Broker]):
    """The brokers by name, each made when first asked for: their HTTP client takes a third of a second to import."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, Broker] = {}

    def __getitem__(self, name: str) -> Broker:
        if name not in NAMES:
            raise KeyError(name)
        if name not in self._made:
            from portfolio_scheduler.brokers.groww.client import Groww  # noqa: PLC0415

            self._made[name] = Groww(self._settings.groww_url)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


@asynccontextmanager
async def running(
    settings: Settings, clock: Clock | None = None, *, wait_seconds: float = WAIT_SECONDS
) -> AsyncIterator[App]:
    """The product, ready to work. The embedded database is migrated by itself, any other only on request."""
    with database(settings) as owner:
        if settings.database_url:
            check(owner)
            if not is_current(owner):
                raise SetupProblem("The database is not up to date; run `portfolio-scheduler migrate`.")
        elif not is_current(owner):
            from portfolio_scheduler.db.migrate import migrate  # noqa: PLC0415 - Alembic costs half a second

            migrate(owner, settings)
        conninfo = roles.conninfo(owner, settings, "worker")
        async with opened(make_pool(conninfo, "worker", wait_seconds=wait_seconds)) as pool:
            async with transaction(pool) as tx:
                overrides = await market_days.listed(tx)
            yield App(
                settings=settings,
                pool=pool,
                conninfo=conninfo,
                clock=clock or SystemClock(),
                calendar=make_calendar(overrides),
                vault=Vault.open_keys(settings),
                brokers=Brokers(settings),
            )
