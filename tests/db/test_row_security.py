"""Row-level security: what one user's transaction reaches of another's, with no filter of ours in between."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from msgspec import Struct
from psycopg import sql

from portfolio_scheduler.db.pool import Pool, counted_statements, transaction
from portfolio_scheduler.db.viewers import Door, Entry, as_viewer, at_the_door, look_at, open_door, read
from portfolio_scheduler.errors import LoginRequired
from tests.conftest import Database

NOW = datetime(2026, 5, 4, 10, 30, tzinfo=UTC)


class Person(Struct, frozen=True):
    user: UUID
    account: UUID
    session: UUID

    def entry(self, at: datetime = NOW) -> Entry:
        return Entry(at=at, session_id=self.session)


def a_person(conninfo: str, name: str) -> Person:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            """
            WITH u AS (INSERT INTO users (name, created_at) VALUES (%(name)s, %(now)s) RETURNING id),
                a AS (INSERT INTO broker_accounts (user_id, broker, label, login, sealed_credentials, planned_through,
                      created_at) SELECT id, 'groww', 'main', 'totp', '', %(now)s, %(now)s FROM u RETURNING id),
                s AS (INSERT INTO sessions (user_id, begun_at, authenticated_at, refreshed_at, expires_at, idle_seconds,
                      remembered, second_factor, device_digest, refresh_digest, address, agent)
                      SELECT id, %(now)s, %(now)s, %(now)s, %(now)s + interval '12 h', 43200, false, false,
                          '', '', '', '' FROM u RETURNING id)
            SELECT u.id, a.id, s.id FROM u, a, s
            """,
            {"name": name, "now": NOW},
        ).fetchone()
        assert row is not None
        connection.execute("INSERT INTO account_heads (account_id) VALUES (%s)", [row[1]])
        connection.execute(
            "INSERT INTO sync_batches (account_id, trigger, status, queued_at) VALUES (%s, 'manual', 'queued', %s)",
            [row[1], NOW],
        )
    return Person(*row)


@pytest.fixture
def asha(database: Database) -> Person:
    return a_person(database.worker, "asha")


@pytest.fixture
def ravi(database: Database) -> Person:
    return a_person(database.worker, "ravi")


async def accounts_seen(pool: Pool, entry: Entry) -> set[UUID]:
    _, rows = await read(pool, entry, "SELECT id FROM broker_accounts", {})
    return {row[0] for row in rows}


def secured(database: Database) -> Sequence[str]:
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity ORDER BY relname"
        ).fetchall()
    return [name for (name,) in rows]


async def test_a_user_sees_their_own_account_and_nobody_elses(api_pool: Pool, asha: Person, ravi: Person):
    assert await accounts_seen(api_pool, asha.entry()) == {asha.account}
    assert await accounts_seen(api_pool, ravi.entry()) == {ravi.account}


async def test_what_a_read_said_of_its_viewer_does_not_reach_the_next_one(api_pool: Pool, asha: Person):
    """On the same connection, with nobody said to ask."""
    await accounts_seen(api_pool, asha.entry())
    async with transaction(api_pool) as tx:
        rows = await (await tx.execute("SELECT id FROM broker_accounts")).fetchall()
    assert rows == []


async def test_a_read_is_two_statements_in_one_round_trip(api_pool: Pool, asha: Person):
    with counted_statements() as statements:
        await accounts_seen(api_pool, asha.entry())
    assert len(statements) == 2


@pytest.mark.parametrize("why", ["ended", "expired", "idle", "disabled", "unknown"])
async def test_a_login_that_counts_no_more_is_nobody(database: Database, api_pool: Pool, asha: Person, why: str):
    changes = {
        "ended": f"UPDATE sessions SET ended_at = '{NOW}'",
        "expired": f"UPDATE sessions SET expires_at = '{NOW}'",
        "idle": "UPDATE sessions SET idle_seconds = 60, refreshed_at = refreshed_at - interval '60 s'",
        "disabled": f"UPDATE users SET disabled_at = '{NOW}'",
        "unknown": "UPDATE sessions SET id = gen_random_uuid()",
    }
    with psycopg.connect(database.worker) as connection:
        connection.execute(changes[why])  # type: ignore[call-overload]
    with pytest.raises(LoginRequired):
        await accounts_seen(api_pool, asha.entry())
    with pytest.raises(LoginRequired):
        async with as_viewer(api_pool, asha.entry()):
            pytest.fail("a transaction for nobody was opened")


async def test_every_table_with_an_owner_is_secured_by_force(database: Database):
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(
            """SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
                   AND (a.attname IN ('account_id', 'user_id', 'owner_id', 'actor_id') OR c.relname = 'users')
                   AND c.relname NOT LIKE 'procrastinate%' ORDER BY c.relname"""
        ).fetchall()
    assert {name for (name,) in rows} <= set(secured(database))
    assert {"order_history", "sync_batches", "portfolio_snapshots", "sessions"} <= set(secured(database))


async def test_nobody_and_the_owner_of_the_tables_see_no_row(database: Database, asha: Person, ravi: Person):
    for role in ("api", "owner"):
        with psycopg.connect(getattr(database, role)) as connection:
            for table in ("broker_accounts", "sync_batches", "account_heads", "sessions", "users"):
                query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
                assert connection.execute(query).fetchone() == (0,), (role, table)


async def test_without_force_the_owner_would_see_them(database: Database, asha: Person):
    with psycopg.connect(database.owner) as connection:
        connection.execute("ALTER TABLE broker_accounts NO FORCE ROW LEVEL SECURITY")
        assert connection.execute("SELECT count(*) FROM broker_accounts").fetchone() == (1,)


IN_ANOTHERS_NAME = {
    "a batch": """INSERT INTO sync_batches (account_id, trigger, status, queued_at)
        VALUES (%(account)s, 'manual', 'queued', now())""",
    "a head": "INSERT INTO account_heads (account_id) VALUES (%(account)s)",
    "a request": """INSERT INTO account_requests (user_id, account_id, kind, created_at)
        VALUES (%(user)s, %(account)s, 'test', now())""",
    "an account": """INSERT INTO broker_accounts (user_id, broker, label, login, sealed_credentials, planned_through,
        created_at) VALUES (%(user)s, 'groww', 'mine', 'totp', '', now(), now())""",
    "a token": """INSERT INTO api_tokens (user_id, name, digest, scopes, created_at, expires_at)
        VALUES (%(user)s, 'x', '', '{}', now(), now())""",
    "a grant": """INSERT INTO viewer_grants (owner_id, viewer_id, owner_name, viewer_name, granted_at, expires_at)
        SELECT %(user)s, app_user(), '', '', now(), now()""",
}


@pytest.mark.parametrize("what", IN_ANOTHERS_NAME)
async def test_nothing_is_written_in_anothers_name(api_pool: Pool, asha: Person, ravi: Person, what: str):
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        async with as_viewer(api_pool, asha.entry()) as (tx, _):
            await tx.execute(IN_ANOTHERS_NAME[what], {"user": ravi.user, "account": ravi.account})  # type: ignore[call-overload]


async def test_anothers_rows_are_not_changed(api_pool: Pool, asha: Person, ravi: Person):
    async with as_viewer(api_pool, asha.entry()) as (tx, _):
        for statement in (
            "UPDATE sync_batches SET wanted = '{holdings}' WHERE account_id = %(account)s",
            "UPDATE users SET role = 'admin' WHERE id = %(user)s",
            "UPDATE sessions SET ended_at = now() WHERE user_id = %(user)s",
            "DELETE FROM sessions WHERE user_id = %(user)s",
        ):
            done = await tx.execute(statement, {"user": ravi.user, "account": ravi.account})
            assert done.rowcount == 0, statement


async def test_nobody_makes_themselves_an_admin(api_pool: Pool, asha: Person):
    async with as_viewer(api_pool, asha.entry()) as (tx, _):
        assert (await tx.execute("UPDATE users SET role = 'admin'")).rowcount == 0


async def test_a_grant_shows_the_accounts_until_it_expires_and_lets_nothing_be_written(
    api_pool: Pool, asha: Person, ravi: Person
):
    until = NOW + timedelta(days=1)
    async with as_viewer(api_pool, asha.entry()) as (tx, _):
        await tx.execute(
            "INSERT INTO viewer_grants (owner_id, viewer_id, owner_name, viewer_name, granted_at, expires_at) "
            "VALUES (%s, %s, 'asha', 'ravi', %s, %s)",
            (asha.user, ravi.user, NOW, until),
        )
    assert await accounts_seen(api_pool, ravi.entry()) == {asha.account, ravi.account}
    assert await accounts_seen(api_pool, asha.entry()) == {asha.account}
    _, batches = await read(api_pool, ravi.entry(), "SELECT account_id FROM sync_batches", {})
    assert {row[0] for row in batches} == {asha.account, ravi.account}
    async with as_viewer(api_pool, ravi.entry()) as (tx, _):
        done = await tx.execute("UPDATE sync_batches SET wanted = '{orders}' WHERE account_id = %s", (asha.account,))
        assert done.rowcount == 0
    async with as_viewer(api_pool, asha.entry()) as (tx, _):
        await tx.execute("UPDATE viewer_grants SET expires_at = %s", (NOW,))
    assert await accounts_seen(api_pool, ravi.entry()) == {ravi.account}


OWN_LOGIN = "UPDATE users SET name = name"
REACHED: dict[Door, dict[str, int]] = {  # of two people's rows, by a user who is no admin, whatever a route opens
    "admin": {"broker_accounts": 1, "sync_batches": 1, "users": 1, "invitations": 0, "sessions": 1},
    "room": {"broker_accounts": 1, "sync_batches": 1, "users": 1, "invitations": 0, "account_requests": 2},
    "identity": {"broker_accounts": 1, "sync_batches": 1, "invitations": 0},
}


@pytest.mark.parametrize("door", REACHED)
async def test_a_door_opens_no_more_for_a_user_than_it_is_for(
    database: Database, api_pool: Pool, asha: Person, ravi: Person, door: Door
):
    with psycopg.connect(database.worker) as connection:
        for who in (asha, ravi):
            connection.execute(IN_ANOTHERS_NAME["a request"], {"user": who.user, "account": who.account})  # type: ignore[call-overload]
    async with as_viewer(api_pool, asha.entry()) as (tx, _):
        await open_door(tx, door)
        for table, count in REACHED[door].items():
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            assert await (await tx.execute(query)).fetchone() == (count,), table
        assert (await tx.execute(OWN_LOGIN)).rowcount == (1 if door == "identity" else 0)
        for statement in ("UPDATE sessions SET ended_at = now()", "DELETE FROM sessions"):
            assert (await tx.execute(statement)).rowcount == 1, statement


async def test_only_an_admins_own_login_reaches_others(database: Database, api_pool: Pool, asha: Person, ravi: Person):
    async with as_viewer(api_pool, asha.entry()) as (tx, _):
        await look_at(tx, ravi.user)
        assert await (await tx.execute("SELECT count(*) FROM broker_accounts")).fetchone() == (0,)
    with psycopg.connect(database.worker) as connection:
        connection.execute("UPDATE users SET role = 'admin' WHERE id = %s", (asha.user,))
    async with as_viewer(api_pool, asha.entry()) as (tx, _):
        await open_door(tx, "admin")
        assert await (await tx.execute("SELECT count(*) FROM broker_accounts")).fetchone() == (2,)
        await look_at(tx, ravi.user)
        assert await (await tx.execute("SELECT id FROM broker_accounts")).fetchall() == [(ravi.account,)]


async def test_at_the_door_no_account_is_seen(api_pool: Pool, asha: Person):
    async with at_the_door(api_pool, NOW) as tx:
        assert (await (await tx.execute("SELECT count(*) FROM users")).fetchone()) == (1,)
        assert (await (await tx.execute("SELECT count(*) FROM broker_accounts")).fetchone()) == (0,)
        assert (await (await tx.execute("SELECT count(*) FROM sync_batches")).fetchone()) == (0,)
