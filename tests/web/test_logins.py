"""Logging in, refreshing, logging out over HTTP."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from portfolio_scheduler.identity import refresh
from tests.scale import scaled
from tests.web.conftest import PASSWORD, Person, Site, problem_of

LOGIN, REFRESH, LOGOUT, ME = "/auth/login", "/auth/refresh", "/auth/logout", "/auth/me"
RACERS = 20


async def tokens(site: Site, name: str = "asha", **rest: Any) -> dict[str, Any]:
    answer = await site.log_in(name, **rest)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def renewal(told: dict[str, Any], **other: str) -> dict[str, str]:
    return {"refresh_token": told["refresh_token"], "device_token": told["device_token"]} | other


async def me(site: Site, access_token: str) -> int:
    answer = await site.client.get(ME, headers={"Authorization": f"Bearer {access_token}"})
    return answer.status_code


async def events(person: Person) -> list[str]:
    return [each["kind"] for each in (await person.get("/auth/access-log")).json()["items"]]


async def test_a_login_gives_tokens_that_count(site: Site) -> None:
    await site.member("asha")
    told = await tokens(site)
    assert (told["name"], told["role"], told["token_type"], told["expires_in"]) == ("asha", "user", "Bearer", 600)
    assert await me(site, told["access_token"]) == 200


async def test_capitals_of_a_name_make_no_other_user(site: Site) -> None:
    await site.member("asha")
    assert (await site.log_in("ASHA")).status_code == 200


async def test_whatever_is_wrong_the_answer_is_the_same(site: Site) -> None:
    await site.member("asha")
    await site.member("gone")
    site.person("nohash")
    await site.stage.rows("UPDATE users SET disabled_at = now() WHERE name = 'gone' RETURNING 1")
    answers = [
        await site.log_in("asha", password="something else entirely"),
        await site.log_in("nobody"),
        await site.log_in("gone"),
        await site.log_in("nohash"),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert len({str(sorted(answer.headers.items())) for answer in answers}) == 1


async def test_a_refresh_token_is_good_for_one_use(site: Site) -> None:
    await site.member("asha")
    first = await tokens(site)
    answer = await site.client.post(REFRESH, json=renewal(first))
    assert answer.status_code == 200
    second = answer.json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["device_token"] is None
    assert await me(site, second["access_token"]) == 200
    third = await site.client.post(REFRESH, json=renewal(second, device_token=first["device_token"]))
    assert third.status_code == 200


async def test_nothing_that_opens_a_session_is_stored(site: Site) -> None:
    await site.member("asha")
    told = await tokens(site)
    (row,) = await site.stage.rows("SELECT s::text FROM sessions s")
    for secret in (told["refresh_token"], told["device_token"], told["access_token"]):
        assert secret not in row[0]
        assert secret.encode().hex() not in row[0]


async def test_a_token_used_again_ends_the_session_and_its_owner_is_told(site: Site) -> None:
    await site.member("asha")
    first = await tokens(site)
    second = (await site.client.post(REFRESH, json=renewal(first))).json()
    site.stage.clock.advance(11)
    again = await site.client.post(REFRESH, json=renewal(first))
    assert again.status_code == 401
    assert await me(site, second["access_token"]) == 401
    dead = await site.client.post(REFRESH, json=renewal(second, device_token=first["device_token"]))
    assert dead.status_code == 401
    asha = await site.logged_in("asha")
    assert "refresh_reused" in await events(asha)
    assert [alarm["kind"] for alarm in (await asha.get(ME)).json()["alarms"]] == ["refresh_reused"]


async def test_a_token_that_was_replaced_long_ago_ends_the_session_as_well(site: Site) -> None:
    await site.member("asha")
    first = await tokens(site)
    latest = first
    for _ in range(3):
        latest = (await site.client.post(REFRESH, json=renewal(latest, device_token=first["device_token"]))).json()
    assert (await site.client.post(REFRESH, json=renewal(first))).status_code == 401
    assert await me(site, latest["access_token"]) == 401


async def test_one_who_knows_a_session_by_its_id_only_cannot_end_it(site: Site) -> None:
    await site.member("asha")
    told = await tokens(site)
    ring = site.place.keyring.ring(site.now)
    honest, _ = refresh.make(ring, uuid4())
    parsed = refresh.parsed(told["refresh_token"])
    forged = refresh._written(b"x" * 32, parsed.session_id, b"y" * 32)[0]
    for text in (forged, honest, "psr_" + "a" * 103, "psr_x", told["access_token"], told["device_token"]):
        answer = await site.client.post(REFRESH, json=renewal(told, refresh_token=text))
        assert answer.status_code == 401, text
    assert await me(site, told["access_token"]) == 200


async def test_a_refresh_token_without_its_device_ends_the_session(site: Site) -> None:
    await site.member("asha")
    told = await tokens(site)
    answer = await site.client.post(REFRESH, json=renewal(told, device_token="psd_" + "a" * 52))
    assert answer.status_code == 401
    assert await me(site, told["access_token"]) == 401


async def test_an_answer_that_got_lost_is_given_again_once(site: Site) -> None:
    await site.member("asha")
    first = await tokens(site)
    second, again, third = [await site.client.post(REFRESH, json=renewal(first)) for _ in range(3)]
    assert second.json()["refresh_token"] == again.json()["refresh_token"]
    assert third.status_code == 401
    assert await me(site, again.json()["access_token"]) == 200, "a third within the ten seconds ends nothing"


@pytest.mark.parametrize("idle", [True, False])
async def test_a_session_ends_by_itself(site: Site, idle: bool) -> None:
    await site.member("asha", role="admin" if idle else "user")
    told = await tokens(site)
    site.stage.clock.advance(31 * 60 if idle else 12 * 3600 + 1)
    assert (await site.client.post(REFRESH, json=renewal(told))).status_code == 401


async def test_a_session_that_is_remembered_lasts_thirty_days(site: Site) -> None:
    await site.member("asha")
    told = await tokens(site, remember_me=True)
    site.stage.clock.advance(29 * 86400)
    answer = await site.client.post(REFRESH, json=renewal(told))
    assert answer.status_code == 200
    site.stage.clock.advance(86400 + 1)
    late = await site.client.post(REFRESH, json=renewal(answer.json(), device_token=told["device_token"]))
    assert late.status_code == 401


async def test_a_logout_counts_at_once(site: Site) -> None:
    await site.member("asha")
    told = await tokens(site)
    asha = {"Authorization": f"Bearer {told['access_token']}"}
    assert (await site.client.post(LOGOUT, headers=asha)).status_code == 204
    assert await me(site, told["access_token"]) == 401
    assert (await site.client.post(REFRESH, json=renewal(told))).status_code == 401


async def test_of_many_that_refresh_at_once_one_is_first(site: Site) -> None:
    """T50: one rotation, one replay with the same successor, everybody else refused, and the session goes on."""
    await site.member("asha")
    for _ in range(scaled(40)):
        told = await tokens(site)
        answers = await asyncio.gather(*(site.client.post(REFRESH, json=renewal(told)) for _ in range(RACERS)))
        given = [answer.json()["refresh_token"] for answer in answers if answer.status_code == 200]
        assert len(given) == 2
        assert len(set(given)) == 1
        assert {answer.status_code for answer in answers} == {200, 401}
        site.stage.clock.advance(11)
        assert (await site.client.post(REFRESH, json=renewal(told))).status_code == 401
        ended = await site.stage.one("SELECT ended_because FROM sessions WHERE id = %s", told["session_id"])
        assert ended == "reused"
        site.stage.clock.advance(300)


async def test_a_body_takes_nothing_but_its_own_fields(site: Site) -> None:
    await site.member("asha")
    for extra in ({"role": "admin"}, {"user_id": str(uuid4())}, {"is_admin": True}, {"second_factor": True}):
        answer = await site.log_in("asha", **extra)
        assert answer.status_code == 400
        assert next(iter(extra)) in str(problem_of(answer)["errors"])


async def test_a_name_that_no_database_takes_is_refused(site: Site) -> None:
    for name in ("a\x00b", "\ud800", "", "a" * 201):
        answer = await site.client.post(
            LOGIN,
            content=__import__("json").dumps({"name": name, "password": PASSWORD}),
            headers={"content-type": "application/json"},
        )
        assert answer.status_code in {400, 401}, (name, answer.text)
