"""The keys that sign access tokens, in a file of the key folder. The newest signs, all of them verify.

A process looks at the file again every second, so that a rotation reaches all processes of a machine by itself.
"""

import base64
import binascii
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.settings import Settings

KEY_FILE = "signing.json"
KEY_FILE_LIMIT = 65_536  # bytes; a key takes about 150
KEY_BYTES = 32
MOST_KEYS = 16
LOOK_AGAIN = timedelta(seconds=1)
STILL_VERIFIES = timedelta(minutes=15)  # longer than the last token that a replaced key signed can live
REPLACE = "Move it away and start again: a new one is made, and everybody's next request asks for a new access token."

_Identity = tuple[int, int, int, int]


class _KeptKey(Struct, frozen=True, forbid_unknown_fields=True):
    key_id: str
    made_at: Annotated[datetime, Meta(tz=True)]
    key: str

    def __repr__(self) -> str:
        return f"_KeptKey({self.key_id!r}, •••)"


class _KeyFile(Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: tuple[_KeptKey, ...]  # oldest first


class SigningKey:
    """One key pair with its id, which follows from the public key. Its repr shows nothing."""

    __slots__ = ("key_id", "made_at", "private", "public")

    def __init__(self, secret: bytes, made_at: datetime) -> None:
        if len(secret) != KEY_BYTES:
            raise SetupProblem(f"A signing key of {len(secret)} bytes was found; it must have {KEY_BYTES}.")
        if len(set(secret)) < 8 or secret == bytes(range(KEY_BYTES)):
            raise SetupProblem("A signing key that everybody can guess was found; it must be random.")
        self.private = Ed25519PrivateKey.from_private_bytes(secret)
        self.public: Ed25519PublicKey = self.private.public_key()
        self.key_id = hashlib.sha256(self.public.public_bytes_raw()).hexdigest()[:16]
        self.made_at = made_at

    @classmethod
    def make(cls, now: datetime) -> Self:
        return cls(secrets.token_bytes(KEY_BYTES), now)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r})"

    def __reduce__(self) -> str:
        raise TypeError("a signing key is not pickled: it would leave the process")


class Ring:
    """The keys of one moment. `signing` is the newest."""

    __slots__ = ("_by_id", "keys")

    def __init__(self, keys: tuple[SigningKey, ...]) -> None:
        self.keys = keys
        self._by_id = {key.key_id: key for key in keys}

    @property
    def signing(self) -> SigningKey:
        return self.keys[-1]

    def public(self, key_id: str) -> Ed25519PublicKey | None:
        """The key that verifies what `key_id` signed; None when it is not one of ours."""
        key = self._by_id.get(key_id)
        return key.public if key else None


class Keyring:
    """The keys of this installation as they are now."""

    def __init__(self, path: Path, now: datetime) -> None:
        self._path = path
        self._seen, self._ring = _read(path)
        self._looked_at = now

    @classmethod
    def open_keys(cls, settings: Settings, now: datetime) -> Self:
        """The keyring of this installation; its file is made on first use. Otherwise `SetupProblem`."""
        path = _place(settings)
        if not path.exists():
            _write(path, (SigningKey.make(now),), replacing=False)
        return cls(path, now)

    def ring(self, now: datetime) -> Ring:
        """The keys that hold now. Another object than the last time says that they changed."""
        if abs(now - self._looked_at) >= LOOK_AGAIN:
            if _identity_of(self._path) != self._seen:
                self._seen, self._ring = _read(self._path)
            self._looked_at = now
        return self._ring

    def __repr__(self) -> str:
        return f"Keyring({[key.key_id for key in self._ring.keys]})"

    def __reduce__(self) -> str:
        raise TypeError("a keyring is not pickled: its keys would leave the process")


def rotate(settings: Settings, now: datetime, *, at_once: bool = False) -> str:
    """Add a key that signs from now on, and return its id. Replaced keys verify until their tokens have expired.

    With `at_once` they verify nothing any more: for a key that may have been seen by somebody.
    """
    path = _place(settings)
    if not path.exists():
        _write(path, (SigningKey.make(now),), replacing=False)
    with _locked(path.parent):
        _, ring = _read(path)
        new = SigningKey.make(now)
        successors = [*ring.keys[1:], new]
        kept = [
            key
            for key, successor in zip(ring.keys, successors, strict=True)
            if not at_once and successor.made_at > now - STILL_VERIFIES
        ]
        if len(kept) >= MOST_KEYS:
            raise SetupProblem(
                f"{path} holds {len(kept)} keys that were replaced within the last {STILL_VERIFIES.seconds // 60} "
                f"minutes, more than {MOST_KEYS - 1}. Wait before you rotate again, or let all of them end at once."
            )
        _write(path, (*kept, new), replacing=True)
    return new.key_id


def _place(settings: Settings) -> Path:
    """Where the file lies. The keys must not travel with a copy of the data folder, by whatever links it is reached."""
    folder, kept = settings.keys.resolve(), settings.data.resolve()
    if folder == kept or kept in folder.parents:
        raise SetupProblem(
            f"The key folder {settings.keys} lies inside the data folder {settings.data}, so a copy of the data would "
            "carry its keys. Set PORTFOLIO_SCHEDULER_KEYS to a folder outside it."
        )
    try:
        settings.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(settings.keys.stat().st_mode)
    except OSError as e:
        raise SetupProblem(
            f"The key folder {settings.keys} cannot be made: {e.strerror}. "
            "Set PORTFOLIO_SCHEDULER_KEYS to a folder of yours."
        ) from e
    # Readable is allowed, because the file guards itself; who may write here may put a key of theirs in its place.
    if mode & 0o022:
        raise SetupProblem(
            f"Others may write to the key folder {settings.keys} (mode {mode:04o}). Run: chmod 700 '{settings.keys}'"
        )
    return settings.keys / KEY_FILE


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two rotations at the same time come one after the other, so that neither loses the other's key."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, keys: tuple[SigningKey, ...], *, replacing: bool) -> None:
    """Put the whole file there at once: none ever sees half of it, and of several that make the first, one wins."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_encoded(keys))
                file.flush()
                os.fsync(file.fileno())
            if replacing:
                draft.replace(path)
            else:
                path.hardlink_to(draft)  # fails when the file exists, where a rename would replace it
        except FileExistsError:
            return
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as e:
        raise SetupProblem(
            f"The key file {path} cannot be written: {e.strerror}. Set PORTFOLIO_SCHEDULER_KEYS to a folder of yours."
        ) from e


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _encoded(keys: tuple[SigningKey, ...]) -> bytes:
    kept = tuple(
        _KeptKey(
            key_id=key.key_id,
            made_at=key.made_at.astimezone(UTC),
            key=base64.b64encode(key.private.private_bytes_raw()).decode(),
        )
        for key in keys
    )
    return msgspec.json.encode(_KeyFile(version=1, keys=kept)) + b"\n"


def _identity_of(path: Path) -> _Identity:
    try:
        return _identity(path.stat())
    except OSError as e:
        raise _unreadable(path, e) from e


def _identity(found: os.stat_result) -> _Identity:
    """What changes whenever the file is replaced, written to, or opened to others."""
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


def _read(path: Path) -> tuple[_Identity, Ring]:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            mode = stat.S_IMODE(found.st_mode)
            if mode & 0o077:
                raise SetupProblem(
                    f"Others than its owner may use the key file {path} (mode {mode:04o}, expected 0400). If others "
                    f"have accounts on this machine, replace the keys too. Run: chmod 400 '{path}'"
                )
            if found.st_uid not in {0, os.geteuid()}:
                raise SetupProblem(
                    f"The key file {path} belongs to user {found.st_uid}, but this process runs as user "
                    f"{os.geteuid()}: whoever owns it could put keys of theirs in. Run: chown {os.geteuid()} '{path}'"
                )
            return _identity(found), _ring_in(file.read(KEY_FILE_LIMIT + 1), path)
    except OSError as e:
        raise _unreadable(path, e) from e


def _ring_in(content: bytes, path: Path) -> Ring:
    try:
        held = msgspec.json.decode(content, type=_KeyFile)
        keys = tuple(SigningKey(base64.b64decode(kept.key, validate=True), kept.made_at) for kept in held.keys)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as e:
        raise SetupProblem(f"The key file {path} is damaged: it does not hold signing keys. {REPLACE}") from e
    if held.version != 1:
        raise SetupProblem(
            f"The key file {path} has version {held.version}, but this program reads version 1. Upgrade."
        )
    if not 0 < len(keys) <= MOST_KEYS or len({key.key_id for key in keys}) < len(keys):
        raise SetupProblem(
            f"The key file {path} is damaged: {len(keys)} keys, expected 1 to {MOST_KEYS} different ones. {REPLACE}"
        )
    if [kept.key_id for kept in held.keys] != [key.key_id for key in keys]:
        raise SetupProblem(f"The key file {path} is damaged: a key does not fit its id. {REPLACE}")
    return Ring(keys)


def _unreadable(path: Path, error: OSError) -> SetupProblem:
    return SetupProblem(f"The key file {path} cannot be read: {error.strerror}. {REPLACE}")
