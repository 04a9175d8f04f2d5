"""Opens sealed secrets: the only place that holds private keys. Workers have a vault, the web has a sealer only.

Values of scheme 1, sealed with the one key of `vault.key` by earlier versions, open as well; nothing new is sealed so.
The first byte of a sealed value names its scheme, the next eight the key it is sealed to.
"""

import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from portfolio_scheduler import keyring
from portfolio_scheduler.errors import SecretUnreadable
from portfolio_scheduler.key_files import KEY_BYTES, Watched
from portfolio_scheduler.key_source import OPENING_FILE, source_of
from portfolio_scheduler.keyring import KEY_ID_BYTES, OLD_FILE, OpeningRing, State
from portfolio_scheduler.sealing import (
    COMMITMENT_BYTES,
    HEAD_BYTES,
    HPKE,
    NONCE_BYTES,
    SCHEME,
    TAG_BYTES,
    Cell,
    Head,
    Sealer,
    body_context,
    checked_cell,
    commitment,
    decrypted,
    wrapped,
)
from portfolio_scheduler.settings import Settings

# Scheme 1: scheme, key id, commitment, nonce and wrapped data key, nonce and sealed secret.
OLD_SCHEME = 1
OLD_WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
OLD_HEAD_BYTES = 1 + KEY_ID_BYTES + COMMITMENT_BYTES + OLD_WRAPPED_BYTES
LEAST_BYTES = {OLD_SCHEME: OLD_HEAD_BYTES + NONCE_BYTES + TAG_BYTES, SCHEME: HEAD_BYTES + NONCE_BYTES + TAG_BYTES}


class Secret(bytes):
    """An opened secret. Printing it shows nothing."""

    def __repr__(self) -> str:
        return "Secret(•••)"

    __str__ = __repr__


class Keys:
    """The private keys in use, by their id; and the public ring that belongs to them."""

    __slots__ = ("private", "ring")

    def __init__(self, ring: OpeningRing) -> None:
        self.ring = ring.published()
        self.private: Mapping[bytes, X25519PrivateKey] = {
            bytes.fromhex(key.id): X25519PrivateKey.from_private_bytes(key.private)
            for key in ring.keys
            if key.state is not State.RETIRED
        }

    def __repr__(self) -> str:
        return "Keys(•••)"


class Vault:
    """Opens what was sealed for a row of this installation, and seals what a worker has to keep. Shows nothing."""

    __slots__ = ("_install_id", "_keys", "_old_key", "_sealer")

    def __init__(
        self, install_id: UUID, keys: Callable[[], Keys | None], old_key: Callable[[], bytes | None], sealer: Sealer
    ) -> None:
        self._install_id = install_id
        self._keys = keys
        self._old_key = old_key
        self._sealer = sealer

    @classmethod
    def open_keys(cls, settings: Settings, install_id: UUID, now: datetime) -> "Vault":
        """The vault of this installation; its key files are made on first use. Otherwise `SetupProblem`."""
        keyring.opened_ring(settings, now)
        keys = Watched(source_of(settings).path, lambda: Keys(keyring.read_opening(settings)))
        old_key = Watched(settings.keys / OLD_FILE, lambda: keyring.read_old_key(settings))
        return cls(install_id, keys, old_key, Sealer(install_id, lambda: keys().ring))

    @classmethod
    def without_keys(cls, install_id: UUID, sealer: Sealer) -> "Vault":
        """What a process has in place of a vault that must not open anything."""
        return cls(install_id, lambda: None, lambda: None, sealer)

    def seal(
        self, account_id: UUID, purpose: str, secret: bytes, row_id: UUID | None = None, *, version: int = 1
    ) -> bytes:
        """As `Sealer.seal`."""
        return self._sealer.seal(account_id, purpose, secret, row_id, version=version)

    def open(
        self,
        account_id: UUID,
        purpose: str,
        sealed: bytes,
        row_id: UUID | None = None,
        *,
        version: int | None = None,
    ) -> bytes:
        """Decrypt what was sealed for this account, purpose and row; anything else is `SecretUnreadable`.

        Where the row says which version of its secret it keeps, an older one put back in its place is refused.
        """
        cell = checked_cell(self._install_id, purpose, account_id, row_id)
        _check_shape(cell, sealed)
        if sealed[0] == OLD_SCHEME:
            return Secret(self._open_old(cell, sealed))
        head = Head.of(sealed)
        if version is not None and head.version != version:
            raise SecretUnreadable(
                f"The sealed {purpose} of account {account_id} is number {head.version} of its kind, but number "
                f"{version} was kept last: somebody put an older one back. Enter the credentials again, and find out "
                "who wrote to the database."
            )
        data_key = self._data_key(cell, head)
        try:
            return Secret(decrypted(data_key, sealed[HEAD_BYTES:], body_context(cell, head)))
        except InvalidTag as e:
            raise _altered(cell) from e

    def rewrap(self, account_id: UUID, purpose: str, sealed: bytes, row_id: UUID | None = None) -> bytes:
        """The same secret, its data key wrapped to the active key. What is sealed already so comes back as it is."""
        keys = self._known_keys()
        cell = checked_cell(self._install_id, purpose, account_id, row_id)
        _check_shape(cell, sealed)
        if sealed[0] == OLD_SCHEME:  # has no data key that could be kept: all of it was bound to its scheme
            return self.seal(account_id, purpose, self._open_old(cell, sealed), row_id)
        head = Head.of(sealed)
        if head.key_id == bytes.fromhex(keys.ring.active.id):
            return sealed
        data_key = self._data_key(cell, head)
        again = wrapped(cell, keys.ring, data_key, head.data_key_id, head.version)
        return again.written() + sealed[HEAD_BYTES:]

    @property
    def active_key_id(self) -> str:
        return self._known_keys().ring.active.id

    def _known_keys(self) -> Keys:
        keys = self._keys()
        if keys is None:
            raise SecretUnreadable(
                "This process has no private keys: it was started to seal only, without a worker. Open secrets where a "
                "worker runs."
            )
        return keys

    def _data_key(self, cell: Cell, head: Head) -> bytes:
        private = self._known_keys().private.get(head.key_id)
        if private is None:
            raise SecretUnreadable(
                f"The {cell.purpose} of account {cell.account_id} was sealed to key {head.key_id.hex()}, which "
                f"{OPENING_FILE} does not hold or has retired. Restore the file that holds it; if it is lost, enter "
                "the credentials again."
            )
        context = cell.context(head.key_id, head.data_key_id, head.version)
        try:
            data_key = HPKE.decrypt(head.wrapped, private, b"wrap" + context)
        except (InvalidTag, ValueError) as e:
            raise _altered(cell) from e
        # AES-GCM does not commit to its key: without this, one sealed value could open under two keys.
        if not hmac.compare_digest(head.commitment, commitment(data_key, context)):
            raise _altered(cell)
        return data_key

    def _open_old(self, cell: Cell, sealed: bytes) -> bytes:
        """A value of scheme 1. It knows no rows: only an account's own may hold one."""
        key_id, rest = sealed[1 : 1 + KEY_ID_BYTES], sealed[1 + KEY_ID_BYTES :]
        key = self._old_key()
        if key is None or keyring.old_key_id(key) != key_id.hex():
            found = f"{OLD_FILE} holds another" if key is not None else f"there is no {OLD_FILE}"
            raise SecretUnreadable(
                f"The {cell.purpose} of account {cell.account_id} was sealed with key {key_id.hex()}, but {found}. "
                "Restore the old key file; if it is lost, enter the credentials again."
            )
        if cell.row_id != cell.account_id:
            raise _altered(cell)
        context = _old_context(cell, key_id)
        expected, rest = rest[:COMMITMENT_BYTES], rest[COMMITMENT_BYTES:]
        try:
            data_key = decrypted(key, rest[:OLD_WRAPPED_BYTES], b"wrap" + context)
            if not hmac.compare_digest(expected, commitment(data_key, context)):
                raise _altered(cell)
            return decrypted(data_key, rest[OLD_WRAPPED_BYTES:], b"seal" + context)
        except InvalidTag as e:
            raise _altered(cell) from e

    def __repr__(self) -> str:
        return "Vault(•••)"

    def __reduce__(self) -> str:
        raise TypeError("a vault is not pickled: its keys would leave the process")


def _old_context(cell: Cell, key_id: bytes) -> bytes:
    parts = (b"portfolio-scheduler vault", bytes([OLD_SCHEME]), cell.purpose.encode(), cell.account_id.bytes, key_id)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _check_shape(cell: Cell, sealed: bytes) -> None:
    scheme = sealed[0] if sealed else None
    if scheme not in LEAST_BYTES:
        found = "nothing" if scheme is None else f"scheme {scheme}"
        raise SecretUnreadable(
            f"The sealed {cell.purpose} of account {cell.account_id} has {found}, but this version opens schemes "
            f"{OLD_SCHEME} and {SCHEME} only. Upgrade, or enter the credentials again."
        )
    if len(sealed) < LEAST_BYTES[scheme]:
        raise _altered(cell)


def _altered(cell: Cell) -> SecretUnreadable:
    return SecretUnreadable(
        f"The sealed {cell.purpose} of account {cell.account_id} cannot be opened: altered, cut short, or sealed for "
        "another account, row or purpose. Enter the credentials again, and find out who wrote to the database."
    )
