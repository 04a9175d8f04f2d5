"""Who tries what is not theirs leaves a trace: in the access log where it concerns a user, in the log in any case."""

import json
from typing import Any
from uuid import uuid4

import pytest

from portfolio_scheduler import log
from tests.web.conftest import Site

ME = "/auth/me"
SECRET = "canary-of-a-token"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]


async def kinds(site: Site) -> list[tuple[str, bool]]:
    """What the access log has, oldest first, and whether it is somebody's."""
    rows = await site.stage.rows("SELECT kind, subject_id IS NOT NULL, address, at FROM access_log ORDER BY at, id")
    assert all(row[2] and row[3].tzinfo is not None for row in rows)
    return [(row[0], row[1]) for row in rows]


async def test_every_login_is_recorded_the_wrong_ones_too(site: Site) -> None:
    await site.member("asha")
    await site.log_in("asha", password="something else entirely")
    await site.log_in("nobody")
    assert sorted(await kinds(site)) == [("login_failed", False), ("login_failed", True)]
    await site.log_in("asha")
    assert ("logged_in", True) in await kinds(site)


async def test_a_limit_that_is_reached_is_recorded(site: Site) -> None:
    await site.member("asha")
    for _ in range(12):
        last = await site.log_in("asha", password="something else entirely")
    assert last.status_code == 429
    assert ("limit_reached", True) in await kinds(site)


async def test_every_refusal_is_logged_with_who_from_where_and_what(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("info", "json")
    asha = site.person("asha")
    headers = {"Authorization": f"Bearer {SECRET}"}
    await site.client.get(ME, headers=headers)
    await asha.get(f"/portfolio-scheduler/broker-accounts/{uuid4()}")
    await asha.get("/auth/access-log", params={"limit": "9999"})
    await asha.get("/auth/access-log", params={"nonsense": SECRET})
    await asha.post(ME)
    await asha.post("/auth/login", content=b"x", headers={"Content-Type": "text/plain"})
    told = lines(capsys)
    refused = [line for line in told if line["event"] == "request refused"]
    assert [line["status"] for line in refused] == [401, 404, 400, 400, 405, 415]
    assert {line["address"] for line in refused} == {"127.0.0.1"}
    assert [line["user"] for line in refused[:3]] == [None, str(asha.user), str(asha.user)]
    assert all(line["timestamp"].endswith("Z") and line["path"] and line["kind"] for line in refused)
    assert SECRET not in json.dumps(told)


async def test_what_succeeds_is_no_refusal(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    assert (await site.person("asha").get(ME)).status_code == 200
    assert lines(capsys) == []
