"""Keys for tests: rings without files, and what earlier versions wrote with the one key of `vault.key`."""

import base64
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from portfolio_scheduler import keyring
from portfolio_scheduler.keyring import OLD_FILE, OpeningRing, State
from portfolio_scheduler.sealing import Sealer, commitment, encrypted
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.vault import Keys, Vault

NOW = datetime(2026, 4, 20, 10, tzinfo=UTC)
INSTALL, ELSEWHERE = UUID(int=77), UUID(int=78)


def settings_in(folder: Path) -> Settings:
    return Settings(data=folder / "here" / "kept", keys=folder / "keys")


def new_ring(*states: State) -> OpeningRing:
    """A ring with keys of these states (one active key, if none are named)."""
    keys = [keyring._new_key(NOW) for _ in states or (State.ACTIVE,)]
    kept = [
        keyring.PrivateKey(key.id, state, key.made_at, key.public, key.private)
        for key, state in zip(keys, states or (State.ACTIVE,), strict=True)
    ]
    return OpeningRing(keyring.VERSION, secrets.token_bytes(32), kept)


def new_vault(ring: OpeningRing | None = None, install_id: UUID = INSTALL, old_key: bytes | None = None) -> Vault:
    keys = Keys(ring or new_ring())
    return Vault(install_id, lambda: keys, lambda: old_key, Sealer(install_id, lambda: keys.ring))


def write_old_key(settings: Settings, key: bytes) -> None:
    """`vault.key` as earlier versions wrote it."""
    settings.keys.mkdir(mode=0o700, exist_ok=True)
    path = settings.keys / OLD_FILE
    held = {"version": 1, "key_id": keyring.old_key_id(key), "key": base64.b64encode(key).decode()}
    path.write_text(json.dumps(held))
    path.chmod(0o400)


def sealed_before(key: bytes, account_id: UUID, purpose: str, secret: bytes) -> bytes:
    """A secret as scheme 1 sealed it: the data key wrapped by the one key, nothing of rows or installations bound."""
    key_id = bytes.fromhex(keyring.old_key_id(key))
    parts = (b"portfolio-scheduler vault", b"\x01", purpose.encode(), account_id.bytes, key_id)
    context = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    data_key = secrets.token_bytes(32)
    committed = commitment(data_key, context)
    wrapped = encrypted(key, data_key, b"wrap" + context)
    return b"\x01" + key_id + committed + wrapped + encrypted(data_key, secret, b"seal" + context)
