"""Exact numbers: the one place where text becomes a `Decimal`, and the bounds every number must keep.

Money, prices and quantities are `Decimal` from the broker's bytes to PostgreSQL's `numeric` and back out as strings.
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal

from portfolio_scheduler.errors import InvalidInput

ZERO = Decimal(0)
LIMIT = Decimal(10) ** 13  # rupees or units; the largest balance sheet in the country is smaller
MAX_PLACES = 12  # digits after the point that we keep; more is a broken answer, not precision
PAISA = Decimal("0.01")
WIDE = Context(prec=60)  # a price times a quantity has up to 26 digits before the point and 24 after it

_PLAIN = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")


def decimal(text: str) -> Decimal:
    """Read a number exactly. No "NaN", no "1_000", no spaces, nothing beyond `LIMIT` or finer than `MAX_PLACES`."""
    if not _PLAIN.fullmatch(text):
        raise InvalidInput(f"not a plain decimal number: {text[:40]!r}")
    return checked(Decimal(text))


def checked(value: Decimal) -> Decimal:
    """The same value, normalised so that equal amounts look equal; out of bounds is `InvalidInput`."""
    if not value.is_finite():
        raise InvalidInput(f"not a finite number: {value}")
    if value.copy_abs() >= LIMIT:  # not abs(): it rounds
        raise InvalidInput(f"a number of {value.adjusted() + 1} digits is out of bounds")
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # it is finite
    if not any(digits):
        return ZERO  # one zero: no -0, no 0.00
    # Not normalize(): it rounds to the precision of the context, so 1.000…0001 would silently become 1.
    while exponent < 0 and digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    if -exponent > MAX_PLACES:
        raise InvalidInput(f"a number with {-exponent} decimal places is out of bounds")
    return Decimal((sign, digits + (0,) * exponent, min(exponent, 0)))


def plain(value: Decimal) -> str:
    """The number as text without exponent and without trailing zeros: the form used in JSON."""
    if not value:
        return "0"  # whatever its sign and exponent
    text = str(value)
    if "E" in text:
        text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(value: Decimal, step: Decimal = PAISA) -> Decimal:
    """Rounded half to even to the paisa; used only where a figure is shown or totalled, never on what is stored."""
    return value.quantize(step, ROUND_HALF_EVEN, WIDE)


def grouped(value: Decimal) -> str:
    """Digits grouped as in India: 12,34,567.00. Two decimals. What rounds to nothing has no sign."""
    value = rounded(value)
    return _pairs(f"{value:f}" if value else "0.00")


def units(value: Decimal) -> str:
    """A quantity for people: digits grouped as in India, no trailing zeros: 1,00,000 or 12.345."""
    return _pairs(plain(value))


def _pairs(number: str) -> str:
    """Commas into the whole part of a number: three digits, then pairs."""
    sign = "-" if number.startswith("-") else ""
    whole, point, fraction = number.lstrip("-").partition(".")
    head, tail = whole[:-3], whole[-3:]
    pairs: list[str] = []
    while head:
        pairs.insert(0, head[-2:])
        head = head[:-2]
    return f"{sign}{','.join([*pairs, tail])}{point}{fraction}"


def rupees(value: Decimal) -> str:
    """An amount for people: ₹12,34,567.00, the sign before the symbol."""
    text = grouped(value)
    return f"-₹{text[1:]}" if text.startswith("-") else f"₹{text}"
