"""Seals the secrets of broker accounts, so that a copy of the database is worthless without the key file.

Each sealed value has a data key of its own, used once, which is wrapped by the key in the key file (AES-256-GCM for
both). What a value is for is bound into it: a sealed value moved to another account or purpose does not open.
The first byte of a sealed value names its scheme, so that others can live beside this one.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portfolio_scheduler.errors import InvalidInput, SecretUnreadable, SetupProblem
from portfolio_scheduler.settings import Settings

CREDENTIALS = "credentials"
TOKEN = "token"
PURPOSES = frozenset({CREDENTIALS, TOKEN})

KEY_FILE = "vault.key"
KEY_FILE_LIMIT = 4096  # bytes; a key file has about a hundred
RESTORE = "Restore it from your copy; if there is none, move it away and enter the credentials of every account again."

# Scheme 1: scheme, key id, commitment, nonce and wrapped data key, nonce and sealed secret.
SCHEME = 1
KEY_BYTES = 32
KEY_ID_BYTES = 8
NONCE_BYTES = 12
TAG_BYTES = 16
COMMITMENT_BYTES = 32
WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
HEAD_BYTES = 1 + KEY_ID_BYTES + COMMITMENT_BYTES + WRAPPED_BYTES


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the key file holds. The id follows from the key, so a damaged file is found when it is read."""

    version: int
    key_id: str
    key: str

    def __repr__(self) -> str:
        return "_KeyFile(•••)"


class Vault:
    """Seals and opens secrets with one key. Its repr shows nothing."""

    __slots__ = ("_key", "_key_id")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SetupProblem(f"A vault key of {len(key)} bytes was found; it must have {KEY_BYTES}.")
        self._key = key
        self._key_id = _key_id(key)

    @classmethod
    def open_keys(cls, settings: Settings) -> "Vault":
        """The vault of this installation; its key file is made on first use. Otherwise `SetupProblem`."""
        _check_place(settings)
        path = settings.keys / KEY_FILE
        _make_folder(settings.keys)
        if not path.exists():
            _make_key_file(path)
        return cls(_read_key_file(path))

    def seal(self, account_id: UUID, purpose: str, secret: bytes) -> bytes:
        """Encrypt a secret of an account. The same secret never gives the same bytes twice."""
        context = _context(account_id, purpose, self._key_id)
        data_key = secrets.token_bytes(KEY_BYTES)
        return b"".join(
            (
                bytes([SCHEME]),
                self._key_id,
                _commitment(data_key, context),
                _encrypt(self._key, data_key, b"wrap" + context),
                _encrypt(data_key, secret, b"seal" + context),
            )
        )

    def open(self, account_id: UUID, purpose: str, sealed: bytes) -> bytes:
        """Decrypt what `seal` made for this account and purpose; anything else is `SecretUnreadable`."""
        if not sealed or sealed[0] != SCHEME:
            found = f"scheme {sealed[0]}" if sealed else "nothing"
            raise SecretUnreadable(
                f"The sealed {purpose} of account {account_id} has {found}, but this version opens scheme {SCHEME} "
                "only. Upgrade, or enter the credentials again."
            )
        if len(sealed) < HEAD_BYTES + NONCE_BYTES + TAG_BYTES:
            raise _altered(account_id, purpose)
        key_id, rest = sealed[1 : 1 + KEY_ID_BYTES], sealed[1 + KEY_ID_BYTES :]
        if key_id != self._key_id:
            raise SecretUnreadable(
                f"The {purpose} of account {account_id} was sealed with key {key_id.hex()}, but {KEY_FILE} holds key "
                f"{self._key_id.hex()}. Restore the old key file; if it is lost, enter the credentials again."
            )
        context = _context(account_id, purpose, key_id)
        commitment, rest = rest[:COMMITMENT_BYTES], rest[COMMITMENT_BYTES:]
        wrapped, body = rest[:WRAPPED_BYTES], rest[WRAPPED_BYTES:]
        try:
            data_key = _decrypt(self._key, wrapped, b"wrap" + context)
            # AES-GCM does not commit to its key: without this, one sealed value could open under two keys.
            if not hmac.compare_digest(commitment, _commitment(data_key, context)):
                raise _altered(account_id, purpose)
            return _decrypt(data_key, body, b"seal" + context)
        except InvalidTag as e:
            raise _altered(account_id, purpose) from e

    def __repr__(self) -> str:
        return "Vault(•••)"

    def __reduce__(self) -> str:
        raise TypeError("a vault is not pickled: its key would leave the process")


def _altered(account_id: UUID, purpose: str) -> SecretUnreadable:
    return SecretUnreadable(
        f"The sealed {purpose} of account {account_id} cannot be opened: altered, cut short, or sealed for another "
        "account or purpose. Enter the credentials again, and find out who wrote to the database."
    )


def _context(account_id: UUID, purpose: str, key_id: bytes) -> bytes:
    """What a sealed value is bound to. Each part carries its length, so that no two tuples give the same bytes."""
    if purpose not in PURPOSES:
        raise InvalidInput(
            f"{purpose!r} is not a purpose of a secret; it must be one of {', '.join(sorted(PURPOSES))}."
        )
    parts = (b"portfolio-scheduler vault", bytes([SCHEME]), purpose.encode(), account_id.bytes, key_id)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _commitment(data_key: bytes, context: bytes) -> bytes:
    return hmac.digest(_derived(data_key, b"commit"), context, "sha256")


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"portfolio-scheduler vault " + purpose).derive(
        key
    )


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(_derived(key, b"key id")).digest()[:KEY_ID_BYTES]


def _encrypt(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to)


def _decrypt(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)


def _check_place(settings: Settings) -> None:
    """The key must not travel with a copy of the data folder, by whatever links the two are reached."""
    keys, data = settings.keys.resolve(), settings.data.resolve()
    if keys == data or data in keys.parents:
        raise SetupProblem(
            f"The key folder {settings.keys} lies inside the data folder {settings.data}, so a copy of the data would "
            "carry its key. Set PORTFOLIO_SCHEDULER_KEYS to a folder outside it."
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as e:
        raise SetupProblem(
            f"The key folder {folder} cannot be made: {e.strerror}. Set PORTFOLIO_SCHEDULER_KEYS to a folder of yours."
        ) from e
    # Readable is allowed, because the file guards itself; who may write here may put a key of theirs in its place.
    if mode & 0o022:
        raise SetupProblem(f"Others may write to the key folder {folder} (mode {mode:04o}). Run: chmod 700 '{folder}'")


def _make_key_file(path: Path) -> None:
    """Write a new key so that of several processes exactly one wins, and none ever sees half a file."""
    key = secrets.token_bytes(KEY_BYTES)
    made = _KeyFile(version=1, key_id=_key_id(key).hex(), key=base64.b64encode(key).decode())
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        try:
            os.write(handle, msgspec.json.encode(made) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(draft, path)  # fails when the file exists, where a rename would replace it
        except FileExistsError:
            return
        finally:
            draft.unlink()
        _sync_folder(path.parent)
    except OSError as e:
        raise SetupProblem(
            f"The key file {path} cannot be written: {e.strerror}. Set PORTFOLIO_SCHEDULER_KEYS to a folder of yours."
        ) from e


def _sync_folder(folder: Path) -> None:
    """Make the new name last: a key lost in a power cut would lose every secret sealed with it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_key_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise SetupProblem(
                    f"Others than its owner may use the key file {path} (mode {mode:04o}, expected 0400). "
                    f"Run: chmod 400 '{path}'"
                )
            return _key_in(file.read(KEY_FILE_LIMIT), path)
    except OSError as e:
        raise SetupProblem(f"The key file {path} cannot be read: {e.strerror}. {RESTORE}") from e


def _key_in(content: bytes, path: Path) -> bytes:
    try:
        held = msgspec.json.decode(content, type=_KeyFile)
        key = base64.b64decode(held.key, validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError) as e:
        raise SetupProblem(f"The key file {path} is damaged: it does not hold a key. {RESTORE}") from e
    if held.version != 1:
        raise SetupProblem(
            f"The key file {path} has version {held.version}, but this program reads version 1. Upgrade."
        )
    if len(key) != KEY_BYTES:
        raise SetupProblem(f"The key in {path} has {len(key)} bytes; it must have {KEY_BYTES}. {RESTORE}")
    if held.key_id != _key_id(key).hex():
        raise SetupProblem(f"The key file {path} is damaged: its key does not fit its id. {RESTORE}")
    return key
