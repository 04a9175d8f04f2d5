"""The key files are made once, follow each other, and are refused when they are not safe to use."""

import base64
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from portfolio_scheduler import keyring
from portfolio_scheduler.errors import InvalidInput, SecretUnreadable, SetupProblem
from portfolio_scheduler.key_files import PUBLISHED
from portfolio_scheduler.key_source import OPENING_FILE
from portfolio_scheduler.keyring import OLD_FILE, SEALING_FILE, State
from portfolio_scheduler.sealing import TOKEN, Sealer
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.vault import Vault
from tests.vault.rings import INSTALL, NOW, sealed_before, settings_in, write_old_key

ONE = UUID(int=1)
OLD_KEY = hashlib.sha256(b"a key of an earlier version").digest()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation that has its keys."""
    made = settings_in(tmp_path)
    Vault.open_keys(made, INSTALL, NOW)
    return made


def opened(settings: Settings) -> Vault:
    return Vault.open_keys(settings, INSTALL, NOW)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a key file holds, keeping its mode."""
    held, mode = json.loads(path.read_text()), stat.S_IMODE(path.stat().st_mode)
    change(held)
    path.chmod(0o600)
    path.write_text(json.dumps(held))
    path.chmod(mode)


def modes(settings: Settings) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in settings.keys.iterdir()}


def test_first_use_makes_a_guarded_private_file_and_a_public_one(settings: Settings) -> None:
    sealed = opened(settings).seal(ONE, TOKEN, b"secret")
    assert modes(settings) == {OPENING_FILE: 0o400, SEALING_FILE: 0o644}
    assert stat.S_IMODE(settings.keys.stat().st_mode) == 0o700
    assert opened(settings).open(ONE, TOKEN, sealed) == b"secret"
    private = json.loads((settings.keys / OPENING_FILE).read_text())["keys"][0]["private"]
    assert private not in (settings.keys / SEALING_FILE).read_text()


def test_an_installation_with_an_old_key_keeps_opening_what_it_sealed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    write_old_key(settings, OLD_KEY)
    before = sealed_before(OLD_KEY, ONE, TOKEN, b"secret")
    vault = opened(settings)
    assert vault.open(ONE, TOKEN, before) == b"secret"
    assert vault.seal(ONE, TOKEN, b"")[0] == 2
    keyring.retired(settings, keyring.old_key_id(OLD_KEY))
    with pytest.raises(SecretUnreadable, match=r"there is no vault\.key"):
        vault.open(ONE, TOKEN, before)


def test_a_lost_private_file_is_said_plainly_and_never_replaced(settings: Settings) -> None:
    (settings.keys / OPENING_FILE).unlink()
    with pytest.raises(SetupProblem, match="enter the credentials of every account again"):
        opened(settings)
    assert list(modes(settings)) == [SEALING_FILE]


def test_a_lost_public_file_is_made_anew(settings: Settings) -> None:
    before = (settings.keys / SEALING_FILE).read_bytes()
    (settings.keys / SEALING_FILE).unlink()
    with pytest.raises(SetupProblem, match="Copy it from a machine that runs a worker"):
        Sealer.open_keys(settings, INSTALL)
    opened(settings)
    assert (settings.keys / SEALING_FILE).read_bytes() == before


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from uuid import UUID; from datetime import datetime, UTC\n"
        "from portfolio_scheduler.settings import Settings; from portfolio_scheduler.vault import Vault\n"
        "folder = Path(sys.argv[1]); settings = Settings(data=folder / 'here' / 'kept', keys=folder / 'keys')\n"
        "print('ready', flush=True); sys.stdin.read(1)\n"
        "vault = Vault.open_keys(settings, UUID(int=77), datetime(2026, 4, 20, tzinfo=UTC))\n"
        "print(vault.seal(UUID(int=1), 'token', b'agreed').hex())\n"
    )
    command = [sys.executable, "-c", code, os.fspath(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    sealed = [process.communicate("g")[0] for process in started]
    settings = settings_in(tmp_path)
    assert [opened(settings).open(ONE, TOKEN, bytes.fromhex(s)) for s in sealed] == [b"agreed"] * 4
    assert sorted(modes(settings)) == [OPENING_FILE, SEALING_FILE]


# ── rotation ──


def test_after_a_rotation_new_secrets_use_the_new_key_and_old_ones_open(settings: Settings) -> None:
    running = opened(settings), Sealer.open_keys(settings, INSTALL)
    vault, sealer = running
    before = sealer.seal(ONE, TOKEN, b"secret")
    first, second = keyring.rotated(settings, NOW + timedelta(days=1)).keys
    assert (first.state, second.state) == (State.DECRYPT_ONLY, State.ACTIVE)
    after = sealer.seal(ONE, TOKEN, b"secret")
    assert (before[1:9].hex(), after[1:9].hex()) == (first.id, second.id), "without a restart"
    assert [vault.open(ONE, TOKEN, sealed) for sealed in (before, after)] == [b"secret"] * 2
    assert modes(settings) == {OPENING_FILE: 0o400, SEALING_FILE: 0o644}


def test_a_retired_key_is_destroyed_and_refused_without_a_restart(settings: Settings) -> None:
    vault = opened(settings)
    before = vault.seal(ONE, TOKEN, b"secret")
    first = keyring.rotated(settings, NOW).keys[0]
    kept = vault.rewrap(ONE, TOKEN, before)
    keyring.retired(settings, first.id)
    with pytest.raises(SecretUnreadable, match="has retired"):
        vault.open(ONE, TOKEN, before)
    assert vault.open(ONE, TOKEN, kept) == b"secret"
    assert base64.b64encode(first.private).decode() not in (settings.keys / OPENING_FILE).read_text()


def test_the_active_key_and_an_unknown_one_are_not_retired(settings: Settings) -> None:
    for key_id, reason in ((keyring.read_sealing(settings).active.id, "keys rotate"), ("0" * 16, "no key 0000")):
        with pytest.raises(InvalidInput, match=reason):
            keyring.retired(settings, key_id)


def test_a_fingerprint_outlives_a_rotation(settings: Settings) -> None:
    sealer = Sealer.open_keys(settings, INSTALL)
    before = sealer.fingerprint(b"credentials")
    keyring.rotated(settings, NOW)
    assert sealer.fingerprint(b"credentials") == before


def test_a_rotation_cut_short_is_completed_at_the_next_start(settings: Settings) -> None:
    public = (settings.keys / SEALING_FILE).read_bytes()
    keyring.rotated(settings, NOW)
    (settings.keys / SEALING_FILE).write_bytes(public)  # the power went before it was written
    sealer = Sealer.open_keys(settings, INSTALL)
    assert opened(settings).open(ONE, TOKEN, sealer.seal(ONE, TOKEN, b"secret")) == b"secret"
    assert len(keyring.read_sealing(settings).keys) == 2


def test_a_key_file_spoilt_under_a_running_process_does_not_stop_it(settings: Settings) -> None:
    vault = opened(settings)
    sealed = vault.seal(ONE, TOKEN, b"secret")
    (settings.keys / OPENING_FILE).chmod(0o444)
    assert vault.open(ONE, TOKEN, sealed) == b"secret"
    with pytest.raises(SetupProblem):
        opened(settings)


# ── what is refused ──


def private_key(key: bytes) -> Callable[[Settings], None]:
    """A private key somebody chose; the public half and the id fit it, so only its weakness can be found."""

    def change(held: dict[str, Any]) -> None:
        public = keyring.X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
        held["keys"][0] |= {
            "id": keyring.key_id(public),
            "public": base64.b64encode(public).decode(),
            "private": base64.b64encode(key).decode(),
        }

    def plant(settings: Settings) -> None:
        rewrite(settings.keys / OPENING_FILE, change)
        (settings.keys / SEALING_FILE).unlink()

    return plant


def mode(name: str, bits: int) -> Callable[[Settings], None]:
    return lambda settings: (settings.keys / name).chmod(bits)


def changed(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Settings], None]:
    return lambda settings: rewrite(settings.keys / name, change)


def written(name: str, text: str) -> Callable[[Settings], None]:
    def write(settings: Settings) -> None:
        (settings.keys / name).chmod(0o600)
        (settings.keys / name).write_text(text)

    return write


def linked_into_the_data(settings: Settings) -> None:
    settings.data.mkdir(parents=True)
    target = settings.data / OPENING_FILE
    (settings.keys / OPENING_FILE).rename(target)
    (settings.keys / OPENING_FILE).symlink_to(target)


def anothers_public_key(settings: Settings) -> None:
    other = Settings(data=settings.data, keys=settings.keys.with_name("other"))
    opened(other)
    (settings.keys / SEALING_FILE).write_bytes((other.keys / SEALING_FILE).read_bytes())


def old_key(key: bytes) -> Callable[[Settings], None]:
    return lambda settings: write_old_key(settings, key)


UNSAFE: dict[str, tuple[Callable[[Settings], None], str]] = {
    **{f"private file {bits:04o}": (mode(OPENING_FILE, bits), "chmod 400") for bits in (0o404, 0o440, 0o444, 0o620)},
    **{f"public file {bits:04o}": (mode(SEALING_FILE, bits), "chmod 644") for bits in (0o666, 0o664, 0o646)},
    **{f"folder {bits:04o}": (mode("", bits), "chmod 700") for bits in (0o770, 0o707, 0o777)},
    **{f"sample {n}": (private_key(key), "published sample") for n, key in enumerate(sorted(PUBLISHED))},
    "all zero": (private_key(bytes(32)), "repeats or counts"),
    "all one byte": (private_key(b"\xff" * 32), "repeats or counts"),
    "counting": (private_key(bytes(range(32))), "repeats or counts"),
    "counting in threes": (private_key(bytes(range(7, 103, 3))), "repeats or counts"),
    "a repeated word": (private_key(b"secret42" * 4), "repeats or counts"),
    "typed text": (private_key(b"my-very-secret-key-QWERTY#123456"), "typed text"),
    "a link into the data folder": (linked_into_the_data, "inside the data folder"),
    "another's public key": (anothers_public_key, "whose private key is not in"),
    "a changed public key": (
        changed(SEALING_FILE, lambda held: held["keys"][0].update(public=base64.b64encode(OLD_KEY).decode())),
        "does not fit its id",
    ),
    "halves that do not fit": (
        changed(OPENING_FILE, lambda held: held["keys"][0].update(private=base64.b64encode(OLD_KEY[::-1]).decode())),
        "two halves",
    ),
    "a weak fingerprint key": (
        changed(OPENING_FILE, lambda held: held.update(fingerprint_key=base64.b64encode(bytes(32)).decode())),
        "repeats or counts",
    ),
    "no active key": (changed(OPENING_FILE, lambda held: held.update(keys=[])), "0 active keys"),
    "a short key": (
        changed(OPENING_FILE, lambda held: held["keys"][0].update(private=base64.b64encode(b"x" * 16).decode())),
        "16 bytes; it must have 32",
    ),
    "a key twice": (
        changed(OPENING_FILE, lambda held: held["keys"].append(held["keys"][0] | {"state": "decrypt-only"})),
        "names a key twice",
    ),
    "a later version": (changed(OPENING_FILE, lambda held: held.update(version=3)), "has version 3"),
    "an unknown field": (changed(OPENING_FILE, lambda held: held.update(more=1)), "damaged"),
    "not JSON": (written(OPENING_FILE, "not json"), "damaged"),
    "half a file": (written(OPENING_FILE, '{"version": 2, "keys": ['), "damaged"),
    "an empty file": (written(SEALING_FILE, ""), "others than|damaged"),
    "a weak old key": (old_key(bytes(32)), "repeats or counts"),
    "an old key that is text": (old_key(b"The quick brown fox jumps over 7"), "typed text"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_keys_are_refused_at_the_start(settings: Settings, name: str) -> None:
    spoil, reason = UNSAFE[name]
    spoil(settings)
    before = {file: file.read_bytes() for file in settings.keys.iterdir()}
    with pytest.raises(SetupProblem, match=reason):
        opened(settings)
    assert {file: file.read_bytes() for file in settings.keys.iterdir()} == before, "nothing is replaced"


def test_safe_keys_are_not(settings: Settings) -> None:
    write_old_key(settings, OLD_KEY)
    opened(settings)


@pytest.mark.parametrize(
    ("held", "message"),
    [({"key": "=="}, "damaged"), ({"extra": 1}, "damaged"), ({"version": 2}, "has version 2"),
     ({"key_id": "0" * 16}, "does not fit its id"), ({"key": base64.b64encode(bytes(16)).decode()}, "16 bytes")],
)  # fmt: skip
def test_an_old_key_file_that_is_not_one_is_refused(settings: Settings, held: dict[str, Any], message: str) -> None:
    write_old_key(settings, OLD_KEY)
    rewrite(settings.keys / OLD_FILE, lambda old: old.update(held))
    with pytest.raises(SetupProblem, match=message):
        opened(settings)


def test_a_key_folder_inside_the_data_folder_is_refused_also_through_a_link(tmp_path: Path) -> None:
    inside = tmp_path / "kept" / "keys"
    with pytest.raises(SetupProblem, match="inside the data folder"):
        opened(Settings(data=tmp_path / "kept", keys=inside))
    inside.mkdir(parents=True)
    (tmp_path / "link").symlink_to(inside)
    with pytest.raises(SetupProblem, match="inside the data folder"):
        opened(Settings(data=tmp_path / "kept", keys=tmp_path / "link"))
    assert list(inside.iterdir()) == []


def test_a_key_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(SetupProblem, match="PORTFOLIO_SCHEDULER_KEYS"):
        opened(settings_in(tmp_path))
