"""Servers and processes for the tests of the embedded database."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portfolio_scheduler.db import embedded, system_user
from portfolio_scheduler.settings import Settings

PROGRAM = """
import sys
from pathlib import Path
import psycopg
from portfolio_scheduler.db import embedded
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.settings import Settings

settings = Settings(data=Path(sys.argv[1]), keys=Path(sys.argv[2]))
try:
    with embedded.running(settings) as conninfo, psycopg.connect(conninfo) as connection:
        print("up", connection.execute("SELECT 1").fetchone()[0], flush=True)
        sys.stdin.readline()
        print("still up", connection.execute("SELECT 2").fetchone()[0], flush=True)
except SetupProblem as problem:
    print(problem.message, flush=True)
    sys.exit(problem.exit_code)
"""


class User:
    """A process of its own that uses the embedded server until it is told to leave, or killed."""

    def __init__(self, settings: Settings) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(settings.data), str(settings.keys)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self) -> str:
        """The next line it prints that is not a log line."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if "[info" not in line and "[warning" not in line:
                return line.strip()
        return ""

    def leaves(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.close()
        code = self.process.wait(60)
        self.process.stdout.close()
        return code

    def is_killed(self) -> None:
        self.process.kill()
        self.process.wait(60)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@contextmanager
def old_server(folder: Path) -> Iterator[str]:
    """A PostgreSQL 16, which the wheel carries as well."""
    user = system_user.unprivileged() if system_user.is_root() else None
    binaries = embedded.binary("postgres", 16).parent
    if user is not None and not system_user.can_reach(user, binaries / "postgres"):  # as a clone in a closed folder
        binaries = embedded._copied_binaries(binaries)
    place = embedded.Place(folder / "old", binaries, user)
    place.cluster.mkdir(mode=0o700)
    if user is not None:
        os.chown(place.cluster, user.uid, user.gid)
    _done(place, "initdb", "-D", "old", "--auth=trust", "--username=postgres", "--no-sync")
    with (place.cluster / "postgresql.conf").open("a") as conf:
        conf.write(f"listen_addresses = ''\nunix_socket_directories = '{place.cluster}'\n")
    _done(place, "pg_ctl", "start", "-w", "-s", "-D", "old", "-l", "old/start.log")
    try:
        yield f"host={place.cluster} dbname=postgres user=postgres password=very-secret"
    finally:
        _done(place, "pg_ctl", "stop", "-w", "-s", "-m", "immediate", "-D", "old")


def _done(place: embedded.Place, *command: str) -> None:
    done = embedded._run(place, list(command))
    assert done.returncode == 0, done.stderr
