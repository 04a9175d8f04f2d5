"""Brings a database to this release's tables and gives the roles their rights: in one transaction, all or nothing."""

from pathlib import Path
from typing import Any

import alembic.command
import msgspec
import psycopg
import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool

from portfolio_scheduler.db import roles
from portfolio_scheduler.db.pool import unreachable
from portfolio_scheduler.db.server import check_rights, check_version, connected
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_640_891_576_956_012_809  # our number among advisory locks: two processes never migrate at once
WAIT_FOR_OTHERS = "300s"  # another process may be migrating
LOCK_TIMEOUT = "10s"  # never queue long behind a reader, for all others would queue behind us
STATEMENT_TIMEOUT = "600s"


class MigrationResult(msgspec.Struct, frozen=True):
    before: str | None  # the revision found; None for an empty database
    after: str
    applied: tuple[str, ...]  # the revisions applied, oldest first


def migrate(conninfo: str, settings: Settings, *, reset_passwords: bool = False) -> MigrationResult:
    """Apply what is missing and grant the rights anew. Does nothing else when run again."""
    embedded = not settings.database_url  # nobody else can be using its roles' passwords, so lost ones are replaced
    with connected(conninfo) as connection:
        check_version(connection)
        check_rights(connection)
    engine = _engine(conninfo)
    with engine.begin() as connection:
        _take_lock(connection)
        before = _revision(connection)
        applied = _missing(before)
        if applied:
            alembic.command.upgrade(_config(connection), "head")
        driver_connection: Any = connection.connection.driver_connection
        roles.apply(driver_connection, settings, reset_passwords=reset_passwords or embedded)
    return MigrationResult(before, applied[-1] if applied else before or "", applied)


def _engine(conninfo: str) -> sqlalchemy.Engine:
    """An engine that passes SQL without parameters on as it stands: a migration may use % and several statements."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: _connect(conninfo), poolclass=NullPool)

    @sqlalchemy.event.listens_for(engine, "do_execute")
    def as_it_stands(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
        if not parameters:
            cursor.execute(statement)
        return not parameters

    return engine


def _connect(conninfo: str) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(conninfo, connect_timeout=10, application_name="portfolio-scheduler migrate")
    except psycopg.OperationalError as error:
        raise unreachable(conninfo, error) from error


def _take_lock(connection: sqlalchemy.Connection) -> None:
    """Held until the transaction ends."""
    run = connection.exec_driver_sql
    run(f"SET LOCAL lock_timeout = '{WAIT_FOR_OTHERS}'")
    try:
        run(f"SELECT pg_advisory_xact_lock({LOCK})")
    except sqlalchemy.exc.OperationalError as error:
        raise SetupProblem(
            f"Another process has been migrating this database for {WAIT_FOR_OTHERS}; try again when it has ended."
        ) from error
    run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    run(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
    run("SET LOCAL client_min_messages = 'warning'")


def _revision(connection: sqlalchemy.Connection) -> str | None:
    # Made by us and not by Alembic, whose column ends after 32 characters.
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS alembic_version (version_num text PRIMARY KEY)")
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None


def _missing(before: str | None) -> tuple[str, ...]:
    """The revisions to apply, oldest first. One we do not know was made by a newer release."""
    ours = [script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions()][::-1]
    if before is None:
        return tuple(ours)
    if before not in ours:
        raise SetupProblem(
            f"The database was migrated by a newer release (revision {before!r}); this one knows up to {ours[-1]!r}: "
            "install the newer release."
        )
    return tuple(ours[ours.index(before) + 1 :])


def _config(connection: sqlalchemy.Connection | None) -> Config:
    """Alembic's configuration, made here: there is no ini file that could differ."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
