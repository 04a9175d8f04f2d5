"""Keeps the secrets of second factors encrypted, so that a copy of the database holds none of them.

The web needs them at each login, so their key is its own (`factors.json`), apart from those of broker credentials.
Boxed: scheme, id of the key, nonce, AES-256-GCM; the user is bound in, so a box moved to another user does not open.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portfolio_scheduler.errors import SecretUnreadable
from portfolio_scheduler.identity.kept_keys import KeyFile, Keys
from portfolio_scheduler.settings import Settings

SCHEME = 1
KEY_ID_BYTES, NONCE_BYTES, TAG_BYTES = 8, 12, 16
HEAD_BYTES = 1 + KEY_ID_BYTES + NONCE_BYTES

_NEW = "Everybody with a second factor logs in with a recovery code and sets it up again."
FILE = KeyFile(
    name="factors.json", cure=f"Restore it from your copy; if there is none, move it away. {_NEW}", replaced=_NEW
)


class FactorBox:
    """Locks and unlocks the secrets of second factors. Its repr shows nothing."""

    def __init__(self, keys: Callable[[], Keys]) -> None:
        self._keys = keys

    @classmethod
    def open_keys(cls, settings: Settings, now: datetime) -> Self:
        """The box of this installation; its key file is made on first use. Otherwise `SetupProblem`."""
        return cls(FILE.open(settings, now))

    def lock(self, user_id: UUID, secret: str) -> bytes:
        """Encrypt the secret of a user. The same secret never gives the same bytes twice."""
        newest = self._keys()[-1]
        head = bytes([SCHEME]) + bytes.fromhex(newest.id)
        nonce = secrets.token_bytes(NONCE_BYTES)
        return head + nonce + AESGCM(newest.key).encrypt(nonce, secret.encode(), _bound(head, user_id))

    def unlock(self, user_id: UUID, boxed: bytes) -> str:
        """Decrypt what `lock` made for this user; anything else is `SecretUnreadable`."""
        if len(boxed) < HEAD_BYTES + TAG_BYTES or boxed[0] != SCHEME:
            raise _unreadable(user_id, f"cut short or of another scheme than {SCHEME}")
        head, nonce = boxed[: 1 + KEY_ID_BYTES], boxed[1 + KEY_ID_BYTES : HEAD_BYTES]
        key = next((key.key for key in self._keys() if key.id == head[1:].hex()), None)
        if key is None:
            raise _unreadable(user_id, f"{FILE.name} has no key {head[1:].hex()}")
        try:
            return AESGCM(key).decrypt(nonce, boxed[HEAD_BYTES:], _bound(head, user_id)).decode()
        except (InvalidTag, UnicodeDecodeError) as e:
            raise _unreadable(user_id, "altered, or of another user") from e

    def is_of_newest_key(self, boxed: bytes) -> bool:
        """Whether a box needs no locking anew. Lock it anew when it was unlocked for a login anyway."""
        return boxed[1 : 1 + KEY_ID_BYTES].hex() == self._keys()[-1].id

    def __repr__(self) -> str:
        return "FactorBox(•••)"

    def __reduce__(self) -> str:
        raise TypeError("a factor box is not pickled: its keys would leave the process")


def rotate(settings: Settings, now: datetime) -> str:
    """Add a key that locks from now on, and return its id. The others go on unlocking."""
    return FILE.add(settings, now, lambda keys: keys).id


def _bound(head: bytes, user_id: UUID) -> bytes:
    return b"portfolio-scheduler second factor" + head + user_id.bytes  # each part has one length: no two are alike


def _unreadable(user_id: UUID, found: str) -> SecretUnreadable:
    return SecretUnreadable(
        f"The second factor of user {user_id} cannot be opened: {found}. Restore the key file, or let the user log in "
        "with a recovery code and set the second factor up again."
    )
