"""Asking for syncs over HTTP: once for a key, one open batch an account, six times an hour."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.domain.records import Login
from tests.web.conftest import Person, Site, problem_of

SYNC = "/portfolio-scheduler/sync"
HISTORY = "/portfolio-scheduler/sync-history"


async def asked(person: Person, account: Account | None, key: str | None = None) -> Any:
    body = {"account_id": str(account.id)} if account else {}
    return await person.post(SYNC, json=body, headers={"Idempotency-Key": key} if key else {})


async def batches(site: Site) -> int:
    count: int = await site.stage.one("SELECT count(*) FROM sync_batches")
    return count


async def ended(site: Site) -> None:
    """What was queued is over."""
    await site.stage.rows(
        "UPDATE sync_batches SET status = 'failed', finished_at = queued_at WHERE status = 'queued' RETURNING id"
    )


async def test_fifty_requests_with_one_key_are_one_batch(site: Site) -> None:
    asha = site.person("asha")
    account = await site.account_of(asha)
    answers = await asyncio.gather(*(asked(asha, account, "a key") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert await batches(site) == await site.stage.one("SELECT count(*) FROM procrastinate_jobs") == 1
    await ended(site)
    assert (await asked(asha, account, "a key")).content == answers[0].content
    assert await batches(site) == 1


async def test_a_key_is_of_one_request_one_person_and_one_day(site: Site) -> None:
    asha, ravi = site.person("asha"), site.person("ravi")
    account, other = await site.account_of(asha, 1), await site.account_of(ravi, 2)
    first = await asked(asha, account, "a key")
    answer = await asked(asha, None, "a key")
    assert (answer.status_code, problem_of(answer)["type"]) == (422, "unprocessable")
    assert (await asked(ravi, other, "a key")).status_code == 202
    site.stage.clock.set(site.now + timedelta(hours=24))
    asha = site.person("asha")
    await ended(site)
    again = await asked(asha, account, "a key")
    assert again.status_code == 202
    assert again.json()["batches"][0]["id"] != first.json()["batches"][0]["id"]


async def test_what_failed_takes_no_key(site: Site) -> None:
    """Between the key and the batch: neither is there, and the same request is carried out when it comes again."""
    asha = site.person("asha")
    account = await site.account_of(asha)
    async with transaction(site.stage.app.pool) as tx:
        await tx.execute("SELECT FROM broker_accounts WHERE id = %s FOR UPDATE", (account.id,))
        answer = await asked(asha, account, "a key")
        assert (answer.status_code, problem_of(answer)["type"]) == (503, "database_unavailable")
        assert answer.elapsed < timedelta(seconds=2.6)
        assert (await site.client.get("/health")).status_code == 200
    assert await site.stage.one("SELECT count(*) FROM idempotency_keys") == 0
    assert (await asked(asha, account, "a key")).status_code == 202
    assert await batches(site) == 1


async def test_the_whole_user_is_every_account_that_is_not_paused(site: Site) -> None:
    asha, ravi = site.person("asha"), site.person("ravi")
    mine = [await site.account_of(asha, number) for number in (1, 2)]
    await site.account_of(ravi, 3)
    assert {each["account_id"] for each in (await asked(asha, None)).json()["batches"]} == {
        str(each.id) for each in mine
    }
    await site.stage.rows("UPDATE broker_accounts SET state = 'paused' WHERE label = 'account 1' RETURNING id")
    [left] = (await asked(asha, None)).json()["batches"]
    assert left["account_id"] == str(mine[1].id)
    assert await batches(site) == 2


async def test_by_hand_an_account_is_read_six_times_an_hour(site: Site) -> None:
    asha = site.person("asha")
    account = await site.account_of(asha)
    for _ in range(6):
        answer = await asked(asha, account)
        assert answer.status_code == 202
        await ended(site)
    for whom in (account, None):
        answer = await asked(asha, whom)
        assert (answer.status_code, problem_of(answer)["type"]) == (429, "too_many")
        assert 3500 < int(answer.headers["retry-after"]) <= 3601
    site.stage.clock.set(site.now + timedelta(minutes=61))
    assert (await asked(asha, account)).status_code == 202


async def test_a_queued_retry_reads_everything_when_asked_by_hand(site: Site) -> None:
    asha = site.person("asha")
    account = await site.account_of(asha)
    await site.stage.rows(
        "INSERT INTO sync_batches (account_id, trigger, wanted, status, queued_at) "
        "VALUES (%s, 'retry', '{holdings}', 'queued', now()) RETURNING id", account.id,
    )  # fmt: skip
    [batch] = (await asked(asha, account)).json()["batches"]
    assert (batch["trigger"], batch["wanted"]) == ("retry", None)


async def test_the_history_comes_in_pages_the_newest_first(site: Site) -> None:
    asha = site.person("asha")
    account = await site.account_of(asha)
    one = f"{HISTORY}/{account.id}"
    assert (await asha.get(one)).json() == {"items": [], "next": None}
    reports = [await site.stage.sync(account) for _ in range(3)]
    found, cursor = [], None
    while True:
        page = (await asha.get(one, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        found += [each["id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == [report.batch_id for report in reversed(reports)]
    assert (await asha.get(one, params={"status": "failed"})).json()["items"] == []
    assert (await asha.get(one, params={"status": "ended"})).status_code == 400


async def test_foreign_batches_and_histories_answer_like_absent_ones(site: Site) -> None:
    asha, ravi = site.person("asha"), site.person("ravi")
    account = await site.account_of(asha)
    report = await site.stage.sync(account)
    for path, own in ((SYNC, report.batch_id), (HISTORY, account.id)):
        foreign, absent = await ravi.get(f"{path}/{own}"), await ravi.get(f"{path}/{uuid4()}")
        assert foreign.status_code == absent.status_code == 404
        assert (foreign.content, foreign.headers) == (absent.content, absent.headers)
    foreign, absent = [await ravi.post(SYNC, json={"account_id": str(id_)}) for id_ in (account.id, uuid4())]
    assert foreign.status_code == 404
    assert (foreign.content, foreign.headers) == (absent.content, absent.headers)


BAD_ACCOUNTS: list[tuple[dict[str, Any], str]] = [
    ({"role": "admin"}, "role"), ({"user_id": str(uuid4())}, "user_id"), ({"is_admin": True}, "is_admin"),
    ({"created_at": "2020-01-01"}, "created_at"), ({"id": str(uuid4())}, "id"), ({"state": "active"}, "state"),
    ({"client_code": "X"}, "client_code"), ({"broker_name": ""}, "broker_name"),
    ({"broker_name": "other"}, "broker_name"),
    ({"broker_name": 1}, "broker_name"), ({"label": ""}, "label"), ({"label": "x" * 101}, "label"),
    ({"label": "a\u0000b"}, "label"), ({"label": "  "}, "label"),
    ({"account_id": "a b"}, "account_id"), ({"account_id": ""}, "account_id"),
    ({"api_key": ""}, "api_key"), ({"api_key": "CANARY " + "x"}, "api_key"), ({"api_key": "x" * 4097}, "api_key"),
    ({"api_key": ["CANARY"]}, "api_key"), ({"login": "CANARY"}, "login"), ({"login": "token"}, "access_token"),
    ({"api_secret": "CANARY"}, "api_secret"), ({"late_pass": "yes"}, "late_pass"),
    ({"schedules": "CANARY"}, "schedules"),
    ({"schedules": [{"cron": "0 16 * * *", "at": 1}]}, "at"), ({"schedules": [{"cron": 16}]}, "cron"),
]  # fmt: skip


async def test_every_bad_field_of_an_account_is_named_and_its_value_is_not(site: Site) -> None:
    asha = site.person("asha")
    account = await site.account_of(asha)
    path = "/portfolio-scheduler/broker-accounts"
    good = {"broker_name": "groww", "login": Login.TOTP.value, "api_key": "key", "totp_secret": "CANARYSEED"}
    for change, named in BAD_ACCOUNTS:
        body = {name: value for name, value in (good | change).items() if value is not None}
        answer = await asha.post(path, json=body)
        assert answer.status_code == 400, (change, answer.text)
        assert named in answer.text, (change, answer.text)
        assert "CANARY" not in answer.text, answer.text
        if "broker_name" in change or "account_id" in change or change.get("state"):
            continue
        answer = await asha.put(f"{path}/{account.id}", json={n: v for n, v in body.items() if n != "broker_name"})
        assert answer.status_code == 400, (change, answer.text)
        assert named in answer.text
        assert "CANARY" not in answer.text, answer.text
    for content in (b"", b"{", b"[]", b'"CANARY"', b'{"api_key": "CANARY', b"\xff", b"null", b"[" * 5000):
        answer = await asha.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, (content, answer.text)
        assert "CANARY" not in answer.text
    assert (await asha.put(f"{path}/{account.id}", json={})).status_code == 400
    assert (
        await asha.post(path, content=b"x" * (300 << 10), headers={"Content-Type": "application/json"})
    ).status_code == 413
    assert await site.stage.rows("SELECT FROM account_requests") == []
    assert await site.stage.one("SELECT count(*) FROM broker_accounts") == 1


@pytest.mark.parametrize(
    "body", [{"account_id": "x"}, {"user_id": str(uuid4())}, {"accountId": None}, [], {"trigger": "x"}]
)
async def test_a_bad_wish_for_a_sync_is_refused(site: Site, body: Any) -> None:
    answer = await site.person("asha").post(SYNC, json=body)
    assert answer.status_code == 400, answer.text
    assert await batches(site) == 0


async def test_a_bad_key_is_refused(site: Site) -> None:
    asha = site.person("asha")
    for key in ("", "x" * 201, "a\tb"):
        answer = await asha.post(SYNC, json={}, headers={"Idempotency-Key": key})
        assert answer.status_code == 400, (key, answer.text)
        assert "idempotency_key" in answer.text
