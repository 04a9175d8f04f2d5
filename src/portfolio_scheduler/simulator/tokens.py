"""Logging in: keys, approvals, checksums, one-time codes, and access tokens that die at 06:00 IST."""

from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any

import msgspec
import pyotp

from portfolio_scheduler.simulator.accounts import Login
from portfolio_scheduler.simulator.answers import Answer, Refusal, bare, failure, gateway_refusal, unauthorised
from portfolio_scheduler.simulator.wall import DAY_SECONDS, IST_OFFSET_SECONDS, instant_of, iso
from portfolio_scheduler.simulator.world import World

DEATH_SECOND = 6 * 3600  # 06:00 IST, every day
CHECKSUM_SECONDS = 600


class MintRequest(msgspec.Struct):
    key_type: str = ""
    totp: str | int | None = None
    checksum: str | None = None
    timestamp: str | int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """What an access token stands for."""

    number: int
    expires_at: int


def token_day(wall: int) -> int:
    """The day from 06:00 to 06:00 IST that a token and an approval belong to, as a number."""
    return (wall - DEATH_SECOND) // DAY_SECONDS


class Tokens:
    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions: dict[str, Session] = {}
        self._current: dict[int, str] = {}
        self._approved: dict[int, int] = {}
        self._count = 0

    @property
    def issued(self) -> list[str]:
        """Every access token that was handed out and not replaced."""
        return list(self._sessions)

    def approve(self, api_key: str) -> None:
        """The owner presses the button for today."""
        self._approved[self._number_of(api_key)] = token_day(self._world.now)

    def _number_of(self, api_key: str) -> int:
        number = self._world.number_of_key.get(api_key)
        if number is None:
            raise unauthorised()
        return number

    def session(self, authorization: str) -> Session:
        """Whose call it is; a call without a living token is refused."""
        found = self._sessions.get(authorization[7:]) if authorization.startswith("Bearer ") else None
        if found is None or found.expires_at <= self._world.now:
            raise unauthorised()
        return found

    def number_of_token(self, authorization: str) -> int | None:
        """Whose token it is or was, dead or alive."""
        found = self._sessions.get(authorization[7:])
        return None if found is None else found.number

    def issue(self, number: int) -> dict[str, Any]:
        """A new access token, as the web page or the mint hands it out."""
        now = self._world.now
        self._count += 1
        digest = sha256(f"{self._world.options.seed}/{number}/{now}/{self._count}".encode()).hexdigest()
        token = f"eyJ{digest}{digest[::-1]}"
        if self._world.quirks.one_token:
            self._sessions.pop(self._current.get(number, ""), None)
        expires_at = (token_day(now) + 1) * DAY_SECONDS + DEATH_SECOND
        self._sessions[token] = Session(number, expires_at)
        self._current[number] = token
        return {
            "token": token,
            "tokenRefId": digest[:32],
            "sessionName": f"session-{self._count}",
            "expiry": iso(expires_at),
            "isActive": True,
        }

    def mint(self, authorization: str, body: bytes) -> Answer:
        """The token endpoint: no envelope when it works."""
        number = self._number_of(authorization.removeprefix("Bearer "))
        login = self._world.login(number)
        try:
            request = msgspec.json.decode(body, type=MintRequest)
        except msgspec.MsgspecError as e:
            raise _refused("The request body is not valid.") from e
        if login.totp_secret is not None:
            self._check_totp(login.totp_secret, request)
        else:
            self._check_checksum(login, request)
        return bare(self.issue(number))

    def _check_totp(self, secret: str, request: MintRequest) -> None:
        code = str(request.totp or "").strip()
        at = instant_of(self._world.now)
        if not pyotp.TOTP(secret).verify(code, for_time=at, valid_window=1):
            raise _refused("Invalid TOTP.")

    def _check_checksum(self, login: Login, request: MintRequest) -> None:
        stamp = str(request.timestamp if request.timestamp is not None else "")
        wanted = sha256(f"{login.secret}{stamp}".encode()).hexdigest()
        if not stamp.isdecimal() or not compare_digest(wanted.encode(), (request.checksum or "").encode()):
            raise _refused("Invalid checksum.")
        if abs(int(stamp) - (self._world.now - IST_OFFSET_SECONDS)) > CHECKSUM_SECONDS:
            raise _refused("The timestamp is too old.")
        quirks = self._world.quirks
        if not quirks.auto_approve and self._approved.get(login.number) != token_day(self._world.now):
            message = "The API key is not approved for today."
            if quirks.unapproved_status == 401:
                raise Refusal(gateway_refusal(401, "401", message))
            raise Refusal(failure(quirks.unapproved_status, "GA005", message, displayMessage=message))


def _refused(message: str) -> Refusal:
    return Refusal(failure(400, "GA001", message, displayMessage=message))
