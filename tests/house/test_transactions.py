"""`transaction()` is the only commit in the code base."""

import ast
from pathlib import Path

import pytest

import portfolio_scheduler

SOURCE = Path(portfolio_scheduler.__file__).parent
FORBIDDEN_CALLS = {"commit", "transaction", "begin", "set_autocommit", "begin_nested", "tpc_commit"}
EXCEPTIONS = {
    ("db/pool.py", "transaction"),  # the definition itself, and savepoints
    ("db/migrate.py", "begin"),  # Alembic's run and the grants, in one transaction
    ("db/embedded.py", "autocommit"),  # the demo makes its database anew; databases are not made in transactions
    ("bench/api.py", "autocommit"),  # VACUUM, as below
    ("bench/footprint.py", "autocommit"),  # VACUUM runs in no transaction and changes no row
}


def commits(source: str) -> list[str]:
    """Every way to end a transaction that a piece of source uses."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in FORBIDDEN_CALLS:
                found.append(node.func.attr)
            found += [word.arg for word in node.keywords if word.arg == "autocommit"]
        elif isinstance(node, ast.Attribute) and node.attr == "autocommit":
            found.append("autocommit")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.strip().upper() == "COMMIT":
            found.append("COMMIT")
    return found


def test_nothing_but_transaction_commits():
    found = {
        (str(file.relative_to(SOURCE)), call)
        for file in SOURCE.rglob("*.py")
        if "simulator" not in file.parts
        for call in commits(file.read_text())
    }
    # pool.py also tells the counter of statements that a COMMIT was sent
    assert found - {("db/pool.py", "COMMIT")} == EXCEPTIONS


@pytest.mark.parametrize(
    "twin",
    [
        "await tx.commit()",
        "psycopg.connect(url, autocommit=True)",
        "connection.autocommit = True",
        "async with tx.transaction():\n    pass",
        "await tx.execute('COMMIT')",
        "with engine.begin() as connection:\n    pass",
    ],
)
def test_a_commit_elsewhere_is_caught(twin: str):
    body = twin.replace("\n", "\n    ")
    assert commits(f"async def f():\n    {body}")
