"""How often passwords and codes may be tried.

Whoever has logged in from a device before is counted there alone, so that nobody else can use up their tries; everybody
else is counted by user, by address and together.
"""

import hashlib
import hmac
from datetime import datetime
from uuid import UUID

from portfolio_scheduler.db.people import attempts
from portfolio_scheduler.db.people.access_log import Event, record
from portfolio_scheduler.db.people.attempts import Bucket
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.errors import TooMany
from portfolio_scheduler.web.addresses import bucket_of
from portfolio_scheduler.web.place import Place

LOGINS, LOGIN_SECONDS = 10, 300  # of one user, of one address, of one device
ALL_LOGINS = 1000  # of everybody in the same time
CODES = ((5, 300), (20, 3600), (50, 86_400))  # of one second factor

_PURPOSE = "portfolio-scheduler names of attempts"


def of_stranger(place: Place, name: str, address: str, now: datetime) -> list[Bucket]:
    """What a login from an unknown device is counted in."""
    return [
        Bucket(f"login user {_hidden(place, name, now)}", LOGINS, LOGIN_SECONDS),
        Bucket(f"login address {bucket_of(address)}", LOGINS, LOGIN_SECONDS),
        Bucket("login all", ALL_LOGINS, LOGIN_SECONDS),
    ]


def of_device(device_digest: bytes) -> list[Bucket]:
    """What a login from a known device is counted in, and an act that asks for the password again."""
    return [Bucket(f"login device {device_digest.hex()}", LOGINS, LOGIN_SECONDS)]


def of_registration(address: str) -> list[Bucket]:
    return [Bucket(f"register address {bucket_of(address)}", LOGINS, LOGIN_SECONDS)]


def of_codes(user_id: UUID, device_digest: bytes | None) -> list[Bucket]:
    """What a code of the second factor is counted in; the device when it is a known one."""
    whose = f"device {device_digest.hex()}" if device_digest else f"user {user_id}"
    return [Bucket(f"code {whose} {seconds}", most, seconds) for most, seconds in CODES]


def failures_of(device_digest: bytes) -> str:
    return f"failures device {device_digest.hex()}"


async def refusal(
    tx: Tx, buckets: list[Bucket], now: datetime, address: str, subject_id: UUID | None
) -> TooMany | None:
    """Count one try. The refusal is for the caller to raise, once what it wrote besides is committed."""
    counted = await attempts.count(tx, buckets, now)
    for name in counted.filled:
        kind = " ".join(name.split(" ")[:2])
        await record(tx, Event.LIMIT_REACHED, now, address, subject_id=subject_id, details={"limit": kind})
    if counted.retry_after_seconds is None:
        return None
    return TooMany(
        f"Too many tries; wait {counted.retry_after_seconds} s.", retry_after_seconds=counted.retry_after_seconds
    )


def _hidden(place: Place, name: str, now: datetime) -> str:
    """People type their password where the name belongs: what was typed must not be guessable from the table."""
    key = place.keyring.ring(now).derived(_PURPOSE)[0]
    return hmac.digest(key, name.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:32]
