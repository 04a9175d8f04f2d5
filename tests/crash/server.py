"""A PostgreSQL of the tests' own that can be stopped as a power cut would: settings as shipped, in a folder that is
removed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg

from portfolio_scheduler.bench import place
from portfolio_scheduler.db import embedded, roles
from portfolio_scheduler.settings import Settings
from tests.conftest import Database

READY_SECONDS = 60


class Server:
    """The running server. `crash` stops it at once and starts it again, which makes it recover from its log."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.database = database
        self.crashes = 0
        self._settings = settings

    async def crash(self, *, down_seconds: float = 0) -> None:
        await asyncio.to_thread(self._stop)
        await asyncio.sleep(down_seconds)
        await asyncio.to_thread(self._start)
        self.crashes += 1

    def _stop(self) -> None:
        """What `pg_ctl stop -m immediate` does: every process of the server ends without writing anything more."""
        where = embedded._place(self._settings)
        server = embedded._server(where.cluster)
        if server is not None:
            os.kill(server, signal.SIGQUIT)
        embedded._wait_until(lambda: not embedded._processes_in(where.cluster), "the server has not stopped")

    def _start(self) -> None:
        with embedded._locked(self._settings):
            embedded._ensure_running(self._settings)
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.database.superuser, connect_timeout=READY_SECONDS).close()


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """A migrated database on a server that nobody else uses."""
    with place.folder() as folder:
        settings = place.settings_in(folder)
        with place.running(settings) as owner:
            worker, api = (roles.conninfo(owner, settings, role) for role in ("worker", "api"))
            database = Database(
                name=embedded.DATABASE,
                superuser=embedded.conninfo(settings, user=embedded.SUPERUSER),
                owner=owner,
                worker=worker,
                api=api,
                settings=settings,
            )
            yield Server(settings, database)
