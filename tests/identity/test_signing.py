"""The signing keys are made once, guarded, replaced without losing a token, and never shown."""

import base64
import json
import pickle
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.identity import kept_keys, signing
from portfolio_scheduler.identity.signing import LOOK_AGAIN, STILL_VERIFIES, Keyring
from portfolio_scheduler.key_files import PUBLISHED
from portfolio_scheduler.settings import Settings

NOW = datetime(2026, 4, 24, 10, 30, tzinfo=UTC)
RANDOM = bytes((n * n * 89 + n * 7 + 17) % 256 for n in range(32))
KEY_FILE = "signing.json"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "here" / "kept", keys=tmp_path / "keys")


def ids(settings: Settings) -> list[str]:
    return [key.id for key in signing.FILE.open(settings, NOW)()]


def written(settings: Settings, content: bytes) -> Path:
    settings.keys.mkdir(mode=0o700)
    path = settings.keys / KEY_FILE
    path.write_bytes(content)
    path.chmod(0o400)
    return path


def held(*keys: dict[str, object], version: int = 1) -> bytes:
    return json.dumps({"version": version, "keys": keys}).encode()


def kept(secret: bytes, **more: object) -> dict[str, object]:
    whole = {"id": kept_keys.id_of(secret), "made_at": NOW.isoformat(), "key": base64.b64encode(secret).decode()}
    return whole | more


def test_the_file_is_made_once_and_only_its_owner_reads_it(settings: Settings) -> None:
    first = ids(settings)
    path = settings.keys / KEY_FILE
    assert ids(settings) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(settings.keys.stat().st_mode) == 0o700
    assert [file.name for file in settings.keys.iterdir()] == [KEY_FILE]


def test_of_many_that_start_at_once_all_have_the_same_key(settings: Settings) -> None:
    with ThreadPoolExecutor(16) as many:
        found = list(many.map(lambda _: ids(settings), range(64)))
    assert len(found) == 64
    assert all(each == found[0] and len(each) == 1 for each in found)
    assert [file.name for file in settings.keys.iterdir()] == [KEY_FILE]


def test_the_newest_key_signs_and_the_replaced_ones_verify_for_a_while(settings: Settings) -> None:
    [first] = ids(settings)
    second = signing.rotate(settings, NOW)
    assert ids(settings) == [first, second]
    assert Keyring.open_keys(settings, NOW).ring(NOW).signing_id == second
    third = signing.rotate(settings, NOW + STILL_VERIFIES)  # the first was replaced that long ago
    assert ids(settings) == [second, third]


def test_a_rotation_at_once_leaves_only_the_new_key(settings: Settings) -> None:
    ids(settings)
    signing.rotate(settings, NOW)
    new = signing.rotate(settings, NOW, at_once=True)
    assert ids(settings) == [new]


def test_a_rotation_without_a_file_makes_one(settings: Settings) -> None:
    new = signing.rotate(settings, NOW)
    assert ids(settings)[-1] == new


def test_rotations_at_the_same_time_lose_no_key(settings: Settings) -> None:
    [first] = ids(settings)
    with ThreadPoolExecutor(8) as many:
        new = list(many.map(lambda _: signing.rotate(settings, NOW), range(12)))
    assert sorted(ids(settings)) == sorted([first, *new])
    assert [file.name for file in settings.keys.iterdir()] == [KEY_FILE]


def test_more_rotations_than_the_file_holds_are_refused_and_change_nothing(settings: Settings) -> None:
    for _ in range(kept_keys.MOST_KEYS - 1):
        signing.rotate(settings, NOW)
    before = ids(settings)
    with pytest.raises(SetupProblem, match="Wait before you add another"):
        signing.rotate(settings, NOW)
    assert ids(settings) == before
    assert signing.rotate(settings, NOW + STILL_VERIFIES) in ids(settings)


def test_a_running_process_sees_a_rotation_within_a_second(settings: Settings) -> None:
    running = Keyring.open_keys(settings, NOW)
    before = running.ring(NOW)
    new = signing.rotate(settings, NOW)
    assert running.ring(NOW + LOOK_AGAIN / 2) is before
    assert running.ring(NOW + LOOK_AGAIN).signing_id == new
    assert running.ring(NOW + 2 * LOOK_AGAIN) is running.ring(NOW + 3 * LOOK_AGAIN)  # nothing changed: the same object


def test_a_clock_that_is_set_back_looks_again_too(settings: Settings) -> None:
    running = Keyring.open_keys(settings, NOW)
    new = signing.rotate(settings, NOW)
    assert running.ring(NOW - timedelta(days=1)).signing_id == new


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o420, 0o666, 0o644])
def test_a_file_that_others_may_use_is_refused_at_the_start(settings: Settings, mode: int) -> None:
    running = Keyring.open_keys(settings, NOW)
    before = running.ring(NOW)
    (settings.keys / KEY_FILE).chmod(mode)
    with pytest.raises(SetupProblem, match="chmod 400"):
        Keyring.open_keys(settings, NOW)
    assert running.ring(NOW + LOOK_AGAIN) is before  # what runs goes on


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(settings: Settings, mode: int) -> None:
    ids(settings)
    settings.keys.chmod(mode)
    for act in (Keyring.open_keys, signing.rotate):
        with pytest.raises(SetupProblem, match="chmod 700"):
            act(settings, NOW)


def test_a_folder_inside_the_data_folder_is_refused_by_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for folder in (tmp_path / "kept", tmp_path / "kept" / "keys", tmp_path / "link" / "keys"):
        with pytest.raises(SetupProblem, match="inside the data folder"):
            Keyring.open_keys(Settings(data=tmp_path / "kept", keys=folder), NOW)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "damaged"),
        (b"{}", "damaged"),
        (b"[" * 10_000, "damaged"),
        (held(), "0 keys"),
        (held(kept(RANDOM), version=2), "version 2"),
        (held(kept(RANDOM), kept(RANDOM)), "different"),
        (held(kept(RANDOM, id="0" * 16)), "does not fit its id"),
        (held(kept(RANDOM, key="*")), "damaged"),
        (held(kept(RANDOM, made_at="today")), "damaged"),
        (held(kept(RANDOM, made_at="2026-04-24T10:30:00")), "damaged"),
        (held(kept(RANDOM, more=1)), "damaged"),
        (held(kept(RANDOM[:31])), "31 bytes"),
        (held(kept(bytes(32))), "not random"),
        (held(kept(bytes(range(32)))), "not random"),
        (held(kept(b"0123456789abcdefghijklmnopqrstuv")), "not random"),
        *((held(kept(key)), "published sample") for key in sorted(PUBLISHED)),
    ],
)
def test_a_file_that_holds_no_good_keys_is_refused(settings: Settings, content: bytes, says: str) -> None:
    path = written(settings, content)
    with pytest.raises(SetupProblem, match=says):
        Keyring.open_keys(settings, NOW)
    assert path.read_bytes() == content  # and is left for the owner to look at


def test_a_file_with_a_good_key_is_read(settings: Settings) -> None:
    written(settings, held(kept(RANDOM)))
    assert ids(settings) == [kept_keys.id_of(RANDOM)]


def test_no_key_is_shown_or_leaves_the_process(settings: Settings) -> None:
    ring = Keyring.open_keys(settings, NOW)
    key = signing.FILE.open(settings, NOW)()[0]
    shown = f"{ring!r} {ring.ring(NOW)!r} {ring.ring(NOW)} {ring} {key!r} {key}"
    assert key.id in shown
    assert base64.b64encode(key.key).decode() not in shown
    assert repr(key.key) not in shown
    for thing in (ring, ring.ring(NOW)):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(thing)


def test_a_killed_writer_leaves_the_old_keys(settings: Settings) -> None:
    """The file is whole at any instant: what is written beside it counts only once it has its name."""
    before = ids(settings)
    draft = settings.keys / f"{KEY_FILE}.0123456789abcdef"
    draft.write_bytes(b'{"version":1,"ke')
    assert ids(settings) == before
    program = (
        "import os, sys, datetime as d; from pathlib import Path; from portfolio_scheduler.identity import signing;"
        "from portfolio_scheduler.settings import Settings; os.fsync = lambda _: os._exit(9);"
        "signing.rotate(Settings(data=Path(sys.argv[1]), keys=Path(sys.argv[2])), d.datetime(2026, 1, 1, tzinfo=d.UTC))"
    )
    ran = subprocess.run([sys.executable, "-c", program, settings.data, settings.keys], check=False)
    assert ran.returncode == 9
    assert ids(settings) == before
