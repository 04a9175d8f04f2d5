"""Facts and finished batches cannot be changed by anybody; and the checker that says so is checked itself."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors
from psycopg.sql import SQL, Identifier

from portfolio_scheduler.db.roles import Relation, find_relations
from tests.conftest import Database

REFUSED = "PS001"
ATTEMPTS = {
    "UPDATE": "UPDATE {table} SET {column} = {column}",
    "DELETE": "DELETE FROM {table}",
    "TRUNCATE": "TRUNCATE {table} CASCADE",
}


def sessions(database: Database) -> Iterator[tuple[str, psycopg.Connection[tuple[object, ...]]]]:
    """Everybody who might try, the superuser also with ordinary triggers switched off."""
    for role in ("superuser", "owner", "worker", "api"):
        with psycopg.connect(getattr(database, role)) as connection:
            yield role, connection
    with psycopg.connect(database.superuser, options="-c session_replication_role=replica") as connection:
        yield "superuser as a replica", connection


def not_refused(connection: psycopg.Connection[tuple[object, ...]], relation: Relation) -> list[str]:
    """Which of UPDATE, DELETE and TRUNCATE this session may do to the table. All are rolled back."""
    done = []
    for verb, statement in ATTEMPTS.items():
        query = SQL(statement).format(table=Identifier(relation.name), column=Identifier(relation.columns[0]))
        try:
            connection.execute(query)
        except errors.InsufficientPrivilege:
            pass
        except psycopg.Error as error:
            if error.sqlstate != REFUSED:
                raise
        else:
            done.append(verb)
        finally:
            connection.rollback()
    return done


def facts(database: Database) -> list[Relation]:
    with psycopg.connect(database.owner) as connection:
        return [relation for relation in find_relations(connection) if relation.kind in {"fact", "log"}]


def breaches(database: Database) -> dict[tuple[str, str], list[str]]:
    found = {
        (relation.name, who): not_refused(connection, relation)
        for who, connection in sessions(database)
        for relation in facts(database)
    }
    return {where: verbs for where, verbs in found.items() if verbs}


def test_nobody_changes_a_fact(database: Database):
    assert len(facts(database)) >= 8
    assert breaches(database) == {}


def test_an_unguarded_twin_is_caught(database: Database):
    with psycopg.connect(database.owner) as connection:
        connection.execute("CREATE TABLE twin (LIKE order_history INCLUDING ALL)")
        connection.execute("COMMENT ON TABLE twin IS 'fact: not guarded, by mistake'")
    everything = ["UPDATE", "DELETE", "TRUNCATE"]
    assert breaches(database) == {("twin", who): everything for who in ("superuser", "owner", "superuser as a replica")}


def test_a_guard_without_enable_always_is_caught(database: Database):
    with psycopg.connect(database.owner) as connection:
        connection.execute("ALTER TABLE order_fills ENABLE TRIGGER USER")
    assert set(breaches(database)) == {("order_fills", "superuser as a replica")}


def test_rows_of_a_fact_are_refused_through_a_partition_too(database: Database):
    with psycopg.connect(database.owner) as connection:
        connection.execute("CREATE TABLE kept (n int) PARTITION BY RANGE (n)")
        connection.execute("CREATE TABLE kept_1 PARTITION OF kept FOR VALUES FROM (0) TO (10)")
        connection.execute("SELECT guard_fact('kept')")
        connection.execute("INSERT INTO kept VALUES (1)")
        connection.commit()
        with pytest.raises(psycopg.Error, match="facts are only added to") as refused:
            connection.execute("UPDATE kept_1 SET n = 2")
        assert refused.value.sqlstate == REFUSED


def test_truncating_what_facts_refer_to_is_refused(database: Database):
    with psycopg.connect(database.superuser) as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute("TRUNCATE users CASCADE")
    assert refused.value.sqlstate == REFUSED


def test_the_install_s_row_stays(database: Database):
    with psycopg.connect(database.superuser) as connection:
        install = next(relation for relation in find_relations(connection) if relation.name == "install")
        assert not_refused(connection, install) == []
        with pytest.raises(errors.UniqueViolation):
            connection.execute("INSERT INTO install (role_prefix) VALUES ('other')")


# ── batches ─────────────────────────────────────────────────────────────────────────────────────────────────────────

BATCH = """
WITH u AS (INSERT INTO users (name, created_at) VALUES ('Asha', now()) RETURNING id),
     a AS (INSERT INTO broker_accounts (user_id, broker, label, login, sealed_credentials, planned_through, created_at)
           SELECT id, 'GROWW', 'main', 'totp', '', now(), now() FROM u RETURNING id)
INSERT INTO sync_batches (account_id, trigger, status, queued_at) SELECT id, 'manual', 'queued', now() FROM a
"""
FINISH = "UPDATE sync_batches SET status = %s, finished_at = now()"


def test_an_open_batch_moves_on(database: Database):
    with psycopg.connect(database.worker) as connection:
        connection.execute(BATCH)
        connection.execute("UPDATE sync_batches SET status = 'running', started_at = now()")
        assert connection.execute(FINISH, ["completed"]).rowcount == 1


@pytest.mark.parametrize("status", ["completed", "partial", "failed"])
def test_a_finished_batch_is_frozen_for_everybody(database: Database, status: str):
    with psycopg.connect(database.worker) as connection:
        connection.execute(BATCH)
        connection.execute(FINISH, [status])
    for who, connection in sessions(database):
        for attempt in (
            "UPDATE sync_batches SET error_text = 'x'",
            "DELETE FROM sync_batches",
            "TRUNCATE sync_batches",
        ):
            if who == "owner" and attempt.startswith("UPDATE"):
                assert connection.execute(attempt).rowcount == 0  # row-level security shows it none
                continue
            with pytest.raises(psycopg.Error) as refused:
                connection.execute(attempt)
            refusals = {REFUSED, "42501"} | ({"0A000"} if attempt.startswith("TRUNCATE") else set())
            assert refused.value.sqlstate in refusals, (who, attempt)
            connection.rollback()


def test_an_open_batch_is_not_deleted_either(database: Database):
    with psycopg.connect(database.superuser) as connection:
        connection.execute(BATCH)
        with pytest.raises(psycopg.Error, match="batches are kept"):
            connection.execute("DELETE FROM sync_batches")
