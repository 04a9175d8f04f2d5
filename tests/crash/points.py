"""The failpoints in the source: the harness tries what is found here, so that a new one is covered by itself."""

import ast
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "portfolio_scheduler"
DEFINED = "failpoints.py"


def failpoints(sources: Mapping[str, str] | None = None) -> list[str]:
    """The names of all points, in the order of the files. A name that is no literal could not be found: refused."""
    if sources is None:
        files = (file for file in sorted(SOURCE.rglob("*.py")) if file.name != DEFINED)
        sources = {file.name: file.read_text(encoding="utf-8") for file in files}
    return [name for file, source in sources.items() if "failpoint" in source for name in _named(file, source)]


def _named(file: str, source: str) -> list[str]:
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_point(node.func)]
    mentions = [node for node in ast.walk(tree) if isinstance(node, ast.expr) and _is_point(node)]
    names = [
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Name) and len(call.args) == 1 and isinstance(call.args[0], ast.Constant)
    ]
    if len(names) != len(mentions):
        raise ValueError(f"{file}: write failpoint(…) with one literal name, so that the crash harness finds it")
    return [str(name) for name in names]


def _is_point(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "failpoint") or (
        isinstance(node, ast.Attribute) and node.attr == "failpoint"
    )
