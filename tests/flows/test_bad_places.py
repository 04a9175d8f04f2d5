"""The machine fails: a killed database, a full disk, odd folders. What was acknowledged is there, all or nothing."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from portfolio_scheduler.app import running
from portfolio_scheduler.clock import StoppedClock
from portfolio_scheduler.db import embedded
from portfolio_scheduler.errors import PortfolioSchedulerError
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.simulator.server import SimulatorOptions
from portfolio_scheduler.simulator.server import running as simulator_running
from tests.builders import TUESDAY
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger


@asynccontextmanager
async def installed(folder: Path) -> AsyncIterator[Stage]:
    """The whole product with its embedded database in that folder, and a simulator."""
    async with simulator_running(SimulatorOptions(accounts=2, seed=7, on=FIRST_DAY)) as sim:
        settings = Settings(data=folder / "data", keys=folder / "keys", groww_url=sim.url)
        clock = StoppedClock(sim.now)
        async with running(settings, clock) as app:
            yield Stage(app, sim, clock)


def kill_postgres(stage: Stage) -> None:
    """kill -9 of the server and of all its processes, as the kernel does when memory runs out."""
    pid_file = embedded._place(stage.app.settings).cluster / "postmaster.pid"
    pid = int(pid_file.read_text().splitlines()[0])
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    for one in [pid, *map(int, children)]:
        os.kill(one, signal.SIGKILL)


@pytest.mark.parametrize("name", ["data of a family", "पोर्टफोलियो ₹ é", 'it\'s "quoted" $HOME %s'])
async def test_a_path_with_spaces_and_other_letters_is_a_path(folder: Path, name: str) -> None:
    (folder / name).mkdir(mode=0o711)
    async with installed(folder / name) as stage:
        account = await stage.connect(2)
        stage.at(FIRST_DAY, 16)
        assert (await stage.sync(account)).status == "completed"


async def test_a_database_killed_in_mid_sync_and_between_syncs_loses_nothing(folder: Path) -> None:
    """While it is down a sync fails in one sentence; once it is up again everything acknowledged is there."""
    async with installed(folder) as stage:
        account = await stage.connect(2)
        stage.at(FIRST_DAY, 16)
        first = await stage.sync(account)
        held = await stage.one("SELECT seq FROM account_heads")
        kill_postgres(stage)
        with pytest.raises(Exception, match=r"database|connection|server") as raised:
            await stage.sync(account)
        assert "Traceback" not in str(raised.value)
    async with installed(folder) as stage:
        stage.at(FIRST_DAY, 16, 30)
        assert await stage.rows("SELECT id::text, status FROM sync_batches") == [(first.batch_id, "completed")]
        assert await stage.one("SELECT seq FROM account_heads") == held
        await check_ledger(stage, account.id)
        stage.at(TUESDAY, 16)
        stage.sim.add_fault(Fault(kind="delay", path="/v1/holdings", seconds=0.5))
        syncing = asyncio.create_task(stage.sync(account))
        await asyncio.sleep(0.3)
        kill_postgres(stage)
        (result,) = await asyncio.gather(syncing, return_exceptions=True)
        assert isinstance(result, Exception), result
    async with installed(folder) as stage:
        stage.at(TUESDAY, 17)
        assert await stage.one("SELECT count(*) FROM portfolio_snapshots") == 1
        await stage.rows("UPDATE sync_batches SET heartbeat_at = heartbeat_at - interval '1 min' "
                         "WHERE status = 'running' RETURNING 1")  # fmt: skip
        assert (await stage.sync(account)).status == "completed"
        await check_ledger(stage, account.id)
        days = await stage.rows("SELECT trading_on FROM portfolio_snapshots ORDER BY 1")
        assert days == [(FIRST_DAY,), (TUESDAY,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
async def test_a_full_disk_keeps_every_acknowledged_batch_and_no_partial_one(folder: Path) -> None:
    """T12: syncs until the disk is full; then one sentence, and it heals when there is room again."""
    disk = folder / "disk"
    disk.mkdir()
    size = "size=260m,mode=0711"
    if ran("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)):
        pytest.skip("mounting is not allowed here")
    try:
        async with installed(disk) as stage:
            account = await stage.connect(2)
            stage.at(FIRST_DAY, 16)
            acknowledged = [(await stage.sync(account)).batch_id]
            ballast = disk / "ballast"
            with ballast.open("wb") as file:
                free = os.statvfs(disk)
                file.write(b"\0" * max(free.f_bavail * free.f_frsize - 65_536, 0))
            said = ""
            for minute in range(1, 40):
                stage.at(FIRST_DAY, 16, minute)
                try:
                    await fill_a_little(stage)
                    report = await stage.sync(account)
                except (psycopg.Error, PortfolioSchedulerError) as error:
                    said = str(error)
                    break
                acknowledged.append(report.batch_id)
            assert said, "the disk was not full"
            ballast.unlink()
        async with installed(disk) as stage:
            stage.at(FIRST_DAY, 17)
            kept = await stage.rows("SELECT id::text FROM sync_batches WHERE status = 'completed'")
            assert set(acknowledged) <= {batch_id for (batch_id,) in kept}
            await stage.rows("UPDATE sync_batches SET heartbeat_at = heartbeat_at - interval '1 min' "
                             "WHERE status = 'running' RETURNING 1")  # fmt: skip
            assert (await stage.sync(account)).status == "completed"
            await check_ledger(stage, account.id)
    finally:
        ran("umount", "-l", str(disk))


def ran(*command: str) -> int:
    """The exit code of a command."""
    return subprocess.run(command, check=False).returncode


async def fill_a_little(stage: Stage) -> None:
    """Another raw answer of a megabyte that does not compress."""
    body = os.urandom(400_000).hex()
    stage.sim.add_fault(
        Fault(kind="raw", path="/v1/margins", body=f'{{"status":"SUCCESS","payload":{{"x":"{body}"}}}}')
    )
