"""Time as the simulator counts it: whole seconds of the wall clock in India since 1970, because every rule of the
exchange is a wall-clock rule and integers are cheap to compare."""

from datetime import UTC, date, datetime
from functools import lru_cache

IST_OFFSET_SECONDS = 19_800  # India has had no other offset since 1945
DAY_SECONDS = 86_400
CLOSE_HOUR = 15  # the exchange closes at 15:30
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def wall_of(at: datetime) -> int:
    """The wall second of an aware instant."""
    return int(at.timestamp()) + IST_OFFSET_SECONDS


def instant_of(wall: int) -> datetime:
    return datetime.fromtimestamp(wall - IST_OFFSET_SECONDS, UTC)


def wall_at(on: date, hour: int, minute: int = 0, second: int = 0) -> int:
    return (on.toordinal() - _EPOCH_ORDINAL) * DAY_SECONDS + hour * 3600 + minute * 60 + second


def date_of(wall: int) -> date:
    return date.fromordinal(wall // DAY_SECONDS + _EPOCH_ORDINAL)


@lru_cache(maxsize=64)
def _date_text(day_number: int) -> str:
    return date.fromordinal(day_number + _EPOCH_ORDINAL).isoformat()


WRITTEN = ("naive", "zulu", "offset", "space", "seconds", "milliseconds")  # the ways a moment may be written


def written(wall: int, how: str) -> str | int:
    """The same moment in one of the ways seen at Groww and around it."""
    match how:
        case "zulu":
            return iso(wall - IST_OFFSET_SECONDS) + "Z"
        case "offset":
            return iso(wall) + "+05:30"
        case "space":
            return iso(wall).replace("T", " ")
        case "seconds":
            return wall - IST_OFFSET_SECONDS
        case "milliseconds":
            return (wall - IST_OFFSET_SECONDS) * 1000
        case _:
            return iso(wall)


def iso(wall: int) -> str:
    """`YYYY-MM-DDThh:mm:ss` without an offset, the way Groww writes order times."""
    day, second = divmod(wall, DAY_SECONDS)
    return f"{_date_text(day)}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
