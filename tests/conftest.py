"""What all tests share: one embedded PostgreSQL per test process, and a fresh copy of the migrated database per test.

`database` is that copy; `pool` and `api_pool` are open pools on it as the roles that run the product.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import psycopg
import pytest
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from portfolio_scheduler.app import open_keys
from portfolio_scheduler.clock import Clock
from portfolio_scheduler.db import embedded, installs, roles
from portfolio_scheduler.db.migrate import migrate
from portfolio_scheduler.db.pool import Pool, make_pool, opened, transaction
from portfolio_scheduler.settings import Settings
from tests.scale import PROOF

MEMORY = Path("/dev/shm")  # clusters are a thousand files each: in memory they are made, copied and removed at once
# On a pipeline the same examples every time, so that it fails for what changed; everywhere else new ones every time.
hypothesis.settings.register_profile("pipeline", derandomize=True, deadline=None)
hypothesis.settings.register_profile("developer", deadline=None, database=None)
hypothesis.settings.load_profile("pipeline" if os.environ.get("CI") else "developer")

_numbers = itertools.count(1)
FIGURE = "figure: "


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests are begun first, by each process its share of them, so that none waits for another at the end."""
    long = [item for item in items if item.get_closest_marker("long")]
    short = [item for item in items if not item.get_closest_marker("long")]
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items.clear()
    for number in range(count):
        items += long[number::count]
        items += short[len(short) * number // count : len(short) * (number + 1) // count]


class Database(msgspec.Struct, frozen=True, kw_only=True):
    """Connection strings of one database, by role."""

    name: str
    superuser: str
    owner: str
    worker: str
    api: str
    settings: Settings

    def copied_to(self, name: str) -> "Database":
        strings = {
            role: make_conninfo(getattr(self, role), dbname=name) for role in ("superuser", "owner", "worker", "api")
        }
        return Database(name=name, settings=self.settings, **strings)


def open_folder() -> Path:
    """A temporary folder that PostgreSQL's user can pass; pytest's own are closed when root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="portfolio-", dir=MEMORY if _has_room(MEMORY) else None))
    folder.chmod(0o711)
    return folder


def _has_room(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 4 << 30


def settings_in(folder: Path) -> Settings:
    return Settings(data=folder / "data", keys=folder / "keys")


async def keys_of(settings: Settings, pool: Pool, clock: Clock) -> dict[str, Any]:
    """The sealer and the vault of an `App` on this database."""
    async with transaction(pool) as tx:
        install_id = await installs.install_id(tx)
    sealer, vault = open_keys(settings, install_id, clock)
    return {"sealer": sealer, "vault": vault}


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """What a test sets up of logging, such as a stream of its own, ends with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Say a figure of a proof: what was tried, and what came of it. `make proof` prints them at the end."""
    return lambda what, came: request.node.user_properties.append((FIGURE + what, str(came)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of a proof as a table, whichever processes ran it."""
    reports = [report for listed in terminalreporter.stats.values() for report in listed]
    properties = [one for report in reports for one in getattr(report, "user_properties", ())]
    figures = sorted({(name.removeprefix(FIGURE), came) for name, came in properties if name.startswith(FIGURE)})
    if PROOF and figures:
        width = max(len(what) for what, _ in figures)
        terminalreporter.section("figures of the proof")
        for what, came in figures:
            terminalreporter.write_line(f"{what:<{width}}  {came}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the test's own, where an embedded server may live."""
    made = open_folder()
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def prepared() -> Iterator[Path]:
    """A folder with a migrated embedded database at rest, as one installed before has it."""
    made = open_folder()
    with embedded.running(settings_in(made)) as owner:
        migrate(owner, settings_in(made))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def installed_folder(prepared: Path) -> Iterator[Path]:
    """The same, in a folder of the test's own."""
    made = open_folder()
    copy_installed(prepared, made)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def copy_installed(prepared: Path, to: Path) -> None:
    """With the owners of the files, which Python's own copying would not keep."""
    subprocess.run(["cp", "-a", f"{prepared}/.", str(to)], check=True)


@pytest.fixture(scope="session")
def template() -> Iterator[Database]:
    """The migrated database that tests copy. Nobody stays connected to it: PostgreSQL copies only what is at rest."""
    made = open_folder()
    settings = settings_in(made)
    with embedded.running(settings) as owner:
        migrate(owner, settings)
        superuser = embedded.conninfo(settings, user=embedded.SUPERUSER)
        with psycopg.connect(make_conninfo(superuser, dbname="postgres"), autocommit=True) as admin:
            for careless in ("fsync = off", "full_page_writes = off", "checkpoint_flush_after = 0"):
                admin.execute(f"ALTER SYSTEM SET {careless}")  # a copy takes 20 ms instead of 100
            admin.execute("SELECT pg_reload_conf()")
        worker, api = (roles.conninfo(owner, settings, role) for role in ("worker", "api"))
        _hash_cheaply(superuser, (superuser, owner, worker, api))
        yield Database(
            name=embedded.DATABASE, superuser=superuser, owner=owner, worker=worker, api=api, settings=settings
        )
    shutil.rmtree(made, ignore_errors=True)


def _hash_cheaply(superuser: str, conninfos: Sequence[str]) -> None:
    """The same passwords, hashed once instead of 4096 times, which is half the time of a connection."""
    with psycopg.connect(make_conninfo(superuser, options="-c scram_iterations=1"), autocommit=True) as connection:
        for parts in map(conninfo_to_dict, conninfos):
            statement = SQL("ALTER ROLE {} PASSWORD {}")
            connection.execute(statement.format(Identifier(str(parts["user"])), str(parts["password"])))


@pytest.fixture(scope="session")
def admin(template: Database) -> "Iterator[psycopg.Connection[Any]]":
    """The superuser's connection that makes and drops databases."""
    with psycopg.connect(make_conninfo(template.superuser, dbname="postgres"), autocommit=True) as connection:
        yield connection


@contextmanager
def copied(template: Database, admin: "psycopg.Connection[Any]") -> Iterator[Database]:
    """A fresh database with all tables and roles; as many as one likes."""
    name = f"copy_{next(_numbers)}"
    admin.execute(
        SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy").format(
            Identifier(name), Identifier(embedded.OWNER), Identifier(template.name)
        )
    )
    try:
        yield template.copied_to(name)
    finally:
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def database(template: Database, admin: "psycopg.Connection[Any]") -> Iterator[Database]:
    """A fresh database for one test."""
    with copied(template, admin) as made:
        yield made


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    """The worker's pool on a fresh database."""
    async with opened(make_pool(database.worker, "worker", max_size=4)) as opened_pool:
        yield opened_pool


@pytest.fixture
async def api_pool(database: Database) -> AsyncIterator[Pool]:
    """The API's pool on the same database."""
    async with opened(make_pool(database.api, "api", max_size=4)) as opened_pool:
        yield opened_pool
