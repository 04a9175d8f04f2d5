"""Connections, transactions and the counting of statements."""

import asyncio

import psycopg
import pytest

from portfolio_scheduler.db.pool import (
    Pool,
    counted_statements,
    is_worth_retrying,
    make_pool,
    opened,
    savepoint,
    transaction,
)
from portfolio_scheduler.errors import DatabaseUnavailable, SetupProblem
from tests.conftest import Database

ADD_USER = "INSERT INTO users (name, created_at) VALUES (%s, now())"


async def _names(pool: Pool) -> list[str]:
    async with transaction(pool) as tx:
        rows = await (await tx.execute("SELECT name FROM users ORDER BY name")).fetchall()
    return [name for (name,) in rows]


async def test_a_transaction_commits_at_its_end(pool: Pool):
    async with transaction(pool) as tx:
        await tx.execute(ADD_USER, ["Asha"])
    assert await _names(pool) == ["Asha"]


async def test_a_transaction_that_raises_leaves_nothing(pool: Pool):
    async def fail() -> None:
        async with transaction(pool) as tx:
            await tx.execute(ADD_USER, ["Asha"])
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        await fail()
    assert await _names(pool) == []


async def test_a_cancelled_transaction_leaves_nothing(pool: Pool):
    inside = asyncio.Event()

    async def wait_inside() -> None:
        async with transaction(pool) as tx:
            await tx.execute(ADD_USER, ["Asha"])
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(wait_inside())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _names(pool) == []


async def test_a_savepoint_fails_alone(pool: Pool):
    async with transaction(pool) as tx:
        await tx.execute(ADD_USER, ["Asha"])
        with pytest.raises(psycopg.errors.UniqueViolation):
            async with savepoint(tx):
                await tx.execute(ADD_USER, ["Asha"])
        await tx.execute(ADD_USER, ["Ravi"])
    assert await _names(pool) == ["Asha", "Ravi"]


async def test_sessions_have_their_role_s_limits(pool: Pool, api_pool: Pool):
    wanted = ("TimeZone", "jit", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

    async def found(of: Pool) -> list[str]:
        async with transaction(of) as tx:
            return [(await (await tx.execute(f"SHOW {name}")).fetchone())[0] for name in wanted]

    assert await found(pool) == ["UTC", "off", "1min", "5s", "30s"]
    assert await found(api_pool) == ["UTC", "off", "5s", "2s", "10s"]


async def test_statements_are_counted_with_begin_and_commit(pool: Pool):
    with counted_statements() as statements:
        async with transaction(pool) as tx:
            await tx.execute("SELECT 1")
            async with tx.cursor() as cursor:
                await cursor.executemany(ADD_USER, [["Asha"], ["Ravi"]])
                await cursor.execute("SELECT 2")
            async with tx.cursor(name="large") as cursor:
                await cursor.execute("SELECT 3")
    assert statements.texts == ["BEGIN", "SELECT 1", ADD_USER, ADD_USER, "SELECT 2", "SELECT 3", "COMMIT"]


async def test_statements_of_other_tasks_are_not_counted(pool: Pool):
    async def counted(times: int) -> int:
        with counted_statements() as statements:
            for _ in range(times):
                async with transaction(pool) as tx:
                    await tx.execute("SELECT 1")
        return len(statements)

    assert await asyncio.gather(counted(1), counted(2), counted(3)) == [3, 6, 9]


async def test_an_unreachable_server_is_named_without_its_password():
    with pytest.raises(DatabaseUnavailable) as problem:
        async with opened(make_pool("postgresql://asha:very-secret@127.0.0.1:1/kept", "worker")):
            pass
    assert "kept on 127.0.0.1, port 1, cannot be reached" in problem.value.message
    assert "very-secret" not in problem.value.message
    assert problem.value.exit_code == 2


async def test_a_wrong_password_is_said_to_be_one(database: Database):
    with pytest.raises(SetupProblem, match="refuses the password"):
        async with opened(make_pool(database.worker.replace("password=", "password=x"), "worker")):
            pass


async def test_a_pool_without_a_free_connection_says_so(database: Database):
    narrow = make_pool(database.worker, "worker", max_size=1, wait_seconds=0.2)
    async with opened(narrow) as pool, transaction(pool):
        with pytest.raises(DatabaseUnavailable, match=r"No database connection became free within 0.2 s"):
            await _names(pool)


async def test_what_is_worth_retrying(pool: Pool):
    assert is_worth_retrying(psycopg.errors.DeadlockDetected())
    assert is_worth_retrying(psycopg.errors.SerializationFailure())
    assert is_worth_retrying(psycopg.OperationalError("server closed the connection unexpectedly"))
    assert not is_worth_retrying(psycopg.errors.UniqueViolation())


async def test_a_lost_connection_is_replaced(database: Database, admin: psycopg.Connection[tuple[object, ...]]):
    async def backend(of: Pool) -> int:
        async with transaction(of) as tx:
            row = await (await tx.execute("SELECT pg_backend_pid()")).fetchone()
        assert row is not None
        return int(row[0])

    async with opened(make_pool(database.worker, "worker", max_size=1)) as pool:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [await backend(pool)])
        with pytest.raises(psycopg.OperationalError) as lost:
            await backend(pool)
        assert is_worth_retrying(lost.value)
        assert await backend(pool) > 0
