"""Which user PostgreSQL runs as when we are root, for it refuses to run as root itself. Used by `embedded` only."""

import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from portfolio_scheduler.errors import SetupProblem

NAME = "portfolio-scheduler"
FALLBACK = "nobody"


class SystemUser(msgspec.Struct, frozen=True):
    uid: int
    gid: int


def is_root() -> bool:
    return os.geteuid() == 0


def unprivileged() -> SystemUser:
    """The system user of the embedded server: our own, made on first need; `nobody` where users cannot be added."""
    entry = _entry(NAME) or _added() or _entry(FALLBACK)
    if entry is None:
        raise SetupProblem(
            f"PostgreSQL does not run as root, and there is neither a user {NAME} nor a user {FALLBACK}. "
            f"Add one (useradd --system {NAME}) or run the product as an ordinary user."
        )
    return SystemUser(entry.pw_uid, entry.pw_gid)


def owner_of(folder: Path) -> SystemUser:
    """The user a cluster folder belongs to: it stays the one to run it, whatever its name has become."""
    status = folder.stat()
    return SystemUser(status.st_uid, status.st_gid)


def can_reach(user: SystemUser, *paths: Path) -> bool:
    """Whether the user may pass all folders down to each path. Asked of the kernel, which knows ACLs and mounts."""
    return all(_succeeds(["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)], user) for path in paths)


def _succeeds(command: Sequence[str], user: SystemUser | None = None) -> bool:
    """Whether a command ends well, run as the user, or as ourselves."""
    as_user = {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": ()}
    try:
        done = subprocess.run(command, cwd="/", check=False, capture_output=True, **as_user)  # type: ignore[call-overload]
    except OSError:
        return False
    return bool(done.returncode == 0)


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _added() -> pwd.struct_passwd | None:
    """Add our own user. Several processes may try at once: what counts is that it is there afterwards."""
    _succeeds(["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--user-group", NAME])
    return _entry(NAME)
