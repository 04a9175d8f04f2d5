"""Parts fail, logins die, lists lie: what is true is kept, what is not known is said, nothing is half-written."""

import asyncio
import zlib

import pytest

from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.clock import ist
from portfolio_scheduler.db.accounts import load
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.domain.records import Login, Outcome
from portfolio_scheduler.errors import BrokerLoginRequired, Conflict
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.connect import connect
from tests.builders import TUESDAY
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger, facts_of

MINE = "SELECT broker_order_id FROM order_history WHERE account_id = %s"
SHAPE = {"kind": "raw", "body": '{"status":"SUCCESS","payload":{"surprise":1}}', "times": None}


async def test_a_section_that_fails_changes_nothing_it_owns_and_the_retry_fetches_only_it(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(Fault(path="/v1/holdings/user", **SHAPE))
    report = await stage.sync(account)
    assert report.status == "partial"
    assert report.sections["holdings"].outcome is Outcome.FAILED
    assert report.sections["holdings"].error == "BrokerAnswerUnknown"
    assert (report.counts["holding_changes"], report.counts["snapshots"]) == (0, 0)
    assert report.counts["orders"] > 0
    stage.sim.faults.waiting.clear()
    stage.sim.requests.clear()
    missing = [name for name, result in report.sections.items() if result.outcome is not Outcome.OK]
    retried = await stage.sync(account, trigger="retry", wanted=missing)
    asked = stage.sim.requests_by_path()
    assert (retried.status, retried.counts["snapshots"]) == ("completed", 1), retried
    assert not any("/order/" in path or "/positions" in path or "/margins" in path for path in asked), asked
    await check_ledger(stage, account.id)
    assert await stage.one("SELECT cash IS NOT NULL FROM portfolio_snapshots")


async def test_an_answer_that_is_not_understood_is_kept_byte_for_byte(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(Fault(path="/v1/holdings/user", **SHAPE))
    await stage.sync(account)
    bodies = await stage.rows("SELECT body FROM broker_payloads WHERE call = 'holdings'")
    assert str(SHAPE["body"]).encode() in [zlib.decompress(body) for (body,) in bodies]


async def test_no_entitlement_for_prices_does_not_stop_the_sync(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(
        Fault(
            kind="failure",
            path="/v1/live-data",
            status=403,
            code="403",
            message="Access forbidden for this request.",
            times=None,
        )
    )
    report = await stage.sync(account)
    assert report.status == "completed"
    assert report.sections["prices"].outcome is Outcome.NOT_ENTITLED
    value, priced, pnl = await stage.one("SELECT holdings_value, priced_ratio, unrealised_pnl FROM portfolio_snapshots")
    assert (value, priced, pnl) == (None, 0, None), "no price is not a value of 0"


async def test_a_dead_login_writes_nothing_and_asks_for_the_owner(stage: Stage) -> None:
    account = await stage.connect(3)
    stage.at(FIRST_DAY, 16)
    await stage.sync(account)
    stage.at(TUESDAY, 16)
    stage.sim.add_fault(Fault(kind="failure", path="/v1/token", status=403, code="403", times=None))
    before = await facts_of(stage, account.id)
    report = await stage.sync(account)
    assert report.status == "failed"
    assert "approve" in (report.error or "").lower()
    assert await facts_of(stage, account.id) == before
    assert await stage.one("SELECT state FROM broker_accounts") == "needs_login"
    mints = [request for request in stage.sim.requests if request.path.startswith("/v1/token")]
    assert len([mint for mint in mints if mint.fault]) <= 2
    stage.sim.faults.waiting.clear()
    assert (await stage.sync(account)).status == "completed"
    assert await stage.one("SELECT state FROM broker_accounts") == "active"


async def test_a_token_that_dies_in_the_middle_is_minted_once_more(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(Fault(kind="gateway", path="/v1/order/list", status=401, code="401", times=1))
    stage.sim.requests.clear()
    report = await stage.sync(account)
    assert report.status == "completed"
    assert len([request for request in stage.sim.requests if request.path.startswith("/v1/token")]) == 1


async def test_a_token_is_used_until_it_dies(stage: Stage) -> None:
    account = await stage.connect(1)
    for hour in (10, 12, 16):
        stage.at(FIRST_DAY, hour)
        await stage.sync(account)
    mints = [request for request in stage.sim.requests if request.path.startswith("/v1/token")]
    assert len(mints) == 1
    stage.at(TUESDAY, 16)
    await stage.sync(account)
    mints = [request for request in stage.sim.requests if request.path.startswith("/v1/token")]
    assert len(mints) == 2


async def test_credentials_of_another_account_write_nothing(stage: Stage) -> None:
    first, second = await stage.connect(1), await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    await stage.sync(first)
    before = await facts_of(stage, first.id)
    async with transaction(stage.app.pool) as tx:
        sealed = stage.app.vault.open(second.id, "credentials", second.sealed_credentials or b"")
        await tx.execute(
            "UPDATE broker_accounts SET sealed_credentials = %s, sealed_token = NULL WHERE id = %s",
            (stage.app.vault.seal(first.id, "credentials", sealed), first.id),
        )
    report = await stage.sync(first)
    assert report.status == "failed"
    assert "belong to" in (report.error or "")
    facts = await stage.rows("SELECT seq FROM holding_changes WHERE batch_id = %s::uuid", report.batch_id)
    assert facts == []
    kept = await stage.one("SELECT count(*) FROM broker_payloads WHERE batch_id = %s::uuid", report.batch_id)
    assert await facts_of(stage, first.id) == before + kept


async def test_the_same_broker_account_cannot_be_connected_twice(stage: Stage) -> None:
    await stage.connect(1)
    with pytest.raises(Conflict, match="already connected"):
        await stage.connect(1, label="again")
    assert await stage.one("SELECT count(*) FROM broker_accounts") == 1


async def test_wrong_credentials_leave_no_account_behind(stage: Stage) -> None:
    wrong = Credentials(login=Login.TOTP, api_key="nobody", totp_secret="JBSWY3DPEHPK3PXP")
    with pytest.raises(BrokerLoginRequired):
        await connect(stage.app, broker="groww", label="wrong", credentials=wrong)
    assert await stage.rows("SELECT * FROM broker_accounts") == []


async def test_two_syncs_of_one_account_at_once_one_runs_and_the_other_says_so(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    results = await asyncio.gather(*(stage.sync(account) for _ in range(4)), return_exceptions=True)
    done = [result for result in results if not isinstance(result, BaseException)]
    refused = [result for result in results if isinstance(result, Conflict)]
    assert (len(done), len(refused)) == (1, 3), results
    assert done[0].batch_id in str(refused[0])
    await check_ledger(stage, account.id)


async def test_accounts_synced_at_once_never_mix(stage: Stage) -> None:
    accounts = [await stage.connect(number) for number in (1, 2, 3)]
    stage.at(FIRST_DAY, 16)
    await asyncio.gather(*(stage.sync(account) for account in accounts))
    for number, account in enumerate(accounts, start=1):
        mine = {row[0] for row in await stage.rows(MINE, account.id)}
        theirs = set(stage.sim.account(number).orders)
        assert mine == theirs
        await check_ledger(stage, account.id)


async def test_empty_holdings_are_believed_only_the_second_time(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    await stage.sync(account)
    held = await stage.one("SELECT count(*) FROM real_holdings")
    assert held > 10
    body = '{"status":"SUCCESS","payload":{"holdings":[]}}'
    empty = Fault(kind="raw", path="/v1/holdings/user", body=body, times=None)
    stage.sim.add_fault(empty)
    stage.at(TUESDAY, 16)
    first = await stage.sync(account)
    assert (first.status, first.sections["holdings"].outcome) == ("partial", Outcome.SUSPECT)
    assert await stage.one("SELECT count(*) FROM real_holdings") == held
    assert await stage.one("SELECT count(*) FROM portfolio_snapshots WHERE trading_on = %s", TUESDAY) == 0
    stage.clock.advance(31)
    second = await stage.sync(account)
    assert second.status == "completed"
    assert await stage.one("SELECT count(*) FROM real_holdings") == 0
    assert await stage.rows("SELECT * FROM open_findings") == []
    await check_ledger(stage, account.id)


async def test_an_outage_that_ends_leaves_the_holdings_as_they_were(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    await stage.sync(account)
    held = await stage.one("SELECT count(*) FROM real_holdings")
    body = '{"status":"SUCCESS","payload":{"holdings":[]}}'
    stage.sim.add_fault(Fault(kind="raw", path="/v1/holdings/user", body=body))
    stage.at(FIRST_DAY, 17)
    assert (await stage.sync(account)).status == "partial"
    stage.at(FIRST_DAY, 18)
    assert (await stage.sync(account)).status == "completed"
    assert await stage.one("SELECT count(*) FROM real_holdings") == held
    assert await stage.rows("SELECT * FROM open_findings") == []
    await check_ledger(stage, account.id)


async def test_a_manual_sync_that_takes_over_a_queued_retry_reads_everything(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    async with transaction(stage.app.pool) as tx:
        await tx.execute(
            "INSERT INTO sync_batches (account_id, trigger, status, queued_at, wanted) "
            "VALUES (%s, 'retry', 'queued', %s, ARRAY['margin'])",
            (account.id, stage.clock.now()),
        )
    report = await stage.sync(account)
    assert {"holdings", "margin", "orders:CASH"} <= set(report.sections)
    assert await stage.one("SELECT count(*) FROM sync_batches") == 1


async def test_an_interrupted_sync_closes_its_batch(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(Fault(kind="delay", path="/v1/holdings/user", seconds=30))
    running = asyncio.create_task(stage.sync(account))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    status, text = await stage.one("SELECT status, error_text FROM sync_batches ORDER BY queued_at DESC LIMIT 1")
    assert (status, text) == ("failed", "interrupted")
    stage.sim.faults.waiting.clear()
    assert (await stage.sync(account)).status == "completed"
    await check_ledger(stage, account.id)


async def test_a_batch_whose_worker_died_is_given_up_and_its_fence_keeps_it_out(stage: Stage) -> None:
    account = await stage.connect(1)
    async with transaction(stage.app.pool) as tx:
        await tx.execute(
            "INSERT INTO sync_batches (account_id, trigger, status, queued_at, started_at, heartbeat_at, fence) "
            "VALUES (%s, 'manual', 'running', %s, %s, clock_timestamp() - interval '21 s', 0)",
            (account.id, ist(FIRST_DAY, 15), ist(FIRST_DAY, 15)),
        )
    stage.at(FIRST_DAY, 16)
    assert (await stage.sync(account)).status == "completed"
    lost = await stage.rows("SELECT error_class FROM sync_batches WHERE status = 'failed'")
    assert lost == [("WorkerLost",)]


async def test_a_late_reading_dates_back_to_its_trading_day(stage: Stage) -> None:
    account = await stage.connect(1)
    stage.at(TUESDAY, 2)
    report = await stage.sync(account)
    assert (report.trading_on, report.standing) == (FIRST_DAY, "late")
    async with transaction(stage.app.pool) as tx:
        assert (await load(tx, account.id)).state == "active"
