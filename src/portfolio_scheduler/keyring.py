"""The key files: made, read, checked, changed. A key that is not safe to use is refused with the reason.

`opening.json` holds the private keys and belongs on the machines that run a worker; `sealing.json`, made from it, holds
the public keys and is all that a process needs which only seals. `vault.key` is the one key of earlier installations.
"""

import base64
import binascii
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portfolio_scheduler.errors import InvalidInput, SetupProblem
from portfolio_scheduler.log import logger
from portfolio_scheduler.settings import Settings

OPENING_FILE = "opening.json"
SEALING_FILE = "sealing.json"
OLD_FILE = "vault.key"
FILES = (OPENING_FILE, SEALING_FILE, OLD_FILE)
VERSION = 2  # of both files; vault.key has 1
FILE_LIMIT = 1 << 18  # bytes; a key takes about 200
KEY_BYTES = 32
KEY_ID_BYTES = 8
RESTORE = "Restore it from your copy; if there is none, move it away and enter the credentials of every account again."

# Keys that everybody knows: those of RFC 7748 (6.1) and RFC 9180 (A.1), which examples are copied from.
PUBLISHED = frozenset(
    bytes.fromhex(key)
    for key in (
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
        "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
    )
)
FEWEST_DIFFERENT = 16  # of the 32 bytes of a key; a random one has 30, and fewer than 16 in no lifetime

log = logger()
T = TypeVar("T")


class State(StrEnum):
    """What a key is good for. One key of an installation is active."""

    ACTIVE = "active"  # new secrets are sealed to it
    DECRYPT_ONLY = "decrypt-only"  # what is sealed to it still opens
    RETIRED = "retired"  # its private part is destroyed


class PublicKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that seals. The id follows from the key, so that a damaged file is found when it is read."""

    id: str
    state: State
    made_at: datetime
    public: bytes


class PrivateKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that opens what was sealed to its public part. Its repr shows nothing."""

    id: str
    state: State
    made_at: datetime
    public: bytes
    private: bytes  # empty once retired

    def __repr__(self) -> str:
        return f"PrivateKey({self.id}, {self.state.value}, •••)"


class SealingRing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `sealing.json` holds. The fingerprint key only tells credentials apart."""

    version: int
    fingerprint_key: bytes
    keys: list[PublicKey]

    @property
    def active(self) -> PublicKey:
        return next(key for key in self.keys if key.state is State.ACTIVE)

    def __repr__(self) -> str:
        return f"SealingRing({len(self.keys)} keys, •••)"


class OpeningRing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `opening.json` holds."""

    version: int
    fingerprint_key: bytes
    keys: list[PrivateKey]

    def published(self) -> SealingRing:
        """The part that whoever seals may have."""
        public = [PublicKey(key.id, key.state, key.made_at, key.public) for key in self.keys]
        return SealingRing(self.version, self.fingerprint_key, public)

    def __repr__(self) -> str:
        return f"OpeningRing({len(self.keys)} keys, •••)"


class _OldKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `vault.key` holds."""

    version: int
    key_id: str
    key: str

    def __repr__(self) -> str:
        return "_OldKey(•••)"


class Watched(Generic[T]):
    """What a file holds, read again when the file was replaced: keys are rotated while the service runs."""

    def __init__(self, path: Path, read: Callable[[], T]) -> None:
        self._path = path
        self._read = read
        self._seen = self._signature()
        self._held = read()

    def __call__(self) -> T:
        seen = self._signature()
        if seen != self._seen:
            self._seen = seen
            try:
                self._held = self._read()
            except SetupProblem as e:  # what runs goes on with the keys it has; the next start refuses
                log.warning("a key file was changed and cannot be used; the keys of before hold", reason=e.message)
        return self._held

    def _signature(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)


# ── what callers use ──


def opened_ring(settings: Settings, now: datetime) -> OpeningRing:
    """The private keys of this installation; made on first use. The public file follows them."""
    check_place(settings)
    _make_folder(settings.keys)
    with _alone(settings.keys):
        if not (settings.keys / OPENING_FILE).exists():
            if (settings.keys / SEALING_FILE).exists():
                raise SetupProblem(
                    f"{settings.keys} has public keys ({SEALING_FILE}) but no private ones ({OPENING_FILE}), so what "
                    f"was sealed to them cannot be opened here. Restore {OPENING_FILE} from your copy or run the "
                    f"worker where it is; if it is lost, move {SEALING_FILE} away and enter the credentials of every "
                    "account again."
                )
            _write(settings.keys / OPENING_FILE, _new_ring(now), 0o400)
        ring = read_opening(settings)
        _publish(settings, ring)
        return ring


def make_if_new(settings: Settings, now: datetime) -> None:
    """Make the key files where there is none of the two."""
    if not any((settings.keys / name).exists() for name in (OPENING_FILE, SEALING_FILE)):
        opened_ring(settings, now)


def read_opening(settings: Settings) -> OpeningRing:
    path = settings.keys / OPENING_FILE
    ring = _decoded(_read_guarded(path, 0o077, "use", "400"), OpeningRing, path)
    _check_ring(path, ring.version, ring.fingerprint_key, ring.keys)
    for key in ring.keys:
        if key.state is not State.RETIRED:
            _check_pair(path, key)
    return ring


def read_sealing(settings: Settings) -> SealingRing:
    """The public keys. Who can change them could have new secrets sealed to a key of theirs."""
    check_place(settings)
    path = settings.keys / SEALING_FILE
    if not path.exists():
        raise SetupProblem(
            f"There is no {path}, so no secret can be sealed here. Copy it from a machine that runs a worker."
        )
    _check_folder(settings.keys)
    ring = _decoded(_read_guarded(path, 0o022, "write to", "644"), SealingRing, path)
    _check_ring(path, ring.version, ring.fingerprint_key, ring.keys)
    return ring


def read_old_key(settings: Settings) -> bytes | None:
    """The symmetric key of an installation that is older than key rings, if this is one."""
    path = settings.keys / OLD_FILE
    if not path.exists():
        return None
    held = _decoded(_read_guarded(path, 0o077, "use", "400"), _OldKey, path)
    if held.version != 1:
        raise SetupProblem(
            f"The key file {path} has version {held.version}, but this program reads version 1. Upgrade."
        )
    try:
        key = base64.b64decode(held.key, validate=True)
    except (binascii.Error, ValueError) as e:
        raise SetupProblem(f"The key file {path} is damaged: it does not hold a key. {RESTORE}") from e
    if len(key) == KEY_BYTES and held.key_id != old_key_id(key):
        raise SetupProblem(f"The key file {path} is damaged: its key does not fit its id. {RESTORE}")
    check_strong(key, str(path))
    return key


def check_place(settings: Settings) -> None:
    """No key may travel with a copy of the data folder, by whatever links the two are reached."""
    data = settings.data.resolve()
    for path in (settings.keys, *(settings.keys / name for name in FILES)):
        real = path.resolve()
        if real == data or data in real.parents:
            raise SetupProblem(
                f"The key folder {settings.keys} lies inside the data folder {settings.data}, so a copy of the data "
                "would carry its key. Set PORTFOLIO_SCHEDULER_KEYS to a folder outside it."
            )


def check_strong(key: bytes, where: str) -> None:
    """Refuse what nobody drew at random: samples, zeros, repetitions, counting, typed text."""
    if len(key) != KEY_BYTES:
        raise SetupProblem(f"The key in {where} has {len(key)} bytes; it must have {KEY_BYTES}. {RESTORE}")
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    if key in PUBLISHED:
        weakness = "is a published sample that everybody has"
    elif len(set(key)) < FEWEST_DIFFERENT or len(steps) < FEWEST_DIFFERENT // 2:
        weakness = "is not random: it repeats or counts"
    elif all(32 <= byte < 127 for byte in key):
        weakness = "is not random: it is typed text"
    else:
        return
    raise SetupProblem(
        f"The key in {where} {weakness}. Move the file away; a new key is made at the next start, and the credentials "
        "of every account must be entered again."
    )


def key_id(public: bytes) -> str:
    return hashlib.sha256(b"portfolio-scheduler public key" + public).digest()[:KEY_ID_BYTES].hex()


def old_key_id(key: bytes) -> str:
    return hashlib.sha256(derived(key, b"key id")).digest()[:KEY_ID_BYTES].hex()


def derived(key: bytes, purpose: bytes) -> bytes:
    """A key for one purpose, from a key that has several."""
    label = b"portfolio-scheduler vault " + purpose
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=label).derive(key)


def rotated(settings: Settings, now: datetime) -> OpeningRing:
    """A new key becomes the active one; the one before still opens."""
    with _changing(settings) as ring:
        before = [
            msgspec.structs.replace(key, state=State.DECRYPT_ONLY) if key.state is State.ACTIVE else key
            for key in ring.keys
        ]
        changed = msgspec.structs.replace(ring, keys=[*before, _new_key(now)])
        _replace(settings, changed)
        return changed


def retired(settings: Settings, retired_id: str) -> OpeningRing:
    """Destroy the private part of a key. Whoever calls has seen that nothing is sealed to it any more."""
    with _changing(settings) as ring:
        old_key = read_old_key(settings)
        if old_key is not None and retired_id == old_key_id(old_key):
            _remove(settings.keys / OLD_FILE)
            return ring
        key = next((key for key in ring.keys if key.id == retired_id), None)
        if key is None:
            raise InvalidInput(f"There is no key {retired_id}; `portfolio-scheduler keys status` shows all.")
        if key.state is State.ACTIVE:
            raise InvalidInput(f"Key {retired_id} is the active one; run `portfolio-scheduler keys rotate` first.")
        gone = msgspec.structs.replace(key, state=State.RETIRED, private=b"")
        changed = msgspec.structs.replace(ring, keys=[gone if key.id == retired_id else key for key in ring.keys])
        _replace(settings, changed)
        return changed


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as e:
        raise _unwritable(path, e) from e


# ── making and changing ──


def _new_key(now: datetime) -> PrivateKey:
    private = X25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    return PrivateKey(key_id(public), State.ACTIVE, now, public, private.private_bytes_raw())


def _new_ring(now: datetime) -> OpeningRing:
    return OpeningRing(VERSION, secrets.token_bytes(KEY_BYTES), [_new_key(now)])


@contextmanager
def _changing(settings: Settings) -> Iterator[OpeningRing]:
    check_place(settings)
    _check_folder(settings.keys)
    with _alone(settings.keys):
        yield read_opening(settings)


def _replace(settings: Settings, ring: OpeningRing) -> None:
    """Private before public: nothing is ever sealed to a key that cannot open yet."""
    _write(settings.keys / OPENING_FILE, ring, 0o400)
    _write(settings.keys / SEALING_FILE, ring.published(), 0o644)


def _publish(settings: Settings, ring: OpeningRing) -> None:
    """Write the public file where it is missing, or older than the private one because a rotation was cut short."""
    path = settings.keys / SEALING_FILE
    published = ring.published()
    if not path.exists():
        _write(path, published, 0o644)
        return
    found = read_sealing(settings)
    ours = {key.id for key in published.keys}
    if foreign := [key.id for key in found.keys if key.id not in ours]:
        raise SetupProblem(
            f"{path} holds the public key {foreign[0]}, whose private key is not in {OPENING_FILE}: what is sealed to "
            f"it could never be opened here, but perhaps by somebody else. Find out who wrote it, then remove "
            f"{SEALING_FILE}; it is made anew from {OPENING_FILE}."
        )
    if found != published:
        _write(path, published, 0o644)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time changes the key files."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as e:
        raise _unwritable(folder, e) from e
    try:
        yield
    finally:
        os.close(handle)


def _write(path: Path, ring: OpeningRing | SealingRing, mode: int) -> None:
    """Whole or not at all, and lasting: a key lost in a power cut would lose every secret sealed to it."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            os.fchmod(handle, mode)  # whatever the umask
            os.write(handle, msgspec.json.format(msgspec.json.encode(ring), indent=2) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        draft.unlink(missing_ok=True)
        raise _unwritable(path, e) from e


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise SetupProblem(
            f"The key folder {folder} cannot be made: {e.strerror}. Set PORTFOLIO_SCHEDULER_KEYS to a folder of yours."
        ) from e
    _check_folder(folder)


def _unwritable(path: Path, e: OSError) -> SetupProblem:
    return SetupProblem(
        f"The key file {path} cannot be written: {e.strerror}. Make its folder writable for this user or set "
        "PORTFOLIO_SCHEDULER_KEYS to a folder of yours."
    )


# ── reading and checking ──


def _check_folder(folder: Path) -> None:
    """Readable is allowed, because each file guards itself; who may write here may put a key of theirs in its place."""
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as e:
        raise SetupProblem(f"The key folder {folder} cannot be read: {e.strerror}.") from e
    if mode & 0o022:
        raise SetupProblem(f"Others may write to the key folder {folder} (mode {mode:04o}). Run: chmod 700 '{folder}'")


def _read_guarded(path: Path, forbidden: int, act: str, right: str) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & forbidden:
                raise SetupProblem(
                    f"Others than its owner may {act} the key file {path} (mode {mode:04o}, expected 0{right}). "
                    f"Run: chmod {right} '{path}'"
                )
            return file.read(FILE_LIMIT)
    except OSError as e:
        raise SetupProblem(f"The key file {path} cannot be read: {e.strerror}. {RESTORE}") from e


def _decoded(content: bytes, type_: type[T], path: Path) -> T:
    try:
        return msgspec.json.decode(content, type=type_)
    except (msgspec.DecodeError, ValueError) as e:
        raise SetupProblem(f"The key file {path} is damaged: it does not hold keys. {RESTORE}") from e


def _check_ring(
    path: Path, version: int, fingerprint_key: bytes, keys: Sequence[PublicKey] | Sequence[PrivateKey]
) -> None:
    if version != VERSION:
        raise SetupProblem(
            f"The key file {path} has version {version}, but this program reads version {VERSION}. Upgrade."
        )
    check_strong(fingerprint_key, str(path))
    active = [key for key in keys if key.state is State.ACTIVE]
    if len(active) != 1:
        raise SetupProblem(f"The key file {path} has {len(active)} active keys; it must have 1. {RESTORE}")
    if len({key.id for key in keys}) != len(keys):
        raise SetupProblem(f"The key file {path} is damaged: it names a key twice. {RESTORE}")
    for key in keys:
        if len(key.public) != KEY_BYTES or key.id != key_id(key.public):
            raise SetupProblem(f"The key file {path} is damaged: its key does not fit its id {key.id!r}. {RESTORE}")
        if key.public in _PUBLISHED_PUBLIC or len(set(key.public)) < FEWEST_DIFFERENT:
            raise SetupProblem(
                f"The public key {key.id} in {path} belongs to a published sample or to nobody. Remove {SEALING_FILE}; "
                f"it is made anew from {OPENING_FILE} where a worker runs."
            )


def _check_pair(path: Path, key: PrivateKey) -> None:
    check_strong(key.private, str(path))
    if X25519PrivateKey.from_private_bytes(key.private).public_key().public_bytes_raw() != key.public:
        raise SetupProblem(f"The key file {path} is damaged: the two halves of key {key.id} do not fit. {RESTORE}")


_PUBLISHED_PUBLIC = frozenset(
    X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw() for private in PUBLISHED
)
