"""`keys`: what is said of keys, and that they are rotated, rewrapped and retired without losing a secret."""

import base64
import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from portfolio_scheduler import keyring
from portfolio_scheduler.app import running
from portfolio_scheduler.db import passwords
from portfolio_scheduler.errors import SecretUnreadable, SetupProblem
from portfolio_scheduler.key_source import OPENING_FILE
from portfolio_scheduler.keyring import OLD_FILE, SEALING_FILE
from portfolio_scheduler.settings import load
from tests.cli.conftest import NEXT_DAY, Answer, Terminal
from tests.conftest import Database
from tests.vault.rings import sealed_before, write_old_key

OLD_KEY = bytes(base64.b64decode("vQ3yqkq1cV8rQ5mN0b7hHj2n1m9Yb8kqk0Jx2o7u3Zc="))


@pytest.fixture(autouse=True)
def own_keys(database: Database) -> Iterator[None]:
    """These tests change the key files, which the tests of a process share; other tests made installations there."""
    keys = database.settings.keys
    kept = keys / passwords.FILE
    with psycopg.connect(database.superuser) as connection:
        ours = f"install {connection.execute('SELECT install_id FROM install').fetchone()[0]}"  # type: ignore[index]
    everybody = kept.read_text()
    told = json.loads(everybody).items()
    kept.write_text(json.dumps({name: held for name, held in told if name == ours or "install" not in name}))
    before = {file: file.read_bytes() for file in keys.iterdir() if file.name in keyring.FILES}
    for file in before:
        file.unlink()
    yield
    for name in keyring.FILES:
        (keys / name).unlink(missing_ok=True)
    for file, content in before.items():
        file.write_bytes(content)
        file.chmod(0o644 if file.name == SEALING_FILE else 0o400)
    kept.write_text(everybody)


def status(terminal: Terminal) -> tuple[dict[str, tuple[str, int]], list[str]]:
    said = terminal("keys", "status", "--json").json
    return {key["id"]: (key["state"], key["secrets"]) for key in said["keys"]}, said["warnings"]


def test_a_key_is_rotated_rewrapped_and_retired(terminal: Terminal) -> None:
    terminal.connect(1), terminal.connect(2)
    [first] = status(terminal)[0]
    assert status(terminal) == ({first: ("active", 4)}, []), "credentials and token of two accounts"

    assert "sealing.json" in terminal("keys", "rotate").out
    keys, [warning] = status(terminal)
    second = next(key for key in keys if key != first)
    assert keys == {first: ("decrypt-only", 4), second: ("active", 0)}
    assert "keys rewrap" in warning
    refused = terminal("keys", "retire", first)
    assert (refused.code, "4 secrets are still sealed" in refused.err) == (1, True)

    assert terminal("keys", "rewrap").out == "4 secrets rewrapped.\n"
    assert terminal("keys", "rewrap", "--json").json == {"rewrapped": 0, "unreadable": [], "left": 0}
    assert terminal("keys", "retire", first[:8]).code == 0
    assert status(terminal) == ({first: ("retired", 0), second: ("active", 4)}, [])
    terminal.at(NEXT_DAY, 16)
    assert terminal("sync").code == 0


def test_secrets_of_an_earlier_version_are_rewrapped_and_its_key_retired(terminal: Terminal) -> None:
    terminal.connect(1)
    write_old_key(terminal.database.settings, OLD_KEY)
    _seal_as_before(terminal)
    old = keyring.old_key_id(OLD_KEY)
    assert status(terminal)[0][old] == ("decrypt-only", 1)
    assert terminal("accounts", "test", "account 1").code == 0
    assert terminal("keys", "rewrap").out == "1 secrets rewrapped.\n"
    assert terminal("keys", "retire", old).code == 0
    assert not (terminal.database.settings.keys / OLD_FILE).exists()
    assert old not in status(terminal)[0]
    assert terminal("accounts", "test", "account 1").code == 0


def _seal_as_before(terminal: Terminal) -> None:
    import psycopg

    login = terminal.sim.accounts[0]
    secret = {"login": "totp", "api_key": login.api_key, "api_secret": "", "totp_secret": login.totp_secret}
    with psycopg.connect(terminal.database.superuser) as connection:
        [(account_id,)] = connection.execute("SELECT id FROM broker_accounts").fetchall()
        sealed = sealed_before(OLD_KEY, account_id, "credentials", json.dumps(secret | {"access_token": ""}).encode())
        connection.execute("UPDATE broker_accounts SET sealed_credentials = %s, sealed_token = NULL", [sealed])


def test_what_cannot_be_opened_is_named_and_stays(terminal: Terminal) -> None:
    terminal.connect(1)
    terminal("keys", "rotate")
    before = _spoil(terminal)
    said = terminal("keys", "rewrap")
    assert (said.code, said.out) == (1, "1 secrets rewrapped.\n")
    assert "cannot be opened" in said.err
    assert terminal.rows("SELECT sealed_token FROM broker_accounts") == [(before,)]


def _spoil(terminal: Terminal) -> bytes:
    import psycopg

    with psycopg.connect(terminal.database.superuser) as connection:
        [(spoilt,)] = connection.execute(
            "UPDATE broker_accounts SET sealed_token = set_byte(sealed_token, 40, 255 - get_byte(sealed_token, 40)) "
            "RETURNING sealed_token"
        ).fetchall()
    return bytes(spoilt)


def test_a_key_active_for_more_than_a_year_is_warned_of(terminal: Terminal) -> None:
    terminal.connect(1)
    terminal.at(date(2027, 4, 20), 9)
    assert status(terminal)[1] == []
    terminal.at(date(2027, 4, 21), 16)
    [warning] = status(terminal)[1]
    assert "has been active for 366 days, longer than 365" in warning
    assert terminal("keys", "status").code == 0
    assert warning in terminal("status").out


def test_a_missing_key_is_warned_of(terminal: Terminal) -> None:
    terminal.connect(1)
    for name in (OPENING_FILE, SEALING_FILE):
        (terminal.database.settings.keys / name).unlink()
    keys, [warning] = status(terminal)
    assert sorted(keys.values()) == [("active", 0), ("missing", 2)]
    assert "2 secrets are sealed to key" in warning


def test_a_key_that_serves_other_installations_is_not_retired_by_accident(terminal: Terminal) -> None:
    [first] = status(terminal)[0]
    terminal("keys", "rotate")
    passwords = terminal.database.settings.keys / "database-passwords.json"
    before = passwords.read_text()
    passwords.write_text(json.dumps(json.loads(before) | {"install 0": {}}))
    try:
        refused = terminal("keys", "retire", first)
        assert (refused.code, "more than one installation" in refused.err) == (1, True)
        assert terminal("keys", "retire", first, "--shared").code == 0
    finally:
        passwords.write_text(before)


@pytest.mark.parametrize("key", ["", "abc", "zzzz", "0000000000000000"])
def test_an_unknown_key_is_not_retired(terminal: Terminal, key: str) -> None:
    refused = terminal("keys", "retire", key)
    assert (refused.code, "keys status" in refused.err) == (2, True)


def test_no_command_prints_a_key(terminal: Terminal) -> None:
    said: list[Answer] = [terminal("keys", *words) for words in (["status"], ["rotate"], ["rewrap"])]
    held: dict[str, Any] = json.loads((terminal.database.settings.keys / OPENING_FILE).read_text())
    secrets = [held["fingerprint_key"], *(key[half] for key in held["keys"] for half in ("private", "public"))]
    assert len(secrets) == 5
    for answer in said:
        assert answer.code == 0
        assert not [secret for secret in secrets if secret in answer.out + answer.err]


async def test_a_web_machine_starts_with_the_public_file_alone(terminal: Terminal, tmp_path: Path) -> None:
    """It seals what the worker's machine opens, and opens nothing itself; without the file it does not start."""
    settings, account = load(), UUID(int=1)
    async with running(settings, terminal.clock) as worker:
        (tmp_path / "keys").mkdir(mode=0o700)
        elsewhere = msgspec.structs.replace(settings, keys=tmp_path / "keys", data=tmp_path / "kept")
        shutil.copy(settings.keys / "database-passwords.json", elsewhere.keys)
        with pytest.raises(SetupProblem, match="Copy it from a machine that runs a worker"):
            async with running(elsewhere, terminal.clock, opens=False):
                pass
        shutil.copy(settings.keys / SEALING_FILE, elsewhere.keys)
        async with running(elsewhere, terminal.clock, opens=False) as web:
            sealed = web.sealer.seal(account, "credentials", b"secret")
            with pytest.raises(SecretUnreadable, match="no private keys"):
                web.vault.open(account, "credentials", sealed)
        assert worker.vault.open(account, "credentials", sealed) == b"secret"
        assert sorted(file.name for file in elsewhere.keys.glob("*.json")) == ["database-passwords.json", SEALING_FILE]
        with pytest.raises(SetupProblem, match="no private ones"):
            async with running(elsewhere, terminal.clock):
                pass
