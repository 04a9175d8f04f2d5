"""The schema's own rules: no index twice, no cascade into history, no unique key that tells of another's values."""

import psycopg
import pytest

from portfolio_scheduler.sealing import PLACES
from tests.conftest import Database

INDEXES = """
SELECT c.relname, i.relname, pg_get_expr(x.indpred, x.indrelid), x.indisunique,
    array(SELECT a.attname FROM unnest(x.indkey) WITH ORDINALITY k (attnum, n)
          JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum ORDER BY k.n)
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'procrastinate%%'
"""
# Shared by everybody, or owned by nobody: these have no owner to lead their keys with.
SHARED = {
    "users",
    "install",
    "alembic_version",
    "closing_prices",
    "price_writes",
    "instruments",
    "instrument_files",
    "instrument_lines",
    "instrument_loading",
    "price_lines",
    "market_days",
    "corporate_actions",
}
# Counters of doors that stand before any login.
SHARED |= {"attempts"}
# Ids that we make: nobody can choose one to find out whether somebody else has it.
IDENTIFIERS = {
    (table, ("id",))
    for table in (
        "broker_accounts",
        "sync_batches",
        "sessions",
        "api_tokens",
        "invitations",
        "viewer_grants",
        "account_requests",
        "access_log",
    )
}

Index = tuple[str, str, str | None, bool, list[str]]


def indexes(conninfo: str) -> list[Index]:
    with psycopg.connect(conninfo) as connection:
        return [tuple(row) for row in connection.execute(INDEXES).fetchall()]  # type: ignore[misc]


def redundant(found: list[Index]) -> list[tuple[str, str]]:
    """Indexes whose columns begin another index of the same table and rows."""
    return [
        (name, other)
        for table, name, predicate, unique, columns in found
        for other_table, other, other_predicate, _, other_columns in found
        if (table, predicate) == (other_table, other_predicate)
        and name != other
        and not unique
        and other_columns[: len(columns)] == columns
    ]


def without_owner(found: list[Index]) -> list[str]:
    return [
        name
        for table, name, _, unique, columns in found
        if unique
        and table not in SHARED
        and (table, tuple(columns)) not in IDENTIFIERS
        and columns[0] not in {"account_id", "user_id"}
    ]


def test_no_index_is_there_twice(database: Database) -> None:
    assert redundant(indexes(database.owner)) == []


def test_every_unique_key_of_an_owners_table_begins_with_the_owner(database: Database) -> None:
    """A global unique key tells one user, by a refusal, that another one has the value."""
    assert without_owner(indexes(database.owner)) == []


def test_no_foreign_key_cascades(database: Database) -> None:
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'f' "
            "AND connamespace = 'public'::regnamespace "
            "AND (confdeltype NOT IN ('a', 'r') OR confupdtype NOT IN ('a', 'r')) "
            "AND conrelid::regclass::text NOT LIKE 'procrastinate%'"
        ).fetchall()
    assert rows == []


def test_every_fact_names_its_batch_by_a_foreign_key(database: Database) -> None:
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(
            "SELECT c.relname FROM pg_class c WHERE obj_description(c.oid, 'pg_class') LIKE 'fact: %' AND NOT EXISTS "
            "(SELECT FROM pg_constraint f WHERE f.conrelid = c.oid AND f.contype = 'f' "
            "AND f.confrelid = 'sync_batches'::regclass)"
        ).fetchall()
    assert rows == []


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("CREATE INDEX twin ON order_history (account_id)", redundant),
        ("CREATE UNIQUE INDEX twin ON order_history (broker_order_id)", without_owner),
    ],
)
def test_a_broken_twin_is_caught(database: Database, statement: str, check: object) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute("DROP INDEX IF EXISTS twin")
        connection.execute(statement)  # type: ignore[arg-type]
    assert any("twin" in str(finding) for finding in check(indexes(database.owner)))  # type: ignore[operator]


def test_every_sealed_column_is_rewrapped(database: Database) -> None:
    """A column that `keys rewrap` does not know would keep its secrets under a key that is about to be retired."""
    known = {(place.table, place.column) for place in PLACES}
    with psycopg.connect(database.owner) as connection:
        found = connection.execute(
            "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname LIKE 'sealed\\_%'"
        ).fetchall()
    assert set(found) == known, "name it in sealing.PLACES"
