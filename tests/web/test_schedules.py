"""Schedules over HTTP: what they are, what comes of others, and that setting them is a fact."""

from uuid import uuid4

import pytest

from tests.web.conftest import Site, problem_of, working

PATH = "/portfolio-scheduler/broker-accounts"
PREVIEW = "/portfolio-scheduler/schedules/preview"


async def test_schedules_are_shown_set_and_kept_as_a_fact(site: Site) -> None:
    asha = site.person("asha")
    one = f"{PATH}/{(await site.account_of(asha)).id}/schedules"
    shown = (await asha.get(one)).json()
    assert shown["schedules"] == [{"cron": "0 16 * * 1-5", "timezone": "Asia/Kolkata"}]
    assert [run["reason"] for run in shown["runs"][:2]] == ["late pass", "regular"]
    assert shown["unread_close"] is None
    wish = {"schedules": [{"cron": "30 9 * * *", "timezone": "Europe/London"}], "late_pass": False}
    async with working(site):
        answer = await asha.put(one, json=wish)
    assert answer.status_code == 200, answer.text
    assert answer.json()["schedules"] == wish["schedules"]
    assert answer.json()["unread_close"] == "2026-04-21"
    assert (await asha.get(one)).json() == answer.json()
    told = await site.stage.one("SELECT details ->> 'schedules' FROM ledger_events WHERE subject = 'schedules'")
    assert told == "30 9 * * * Europe/London"


async def test_a_preview_changes_nothing(site: Site) -> None:
    asha = site.person("asha")
    answer = await asha.post(PREVIEW, json={"schedules": [{"cron": "0 16 * * 1-5"}], "late_pass": False, "count": 3})
    assert answer.status_code == 200, answer.text
    assert [run["at"] for run in answer.json()["runs"]] == [f"2026-04-{day}T10:30:00Z" for day in (21, 22, 23)]
    assert {run["standing"] for run in answer.json()["runs"]} == {"final"}


@pytest.mark.parametrize(
    ("cron", "timezone"),
    [("0 16 * *", "Asia/Kolkata"), ("* * * * *", "Asia/Kolkata"), ("0 16 30 2 *", "Asia/Kolkata"),
     ("H 16 * * 1-5", "Asia/Kolkata"), ("0 16 * * 1-5", "Asia/Nowhere"), ("0 16 * * 1-5", "../../etc/passwd"),
     ("0 16 * * 1-5\u0000", "Asia/Kolkata"), ("9" * 201, "Asia/Kolkata")],
)  # fmt: skip
async def test_schedules_that_cannot_be_run_are_refused(site: Site, cron: str, timezone: str) -> None:
    answer = await site.person("asha").post(PREVIEW, json={"schedules": [{"cron": cron, "timezone": timezone}]})
    assert answer.status_code == 400, answer.text
    problem_of(answer)


async def test_schedules_that_read_nothing_are_refused(site: Site) -> None:
    asha = site.person("asha")
    for body in ({"schedules": [], "late_pass": False}, {"schedules": [{"cron": "0 16 * * 1-5"}] * 21}):
        assert (await asha.post(PREVIEW, json=body)).status_code == 400
    assert (await asha.get(f"{PATH}/{uuid4()}/schedules")).status_code == 404
