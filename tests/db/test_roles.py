"""What the roles that run the product may do, and no more."""

from pathlib import Path

import procrastinate
import psycopg
import pytest
from psycopg import errors

from portfolio_scheduler.db import passwords, roles
from portfolio_scheduler.db.migrate import migrate
from portfolio_scheduler.db.pool import Pool, transaction
from portfolio_scheduler.db.roles import find_relations
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.settings import Settings
from tests.conftest import Database

RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
WORKER = {
    "fact": {"SELECT", "INSERT"},
    "log": {"SELECT", "INSERT"},
    "control": {"SELECT", "INSERT", "UPDATE"},
    "people": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "derived": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "reference": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "queue": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "view": {"SELECT"},
}


def rights(conninfo: str, table: str) -> set[str]:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            "SELECT array(SELECT r FROM unnest(%s::text[]) r WHERE has_table_privilege(%s, r))", [list(RIGHTS), table]
        ).fetchone()
    assert row is not None
    return set(row[0])


def test_the_worker_s_rights_follow_from_the_kind_of_table(database: Database):
    with psycopg.connect(database.owner) as connection:
        relations = find_relations(connection)
    assert {r.name: rights(database.worker, r.name) for r in relations} == {r.name: WORKER[r.kind] for r in relations}


API = {kind: {"SELECT"} for kind in WORKER} | {
    "log": {"SELECT", "INSERT"},
    "people": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "queue": set(),
}
API_ALSO = {"users": {"INSERT", "UPDATE"}}


def test_the_api_reads_everything_but_sealed_columns_and_the_queue(database: Database):
    with psycopg.connect(database.owner) as connection:
        relations = find_relations(connection)
    sealed = {r.name for r in relations if any(column.startswith("sealed_") for column in r.columns)}
    assert sealed == {"broker_accounts", "account_requests"}
    expected = {
        r.name: (API[r.kind] - ({"SELECT"} if r.name in sealed else set())) | API_ALSO.get(r.name, set())
        for r in relations
    } | {"account_requests": {"INSERT"}, "procrastinate_events": {"INSERT"}, "procrastinate_jobs": {"INSERT"}}
    assert {r.name: rights(database.api, r.name) for r in relations} == expected
    with psycopg.connect(database.api) as connection:
        connection.execute("SELECT id, label, state FROM broker_accounts")
        for column in ("sealed_credentials", "sealed_token", "*"):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(f"SELECT {column} FROM broker_accounts")
            connection.rollback()
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT args FROM procrastinate_jobs")


def test_the_roles_are_nobody_special(database: Database):
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(
            """SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication
               FROM pg_roles WHERE rolname LIKE 'portfolio\\_scheduler\\__%'"""
        ).fetchall()
    assert rows == [(True, False, False, False, False, False)] * 2


@pytest.mark.parametrize("role", ["worker", "api"])
def test_neither_role_makes_anything(database: Database, role: str):
    with psycopg.connect(getattr(database, role)) as connection:
        for statement in (
            "CREATE TABLE stray (n int)",
            "CREATE ROLE stray",
            "SELECT guard_fact('users')",
            "ALTER TABLE order_history DISABLE TRIGGER USER",
            "DROP TABLE users",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)
            connection.rollback()


async def deferred(pool: Pool) -> int:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector())
    async with transaction(pool) as tx:
        return await app.configure_task("sync", queueing_lock="account", connection=tx).defer_async()


async def test_both_roles_may_defer_a_job_in_their_own_transaction(pool: Pool, api_pool: Pool):
    await deferred(api_pool)
    with pytest.raises(procrastinate.exceptions.AlreadyEnqueued):
        await deferred(pool)


async def test_the_worker_role_may_run_jobs(pool: Pool, api_pool: Pool):
    ran = []
    app = procrastinate.App(connector=procrastinate.PsycopgConnector())

    @app.task(name="sync")
    def sync() -> None:
        ran.append("sync")

    await deferred(api_pool)
    async with app.open_async(pool):
        await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
    assert ran == ["sync"]


# ── passwords ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_copy_of_the_database_keeps_its_roles(database: Database):
    assert roles.conninfo(database.owner, database.settings, "worker") == database.worker


def test_a_database_without_tables_says_migrate(database: Database):
    with psycopg.connect(database.owner) as connection:
        connection.execute("ALTER TABLE install RENAME TO other")
    with pytest.raises(SetupProblem, match="run `portfolio-scheduler migrate`"):
        roles.conninfo(database.owner, database.settings, "worker")


def test_a_missing_password_is_said_to_be_missing(database: Database, tmp_path: Path):
    settings = Settings(data=tmp_path / "data", keys=tmp_path / "keys")
    with pytest.raises(SetupProblem, match=r"has no password for the role .* run `portfolio-scheduler migrate`"):
        roles.conninfo(database.owner, settings, "api")


def test_a_role_that_is_not_ours_is_left_alone(database: Database, admin: psycopg.Connection[tuple[object, ...]]):
    role = f"{database.name}_api"
    admin.execute(f"CREATE ROLE {role}")
    with psycopg.connect(database.superuser) as connection:
        connection.execute("ALTER TABLE install DISABLE TRIGGER USER")
        connection.execute("UPDATE install SET role_prefix = %s", [database.name])
    with pytest.raises(SetupProblem, match=f'has a role "{role}" that the product did not make'):
        migrate(database.owner, database.settings)
    admin.execute(f"DROP ROLE {role}")


def test_a_role_that_became_mighty_is_refused(database: Database, admin: psycopg.Connection[tuple[object, ...]]):
    prefix = database.name
    with psycopg.connect(database.superuser) as connection:
        connection.execute("ALTER TABLE install DISABLE TRIGGER USER")
        connection.execute("UPDATE install SET role_prefix = %s, install_id = gen_random_uuid()", [prefix])
    migrate(database.owner, database.settings)
    admin.execute(f"ALTER ROLE {prefix}_api BYPASSRLS")
    with pytest.raises(SetupProblem, match=r"ALTER ROLE .* NOSUPERUSER NOBYPASSRLS NOCREATEDB"):
        migrate(database.owner, database.settings)
    admin.execute(f"DROP OWNED BY {prefix}_api; DROP OWNED BY {prefix}_worker")
    with psycopg.connect(database.superuser, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {prefix}_api, {prefix}_worker; DROP ROLE {prefix}_api, {prefix}_worker")


def test_passwords_of_several_installs_live_in_one_file(tmp_path: Path):
    settings = Settings(data=tmp_path / "data", keys=tmp_path / "keys")
    first = passwords.known_or_new(settings, "install a", "worker")
    second = passwords.known_or_new(settings, "install b", "worker")
    assert first != second
    assert passwords.known_or_new(settings, "install a", "worker") == first
    assert passwords.known(settings, "install c", "worker") is None
