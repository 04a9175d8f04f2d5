"""Changing what lets somebody in: passwords, second factors, sessions, tokens of programs."""

from typing import Any

import httpx
import pytest

from portfolio_scheduler.identity import second_factor
from tests.web.conftest import PASSWORD, Person, Site, problem_of

NEW = "seven brass lanterns hum"
TOTP, ME, TOKENS = "/auth/totp", "/auth/me", "/auth/api-tokens"


@pytest.fixture
async def asha(site: Site) -> Person:
    await site.member("asha")
    return await site.logged_in("asha")


def code_at(site: Site, secret: str) -> str:
    return second_factor.code_of(secret, int(site.now.timestamp()) // second_factor.STEP_SECONDS)


async def set_up(asha: Person) -> tuple[str, list[str]]:
    """Give a person a second factor; its secret and recovery codes."""
    secret = (await asha.post(TOTP)).json()["secret"]
    answer = await asha.post(f"{TOTP}/confirm", json={"code": code_at(asha.site, secret)})
    assert answer.status_code == 200, answer.text
    asha.site.stage.clock.advance(30)
    return secret, answer.json()["recovery_codes"]


async def with_token(site: Site, token: str, method: str, path: str, **options: Any) -> httpx.Response:
    return await site.client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **options)


# ── passwords ──


async def test_a_new_password_counts_at_once_and_ends_every_other_session(site: Site, asha: Person) -> None:
    other = await site.logged_in("asha")
    body = {"current_password": PASSWORD, "new_password": NEW}
    answer = await asha.post("/auth/password", json=body)
    assert (answer.status_code, answer.json()["ended_sessions"]) == (200, 1)
    assert (await asha.get(ME)).status_code == 200
    assert (await other.get(ME)).status_code == 401
    assert (await site.log_in("asha")).status_code == 401
    assert (await site.log_in("asha", password=NEW)).status_code == 200


async def test_a_new_password_needs_the_one_of_now_and_must_be_good(site: Site, asha: Person) -> None:
    for body, status in (
        ({"current_password": NEW, "new_password": NEW + " twice"}, 422),
        ({"current_password": PASSWORD, "new_password": PASSWORD}, 422),
        ({"current_password": PASSWORD, "new_password": "password12345"}, 400),
        ({"current_password": PASSWORD, "new_password": NEW, "role": "admin"}, 400),
        ({"current_password": PASSWORD, "new_password": NEW, "user_id": str(asha.user)}, 400),
    ):
        assert (await asha.post("/auth/password", json=body)).status_code == status, body
    assert (await site.log_in("asha")).status_code == 200


async def test_what_changes_a_login_wants_a_recent_password(site: Site, asha: Person) -> None:
    site.stage.clock.advance(30 * 60)
    refused = await asha.post(TOKENS, json={"name": "x", "scopes": ["read"]})
    assert (refused.status_code, problem_of(refused)["type"]) == (403, "recent_login_required")
    assert (await asha.post("/auth/reauthenticate", json={"password": NEW})).status_code == 422
    assert (await asha.post("/auth/reauthenticate", json={"password": PASSWORD})).status_code == 200
    assert (await asha.post(TOKENS, json={"name": "x", "scopes": ["read"]})).status_code == 201


async def test_a_stolen_session_cannot_try_passwords_for_ever(site: Site, asha: Person) -> None:
    body, statuses = {"password": NEW}, []
    for _ in range(10):
        statuses += [(await asha.post("/auth/reauthenticate", json=body)).status_code for _ in range(11)]
        site.stage.clock.advance(331)
    assert statuses[:-1] == ([422] * 10 + [429]) * 9 + [422] * 10
    assert statuses[-1] == 401, "a hundred failures in a row ended the session"


# ── the second factor ──


async def test_a_second_factor_is_asked_for_once_it_is_confirmed(site: Site, asha: Person) -> None:
    other = await site.logged_in("asha")
    secret = (await asha.post(TOTP)).json()["secret"]
    assert (await site.log_in("asha")).status_code == 200, "not yet"
    wrong = await asha.post(f"{TOTP}/confirm", json={"code": "000000"})
    assert wrong.status_code == 422
    code = code_at(site, secret)
    confirmed = await asha.post(f"{TOTP}/confirm", json={"code": code})
    assert len(set(confirmed.json()["recovery_codes"])) == 10
    assert (await other.get(ME)).status_code == 401, "sessions without it ended"
    assert (await asha.get(ME)).json()["second_factor"] is True
    needed = await site.log_in("asha")
    assert (needed.status_code, problem_of(needed)["type"]) == (401, "second_factor_required")
    assert (await site.log_in("asha", code=code)).status_code == 401, "a code works once"
    site.stage.clock.advance(30)
    answer = await site.log_in("asha", code=code_at(site, secret))
    assert (answer.status_code, answer.json()["second_factor"]) == (200, True)
    assert (await asha.post(TOTP)).status_code == 409


async def test_without_the_password_nobody_learns_that_there_is_a_second_factor(site: Site, asha: Person) -> None:
    await set_up(asha)
    one, other = await site.log_in("asha", password=NEW), await site.log_in("nobody", password=NEW)
    assert one.status_code == other.status_code == 401
    assert one.content == other.content


async def test_a_recovery_code_stands_in_once_and_its_use_is_told(site: Site, asha: Person) -> None:
    _, codes = await set_up(asha)
    first = await site.log_in("asha", code=codes[0].upper().replace("-", " "))
    assert first.status_code == 200
    assert (await site.log_in("asha", code=codes[0])).status_code == 401
    told = (await asha.get(ME)).json()
    assert told["recovery_codes_left"] == 9
    assert [alarm["kind"] for alarm in told["alarms"]] == ["recovery_code_used"]


async def test_codes_are_counted(site: Site, asha: Person) -> None:
    """5 in five minutes, 20 in an hour, 50 in a day, whatever the address."""
    await set_up(asha)

    async def tried(tag: int) -> int:
        """How many wrong codes are looked at before the next is refused."""
        for n in range(100):
            answer = await site.log_in("asha", code="000000", address=f"203.0.{tag}.{n}")
            if answer.status_code == 429:
                return n
            assert answer.status_code == 401
        return 100

    found = []
    for window in range(11):
        found.append(await tried(window))
        site.stage.clock.advance(331 if window < 5 else 3700)
    assert found == [5, 5, 5, 5, 0, 0, 5, 5, 5, 5, 5]
    site.stage.clock.advance(3700)
    assert await tried(100) == 5, "fifty in all"
    assert await tried(101) == 0
    site.stage.clock.advance(3700)
    assert await tried(102) == 0


async def test_removing_it_needs_a_code_and_is_told(site: Site, asha: Person) -> None:
    secret, _ = await set_up(asha)
    assert (await asha.post(f"{TOTP}/remove", json={"code": "000000"})).status_code == 422
    renewed = await asha.post(f"{TOTP}/recovery-codes", json={"code": code_at(site, secret)})
    assert len(renewed.json()["recovery_codes"]) == 10
    site.stage.clock.advance(30)
    assert (await asha.post(f"{TOTP}/remove", json={"code": code_at(site, secret)})).status_code == 204
    told = (await asha.get(ME)).json()
    assert (told["has_second_factor"], told["second_factor"], told["recovery_codes_left"]) == (False, False, 0)
    assert [alarm["kind"] for alarm in told["alarms"]] == ["factor_removed"]
    assert (await site.log_in("asha")).status_code == 200
    assert (await asha.post(f"{TOTP}/remove", json={"code": "000000"})).status_code == 409


async def test_no_secret_of_a_second_factor_is_stored(site: Site, asha: Person) -> None:
    secret, codes = await set_up(asha)
    rows = await site.stage.rows("SELECT u::text FROM users u UNION ALL SELECT c::text FROM recovery_codes c")
    stored = "".join(row[0] for row in rows)
    for text in (secret, *codes, PASSWORD):
        assert text not in stored
        assert text.encode().hex() not in stored


# ── sessions ──


async def test_sessions_are_listed_and_ended(site: Site, asha: Person) -> None:
    second, third = await site.logged_in("asha"), await site.logged_in("asha")
    listed = (await asha.get("/auth/sessions")).json()["items"]
    assert {each["id"] for each in listed} == {str(each.session) for each in (asha, second, third)}
    assert not [name for name in listed[0] if "digest" in name or "token" in name]
    assert (await asha.delete(f"/auth/sessions/{second.session}")).status_code == 204
    assert (await second.get(ME)).status_code == 401
    assert (await asha.post("/auth/sessions/end-others")).json() == {"ended": 1}
    assert (await third.get(ME)).status_code == 401
    assert (await asha.get(ME)).status_code == 200
    ravi = site.person("ravi")
    assert (await ravi.delete(f"/auth/sessions/{asha.session}")).status_code == 404
    assert (await asha.get(ME)).status_code == 200


# ── tokens of programs ──


async def test_a_programs_token_may_what_it_was_made_for_and_nothing_of_a_login(site: Site, asha: Person) -> None:
    account = await site.account_of(asha)
    made = (await asha.post(TOKENS, json={"name": "sheet", "scopes": ["read"]})).json()
    accounts = await with_token(site, made["token"], "GET", "/portfolio-scheduler/broker-accounts")
    assert [each["id"] for each in accounts.json()["items"]] == [str(account.id)]
    assert (await with_token(site, made["token"], "GET", ME)).json()["scopes"] == ["read"]
    for method, path, body in (
        ("POST", "/auth/logout", None),
        ("POST", TOKENS, {"name": "more", "scopes": ["manage"]}),
        ("GET", TOKENS, None),
        ("GET", "/auth/sessions", None),
        ("GET", "/auth/access-log", None),
        ("POST", TOTP, None),
        ("POST", "/auth/reauthenticate", {"password": PASSWORD}),
        ("POST", "/auth/password", {"current_password": PASSWORD, "new_password": NEW}),
        ("POST", "/auth/viewers", {"name": "ravi", "expires_at": "2026-04-25T00:00:00Z"}),
        ("GET", "/admin/users", None),
    ):
        answer = await with_token(site, made["token"], method, path, json=body)
        assert answer.status_code == 403, (method, path, answer.text)
    (listed,) = (await asha.get(TOKENS)).json()["items"]
    assert (listed["name"], listed["last_used_on"]) == ("sheet", "2026-04-20")
    assert "token" not in listed
    (stored,) = await site.stage.rows("SELECT t::text FROM api_tokens t")
    assert made["token"] not in stored[0]


async def test_a_programs_token_ends_when_it_is_told_to_and_when_its_time_is_over(site: Site, asha: Person) -> None:
    first, second = [
        (await asha.post(TOKENS, json={"name": "x", "scopes": ["read"], "expires_in_days": 1})).json() for _ in "ab"
    ]
    ravi = site.person("ravi")
    assert (await ravi.delete(f"{TOKENS}/{first['id']}")).status_code == 404
    assert (await asha.delete(f"{TOKENS}/{first['id']}")).status_code == 204
    assert (await with_token(site, first["token"], "GET", ME)).status_code == 401
    assert (await with_token(site, second["token"], "GET", ME)).status_code == 200
    site.stage.clock.advance(86_400)
    assert (await with_token(site, second["token"], "GET", ME)).status_code == 401


async def test_tokens_of_programs_have_bounds(site: Site, asha: Person) -> None:
    for body in (
        {"name": "", "scopes": ["read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["admin"]},
        {"name": "x", "scopes": ["read"], "expires_in_days": 0},
        {"name": "x", "scopes": ["read"], "expires_in_days": 367},
        {"name": "x", "scopes": ["read"], "user_id": str(asha.user)},
        {"name": "a\x00b", "scopes": ["read"]},
    ):
        assert (await asha.post(TOKENS, json=body)).status_code == 400, body
    answers = [await asha.post(TOKENS, json={"name": "x", "scopes": ["read"]}) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [201] * 20 + [422]
