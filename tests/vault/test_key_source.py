"""The private keys come from where the owner keeps them, and from nowhere that others can reach."""

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from portfolio_scheduler import key_source, keyring
from portfolio_scheduler.errors import InvalidInput, SetupProblem
from portfolio_scheduler.key_source import OPENING_FILE
from portfolio_scheduler.keyring import SEALING_FILE
from portfolio_scheduler.sealing import TOKEN
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.vault import Vault
from tests.vault.rings import INSTALL, NOW, settings_in
from tests.vault.test_keyring import ONE

Give = Callable[[Path, Settings], str]


def as_a_file(kept: Path, settings: Settings) -> str:
    return str(kept)


def as_a_command(kept: Path, settings: Settings) -> str:
    """What asks a key service to unwrap; the service is one that wraps by reversing every line."""
    wrapped = kept.with_name("opening.wrapped")
    wrapped.write_text("\n".join(line[::-1] for line in kept.read_text().splitlines()))
    kept.unlink()
    return f"command:{shutil.which('rev')} '{wrapped}'"


SOURCES: tuple[Give, ...] = (as_a_file, as_a_command)


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Settings, bytes]:
    """An installation with something sealed, whose private keys were handed over to somebody else."""
    settings = settings_in(tmp_path)
    sealed = Vault.open_keys(settings, INSTALL, NOW).seal(ONE, TOKEN, b"secret")
    (tmp_path / "elsewhere").mkdir()
    (settings.keys / OPENING_FILE).rename(tmp_path / "elsewhere" / OPENING_FILE)
    return settings, sealed


def from_elsewhere(settings: Settings, give: Give) -> Settings:
    kept = settings.keys.parent / "elsewhere" / OPENING_FILE
    return replace(settings, private_keys=give(kept, settings))


@pytest.mark.parametrize("give", SOURCES)
def test_what_was_sealed_opens_with_the_keys_from_there_and_none_is_written_here(
    begun: tuple[Settings, bytes], give: Give
) -> None:
    settings = from_elsewhere(begun[0], give)
    (settings.keys / SEALING_FILE).unlink()  # it follows from the private keys, wherever those come from
    vault = Vault.open_keys(settings, INSTALL, NOW)
    assert vault.open(ONE, TOKEN, begun[1]) == b"secret"
    assert vault.open(ONE, TOKEN, vault.seal(ONE, TOKEN, b"another")) == b"another"
    assert [file.name for file in settings.keys.iterdir()] == [SEALING_FILE]


def test_a_file_that_was_replaced_is_read_again(begun: tuple[Settings, bytes]) -> None:
    settings = from_elsewhere(begun[0], as_a_file)
    vault = Vault.open_keys(settings, INSTALL, NOW)
    by_hand = replace(settings, keys=settings.keys.parent / "elsewhere", private_keys=None)
    new = keyring.rotated(by_hand, NOW + timedelta(days=1))
    shutil.copy(by_hand.keys / SEALING_FILE, settings.keys / SEALING_FILE)
    sealed = vault.seal(ONE, TOKEN, b"after")
    assert sealed[1:9].hex() == new.published().active.id
    assert (vault.open(ONE, TOKEN, sealed), vault.open(ONE, TOKEN, begun[1])) == (b"after", b"secret")


@pytest.mark.parametrize("give", SOURCES)
def test_keys_from_elsewhere_are_not_changed_here(begun: tuple[Settings, bytes], give: Give) -> None:
    settings = from_elsewhere(begun[0], give)
    active = keyring.read_sealing(settings).active.id
    for change in (lambda: keyring.rotated(settings, NOW), lambda: keyring.retired(settings, active)):
        with pytest.raises(InvalidInput, match="so they are not changed here"):
            change()
    assert [file.name for file in settings.keys.iterdir()] == [SEALING_FILE]


def loose(kept: Path, settings: Settings) -> str:
    kept.chmod(0o440)
    return str(kept)


def absent(kept: Path, settings: Settings) -> str:
    return str(kept.with_name("nothing"))


def in_the_data(kept: Path, settings: Settings) -> str:
    settings.data.mkdir(parents=True)
    return str(shutil.copy(kept, settings.data / OPENING_FILE))


def script(text: str, mode: int = 0o700) -> Give:
    def give(kept: Path, settings: Settings) -> str:
        program = kept.with_name("give")
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(mode)
        return f"command:{program}"

    return give


def anothers(give: Give) -> Give:
    def given(kept: Path, settings: Settings) -> str:
        said = give(kept, settings)
        os.chown(said.removeprefix("command:"), 65534, 65534)
        return said

    return given


def in_an_open_folder(kept: Path, settings: Settings) -> str:
    kept.parent.chmod(0o777)
    return str(kept)


REFUSED: dict[str, tuple[Give, str]] = {
    "a file that others may read": (loose, "chmod 400"),
    "a file that is not there": (absent, "cannot be read"),
    "a file in the data folder": (in_the_data, "inside the data folder"),
    "a file of somebody else": (anothers(as_a_file), "belongs to somebody else"),
    "a program of somebody else": (anothers(script("true")), "belongs to somebody else"),
    "a folder that others may write": (in_an_open_folder, "chmod 700"),
    "a relative path": (lambda kept, settings: "opening.json", "whole path"),
    "no program": (lambda kept, settings: "command:", "names no program"),
    "half a command": (lambda kept, settings: "command:/bin/echo 'x", "holds no command"),
    "a program that is not there": (lambda kept, settings: "command:/no/such/program", "cannot be read"),
    "a program that others may write": (script("true", 0o722), "chmod 755"),
    "a program that may not run": (script("true", 0o600), "cannot be started"),
    "a program that fails": (script("echo hunter2; echo hunter2 >&2; exit 3"), "exit code 3"),
    "a program that says nothing": (script("true"), "did not come"),
    "a program that says too much": (script("head -c 300000 /dev/zero"), "did not come"),
    "a program that prints something else": (script("echo hunter2"), "damaged"),
    "a program that hangs": (script("exec sleep 30"), "did not come within"),
}


def test_a_credential_as_systemd_shows_it_to_a_service_is_no_open_file(
    begun: tuple[Settings, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's, readable by the service through an entry of its own, which the mode shows as the group's."""
    settings = from_elsewhere(begun[0], as_a_file)
    kept = settings.keys.parent / "elsewhere" / OPENING_FILE
    kept.chmod(0o440)
    monkeypatch.setattr(key_source, "CREDENTIALS", kept.parent)
    assert Vault.open_keys(settings, INSTALL, NOW).open(ONE, TOKEN, begun[1]) == b"secret"
    kept.chmod(0o444)
    with pytest.raises(SetupProblem, match="chmod 400"):
        Vault.open_keys(settings, INSTALL, NOW)


@pytest.mark.parametrize("name", REFUSED)
def test_a_source_that_is_not_safe_or_gives_no_keys_is_refused_at_the_start(
    begun: tuple[Settings, bytes],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(key_source, "COMMAND_SECONDS", 0.5)
    if name.endswith("of somebody else") and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    give, reason = REFUSED[name]
    settings = from_elsewhere(begun[0], give)
    with pytest.raises(SetupProblem, match=reason) as refused:
        Vault.open_keys(settings, INSTALL, NOW)
    assert "hunter2" not in str(refused.value) + "".join(capfd.readouterr())
    assert [file.name for file in settings.keys.iterdir()] == [SEALING_FILE], "none is made in its place"
