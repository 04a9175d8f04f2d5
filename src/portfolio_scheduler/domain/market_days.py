"""Days at the exchange: what was announced about one, and the session that takes place on it."""

from datetime import date, datetime

from msgspec import Struct

SESSION = "session"  # a regular trading day
SPECIAL = "special"  # a session outside the regular calendar or with other hours
CLOSED = "closed"
WITHDRAWN = "withdrawn"  # what was announced about the day before does not count
KNOWN_UNTIL = "known_until"  # announcements are complete until this day


class MarketDay(Struct, frozen=True, kw_only=True):
    """What an exchange announced about one day beyond the regular calendar: a row of `market_days`."""

    exchange: str
    day_on: date
    kind: str  # session, special, closed; withdrawn, known_until
    opens_at: datetime | None = None  # None exactly when there is no session
    closes_at: datetime | None = None
    note: str | None = None
    source: str = ""  # who says so


class Session(Struct, frozen=True, kw_only=True):
    """One trading day with its hours. A day with two sittings opens with the first and closes with the last."""

    on: date
    opens_at: datetime
    closes_at: datetime
    kind: str = SESSION  # session or special
    known: bool = True  # False: beyond what the calendar knows, or its hours were never announced to us
    note: str | None = None
