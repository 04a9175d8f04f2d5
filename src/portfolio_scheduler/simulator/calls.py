"""One call of the Trade API, as the functions that answer it see it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from portfolio_scheduler.simulator.accounts import Account
from portfolio_scheduler.simulator.answers import Answer, bad_request
from portfolio_scheduler.simulator.limits import CallType
from portfolio_scheduler.simulator.world import World

Body = TypeVar("Body")


class Query(Protocol):
    """The parameters of a call, each possibly several times."""

    def get(self, key: str, /) -> str | None: ...

    def getall(self, key: str, default: list[str], /) -> list[str]: ...


@dataclass(slots=True)
class Call:
    world: World
    account: Account
    now: int
    query: Query
    tail: str = ""  # what follows the route in the path, e.g. an order id
    body: bytes = b""

    def required(self, name: str) -> str:
        value = self.query.get(name)
        if not value:
            raise bad_request(f"Missing required parameter: {name}")
        return value

    def number(self, name: str, default: int) -> int:
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdecimal() or len(text) > 9:
            raise bad_request(f"Invalid {name}: {text}")
        return int(text)

    def decoded(self, wanted: type[Body]) -> Body:
        try:
            return msgspec.json.decode(self.body, type=wanted)
        except msgspec.MsgspecError as e:
            raise bad_request(f"Invalid request body: {e}") from e


class Route(NamedTuple):
    call_type: CallType
    answer: Callable[[Call], Answer]
