"""Failpoints do nothing in production, and have names that tell them apart."""

import os
import subprocess
import sys

import pytest

from portfolio_scheduler.failpoints import SWITCH
from tests.crash.points import failpoints

ASK = """
from portfolio_scheduler import failpoints
from portfolio_scheduler.errors import Conflict
reached = []
try:
    failpoints.arm(reached.append)
except Conflict as error:
    print(error.message)
failpoints.failpoint("claimed")
print(reached, failpoints.failpoint.__name__)
"""


def asked(**more: str) -> list[str]:
    """What a new process says that was started so."""
    environ = {name: value for name, value in os.environ.items() if name != SWITCH} | more
    ran = subprocess.run([sys.executable, "-c", ASK], env=environ, capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()


def test_without_the_switch_nothing_can_be_triggered() -> None:
    assert asked() == [f"Failpoints are off: this process was started without {SWITCH}.", "[] _nothing"]


def test_with_the_switch_the_harness_is_told_of_each_point() -> None:
    assert asked(**{SWITCH: "1"}) == ["['claimed'] _reached"]


def test_the_source_has_a_dozen_points_and_each_name_stands_in_one_place() -> None:
    points = failpoints()
    assert len(points) >= 12
    assert [name for name in points if points.count(name) > 1] == []


@pytest.mark.parametrize(
    "source", ["failpoint(name)", 'failpoint(f"{x}")', "f = failpoint", 'failpoint("a", 1)', 'fp.failpoint("a")']
)
def test_a_point_that_the_harness_would_not_find_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="literal"):
        failpoints({"x.py": f"from portfolio_scheduler.failpoints import failpoint\n{source}"})
