"""Commands as the processes that people run: two at once, and one that is interrupted."""

import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime

from portfolio_scheduler.simulator.faults import Fault
from tests.cli.conftest import DAY, Terminal


def begin(terminal: Terminal, *args: str) -> subprocess.Popen[str]:
    """A process of its own, at the terminal's time."""
    return subprocess.Popen(
        [sys.executable, "-m", "portfolio_scheduler", *args],
        env=environment(terminal),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environment(terminal: Terminal) -> dict[str, str]:
    clock = f"{terminal.clock.now().isoformat()}@{datetime.now(UTC).isoformat()}"
    return os.environ | {"PORTFOLIO_SCHEDULER_CLOCK": clock}


def until(terminal: Terminal, query: str, expected: object) -> None:
    deadline = time.monotonic() + 30
    while terminal.rows(query) != expected:
        assert time.monotonic() < deadline, terminal.rows(query)
        time.sleep(0.05)


def test_of_two_processes_one_syncs_and_the_other_says_which_batch_runs(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    slow = Fault(kind="delay", path="/v1/holdings", seconds=60)
    terminal.sim.add_fault(slow)
    first = begin(terminal, "sync", "trader")
    until(terminal, "SELECT status FROM sync_batches", [("running",)])
    second = begin(terminal, "sync", "trader")
    out, err = second.communicate(timeout=60)
    [(batch_id,)] = terminal.rows("SELECT id::text FROM sync_batches")
    assert (second.returncode, err) == (0, "")
    assert out.startswith("trader: running")
    assert batch_id in out
    slow.seconds = 0
    out, err = first.communicate(timeout=60)
    assert (first.returncode, err) == (0, "")
    assert out.startswith("trader: completed")
    assert terminal.rows("SELECT status FROM sync_batches") == [("completed",)]


def test_a_sync_that_is_interrupted_says_so_in_its_batch(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    terminal.sim.add_fault(Fault(kind="delay", path="/v1/holdings", seconds=30))
    process = begin(terminal, "sync", "trader")
    until(terminal, "SELECT status FROM sync_batches", [("running",)])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert terminal.rows("SELECT status, error_text FROM sync_batches") == [("failed", "interrupted")]
    terminal.sim.faults.waiting.clear()
    assert terminal("sync").code == 0


def test_secrets_typed_at_a_terminal_are_not_shown(terminal: Terminal) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "portfolio_scheduler", "accounts", "add", "--label", "mine"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(terminal),
        start_new_session=True,
    )
    os.close(theirs)
    screen = ""
    secrets = terminal.secrets(1).split()
    for question, secret in zip(("API key", "TOTP secret"), secrets, strict=True):
        while not (question in screen and screen.endswith("(not shown): ")):
            screen += os.read(ours, 1024).decode()
        os.write(ours, f"{secret}\n".encode())
        screen += os.read(ours, 1024).decode()
    with suppress(OSError):  # the other end closes when the process ends
        while read := os.read(ours, 1024):
            screen += read.decode()
    assert process.wait(30) == 0, screen
    os.close(ours)
    assert "Connected 'mine'" in screen
    for secret in secrets:
        assert secret not in screen
