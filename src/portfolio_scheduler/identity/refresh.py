"""Refresh tokens: `psr_`, then the session, 256 secret bits and a tag, in base32. Only their SHA-256 is stored.

The successor of a token follows from it and a key of the web, so that an answer that got lost can be given again and
nobody has to keep it. By the tag, which needs the key as well, a token that was replaced long ago is known as ours:
who sends it has copied it. One that somebody made up is only refused.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.errors import TokenRefused
from portfolio_scheduler.identity.opaque import Kind
from portfolio_scheduler.identity.signing import Ring

SECRET_BYTES, TAG_BYTES = 32, 16
_ID_BYTES = 16
_SHAPE = re.compile(rf"{Kind.REFRESH}_([a-z2-7]{{103}})")
_PURPOSE = "portfolio-scheduler refresh tokens"


class Refresh(Struct, frozen=True):
    """A well-formed refresh token. Its repr shows the session only."""

    session_id: UUID
    secret: bytes
    tag: bytes
    digest: bytes

    def __repr__(self) -> str:
        return f"Refresh({self.session_id}, •••)"


def make(ring: Ring, session_id: UUID) -> tuple[str, bytes]:
    """The first token of a session: the text to hand out once, and the digest to keep."""
    return _written(ring.derived(_PURPOSE)[0], session_id, secrets.token_bytes(SECRET_BYTES))


def parsed(text: str) -> Refresh:
    """What a token says; `TokenRefused` when it cannot be one."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise TokenRefused("no refresh token")
    try:
        raw = base64.b32decode(found[1].upper() + "=")
    except binascii.Error as e:
        raise TokenRefused("no base32") from e
    if _spelled(raw) != found[1]:
        raise TokenRefused("base32 with bits left over")
    secret, tag = raw[_ID_BYTES:-TAG_BYTES], raw[-TAG_BYTES:]
    return Refresh(UUID(bytes=raw[:_ID_BYTES]), secret, tag, _digest(text))


def is_ours(ring: Ring, token: Refresh) -> bool:
    """Whether we have ever issued it, as far as a key that still counts can tell."""
    head = token.session_id.bytes + token.secret
    return any(hmac.compare_digest(_tag(key, head), token.tag) for key in ring.derived(_PURPOSE))


def successors(ring: Ring, token: Refresh) -> list[tuple[str, bytes]]:
    """What may come after a token, with its digest: by the newest key first, by those before it as well."""
    return [
        _written(key, token.session_id, hmac.digest(key, b"successor" + token.secret, hashlib.sha256))
        for key in ring.derived(_PURPOSE)
    ]


def _written(key: bytes, session_id: UUID, secret: bytes) -> tuple[str, bytes]:
    head = session_id.bytes + secret
    text = f"{Kind.REFRESH}_{_spelled(head + _tag(key, head))}"
    return text, _digest(text)


def _tag(key: bytes, head: bytes) -> bytes:
    return hmac.digest(key, b"tag" + head, hashlib.sha256)[:TAG_BYTES]


def _spelled(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
