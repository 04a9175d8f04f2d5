"""The service as a real process: it becomes ready, syncs who is due, and leaves nothing open when it is stopped."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from portfolio_scheduler.app import running as product
from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.clock import StoppedClock, SystemClock, ist
from portfolio_scheduler.db import embedded
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.jobs import FINISH_SECONDS, STOP_SECONDS
from portfolio_scheduler.key_source import OPENING_FILE
from portfolio_scheduler.keyring import make_if_new
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.simulator.server import Simulator, SimulatorOptions, running
from portfolio_scheduler.sync.connect import connect
from tests.conftest import settings_in
from tests.flows.conftest import FIRST_DAY
from tests.scale import PROOF

HEADERS = {"X-Content-Type-Options", "Content-Security-Policy", "Cache-Control", "Referrer-Policy"}
COMMAND = [str(Path(sys.executable).parent / "portfolio-scheduler")]
# What running syncs get to end, where the product gives them 14 s; the proof waits so long.
FINISH = FINISH_SECONDS if PROOF else 2


def environment(settings: Settings) -> dict[str, str]:
    return os.environ | {
        "PORTFOLIO_SCHEDULER_DATA": str(settings.data),
        "PORTFOLIO_SCHEDULER_KEYS": str(settings.keys),
        "PORTFOLIO_SCHEDULER_GROWW_URL": settings.groww_url,
        "PORTFOLIO_SCHEDULER_LOG_FORMAT": "json",
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Service:
    """A running process and its address."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    async def get(self, path: str) -> tuple[int, Any, Any]:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return answer.status, await answer.json(content_type=None), answer.headers

    async def post(self, path: str, body: dict[str, str]) -> int:
        async with aiohttp.ClientSession() as session, session.post(self.url + path, json=body) as answer:
            return answer.status

    async def until_ready(self, seconds: float = 30) -> dict[str, Any]:
        last: Any = None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.returncode is None:
            try:
                status, last, _ = await self.get("/health/ready")
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
                continue
            if status == 200:
                return dict(last)
            await asyncio.sleep(0.1)
        raise AssertionError(f"not ready: {last}, exit code {self.process.returncode}")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to end; returns the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        await asyncio.wait_for(self.process.wait(), 20)
        return time.monotonic() - began


@asynccontextmanager
async def started(command: list[str], settings: Settings, port: int) -> AsyncIterator[Service]:
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(settings), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Service(process, port)
    finally:
        if process.returncode is None:
            process.kill()
        _, errors = await process.communicate()
        print(errors.decode())  # pytest shows it when the test fails


@asynccontextmanager
async def an_account(settings: Settings, sim: Simulator, clock: StoppedClock) -> AsyncIterator[Any]:
    """The product with one account connected; yields a function that runs a query."""
    async with product(settings, clock) as app:
        login = sim.accounts[1]
        credentials = Credentials(login=Login.TOTP, api_key=login.api_key, totp_secret=login.totp_secret or "")
        await connect(app, broker="groww", label="mine", credentials=credentials)

        async def rows(query: str) -> list[Any]:
            async with transaction(app.pool) as tx:
                return await (await tx.execute(query)).fetchall()  # type: ignore[arg-type]

        yield rows


async def until(rows: Any, query: str, seconds: float = 20) -> list[Any]:
    deadline = time.monotonic() + seconds
    while not (found := await rows(query)):
        assert time.monotonic() < deadline, query
        await asyncio.sleep(0.05)
    return list(found)


@asynccontextmanager
async def a_due_account(folder: Path) -> AsyncIterator[tuple[Settings, Simulator, Any, int]]:
    """An account connected on Monday morning, seen from a few seconds past 16:00."""
    async with running(SimulatorOptions(accounts=2, seed=7, on=FIRST_DAY, ticking=True)) as sim:
        base = settings_in(folder)
        settings = Settings(data=base.data, keys=base.keys, groww_url=sim.url)
        async with an_account(settings, sim, StoppedClock(ist(FIRST_DAY, 9))) as rows:
            sim.set_clock(ist(FIRST_DAY, 16, 0))
            yield settings, sim, rows, free_port()


def process_at(port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "tests.flows.serve_process",
        ist(FIRST_DAY, 16, 0).isoformat(),
        str(port),
        str(FINISH),
    ]


async def test_a_due_slot_is_synced_within_seconds_and_sigterm_ends_it(installed_folder: Path) -> None:
    async with (
        a_due_account(installed_folder) as (settings, _, rows, port),
        started(process_at(port), settings, port) as service,
    ):
        await service.until_ready()
        [(trigger, standing)] = await until(
            rows, "SELECT trigger, standing FROM sync_batches WHERE status = 'completed'"
        )
        assert (trigger, standing) == ("scheduled", "final")
        ready = await service.until_ready()
        assert ready["state"]["synced_within_a_day"] == 1
        assert "mine" not in str(ready)
        assert isinstance(ready["warnings"], list)
        _, alive, headers = await service.get("/health")
        assert alive["status"] == "alive"
        assert set(headers) >= HEADERS
        status, problem, headers = await service.get("/nowhere")
        assert (status, problem["status"], headers["Content-Type"]) == (404, 404, "application/problem+json")
        assert set(headers) >= HEADERS
        assert await service.stop() < 10
        assert service.process.returncode == 0
        assert await rows("SELECT FROM procrastinate_jobs") == []


@pytest.mark.long
async def test_a_running_sync_is_closed_when_the_process_is_stopped(installed_folder: Path) -> None:
    async with a_due_account(installed_folder) as (settings, sim, rows, port):
        sim.add_fault(Fault(kind="delay", path="/v1/holdings", seconds=60, times=None))
        async with started(process_at(port), settings, port) as service:
            await until(rows, "SELECT FROM sync_batches WHERE status = 'running'", 30)
            assert await service.stop() <= FINISH + 6
            assert service.process.returncode == 0
        # closed, and such that the next start plans it again at once
        assert await rows("SELECT status, error_class FROM sync_batches") == [("failed", "CancelledError")]


def test_what_runs_has_time_to_end_before_whoever_asked_loses_patience() -> None:
    """Our own end comes after that of the syncs, and before the 20 s that are promised."""
    assert FINISH_SECONDS + 4 <= STOP_SECONDS < 20


async def test_the_command_serves_and_ctrl_c_ends_it(folder: Path) -> None:
    settings, port = settings_in(folder), free_port()
    with embedded.running(settings):  # stays up, so that stopping it is not measured
        async with started([*COMMAND, "serve", "--port", str(port)], settings, port) as service:
            ready = await service.until_ready(90)  # it makes its database first
            assert ready["worker"] == "working"
            assert service.process.stdout is not None
            listening, nobody = [(await service.process.stdout.readline()).decode() for _ in range(2)]
            assert listening.startswith(f"Listening on {service.url} ")
            assert nobody.startswith("Nobody can log in yet. Set-up token for the first user")
            newcomer = {"token": nobody.split()[-1], "name": "asha", "password": "eleven purple kettles sing"}
            assert await service.post("/auth/register", newcomer) == 201
            assert await service.post("/auth/register", newcomer) == 422
            other = await asyncio.create_subprocess_exec(
                *COMMAND, "serve", "--port", str(port), env=environment(settings), stderr=asyncio.subprocess.PIPE
            )
            _, errors = await other.communicate()
            assert other.returncode == 2
            assert errors.decode().startswith(f"Cannot listen on 127.0.0.1, port {port}: ")
            assert len(errors.decode().splitlines()) == 1
            assert await service.stop(signal.SIGINT) < 10
            assert service.process.returncode == 0


@pytest.mark.parametrize("arguments", [["serve", "--no-worker"], ["worker"]])
async def test_web_and_worker_run_apart(installed_folder: Path, arguments: list[str]) -> None:
    """The web needs no key that opens anything, and makes none."""
    settings, port = settings_in(installed_folder), free_port()
    if arguments[0] == "serve":
        make_if_new(settings, SystemClock().now())
        (settings.keys / OPENING_FILE).unlink()
        async with started([*COMMAND, *arguments, "--port", str(port)], settings, port) as service:
            assert (await service.until_ready())["worker"] == "elsewhere"
            await service.stop()
            assert service.process.returncode == 0
            assert not (settings.keys / OPENING_FILE).exists()
    else:
        async with started([*COMMAND, *arguments], settings, port) as service:
            assert service.process.stdout is not None
            assert (await service.process.stdout.readline()).startswith(b"Working.")
            await service.stop()
            assert service.process.returncode == 0
