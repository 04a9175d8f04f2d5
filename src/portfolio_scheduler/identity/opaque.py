"""Random secrets that mean nothing by themselves: API tokens, invitations, set-up tokens, tickets.

Refresh tokens (`refresh.py`) begin like them and say more.

Whoever holds the text is who it was given to; only its SHA-256 is stored. 256 random bits need no slow hash.
"""

import base64
import hashlib
import hmac
import re
import secrets
from enum import StrEnum

from portfolio_scheduler.errors import TokenRefused

SECRET_BYTES = 32
_BODY = re.compile(r"[a-z2-7]{52}")  # base32: one word to a double click, no capitals to mistype


class Kind(StrEnum):
    """What a secret is for. It is written in front, so that people and scanners of leaks see what they found."""

    REFRESH = "psr"
    API_TOKEN = "pst"
    INVITATION = "psi"
    SETUP = "pss"
    WS_TICKET = "psw"
    DEVICE = "psd"


def make(kind: Kind) -> tuple[str, bytes]:
    """A new secret: the text to hand out once, and the digest to keep."""
    body = base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=").lower()
    text = f"{kind}_{body}"
    return text, _digest(text)


def digest_of(kind: Kind, text: str) -> bytes:
    """The digest under which a secret of this kind is kept; a text that cannot be one is `TokenRefused`."""
    prefix, _, body = text.partition("_")
    if prefix != kind or not _BODY.fullmatch(body):
        raise TokenRefused(f"no {kind.name.lower()} secret")
    return _digest(text)


def kind_of(text: str) -> Kind | None:
    """Which kind of secret a text says it is."""
    prefix, found, _ = text.partition("_")
    return Kind(prefix) if found and prefix in set(Kind) else None


def matches(digest: bytes, kind: Kind, text: str) -> bool:
    """Whether this is the secret of that digest, in a time that tells nothing about where the two differ."""
    return hmac.compare_digest(digest, digest_of(kind, text))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()  # the kind is part of it: one digest never serves two purposes
