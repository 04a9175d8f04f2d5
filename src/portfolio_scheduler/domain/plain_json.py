"""Records as JSON for people and programs: decimals as plain strings, instants in UTC, dates as they are."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from portfolio_scheduler.domain.money import plain


def jsonable(thing: object, other: Callable[[Any], Any] | None = None) -> Any:
    """The same as what JSON has a form for; `other` gives the form of types that nobody else knows."""
    return _worded(msgspec.to_builtins(thing, builtin_types=(Decimal, datetime, date), enc_hook=other))


def encoded(thing: object) -> bytes:
    """A record as a JSON document."""
    return msgspec.json.encode(jsonable(thing))


def instant(at: datetime) -> str:
    """An aware instant in UTC: 2026-04-24T10:30:00Z."""
    assert at.tzinfo is not None, f"a naive time: {at}"
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _worded(thing: object) -> object:
    match thing:
        case dict():
            return {_key(key): _worded(value) for key, value in thing.items()}
        case list() | tuple():
            return [_worded(value) for value in thing]
        case Decimal():
            return plain(thing)
        case datetime():
            return instant(thing)
        case date():
            return thing.isoformat()
        case _:
            return thing


def _key(key: object) -> str:
    return key if isinstance(key, str) else str(_worded(key))
