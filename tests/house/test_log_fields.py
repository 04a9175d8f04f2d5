"""What the log may show is a list, and the code and the list agree. Whatever is not on it is masked."""

import ast
import io
import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from portfolio_scheduler import log
from portfolio_scheduler.sync.run import COUNTED
from portfolio_scheduler.vault import Secret
from tests.house.test_rules import modules, named

METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log", "bind", "bound_contextvars"})
LOGS = frozenset({"log", "_log", "contextvars"})
BY_THE_LOG = frozenset({"exc_info"})  # becomes `exception`
# Calls that pass a whole mapping, and the fields in it.
SPREAD = {"sync/run.py: **result.counts": frozenset(COUNTED.values())}


def log_calls(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _is_of_a_log(node.func):
            yield node


def _is_of_a_log(called: ast.expr) -> bool:
    if isinstance(called, ast.Name):
        return called.id == "logger"
    if not isinstance(called, ast.Attribute):
        return False
    of = ast.unparse(called.value)
    if called.attr in {"logger", "get_logger"}:
        return True
    return called.attr in METHODS and (of.split(".")[-1] in LOGS or of.endswith(("logger()", "get_logger()")))


def fields_of(source: str) -> Iterator[str]:
    """The names of all fields that are given to a logger; a mapping that is spread into them as `**expression`."""
    for call in log_calls(source):
        yield from (keyword.arg or f"**{ast.unparse(keyword.value)}" for keyword in call.keywords)


def loose_events(source: str) -> Iterator[str]:
    """Lines whose text is put together: what is put in would escape the list of fields."""
    for call in log_calls(source):
        texts = call.args[1:] if isinstance(call.func, ast.Attribute) and call.func.attr == "log" else call.args
        if any(not isinstance(text, ast.Constant) for text in texts) or len(texts) > 1:
            yield ast.unparse(call)


def used() -> set[str]:
    given = set()
    for file in modules():
        for field in fields_of(file.read_text(encoding="utf-8")):
            given |= SPREAD[f"{named(file)}: {field}"] if field.startswith("**") and file.name != "log.py" else {field}
    return given - BY_THE_LOG - {"**initial"}


def test_every_field_in_the_code_is_on_the_list_and_the_other_way_round() -> None:
    assert sorted(used() - log.FIELDS) == [], "add it to log.FIELDS, if it can never hold a secret"
    assert sorted(log.FIELDS - used()) == [], "no longer used: take it off log.FIELDS"


def test_no_field_on_the_list_sounds_like_a_secret() -> None:
    words = ("secret", "token", "password", "authorization", "api_key", "checksum", "totp", "credential", "cookie")
    assert [name for name in log.FIELDS if any(word in name for word in words)] == []


def test_the_text_of_a_line_is_a_constant() -> None:
    loose = [
        f"{named(file)}: {call}"
        for file in modules()
        if file.name != "log.py"  # hands on what libraries say
        for call in loose_events(file.read_text(encoding="utf-8"))
    ]
    assert loose == [], "give what varies as a field"


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ("log.info('x', api_key=1)", ["api_key"]),
        ("self._log.warning('x', a=1, b=2)", ["a", "b"]),
        ("log.logger().error('x', a=1)", ["a"]),
        ("logger(a=1).info('x')", ["a"]),
        ("structlog.contextvars.bound_contextvars(a=1)", ["a"]),
        ("log.info('x', **counts)", ["**counts"]),
        ("math.log(x, base=2)", []),
    ],
)
def test_a_field_is_found(source: str, fields: list[str]) -> None:
    assert list(fields_of(source)) == fields


@pytest.mark.parametrize("source", ["log.info(f'x {y}')", "log.info('x ' + y)", "log.info('x %s', y)", "log.info(y)"])
def test_a_text_put_together_is_found(source: str) -> None:
    assert list(loose_events(source)) == [source]


# ── what is printed ──


@pytest.fixture(params=["text", "json"])
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    log.configure("DEBUG", request.param)
    return stream


class Unknown:
    def __repr__(self) -> str:
        return "shown-nowhere"


@pytest.mark.parametrize(
    "fields",
    [{"api_key": "shown-nowhere"}, {"seed": "shown-nowhere"}, {"unheard_of": ["shown-nowhere"]},
     {"reason": b"shown-nowhere"}, {"reason": Secret(b"shown-nowhere")}, {"reason": Unknown()},
     {"reason": [{"deep": Unknown()}]}, {"answer": {"deep": b"shown-nowhere"}}],
)  # fmt: skip
def test_what_is_not_listed_or_not_plain_is_masked(lines: io.StringIO, fields: dict[str, Any]) -> None:
    log.logger().info("happened", **fields)
    assert "happened" in lines.getvalue()
    assert log.MASK in lines.getvalue()
    assert "shown-nowhere" not in lines.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://host/path?token=shown-nowhere failed", "GET https://host/path failed"),
        ("postgresql://user:shown-nowhere@host:5432/name?sslpassword=shown-nowhere", "postgresql://•••@host:5432/name"),
        ("GET /auth/reset?code=shown-nowhere&x=1 401", "GET /auth/reset 401"),
        ("who/what? nobody knows", "who/what? nobody knows"),
    ],
)
def test_addresses_lose_their_queries_and_their_users(lines: io.StringIO, text: str, shown: str) -> None:
    import logging

    log.logger().info("happened", reason=text)
    logging.getLogger("some.library").warning("%s", text)
    assert lines.getvalue().count(shown) == 2
    assert "shown-nowhere" not in lines.getvalue()


def test_an_exception_loses_them_too(lines: io.StringIO) -> None:
    try:
        raise OSError("no answer from https://host/path?token=" + "shown-nowhere")
    except OSError:
        log.logger().exception("failed")
    assert "no answer from https://host/path" in lines.getvalue()
    assert "host/path?" not in lines.getvalue().replace('"no answer from https://host/path?token=" +', "")
    told = lines.getvalue().splitlines()
    assert len(told) == 1 or (len(told) == 2 and told[1].startswith("Traceback"))


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1b[2K", "\x85", "\u2028", "\u2029", "\u202e", "\0"]
)
def test_a_value_cannot_forge_a_line(lines: io.StringIO, end: str) -> None:
    log.logger().info("happened", account=f"one{end}2026-01-01 [info] forged", days=[f"x{end}y"])
    written = lines.getvalue()
    assert len(written.splitlines()) == 1
    assert written.endswith("\n")
    assert end not in written[:-1]


def test_plain_values_are_printed_as_they_are(lines: io.StringIO) -> None:
    plain = {"days": 3, "reason": "because", "values": Decimal("1.50"), "left": None, "orders": ["a", "b"]}
    dated = {"before": date(2026, 4, 20), "ended": datetime(2026, 4, 20, 9), "batch": UUID(int=1), "file": Path("a/b")}
    log.logger().info("happened", **plain, **dated)
    for shown in ("because", "1.50", "2026-04-20", "2026-04-20 09:00:00", str(UUID(int=1)), "a/b"):
        assert shown in lines.getvalue()
    if lines.getvalue().startswith("{"):
        assert json.loads(lines.getvalue())["orders"] == ["a", "b"]
