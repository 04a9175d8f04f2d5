"""The keys that sign access tokens. The newest signs, all verify; processes follow a rotation within a second."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from portfolio_scheduler.identity.kept_keys import Key, KeyFile, Keys
from portfolio_scheduler.settings import Settings

STILL_VERIFIES = timedelta(minutes=15)  # longer than the last token that a replaced key signed can live
LOOK_AGAIN = timedelta(seconds=1)  # at the file: doing so with every request would take longer than all the rest

_NEW = "Everybody's next request asks for a new access token."
FILE = KeyFile(name="signing.json", cure=f"Move it away and start again; a new one is made. {_NEW}", replaced=_NEW)


class Ring:
    """The keys of one moment. Its repr shows ids only."""

    __slots__ = ("_seeds", "_signing", "_verifying", "signing_id")

    def __init__(self, keys: Keys) -> None:
        pairs = {key.id: Ed25519PrivateKey.from_private_bytes(key.key) for key in keys}
        self.signing_id = keys[-1].id
        self._signing = pairs[self.signing_id]
        self._seeds = tuple(key.key for key in reversed(keys))
        self._verifying = {key_id: private.public_key() for key_id, private in pairs.items()}

    @property
    def signing_key(self) -> Ed25519PrivateKey:
        return self._signing

    def verifying_key(self, key_id: str) -> Ed25519PublicKey | None:
        """The key that verifies what `key_id` signed; None when it is not one of ours."""
        return self._verifying.get(key_id)

    def derived(self, purpose: str) -> tuple[bytes, ...]:
        """Keys of 32 bytes for another purpose, one from each key here, that of the newest first."""
        return tuple(hmac.digest(seed, purpose.encode(), hashlib.sha256) for seed in self._seeds)

    def __repr__(self) -> str:
        return f"Ring({list(self._verifying)})"

    def __reduce__(self) -> str:
        raise TypeError("signing keys are not pickled: they would leave the process")


class Keyring:
    """The signing keys of this installation as they are now."""

    def __init__(self, keys: Callable[[], Keys], now: datetime) -> None:
        self._keys = keys
        self._looked_at = now
        self._seen = keys()
        self._ring = Ring(self._seen)

    @classmethod
    def open_keys(cls, settings: Settings, now: datetime) -> Self:
        """The keyring of this installation; its file is made on first use. Otherwise `SetupProblem`."""
        return cls(FILE.open(settings, now), now)

    def ring(self, now: datetime) -> Ring:
        """The keys that hold now. Another object than the last time says that they changed."""
        if abs(now - self._looked_at) >= LOOK_AGAIN:
            self._looked_at = now
            keys = self._keys()
            if keys is not self._seen:
                self._seen, self._ring = keys, Ring(keys)
        return self._ring

    def __repr__(self) -> str:
        return f"Keyring({self._ring!r})"

    def __reduce__(self) -> str:
        raise TypeError("a keyring is not pickled: its keys would leave the process")


def rotate(settings: Settings, now: datetime, *, at_once: bool = False) -> str:
    """Add a key that signs from now on, and return its id. Replaced keys verify until their tokens have expired.

    With `at_once` they verify nothing any more: for a key that somebody may have seen.
    """

    def kept(keys: Keys) -> Keys:
        # A key was replaced when the next one was made; the newest is replaced now.
        replaced_at = [*(key.made_at for key in keys[1:]), now]
        still: tuple[Key, ...] = tuple(
            key for key, at in zip(keys, replaced_at, strict=True) if at > now - STILL_VERIFIES
        )
        return () if at_once else still

    return FILE.add(settings, now, kept).id
