"""Named points of the sync at which the crash harness of the tests kills, stops or disturbs a process.

In production nothing happens at them: only a process that was started with PORTFOLIO_SCHEDULER_FAILPOINTS in its
environment can be armed, which is decided once, when this module is imported. It is no setting; nobody else needs it.
"""

import os
from collections.abc import Callable

from portfolio_scheduler.errors import Conflict

SWITCH = "PORTFOLIO_SCHEDULER_FAILPOINTS"

_armed: list[Callable[[str], None]] = []


def _nothing(name: str) -> None:
    """What happens at a point in production."""


def _reached(name: str) -> None:
    for act in _armed:
        act(name)


CAN_BE_ARMED = SWITCH in os.environ
failpoint = _reached if CAN_BE_ARMED else _nothing


def arm(act: Callable[[str], None]) -> None:
    """From now on do this at every point, in place of what was armed before."""
    if not CAN_BE_ARMED:
        raise Conflict(f"Failpoints are off: this process was started without {SWITCH}.")
    _armed[:] = [act]
