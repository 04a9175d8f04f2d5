"""What others wrote comes pinned, by its hash, from the index that the installer is told of, and as declared."""

import re
import tomllib

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.house.test_rules import ROOT

FOLDER = ROOT / "requirements"
LOCKED = re.compile(
    r"^([a-z0-9._-]+)==(\S+?)(?: ; [^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)
PLACES = re.compile(r"https?://|git\+|file:|--(?:extra-)?index-url|--find-links|--trusted-host")


def loose(text: str) -> list[str]:
    """Lines that are no exact version with its hashes, or say from where."""
    rest = LOCKED.sub("", text)
    return [line for line in rest.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("name", ["run.txt", "dev.txt", "uv.txt"])
def test_every_package_is_pinned_with_its_hashes_and_from_no_place_of_its_own(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert loose(text) == []
    assert not PLACES.search(text)


def test_what_is_declared_is_pinned_and_tests_are_not_in_what_runs() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runs = {match[0] for match in LOCKED.findall((FOLDER / "run.txt").read_text(encoding="utf-8"))}
    declared = {re.split(r"[\[><=~!]", line)[0].lower() for line in told["project"]["dependencies"]}
    assert declared <= runs
    assert not {"pytest", "schemathesis", "hypothesis", "ruff", "mypy", "growwapi"} & runs


def test_the_wheel_holds_the_package_and_nothing_else() -> None:
    shipped = [file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()]
    assert len(shipped) > 100
    assert [path for path in shipped if not path.startswith("portfolio_scheduler/")] == []
    hidden = re.compile(r"(?:^|/)\.|test|\.(?:pem|key|env|pyc)$", re.IGNORECASE)
    assert [path for path in shipped if hidden.search(path) and "latest" not in path] == []


def test_a_loose_line_is_found() -> None:
    good = "a==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"
    assert loose(good) == []
    assert loose(good + "b>=2\n") == ["b>=2"]
    assert loose("a==1.0\n") == ["a==1.0"]
