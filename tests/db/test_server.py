"""A server that will not do is refused with one sentence that says what to do."""

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from portfolio_scheduler.db import server
from portfolio_scheduler.db.migrate import migrate
from portfolio_scheduler.db.revisions import is_current
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.settings import Settings
from tests.conftest import Database
from tests.db.servers import old_server


def problem_of(conninfo: str) -> str:
    with pytest.raises(SetupProblem) as problem:
        server.check(conninfo)
    assert problem.value.exit_code == 2
    assert "\n" not in problem.value.message
    assert "very-secret" not in problem.value.message
    return problem.value.message


def test_a_postgresql_16_is_too_old(folder: Path):
    settings = Settings(data=folder / "data", keys=folder / "keys")
    with old_server(folder) as conninfo:
        assert problem_of(conninfo).startswith("This is PostgreSQL 16.")
        for act in (lambda: migrate(conninfo, settings), lambda: is_current(conninfo)):
            with pytest.raises(SetupProblem, match="18 or newer is needed"):
                act()


@pytest.mark.parametrize(
    ("conninfo", "reason"),
    [
        ("postgresql://asha:very-secret@127.0.0.1:1/kept", "kept on 127.0.0.1, port 1, cannot be reached"),
        ("postgresql://asha:very-secret@does-not-exist.invalid/kept", "kept on does-not-exist.invalid, port 5432"),
        ("nonsense", "DATABASE_URL is not a connection string"),
    ],
)
def test_an_unreachable_server_is_named(conninfo: str, reason: str):
    assert reason in problem_of(conninfo)


def test_a_server_that_forgets_is_refused(database: Database):
    """The tests' own server runs without fsync, which only tests may."""
    assert "fsync = off and full_page_writes = off" in problem_of(database.owner)
    with pytest.raises(SetupProblem, match="synchronous_commit = off"):
        server.check(make_conninfo(database.owner, options="-c synchronous_commit=off"))


def test_a_role_that_does_not_own_the_database(database: Database, admin: psycopg.Connection[tuple[object, ...]]):
    admin.execute("CREATE ROLE stranger LOGIN PASSWORD 'very-secret'")
    try:
        admin.execute(f"GRANT CONNECT ON DATABASE {database.name} TO stranger")
        conninfo = make_conninfo(database.owner, user="stranger", password="very-secret")
        with server.connected(conninfo) as connection, pytest.raises(SetupProblem) as problem:
            server.check_rights(connection)
        assert f'ALTER DATABASE "{database.name}" OWNER TO "stranger";' in problem.value.message
    finally:
        with psycopg.connect(database.superuser) as connection:
            connection.execute("DROP OWNED BY stranger")
        admin.execute("DROP ROLE stranger")


def test_an_owner_that_may_not_create_roles(database: Database, admin: psycopg.Connection[tuple[object, ...]]):
    admin.execute("CREATE ROLE humble LOGIN PASSWORD 'very-secret'")
    admin.execute(f"ALTER DATABASE {database.name} OWNER TO humble")
    conninfo = make_conninfo(database.owner, user="humble", password="very-secret")
    with pytest.raises(SetupProblem, match='ALTER ROLE "humble" CREATEROLE;'):
        migrate(conninfo, database.settings)
    admin.execute(f"ALTER DATABASE {database.name} OWNER TO portfolio_scheduler")
    admin.execute("DROP ROLE humble")


def test_the_given_database_is_used_instead_of_the_embedded_one(database: Database, tmp_path: Path):
    settings = Settings(data=tmp_path / "data", keys=tmp_path / "keys", database_url=database.owner)
    with server.database(settings) as conninfo:
        assert conninfo == database.owner
    assert not settings.data.exists()


def test_the_embedded_server_passes_every_check(folder: Path):
    settings = Settings(data=folder / "data", keys=folder / "keys")
    with server.database(settings) as conninfo:
        server.check(conninfo)


@pytest.mark.parametrize(
    "conninfo",
    [
        "postgresql://asha:very-secret@db.example.org/kept",
        "postgresql://asha:very-secret@db.example.org/kept?sslmode=prefer",
        "postgresql://asha:very-secret@127.0.0.1,db.example.org/kept?sslmode=require",
    ],
)
def test_a_way_over_the_network_that_is_not_surely_encrypted_is_refused(conninfo: str, tmp_path: Path):
    settings = Settings(data=tmp_path / "data", keys=tmp_path / "keys", database_url=conninfo)
    with pytest.raises(SetupProblem, match="sslmode=verify-full") as problem, server.database(settings):
        pass
    assert "very-secret" not in problem.value.message


@pytest.mark.parametrize(
    "conninfo",
    [
        "postgresql:///kept?host=/run/postgresql",
        "postgresql://localhost/kept",
        "postgresql://[::1]/kept",
        "postgresql://db.example.org/kept?sslmode=verify-full&sslrootcert=system",
        "postgresql://db/kept?sslmode=disable",
    ],
)
def test_a_way_within_the_machine_or_an_encrypted_one_is_taken(conninfo: str):
    server.check_encrypted(conninfo)
