"""Pages of lists: how many, from where on. A cursor holds the sort keys of the last row, so that rows that come in
meanwhile shift nothing; it is checked like any other input."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import msgspec
from litestar.params import QueryParameter
from msgspec import Struct

from portfolio_scheduler.errors import InvalidInput

MOST = 200
USUAL = 50
LONGEST_CURSOR = 600

T = TypeVar("T")

Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=MOST, description="Rows of a page.")]
Cursor = Annotated[
    str | None,
    QueryParameter(
        name="cursor",
        min_length=1,
        max_length=LONGEST_CURSOR,
        description="`next` of the page before; left out: the first.",
    ),
]


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """A page of a list. `next` is null on the last one."""

    items: list[T]
    next: str | None


def cursor_of(keys: Struct) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(keys)).decode().rstrip("=")


def keys_of(cursor: str, kind: type[T]) -> T:
    """The keys that `cursor_of` wrote into a cursor of this kind of list; anything else is `InvalidInput`."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        return msgspec.json.decode(text, type=kind)
    except (UnicodeEncodeError, binascii.Error, ValueError) as e:
        raise InvalidInput(
            "`cursor` is not one that this list gave; take `next` of the page before, or leave it out."
        ) from e


def page_of(rows: Sequence[tuple[Any, ...]], limit: int, kind: type[T], keys: Callable[[T], Struct]) -> Page[T]:
    """A page of rows whose columns are the fields of `kind`, in order; one row more than `limit` was asked for."""
    names = kind.__struct_fields__  # type: ignore[attr-defined]
    items = [kind(**dict(zip(names, row, strict=True))) for row in rows[:limit]]
    return Page(items=items, next=cursor_of(keys(items[-1])) if len(rows) > limit else None)


class Newest(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of a list by time ended."""

    at: datetime
    id: UUID


def newest_params(limit: int, cursor: str | None) -> dict[str, Any]:
    """What queries of lists by time take."""
    after = keys_of(cursor, Newest) if cursor else None
    return {"after_at": after.at if after else None, "after_id": after.id if after else None, "limit": limit + 1}
