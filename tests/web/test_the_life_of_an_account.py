"""An account over HTTP from its connection to its end, with a real worker and the simulator."""

from typing import Any
from uuid import uuid4

import msgspec

from portfolio_scheduler.web.place import Place
from portfolio_scheduler.web.server import make_web
from tests.web.conftest import Person, Site, problem_of, until, working

PATH = "/portfolio-scheduler/broker-accounts"
SYNC = "/portfolio-scheduler/sync"


def body_of(site: Site, number: int = 1, **more: Any) -> dict[str, Any]:
    """The body of the original, and what it takes besides, for the simulator's account of that number."""
    given = msgspec.to_builtins(site.stage.credentials(number))
    secrets = {name: value for name, value in given.items() if value and name != "login"}
    return {"broker_name": "GROWW", **secrets, "label": f"account {number}"} | more


async def ended(person: Person, batch: str) -> dict[str, Any]:
    """The batch, once it has ended."""
    shown: dict[str, Any] = {}

    async def is_over() -> bool:
        shown.update((await person.get(f"{SYNC}/{batch}")).json())
        return shown["finished_at"] is not None

    await until(is_over)
    return shown


async def test_an_account_from_its_connection_to_its_end(site: Site) -> None:
    asha = site.person("asha")
    async with working(site):
        answer = await asha.post(PATH, json=body_of(site, 2, schedules=[{"cron": "5 16 * * 1-5"}]))
        assert answer.status_code == 201, answer.text
        account = answer.json()
        one = answer.headers["location"]
        assert one == f"{PATH}/{account['id']}"
        assert (account["state"], account["login"], account["broker_name"]) == ("active", "totp", "groww")
        assert account["client_code"]
        assert account["schedules"] == [{"cron": "5 16 * * 1-5", "timezone": "Asia/Kolkata"}]
        assert (await asha.get(one)).json() == account

        tested = await asha.post(f"{one}/test")
        assert tested.status_code == 200, tested.text
        assert (tested.json()["ok"], tested.json()["reason"]) == (True, None)
        renewed = await asha.post(f"{one}/refresh-token")
        assert renewed.status_code == 200, renewed.text
        assert renewed.json()["token_expires_at"]

        queued = await asha.post(SYNC, json={"account_id": account["id"]})
        assert queued.status_code == 202, queued.text
        [batch] = queued.json()["batches"]
        assert (batch["account_id"], batch["trigger"]) == (account["id"], "manual")
        read = await ended(asha, batch["id"])
        assert read["status"] == "completed", read
        assert read["sections"]["holdings"]["outcome"] == "ok"
        history = (await asha.get(f"/portfolio-scheduler/sync-history/{account['id']}")).json()
        assert [each["id"] for each in history["items"]] == [batch["id"]]

        changed = await asha.put(
            one,
            json={"label": "renamed", "state": "paused", "schedules": [{"cron": "0 17 * * 1-5"}], "late_pass": False},
        )
        assert changed.status_code == 200, changed.text
        said = changed.json()
        assert (said["label"], said["state"], said["late_pass"]) == ("renamed", "paused", False)
        assert said["schedules"] == [{"cron": "0 17 * * 1-5", "timezone": "Asia/Kolkata"}]
        again = await asha.put(one, json={"state": "active"} | secrets_of(site, 2))
        assert again.status_code == 200, again.text
        assert again.json()["state"] == "active"

        closed = await asha.delete(one)
        assert closed.status_code == 204, closed.text
        assert (await asha.get(one)).json()["state"] == "closed"
        assert (await asha.delete(one)).status_code == 409
    told = await site.stage.rows("SELECT subject FROM ledger_events WHERE kind = 'CONFIG' ORDER BY seq")
    assert [row[0] for row in told] == ["schedules", "paused", "login", "resumed", "closed"]
    kept = await site.stage.one("SELECT sealed_credentials, sealed_token FROM broker_accounts")
    assert kept == (None, None)
    assert await site.stage.one("SELECT count(*) FROM account_requests WHERE sealed_credentials IS NOT NULL") == 0


def secrets_of(site: Site, number: int) -> dict[str, str]:
    return {name: value for name, value in body_of(site, number).items() if name not in {"broker_name", "label"}}


async def test_wrong_credentials_are_told_and_leave_no_row(site: Site) -> None:
    asha = site.person("asha")
    async with working(site):
        answer = await asha.post(PATH, json=body_of(site, 1, api_key="not-a-key-of-anybody"))
        told = problem_of(answer)
        assert answer.status_code == 422, told
        assert told["detail"]
        assert "not-a-key-of-anybody" not in answer.text
        mine = await asha.post(PATH, json=body_of(site, 1, account_id="ANOTHER1"))
        assert mine.status_code == 422
        assert "another broker account" in problem_of(mine)["detail"]
    assert (await asha.get(PATH)).json()["items"] == []
    assert await site.stage.rows("SELECT FROM broker_accounts") == []
    assert await site.stage.rows("SELECT status, sealed_credentials FROM account_requests") == [("refused", None)] * 2


async def test_credentials_of_another_broker_account_change_nothing(site: Site) -> None:
    asha = site.person("asha")
    account = await site.account_of(asha, 1)
    before = await site.stage.one("SELECT sealed_credentials FROM broker_accounts")
    async with working(site):
        answer = await asha.put(f"{PATH}/{account.id}", json=secrets_of(site, 2) | {"label": "renamed"})
    assert answer.status_code == 422
    assert "belong to the broker account" in problem_of(answer)["detail"]
    assert await site.stage.one("SELECT label, sealed_credentials FROM broker_accounts") == (account.label, before)


def impatient(site: Site, seconds: float = 0.3) -> Site:
    """The same site, whose answers wait for a worker for a moment only."""
    place: Place = msgspec.structs.replace(site.place, patience_seconds=seconds)
    site.client._transport.app = make_web(place)  # type: ignore[attr-defined]
    return site


async def test_without_a_worker_nothing_is_kept_and_nothing_happens_later(site: Site) -> None:
    asha = impatient(site).person("asha")
    answer = await asha.post(PATH, json=body_of(site))
    told = problem_of(answer)
    assert (answer.status_code, told["type"]) == (503, "no_worker")
    assert await site.stage.rows("SELECT status, sealed_credentials FROM account_requests") == [("withdrawn", None)]
    async with working(site):
        await until(lambda: no_job_is_left(site))
    assert await site.stage.rows("SELECT FROM broker_accounts") == []


async def no_job_is_left(site: Site) -> bool:
    return await site.stage.one("SELECT count(*) FROM procrastinate_jobs") == 0


async def test_force_saves_untested_and_says_so(site: Site) -> None:
    asha = site.person("asha")
    code = (await site.account_of(site.person("ravi"), 1)).ucc
    answer = await asha.post(f"{PATH}?force=true", json=body_of(site, account_id=code))
    assert answer.status_code == 201, answer.text
    assert answer.json()["state"] == "untested"
    assert answer.json()["account_id"] == code
    account = answer.json()["id"]
    async with working(site):
        [batch] = (await asha.post(SYNC, json={"account_id": account})).json()["batches"]
        assert (await ended(asha, batch["id"]))["status"] == "completed"
    assert (await asha.get(f"{PATH}/{account}")).json()["state"] == "active"


async def test_forced_credentials_of_another_account_never_write_into_this_one(site: Site) -> None:
    asha = site.person("asha")
    answer = await asha.post(f"{PATH}?force=true", json=body_of(site, account_id="ANOTHER1"))
    async with working(site):
        [batch] = (await asha.post(SYNC, json={"account_id": answer.json()["id"]})).json()["batches"]
        read = await ended(asha, batch["id"])
    assert (read["status"], read["error_class"]) == ("failed", "BrokerLoginRequired")
    assert await site.stage.rows("SELECT FROM real_holdings") == []


async def test_a_label_twice_is_a_conflict(site: Site) -> None:
    asha = site.person("asha")
    account = await site.account_of(asha, 1)
    for options in ({}, {"params": {"force": "true"}}):
        answer = await asha.post(PATH, json=body_of(site, 2, label=account.label), **options)
        assert answer.status_code == 409, answer.text
        assert "`label`" in problem_of(answer)["detail"]


async def test_what_is_shared_may_be_read_and_not_acted_on(site: Site) -> None:
    asha, ravi = site.person("asha"), site.person("ravi")
    account = await site.account_of(asha)
    await site.stage.rows(
        "INSERT INTO viewer_grants (owner_id, viewer_id, owner_name, viewer_name, granted_at, expires_at) "
        "VALUES (%s, %s, 'asha', 'ravi', %s, %s + interval '1 day') RETURNING id",
        asha.user, ravi.user, site.now, site.now,
    )  # fmt: skip
    one = f"{PATH}/{account.id}"
    assert (await ravi.get(one)).status_code == 200
    for answer in (
        await ravi.put(one, json={"label": "mine"}),
        await ravi.delete(one),
        await ravi.post(f"{one}/test"),
        await ravi.post(f"{one}/refresh-token"),
        await ravi.post(SYNC, json={"account_id": str(account.id)}),
    ):
        assert answer.status_code == 403, answer.text
    assert (await ravi.post(SYNC, json={})).json() == {"batches": [], "skipped": []}
    assert await site.stage.rows("SELECT FROM sync_batches") == []


async def test_acts_on_a_foreign_account_answer_like_on_an_absent_one(site: Site) -> None:
    asha, ravi = site.person("asha"), site.person("ravi")
    account = await site.account_of(asha)
    for method, tail, options in (
        ("PUT", "", {"json": {"label": "mine"}}),
        ("DELETE", "", {}),
        ("POST", "/test", {}),
        ("POST", "/refresh-token", {}),
    ):
        foreign, absent = [await ravi.ask(method, f"{PATH}/{id_}{tail}", **options) for id_ in (account.id, uuid4())]
        assert foreign.status_code == absent.status_code == 404, foreign.text
        assert (foreign.content, foreign.headers) == (absent.content, absent.headers)
    assert await site.stage.rows("SELECT FROM account_requests") == []
