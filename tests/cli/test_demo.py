"""The demo is the newcomer's first look: it must work from nothing, and its figures must be those of the database."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from portfolio_scheduler.cli.render import signed_rupees
from portfolio_scheduler.db import embedded
from portfolio_scheduler.domain.money import rupees
from tests.conftest import open_folder, settings_in


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    settings = settings_in(folder)
    environment = os.environ | {
        "PORTFOLIO_SCHEDULER_DATA": str(settings.data),
        "PORTFOLIO_SCHEDULER_KEYS": str(settings.keys),
        "COLUMNS": "200",  # wide enough for its tables, however wide the terminal of the tests is
    }
    return subprocess.run(
        [sys.executable, "-m", "portfolio_scheduler", "demo", "--exit", "--days", "3", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder in which demos are run one after the other."""
    made = open_folder()
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def shown(home: Path) -> subprocess.CompletedProcess[str]:
    """The first demo, from nothing, for people."""
    return run_demo(home)


@pytest.fixture(scope="module")
def told(home: Path, shown: subprocess.CompletedProcess[str]) -> Any:
    """The second demo, in the same folder, for programs."""
    done = run_demo(home, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_demo_shows_three_accounts_a_trail_and_the_day(home: Path, shown: subprocess.CompletedProcess[str]) -> None:
    assert shown.returncode == 0, shown.stderr
    for words in (
        "quiet investor",
        "active trader",
        "daily approval",
        "final",
        "cancelled with",
        "3 trading days",
    ):
        assert words in shown.stdout
    assert not settings_in(home).data.exists(), "the demo keeps away from the real data folder"


def test_the_demo_as_json_is_one_document_of_exact_figures(told: Any) -> None:
    assert [account["account"] for account in told["accounts"]] == [
        "quiet investor",
        "active trader",
        "daily approval",
    ]
    for account in told["accounts"]:
        summary = account["summary"]
        assert (summary["standing"], summary["trading_on"]) == ("final", "2026-04-24")
        parts = [summary[name] for name in ("market_move", "net_invested", "transferred", "unexplained")]
        assert all(isinstance(part, str) for part in parts)
        assert sum(map(Decimal, parts), Decimal(0)) == Decimal(summary["day_change"])
        assert summary["unexplained"] == "0"
        change = Decimal(summary["holdings_value"]) - Decimal(summary["previous_value"])
        assert change == Decimal(summary["day_change"])
    assert told["trails"], "an order that was partly filled and cancelled"


def test_a_second_demo_begins_anew_and_comes_to_the_same(shown: subprocess.CompletedProcess[str], told: Any) -> None:
    lines = shown.stdout.splitlines()
    for account in told["accounts"]:
        [overview] = [line for line in lines if line.startswith(account["account"]) and " final " in line]
        assert f" {rupees(Decimal(account['summary']['holdings_value']))} " in overview
        assert f" {signed_rupees(Decimal(account['summary']['day_change']))} " in overview


def test_a_folder_that_is_not_the_demos_is_left_alone(folder: Path) -> None:
    data = settings_in(folder).data
    demo_folder = data.with_name(data.name + "-demo")
    demo_folder.mkdir(parents=True)
    (demo_folder / "somebody's file").touch()
    done = run_demo(folder)
    assert done.returncode == 2
    assert "is not a demo's folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_emptying_is_for_the_demo_only() -> None:
    """Only the demo empties a database, and only in its own folder."""
    root = Path(embedded.__file__).parents[1]
    users = [path.name for path in root.rglob("*.py") if "embedded.empty(" in path.read_text(encoding="utf-8")]
    assert users == ["demo.py"]
