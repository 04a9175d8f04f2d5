"""`keys rotate-signing|rotate-factors`: the web's own keys are replaced, without a database."""

import base64
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from portfolio_scheduler.identity import factor_box, signing
from portfolio_scheduler.identity.kept_keys import KeyFile
from portfolio_scheduler.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "here" / "kept", keys=tmp_path / "keys")


def said(settings: Settings, *words: str) -> str:
    environ = os.environ | {
        "PORTFOLIO_SCHEDULER_DATA": str(settings.data),
        "PORTFOLIO_SCHEDULER_KEYS": str(settings.keys),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    }
    program = [sys.executable, "-m", "portfolio_scheduler", "keys", *words]
    return subprocess.run(program, env=environ, capture_output=True, text=True, check=True).stdout


def ids(settings: Settings, file: KeyFile) -> list[str]:
    return [key.id for key in file.open(settings, datetime.now(UTC))()]


def test_the_web_s_keys_are_rotated_and_named_but_never_shown(settings: Settings) -> None:
    [before] = ids(settings, signing.FILE)
    told = said(settings, "rotate-signing")
    [old, new] = ids(settings, signing.FILE)
    assert old == before
    assert f"Key {new} signs" in told
    assert "still hold" in told
    told += said(settings, "rotate-signing", "--at-once")
    [last] = ids(settings, signing.FILE)
    assert last not in {old, new}
    assert f"Key {last} signs access tokens now. Every access token so far is refused" in told
    [first] = ids(settings, factor_box.FILE)
    told += said(settings, "rotate-factors")
    assert ids(settings, factor_box.FILE)[0] == first
    assert ids(settings, factor_box.FILE)[1] in told
    for file in (signing.FILE, factor_box.FILE):
        for key in file.open(settings, datetime.now(UTC))():
            assert base64.b64encode(key.key).decode() not in told
