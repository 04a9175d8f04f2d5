"""Answers as files: CSV for spreadsheets, Parquet for programs, each with a fixed name.

A cell that a spreadsheet could take for a formula begins with a quote; numbers stay numbers.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import Struct

from portfolio_scheduler.domain.money import rounded
from portfolio_scheduler.errors import Unprocessable

FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"-?\d+(\.\d+)?")
DIGITS, PLACES = 38, 12  # of a decimal in Parquet: all that is ever stored fits; products are rounded to the places
STEP = Decimal(1).scaleb(-PLACES)


def as_csv(items: Sequence[Mapping[str, Any]], record: type[Struct]) -> bytes:
    """Rows with a heading; what is not known is empty."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    names = record.__struct_fields__
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in items)
    return out.getvalue().encode()


def _cell(value: Any) -> str:
    text = _text(value)
    if text.startswith(FORMULA) and not NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return "; ".join(map(_text, value))
        case dict():
            return "; ".join(f"{name}: {_text(each)}" for name, each in value.items())
        case _:
            return str(value)


def as_parquet(items: Sequence[Mapping[str, Any]], record: type[Struct]) -> bytes:
    """The same with types: decimals, dates, instants. Needs the extra `parquet`."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional extra of 40 MB
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise Unprocessable(
            "This service cannot write Parquet: `pip install portfolio-scheduler[parquet]` on its machine adds it. "
            "CSV and JSON need nothing."
        ) from error
    rows = msgspec.convert(items, list[record], strict=False)  # type: ignore[valid-type]
    hints = get_type_hints(record)
    fields = [pa.field(name, _arrow(pa, hints[name])) for name in record.__struct_fields__]
    columns = {field.name: [_plain(getattr(row, field.name), field.type, pa) for row in rows] for field in fields}
    out = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns, schema=pa.schema(fields)), out, compression="zstd")
    return bytes(out.getvalue())


def _arrow(pa: Any, kind: Any) -> Any:
    kinds = get_args(kind) if type(None) in get_args(kind) else (kind,)
    for known, made in (
        (Decimal, pa.decimal128(DIGITS, PLACES)),
        (datetime, pa.timestamp("us", tz="UTC")),
        (date, pa.date32()),
        (bool, pa.bool_()),
        (int, pa.int64()),
    ):
        if known in kinds:
            return made
    return pa.list_(pa.string()) if list[str] in kinds else pa.string()


def _plain(value: Any, kind: Any, pa: Any) -> Any:
    if isinstance(value, Decimal):
        return rounded(value, STEP)
    if value is not None and kind == pa.string() and not isinstance(value, str):
        return _text(msgspec.to_builtins(value))
    return value
