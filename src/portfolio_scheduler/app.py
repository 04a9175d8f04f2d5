"""The composition root: settings, database, clock, calendar, brokers and vault become an `App`. No logic."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler import keyring
from portfolio_scheduler.brokers.broker import Broker
from portfolio_scheduler.clock import Clock, SystemClock
from portfolio_scheduler.db import installs, market_days, roles
from portfolio_scheduler.db.pool import WAIT_SECONDS, Pool, make_pool, opened, transaction
from portfolio_scheduler.db.revisions import has_our_tables
from portfolio_scheduler.db.server import check_connected, connected, database
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.market.calendar import Calendar, make_calendar
from portfolio_scheduler.sealing import Sealer
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.vault import Vault

NAMES = ("groww",)


class App(Struct, frozen=True, kw_only=True):
    """Everything a door needs to do its work."""

    settings: Settings
    pool: Pool  # as the worker role
    conninfo: str  # of the worker role
    api_conninfo: str  # of the API's role
    clock: Clock
    calendar: Calendar
    sealer: Sealer  # all that the web may use of the two
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


def open_keys(settings: Settings, install_id: UUID, clock: Clock, *, opens: bool = True) -> tuple[Sealer, Vault]:
    """What seals and what opens: two objects, of which the web gets the first. Unsafe keys are a `SetupProblem`."""
    if opens:
        vault = Vault.open_keys(settings, install_id, clock.now())
        return Sealer.open_keys(settings, install_id), vault
    if settings.database_url is None:  # everything runs on this machine, whichever process comes first
        keyring.make_if_new(settings, clock.now())
    sealer = Sealer.open_keys(settings, install_id)
    return sealer, Vault.without_keys(install_id, sealer)


def _ready(owner: str, settings: Settings) -> tuple[str, str]:
    """The database is as we need it. How the worker and the API reach it."""
    with connected(owner) as connection:
        if settings.database_url:
            check_connected(connection)
        if not has_our_tables(connection):
            if settings.database_url:
                raise SetupProblem("The database is not up to date; run `portfolio-scheduler migrate`.")
            from portfolio_scheduler.db.migrate import migrate  # noqa: PLC0415 - Alembic costs half a second

            connection.rollback()  # what we have looked at is about to change
            migrate(owner, settings)
        return (
            roles.conninfo_over(connection, owner, settings, "worker"),
            roles.conninfo_over(connection, owner, settings, "api"),
        )


@asynccontextmanager
async def running(
    settings: Settings, clock: Clock | None = None, *, opens: bool = True, wait_seconds: float = WAIT_SECONDS
) -> AsyncIterator[App]:
    """The product, ready to work. The embedded database is migrated by itself, any other only on request.

    A process that never opens a secret (`opens` false) needs the public key file only and does not look for another.
    """
    clock = clock or SystemClock()
    with database(settings) as owner:
        conninfo, api_conninfo = _ready(owner, settings)
        async with opened(make_pool(conninfo, "worker", wait_seconds=wait_seconds)) as pool:
            async with transaction(pool) as tx:
                overrides = await market_days.listed(tx)
                install_id = await installs.install_id(tx)
            sealer, vault = open_keys(settings, install_id, clock, opens=opens)
            yield App(
                settings=settings,
                pool=pool,
                conninfo=conninfo,
                api_conninfo=api_conninfo,
                clock=clock,
                calendar=make_calendar(overrides),
                sealer=sealer,
                vault=vault,
                brokers=Brokers(settings),
            )
