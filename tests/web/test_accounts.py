"""Accounts over HTTP: who sees which."""

from uuid import uuid4

from tests.web.conftest import Site, problem_of

PATH = "/portfolio-scheduler/broker-accounts"


async def test_the_list_shows_the_viewers_own_accounts_only(site: Site) -> None:
    asha, ravi = site.person("asha"), site.person("ravi")
    mine, other = await site.account_of(asha, 1), await site.account_of(ravi, 2)
    for person, account in ((asha, mine), (ravi, other)):
        answer = await person.get(PATH)
        assert answer.status_code == 200, answer.text
        assert [each["id"] for each in answer.json()["items"]] == [str(account.id)]
        assert answer.json()["next"] is None


async def test_pages_follow_each_other_without_a_gap(site: Site) -> None:
    asha = site.person("asha")
    accounts = [str((await site.account_of(asha, number)).id) for number in (1, 2, 3)]
    found, cursor = [], None
    while True:
        answer = await asha.get(PATH, params={"limit": 1} | ({"cursor": cursor} if cursor else {}))
        found += [each["id"] for each in answer.json()["items"]]
        cursor = answer.json()["next"]
        if cursor is None:
            break
    assert found == accounts


async def test_no_answer_names_a_secret(site: Site) -> None:
    asha = site.person("asha")
    account = await site.account_of(asha)
    shown = (await asha.get(f"{PATH}/{account.id}")).json()
    assert not [name for name in shown if "sealed" in name or "secret" in name or "api_key" in name]
    assert shown["client_code"] == account.ucc


async def test_a_foreign_account_answers_like_an_absent_one(site: Site) -> None:
    asha, ravi = site.person("asha"), site.person("ravi")
    account = await site.account_of(ravi)
    foreign, absent = await asha.get(f"{PATH}/{account.id}"), await asha.get(f"{PATH}/{uuid4()}")
    assert foreign.status_code == absent.status_code == 404
    assert (foreign.content, foreign.headers) == (absent.content, absent.headers)


async def test_without_a_token_nobody_is_let_in(site: Site) -> None:
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Basic x"}, {"Authorization": "Bearer x.y.z"}):
        answer = await site.client.get(PATH, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert problem_of(answer)["type"] == "login_required"


async def test_an_unknown_parameter_is_refused_by_name(site: Site) -> None:
    answer = await site.person("asha").get(PATH, params={"colour": "red"})
    assert answer.status_code == 400
    assert "`colour` is not a parameter" in problem_of(answer)["detail"]


async def test_a_cursor_that_no_list_gave_is_refused(site: Site) -> None:
    for cursor in ("x", "é", "W10", "WzFd", "eyJhIjoxfQ"):
        answer = await site.person("asha").get(PATH, params={"cursor": cursor})
        assert answer.status_code == 400, cursor
        assert "`cursor`" in problem_of(answer)["detail"]


async def test_the_document_names_every_operation_once(site: Site) -> None:
    answer = await site.client.get("/openapi.json")
    assert answer.status_code == 200
    operations = [o["operationId"] for path in answer.json()["paths"].values() for o in path.values()]
    assert len(operations) == len(set(operations))
    assert "list_accounts" in operations
