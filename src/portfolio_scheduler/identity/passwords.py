"""Passwords: which are good enough, and how they are kept (Argon2id, two computations at once at most)."""

import asyncio
import base64
import secrets
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import argon2
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.low_level import Type
from msgspec import Struct

from portfolio_scheduler.errors import InvalidInput, SecretUnreadable
from portfolio_scheduler.identity import blocklist

SHORTEST, LONGEST = 12, 128  # characters, after normalising
AT_ONCE = 2  # computations; each takes the memory of its cost
MOST_MEMORY_KIB, MOST_PASSES = 1 << 20, 32  # a stored hash that asks for more was not written by us

_SALT_BYTES, _HASH_BYTES = 16, 32
_RESET = "Set a new password for this user, and find out who wrote to the database."


class Argon2Cost(Struct, frozen=True, kw_only=True):
    """What one computation costs, the owner of a password and a guesser alike."""

    memory_kib: int = 65_536
    passes: int = 3
    lanes: int = 4


STRONG = Argon2Cost()

# Threads of their own, so that logins neither stop the event loop nor take memory without a bound.
_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2")


def check_rules(text: str, username: str, *, field: str = "password") -> None:
    """Refuse a new password that is too short, too long, unprintable or easily guessed, as `InvalidInput`.

    There are no rules about capitals, digits or signs: they make passwords harder to remember, not to guess.
    """
    plain = _normalised(text)
    if not SHORTEST <= len(plain) <= LONGEST:
        raise InvalidInput(
            f"The field {field} has {len(plain)} characters; it must have {SHORTEST} to {LONGEST}. "
            "Several words that only you would put together are easy to remember."
        )
    if any(unicodedata.category(letter) in {"Cc", "Cs", "Cn"} for letter in plain):
        raise InvalidInput(f"The field {field} holds control or unassigned characters; type it with visible ones.")
    if blocklist.is_easily_guessed(plain, username):
        raise InvalidInput(
            f"The field {field} is easily guessed: a well-known password or word, one of this product, or your user "
            "name, with digits or signs around it, repeated, or a row of keys. Choose several words that only you "
            "would put together."
        )


async def hash_password(text: str, *, cost: Argon2Cost = STRONG) -> str:
    """The hash to keep, which names its own cost and salt."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher(cost).hash, _bytes(_normalised(text)))


async def verify(hashed: str | None, text: str, *, cost: Argon2Cost = STRONG) -> bool:
    """Whether this is the password. Without a hash (no such user) the answer is no, and takes as long."""
    plain = _normalised(text)
    usable = hashed is not None and len(plain) <= LONGEST
    against = hashed if hashed is not None else _nobodys(cost)
    _check_hash(against)
    matching = await asyncio.get_running_loop().run_in_executor(_threads, _matches, against, _bytes(plain[:LONGEST]))
    return usable and matching


def needs_rehash(hashed: str, *, cost: Argon2Cost = STRONG) -> bool:
    """Whether a hash was made at another cost than today's; hash the password anew while it is at hand."""
    return _hasher(cost).check_needs_rehash(hashed)


def _normalised(text: str) -> str:
    """The same characters however a keyboard composes them: é is one or two code points, ﬁ one or two letters."""
    return unicodedata.normalize("NFKC", text)


def _bytes(plain: str) -> bytes:
    return plain.encode("utf-8", "surrogatepass")  # never fails: half a pair is no password, but no crash either


def _hasher(cost: Argon2Cost) -> PasswordHasher:
    return PasswordHasher(
        time_cost=cost.passes,
        memory_cost=cost.memory_kib,
        parallelism=cost.lanes,
        hash_len=_HASH_BYTES,
        salt_len=_SALT_BYTES,
        type=Type.ID,
    )


def _matches(hashed: str, plain: bytes) -> bool:
    try:
        return PasswordHasher().verify(hashed, plain)
    except VerifyMismatchError:
        return False
    except VerificationError as e:
        raise SecretUnreadable(f"A stored password hash cannot be computed: {e}. {_RESET}") from e


def _check_hash(hashed: str) -> None:
    """A hash that somebody wrote into the database must not take all memory."""
    try:
        found = argon2.extract_parameters(hashed)
    except InvalidHashError as e:
        raise SecretUnreadable(f"A stored password hash is damaged: it is none of Argon2. {_RESET}") from e
    if found.type is not Type.ID or not found.memory_cost <= MOST_MEMORY_KIB or not found.time_cost <= MOST_PASSES:
        raise SecretUnreadable(
            f"A stored password hash asks for {found.type.name}, {found.memory_cost} KiB and {found.time_cost} passes; "
            f"ours are ID with at most {MOST_MEMORY_KIB} KiB and {MOST_PASSES} passes. {_RESET}"
        )


def _nobodys(cost: Argon2Cost) -> str:
    """A hash that no password has (it was drawn, not computed) and that costs what a real one costs."""
    salt, drawn = (base64.b64encode(secrets.token_bytes(n)).decode().rstrip("=") for n in (_SALT_BYTES, _HASH_BYTES))
    return f"$argon2id$v=19$m={cost.memory_kib},t={cost.passes},p={cost.lanes}${salt}${drawn}"
