"""Records as JSON: whatever their shape, nothing is a float, nothing is in exponents, every instant is in UTC."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from portfolio_scheduler.domain.plain_json import encoded, jsonable

ID = UUID("01a22133-643d-754a-968c-15c9ad68ae04")
IST = timezone(timedelta(hours=5, minutes=30))


class Colour(Enum):
    RED = "red"


class Inner(Struct, frozen=True):
    amount: Decimal
    at: datetime


class Usual(Struct, frozen=True):
    id: UUID
    amount: Decimal | None
    on: date
    at: datetime
    inner: Inner
    notes: tuple[str, ...]
    by_day: dict[date, Decimal]
    open: bool


class Brief(Struct, frozen=True, omit_defaults=True):
    amount: Decimal = Decimal(0)
    inner: Inner | None = None
    notes: tuple[str, ...] = ()


class Row(Struct, frozen=True, array_like=True):
    amount: Decimal
    on: date


class Renamed(Struct, frozen=True, rename="camel"):
    net_amount: Decimal


NOON = datetime(2026, 4, 24, 12, 0, tzinfo=IST)
INNER = Inner(Decimal("1E+2"), NOON)


@pytest.mark.parametrize(
    ("thing", "document"),
    [
        (
            Usual(
                ID,
                Decimal("10.500"),
                date(2026, 4, 24),
                NOON,
                INNER,
                ("a",),
                {date(2026, 4, 1): Decimal("-0.00")},
                True,
            ),
            (
                f'{{"id":"{ID}","amount":"10.5","on":"2026-04-24","at":"2026-04-24T06:30:00Z",'
                '"inner":{"amount":"100","at":"2026-04-24T06:30:00Z"},"notes":["a"],"by_day":{"2026-04-01":"0"},"open":true}'
            ),
        ),
        (Brief(), "{}"),
        (Brief(inner=INNER), '{"inner":{"amount":"100","at":"2026-04-24T06:30:00Z"}}'),
        (Row(Decimal("1.10"), date(2026, 4, 24)), '["1.1","2026-04-24"]'),
        (Renamed(Decimal("7.0")), '{"netAmount":"7"}'),
        ([None, 1, "ä", {"x": (Decimal("1E-7"),)}, Colour.RED], '[null,1,"ä",{"x":["0.0000001"]},"red"]'),
        (datetime(2026, 4, 24, 6, 30, 0, 1, tzinfo=UTC), '"2026-04-24T06:30:00.000001Z"'),
    ],
)
def test_every_kind_of_record_is_written_plainly(thing: object, document: str) -> None:
    assert encoded(thing).decode() == document


def test_what_nobody_knows_needs_a_form() -> None:
    assert jsonable({"where": Path("a")}, str) == {"where": "a"}
    with pytest.raises(TypeError):
        jsonable({"where": Path("a")})


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_the_same_number_without_exponent_and_trailing_zeros(value: Decimal) -> None:
    text = msgspec.json.decode(encoded(value))
    assert Decimal(text) == value
    assert "E" not in text
    assert not ("." in text and text.endswith(("0", ".")))
