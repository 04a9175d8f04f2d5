"""Records as JSON for people and programs: decimals as plain strings, instants in UTC, dates as they are."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from portfolio_scheduler.domain.money import plain

Other = Callable[[Any], Any]


def jsonable(thing: object, other: Other | None = None) -> Any:
    """The same as what `msgspec.json` writes right; `other` gives the form of types that nobody else knows."""
    kind = type(thing)
    if kind in _FORMS:
        form = _FORMS[kind]
        return thing if form is None else form(thing)
    if isinstance(thing, Struct):
        return _fields(thing, other)
    if isinstance(thing, Mapping):
        return {_key(key): jsonable(value, other) for key, value in thing.items()}
    if isinstance(thing, list | tuple | set | frozenset):
        return [jsonable(value, other) for value in thing]
    return msgspec.to_builtins(thing, enc_hook=other)


def encoded(thing: object) -> bytes:
    """A record as a JSON document."""
    return msgspec.json.encode(jsonable(thing))


@lru_cache  # a page of rows has few of them
def instant(at: datetime) -> str:
    """An aware instant in UTC: 2026-04-24T10:30:00Z."""
    assert at.tzinfo is not None, f"a naive time: {at}"
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _fields(record: Struct, other: Other | None) -> Any:
    names = _names(type(record))
    if names is None:
        shown = msgspec.to_builtins(record, builtin_types=(Decimal, datetime, date, UUID), enc_hook=other)
        return jsonable(shown, other)
    values = {}
    for name in names:  # a thousand of them on a page, so no call where none is needed
        value = getattr(record, name)
        kind = type(value)
        if kind in _FORMS:
            form = _FORMS[kind]
            values[name] = value if form is None else form(value)
        else:
            values[name] = jsonable(value, other)
    return values


@cache
def _names(kind: type[Struct]) -> tuple[str, ...] | None:
    """The fields of records that are written with all of them under their own names; None for others."""
    config = kind.__struct_config__
    is_usual = not config.omit_defaults and not config.array_like and config.tag is None
    usual = kind.__struct_fields__
    return usual if is_usual and kind.__struct_encode_fields__ == usual else None


def _key(key: object) -> str:
    return key if isinstance(key, str) else str(jsonable(key))


# None: as it is.
_FORMS: dict[type, Callable[[Any], str] | None] = {
    **dict.fromkeys((str, int, bool, type(None), UUID)),
    Decimal: plain,
    datetime: instant,
    date: date.isoformat,
}
