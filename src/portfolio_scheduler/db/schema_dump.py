"""The schema that all migrations make, as text: `schema.sql`, for reading and for reviewing what a migration changes.

`python -m portfolio_scheduler.db.schema_dump` writes it anew; a test fails when it is not what the migrations make.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from portfolio_scheduler.db import embedded
from portfolio_scheduler.db.migrate import migrate
from portfolio_scheduler.settings import Settings

FILE = Path(__file__).with_name("schema.sql")
HEAD = """\
-- What all migrations make, with owners and grants. Not run by anything: written by
-- `python -m portfolio_scheduler.db.schema_dump`, and compared with the migrations by a test.
"""


def dump(conninfo: str) -> str:
    """The schema of a database by the wheel's own `pg_dump`, without what differs from run to run."""
    parts = conninfo_to_dict(conninfo)
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
    env = {variable: str(parts[name]) for variable, name in names.items() if name in parts}
    command = [str(embedded.binary("pg_dump")), "--schema-only", "--restrict-key=schema"]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=True)
    return HEAD + re.sub(r"^-- Dumped (from|by) .*\n", "", done.stdout, flags=re.MULTILINE)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="schema-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL's user must be able to pass when we are root
        settings = Settings(data=folder / "data", keys=folder / "keys")
        with embedded.running(settings) as conninfo:
            migrate(conninfo, settings)
            FILE.write_text(dump(conninfo))
    sys.stdout.write(f"{FILE}\n")


if __name__ == "__main__":
    main()
