"""Registering over HTTP: the first user by the set-up token, everybody else by an invitation."""

import asyncio
from typing import Any

import httpx

from portfolio_scheduler.cli.users import new_setup_token
from tests.web.conftest import PASSWORD, Site, problem_of

REGISTER, INVITATIONS = "/auth/register", "/auth/invitations"
OWNER = "owner"


async def register(site: Site, token: str, name: str = "asha", **rest: Any) -> httpx.Response:
    return await site.client.post(REGISTER, json={"token": token, "name": name, "password": PASSWORD} | rest)


async def setup_token(site: Site) -> str:
    token = await new_setup_token(site.place.app)
    assert token is not None
    return token


async def test_the_first_user_becomes_admin_and_takes_over_what_the_command_line_connected(site: Site) -> None:
    account = await site.stage.connect(1)
    answer = await register(site, await setup_token(site))
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["name"], told["role"]) == ("asha", "admin")
    asha = {"Authorization": f"Bearer {told['access_token']}"}
    listed = await site.client.get("/portfolio-scheduler/broker-accounts", headers=asha)
    assert [each["id"] for each in listed.json()["items"]] == [str(account.id)]
    assert await site.stage.rows("SELECT name, role FROM users") == [("asha", "admin")]
    assert (await site.log_in("asha")).status_code == 200
    assert await new_setup_token(site.place.app) is None, "somebody can log in now"


async def test_of_many_who_use_set_up_tokens_at_once_one_is_first(site: Site) -> None:
    tokens = [await setup_token(site) for _ in range(2)]
    answers = await asyncio.gather(*(register(site, tokens[n % 2], f"user{n}") for n in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 7
    assert await site.stage.one("SELECT count(*) FROM users") == 1


async def test_a_set_up_token_counts_no_more_when_somebody_can_log_in_or_after_a_day(site: Site) -> None:
    late = await setup_token(site)
    site.stage.clock.advance(24 * 3600)
    assert (await register(site, late)).status_code == 422
    token = await setup_token(site)
    await site.member("ravi")
    refused = await register(site, token)
    assert (refused.status_code, await site.stage.one("SELECT count(*) FROM users")) == (422, 1)


async def test_an_invitation_is_for_one_and_for_the_role_it_says(site: Site) -> None:
    root = await site.admin()
    invited = (await root.post(INVITATIONS, json={"role": "user"})).json()
    answer = await register(site, invited["token"])
    assert (answer.status_code, answer.json()["role"]) == (201, "user")
    again = await register(site, invited["token"], "other")
    unknown = await register(site, "psi_" + "a" * 52, "other")
    assert again.status_code == unknown.status_code == 422
    assert again.content == unknown.content
    (listed,) = (await root.get(INVITATIONS)).json()["items"]
    assert (listed["used_by"], listed["invited_by"]) == ("asha", "root")
    assert "token" not in listed


async def test_an_invitation_can_be_withdrawn_and_expires(site: Site) -> None:
    root = await site.admin()
    first, second = [(await root.post(INVITATIONS, json={"expires_in_days": 1})).json() for _ in range(2)]
    assert (await root.delete(f"{INVITATIONS}/{first['id']}")).status_code == 204
    assert (await root.delete(f"{INVITATIONS}/{first['id']}")).status_code == 404
    assert (await register(site, first["token"])).status_code == 422
    site.stage.clock.advance(86_400)
    assert (await register(site, second["token"])).status_code == 422


async def test_what_a_newcomer_may_not_choose(site: Site) -> None:
    root = await site.admin()
    token = (await root.post(INVITATIONS, json={})).json()["token"]
    for rest, named in (
        ({"password": "short"}, "password"),
        ({"password": "groww-portfolio-1"}, "password"),
        ({"name": "as ha"}, "name"),
        ({"role": "admin"}, "role"),
        ({"id": "00000000-0000-0000-0000-000000000001"}, "id"),
        ({"created_at": "2020-01-01T00:00:00Z"}, "created_at"),
    ):
        answer = await register(site, token, **rest)
        assert answer.status_code == 400, rest
        assert named in str(problem_of(answer))
    taken = await register(site, token, "root")
    assert taken.status_code == 409
    assert (await register(site, token)).status_code == 201, "none of it used the invitation up"


async def test_tokens_are_not_to_be_guessed_at_leisure(site: Site) -> None:
    answers = [await register(site, "psi_" + "a" * 52) for _ in range(12)]
    assert [answer.status_code for answer in answers] == [422] * 10 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) > 0
