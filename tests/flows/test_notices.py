"""What the owner hears of: what no retry will mend, once a day for each account and kind, until it is settled."""

from datetime import timedelta
from typing import Any

import pytest

from portfolio_scheduler.db import notices
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.plan import Planned, plan
from portfolio_scheduler.sync.run import run_queued
from tests.flows.conftest import FIRST_DAY, Stage

SHAPE = '{"status":"SUCCESS","payload":{"surprise":1}}'


async def tick(stage: Stage) -> Planned:
    return await plan(stage.app, stage.clock.now())


async def kinds(stage: Stage) -> list[str]:
    return [kind for (kind,) in await stage.rows("SELECT kind FROM notices ORDER BY id")]


async def still_open(stage: Stage) -> list[str]:
    async with transaction(stage.app.pool) as tx:
        ids = [row[0] for row in await stage.rows("SELECT id FROM broker_accounts")]
        return [one.kind for one in await notices.open_notices(tx, ids, stage.clock.now())]


async def later(stage: Stage, minutes: int = 15) -> Planned:
    stage.move(stage.clock.now() + timedelta(minutes=minutes))
    return await tick(stage)


@pytest.mark.parametrize(
    ("error_class", "retries", "kind"),
    [
        ("BrokerUnavailable", 3, "sync_failed"),
        ("BrokerThrottled", 3, "sync_failed"),
        ("DatabaseUnavailable", 3, "sync_failed"),
        ("SerializationFailure", 3, "sync_failed"),
        ("AdminShutdown", 3, "sync_failed"),
        ("ConnectionResetError", 3, "sync_failed"),
        ("BrokerAnswerUnknown", 3, "answer_unknown"),
        ("BrokerLoginRequired", 0, "login_refused"),
        ("BrokerNotEntitled", 0, "not_entitled"),
        ("BrokerRefused", 0, "refused"),
        ("SecretUnreadable", 0, "secret_unreadable"),
        ("AssertionError", 1, "bug"),
        ("KeyError", 1, "bug"),
        ("UniqueViolation", 1, "bug"),
    ],
)
async def test_each_class_of_error_has_its_retries_and_then_its_notice(
    stage: Stage, error_class: str, retries: int, kind: str
) -> None:
    await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    await tick(stage)
    for _ in range(retries):
        await stage.end_badly(error_class=error_class, error_text="why")
        assert await later(stage) == Planned(retries=1)
        assert await kinds(stage) == []
    await stage.end_badly(error_class=error_class, error_text="why")
    assert await later(stage) == Planned()
    assert await kinds(stage) == [kind]
    assert await stage.one("SELECT text FROM notices") == "account 1: why"


async def test_a_notice_comes_once_a_day_however_often_it_happens(stage: Stage) -> None:
    await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    await tick(stage)
    await stage.end_badly(error_class="BrokerLoginRequired")
    for _ in range(3):
        await later(stage)
    stage.at(FIRST_DAY, 23, 15)
    assert await tick(stage) == Planned(due=1)
    await stage.end_badly(error_class="BrokerLoginRequired")
    await later(stage)
    assert await kinds(stage) == ["login_refused"]
    stage.at(FIRST_DAY + timedelta(days=1), 16)
    await tick(stage)
    await stage.end_badly(error_class="BrokerLoginRequired")
    await later(stage)
    assert await kinds(stage) == ["login_refused"] * 2


@pytest.mark.parametrize("error_class", ["WorkerLost", "CancelledError"])
async def test_what_was_interrupted_is_nobodys_news(stage: Stage, error_class: str) -> None:
    await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    await tick(stage)
    for _ in range(4):
        await stage.end_badly(error_class=error_class)
        await tick(stage)
    assert await kinds(stage) == []


async def test_a_completed_sync_settles_what_was_noticed(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    await tick(stage)
    await stage.end_badly(error_class="AssertionError", error_text="unexpected error; see the log")
    await later(stage)
    await stage.end_badly(error_class="AssertionError", error_text="unexpected error; see the log")
    await later(stage)
    assert await still_open(stage) == ["bug"]
    stage.clock.advance(60)
    assert (await stage.sync(account)).status == "completed"
    assert await still_open(stage) == []


async def test_the_same_answer_we_do_not_know_is_asked_for_three_times(stage: Stage) -> None:
    """The broker is not going to say anything else: the developers must hear of it."""
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(Fault(kind="raw", path="/v1/holdings/user", body=SHAPE, times=None))
    await tick(stage)
    assert (await run_queued(stage.app, account.id)).status == "partial"  # type: ignore[union-attr]
    for _ in range(2):
        assert await later(stage, 16) == Planned(retries=1)
        assert (await run_queued(stage.app, account.id)).status == "partial"  # type: ignore[union-attr]
    assert await kinds(stage) == []
    assert await later(stage, 16) == Planned()
    assert await kinds(stage) == ["answer_unknown"]


async def test_another_unknown_answer_each_time_is_asked_for_a_fourth_time(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    await tick(stage)
    for n in range(3):
        stage.sim.faults.waiting.clear()
        body = SHAPE.replace("1", str(n))
        stage.sim.add_fault(Fault(kind="raw", path="/v1/holdings/user", body=body, times=None))
        await run_queued(stage.app, account.id)
        assert await later(stage, 16) == Planned(retries=1)


async def test_a_part_that_the_account_may_not_read_is_noticed_but_prices_are_not(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    forbidden: Any = {"kind": "failure", "status": 403, "code": "403", "times": None}
    stage.sim.add_fault(Fault(path="/v1/live-data", **forbidden))
    await tick(stage)
    await run_queued(stage.app, account.id)
    await later(stage)
    assert await kinds(stage) == []
    stage.sim.add_fault(Fault(path="/v1/margins", **forbidden))
    stage.clock.advance(60)
    await stage.sync(account)
    await later(stage)
    assert await kinds(stage) == ["not_entitled"]
    assert "may not read margin" in await stage.one("SELECT text FROM notices")


async def test_an_account_without_a_subscription_is_not_asked_again_and_its_owner_hears_of_it(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(Fault(kind="failure", path="/v1", status=403, code="GA005", times=None))
    await tick(stage)
    report = await run_queued(stage.app, account.id)
    assert report is not None
    assert report.status == "failed"
    assert await stage.one("SELECT error_class FROM sync_batches ORDER BY id DESC LIMIT 1") == "BrokerNotEntitled"
    assert await later(stage) == Planned()
    assert await kinds(stage) == ["not_entitled"]


async def test_a_pause_the_broker_asked_for_holds_in_every_process(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    throttled = Fault(kind="status", path="/v1/user", status=429, headers={"Retry-After": "3600"}, times=None)
    stage.sim.add_fault(throttled)
    await tick(stage)
    await run_queued(stage.app, account.id)
    stage.sim.faults.waiting.clear()
    asked = len(stage.sim.requests)
    assert await later(stage, 20) == Planned(), "the retry waits as well"
    report = await stage.sync(account)
    assert "can be read again in" in (report.error or "")
    assert len(stage.sim.requests) == asked, "a manual sync of another process sends nothing either"
    assert await later(stage, 45) == Planned(retries=1)
    assert (await run_queued(stage.app, account.id)).status == "completed"  # type: ignore[union-attr]


async def test_whoever_passes_notices_on_reads_each_once(stage: Stage) -> None:
    account = await stage.connect(1)
    async with transaction(stage.app.pool) as tx:
        for kind in (notices.BUG, notices.SYNC_FAILED, notices.BUG):
            await notices.notice(tx, account.id, kind, on=FIRST_DAY, at=stage.clock.now(), text=kind)
        first = await notices.since(tx, None, limit=1)
        rest = await notices.since(tx, first[0].id)
        assert [one.kind for one in (*first, *rest)] == ["bug", "sync_failed"]
        assert await notices.since(tx, rest[-1].id) == []
