"""Files that hold keys: where they may lie, who may use them, how they are written, what a key must look like.

Which keys there are is said by those who use this: `keyring` for the secrets of accounts, `identity` for people.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.log import logger
from portfolio_scheduler.settings import Settings

FILE_LIMIT = 1 << 18  # bytes; a key takes about 200
KEY_BYTES = 32

# Keys that everybody knows: those of RFC 7748 (6.1), RFC 9180 (A.1) and RFC 8032 (7.1), which examples are copied from.
PUBLISHED = frozenset(
    bytes.fromhex(key)
    for key in (
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
        "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    )
)
FEWEST_DIFFERENT = 16  # of the 32 bytes of a key; a random one has 30, and fewer than 16 in no lifetime

log = logger()
T = TypeVar("T")


class Watched(Generic[T]):
    """What a file holds, read again when the file was replaced: keys are rotated while the service runs."""

    def __init__(self, path: Path, read: Callable[[], T]) -> None:
        self._path = path
        self._read = read
        self._seen = self._signature()
        self._held = read()

    def __call__(self) -> T:
        seen = self._signature()
        if seen != self._seen:
            self._seen = seen
            try:
                self._held = self._read()
            except SetupProblem as e:  # what runs goes on with the keys it has; the next start refuses
                log.warning("a key file was changed and cannot be used; the keys of before hold", reason=e.message)
        return self._held

    def _signature(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)


def check_place(settings: Settings, names: Iterable[str]) -> None:
    """No key may travel with a copy of the data folder, by whatever links the two are reached."""
    data = settings.data.resolve()
    for path in (settings.keys, *(settings.keys / name for name in names)):
        real = path.resolve()
        if real == data or data in real.parents:
            raise SetupProblem(
                f"The key folder {settings.keys} lies inside the data folder {settings.data}, so a copy of the data "
                "would carry its key. Set PORTFOLIO_SCHEDULER_KEYS to a folder outside it."
            )


def check_strong(key: bytes, where: str, *, cure: str, replaced: str) -> None:
    """Refuse what nobody drew at random: samples, zeros, repetitions, counting, typed text.

    `cure` says what to do about a damaged key, `replaced` what a new one costs.
    """
    if len(key) != KEY_BYTES:
        raise SetupProblem(f"The key in {where} has {len(key)} bytes; it must have {KEY_BYTES}. {cure}")
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    if key in PUBLISHED:
        weakness = "is a published sample that everybody has"
    elif len(set(key)) < FEWEST_DIFFERENT or len(steps) < FEWEST_DIFFERENT // 2:
        weakness = "is not random: it repeats or counts"
    elif all(32 <= byte < 127 for byte in key):
        weakness = "is not random: it is typed text"
    else:
        return
    raise SetupProblem(
        f"The key in {where} {weakness}. Move the file away; a new one is made at the next start. {replaced}"
    )


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise SetupProblem(
            f"The key folder {folder} cannot be made: {e.strerror}. Set PORTFOLIO_SCHEDULER_KEYS to a folder of yours."
        ) from e
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Readable is allowed, because each file guards itself; who may write here may put a key of theirs in its place."""
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as e:
        raise SetupProblem(f"The key folder {folder} cannot be read: {e.strerror}.") from e
    if mode & 0o022:
        raise SetupProblem(f"Others may write to the key folder {folder} (mode {mode:04o}). Run: chmod 700 '{folder}'")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time changes the key files."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as e:
        raise unwritable(folder, e) from e
    try:
        yield
    finally:
        os.close(handle)


def write(path: Path, held: msgspec.Struct, mode: int) -> None:
    """Whole or not at all, and lasting: a key lost in a power cut would lose every secret sealed to it."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            os.fchmod(handle, mode)  # whatever the umask
            os.write(handle, msgspec.json.format(msgspec.json.encode(held), indent=2) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        draft.unlink(missing_ok=True)
        raise unwritable(path, e) from e


def read_guarded(path: Path, forbidden: int, act: str, right: str, *, cure: str) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & forbidden:
                raise SetupProblem(
                    f"Others than its owner may {act} the key file {path} (mode {mode:04o}, expected 0{right}). "
                    f"Run: chmod {right} '{path}'"
                )
            return file.read(FILE_LIMIT)
    except OSError as e:
        raise SetupProblem(f"The key file {path} cannot be read: {e.strerror}. {cure}") from e


def decoded(content: bytes, type_: type[T], path: Path, *, cure: str) -> T:
    try:
        return msgspec.json.decode(content, type=type_)
    except (msgspec.DecodeError, ValueError) as e:
        raise SetupProblem(f"The key file {path} is damaged: it does not hold keys. {cure}") from e


def unwritable(path: Path, e: OSError) -> SetupProblem:
    return SetupProblem(
        f"The key file {path} cannot be written: {e.strerror}. Make its folder writable for this user or set "
        "PORTFOLIO_SCHEDULER_KEYS to a folder of yours."
    )
