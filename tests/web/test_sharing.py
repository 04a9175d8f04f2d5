"""Letting another user read one's accounts, until a date."""

from datetime import timedelta
from typing import Any

import httpx

from tests.web.conftest import Person, Site

VIEWERS, ACCOUNTS = "/auth/viewers", "/portfolio-scheduler/broker-accounts"


async def grant(owner: Person, name: str, days: float = 7) -> httpx.Response:
    until = (owner.site.now + timedelta(days=days)).isoformat()
    return await owner.post(VIEWERS, json={"name": name, "expires_at": until})


async def seen(person: Person) -> list[Any]:
    return [each["id"] for each in (await person.get(ACCOUNTS)).json()["items"]]


async def test_a_grant_counts_until_its_date_and_both_see_it(site: Site) -> None:
    asha, ravi = site.person("asha"), site.person("ravi")
    account = await site.account_of(asha)
    assert (await grant(asha, "ravi")).status_code == 201
    assert await seen(ravi) == [str(account.id)]
    (given,) = (await asha.get(VIEWERS)).json()["items"]
    (received,) = (await ravi.get(VIEWERS, params={"direction": "received"})).json()["items"]
    assert given == received
    assert (given["owner"], given["viewer"]) == ("asha", "ravi")
    for person in (asha, ravi):
        assert [each["kind"] for each in (await person.get("/auth/access-log")).json()["items"]] == ["granted"]
    site.stage.clock.advance(7 * 86_400)
    assert await seen(site.person("ravi")) == []


async def test_either_may_end_it_and_nobody_else(site: Site) -> None:
    asha, ravi, mina = site.person("asha"), site.person("ravi"), site.person("mina")
    await site.account_of(asha)
    for ender in (asha, ravi):
        made = (await grant(asha, "ravi")).json()
        assert (await mina.delete(f"{VIEWERS}/{made['id']}")).status_code == 404
        assert (await ender.delete(f"{VIEWERS}/{made['id']}")).status_code == 204
        assert (await ender.delete(f"{VIEWERS}/{made['id']}")).status_code == 404
        assert await seen(ravi) == []
    assert (await mina.get("/auth/access-log")).json()["items"] == []


async def test_what_is_not_granted(site: Site) -> None:
    asha, _ = site.person("asha"), site.person("ravi")
    assert (await grant(asha, "nobody")).status_code == 422
    assert (await grant(asha, "asha")).status_code == 422
    assert (await grant(asha, "ravi", days=-1)).status_code == 400
    assert (await grant(asha, "ravi", days=367)).status_code == 400
    for extra in ({"owner_id": str(asha.user)}, {"viewer_id": str(asha.user)}, {"granted_at": "2020-01-01T00:00:00Z"}):
        body = {"name": "ravi", "expires_at": "2026-04-25T00:00:00Z"} | extra
        assert (await asha.post(VIEWERS, json=body)).status_code == 400
    naive = {"name": "ravi", "expires_at": "2026-04-25T00:00:00"}
    assert (await asha.post(VIEWERS, json=naive)).status_code == 400


async def test_nobody_finds_out_all_names_by_granting(site: Site) -> None:
    asha = site.person("asha")
    answers = [await grant(asha, f"user{n}") for n in range(22)]
    assert [answer.status_code for answer in answers] == [422] * 20 + [429] * 2
