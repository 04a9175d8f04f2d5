"""What a sync writes to the log: one story per batch, and never a secret."""

import json

import pytest

from portfolio_scheduler import log
from portfolio_scheduler.simulator.faults import Fault
from tests.flows.conftest import FIRST_DAY, Stage


async def test_every_line_of_a_sync_names_its_batch_and_account(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    account = await stage.connect(2)
    log.configure("debug", "json")
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(Fault(kind="html", path="/v1/holdings/user", status=502, times=2))
    report = await stage.sync(account)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    told = [line["event"] for line in lines]
    assert (told[0], told[-1]) == ("sync started", "sync finished")
    assert len(lines) > 2, "the retries are told as well"
    assert {(line.get("batch"), line.get("account")) for line in lines} == {(report.batch_id, account.label)}


async def test_no_secret_reaches_the_log(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug", "json")
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(Fault(kind="gateway", path="/v1/holdings/user", status=401, code="401", times=None))
    await stage.sync(account)
    written = capsys.readouterr()
    secrets = [stage.credentials(2).api_key, stage.credentials(2).totp_secret, stage.sim.token(2)]
    assert all(secrets)
    assert not [secret for secret in secrets if secret in written.err + written.out]
