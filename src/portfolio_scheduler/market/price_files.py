"""Files of closing prices: NSE's and BSE's bhavcopy in its old and its UDiFF form, or plain columns. Pure.

Old form, until July 2024: SYMBOL, SERIES, …, CLOSE, …, TIMESTAMP, …, ISIN. UDiFF, since then: TradDt, …, Sgmt, Src,
FinInstrmTp, …, ISIN, TckrSymb, SctySrs, …, ClsPric. Plain: `date`, `isin` or `symbol`, `close`, maybe `exchange`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache

from msgspec import Struct

from portfolio_scheduler.domain.instruments import is_isin, is_symbol, is_word
from portfolio_scheduler.domain.money import decimal
from portfolio_scheduler.domain.tables import BadLine, Table, field
from portfolio_scheduler.errors import InvalidInput

HIGHEST = Decimal(10) ** 9  # rupees for one unit; the dearest share costs some lakhs
FIRST_ON = date(1994, 11, 3)  # the first day of trading in shares on the NSE

# An ISIN may trade in several series on one day; the first of these is its price.
SERIES = {"EQ": 0, "BE": 1, "BZ": 2, "SM": 3, "ST": 4}
OTHER_SERIES = 9
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_OLD_DATE = re.compile(r"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})")


class Close(Struct, frozen=True, kw_only=True):
    """A closing price as a file has it: of an ISIN, or of a symbol that is yet to be looked up."""

    line: int
    priced_on: date
    isin: str | None
    exchange: str | None
    trading_symbol: str | None
    rank: int  # of its series: the lowest of an ISIN counts
    price: Decimal


Row = Sequence[str]
Places = Sequence[int | None]


def closes(lines: Iterable[str]) -> Iterator[Close | BadLine]:
    """The prices of a file in the order of its lines. `InvalidInput` when it has none of the forms we know."""
    table = Table(lines)
    read, wanted = _form(table)
    places = table.places(wanted)
    for number, row in table.rows():
        if isinstance(row, BadLine):
            yield row
            continue
        found: Close | BadLine | None
        try:
            found = read(number, row, places)
        except InvalidInput as error:
            found = BadLine(line=number, reason=error.message)
        if found is not None:
            yield found


Reader = Callable[[int, Row, Places], Close | None]


def _form(table: Table) -> tuple[Reader, Sequence[str]]:
    columns = set(table.columns)
    if {"SYMBOL", "SERIES", "CLOSE", "TIMESTAMP", "ISIN"} <= columns:
        return _old, ("TIMESTAMP", "ISIN", "SYMBOL", "SERIES", "CLOSE")
    if {"TradDt", "Sgmt", "Src", "FinInstrmTp", "ISIN", "TckrSymb", "SctySrs", "ClsPric"} <= columns:
        return _udiff, ("TradDt", "ISIN", "TckrSymb", "SctySrs", "ClsPric", "Sgmt", "Src", "FinInstrmTp")
    table.columns = tuple(name.lower() for name in table.columns)
    columns = set(table.columns)
    if {"date", "close"} <= columns and columns & {"isin", "symbol"}:
        return _plain, ("date", "isin", "symbol", "exchange", "close")
    raise InvalidInput(
        "This is no file of closing prices: its first line must name the columns of a bhavcopy (SYMBOL, SERIES, CLOSE, "
        "TIMESTAMP, ISIN or TradDt, Sgmt, Src, FinInstrmTp, ISIN, TckrSymb, SctySrs, ClsPric), or date, isin or "
        "symbol, close."
    )


def _old(number: int, row: Row, places: Places) -> Close:
    on, isin, symbol, series, price = (field(row, place) for place in places)
    return Close(
        line=number,
        priced_on=_day(on),
        isin=_isin(isin),
        exchange="NSE",
        trading_symbol=_symbol(symbol),
        rank=SERIES.get(series, OTHER_SERIES),
        price=_price(price),
    )


def _udiff(number: int, row: Row, places: Places) -> Close | None:
    on, isin, symbol, series, price, segment, exchange, kind = (field(row, place) for place in places)
    if segment != "CM" or kind != "STK":
        return None  # contracts and the like: they have no ISIN of their own
    return Close(
        line=number,
        priced_on=_day(on),
        isin=_isin(isin),
        exchange=_exchange(exchange),
        trading_symbol=_symbol(symbol),
        rank=SERIES.get(series, OTHER_SERIES),
        price=_price(price),
    )


def _plain(number: int, row: Row, places: Places) -> Close:
    on, isin, symbol, exchange, price = (field(row, place) for place in places)
    if not isin and not symbol:
        raise InvalidInput("names neither an ISIN nor a symbol")
    return Close(
        line=number,
        priced_on=_day(on),
        isin=_isin(isin) if isin else None,
        exchange=_exchange(exchange) if exchange else None,
        trading_symbol=_symbol(symbol) if symbol else None,
        rank=0,
        price=_price(price),
    )


@lru_cache(maxsize=4096)
def _day(text: str) -> date:
    old = _OLD_DATE.fullmatch(text)
    try:
        if old and old[2].upper() in MONTHS:
            found = date(int(old[3]), MONTHS.index(old[2].upper()) + 1, int(old[1]))
        elif re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            found = date.fromisoformat(text)
        else:
            raise ValueError
    except ValueError:
        raise InvalidInput(f"{text[:20]!r} is no date like 2026-04-24 or 24-APR-2026") from None
    if found < FIRST_ON:
        raise InvalidInput(f"{found} is before there were such prices")
    return found


def _price(text: str) -> Decimal:
    if not text:
        raise InvalidInput("has no close")
    try:
        price = decimal(text)
    except InvalidInput:
        raise InvalidInput(f"{text[:20]!r} is no price") from None
    if price <= 0 or price > HIGHEST:
        raise InvalidInput(f"{text[:20]} is no price: more than 0 and at most {HIGHEST} rupees are expected")
    return price


def _isin(text: str) -> str:
    if not is_isin(text):
        raise InvalidInput(f"{text[:20]!r} is no ISIN" if text else "has no ISIN")
    return text


def _symbol(text: str) -> str:
    if not is_symbol(text):
        raise InvalidInput(f"{text[:40]!r} is no trading symbol")
    return text


def _exchange(text: str) -> str:
    if not is_word(text):
        raise InvalidInput(f"{text[:20]!r} is no exchange")
    return text
