"""Lines: many questions at once on few connections, each in a transaction of its own, and what becomes of failures."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from portfolio_scheduler.db import lines
from portfolio_scheduler.db.lines import WAITING, Lines, Prepared, opened_lines
from portfolio_scheduler.db.pool import counted_statements
from portfolio_scheduler.errors import DatabaseUnavailable
from tests.conftest import Database

ECHO = Prepared("echo", "SELECT $1::text")
INNER = Prepared("inner_one", "SELECT 'of another statement'::text")
OUTER = Prepared("outer_one", "SELECT name FROM pg_prepared_statements WHERE name = $1")
SLOW = Prepared("slow", "SELECT pg_sleep($1::float8)::text")
BROKEN = Prepared("broken", "SELECT no_such_thing")
DIVIDED = Prepared("divided", "SELECT (1 / $1::int)::text")
SAID = Prepared("said", "SELECT set_config('app.user_id', $1, true)")
HEARD = Prepared("heard", "SELECT coalesce(current_setting('app.user_id', true), '')")
BACKEND = Prepared("backend", "SELECT pg_backend_pid()::text")


@pytest.fixture
async def one(database: Database) -> AsyncIterator[Lines]:
    """A single line, on which everything queues."""
    lines = Lines(database.api, name="reads", size=1)
    yield lines
    await lines.close()


async def ask(through: Lines, *needed: Prepared, given: str | None = None) -> str:
    values = () if given is None else (given.encode(),)
    found = (await through.ask(needed, values)).get_value(0, 0)
    assert found is not None
    return found.decode()


async def test_answers_belong_to_their_questions(database: Database) -> None:
    async with opened_lines(database.api, name="reads") as several:
        words = [f"{number} ₹ \\ ' \"" for number in range(100)]
        assert await asyncio.gather(*(ask(several, ECHO, given=word) for word in words)) == words


async def test_what_a_statement_needs_is_prepared_once_and_on_the_same_way(one: Lines) -> None:
    with counted_statements() as statements:
        assert await ask(one, INNER, OUTER, given="inner_one") == "inner_one"
        assert await ask(one, INNER, OUTER, given="inner_one") == "inner_one"
    assert statements.texts == ["PREPARE inner_one", "PREPARE outer_one", OUTER.text, OUTER.text]


async def test_an_answer_larger_than_every_buffer_arrives_whole(one: Lines) -> None:
    word = "₹" * 3_000_000
    assert await asyncio.gather(*(ask(one, ECHO, given=word) for _ in range(3))) == [word] * 3


async def test_what_one_question_says_of_itself_does_not_reach_the_next(one: Lines) -> None:
    said, heard = await asyncio.gather(ask(one, SAID, given="somebody"), ask(one, HEARD))
    assert (said, heard) == ("somebody", "")


async def test_a_question_that_fails_fails_alone(one: Lines) -> None:
    asked = [ask(one, DIVIDED, given=number) for number in ("1", "0", "1")]
    first, second, third = await asyncio.gather(*asked, return_exceptions=True)
    assert (first, third) == ("1", "1")
    assert isinstance(second, psycopg.errors.DivisionByZero)


async def test_what_could_not_be_prepared_is_tried_again(one: Lines) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedColumn):
            await ask(one, BROKEN)
    assert await ask(one, ECHO, given="still there") == "still there"


async def test_whoever_goes_away_takes_nobodys_answer(one: Lines) -> None:
    gone = asyncio.create_task(ask(one, SLOW, given="0.2"))
    await asyncio.sleep(0.05)
    gone.cancel()
    assert await asyncio.gather(*(ask(one, ECHO, given=word) for word in ("a", "b"))) == ["a", "b"]
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_lost_connection_costs_what_was_on_its_way_and_nothing_else(
    one: Lines, admin: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    backend = await ask(one, BACKEND)
    asked = [asyncio.create_task(ask(one, SLOW, given="30")), asyncio.create_task(ask(one, ECHO, given="behind it"))]
    await asyncio.sleep(0.05)
    admin.execute("SELECT pg_terminate_backend(%s)", (int(backend),))
    for failed in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(failed, psycopg.OperationalError)
    assert await ask(one, ECHO, given="anew") == "anew"
    assert await ask(one, BACKEND) != backend


async def test_a_connection_that_broke_while_nobody_asked_is_not_asked(
    one: Lines, admin: "psycopg.Connection[tuple[object, ...]]"
) -> None:
    admin.execute("SELECT pg_terminate_backend(%s)", (int(await ask(one, BACKEND)),))
    await asyncio.sleep(0.1)
    assert await ask(one, ECHO, given="anew") == "anew"


async def test_a_server_that_says_nothing_is_not_waited_for_for_ever(
    one: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = await ask(one, BACKEND)
    monkeypatch.setattr(lines, "ANSWER_SECONDS", 0.1)
    with pytest.raises(DatabaseUnavailable, match="no answer"):
        await ask(one, SLOW, given="30")
    monkeypatch.undo()
    assert await ask(one, BACKEND) != backend


async def test_whoever_waits_for_a_connection_waits_no_longer_than_the_first(
    one: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the machine of the database is gone and refuses nothing."""

    async def never(_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(lines._Line, "_connected", never)
    monkeypatch.setattr(lines, "OPEN_SECONDS", 0.3)
    async with asyncio.timeout(3):
        found = await asyncio.gather(*(ask(one, BACKEND) for _ in range(20)), return_exceptions=True)
    assert {type(each) for each in found} == {DatabaseUnavailable}


async def test_a_slow_statement_costs_no_answer_behind_it(one: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = await ask(one, BACKEND)
    asked = [asyncio.create_task(ask(one, SLOW, given=given)) for given in ("0.15", "0.15", "0.15", "0")]
    monkeypatch.setattr(lines, "ANSWER_SECONDS", 0.4)
    late = asyncio.create_task(ask(one, BACKEND))
    found = await asyncio.gather(*asked, late, return_exceptions=True)
    assert isinstance(found[-1], DatabaseUnavailable), "it waited too long"
    monkeypatch.undo()
    assert await ask(one, BACKEND) == backend, "and the connection is the same"


async def test_where_too_many_wait_already_more_are_refused(one: Lines) -> None:
    await ask(one, BACKEND)
    asked = [asyncio.create_task(ask(one, SLOW, given="0.3"))]
    asked += [asyncio.create_task(ask(one, BACKEND)) for _ in range(WAITING - 1)]
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable, match="try again"):
        await ask(one, BACKEND)
    await asyncio.gather(*asked)
    await ask(one, BACKEND)


async def test_without_a_database_the_reason_is_told(database: Database) -> None:
    async with opened_lines(psycopg.conninfo.make_conninfo(database.api, port=1), name="reads") as several:
        with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
            await ask(several, BACKEND)


async def test_each_question_sees_what_was_committed_before_it(database: Database, one: Lines) -> None:
    count = Prepared("count_writes", "SELECT count(*)::text FROM price_writes WHERE writes > 1000")
    assert await ask(one, count) == "0"
    with psycopg.connect(database.superuser) as connection:
        connection.execute("UPDATE price_writes SET writes = 1001 WHERE shard = 1")
    assert await ask(one, count) == "1"
