"""Migrations: what they make, that they may run again and at once, and what they refuse."""

import ast
import threading
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from portfolio_scheduler.db import schema_dump
from portfolio_scheduler.db.migrate import MIGRATIONS, MigrationResult, migrate
from portfolio_scheduler.db.revisions import is_current
from portfolio_scheduler.db.roles import find_relations
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.settings import Settings
from tests.conftest import Database

VERSIONS = sorted((MIGRATIONS / "versions").glob("*.py"))


@pytest.fixture
def empty(database: Database, admin: psycopg.Connection[tuple[object, ...]]) -> Database:
    """A database without anything in it."""
    name = f"{database.name}_empty"
    admin.execute(f"CREATE DATABASE {name} OWNER portfolio_scheduler STRATEGY file_copy")
    return database.copied_to(name)


def test_the_checked_in_schema_is_what_all_migrations_make(template: Database):
    assert schema_dump.dump(template.owner) == schema_dump.FILE.read_text(), (
        "run: python -m portfolio_scheduler.db.schema_dump"
    )


def test_a_difference_in_the_schema_is_caught(database: Database):
    with psycopg.connect(database.owner) as connection:
        connection.execute("ALTER TABLE users ADD COLUMN stray text")
    assert schema_dump.dump(database.owner) != schema_dump.FILE.read_text()


def test_every_migration_is_applied_once(empty: Database):
    first = migrate(empty.owner, empty.settings)
    assert first.before is None
    assert len(first.applied) == len(VERSIONS)
    assert migrate(empty.owner, empty.settings) == MigrationResult(first.after, first.after, ())


def test_two_processes_may_migrate_at_once(empty: Database):
    results: list[MigrationResult] = []
    threads = [threading.Thread(target=lambda: results.append(migrate(empty.owner, empty.settings))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(result.applied) for result in results) == [0, 0, len(VERSIONS)]


def test_a_migration_that_fails_leaves_nothing(empty: Database):
    with psycopg.connect(empty.owner) as connection:
        connection.execute("CREATE TABLE sync_batches (in_the_way int)")
    with pytest.raises(Exception, match="sync_batches"):
        migrate(empty.owner, empty.settings)
    with psycopg.connect(empty.owner) as connection:
        assert connection.execute("SELECT to_regclass('users'), to_regclass('alembic_version')").fetchone() == (
            None,
            None,
        )


def test_a_database_of_a_newer_release_is_refused(database: Database):
    with psycopg.connect(database.owner) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    for act in (lambda: migrate(database.owner, database.settings), lambda: is_current(database.owner)):
        with pytest.raises(
            SetupProblem, match=r"migrated by a newer release \(revision 'from_the_future'\)"
        ) as problem:
            act()
        assert problem.value.exit_code == 2


def test_every_role_can_ask_whether_the_database_is_current(database: Database, empty: Database):
    for conninfo in (database.owner, database.worker, database.api):
        assert is_current(conninfo)
    assert not is_current(empty.owner)


def test_every_table_and_view_states_its_kind(database: Database):
    with psycopg.connect(database.owner) as connection:
        assert {relation.kind for relation in find_relations(connection)} == {
            "fact", "log", "derived", "control", "people", "reference", "view", "queue",
        }  # fmt: skip
        connection.execute("CREATE TABLE nameless (n int)")
        with pytest.raises(AssertionError, match="nameless must begin its comment"):
            find_relations(connection)


@pytest.mark.parametrize("file", VERSIONS, ids=lambda file: file.stem)
def test_a_migration_stands_on_its_own_and_goes_forward_only(file: Path):
    tree = ast.parse(file.read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported <= {"alembic", "procrastinate", "json", "zlib"}
    assert [part.isdigit() for part in file.stem.split("_")[:4]] == [True, True, True, False]
    downgrade = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "downgrade")
    assert isinstance(downgrade.body[0], ast.Raise)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("kept", "kept"),
        ("My-DB", r"my_db_[0-9a-f]{6}"),
        ("pg_like", r"db_pg_like_[0-9a-f]{6}"),
        ("9" * 60, r"db_9+_[0-9a-f]{6}"),
    ],
)
def test_roles_are_called_after_the_database(
    template: Database, admin: psycopg.Connection[tuple[object, ...]], name: str, prefix: str
):
    admin.execute(f'CREATE DATABASE "{name}" OWNER portfolio_scheduler STRATEGY file_copy')
    owner = make_conninfo(template.owner, dbname=name)
    migrate(owner, template.settings)
    with psycopg.connect(owner) as connection:
        row = connection.execute("SELECT role_prefix ~ %s, role_prefix FROM install", [f"^{prefix}$"]).fetchone()
        assert row is not None
        assert row[0], row
        roles = connection.execute("SELECT count(*) FROM pg_roles WHERE rolname LIKE %s", [f"{row[1]}\\_%"]).fetchone()
    assert roles == (2,)
    admin.execute(f'DROP DATABASE "{name}"')
    for role in ("api", "worker"):
        admin.execute(f'DROP ROLE "{row[1]}_{role}"')


def test_an_external_database_is_migrated_without_resetting_others_passwords(database: Database, tmp_path: Path):
    """Another machine, whose key folder does not hold the passwords, must not break the first one."""
    elsewhere = Settings(data=tmp_path / "data", keys=tmp_path / "keys", database_url=database.owner)
    with pytest.raises(SetupProblem, match="copy that file from the machine that set the database up"):
        migrate(database.owner, elsewhere)
    assert is_current(database.worker)
