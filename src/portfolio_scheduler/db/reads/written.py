"""Answers that PostgreSQL writes: pages of rows as JSON text, in the form that records have everywhere else.

Decoding rows in Python and encoding them again costs more than finding them, so hot lists leave the database as the
text that is sent. Parts of a document are set apart by a character that JSON text never contains.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString, get_args, get_type_hints

from msgspec import Struct

APART = b"\x1e"

_PAGE: LiteralString = """
SELECT coalesce(json_agg(i.item) FILTER (WHERE i.n <= %(size)s), '[]')::text || chr(30)
    || coalesce((min(i.keys) FILTER (WHERE i.n = %(size)s AND i.total > %(size)s)), '')
FROM (SELECT {item} AS item, row_number() OVER () AS n, count(*) OVER () AS total,
    CASE WHEN row_number() OVER () = %(size)s THEN json_build_array({keys})::text END AS keys FROM ({query}) r) i
"""


def page(query: LiteralString, record: type[Struct], keys: Sequence[LiteralString]) -> LiteralString:
    """The rows of a query as items, and the sort keys of the last one where more follow. The query asks for one more
    row than `size`."""
    return _PAGE.replace("{item}", item(record)).replace("{keys}", ", ".join(keys)).replace("{query}", query)


def item(record: type[Struct], of: LiteralString = "r") -> LiteralString:
    """A JSON object with the fields of a record: decimals as plain strings, instants in UTC."""
    hints = get_type_hints(record)
    pairs = [f"'{name}', {_expression(f'{of}.{name}', hints[name])}" for name in record.__struct_fields__]
    return f"json_build_object({', '.join(pairs)})"


def _expression(column: str, kind: Any) -> str:
    kinds = get_args(kind) or (kind,)
    if Decimal in kinds:
        return f"trim_scale({column}::numeric)::text"
    if datetime in kinds:
        return f"replace(({column} AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'"
    return column


def parts(document: bytes) -> list[bytes]:
    return document.split(APART)


def cursor(keys: bytes) -> str | None:
    """`next` of a page: its last row's keys, as `web/listing.py` reads them back."""
    return base64.urlsafe_b64encode(keys).decode().rstrip("=") if keys else None
