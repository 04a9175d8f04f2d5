"""Text files of comma-separated lines, read by header name and never trusted. Pure: lines in, rows out."""

import csv
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from portfolio_scheduler.errors import InvalidInput


class BadLine(Struct, frozen=True, kw_only=True):
    """A line that was not used, and why."""

    line: int  # counted from 1, the header included
    reason: str


class BadLines(InvalidInput):
    """Lines of the file cannot be used."""

    def __init__(self, message: str, bad: tuple[BadLine, ...]) -> None:
        super().__init__(message)
        self.bad = bad


class Table:
    """The rows of a file below its header. Made once, read once."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._reader = csv.reader(lines)
        self.columns = tuple(name.strip() for name in self._next() or ())

    def places(self, wanted: Sequence[str]) -> tuple[int | None, ...]:
        """Where each of these columns stands; None for one the file does not have."""
        return tuple(self.columns.index(name) if name in self.columns else None for name in wanted)

    def rows(self) -> Iterator[tuple[int, list[str] | BadLine]]:
        """Line number and fields, or what is wrong with the line. Blank lines are skipped."""
        width = len(self.columns)
        while (row := self._next()) is not None:
            number = self._reader.line_num
            if len(row) == width:
                yield number, row
            elif row:
                yield number, BadLine(line=number, reason=f"has {len(row)} fields instead of {width}")

    def _next(self) -> list[str] | None:
        try:
            return next(self._reader, None)
        except csv.Error as error:  # a field of more than 128 KiB, or a quote that never closes
            raise InvalidInput(f"Line {self._reader.line_num + 1} cannot be read as a table ({error}).") from None


def field(row: Sequence[str], place: int | None) -> str:
    """The trimmed text of a field; "" where the file has no such column."""
    return "" if place is None else row[place].strip()
