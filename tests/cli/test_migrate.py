"""`migrate`, and the real process with its exit codes."""

import os
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from portfolio_scheduler.db import embedded
from tests.cli.conftest import Terminal

EMPTY = "test_cli_empty"


@pytest.fixture
def empty_database(
    terminal: Terminal, admin: psycopg.Connection[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A database without tables, which DATABASE_URL names."""
    admin.execute(f"CREATE DATABASE {EMPTY} OWNER {embedded.OWNER}")
    conninfo = make_conninfo(terminal.database.owner, dbname=EMPTY)
    monkeypatch.setenv("DATABASE_URL", conninfo)
    yield conninfo
    admin.execute(f"DROP DATABASE {EMPTY} WITH (FORCE)")


def test_an_empty_database_is_told_to_be_migrated_then_says_what_was_applied(
    terminal: Terminal, empty_database: str
) -> None:
    answer = terminal("status")
    assert answer.code == 2
    assert "portfolio-scheduler migrate" in answer.err
    answer = terminal("migrate")
    assert answer.code == 0
    assert {"applied guards", "applied tables"} <= set(answer.out.splitlines())
    assert "Already up to date" in terminal("migrate").out
    assert terminal("status").code == 0


def test_role_passwords_can_be_reset(terminal: Terminal) -> None:
    answer = terminal("migrate", "--reset-passwords")
    assert answer.code == 0
    assert "new passwords" in answer.out
    assert terminal("status").code == 0


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "portfolio_scheduler", *args]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60, check=False)


def test_the_process_ends_with_the_exit_code_and_one_sentence(terminal: Terminal) -> None:
    done = run("holdings", "nobody")
    assert done.returncode == 2
    assert done.stderr == "There is no account 'nobody'; `portfolio-scheduler accounts list` shows all.\n"
    assert done.stdout == ""
    assert run("status").returncode == 0
    assert run("holdings", "--nonsense").returncode == 2


def test_a_command_that_asks_nothing_of_the_database_starts_quickly() -> None:
    """No driver, no migrations, no HTTP client: what it takes otherwise is Typer's own."""
    code = (
        "import sys; from portfolio_scheduler.cli.main import app; "
        "print([m for m in ('psycopg', 'alembic', 'sqlalchemy', 'aiohttp', 'pandas', 'litestar') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_reading_command_imports_no_migrations_and_no_http_client(terminal: Terminal) -> None:
    code = (
        "import sys; from portfolio_scheduler.cli.main import app; app(['holdings'], standalone_mode=False); "
        "print([m for m in ('alembic', 'sqlalchemy', 'aiohttp', 'pandas', 'litestar') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
