"""docs/asvs.csv has every requirement once, and a test that exists for each that applies, but for those named.

OWASP ASVS 5.0: the numbers only. The wording is OWASP's and is not here.
"""

import ast
import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "asvs.csv"
PAGE = ROOT / "docs" / "security.md"
COLUMNS = ["id", "level", "applies", "why_not", "control", "test", "documentation"]

# The levels of the requirements of each section, in their order: "1.1" has two, both of level 2.
LEVELS = """
1.1 22  1.2 1111122223  1.3 112222222223  1.4 222  1.5 123
2.1 122  2.2 112  2.3 12223  2.4 23
3.1 3  3.2 113  3.3 12223  3.4 11222233  3.5 11122333  3.6 3  3.7 22333
4.1 12233  4.2 23333  4.3 22  4.4 1222
5.1 2  5.2 112333  5.3 113  5.4 222
6.1 122  6.2 111111112222  6.3 11223333  6.4 112233  6.5 22222333  6.6 2223  6.7 33  6.8 2222
7.1 222  7.2 1111  7.3 22  7.4 11222  7.5 223  7.6 22
8.1 1233  8.2 1123  8.3 133  8.4 23
9.1 111  9.2 1222
10.1 22  10.2 223  10.3 22223  10.4 1111122222233333  10.5 22222  10.6 22  10.7 222
11.1 2233  11.2 22233  11.3 11233  11.4 1222  11.5 23  11.6 23  11.7 33
12.1 12233  12.2 11  12.3 22223
13.1 2333  13.2 222223  13.3 2233  13.4 1222233
14.1 22  14.2 12223333  14.3 122
15.1 12233  15.2 12233  15.3 1222222  15.4 3333
16.1 2  16.2 22222  16.3 2222  16.4 222  16.5 2223
17.1 23  17.2 22223333  17.3 22
"""
# Of level 3, what is worth having here.
OF_LEVEL_3 = frozenset(
    re.findall(
        r"[\d.]+",
        """
        1.2.10 3.4.7 3.4.8 4.1.4 6.3.5 6.3.7 6.3.8 7.5.3 8.3.2 11.2.4 11.3.4 13.1.2 13.1.3 13.1.4 13.3.4 14.2.6 14.2.7
        15.4.1 15.4.2 15.4.3 16.5.4
        """,
    )
)

# What applies and is not met yet, with the reason. Each stands on the page under "What is missing", too.
NOT_YET = {
    "V15.2.1": "nothing looks by itself for known holes in the pinned packages",
    "V16.4.3": "the access log does not leave the database by itself",
}

Row = Mapping[str, str]


def requirements() -> dict[str, int]:
    words = LEVELS.split()
    return {
        f"{section}.{number}": int(level)
        for section, levels in zip(words[::2], words[1::2], strict=True)
        for number, level in enumerate(levels, 1)
    }


def read(text: str) -> list[Row]:
    return list(csv.DictReader(io.StringIO(text), strict=True))


def wanted() -> dict[str, int]:
    return {f"V{number}": level for number, level in requirements().items() if level < 3 or number in OF_LEVEL_3}


@cache
def functions_of(file: str) -> frozenset[str]:
    """The functions of a file of tests, by its text: importing it would run it."""
    path = ROOT / file
    if not re.fullmatch(r"tests/[\w/]+\.py", file) or not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def exists(test: str) -> bool:
    file, _, name = test.partition("::")
    return name.startswith("test_") and name in functions_of(file)


@cache
def anchors(file: str) -> frozenset[str]:
    page = ROOT / "docs" / file
    if not page.is_file():
        return frozenset()
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles)


def faults(row: Row, not_yet: Mapping[str, str]) -> list[str]:
    """What is wrong with a row."""
    name, tests = row["id"], [test for test in row["test"].split(";") if test]
    found = [f"{name}: there is no test {test}" for test in tests if not exists(test)]
    if row["documentation"]:
        file, _, anchor = row["documentation"].partition("#")
        if anchor not in anchors(file):
            found.append(f"{name}: there is no section {row['documentation']}")
    if row["applies"] == "no":
        if not row["why_not"].strip() or row["control"]:
            found.append(f"{name}: a row that does not apply says why, and has no control")
    elif row["applies"] == "yes":
        if row["why_not"] or not row["control"].strip():
            found.append(f"{name}: a row that applies names its control")
        if bool(tests) == (name in not_yet):
            found.append(f"{name}: {'has a test: no longer missing' if tests else 'applies and has no test'}")
    else:
        found.append(f"{name}: applies is {row['applies']!r}, not yes or no")
    return found


def test_the_levels_are_those_of_the_standard() -> None:
    assert Counter(requirements().values()) == {1: 70, 2: 183, 3: 92}
    assert len(OF_LEVEL_3) == 21
    assert {requirements()[number] for number in OF_LEVEL_3} == {3}


def test_every_requirement_is_there_once_with_its_level() -> None:
    rows = read(TABLE.read_text(encoding="utf-8"))
    assert list(rows[0]) == COLUMNS
    assert [row["id"] for row in rows] == list(wanted())
    assert {row["id"]: int(row["level"]) for row in rows} == wanted()


def test_what_applies_has_a_test_that_exists_and_what_does_not_a_reason() -> None:
    rows = read(TABLE.read_text(encoding="utf-8"))
    assert [fault for row in rows for fault in faults(row, NOT_YET)] == []
    assert sum(row["applies"] == "yes" for row in rows) > 150


def test_chapters_that_were_chosen_are_not_ruled_out_whole() -> None:
    rows = read(TABLE.read_text(encoding="utf-8"))
    apply = Counter(row["id"].partition(".")[0] for row in rows if row["applies"] == "yes")
    assert set(apply) == {f"V{chapter}" for chapter in (*range(1, 10), *range(11, 17))}


def test_what_is_missing_is_on_the_page_and_little() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## What is missing\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"\bV\d+\.\d+\.\d+\b", section)) == set(NOT_YET)
    assert len(NOT_YET) <= 5


# ── the gate finds its broken twins ──

GOOD = {
    "id": "V1.1.1",
    "level": "2",
    "applies": "yes",
    "why_not": "",
    "control": "C16",
    "test": "tests/house/test_asvs.py::test_the_levels_are_those_of_the_standard",
    "documentation": "security.md#what-is-missing",
}


def test_a_good_row_has_no_fault() -> None:
    assert faults(GOOD, {}) == []
    assert faults(GOOD | {"test": ""}, {"V1.1.1": "later"}) == []
    assert faults(GOOD | {"applies": "no", "why_not": "no such thing", "control": ""}, {}) == []


@pytest.mark.parametrize(
    "change",
    [
        {"test": ""},
        {"test": "tests/house/test_asvs.py::test_that_is_gone"},
        {"test": "tests/house/test_asvs.py"},
        {"test": "tests/house/test_gone.py::test_a"},
        {"test": GOOD["test"] + ";tests/house/test_asvs.py::read"},
        {"control": " "},
        {"why_not": "both"},
        {"applies": "no", "control": ""},
        {"applies": "maybe"},
        {"documentation": "security.md#gone"},
        {"documentation": "gone.md#what-is-missing"},
    ],
)
def test_a_bad_row_is_found(change: dict[str, str]) -> None:
    assert faults(GOOD | change, {}) != []


def test_an_exception_that_is_met_has_to_go() -> None:
    assert faults(GOOD, {"V1.1.1": "later"}) != []
