"""What is listed where under which name, and ISINs. Pure."""

import re
from decimal import Decimal

from msgspec import Struct

SYMBOL_LIMIT = 50  # characters of a trading symbol; the longest contract names have some thirty

_ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_SYMBOL = re.compile(rf"[\x21-\x7e](?:[\x20-\x7e]{{0,{SYMBOL_LIMIT - 2}}}[\x21-\x7e])?")
_WORD = re.compile(r"[A-Z0-9_]{1,16}")


class Listing(Struct, frozen=True, kw_only=True):
    """One line of a broker's list of instruments."""

    exchange: str
    segment: str
    trading_symbol: str
    isin: str | None = None
    name: str | None = None
    instrument_type: str | None = None
    lot_size: Decimal | None = None
    tick_size: Decimal | None = None


def is_isin(text: str) -> bool:
    """Whether it is an ISIN with its right check digit (ISO 6166)."""
    if not _ISIN.fullmatch(text):
        return False
    digits = [int(digit) for character in text[:-1] for digit in str(int(character, 36))]
    doubled = (digit * 2 if place % 2 == 0 else digit for place, digit in enumerate(reversed(digits)))
    return -sum(number // 10 + number % 10 for number in doubled) % 10 == int(text[-1])


def is_symbol(text: str) -> bool:
    """Whether it may be a trading symbol: printable ASCII of a sane length."""
    return _SYMBOL.fullmatch(text) is not None


def is_word(text: str) -> bool:
    """Whether it may be the name of an exchange or a segment."""
    return _WORD.fullmatch(text) is not None
