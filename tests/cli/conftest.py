"""The command line against a real database and the simulator over HTTP, at a time that the test sets."""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import msgspec
import psycopg
import pytest
import typer.main
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from portfolio_scheduler.cli import running
from portfolio_scheduler.cli.main import app
from portfolio_scheduler.clock import StoppedClock, ist
from portfolio_scheduler.errors import PortfolioSchedulerError
from portfolio_scheduler.simulator.server import Simulator, SimulatorOptions
from portfolio_scheduler.simulator.server import running as simulator_running
from tests.conftest import Database

COMMANDS = typer.main.get_command(app)  # made once: that takes as long as a command itself
DAY = date(2026, 4, 20)
NEXT_DAY = date(2026, 4, 21)


class Answer(msgspec.Struct, frozen=True):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_float=_no_floats, parse_int=int)


def _no_floats(text: str) -> float:
    raise AssertionError(f"a bare fraction in JSON: {text}")


class Terminal:
    """A user at a command line, with a simulated Groww beside."""

    def __init__(self, sim: Simulator, clock: StoppedClock, database: Database) -> None:
        self.sim = sim
        self.clock = clock
        self.database = database

    def at(self, on: date, hour: int, minute: int = 0) -> None:
        self.sim.set_clock(ist(on, hour, minute))
        self.clock.set(ist(on, hour, minute))

    def __call__(self, *args: str, typed: str | None = None) -> Answer:
        """Run a command as the outermost door does: an error of ours is its sentence and its exit code."""
        runner, code, told = CliRunner(), 0, ""
        with runner.isolation(input=typed, env={"COLUMNS": "240"}) as (out, err, _):
            try:
                COMMANDS.main(args=list(args), prog_name=runner.get_default_prog_name(COMMANDS))
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except PortfolioSchedulerError as error:
                code, told = error.exit_code, error.message
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
            said = [stream.getvalue().decode().replace("\r\n", "\n") for stream in (out, err)]
        return Answer(code, said[0], said[1] + told)

    def secrets(self, number: int = 1) -> str:
        login = self.sim.accounts[number - 1]
        return f"{login.api_key}\n{login.totp_secret or login.secret}\n"

    def connect(self, number: int = 1, label: str | None = None) -> Answer:
        login = "totp" if self.sim.accounts[number - 1].totp_secret else "approval"
        return self(
            "accounts", "add", "--label", label or f"account {number}", "--login", login, "--stdin",
            typed=self.secrets(number),
        )  # fmt: skip

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Any]:
        with psycopg.connect(self.database.superuser) as connection:
            return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A simulator in a thread of its own, standing at 09:00 of `DAY`."""
    ready: list[Simulator] = []
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with simulator_running(SimulatorOptions(accounts=3, seed=7, on=DAY)) as sim:
            ready.append(sim)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="simulator")
    thread.start()
    assert started.wait(30)
    yield ready[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


CARELESS = ("fsync", "full_page_writes")


@pytest.fixture
def durable(template: Database) -> Iterator[None]:
    """The tests' server keeps what it confirms, as the product demands of any server it is given."""
    with psycopg.connect(make_conninfo(template.superuser, dbname="postgres"), autocommit=True) as admin:
        _switch(admin, "on")
        yield
        _switch(admin, "off")


def _switch(admin: psycopg.Connection[Any], state: str) -> None:
    for name in CARELESS:
        admin.execute(f"ALTER SYSTEM SET {name} = {state}")
    admin.execute("SELECT pg_reload_conf()")
    query = "SELECT bool_and(setting = %s) FROM pg_settings WHERE name = ANY(%s)"
    while admin.execute(query, [state, list(CARELESS)]).fetchone() != (True,):
        time.sleep(0.01)  # the server reloads when it gets to it


@pytest.fixture
def terminal(
    simulator: Simulator, database: Database, durable: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    """No account is connected yet; it is 09:00 of `DAY`."""
    monkeypatch.setenv("DATABASE_URL", database.owner)
    monkeypatch.setenv("PORTFOLIO_SCHEDULER_DATA", str(database.settings.data))
    monkeypatch.setenv("PORTFOLIO_SCHEDULER_KEYS", str(database.settings.keys))
    monkeypatch.setenv("PORTFOLIO_SCHEDULER_GROWW_URL", simulator.url)
    clock = StoppedClock(simulator.now)
    token = running.clock.set(clock)
    yield Terminal(simulator, clock, database)
    running.clock.reset(token)


@pytest.fixture
def traded(terminal: Terminal) -> Terminal:
    """The trader's account, synced after the close of two days."""
    terminal.connect(2, "trader")
    for on in (DAY, NEXT_DAY):
        terminal.at(on, 16)
        assert terminal("sync").code == 0
    return terminal
