"""Reads that were asked before, by their very address: what the framework made of it need not be found out again.

Routing, the types of parameters and dependencies cost a read more than its answer does. They follow from the address
alone, and an address that was a good question stays one. What does not follow from it is asked each time, by the same
functions as ever: who asks, what they may see, and whether the answer is still the same (`front.py`).
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

from litestar.types import HTTPScope

if TYPE_CHECKING:
    from portfolio_scheduler.web.reading import Asked

REMEMBERED = 4096  # addresses, two kilobytes each
LONGEST = 1000

Address: TypeAlias = tuple[str, bytes, str]


class Repeats:
    """The last used ones. Belongs to one process."""

    def __init__(self) -> None:
        self._asked: OrderedDict[Address, Asked] = OrderedDict()

    def get(self, scope: HTTPScope, accept: str) -> "Asked | None":
        asked = self._asked.get(address := _address(scope, accept))
        if asked is not None:
            self._asked.move_to_end(address)
        return asked

    def put(self, scope: HTTPScope, accept: str, asked: "Asked") -> None:
        """Remember a question, unless it is an uncommonly long one."""
        address = _address(scope, accept)
        if sum(map(len, address)) + len(asked.told.given) > LONGEST:
            return
        self._asked[address] = asked
        if len(self._asked) > REMEMBERED:
            self._asked.popitem(last=False)

    def forget(self, scope: HTTPScope, accept: str) -> None:
        self._asked.pop(_address(scope, accept), None)


def _address(scope: HTTPScope, accept: str) -> Address:
    return scope["path"], scope["query_string"], accept
