"""The second factor: codes of an authenticator app (RFC 6238, SHA-1, six digits, 30 seconds) and recovery codes.

The caller keeps the secret, the last accepted step and the digests of the recovery codes.
"""

import hashlib
import hmac
import re
import secrets
from datetime import datetime

import pyotp

STEP_SECONDS = 30
STEPS_AROUND = 1  # a code of the step before or after is accepted too: clocks differ, and people type slowly
RECOVERY_CODES = 10

_CODE = re.compile(r"[0-9]{6}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: without the letters that look like another
_ALIKE = str.maketrans("oil", "011")
_GROUPS, _GROUP_LETTERS = 4, 7  # 28 letters of 5 bits: 140 bits
_RECOVERY = re.compile(rf"[{_ALPHABET}]{{{_GROUPS * _GROUP_LETTERS}}}")


def new_secret() -> str:
    """A secret of 160 bits in base32, as authenticator apps take it."""
    return pyotp.random_base32(32)


def uri(secret: str, username: str, issuer: str) -> str:
    """The `otpauth://` address that an authenticator app reads from a picture."""
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=issuer)


def accepted_step(secret: str, code: str, now: datetime, last_step: int | None) -> int | None:
    """The step whose code this is, to be remembered as the last one; None when the code is wrong or was used.

    Remember it in the same transaction that accepts the login, and only where it is greater than what is there.
    """
    digits = "".join(code.split())
    if not _CODE.fullmatch(digits):
        return None
    current = int(now.timestamp()) // STEP_SECONDS
    # Every step is computed and the latest match wins: a code that two steps share must not be good twice.
    matching = [
        step
        for step in range(current - STEPS_AROUND, current + STEPS_AROUND + 1)
        if hmac.compare_digest(code_of(secret, step), digits)
    ]
    latest = max(matching, default=None)
    return latest if latest is not None and (last_step is None or latest > last_step) else None


def code_of(secret: str, step: int) -> str:
    """The six digits of a step; `step` counts half minutes since 1970."""
    return pyotp.TOTP(secret).generate_otp(step)


def recovery_codes() -> list[tuple[str, bytes]]:
    """Ten codes to write down and the digests to keep. Each replaces the second factor once."""
    return [_recovery_code() for _ in range(RECOVERY_CODES)]


def recovery_digest(text: str) -> bytes | None:
    """The digest of a recovery code as typed: capitals, spaces, dashes and look-alikes do not matter. None: no code."""
    letters = re.sub(r"[\s-]+", "", text).lower().translate(_ALIKE)
    return _recovery_digest(letters) if _RECOVERY.fullmatch(letters) else None


def _recovery_code() -> tuple[str, bytes]:
    groups = ["".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LETTERS)) for _ in range(_GROUPS)]
    return "-".join(groups), _recovery_digest("".join(groups))


def _recovery_digest(letters: str) -> bytes:
    return hashlib.sha256(b"portfolio-scheduler recovery code " + letters.encode()).digest()
