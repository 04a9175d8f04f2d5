"""The key files: made, read, checked, changed. A key that is not safe to use is refused with the reason.

`opening.json` holds the private keys and belongs on the machines that run a worker; `sealing.json`, made from it, holds
the public keys and is all that a process needs which only seals. `vault.key` is the one key of earlier installations.
"""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portfolio_scheduler.errors import InvalidInput, SetupProblem
from portfolio_scheduler.key_files import (
    FEWEST_DIFFERENT,
    KEY_BYTES,
    PUBLISHED,
    alone,
    check_folder,
    check_place,
    check_strong,
    decoded,
    make_folder,
    read_guarded,
    unwritable,
    write,
)
from portfolio_scheduler.key_source import OPENING_FILE, RESTORE, source_of
from portfolio_scheduler.settings import Settings

SEALING_FILE = "sealing.json"
OLD_FILE = "vault.key"
FILES = (OPENING_FILE, SEALING_FILE, OLD_FILE)
VERSION = 2  # of both files; vault.key has 1
KEY_ID_BYTES = 8
MOST_DAYS = 365  # that a key is active
REPLACED = "The credentials of every account must be entered again."


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


# ── what callers use ──


def opened_ring(settings: Settings, now: datetime) -> OpeningRing:
    """The private keys of this installation; made on first use. The public file follows them."""
    check_place(settings, FILES)
    make_folder(settings.keys)
    source = source_of(settings)
    with alone(settings.keys):
        if source.is_ours and not source.path.exists():
            if (settings.keys / SEALING_FILE).exists():
                raise SetupProblem(
                    f"{settings.keys} has public keys ({SEALING_FILE}) but no private ones ({OPENING_FILE}), so what "
                    f"was sealed to them cannot be opened here. Restore {OPENING_FILE} from your copy or run the "
                    f"worker where it is; if it is lost, move {SEALING_FILE} away and enter the credentials of every "
                    "account again."
                )
            write(source.path, _new_ring(now), 0o400)
        ring = read_opening(settings)
        _publish(settings, ring)
        return ring


def make_if_new(settings: Settings, now: datetime) -> None:
    """Make the key files where there is none of the two."""
    if not any((settings.keys / name).exists() for name in (OPENING_FILE, SEALING_FILE)):
        opened_ring(settings, now)


def read_opening(settings: Settings) -> OpeningRing:
    source = source_of(settings)
    path = source.path
    ring = decoded(source.read(), OpeningRing, path, cure=RESTORE)
    _check_ring(path, ring.version, ring.fingerprint_key, ring.keys)
    for key in ring.keys:
        if key.state is not State.RETIRED:
            _check_pair(path, key)
    return ring


def read_sealing(settings: Settings) -> SealingRing:
    """The public keys. Who can change them could have new secrets sealed to a key of theirs."""
    check_place(settings, FILES)
    path = settings.keys / SEALING_FILE
    if not path.exists():
        raise SetupProblem(
            f"There is no {path}, so no secret can be sealed here. Copy it from a machine that runs a worker."
        )
    check_folder(settings.keys)
    ring = decoded(read_guarded(path, 0o022, "write to", "644", cure=RESTORE), SealingRing, path, cure=RESTORE)
    _check_ring(path, ring.version, ring.fingerprint_key, ring.keys)
    return ring


def too_old(key: PublicKey, now: datetime) -> str | None:
    """What to do about an active key that has been so for long."""
    days = (now - key.made_at).days
    if key.state is not State.ACTIVE or days <= MOST_DAYS:
        return None
    return (
        f"Key {key.id} has been active for {days} days, longer than {MOST_DAYS}: "
        "run `portfolio-scheduler keys rotate`, then `keys rewrap`."
    )


def read_old_key(settings: Settings) -> bytes | None:
    """The symmetric key of an installation that is older than key rings, if this is one."""
    path = settings.keys / OLD_FILE
    if not path.exists():
        return None
    held = decoded(read_guarded(path, 0o077, "use", "400", cure=RESTORE), _OldKey, path, cure=RESTORE)
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
    check_strong(key, str(path), cure=RESTORE, replaced=REPLACED)
    return key


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
        raise unwritable(path, e) from e


# ── making and changing ──


def _new_key(now: datetime) -> PrivateKey:
    private = X25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    return PrivateKey(key_id(public), State.ACTIVE, now, public, private.private_bytes_raw())


def _new_ring(now: datetime) -> OpeningRing:
    return OpeningRing(VERSION, secrets.token_bytes(KEY_BYTES), [_new_key(now)])


@contextmanager
def _changing(settings: Settings) -> Iterator[OpeningRing]:
    check_place(settings, FILES)
    check_folder(settings.keys)
    source = source_of(settings)
    if not source.is_ours:
        raise InvalidInput(
            f"The private keys come from {source.path}, so they are not changed here. Put {OPENING_FILE} into a key "
            "folder of its own, run this command there without PORTFOLIO_SCHEDULER_PRIVATE_KEYS, and hand the new file "
            f"to where the keys come from; copy {SEALING_FILE} as after every rotation."
        )
    with alone(settings.keys):
        yield read_opening(settings)


def _replace(settings: Settings, ring: OpeningRing) -> None:
    """Private before public: nothing is ever sealed to a key that cannot open yet."""
    write(settings.keys / OPENING_FILE, ring, 0o400)
    write(settings.keys / SEALING_FILE, ring.published(), 0o644)


def _publish(settings: Settings, ring: OpeningRing) -> None:
    """Write the public file where it is missing, or older than the private one because a rotation was cut short."""
    path = settings.keys / SEALING_FILE
    published = ring.published()
    if not path.exists():
        write(path, published, 0o644)
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
        write(path, published, 0o644)


# ── reading and checking ──


def _check_ring(
    path: Path, version: int, fingerprint_key: bytes, keys: Sequence[PublicKey] | Sequence[PrivateKey]
) -> None:
    if version != VERSION:
        raise SetupProblem(
            f"The key file {path} has version {version}, but this program reads version {VERSION}. Upgrade."
        )
    check_strong(fingerprint_key, str(path), cure=RESTORE, replaced=REPLACED)
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
    check_strong(key.private, str(path), cure=RESTORE, replaced=REPLACED)
    if X25519PrivateKey.from_private_bytes(key.private).public_key().public_bytes_raw() != key.public:
        raise SetupProblem(f"The key file {path} is damaged: the two halves of key {key.id} do not fit. {RESTORE}")


_PUBLISHED_PUBLIC = frozenset(
    X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw() for private in PUBLISHED
)
