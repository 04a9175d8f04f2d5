"""The machine fails: a killed database, a full disk, odd folders. What was acknowledged is there, all or nothing."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog

from portfolio_scheduler.app import running
from portfolio_scheduler.cli.serve import kept
from portfolio_scheduler.clock import StoppedClock
from portfolio_scheduler.db import embedded
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.errors import PortfolioSchedulerError
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.simulator.server import SimulatorOptions
from portfolio_scheduler.simulator.server import running as simulator_running
from portfolio_scheduler.sync import plan
from portfolio_scheduler.sync.run import run_queued
from tests.builders import TUESDAY
from tests.conftest import copy_installed
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger
from tests.scale import PROOF

WAIT_SECONDS = 2  # for a connection, where the product waits ten: here the database is down on purpose
LOOK_SECONDS = 0.5  # between two looks at whether the server runs, where the product waits five


@asynccontextmanager
async def installed(folder: Path) -> AsyncIterator[Stage]:
    """The whole product with its embedded database in that folder, and a simulator."""
    async with simulator_running(SimulatorOptions(accounts=2, seed=7, on=FIRST_DAY)) as sim:
        settings = Settings(data=folder / "data", keys=folder / "keys", groww_url=sim.url)
        clock = StoppedClock(sim.now)
        async with running(settings, clock, wait_seconds=WAIT_SECONDS) as app:
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


@pytest.mark.long
async def test_a_database_killed_in_mid_sync_and_between_syncs_loses_nothing(installed_folder: Path) -> None:
    """While it is down a sync fails in one sentence; once it is up again everything acknowledged is there."""
    async with installed(installed_folder) as stage:
        account = await stage.connect(2)
        stage.at(FIRST_DAY, 16)
        first = await stage.sync(account)
        held = await stage.one("SELECT seq FROM account_heads")
        kill_postgres(stage)
        with pytest.raises(Exception, match=r"database|connection|server") as raised:
            await stage.sync(account)
        assert "Traceback" not in str(raised.value)
    async with installed(installed_folder) as stage:
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
    async with installed(installed_folder) as stage:
        stage.at(TUESDAY, 17)
        assert await stage.one("SELECT count(*) FROM portfolio_snapshots") == 1
        await stage.rows("UPDATE sync_batches SET heartbeat_at = heartbeat_at - interval '1 min' "
                         "WHERE status = 'running' RETURNING 1")  # fmt: skip
        assert (await stage.sync(account)).status == "completed"
        await check_ledger(stage, account.id)
        days = await stage.rows("SELECT trading_on FROM portfolio_snapshots ORDER BY 1")
        assert days == [(FIRST_DAY,), (TUESDAY,)]


@contextmanager
def a_small_disk(at: Path, megabytes: int) -> Iterator[None]:
    """A disk of its own at that folder; the test is skipped where we may not mount one."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    at.mkdir(parents=True, exist_ok=True)
    owner = at.stat()
    size = f"size={megabytes}m,mode=0711,uid={owner.st_uid},gid={owner.st_gid}"
    if ran("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(at)):
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        ran("umount", "-l", str(at))


@contextmanager
def a_log_of_its_own(settings: Settings, disk: Path) -> Iterator[None]:
    """PostgreSQL's log (WAL) on another disk than its tables."""
    with embedded.running(settings):
        cluster = embedded._cluster(settings.data)
    log, owner = cluster / "pg_wal", cluster.stat()
    disk.mkdir()
    os.chown(disk, owner.st_uid, owner.st_gid)
    with a_small_disk(disk, 160):
        shutil.copytree(log, disk / "pg_wal")
        for each in (disk / "pg_wal", *(disk / "pg_wal").rglob("*")):
            os.chown(each, owner.st_uid, owner.st_gid)
        (disk / "pg_wal").chmod(0o700)
        shutil.rmtree(log)
        log.symlink_to(disk / "pg_wal")
        yield


def stuff(disk: Path, *, leave: int = 65_536) -> Path:
    """A file that takes all room of the disk but a little."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(disk)
        file.write(b"\0" * max(free.f_bavail * free.f_frsize - leave, 0))
    return ballast


@pytest.mark.parametrize(
    "full", ["tables", pytest.param("log", marks=pytest.mark.skipif(not PROOF, reason="the other disk: make proof"))]
)
@pytest.mark.long
async def test_a_full_disk_keeps_every_acknowledged_batch_and_heals_without_a_restart(
    folder: Path, prepared: Path, full: str
) -> None:
    """T12, T13: scheduled syncs until the disk is full; one sentence; with room again they go on within a minute."""
    with ExitStack() as disks:
        home, disk = folder / "home", folder / "home"
        if full == "tables":
            disks.enter_context(a_small_disk(home, 260))
            copy_installed(prepared, home)
        else:
            home.mkdir(mode=0o711)
            disk = folder / "log"
            disks.enter_context(a_log_of_its_own(Settings(data=home / "data", keys=home / "keys"), disk))
        async with installed(home) as stage, kept(stage.app.settings, look_seconds=LOOK_SECONDS):
            with structlog.testing.capture_logs() as logged:
                await fill_and_heal(stage, disk, logged)


async def fill_and_heal(stage: Stage, disk: Path, logged: list[Any]) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    acknowledged = [(await stage.sync(account)).batch_id]
    ballast = stuff(disk)
    said: list[str] = []
    for minute in range(1, 60):
        stage.at(FIRST_DAY, 16, minute)
        try:
            await fill_a_little(stage)
            acknowledged.append((await stage.sync(account, trigger="scheduled")).batch_id)
        except (psycopg.Error, PortfolioSchedulerError) as error:
            said.append(str(error))
            break
    assert said, "the disk was not full"
    for _ in range(300):  # the keeper looks every few seconds
        if any("The disk of " in text and " is full" in text for text in (*said, *reasons(logged))):
            break
        await asyncio.sleep(0.2)
    else:
        raise AssertionError((said, logged))
    ballast.unlink()
    kept_before = len(acknowledged)
    async with asyncio.timeout(60):
        for _ in range(300):
            if batch := await attempt(stage, account):
                acknowledged.append(batch)
                break
            await asyncio.sleep(0.2)
    assert len(acknowledged) == kept_before + 1, "syncs go on"
    kept_now = await stage.rows("SELECT id::text FROM sync_batches WHERE status = 'completed'")
    assert set(acknowledged) <= {batch_id for (batch_id,) in kept_now}
    await check_ledger(stage, account.id)


def reasons(logged: list[Any]) -> list[str]:
    return [str(entry.get("reason")) for entry in logged]


async def attempt(stage: Stage, account: Account) -> str | None:
    """What the loops of `serve` do again and again: sweep, plan, run. The batch that completed, if one did."""
    with suppress(psycopg.Error, PortfolioSchedulerError):
        stage.clock.advance(10)
        await plan.sweep(stage.app, stage.clock.now())
        await plan.plan(stage.app, stage.clock.now())
        report = await run_queued(stage.app, account.id)
        return report.batch_id if report and report.status == "completed" else None
    return None


def ran(*command: str) -> int:
    """The exit code of a command."""
    return subprocess.run(command, check=False).returncode


async def fill_a_little(stage: Stage) -> None:
    """Another raw answer of a megabyte that does not compress."""
    body = os.urandom(400_000).hex()
    stage.sim.add_fault(
        Fault(kind="raw", path="/v1/margins", body=f'{{"status":"SUCCESS","payload":{{"x":"{body}"}}}}')
    )
