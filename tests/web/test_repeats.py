"""A read that was asked before is answered before the framework: the same answer, and everything is asked anew that may
have changed since."""

import asyncio
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest

from portfolio_scheduler.db.gated import Gated
from portfolio_scheduler.db.lines import Lines
from portfolio_scheduler.db.viewers import Entry, read_unless
from portfolio_scheduler.errors import DatabaseUnavailable
from portfolio_scheduler.web import front
from portfolio_scheduler.web.pace import Pace
from portfolio_scheduler.web.repeats import LONGEST, REMEMBERED, Repeats
from tests.web.conftest import Site, problem_of
from tests.web.test_reads import READS, ROOT, asha_with, share


class Counted:
    """The framework, and how often it was asked."""

    def __init__(self, site: Site) -> None:
        self.front = site.web.asgi_handler
        assert isinstance(self.front, front.Front)
        self.framework, self.times = self.front._framework, 0
        self.front._framework = self

    async def __call__(self, *args: Any) -> None:
        self.times += 1
        await self.framework(*args)

    def undo(self) -> None:
        self.front._framework = self.framework


@pytest.fixture
async def framework(site: Site) -> Any:
    counted = Counted(site)
    yield counted
    counted.undo()


def shown(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    return answer.status_code, answer.content, dict(answer.headers)


async def test_the_second_answer_is_the_first_to_the_last_header(site: Site, framework: Counted) -> None:
    asha, account = await asha_with(site)
    paths = [f"{ROOT}/{name}/{account.id}" for name in READS] + [f"{ROOT}/household/summary"]
    for path in paths:
        first = await asha.get(path)
        etag = {"If-None-Match": first.headers["etag"]}
        unchanged = await asha.get(f"{path}?", headers=etag | {"Accept": "anything"})  # never asked like this
        asked = framework.times
        assert shown(await asha.get(path)) == shown(first), path
        assert shown(await asha.get(path, headers=etag)) == shown(unchanged), path
        assert framework.times == asked, path
        assert unchanged.status_code == 304


async def test_every_viewer_is_asked_for_anew(site: Site, framework: Counted) -> None:
    asha, account = await asha_with(site)
    ravi, deepa = site.person("ravi"), site.person("deepa")
    await share(site, asha, ravi)
    path = f"{ROOT}/holdings/{account.id}"
    own = await asha.get(path)
    asked = framework.times
    assert (await ravi.get(path)).json() == own.json()
    assert framework.times == asked
    absent = problem_of(await deepa.get(path))
    assert (absent["status"], absent["detail"]) == (404, "There is no such account.")
    assert problem_of(await site.nobody.get(path))["status"] == 401
    assert problem_of(await asha.get(path, headers={"Authorization": "Bearer nonsense"}))["status"] == 401
    await asha.post("/auth/logout")
    assert problem_of(await asha.get(path))["status"] == 401
    site.stage.clock.advance(timedelta(days=400).total_seconds())
    assert problem_of(await site.person("ravi").get(path))["status"] == 404


async def test_what_is_about_a_moment_is_found_out_anew_when_it_has_passed(site: Site, framework: Counted) -> None:
    asha, account = await asha_with(site)
    path = f"{ROOT}/coverage/{account.id}"
    before = (await asha.get(path)).json()["items"][0]["trading_on"]
    site.stage.at(date(2026, 4, 23), 10)
    asked = framework.times
    assert (await site.person("asha").get(path)).json()["items"][0]["trading_on"] > before
    assert framework.times == asked + 1


async def test_a_look_at_somebody_is_recorded_each_time(site: Site) -> None:
    asha, account = await asha_with(site)
    admin = site.person("root", role="admin", second_factor=True)
    path = f"{ROOT}/holdings/{account.id}"
    await asha.get(path)
    for _ in range(3):
        assert (await admin.get(path, params={"userId": str(asha.user)})).status_code == 200
    assert (await admin.get(path)).status_code == 404
    log = (await asha.get("/auth/access-log")).json()["items"]
    assert [entry["kind"] for entry in log].count("admin_looked") == 3


async def test_an_address_that_names_a_person_is_the_frameworks_however_it_is_written(
    site: Site, framework: Counted
) -> None:
    asha, account = await asha_with(site)
    path = f"{ROOT}/holdings/{account.id}?%75serId={asha.user}"
    for times in (1, 2):
        assert (await asha.get(path)).status_code == 200
        assert framework.times >= times
    assert (await site.person("deepa").get(path)).status_code == 404


@pytest.mark.parametrize("headers", [{"Host": "elsewhere.example"}, {"Host": "localhost:80/x"}, {"Accept": "text/csv"}])
async def test_another_question_at_the_same_address_is_another_question(
    site: Site, framework: Counted, headers: dict[str, str]
) -> None:
    asha, account = await asha_with(site)
    path = f"{ROOT}/holdings/{account.id}"
    usual, asked = await asha.get(path), framework.times
    other = await asha.get(path, headers=headers)
    assert shown(other) != shown(usual)
    assert framework.times == asked + 1


async def test_a_header_that_is_there_twice_is_the_frameworks(site: Site, framework: Counted) -> None:
    asha, account = await asha_with(site)
    path = f"{ROOT}/holdings/{account.id}"
    await asha.get(path)
    asked = framework.times
    tokens = [("Authorization", f"Bearer {person.token}") for person in (asha, site.person("deepa"))]
    await site.client.get(path, headers=tokens)
    assert framework.times == asked + 1


async def test_a_request_counts_once_whoever_answers_it(site: Site) -> None:
    asha, account = await asha_with(site)
    deepa, path = site.person("deepa"), f"{ROOT}/holdings/{account.id}"
    pace = Pace(10)
    site.place.pace.__dict__.update(pace.__dict__)
    assert [(await asha.get(path)).status_code for _ in range(11)] == [200] * 10 + [429]
    assert [(await deepa.get(path)).status_code for _ in range(11)] == [404] * 10 + [429]


def test_only_the_last_addresses_are_remembered() -> None:
    repeats, asked = Repeats(), SimpleNamespace(told=SimpleNamespace(given=b""))

    def scope(number: int) -> Any:
        return {"path": f"/{number}", "query_string": b""}

    for number in range(REMEMBERED + 1):
        repeats.put(scope(number), "", asked)  # type: ignore[arg-type]
    assert repeats.get(scope(0), "") is None
    assert repeats.get(scope(1), "") is asked
    repeats.put(scope(-2), "a" * LONGEST, asked)  # type: ignore[arg-type]
    assert repeats.get(scope(1), "") is asked
    long = SimpleNamespace(told=SimpleNamespace(given=b"a" * LONGEST))
    repeats.put(scope(-3), "", long)  # type: ignore[arg-type]
    assert repeats.get(scope(-3), "") is None
    repeats.put(scope(-1), "", asked)  # type: ignore[arg-type]
    assert repeats.get(scope(1), "") is asked
    assert repeats.get(scope(2), "") is None


async def test_a_database_in_trouble_is_asked_once(
    site: Site, framework: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    asha, account = await asha_with(site)
    path, asked = f"{ROOT}/holdings/{account.id}", []
    await asha.get(path)

    async def ask(*_: Any) -> Any:
        asked.append(1)
        raise DatabaseUnavailable("The database gave no answer; try again.")

    monkeypatch.setattr(Lines, "ask", ask)
    answer = problem_of(await asha.get(path))
    assert (answer["status"], answer["type"]) == (503, "database_unavailable")
    assert len(asked) == 1


async def test_a_grant_that_ends_while_an_answer_is_made_gives_none(site: Site) -> None:
    """What was read after it ended is not handed out, nor kept for whoever else sees the account."""
    asha, account = await asha_with(site)
    ravi = site.person("ravi")
    await share(site, asha, ravi)
    slow = Gated("account", "SELECT coalesce((SELECT 'seen' FROM broker_accounts a WHERE a.id = %(account)s::uuid "
                 "AND pg_sleep(0.8) IS NOT NULL), '[]')")  # fmt: skip
    claims = site.place.verifier.verify(ravi.token, site.now)
    entry = Entry(at=site.now, session_id=claims.session_id, user_id=claims.user_id)
    told = slow.told({"account": account.id})
    _, version, document = await read_unless(site.place.lines, entry, told, [])
    assert (version is not None, document) == (True, b"seen")
    late = Gated("account", "SELECT coalesce((SELECT 'seen' FROM (SELECT pg_sleep(0.8)) s, broker_accounts a "
                 "WHERE a.id = %(account)s::uuid), '[]')")  # fmt: skip
    asking = asyncio.create_task(read_unless(site.place.lines, entry, late.told({"account": account.id}), []))
    await asyncio.sleep(0.3)
    with psycopg.connect(site.database.superuser, autocommit=True) as connection:
        connection.execute("UPDATE viewer_grants SET ended_at = %s", (site.now,))
    _, version, document = await asking
    assert (version, document) == (None, None)
