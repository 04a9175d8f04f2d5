"""Getting and keeping Groww's access token: three logins, at most two mints per session, no loop.

Groww's tokens die at 06:00 IST; a minted one is handed to the caller (sealed there) and used again until then.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from portfolio_scheduler.brokers.broker import AccessToken, Credentials
from portfolio_scheduler.brokers.groww.wire import read_fault
from portfolio_scheduler.brokers.http import Http
from portfolio_scheduler.clock import IST, Clock
from portfolio_scheduler.domain.records import Login
from portfolio_scheduler.errors import (
    BrokerAnswerUnknown,
    BrokerError,
    BrokerLoginRequired,
    BrokerRefused,
    BrokerThrottled,
    BrokerUnavailable,
)
from portfolio_scheduler.failpoints import failpoint

MINT_PATH = "/token/api/access"
APPROVAL_URL = "https://groww.in/trade-api/api-keys"
MINTS_PER_SESSION = 2
TOKEN_DIES_AT_HOUR = 6  # IST, every day (docs)
REUSE_MARGIN = timedelta(minutes=2)
TOTP_STEP_SECONDS = 30
CLOCK_TOLERANCE = timedelta(seconds=30)

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_REFUSED = frozenset({"400", "401", "403", "GA001", "GA005"})
_WHAT_TO_DO = {
    Login.TOTP: (
        "Groww did not accept the TOTP login. Check this account's TOTP token and TOTP secret "
        "and that this machine's clock is right."
    ),
    Login.APPROVAL: (
        f"Groww did not accept the API key and secret. Approve the key for today at {APPROVAL_URL}, then sync again; "
        "if it is approved, check key and secret."
    ),
    Login.TOKEN: "Groww does not accept the pasted access token any more (they die at 06:00 IST). Paste today's token.",
}


class _Minted(Struct):
    token: str | None = None
    expiry: Any = None
    isActive: bool | None = None  # noqa: N815


_minted = msgspec.json.Decoder(_Minted)


class GrowwLogin:
    """The login of one session. `token` is the one in use; `mints` counts the times a new one was asked for."""

    def __init__(self, http: Http, credentials: Credentials, token: AccessToken | None, clock: Clock) -> None:
        self._http = http
        self._credentials = credentials
        self._clock = clock
        self._lock = asyncio.Lock()
        self._renewed = False
        self._failure: BrokerError | None = None  # a login that failed is not tried again in this session
        self.mints = 0
        self.token = token if token is not None and is_usable(token, clock.now()) else None
        if credentials.login is Login.TOKEN:
            self._use_pasted(credentials.access_token.strip(), token)

    def __repr__(self) -> str:
        return f"GrowwLogin({self._credentials.login.value!r}, mints={self.mints})"

    def _use_pasted(self, pasted: str, cached: AccessToken | None) -> None:
        """A pasted token is tried once, whatever its age; once we have seen it die, it is not sent again."""
        if cached is not None and cached.token == pasted:
            if self.token is None:
                self._failure = BrokerLoginRequired(_WHAT_TO_DO[Login.TOKEN], call="login")
        else:
            self.token = AccessToken(token=pasted, expires_at=next_death(self._clock.now()))

    async def bearer(self) -> str:
        """The access token to send; mints one when there is none."""
        if self.token is None:
            async with self._lock:
                if self.token is None:
                    await self._mint()
        assert self.token is not None
        return _visible(self.token.token, self._credentials.login)

    async def renew(self, refused: str) -> None:
        """The broker answered 401 to this token: mint one more, once; after that the owner must act."""
        async with self._lock:
            if self.token is not None and self.token.token != refused:
                return  # another call has renewed it meanwhile
            self.token = None
            if self._failure is None and (self._renewed or self._credentials.login is Login.TOKEN):
                self._failure = self._refusal(401)
            self._renewed = True
            await self._mint()

    async def _mint(self) -> None:
        """Ask for a token, once per session when that fails: a burst of logins lengthens Groww's lock-out."""
        if self._failure is None:
            try:
                self.token = await self._minted()
                failpoint("token_minted")
            except BrokerError as error:
                self._failure = error
        if self._failure is not None:
            raise self._failure

    def _now(self) -> datetime:
        """The time that the broker will check codes against: its own, where it is known to differ."""
        offset = self._http.clock_offset
        return self._clock.now() + (offset if offset is not None and abs(offset) > CLOCK_TOLERANCE else timedelta(0))

    def _refusal(self, status: int | None) -> BrokerLoginRequired:
        return BrokerLoginRequired(_WHAT_TO_DO[self._credentials.login], call="login", status=status)

    async def _minted(self) -> AccessToken:
        key = _visible(self._credentials.api_key.strip(), self._credentials.login)
        status: int | None = None
        while self.mints < MINTS_PER_SESSION:
            now = self._now()
            self.mints += 1
            reply = await self._http.send(
                "POST",
                MINT_PATH,
                call="login",
                judge=judge_mint,
                headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
                body=mint_body(self._credentials, now),
                waits_for_429=False,
            )
            if reply.problem is None:
                return read_token(reply.body, self._now())
            if not isinstance(reply.problem, BrokerLoginRequired):
                raise reply.problem
            status = reply.status
            if abs(self._now() - self._clock.now()) > abs(now - self._clock.now()):
                continue  # this answer told us that our clock is wrong: once more, by the broker's
            if self._credentials.login is not Login.TOTP:
                break
            if self.mints < MINTS_PER_SESSION:  # the code may have been used already or our clock be off: next step
                await self._clock.sleep(TOTP_STEP_SECONDS - now.timestamp() % TOTP_STEP_SECONDS)
        raise self._refusal(status)


def is_usable(token: AccessToken, now: datetime) -> bool:
    """Whether a cached token still lives long enough for a sync."""
    return now < token.expires_at - REUSE_MARGIN


def next_death(now: datetime) -> datetime:
    """The next 06:00 IST: no access token outlives it."""
    local = now.astimezone(IST)
    death = local.replace(hour=TOKEN_DIES_AT_HOUR, minute=0, second=0, microsecond=0)
    return (death if death > local else death + timedelta(days=1)).astimezone(UTC)


def mint_body(credentials: Credentials, now: datetime) -> bytes:
    """The JSON that asks for a token: today's TOTP code, or the hash of secret and epoch seconds."""
    if credentials.login is Login.TOTP:
        return msgspec.json.encode({"key_type": "totp", "totp": totp(credentials.totp_secret, now)})
    timestamp = str(int(now.timestamp()))
    checksum = hashlib.sha256((credentials.api_secret.strip() + timestamp).encode()).hexdigest()
    return msgspec.json.encode({"key_type": "approval", "checksum": checksum, "timestamp": timestamp})


def totp(secret: str, now: datetime) -> str:
    """The six digits of RFC 6238 with SHA-1 and steps of 30 s.

    Not pyotp's: it refuses secrets shorter than 112 bits, and nobody knows the length of Groww's.
    """
    text = "".join(secret.split()).rstrip("=").upper()
    try:
        key = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:  # binascii.Error is one
        key = b""
    if not key:
        raise BrokerLoginRequired(
            "The TOTP secret is not base32 (letters A to Z, digits 2 to 7). Enter it again.", call="login"
        )
    step = int(now.timestamp()) // TOTP_STEP_SECONDS
    digest = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    [number] = struct.unpack_from(">I", digest, digest[-1] & 0xF)
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"


def judge_mint(status: int, body: bytes, call: str) -> BrokerError | None:
    """What is wrong with the answer to a mint. It is bare: no envelope; 400, 401 and 403 all mean the login."""
    code = read_fault(body)[0]
    if status == 429 or code == "429":
        return BrokerThrottled("Groww asks us to slow down with logins.", call=call, status=status)
    if status in {400, 401, 403} or (status == 200 and code in _REFUSED):
        return BrokerLoginRequired(call=call, status=status)
    if status >= 500 or code in {"GA000", "GA003"}:
        return BrokerUnavailable(f"Groww's login answered with HTTP {status}.", call=call, status=status)
    if status >= 300 or code is not None:
        return BrokerRefused(f"Groww's login answered with HTTP {status}.", call=call, status=status, code=code)
    try:
        minted = _minted.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return BrokerUnavailable("Groww's login answered with something that is no JSON.", call=call, status=status)
    if minted.isActive is False:
        return BrokerLoginRequired(call=call, status=status)
    if not minted.token or not _VISIBLE.fullmatch(minted.token):
        return BrokerAnswerUnknown("Groww's login answered without a token.", call=call, status=status)
    return None


def read_token(body: bytes, now: datetime) -> AccessToken:
    """The token of a good mint answer. `expiry` is IST without offset and never trusted beyond 06:00 IST."""
    minted = _minted.decode(body)
    death = next_death(now)
    try:
        expiry = datetime.fromisoformat(minted.expiry)
    except (ValueError, TypeError):
        expiry = death
    expiry = expiry if expiry.tzinfo else expiry.replace(tzinfo=IST)
    return AccessToken(token=minted.token or "", expires_at=min(expiry.astimezone(UTC), death))


def _visible(secret: str, login: Login) -> str:
    """Goes into a header, so it must be one word."""
    if _VISIBLE.fullmatch(secret):
        return secret
    what = "access token" if login is Login.TOKEN else "API key"
    raise BrokerLoginRequired(
        f"The {what} is empty or holds spaces or foreign characters. Enter it again.", call="login"
    )
