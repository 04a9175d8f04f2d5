"""The PostgreSQL server we are given: where it is, whether it is new enough, keeps what it confirms, and lets us in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from portfolio_scheduler.db import embedded
from portfolio_scheduler.db.pool import unreachable
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.settings import LOOPBACK, Settings

NEEDED_VERSION = 180000
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")

Connection: TypeAlias = psycopg.Connection[TupleRow]


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The owner's connection string of the database to use: `DATABASE_URL`, else the embedded server's while inside."""
    if settings.database_url:
        check_encrypted(settings.database_url)
        yield settings.database_url
        return
    with embedded.running(settings) as conninfo:
        yield conninfo


def check_encrypted(conninfo: str) -> None:
    """Refuse a way over the network that goes on in clear, or to whoever answers, when encryption fails."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        return  # `connected` says what is wrong with it
    hosts = str(parts.get("host") or parts.get("hostaddr") or "").split(",")
    if all(host in ("", *LOOPBACK) or host.startswith(("/", "@")) for host in hosts):
        return
    mode = parts.get("sslmode")
    if mode not in {"verify-full", "verify-ca", "disable"}:
        raise SetupProblem(
            f"DATABASE_URL leads to {hosts[0]} over the network with sslmode={mode or 'prefer'}, which may end up in "
            "clear or at somebody else's server. Add ?sslmode=verify-full&sslrootcert=/path/to/ca.pem (or "
            "sslrootcert=system); sslmode=disable is for a network inside one machine only."
        )


@contextmanager
def connected(conninfo: str, **options: Any) -> Iterator[Connection]:
    """One plain connection for setting up; whatever is not committed inside is rolled back at its end."""
    try:
        connection = psycopg.connect(conninfo, connect_timeout=10, application_name="portfolio-scheduler", **options)
    except psycopg.OperationalError as error:
        raise unreachable(conninfo, error) from error
    except psycopg.ProgrammingError as error:
        raise SetupProblem(
            f"DATABASE_URL is not a connection string ({str(error).strip().splitlines()[0]}); "
            "expected is postgresql://user:password@host:port/database."
        ) from error
    try:
        yield connection
    finally:
        connection.close()


def check(conninfo: str) -> None:
    """Refuse a server that is too old, that may lose what it confirmed, or on which we cannot set up."""
    with connected(conninfo) as connection:
        check_connected(connection)


def check_connected(connection: Connection) -> None:
    """The same of the server one is connected to."""
    check_version(connection)
    _check_durability(connection)
    check_rights(connection)


def check_version(connection: Connection) -> None:
    found = connection.info.server_version
    if found < NEEDED_VERSION:
        raise SetupProblem(
            f"This is PostgreSQL {found // 10000}.{found % 10000}; {NEEDED_VERSION // 10000} or newer is needed: "
            "point DATABASE_URL at one, or leave it out to use the embedded server."
        )


def _check_durability(connection: Connection) -> None:
    """A sync says "kept for ever"; a server that confirms before it writes would make that a lie (control C15)."""
    rows = connection.execute(
        "SELECT name, setting FROM pg_settings WHERE name = ANY(%s) AND setting = 'off'", [list(DURABLE)]
    ).fetchall()
    if rows:
        off = " and ".join(f"{name} = off" for name, _ in rows)
        raise SetupProblem(f"The database server runs with {off}, so a crash can lose history: switch it on.")


def check_rights(connection: Connection) -> None:
    """The owner must be able to make tables, to close the schema to others, and to make the two roles."""
    row = connection.execute(
        """SELECT current_user, current_database(),
                  has_schema_privilege('public', 'CREATE'),
                  has_schema_privilege('public', 'CREATE WITH GRANT OPTION') OR pg_has_role(
                      (SELECT nspowner FROM pg_namespace WHERE nspname = 'public'), 'USAGE'),
                  (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user)"""
    ).fetchone()
    assert row is not None
    user, database, may_create, owns_schema, may_create_roles = row
    if not may_create or not owns_schema:
        raise SetupProblem(
            f'The role "{user}" does not own the database "{database}" and cannot set up its schema public; '
            f'run as an administrator: ALTER DATABASE "{database}" OWNER TO "{user}";'
        )
    if not may_create_roles:
        raise SetupProblem(
            f'The role "{user}" may not create the roles of the product; '
            f'run as an administrator: ALTER ROLE "{user}" CREATEROLE;'
        )
