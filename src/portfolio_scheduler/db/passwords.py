"""Passwords of the database roles: generated once, kept in one 0600 JSON file of the key folder.

The file has a section for each embedded cluster and each install, so that one key folder serves several.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.settings import Settings

FILE = "database-passwords.json"


def path(settings: Settings) -> Path:
    return settings.keys / FILE


def new() -> str:
    """A password of 256 random bits, safe inside SQL quotes and URLs."""
    return secrets.token_urlsafe(32)


def known(settings: Settings, section: str, role: str) -> str | None:
    """The kept password of a role, if there is one."""
    return _read(path(settings)).get(section, {}).get(role)


def installs(settings: Settings) -> list[str]:
    """The installations that the key folder serves."""
    return [section for section in _read(path(settings)) if section.startswith("install ")]


def keep(settings: Settings, section: str, role: str, password: str) -> None:
    with _changing(settings) as sections:
        sections.setdefault(section, {})[role] = password


def known_or_new(settings: Settings, section: str, role: str) -> str:
    """The kept password of a role; a new one is kept before it is returned, so that it cannot be lost."""
    with _changing(settings) as sections:
        return sections.setdefault(section, {}).setdefault(role, new())


def see_that_they_can_be_kept(settings: Settings) -> None:
    """Fails before anything is made whose password could then not be written down."""
    with _changing(settings):
        pass


@contextmanager
def _changing(settings: Settings) -> Iterator[dict[str, dict[str, str]]]:
    """Read, let the caller change, write; one process at a time, and whole or not at all."""
    file = path(settings)
    try:
        settings.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(file, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sections = _read(file)
        before = json.dumps(sections)
        yield sections
        if json.dumps(sections) != before:
            _write(file, sections)
    finally:
        os.close(lock)


def _read(file: Path) -> dict[str, dict[str, str]]:
    try:
        if file.stat().st_mode & 0o077:
            raise SetupProblem(f"The password file {file} can be read by others; run: chmod 600 '{file}'")
        sections: dict[str, dict[str, str]] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unusable(file, error) from error
    except ValueError as error:
        raise SetupProblem(
            f"The password file {file} is not JSON. Restore it from a backup, or remove it and run "
            "`portfolio-scheduler migrate --reset-passwords`."
        ) from error
    return sections


def _write(file: Path, sections: dict[str, dict[str, str]]) -> None:
    draft = file.with_suffix(".draft")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(sections, out, indent=2)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    except OSError as error:
        raise _unusable(file, error) from error


def _unusable(file: Path, error: OSError) -> SetupProblem:
    return SetupProblem(
        f"The password file {file} cannot be used ({error.strerror}); make its folder writable for this user "
        "or set PORTFOLIO_SCHEDULER_KEYS to another one."
    )
