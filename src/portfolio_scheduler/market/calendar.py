"""The calendar of the Indian exchanges: which days have a session, and to which trading day an observation belongs.

Built once by the composition root, then plain look-ups. Two files beside this module hold what differs from
"Monday to Friday": `closures.csv` is the XBOM calendar of `exchange_calendars`, written out (a test compares the two,
so a newer library that knows more makes it fail and says which lines to add), `special_sessions.csv` is what XBOM
lacks. Written out because importing the library costs half a second and pandas, in every process and every command.
"""

import csv
import zlib
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from importlib.resources import files

from msgspec import Struct

from portfolio_scheduler.clock import ist, ist_date
from portfolio_scheduler.domain.market_days import (
    CLOSED,
    KNOWN_UNTIL,
    SESSION,
    SPECIAL,
    WITHDRAWN,
    MarketDay,
    Session,
)
from portfolio_scheduler.errors import InvalidInput

# What the files cover. Outside, weekdays count as sessions and are marked unknown.
SHIPPED_FROM = date(2020, 1, 1)
SHIPPED_UNTIL = date(2026, 12, 31)

SATURDAY = 5
ONE_DAY = timedelta(days=1)
WARNED_AHEAD = timedelta(days=31)


class Hours(Struct, frozen=True):
    """Regular hours of the cash market from a day on."""

    since: date
    opens: time
    closes: time


# Newest last. The closing auction that begins on 2026-08-03 is a line of its own, because the close of the session is
# a property of the day and not of the product: the auction moves no close that we wait for (the 16:00 run is later).
REGULAR_HOURS = (
    Hours(date(2010, 10, 18), time(9, 15), time(15, 30)),
    Hours(date(2026, 8, 3), time(9, 15), time(15, 30)),
)


class Calendar:
    """Sessions of one exchange. All days are dates in India, all instants aware.

    A process builds one and keeps it; what is announced while it runs is added by `announce`.
    """

    edition: int  # another whenever other announcements count

    def __init__(self, exchange: str, overrides: Sequence[MarketDay] = ()) -> None:
        self._exchange = exchange
        self._announced: Sequence[MarketDay] | None = None
        self.announce(overrides)

    def announce(self, days: Sequence[MarketDay]) -> None:
        """Put these announcements, and none that were put before, on top of the shipped calendar."""
        if days == self._announced:
            return
        closed, special = set(shipped_closures()), {session.on: session for session in shipped_special_sessions()}
        known_until = SHIPPED_UNTIL
        for day in days:
            if day.exchange != self._exchange or day.kind == WITHDRAWN:
                continue
            if day.kind == KNOWN_UNTIL:
                known_until = max(known_until, day.day_on)
            elif day.kind == CLOSED:
                closed.add(day.day_on)
                special.pop(day.day_on, None)
            else:
                special[day.day_on] = announced(day)
        ours = [day for day in days if day.exchange == self._exchange and day.kind not in {WITHDRAWN, KNOWN_UNTIL}]
        self._notes = shipped_notes() | {day.day_on: day.note for day in ours}
        self._entered = frozenset(day.day_on for day in ours)
        self._closed, self._special, self._known_until = frozenset(closed), special, known_until
        self._announced = list(days)
        self.edition = zlib.crc32(repr(self._announced).encode())

    @property
    def known_until(self) -> date:
        """The last day the regular calendar knows; after it, every weekday counts as a session, marked unknown."""
        return self._known_until

    def session(self, on: date) -> Session | None:
        """The session of a day; None when the exchange is closed."""
        special = self._special.get(on)
        if special is not None:
            return special
        if on.weekday() >= SATURDAY or on in self._closed:
            return None
        hours = regular_hours(on)
        return Session(
            on=on,
            opens_at=_at(on, hours.opens),
            closes_at=_at(on, hours.closes),
            known=SHIPPED_FROM <= on <= self._known_until,
        )

    def is_session(self, on: date) -> bool:
        return on in self._special or (on.weekday() < SATURDAY and on not in self._closed)

    def is_known(self, on: date) -> bool:
        """Whether the calendar knows what this day is, rather than taking a weekday for a session."""
        special = self._special.get(on)
        if special is not None:
            return special.known
        return on in self._closed or SHIPPED_FROM <= on <= self._known_until

    def note(self, on: date) -> str | None:
        """What the shipped files or an announcement say about a day."""
        return self._notes.get(on)

    def is_announced(self, on: date) -> bool:
        """Whether what is known of this day was entered by the owner."""
        return on in self._entered

    def remark(self, on: date) -> str | None:
        """What is out of the ordinary about a day, for people."""
        session = self.session(on)
        if session is None:
            note = self.note(on)
            return f"the exchange is closed: {note}" if note else "the exchange is closed"
        if not session.known:
            return session.note or "not known whether the exchange is open"
        return f"special session: {session.note}" if session.kind == SPECIAL else session.note

    def trading_on(self, observed_at: datetime) -> date:
        """The trading day an observation belongs to: the latest session whose open is not after it.

        So 02:00 on Tuesday is Monday's, and the afternoon before a Diwali evening session is the day before's.
        """
        if observed_at.tzinfo is None:
            raise InvalidInput(f"{observed_at.isoformat()} has no time zone; an aware instant is needed.")
        today = ist_date(observed_at)
        session = self.session(today)
        if session is not None and session.opens_at <= observed_at:
            return today
        return self.previous(today)

    def closes_at(self, on: date) -> datetime:
        """The instant the session of a day ends; `InvalidInput` for a day without one."""
        session = self.session(on)
        if session is None:
            raise InvalidInput(f"{on} is not a trading day; the one before it is {self.previous(on)}.")
        return session.closes_at

    def previous(self, on: date) -> date:
        """The latest trading day before this date."""
        on -= ONE_DAY
        while not self.is_session(on):
            on -= ONE_DAY
        return on

    def next(self, on: date) -> date:
        """The first trading day after this date."""
        on += ONE_DAY
        while not self.is_session(on):
            on += ONE_DAY
        return on

    def sessions(self, first: date, last: date) -> list[Session]:
        """The sessions from one date to another, both included, oldest first."""
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return [session for on in days if (session := self.session(on)) is not None]

    def warnings(self, today: date) -> list[str]:
        """What is not known of the month to come, and what to do about it: a sentence or two each."""
        soon = today + WARNED_AHEAD
        found = [
            f"On {session.on} there is a special session whose hours are not known ({session.note}). When they are: "
            f"portfolio-scheduler market-days add {session.on} --opens HH:MM --closes HH:MM --source WHERE"
            for session in self.sessions(today, soon)
            if session.kind == SPECIAL and not session.known
        ]
        if soon > self._known_until:
            found.append(
                f"The exchange's days are known until {self._known_until} only; after that every weekday counts as a "
                "session, marked unknown. Install the newest release, or enter the exchange's list of holidays: "
                "portfolio-scheduler market-days import FILE --source WHERE --known-until LAST_DAY"
            )
        return found

    def between(self, after: datetime, until: datetime) -> list[Session]:
        """The sessions of all days in India that these instants touch."""
        return self.sessions(ist_date(after), ist_date(until))


def make_calendar(overrides: Sequence[MarketDay] = (), exchange: str = "NSE") -> Calendar:
    """The shipped calendar with the announcements of one exchange (rows of `market_days`) on top.

    NSE and BSE keep the same days. An announcement for another exchange is left out.
    """
    return Calendar(exchange, overrides)


def regular_hours(on: date) -> Hours:
    """The hours in force on a day; before the first line, the first line's."""
    return next((hours for hours in reversed(REGULAR_HOURS) if hours.since <= on), REGULAR_HOURS[0])


def shipped_closures() -> list[date]:
    """Weekdays on which the exchange is closed."""
    return [date.fromisoformat(row["day_on"]) for row in _rows("closures.csv")]


def shipped_notes() -> dict[date, str | None]:
    """What the files say about days, for people."""
    rows = _rows("closures.csv") + _rows("special_sessions.csv")
    return {date.fromisoformat(row["day_on"]): row["note"] or None for row in rows}


def shipped_special_sessions() -> list[Session]:
    """Sessions on weekends and holidays, and days with hours of their own."""
    return [
        Session(
            on=(on := date.fromisoformat(row["day_on"])),
            opens_at=_at(on, time.fromisoformat(row["opens"])),
            closes_at=_at(on, time.fromisoformat(row["closes"])),
            kind=SPECIAL,
            known=row["known"] == "yes",
            note=row["note"],
        )
        for row in _rows("special_sessions.csv")
    ]


def announced(day: MarketDay) -> Session:
    """The session that an announcement makes; `InvalidInput` when it makes no sense."""
    if day.kind not in {SESSION, SPECIAL} or day.opens_at is None or day.closes_at is None:
        raise InvalidInput(
            f"The market day {day.day_on} of {day.exchange} has the kind {day.kind!r}, opens {day.opens_at}, "
            f"closes {day.closes_at}; it must be session or special with both times, or closed with none."
        )
    if not (ist_date(day.opens_at) == day.day_on and day.opens_at < day.closes_at):
        raise InvalidInput(
            f"The market day {day.day_on} of {day.exchange} opens {day.opens_at} and closes {day.closes_at}; "
            "it must open on that day in India, before it closes."
        )
    return Session(on=day.day_on, opens_at=day.opens_at, closes_at=day.closes_at, kind=day.kind, note=day.note)


def _rows(name: str) -> list[dict[str, str]]:
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _at(on: date, wall: time) -> datetime:
    return ist(on, wall.hour, wall.minute)
