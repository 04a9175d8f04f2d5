"""Where the private keys of secrets come from: the key folder, a file that something else provides, such as a systemd
credential, or what a program of the owner's prints, such as one that asks a key management service to unwrap them.

All three give the text of `opening.json`. Only the one in the key folder is made and changed by the product.
"""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.key_files import FILE_LIMIT, check_folder, read_guarded
from portfolio_scheduler.settings import Settings

OPENING_FILE = "opening.json"
COMMAND = "command:"
COMMAND_SECONDS = 30
# Where systemd puts credentials. That the service may read one that is root's shows as a right of its group.
CREDENTIALS = Path("/run/credentials")
RESTORE = "Restore it from your copy; if there is none, move it away and enter the credentials of every account again."


class Source(Protocol):
    """Gives the private keys."""

    @property
    def path(self) -> Path:
        """What they are in or come out of. When it is replaced, they are read again."""

    @property
    def is_ours(self) -> bool:
        """Whether the product makes and changes them."""

    def read(self) -> bytes:
        """The text of `opening.json`; a `SetupProblem` says what to do."""


class File(Struct, frozen=True):
    """A file that nobody but its owner may use."""

    path: Path
    is_ours: bool

    def read(self) -> bytes:
        if not self.is_ours:
            _check_owner(self.path)
        forbidden = 0o037 if CREDENTIALS in self.path.parents else 0o077
        return read_guarded(self.path, forbidden, "use", "400", cure=RESTORE)


class Command(Struct, frozen=True):
    """A program, started without a shell; others than its owner may not write to it. What it prints is never shown."""

    words: tuple[str, ...]
    is_ours: bool = False

    @property
    def path(self) -> Path:
        return Path(self.words[0])

    def read(self) -> bytes:
        _check_owner(self.path)
        read_guarded(self.path, 0o022, "write to", "755", cure="Correct PORTFOLIO_SCHEDULER_PRIVATE_KEYS.")
        by_hand = f"Run {self.path} by hand as this user to see why."
        try:
            done = subprocess.run(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SetupProblem(f"The private keys did not come within {COMMAND_SECONDS} s. {by_hand}") from None
        except OSError as e:
            raise SetupProblem(f"What gives the private keys cannot be started: {e.strerror}. {by_hand}") from e
        if done.returncode or not done.stdout or len(done.stdout) > FILE_LIMIT:
            raise SetupProblem(f"The private keys did not come (exit code {done.returncode}). {by_hand}")
        return done.stdout


def source_of(settings: Settings) -> Source:
    """As `PORTFOLIO_SCHEDULER_PRIVATE_KEYS` says."""
    said = settings.private_keys
    if said is None:
        return File(settings.keys / OPENING_FILE, True)
    if not said.startswith(COMMAND):
        return File(_outside(settings, said), False)
    try:
        words = tuple(shlex.split(said.removeprefix(COMMAND)))
    except ValueError as e:
        raise SetupProblem(f"PORTFOLIO_SCHEDULER_PRIVATE_KEYS holds no command ({e}).") from e
    if not words:
        raise SetupProblem(f"PORTFOLIO_SCHEDULER_PRIVATE_KEYS names no program after `{COMMAND}`.")
    return Command((str(_outside(settings, words[0])), *words[1:]))


def _check_owner(path: Path) -> None:
    """Whoever owns it, or may write to its folder, could give other keys."""
    try:
        owner = path.stat().st_uid
    except OSError as e:
        raise SetupProblem(
            f"What PORTFOLIO_SCHEDULER_PRIVATE_KEYS names, {path}, cannot be read: {e.strerror}. Correct it."
        ) from e
    if owner not in {0, os.geteuid()}:
        raise SetupProblem(
            f"{path} gives the private keys and belongs to somebody else. Make it root's or this user's."
        )
    check_folder(path.parent)


def _outside(settings: Settings, name: str) -> Path:
    """An absolute path; what gives the keys must not travel with a copy of the data either."""
    path, data = Path(name), settings.data.resolve()
    if not path.is_absolute():
        raise SetupProblem(f"PORTFOLIO_SCHEDULER_PRIVATE_KEYS must name a file by its whole path, not {name!r}.")
    if data in path.resolve().parents:
        raise SetupProblem(
            f"{path} lies inside the data folder {settings.data}, so a copy of the data would carry its keys. Correct "
            "PORTFOLIO_SCHEDULER_PRIVATE_KEYS."
        )
    return path
