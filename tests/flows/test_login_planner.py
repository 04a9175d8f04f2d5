"""Before the close every login is tried, so that the owner hears of a bad evening while something can be done."""

import asyncio
import dataclasses
from datetime import timedelta

import pytest
from msgspec.structs import replace

from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.brokers.groww.login import APPROVAL_URL
from portfolio_scheduler.db import accounts
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.settings import load
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.connect import connect
from portfolio_scheduler.sync.logins import probe_logins
from tests.builders import TUESDAY
from tests.flows.conftest import FIRST_DAY, Stage

PROBES = "SELECT outcome FROM login_probes ORDER BY account_id, probe_on"


def unapproved(stage: Stage) -> None:
    """From today on keys must be approved each day."""
    stage.sim.world.quirks = dataclasses.replace(stage.sim.world.quirks, auto_approve=False)


async def outcomes(stage: Stage) -> list[str]:
    return [outcome for (outcome,) in await stage.rows(PROBES)]


def mints(stage: Stage) -> int:
    return sum(request.path.startswith("/v1/token") for request in stage.sim.requests)


async def test_a_totp_login_renews_itself(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(TUESDAY, 15, 15)  # its token died at six
    assert await probe_logins(stage.app) == 1
    assert await outcomes(stage) == ["ok"]
    assert await stage.rows("SELECT kind FROM notices") == []
    before = mints(stage)
    stage.at(TUESDAY, 16)
    assert (await stage.sync(account)).status == "completed"
    assert mints(stage) == before, "the sync uses the token of the probe"


async def test_an_approval_login_is_asked_for_with_the_link(stage: Stage) -> None:
    await stage.connect(3)
    unapproved(stage)
    stage.at(TUESDAY, 15, 15)
    await probe_logins(stage.app)
    kind, text, link = await stage.one("SELECT kind, text, link FROM notices")
    assert (kind, link) == ("approval_needed", APPROVAL_URL)
    assert text == "account 3 needs approval before 16:00: approve its API key for today."
    assert await stage.one("SELECT state FROM broker_accounts") == "needs_login"


async def test_the_owner_approves_and_the_sync_runs(stage: Stage) -> None:
    account = await stage.connect(3)
    unapproved(stage)
    stage.at(TUESDAY, 15, 15)
    await probe_logins(stage.app)
    stage.sim.approve(3)
    stage.at(TUESDAY, 16)
    assert (await stage.sync(account)).status == "completed"
    assert await stage.one("SELECT state FROM broker_accounts") == "active"


async def test_a_pasted_token_that_died_is_asked_for(stage: Stage) -> None:
    pasted = Credentials(login=Login.TOKEN, access_token=stage.sim.token(1))
    await connect(stage.app, broker="groww", label="pasted", credentials=pasted)
    stage.at(TUESDAY, 15, 15)
    await probe_logins(stage.app)
    assert await stage.one("SELECT kind FROM notices") == "token_needed"


async def test_a_probe_runs_once_a_day_however_many_workers_and_restarts(stage: Stage) -> None:
    for number in (1, 2, 3):
        await stage.connect(number)
    stage.at(TUESDAY, 15, 15)
    before = len(stage.sim.requests)
    await asyncio.gather(*(probe_logins(stage.app) for _ in range(4)))
    asked = len(stage.sim.requests) - before
    assert asked == 2 * 3, "a mint and a look at whose account it is, for each"
    for minutes in (16, 30, 59):
        stage.at(TUESDAY, 15, minutes)
        await probe_logins(stage.app)
    assert len(stage.sim.requests) - before == asked


@pytest.mark.parametrize(
    ("hour", "minute", "probes"), [(15, 14, 0), (15, 15, 1), (15, 59, 1), (16, 0, 0), (17, 30, 0), (23, 0, 0)]
)
async def test_a_machine_that_slept_catches_up_until_the_run_begins(
    stage: Stage, hour: int, minute: int, probes: int
) -> None:
    await stage.connect(1)
    stage.at(TUESDAY, hour, minute)
    assert await probe_logins(stage.app) == probes


async def test_an_account_with_another_schedule_is_probed_before_its_own_run(stage: Stage) -> None:
    account = await stage.connect(3)
    unapproved(stage)
    async with transaction(stage.app.pool) as tx:
        await accounts.set_schedules(tx, account.id, [{"cron": "30 18 * * 1-5", "timezone": "Asia/Kolkata"}])
    stage.at(TUESDAY, 17)
    await probe_logins(stage.app)
    assert "before 18:30" in await stage.one("SELECT text FROM notices")


async def test_a_day_without_a_session_needs_no_login(stage: Stage) -> None:
    await stage.connect(1)
    stage.at(FIRST_DAY + timedelta(days=5), 15, 15)  # a Saturday
    assert await probe_logins(stage.app) == 0


async def test_the_hour_of_the_probe_is_a_setting(stage: Stage) -> None:
    await stage.connect(1)
    settings = replace(stage.app.settings, login_probe=load({"PORTFOLIO_SCHEDULER_LOGIN_PROBE": "11:30"}).login_probe)
    stage.app = replace(stage.app, settings=settings)
    stage.at(TUESDAY, 11, 29)
    assert await probe_logins(stage.app) == 0
    stage.at(TUESDAY, 11, 30)
    assert await probe_logins(stage.app) == 1


async def test_a_broker_that_cannot_be_asked_is_asked_again_and_nobody_is_alarmed(stage: Stage) -> None:
    await stage.connect(1)
    stage.at(TUESDAY, 15, 15)
    stage.sim.add_fault(Fault(kind="html", path="/v1/user", status=502, times=None))
    await probe_logins(stage.app)
    assert await outcomes(stage) == ["later"]
    stage.sim.faults.waiting.clear()
    assert await probe_logins(stage.app) == 0, "not at once"
    await stage.rows("UPDATE login_probes SET claimed_at = claimed_at - interval '10 min' RETURNING 1")
    assert await probe_logins(stage.app) == 1
    assert await outcomes(stage) == ["ok"]
    assert await stage.rows("SELECT kind FROM notices") == []
    assert await stage.one("SELECT state FROM broker_accounts") == "active"


async def test_a_probe_whose_process_died_is_taken_over(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(TUESDAY, 15, 15)
    await _claimed(stage, account, seconds=60)
    assert await probe_logins(stage.app) == 0
    await stage.rows("UPDATE login_probes SET claimed_at = claimed_at - interval '61 s' RETURNING 1")
    assert await probe_logins(stage.app) == 1
    assert await outcomes(stage) == ["ok"]


async def test_a_probe_that_kills_its_process_every_time_is_left_alone(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(TUESDAY, 15, 15)
    await _claimed(stage, account, seconds=600, attempts=3)
    assert await probe_logins(stage.app) == 0


async def _claimed(stage: Stage, account: Account, *, seconds: float, attempts: int = 1) -> None:
    await stage.rows(
        """INSERT INTO login_probes (account_id, probe_on, attempts, claimed_at)
           VALUES (%s, %s, %s, clock_timestamp() - make_interval(secs => %s)) RETURNING 1""",
        account.id, TUESDAY, attempts, seconds,
    )  # fmt: skip


async def test_one_account_that_cannot_log_in_stops_no_other(stage: Stage) -> None:
    for number in (1, 2, 3):
        await stage.connect(number)
    stage.at(TUESDAY, 15, 15)
    stage.sim.add_fault(Fault(kind="gateway", path="/v1", status=401, code="401", account=2, times=None))
    await probe_logins(stage.app)
    assert sorted(await outcomes(stage)) == ["ok", "ok", "owner"]
    assert await stage.one("SELECT kind FROM notices") == "login_refused"


async def test_paused_and_removed_accounts_are_left_alone(stage: Stage) -> None:
    account = await stage.connect(1)
    await stage.rows("UPDATE broker_accounts SET state = 'paused' WHERE id = %s RETURNING 1", account.id)
    stage.at(TUESDAY, 15, 15)
    assert await probe_logins(stage.app) == 0
