"""Where benchmarks run: an embedded server of their own with the settings as shipped, in a folder that is removed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from portfolio_scheduler.bench.crew import cpu_seconds
from portfolio_scheduler.db import embedded
from portfolio_scheduler.settings import Settings


@contextmanager
def folder() -> Iterator[Path]:
    """On the disk that temporary files are on; `TMPDIR` chooses another. PostgreSQL's user must be able to pass."""
    made = Path(tempfile.mkdtemp(prefix="portfolio-scheduler-bench-"))
    try:
        made.chmod(0o711)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def settings_in(place: Path) -> Settings:
    return Settings(data=place / "data", keys=place / "keys")


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """The server, its tables made. Yields the owner's connection string."""
    from portfolio_scheduler.db.migrate import migrate  # noqa: PLC0415 - Alembic costs every process half a second

    with embedded.running(settings) as owner:
        migrate(owner, settings)
        yield owner


@contextmanager
def fresh() -> Iterator[tuple[Settings, str]]:
    """A new folder with a new server: settings and the owner's connection string."""
    with folder() as place, running(settings_in(place)) as owner:
        yield settings_in(place), owner


def server_cpu_seconds(settings: Settings) -> float:
    """Processor time of the server's processes that live now."""
    first = int((settings.data / embedded.CLUSTER / "postmaster.pid").read_text().split()[0])
    postmaster = psutil.Process(first)
    return sum(cpu_seconds(process) for process in [postmaster, *postmaster.children(recursive=True)])


def machine() -> dict[str, str]:
    """What a reader must know of the machine to compare figures."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "system": f"{os.uname().sysname} {os.uname().release} {os.uname().machine}",
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "folder": tempfile.gettempdir(),
    }
