"""Seals secrets so that only the holder of the private key opens them: all that a web process can do with them.

A sealed value (scheme 2) has a data key of its own (AES-256-GCM), which is wrapped to the worker's public key by HPKE
(RFC 9180: X25519, HKDF-SHA256, AES-256-GCM). Where it belongs is bound into it: moved, it does not open.
"""

import hmac
import secrets
from collections.abc import Callable
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.key_files import KEY_BYTES, Watched
from portfolio_scheduler.keyring import (
    KEY_ID_BYTES,
    SEALING_FILE,
    SealingRing,
    derived,
    read_sealing,
)
from portfolio_scheduler.settings import Settings

CREDENTIALS = "credentials"
TOKEN = "token"


class Place(msgspec.Struct, frozen=True):
    """Where sealed values of one purpose stand: a column, and the columns of the account and of the row itself."""

    purpose: str
    table: str
    column: str
    account: str = "account_id"
    row: str = "id"

    @property
    def of_the_account(self) -> bool:
        """Whether the row is the account's own."""
        return self.account == self.row


# Every column `sealed_…` of the database stands here; `keys rewrap` goes through them.
PLACES = (
    Place(CREDENTIALS, "broker_accounts", "sealed_credentials", account="id"),
    Place(TOKEN, "broker_accounts", "sealed_token", account="id"),
    Place(CREDENTIALS, "account_requests", "sealed_credentials"),  # not tried yet
)
PURPOSES = frozenset(place.purpose for place in PLACES)

# Scheme 2: scheme, id of the wrapping key, id of the data key, version of the secret, commitment, wrapped data key,
# nonce and sealed secret.
SCHEME = 2
DATA_KEY_ID_BYTES = 16
VERSION_BYTES = 4
COMMITMENT_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
WRAPPED_BYTES = 32 + KEY_BYTES + TAG_BYTES  # the ephemeral public key, the data key, its tag
HEAD_BYTES = 1 + KEY_ID_BYTES + DATA_KEY_ID_BYTES + VERSION_BYTES + COMMITMENT_BYTES + WRAPPED_BYTES
FINGERPRINT_DIGITS = 8

HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Head(msgspec.Struct, frozen=True):
    """What stands in the open before a sealed secret, all of it bound into the sealing."""

    key_id: bytes
    data_key_id: bytes
    version: int
    commitment: bytes
    wrapped: bytes

    @classmethod
    def of(cls, sealed: bytes) -> "Head":
        at, parts = 1, []
        for length in (KEY_ID_BYTES, DATA_KEY_ID_BYTES, VERSION_BYTES, COMMITMENT_BYTES, WRAPPED_BYTES):
            parts.append(sealed[at : at + length])
            at += length
        return cls(parts[0], parts[1], int.from_bytes(parts[2], "big"), parts[3], parts[4])

    def written(self) -> bytes:
        version = self.version.to_bytes(VERSION_BYTES, "big")
        return bytes([SCHEME]) + self.key_id + self.data_key_id + version + self.commitment + self.wrapped


class Cell(msgspec.Struct, frozen=True):
    """The one place of one installation in which a sealed value opens."""

    install_id: UUID
    place: Place
    account_id: UUID
    row_id: UUID

    @property
    def purpose(self) -> str:
        return self.place.purpose

    def context(self, key_id: bytes, data_key_id: bytes, version: int) -> bytes:
        """What is bound to it. Each part carries its length, so that no two tuples give the same bytes."""
        parts = (
            b"portfolio-scheduler",
            bytes([SCHEME]),
            self.install_id.bytes,
            self.place.table.encode(),
            self.place.column.encode(),
            self.account_id.bytes,
            self.row_id.bytes,
            version.to_bytes(VERSION_BYTES, "big"),
            data_key_id,
            key_id,
        )
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class Sealer:
    """Seals with the public key; it has nothing that opens. Its repr shows nothing."""

    __slots__ = ("_install_id", "_ring")

    def __init__(self, install_id: UUID, ring: Callable[[], SealingRing]) -> None:
        self._install_id = install_id
        self._ring = ring

    @classmethod
    def open_keys(cls, settings: Settings, install_id: UUID) -> "Sealer":
        """The sealer of this installation, from its public key file."""
        return cls(install_id, Watched(settings.keys / SEALING_FILE, lambda: read_sealing(settings)))

    def seal(
        self, account_id: UUID, purpose: str, secret: bytes, row_id: UUID | None = None, *, version: int = 1
    ) -> bytes:
        """Encrypt a secret for the row that will keep it (the account's own, if none is named).

        The same secret never gives the same bytes twice. `version` counts the secrets of a row where that is kept.
        """
        cell = checked_cell(self._install_id, purpose, account_id, row_id)
        data_key, data_key_id = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(DATA_KEY_ID_BYTES)
        head = wrapped(cell, self._ring(), data_key, data_key_id, version)
        return head.written() + encrypted(data_key, secret, body_context(cell, head))

    def fingerprint(self, secret: bytes) -> str:
        """Eight digits that tell two secrets apart and nothing else, for people to compare."""
        key = derived(self._ring().fingerprint_key, b"fingerprint")
        return hmac.digest(key, secret, "sha256").hex()[:FINGERPRINT_DIGITS]

    def __repr__(self) -> str:
        return "Sealer(•••)"

    def __reduce__(self) -> str:
        raise TypeError("a sealer is not pickled: its keys would leave the process")


def checked_cell(install_id: UUID, purpose: str, account_id: UUID, row_id: UUID | None) -> Cell:
    if purpose not in PURPOSES:
        raise InvalidInput(
            f"{purpose!r} is not a purpose of a secret; it must be one of {', '.join(sorted(PURPOSES))}."
        )
    own = row_id is None or row_id == account_id
    place = next((one for one in PLACES if one.purpose == purpose and one.of_the_account is own), None)
    if place is None:
        raise InvalidInput(f"No row but the account's own keeps a {purpose}.")
    return Cell(install_id, place, account_id, row_id or account_id)


def wrapped(cell: Cell, ring: SealingRing, data_key: bytes, data_key_id: bytes, version: int) -> Head:
    """The head that carries this data key to the holder of the active key."""
    active = ring.active
    key_id = bytes.fromhex(active.id)
    context = cell.context(key_id, data_key_id, version)
    public = X25519PublicKey.from_public_bytes(active.public)
    return Head(
        key_id, data_key_id, version, commitment(data_key, context), HPKE.encrypt(data_key, public, b"wrap" + context)
    )


def body_context(cell: Cell, head: Head) -> bytes:
    """The secret itself is not bound to the wrapping key, so that a new wrapping need not touch it; the commitment
    and the wrapping are."""
    return b"seal" + cell.context(b"", head.data_key_id, head.version)


def commitment(data_key: bytes, context: bytes) -> bytes:
    return hmac.digest(derived(data_key, b"commit"), context, "sha256")


def encrypted(key: bytes, plain: bytes, bound_to: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound_to)


def decrypted(key: bytes, sealed: bytes, bound_to: bytes) -> bytes:
    return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
