"""When a reading was made, and whose trading day it is: by our clock, unless the broker's contradicts it.

Broker lists are of the broker's day. So where the two clocks differ by more than five minutes, a reading is dated by
the broker's, which every answer states; the batch says so, and `status` asks for the machine's clock to be set right.
"""

from datetime import date, datetime, timedelta

from msgspec import Struct, structs

from portfolio_scheduler.app import App
from portfolio_scheduler.domain.records import Answer
from portfolio_scheduler.market import timetables

CLOCK = "clock:"  # begins the flag of a wrong clock
NOTED = timedelta(seconds=30)  # TOTP codes begin to fail
CONTRADICTED = timedelta(minutes=5)


class Dated(Struct, frozen=True, kw_only=True):
    """The instant and the trading day of a reading."""

    observed_at: datetime
    trading_on: date
    offset: timedelta | None  # the broker's clock minus ours; None when it has not been heard

    @property
    def contradicted(self) -> bool:
        return self.offset is not None and abs(self.offset) > CONTRADICTED

    @property
    def flags(self) -> tuple[str, ...]:
        """For the batch: "clock:ahead:172800 s" when ours is."""
        if self.offset is None or abs(self.offset) <= NOTED:
            return ()
        return (f"{CLOCK}{_way(self.offset)}:{abs(self.offset) // timedelta(seconds=1)} s",)

    def shifted(self, answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
        """The answers at the times the broker sent them."""
        if self.offset is None or not self.contradicted:
            return answers
        return tuple(structs.replace(answer, fetched_at=answer.fetched_at + self.offset) for answer in answers)


def dated(app: App, began_at: datetime, offset: timedelta | None) -> Dated:
    """When a reading that began then, by our clock, was really made."""
    wrong = offset is not None and abs(offset) > CONTRADICTED
    observed_at = began_at + offset if wrong and offset is not None else began_at
    return Dated(observed_at=observed_at, trading_on=app.calendar.trading_on(observed_at), offset=offset)


def standing_at(app: App, observed_at: datetime, trading_on: date) -> str:
    """What a reading made then says of its trading day: provisional before the close, final after it, late."""
    return timetables.standing_at(app.calendar, observed_at, trading_on)


def clock_advice(offset: timedelta | None) -> str:
    """What to say to the owner of a wrong clock; empty when it is right."""
    if offset is None or abs(offset) <= NOTED:
        return ""
    return f"This machine's clock is {in_words(abs(offset))} {_way(offset)} (of the broker's); set it right."


def _way(offset: timedelta) -> str:
    return "ahead" if offset < timedelta(0) else "behind"


def in_words(length: timedelta) -> str:
    """A length of time in its largest unit that is at least two: 47 hours, 6 minutes, 45 seconds."""
    for name, unit in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if (count := int(length.total_seconds()) // unit) >= 2:
            return f"{count} {name}"
    return f"{int(length.total_seconds())} seconds"
