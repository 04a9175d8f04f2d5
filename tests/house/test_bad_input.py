"""Every line of docs/bad-input.md is held by a test that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bad-input.md"


def rows(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| input ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def missing(page: str) -> list[str]:
    """Rows that are not whole, or whose test is not there."""
    found = []
    for row in rows(page):
        file, _, name = row[-1].strip("`").partition("::")
        source = (ROOT / file).read_text() if (ROOT / file).is_file() else ""
        if len(row) != 4 or not all(row) or not source or (name and not re.search(rf"def {name}\b", source)):
            found.append(row[0])
    return found


def test_every_row_has_its_test() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len(rows(page)) > 40
    assert missing(page) == []


def test_a_row_without_a_test_is_found() -> None:
    good = "| x | y | z | `tests/house/test_bad_input.py::test_every_row_has_its_test` |"
    assert missing(good) == []
    assert missing(good.replace("every_row", "no_row")) == ["x"]
    assert missing("| x | y | `tests/house/test_bad_input.py` |") == ["x"]
