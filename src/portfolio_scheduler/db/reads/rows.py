"""How every read here comes back: one JSON document, decoded into records at once, decimals exact."""

from collections.abc import Mapping
from functools import cache
from typing import Any, LiteralString, TypeVar, cast

import msgspec

from portfolio_scheduler.db.documents import read
from portfolio_scheduler.db.pool import Tx

T = TypeVar("T")


async def rows(tx: Tx, query: LiteralString, parameters: Mapping[str, Any], record: type[T]) -> list[T]:
    """The rows of a query as records, in its order. Columns that the record does not name are left out."""
    statement: LiteralString = f"SELECT coalesce(json_agg(r), '[]')::text FROM ({query}) r"  # noqa: S608 - literals
    decoder: msgspec.json.Decoder[list[T]] = _decoder(cast(Any, record))
    return await read(tx, statement, parameters, decoder)


@cache
def _decoder(record: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(list[record])
