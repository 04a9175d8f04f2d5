"""What owners ask and nobody, or somebody who dies, does: nothing is kept, nothing happens later, the secrets go."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb

from portfolio_scheduler.db import requests as rows
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.errors import Fenced
from portfolio_scheduler.sync import requests
from tests.web.conftest import Person, Site, problem_of, until, working
from tests.web.test_the_life_of_an_account import PATH, SYNC, body_of, impatient

STANDING = "SELECT status, sealed_credentials IS NULL, error_class FROM account_requests"


async def asked(site: Site, person: Person, **more: Any) -> tuple[asyncio.Task[Any], str]:
    """Somebody connects an account; nobody is at it yet. Their waiting, and the request's id."""
    waiting = asyncio.create_task(person.post(PATH, json=body_of(site, **more)))
    await until(lambda: is_there(site))
    return waiting, await site.stage.one("SELECT id FROM account_requests WHERE status = 'queued'")


async def is_there(site: Site) -> bool:
    return await site.stage.one("SELECT count(*) FROM account_requests WHERE status = 'queued'") == 1


async def age(site: Site, seconds: int) -> None:
    await site.stage.rows(
        "UPDATE account_requests SET asked_at = asked_at - make_interval(secs => %s), "
        "beat_at = beat_at - make_interval(secs => %s) RETURNING id", seconds, seconds,
    )  # fmt: skip


async def test_what_nobody_took_up_is_swept_and_its_secrets_go(site: Site) -> None:
    waiting, request_id = await asked(site, site.person("asha"))
    assert await requests.sweep(site.stage.app) == 0
    await age(site, rows.STALE_SECONDS + 1)
    await requests.answer(site.stage.app, request_id)  # a worker that wakes up too late
    assert await site.stage.rows(STANDING) == [("queued", False, None)]
    assert await requests.sweep(site.stage.app) == 1
    answer = await waiting
    assert (answer.status_code, problem_of(answer)["type"]) == (503, "no_worker")
    assert await site.stage.rows(STANDING) == [("withdrawn", True, None)]
    assert await site.stage.rows("SELECT FROM broker_accounts") == []


async def test_what_a_worker_died_on_is_swept_and_the_dead_one_writes_nothing(site: Site) -> None:
    app = site.stage.app
    waiting, request_id = await asked(site, site.person("asha"))
    async with transaction(app.pool) as tx:
        request = await rows.claim(tx, request_id)
    assert request is not None
    assert "sealed" not in repr(request)
    await age(site, app.settings.lease_seconds + 1)
    assert await requests.sweep(app) == 1
    assert (await waiting).status_code == 503
    assert await site.stage.rows(STANDING) == [("failed", True, "WorkerLost")]
    with pytest.raises(Fenced):
        await requests._act(app, request)  # it comes back to life with what it had read
    assert await site.stage.rows("SELECT FROM broker_accounts") == []


async def test_a_request_is_acted_on_once(site: Site) -> None:
    app = site.stage.app
    waiting, request_id = await asked(site, site.person("asha"))
    await asyncio.gather(*(requests.answer(app, request_id) for _ in range(8)))
    assert (await waiting).status_code == 201
    assert await site.stage.one("SELECT count(*) FROM broker_accounts") == 1
    await requests.answer(app, request_id)
    assert await site.stage.one("SELECT count(*) FROM broker_accounts") == 1


async def test_a_bug_of_the_worker_ends_the_request_and_says_nothing_of_it(site: Site) -> None:
    app = site.stage.app
    waiting, request_id = await asked(site, site.person("asha"))
    await site.stage.rows("UPDATE account_requests SET parameters = %s RETURNING id", Jsonb({"colour": "CANARY"}))
    with pytest.raises(msgspec.ValidationError):
        await requests.answer(app, request_id)
    answer = await waiting
    assert (answer.status_code, problem_of(answer)["type"]) == (503, "no_worker")
    assert "CANARY" not in answer.text
    assert await site.stage.rows(STANDING) == [("failed", True, "PortfolioSchedulerError")]


async def test_a_broker_that_does_not_answer_is_told_as_such(site: Site) -> None:
    asha = site.person("asha")
    await site.account_of(asha, 1)
    waiting, request_id = await asked(impatient(site, 0.3), asha, number=2)
    async with transaction(site.stage.app.pool) as tx:
        await rows.claim(tx, request_id)  # and asks, and asks
    answer = await waiting
    assert (answer.status_code, problem_of(answer)["type"]) == (502, "broker")
    assert await site.stage.rows(STANDING) == [("withdrawn", True, None)]


async def test_waiting_requests_are_limited(site: Site) -> None:
    asha, ravi = site.person("asha"), site.person("ravi")
    site = impatient(site, 0)
    fill = (
        "INSERT INTO account_requests (user_id, account_id, kind, created_at) "
        "SELECT %s, gen_random_uuid(), 'test', now() FROM generate_series(1, %s) RETURNING id"
    )
    await site.stage.rows(fill, asha.user, rows.MOST_OF_A_USER)
    answer = await asha.post(PATH, json=body_of(site))
    assert (answer.status_code, problem_of(answer)["type"]) == (429, "too_many")
    assert (await ravi.post(PATH, json=body_of(site))).status_code == 503
    await site.stage.rows(fill, asha.user, rows.MOST)
    answer = await ravi.post(PATH, json=body_of(site))
    assert (answer.status_code, problem_of(answer)["type"]) == (503, "queue_full")
    assert answer.headers["retry-after"]


async def test_credentials_take_a_login_of_the_last_half_hour(site: Site) -> None:
    asha = site.person("asha")
    account = await site.account_of(asha)
    await site.stage.rows("UPDATE sessions SET authenticated_at = %s RETURNING id", site.now - timedelta(minutes=31))
    one = f"{PATH}/{account.id}"
    for answer in (
        await asha.post(PATH, json=body_of(site, 2)),
        await asha.post(f"{PATH}?force=true", json=body_of(site, 2)),
        await asha.put(one, json={"api_key": "x", "api_secret": "y"}),
        await asha.delete(one),
    ):
        assert answer.status_code == 403, answer.text
    assert await site.stage.rows("SELECT FROM account_requests") == []
    async with working(site):
        assert (await asha.put(one, json={"label": "renamed"})).status_code == 200


async def test_a_full_disk_is_said_so_and_a_database_that_is_down_too(site: Site) -> None:
    """The web's own answer to what PostgreSQL says; that a disk fills up and empties again is told in tests/crash."""
    asha = site.person("asha")
    account = await site.account_of(asha)
    body = {"account_id": str(account.id)}
    with psycopg.connect(site.database.superuser, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        for table in ("sync_batches", "account_requests", "socket_tickets"):
            connection.execute(f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()")
    for answer in (
        await asha.post(SYNC, json=body, headers={"Idempotency-Key": "a key"}),
        await asha.post(PATH, json=body_of(site, 2)),
        await asha.put(f"{PATH}/{account.id}", json={"label": "renamed"}),
        await asha.post("/ws-ticket"),
    ):
        assert (answer.status_code, problem_of(answer)["type"]) == (503, "storage_full")
    assert (await site.client.get("/health")).status_code == 200
    assert await site.stage.one("SELECT count(*) FROM idempotency_keys") == 0
    token = asha.token
    with psycopg.connect(site.database.superuser, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename LIKE '%%_api'",
            (site.database.name,),
        )
    answer = await site.client.post(SYNC, json=body, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, problem_of(answer)["type"]) == (503, "database_unavailable")
    assert (await site.client.get("/health")).status_code == 200


async def test_no_secret_is_in_a_job_a_log_or_a_row(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    asha = site.person("asha")
    body = body_of(site, 1)
    secrets = [value for name, value in body.items() if name in {"api_key", "api_secret", "totp_secret"}]
    waiting, request_id = await asked(site, asha)
    written = str(await site.stage.rows("SELECT j::text FROM procrastinate_jobs j"))
    written += str(await site.stage.rows("SELECT r::text FROM account_requests r"))
    await requests.answer(site.stage.app, request_id)
    answer = await waiting
    written += answer.text + str(answer.headers)
    for table in ("account_requests", "broker_accounts", "ledger_events", "access_log"):
        written += str(await site.stage.rows(f"SELECT t::text FROM {table} t"))
    printed = capsys.readouterr()
    assert secrets
    assert str(request_id) in written
    assert [secret for secret in secrets if secret in written + printed.out + printed.err] == []
