"""Access tokens: signed by us (EdDSA), good for ten minutes, checked claim by claim.

A token says who asked and by which session. Whether that session still holds is in the database, and is asked anew
with every request; only the signature, which never changes, is remembered.
"""

import base64
import hashlib
import re
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid4

import jwt
import msgspec
from msgspec import Struct

from portfolio_scheduler.errors import TokenRefused
from portfolio_scheduler.identity.signing import Keyring, Ring

ALGORITHM = "EdDSA"
TYPE = "at+jwt"  # RFC 9068; the library does not look at it
AUDIENCE = "portfolio-scheduler-api"
LIFE = timedelta(minutes=10)
LEEWAY = timedelta(seconds=5)  # machines' clocks differ
LONGEST = 1024  # characters; ours have about 550
REMEMBERED = 4096  # verified tokens, about 4 MB

Part = TypeVar("Part", bound=Struct)

_SHAPE = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})", re.ASCII)
_jws = jwt.PyJWS(algorithms=[ALGORITHM])


class Claims(Struct, frozen=True, kw_only=True):
    """What a verified token says."""

    user_id: UUID
    session_id: UUID
    token_id: UUID
    expires_at: datetime


# Unknown members are refused, and with them `crit`, `jwk`, `jku` and `x5u`, by which a token brings its own key.
class _Header(Struct, frozen=True, forbid_unknown_fields=True):
    alg: str  # in the order of the alphabet, as the library writes them
    kid: str
    typ: str


class _Body(Struct, frozen=True, forbid_unknown_fields=True):
    iss: str
    aud: str
    sub: UUID
    sid: UUID
    jti: UUID
    iat: int
    nbf: int
    exp: int


class _Verified(Struct, frozen=True):
    claims: Claims
    starts_at: datetime


_header = msgspec.json.Decoder(_Header)
_body = msgspec.json.Decoder(_Body)


class Signer:
    """Issues access tokens in the name of `issuer`, the address of this installation."""

    def __init__(self, keyring: Keyring, issuer: str) -> None:
        self._keyring = keyring
        self._issuer = issuer

    def issue(self, *, user_id: UUID, session_id: UUID, now: datetime) -> str:
        """A token for one user's session, good from now for ten minutes."""
        ring = self._keyring.ring(now)
        second = int(now.timestamp())
        body = _Body(
            iss=self._issuer,
            aud=AUDIENCE,
            sub=user_id,
            sid=session_id,
            jti=uuid4(),
            iat=second,
            nbf=second,
            exp=second + int(LIFE.total_seconds()),
        )
        header = {"typ": TYPE, "kid": ring.signing_id}
        return _jws.encode(msgspec.json.encode(body), ring.signing_key, algorithm=ALGORITHM, headers=header)


class Verifier:
    """Checks access tokens of `issuer`. Belongs to one event loop.

    Verifying a signature costs 170 µs and its result never changes, so the newest results are kept by the token's hash.
    """

    def __init__(self, keyring: Keyring, issuer: str, *, remembered: int = REMEMBERED) -> None:
        self._keyring = keyring
        self._issuer = issuer
        self._most = remembered
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._ring: Ring | None = None

    def verify(self, token: str, now: datetime) -> Claims:
        """What the token says, when it is ours and good now; otherwise `TokenRefused`. Ask for the session next."""
        ring = self._keyring.ring(now)
        if ring is not self._ring:  # what a key that is gone has signed must not be remembered
            self._verified.clear()
            self._ring = ring
        if len(token) > LONGEST:
            raise TokenRefused(f"{len(token)} characters, expected at most {LONGEST}")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        verified = self._verified.get(digest)
        if verified is None:
            verified = _verified(token, ring, self._issuer)
            _check_time(verified, now)
            self._verified[digest] = verified
            if len(self._verified) > self._most:
                self._verified.popitem(last=False)
        else:
            self._verified.move_to_end(digest)
            _check_time(verified, now)
        return verified.claims


def _verified(token: str, ring: Ring, issuer: str) -> _Verified:
    """What holds of a token at any time: its form, its key, its signature, who issued it for whom."""
    parts = _SHAPE.fullmatch(token)
    if parts is None:
        raise TokenRefused("no token in three parts with an Ed25519 signature")
    header = _decoded(_header, parts[1])
    if header.alg != ALGORITHM or header.typ != TYPE:
        raise TokenRefused(f"of another kind than {TYPE} by {ALGORITHM}")
    key = ring.verifying_key(header.kid)
    if key is None:
        raise TokenRefused("signed by a key that is not in our keyring")
    _decoded_bytes(parts[3])
    try:
        _jws.decode_complete(token, key, algorithms=[ALGORITHM])
    except jwt.PyJWTError as e:
        raise TokenRefused(f"the signature does not hold ({type(e).__name__})") from e
    body = _decoded(_body, parts[2])
    if body.iss != issuer or body.aud != AUDIENCE:
        raise TokenRefused("issued by or for somebody else")
    if not body.iat <= body.nbf <= body.exp <= body.iat + LIFE.total_seconds():
        raise TokenRefused("its times contradict each other")
    starts_at, expires_at = _instant(body.nbf), _instant(body.exp)
    claims = Claims(user_id=body.sub, session_id=body.sid, token_id=body.jti, expires_at=expires_at)
    return _Verified(claims=claims, starts_at=starts_at)


def _check_time(verified: _Verified, now: datetime) -> None:
    # `iat` is no later than `nbf`, so this refuses one from the future as well.
    if now < verified.starts_at - LEEWAY:
        raise TokenRefused("not good yet")
    if now >= verified.claims.expires_at + LEEWAY:
        raise TokenRefused("expired")


def _instant(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as e:
        raise TokenRefused("a time that no calendar has") from e


def _decoded(decoder: msgspec.json.Decoder[Part], text: str) -> Part:
    """A part of the token, which must be written exactly as we write it: no member twice, no spaces, no 1.0 for 1."""
    raw = _decoded_bytes(text)
    try:
        part = decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as e:
        raise TokenRefused("members that are missing, too many or of another type") from e
    if msgspec.json.encode(part) != raw:
        raise TokenRefused("not written as we write it")
    return part


def _decoded_bytes(text: str) -> bytes:
    """base64url, in the one way there is to write these bytes: the last letter has bits that a lax reader ignores."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as e:
        raise TokenRefused("no base64url") from e
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != text.encode():
        raise TokenRefused("base64url with bits left over")
    return raw
