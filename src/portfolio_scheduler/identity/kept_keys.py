"""Keys of 32 random bytes in a file of the key folder, oldest first: the newest is used, the others still count."""

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.key_files import (
    KEY_BYTES,
    Watched,
    alone,
    check_folder,
    check_place,
    check_strong,
    decoded,
    make_folder,
    read_guarded,
    write,
)
from portfolio_scheduler.settings import Settings

VERSION = 1
MOST_KEYS = 16


class Key(Struct, frozen=True, forbid_unknown_fields=True):
    """One key. The id follows from it, so that a damaged file is found when it is read. Its repr shows nothing."""

    id: str
    made_at: Annotated[datetime, Meta(tz=True)]
    key: bytes

    @classmethod
    def make(cls, now: datetime) -> "Key":
        key = secrets.token_bytes(KEY_BYTES)
        return cls(id_of(key), now.astimezone(UTC), key)

    def __repr__(self) -> str:
        return f"Key({self.id!r}, •••)"


Keys = tuple[Key, ...]  # oldest first, at least one


class _Held(Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: Keys


class KeyFile(Struct, frozen=True, kw_only=True):
    """One such file: its name, what to do when it is damaged, and what a new one costs."""

    name: str
    cure: str
    replaced: str

    def open(self, settings: Settings, now: datetime) -> Watched[Keys]:
        """The keys as they are whenever they are asked for; the file is made on first use."""
        self._make_if_new(settings, now)
        return Watched(settings.keys / self.name, lambda: self._read(settings))

    def add(self, settings: Settings, now: datetime, kept: Callable[[Keys], Keys]) -> Key:
        """Put a new key behind those that are `kept` of the present ones."""
        self._make_if_new(settings, now)
        path = settings.keys / self.name
        with alone(settings.keys):
            new = Key.make(now)
            keys = (*kept(self._read(settings)), new)
            if len(keys) > MOST_KEYS:
                raise SetupProblem(
                    f"The key file {path} would have {len(keys)} keys that still count; it may have {MOST_KEYS}. "
                    "Wait before you add another, or let the old ones end at once."
                )
            write(path, _Held(VERSION, keys), 0o400)
        return new

    def _make_if_new(self, settings: Settings, now: datetime) -> None:
        check_place(settings, (self.name,))
        make_folder(settings.keys)
        with alone(settings.keys):
            if not (settings.keys / self.name).exists():
                write(settings.keys / self.name, _Held(VERSION, (Key.make(now),)), 0o400)

    def _read(self, settings: Settings) -> Keys:
        path = settings.keys / self.name
        check_folder(settings.keys)
        held = decoded(read_guarded(path, 0o077, "use", "400", cure=self.cure), _Held, path, cure=self.cure)
        if held.version != VERSION:
            raise SetupProblem(
                f"The key file {path} has version {held.version}, but this program reads version {VERSION}. Upgrade."
            )
        if not 0 < len({key.id for key in held.keys}) == len(held.keys) <= MOST_KEYS:
            found = f"{len(held.keys)} keys, expected 1 to {MOST_KEYS} different ones"
            raise SetupProblem(f"The key file {path} is damaged: {found}. {self.cure}")
        for key in held.keys:
            check_strong(key.key, str(path), cure=self.cure, replaced=self.replaced)
            if key.id != id_of(key.key):
                raise SetupProblem(f"The key file {path} is damaged: a key does not fit its id. {self.cure}")
        return held.keys


def id_of(key: bytes) -> str:
    """Names a key without telling anything of it: it is random, so nobody can try all keys."""
    return hashlib.sha256(b"portfolio-scheduler key id " + key).hexdigest()[:16]
