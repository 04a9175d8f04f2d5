"""Sealed secrets open for whom they were sealed and for nobody else; the key file is guarded."""

import base64
import itertools
import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portfolio_scheduler.errors import InvalidInput, SecretUnreadable, SetupProblem
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.vault import CREDENTIALS, HEAD_BYTES, KEY_FILE, NONCE_BYTES, TAG_BYTES, TOKEN, Vault

ONE, TWO, THREE = (UUID(int=n) for n in (1, 2, 3))
VAULT = Vault(bytes(range(32)))
OTHER = Vault(bytes(range(1, 33)))


def settings_in(folder: Path) -> Settings:
    return Settings(data=folder / "here" / "kept", keys=folder / "keys")


@given(secret=st.binary(max_size=2000), account=st.uuids(), purpose=st.sampled_from([CREDENTIALS, TOKEN]))
def test_what_is_sealed_opens(secret: bytes, account: UUID, purpose: str) -> None:
    sealed = VAULT.seal(account, purpose, secret)
    assert VAULT.open(account, purpose, sealed) == secret
    assert len(sealed) == HEAD_BYTES + NONCE_BYTES + len(secret) + TAG_BYTES


def test_nothing_of_the_secret_shows_and_no_two_are_alike() -> None:
    secret = b"JBSWY3DPEHPK3PXP" * 4
    sealed = [VAULT.seal(ONE, CREDENTIALS, secret) for _ in range(200)]
    assert len({s[HEAD_BYTES - 60 : HEAD_BYTES - 48] for s in sealed}) == 200
    assert len(set(sealed)) == 200
    assert not any(secret[:8] in s for s in sealed)


def test_a_sealed_value_opens_in_its_own_place_only() -> None:
    places = [(a, p) for a in (ONE, TWO, THREE) for p in (CREDENTIALS, TOKEN)]
    sealed = {place: VAULT.seal(*place, b"secret of " + repr(place).encode()) for place in places}
    opened = 0
    for (account, purpose), written in itertools.product(places, places):
        if (account, purpose) == written:
            assert VAULT.open(account, purpose, sealed[written]).endswith(repr(written).encode())
            opened += 1
        else:
            with pytest.raises(SecretUnreadable, match="cannot be opened"):
                VAULT.open(account, purpose, sealed[written])
    assert opened == len(places)


def test_parts_of_two_sealed_values_do_not_mix() -> None:
    """A new body under an old head, and the other way round: the data key of each fits its own body only."""
    first, second = VAULT.seal(ONE, TOKEN, b"monday"), VAULT.seal(ONE, TOKEN, b"tuesday")
    for mixed in (first[:HEAD_BYTES] + second[HEAD_BYTES:], second[:41] + first[41:]):
        with pytest.raises(SecretUnreadable):
            VAULT.open(ONE, TOKEN, mixed)


@given(at=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
@example(at=0, bit=0)
@example(at=1, bit=0)  # key id
@example(at=9, bit=0)  # commitment
@example(at=41, bit=0)  # nonce of the wrapped key
@example(at=HEAD_BYTES, bit=7)
def test_one_flipped_bit_is_found(at: int, bit: int) -> None:
    sealed = bytearray(VAULT.seal(ONE, CREDENTIALS, b"a secret of some length"))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(SecretUnreadable):
        VAULT.open(ONE, CREDENTIALS, bytes(sealed))


def test_every_shortened_or_lengthened_value_is_refused() -> None:
    sealed = VAULT.seal(ONE, CREDENTIALS, b"secret")
    for length in range(len(sealed)):
        with pytest.raises(SecretUnreadable):
            VAULT.open(ONE, CREDENTIALS, sealed[:length])
    with pytest.raises(SecretUnreadable):
        VAULT.open(ONE, CREDENTIALS, sealed + b"\0")


def test_another_key_says_which_key_is_missing() -> None:
    sealed = OTHER.seal(ONE, CREDENTIALS, b"secret")
    with pytest.raises(SecretUnreadable, match=r"Restore the old key file; if it is lost, enter the credentials again"):
        VAULT.open(ONE, CREDENTIALS, sealed)
    # Even when the id is forged to fit, the key does not.
    forged = sealed[:1] + VAULT.seal(ONE, CREDENTIALS, b"")[1:9] + sealed[9:]
    with pytest.raises(SecretUnreadable, match="cannot be opened"):
        VAULT.open(ONE, CREDENTIALS, forged)


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(SecretUnreadable, match="scheme 2"):
        VAULT.open(ONE, TOKEN, b"\x02" + bytes(200))


def test_an_unknown_purpose_is_a_mistake() -> None:
    with pytest.raises(InvalidInput, match="'password' is not a purpose"):
        VAULT.seal(ONE, "password", b"")


def test_a_vault_shows_nothing_and_stays_in_its_process() -> None:
    assert repr(VAULT) == "Vault(•••)"
    with pytest.raises(TypeError):
        pickle.dumps(VAULT)


def test_errors_carry_no_secret() -> None:
    with pytest.raises(SecretUnreadable) as caught:
        VAULT.open(TWO, TOKEN, VAULT.seal(ONE, TOKEN, b"the very secret"))
    assert "very secret" not in str(caught.value)
    assert caught.value.exit_code == 2


# ── the key file ──


def test_first_use_makes_one_guarded_key_file(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    sealed = Vault.open_keys(settings).seal(ONE, TOKEN, b"secret")
    key_file = settings.keys / KEY_FILE
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o400
    assert stat.S_IMODE(settings.keys.stat().st_mode) == 0o700
    assert [file.name for file in settings.keys.iterdir()] == [KEY_FILE]
    held = json.loads(key_file.read_bytes())
    assert len(base64.b64decode(held["key"])) == 32
    assert Vault.open_keys(settings).open(ONE, TOKEN, sealed) == b"secret"


def test_a_lost_key_file_is_said_plainly(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    sealed = Vault.open_keys(settings).seal(ONE, TOKEN, b"secret")
    (settings.keys / KEY_FILE).unlink()
    with pytest.raises(SecretUnreadable, match="enter the credentials again"):
        Vault.open_keys(settings).open(ONE, TOKEN, sealed)


def key_text(raw: bytes = bytes(32), **changes: object) -> str:
    good = {"version": 1, "key_id": "0" * 16, "key": base64.b64encode(raw).decode()}
    return json.dumps(good | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged"),
        ("not json", "damaged"),
        ("[]", "damaged"),
        (key_text(key="=="), "damaged"),
        (key_text(key="Zm9v!"), "damaged"),
        (key_text(extra=1), "damaged"),
        (key_text(bytes(16)), "has 16 bytes; it must have 32"),
        (key_text(bytes(33)), "has 33 bytes"),
        (key_text(), "does not fit its id"),
        (key_text(version=2), "has version 2"),
    ],
)
def test_a_key_file_that_is_not_one_is_refused(tmp_path: Path, text: str, message: str) -> None:
    settings = settings_in(tmp_path)
    settings.keys.mkdir(mode=0o700)
    path = settings.keys / KEY_FILE
    path.write_text(text)
    path.chmod(0o400)
    with pytest.raises(SetupProblem, match=message):
        Vault.open_keys(settings)
    assert path.read_text() == text  # never replaced


@pytest.mark.parametrize("mode", [0o404, 0o440, 0o444, 0o600 | 0o020, 0o644, 0o401])
def test_a_key_file_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    settings = settings_in(tmp_path)
    Vault.open_keys(settings)
    (settings.keys / KEY_FILE).chmod(mode)
    with pytest.raises(SetupProblem, match="Run: chmod 400"):
        Vault.open_keys(settings)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_key_folder_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    settings = settings_in(tmp_path)
    settings.keys.mkdir()
    settings.keys.chmod(mode)
    with pytest.raises(SetupProblem, match="Run: chmod 700"):
        Vault.open_keys(settings)
    assert list(settings.keys.iterdir()) == []


def test_a_key_folder_inside_the_data_folder_is_refused_also_through_a_link(tmp_path: Path) -> None:
    inside = tmp_path / "kept" / "keys"
    with pytest.raises(SetupProblem, match="inside the data folder"):
        Vault.open_keys(Settings(data=tmp_path / "kept", keys=inside))
    inside.mkdir(parents=True)
    (tmp_path / "link").symlink_to(inside)
    with pytest.raises(SetupProblem, match="inside the data folder"):
        Vault.open_keys(Settings(data=tmp_path / "kept", keys=tmp_path / "link"))
    assert list(inside.iterdir()) == []


def test_a_key_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(SetupProblem, match="PORTFOLIO_SCHEDULER_KEYS"):
        Vault.open_keys(settings_in(tmp_path))


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from uuid import UUID\n"
        "from portfolio_scheduler.settings import Settings; from portfolio_scheduler.vault import Vault\n"
        "folder = Path(sys.argv[1]); settings = Settings(data=folder / 'kept', keys=folder / 'keys')\n"
        "print('ready', flush=True); sys.stdin.read(1)\n"
        "print(Vault.open_keys(settings).seal(UUID(int=1), 'token', b'agreed').hex())\n"
    )
    command = [sys.executable, "-c", code, os.fspath(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    sealed = [process.communicate("g")[0] for process in started]
    vault = Vault.open_keys(Settings(data=tmp_path / "kept", keys=tmp_path / "keys"))
    assert [vault.open(ONE, TOKEN, bytes.fromhex(s)) for s in sealed] == [b"agreed"] * 4
    assert [file.name for file in (tmp_path / "keys").iterdir()] == [KEY_FILE]
