"""Files of days at the exchange: the NSE's list of holidays, or plain columns. Pure.

The NSE's list has the columns SR. NO, DATE, DAY, DESCRIPTION. Plain: `date`, maybe `opens`, `closes`, `note`, `source`,
`exchange`; a day with hours is a session, one without is closed.
"""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time

from portfolio_scheduler.clock import ist
from portfolio_scheduler.domain.instruments import is_word
from portfolio_scheduler.domain.market_days import CLOSED, SPECIAL, MarketDay
from portfolio_scheduler.domain.tables import BadLine, Table, field
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.market.calendar import announced

COLUMNS = ("date", "opens", "closes", "note", "source", "exchange", "description")
DATES = ("%Y-%m-%d", "%d-%b-%Y", "%d-%B-%Y", "%B %d, %Y")
LONGEST = 200  # characters of a note or a source


def days(lines: Iterable[str], source: str) -> Iterator[MarketDay | BadLine]:
    """The days of a file in the order of its lines. `source` holds where a line names none."""
    table = Table(lines)
    table.columns = tuple(name.lower() for name in table.columns)
    if "date" not in table.columns:
        raise InvalidInput(
            "This is no file of days: its first line must name the columns, a date at least (date, opens, closes, "
            "note, source, exchange, or the NSE's SR. NO, DATE, DAY, DESCRIPTION)."
        )
    places = table.places(COLUMNS)
    for number, row in table.rows():
        if isinstance(row, BadLine):
            yield row
            continue
        on, opens, closes, note, named, exchange, description = (field(row, place) for place in places)
        try:
            yield market_day(
                day_in(on),
                opens=time_in(opens),
                closes=time_in(closes),
                note=note or description or None,
                source=named or source,
                exchange=exchange or "NSE",
            )
        except InvalidInput as error:
            yield BadLine(line=number, reason=error.message)


def market_day(
    on: date, *, opens: time | None, closes: time | None, note: str | None, source: str, exchange: str = "NSE"
) -> MarketDay:
    """An announcement that makes sense, or `InvalidInput`: a session with both times, or a closed day with none."""
    if not is_word(exchange):
        raise InvalidInput(f"{exchange[:20]!r} is no exchange; NSE is one.")
    for text, what in ((note or "", "note"), (source, "source")):
        if len(text) > LONGEST or not text.isprintable():
            raise InvalidInput(f"A {what} is one line of at most {LONGEST} characters.")
    if not source:
        raise InvalidInput("Who says so? Give a source, such as the number of the exchange's circular.")
    if opens is None and closes is None:
        return MarketDay(exchange=exchange, day_on=on, kind=CLOSED, note=note, source=source)
    if opens is None or closes is None:
        raise InvalidInput(f"The session of {on} needs the time it opens and the time it closes.")
    day = MarketDay(
        exchange=exchange,
        day_on=on,
        kind=SPECIAL,
        opens_at=ist(on, opens.hour, opens.minute),
        closes_at=ist(on, closes.hour, closes.minute),
        note=note,
        source=source,
    )
    announced(day)
    return day


def day_in(text: str) -> date:
    for form in DATES:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            continue
    raise InvalidInput(f"{text[:20]!r} is no date like 2027-01-26 or 26-Jan-2027")


def time_in(text: str) -> time | None:
    """A time of the day in India like 09:15; nothing is None."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a time of the day has no zone
    except ValueError:
        raise InvalidInput(f"{text[:20]!r} is no time of the day like 18:15") from None
