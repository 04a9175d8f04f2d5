"""How a command ends: its exit code, and what it says on stderr."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

# A command of every way to end, put beside the real ones, run through the real door.
COMMANDS = """
import sys
from portfolio_scheduler.cli.main import app, main
from portfolio_scheduler.errors import Conflict, SetupProblem

@app.command()
def done() -> None:
    print("₹ done")

@app.command()
def failed() -> None:
    raise Conflict("The account is there already.")

@app.command()
def not_set_up() -> None:
    raise SetupProblem("There is no key. Make one.")

@app.command()
def broken() -> None:
    raise KeyError("hunter2")

@app.command()
def leaves() -> None:
    sys.exit(3)

@app.command()
def long() -> None:
    import time
    print("started", flush=True)
    time.sleep(30)

@app.command()
def document(size: int) -> None:
    import typer
    typer.echo(b"x" * size)

@app.command()
def much(lines: int) -> None:
    for n in range(lines):
        print("line", n)

main()
"""


def command(*args: str, **environ: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", COMMANDS, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PORTFOLIO_SCHEDULER_LOG_LEVEL": "info"} | environ,
    )


def ended(*args: str, **environ: str) -> tuple[int, str, str]:
    process = command(*args, **environ)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_done_is_0() -> None:
    assert ended("done") == (0, "₹ done\n", "")


def test_a_terminal_without_the_rupee_sign_is_no_failure() -> None:
    assert ended("done", PYTHONIOENCODING="ascii") == (0, "? done\n", "")


def test_a_failed_job_is_1_with_its_sentence() -> None:
    assert ended("failed") == (1, "", "The account is there already.\n")


def test_a_set_up_problem_is_2_with_its_sentence() -> None:
    assert ended("not-set-up") == (2, "", "There is no key. Make one.\n")


def test_a_command_may_choose_its_code() -> None:
    assert ended("leaves") == (3, "", "")


@pytest.mark.parametrize("args", [["nonsense"], ["version", "--nonsense"], ["much"], ["much", "many"], []])
def test_wrong_use_is_2(args: list[str]) -> None:
    code, out, err = ended(*args)
    assert code == 2
    assert "Traceback" not in out + err
    assert "Usage" in out + err


def test_a_fault_of_ours_is_1_in_one_sentence_that_shows_nothing() -> None:
    code, out, err = ended("broken")
    assert (code, out) == (1, "")
    assert err.startswith("Something unexpected happened (KeyError in ")
    assert err.count("\n") == 1
    assert "PORTFOLIO_SCHEDULER_LOG_LEVEL=debug" in err
    assert "hunter2" not in err


def test_the_traceback_is_there_when_asked_for() -> None:
    code, _, err = ended("broken", PORTFOLIO_SCHEDULER_LOG_LEVEL="debug")
    assert code == 1
    assert err.startswith("Traceback")
    assert "KeyError: 'hunter2'" in err


def test_ctrl_c_is_130_without_a_word() -> None:
    process = command("long")
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (130, "", "")


@pytest.mark.parametrize("lines", [10, 200_000])  # met at the last flush, met while printing
def test_a_reader_that_goes_away_is_no_noise(lines: int) -> None:
    process = command("much", str(lines))
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_that_is_stopped_while_it_prints_goes_on_where_it_was(unbuffered: str) -> None:
    """As by Ctrl-Z and `fg` behind a pager: the signal interrupts a write that waits for its reader."""
    size = 300_000  # more than a pipe holds
    process = command("document", str(size), PYTHONUNBUFFERED=unbuffered)
    assert process.stdout is not None
    beginning = os.read(process.stdout.fileno(), 1)  # and nothing into a buffer of ours
    _until(process, psutil.STATUS_SLEEPING)
    process.send_signal(signal.SIGSTOP)
    _until(process, psutil.STATUS_STOPPED)
    process.send_signal(signal.SIGCONT)
    time.sleep(0.1)  # for the write to hear of it before it has a reader again
    rest, err = process.communicate(timeout=30)
    assert (process.returncode, len(beginning) + len(rest), err) == (0, size + 1, "")


def _until(process: "subprocess.Popen[str]", status: str) -> None:
    deadline = time.monotonic() + 20
    while psutil.Process(process.pid).status() != status:
        assert time.monotonic() < deadline, psutil.Process(process.pid).status()
        time.sleep(0.01)
