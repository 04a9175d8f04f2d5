"""Which migrations this release has, told without Alembic, which costs half a second to import."""

import re
from functools import cache
from pathlib import Path

from portfolio_scheduler.db.server import Connection, check_version, connected
from portfolio_scheduler.errors import SetupProblem

VERSIONS = Path(__file__).parent / "migrations" / "versions"
_LINE = re.compile(r'^(revision|down_revision) = (?:"([^"]+)"|None)$', re.MULTILINE)


def is_current(conninfo: str) -> bool:
    """Whether the database has exactly this release's tables. Whoever may connect may ask."""
    with connected(conninfo) as connection:
        return has_our_tables(connection)


def has_our_tables(connection: Connection) -> bool:
    """The same of the database one is connected to."""
    check_version(connection)
    row = connection.execute("SELECT to_regclass('public.alembic_version')").fetchone()
    if row is None or row[0] is None:
        return False
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    ours = shipped()
    if row is not None and row[0] not in ours:
        raise SetupProblem(
            f"The database was migrated by a newer release (revision {row[0]!r}); this one knows up to {ours[-1]!r}: "
            "install the newer release."
        )
    return row is not None and row[0] == ours[-1]


@cache
def shipped() -> list[str]:
    """The revisions of this release, oldest first: one line without branches."""
    after: dict[str | None, str] = {}
    for file in VERSIONS.glob("*.py"):
        lines = _LINE.finditer(file.read_text(encoding="utf-8"))
        names: dict[str, str | None] = {line[1]: line[2] for line in lines}
        revision = names["revision"]
        assert revision is not None
        after[names["down_revision"]] = revision
    ours: list[str] = []
    while (following := after.get(ours[-1] if ours else None)) is not None:
        ours.append(following)
    assert len(ours) == len(after), "the migrations are one line"
    return ours
