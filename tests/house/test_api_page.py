"""docs/api.md names every operation of the API, and none that is gone."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from portfolio_scheduler.web.errors import CODES
from portfolio_scheduler.web.server import make_web

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
ROW = re.compile(r"^\| `(\w+)` \| `([A-Z]+ /[^`]*)` \|", re.MULTILINE)


def document() -> dict[str, Any]:
    return make_web(None).openapi_schema.to_schema()  # type: ignore[arg-type]  # which no request reaches


def operations(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield operation["operationId"], f"{method.upper()} {path}"


def differences(schema: Mapping[str, Any], page: str) -> dict[str, set[tuple[str, str]]]:
    there, told = set(operations(schema)), {(name, request) for name, request in ROW.findall(page)}
    return {"to be written": there - told, "gone": told - there}


def test_every_operation_is_on_the_page_and_none_that_is_gone() -> None:
    assert differences(document(), PAGE.read_text(encoding="utf-8")) == {"to be written": set(), "gone": set()}


def test_every_type_of_problem_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    missing = {code for code in CODES.values() if f"`{code}`" not in page} - {"unexpected", "broker"}
    assert missing == set()


def test_an_operation_that_is_missing_or_gone_is_found() -> None:
    schema = {"paths": {"/a": {"get": {"operationId": "read_a"}}, "/b": {"post": {"operationId": "write_b"}}}}
    page = "| `read_a` | `GET /a` | reads |\n| `read_c` | `GET /c` | is gone |\n"
    found = differences(schema, page)
    assert found == {"to be written": {("write_b", "POST /b")}, "gone": {("read_c", "GET /c")}}
