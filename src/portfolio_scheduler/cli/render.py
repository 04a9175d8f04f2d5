"""What the commands print and ask: tables, amounts, times, JSON, progress, secrets.

Commands hand over values as they are; how a rupee amount, a change or an unknown figure looks is decided here, once.
Text from outside (a broker's remark, a label) is never markup and never a terminal's control sequence.
"""

import getpass
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from threading import Timer

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from portfolio_scheduler.clock import day_in_words, ist_time_in_words
from portfolio_scheduler.domain.money import rounded, rupees, units
from portfolio_scheduler.domain.plain_json import jsonable
from portfolio_scheduler.errors import InvalidInput

UNKNOWN = "–"
NARROWEST_TEXT = 8  # cells; a text column that would have to be narrower makes a table a list
WIDE_ENOUGH = 1000  # cells of what is not a terminal: a file or a pipe never cuts a row
SECRET_LIMIT = 16384  # characters; the longest tokens have some two thousand
PROGRESS_AFTER_SECONDS = 1.0


class Kind(StrEnum):
    """How a value is shown. All but text stand on the right."""

    TEXT = "text"
    RUPEES = "rupees"
    CHANGE = "change"  # rupees with a sign and a colour
    QUANTITY = "quantity"
    INSTANT = "instant"  # 24 Apr 2026 16:00, in India
    DAY = "day"


class Unknown(msgspec.Struct, frozen=True):
    """A figure that is not known, with the reason. None is a value that does not apply: no reason is owed."""

    reason: str


class Column(msgspec.Struct, frozen=True):
    title: str
    kind: Kind = Kind.TEXT


Value = str | int | Decimal | datetime | date | Unknown | None


def console(*, stderr: bool = False) -> Console:
    """The console for people. Colours only on a terminal, and not there either when NO_COLOR is set."""
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    return Console(
        file=stream,
        force_terminal=terminal,
        force_jupyter=False,
        width=None if terminal or os.environ.get("COLUMNS") else WIDE_ENOUGH,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )


# ── one value ──


def ist_time(at: datetime) -> str:
    """An instant in India: 24 Apr 2026 16:00."""
    return ist_time_in_words(at)


def day(on: date) -> str:
    return day_in_words(on)


def signed_rupees(value: Decimal) -> str:
    """An amount with its sign: +₹1,234.00, -₹1,234.00, and ₹0.00 for what rounds to nothing."""
    text = rupees(value)
    return f"+{text}" if rounded(value) > 0 else text


def printable(text: str) -> str:
    """Text from outside without what could move the cursor, colour the screen or turn the line around."""
    return "".join(c if c.isprintable() else "�" for c in text)


def shown(kind: Kind, value: str | int | Decimal | datetime | date) -> Text:
    """One known value as text with its colour; a value of the wrong type is a bug."""
    if kind is Kind.TEXT:
        return Text(printable(str(value)))
    if kind is Kind.INSTANT:
        assert isinstance(value, datetime)
        return Text(ist_time(value))
    if kind is Kind.DAY:
        assert isinstance(value, date)
        assert not isinstance(value, datetime)
        return Text(day(value))
    assert isinstance(value, Decimal | int)
    number = Decimal(value)
    if kind is Kind.QUANTITY:
        return Text(units(number))
    if kind is Kind.RUPEES:
        return Text(rupees(number))
    return Text(signed_rupees(number), style=_colour(number))


def _colour(change: Decimal) -> str:
    paise = rounded(change)
    return "green" if paise > 0 else "red" if paise < 0 else ""


class _Footnotes:
    """The reasons why figures are unknown, each numbered once."""

    def __init__(self) -> None:
        self._reasons: list[str] = []

    def shown(self, kind: Kind, value: Value) -> Text:
        if value is None:
            return Text(UNKNOWN)
        if isinstance(value, Unknown):
            if value.reason not in self._reasons:
                self._reasons.append(value.reason)
            return Text(f"{UNKNOWN}{_superscript(self._reasons.index(value.reason) + 1)}")
        return shown(kind, value)

    def print(self, to: Console) -> None:
        for number, reason in enumerate(self._reasons, 1):
            to.print(Text(f"{_superscript(number)} {printable(reason)}", style="dim"))


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


# ── many values ──


def print_table(
    to: Console, columns: Sequence[Column], rows: Sequence[Sequence[Value]], *, title: str | None = None
) -> None:
    """Rows under headings, footnotes below. Too narrow a terminal gets a list, so that no figure is ever cut."""
    notes = _Footnotes()
    cells = [[notes.shown(c.kind, value) for c, value in zip(columns, row, strict=True)] for row in rows]
    if title:
        to.print(Text(printable(title), style="bold"))
    if _width_needed(columns, cells) <= to.width:
        to.print(_table(columns, cells))
    else:
        for row in cells:
            _print_pairs(to, [column.title for column in columns], row)
            to.print()
    notes.print(to)


def print_by_account(to: Console, columns: Sequence[Column], rows: Sequence[Sequence[Value]]) -> None:
    """A table whose first column is the account; when that is the same in every row, it is the title instead."""
    labels = {row[0] for row in rows}
    if len(labels) == 1:
        print_table(to, columns[1:], [row[1:] for row in rows], title=str(labels.pop()))
    else:
        print_table(to, columns, rows)


def print_list(to: Console, pairs: Sequence[tuple[Column, Value]], *, title: str | None = None) -> None:
    """One thing with its figures, a line each: name, then value."""
    notes = _Footnotes()
    if title:
        to.print(Text(printable(title), style="bold"))
    cells = [notes.shown(column.kind, value) for column, value in pairs]
    _print_pairs(to, [column.title for column, _ in pairs], cells)
    notes.print(to)


def _print_pairs(to: Console, names: Sequence[str], cells: Sequence[Text]) -> None:
    name_width = max((cell_len(name) for name in names), default=0)
    for name, cell in zip(names, cells, strict=True):
        to.print(Text(f"{set_cell_size(name, name_width)}  ").append_text(cell), soft_wrap=True)


def _width_needed(columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> int:
    gap = 2  # the box has one cell of padding on either side
    return sum(_column_width(column, n, cells) + gap for n, column in enumerate(columns)) + gap


def _column_width(column: Column, n: int, cells: Sequence[Sequence[Text]]) -> int:
    """How narrow a column may become: figures not at all, text down to `NARROWEST_TEXT`."""
    widest = max((row[n].cell_len for row in cells), default=0)
    if column.kind is Kind.TEXT:
        return max(min(widest, NARROWEST_TEXT), min(cell_len(column.title), NARROWEST_TEXT))
    return max(widest, cell_len(column.title))


def _table(columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for n, column in enumerate(columns):
        if column.kind is Kind.TEXT:
            table.add_column(column.title, overflow="fold", min_width=_column_width(column, n, cells))
        else:
            table.add_column(column.title, justify="right", no_wrap=True, min_width=_column_width(column, n, cells))
    for row in cells:
        table.add_row(*row)
    return table


def trail(title: str, steps: Sequence[str], width: int) -> str:
    """An order in two lines, whatever the width: what it is, then its steps, of which the middle ones give way.

    The first and the last step tell most: how it began and where it stands.
    """
    indent, arrow = "  ", " → "
    steps = [printable(step) for step in steps]
    line = indent + arrow.join(steps)
    kept = len(steps) - 1
    while cell_len(line) > width and kept > 1:
        kept -= 1
        left_out = f"… {len(steps) - 1 - kept} more …"
        line = indent + arrow.join([*steps[:kept], left_out, steps[-1]])
    return f"{_cut(printable(title), width)}\n{_cut(line, width)}"


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


# ── JSON ──


def print_json(thing: object) -> None:
    """One JSON document on stdout and nothing else: decimals as plain strings, instants in UTC, dates as they are."""
    document = msgspec.json.encode(jsonable(thing, _path))
    typer.echo(msgspec.json.format(document, indent=2))


def _path(thing: object) -> object:
    if isinstance(thing, Path):
        return str(thing)
    raise TypeError(f"{type(thing).__name__} has no form in JSON")


# ── while it runs ──


class Bar:
    """A progress bar that may or may not be on the screen."""

    def __init__(self, progress: Progress | None = None, task: TaskID | None = None) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: int = 1, doing: str | None = None) -> None:
        """So many steps are done; `doing` replaces the label."""
        if self._progress is None or self._task is None:
            return
        if doing is not None:
            self._progress.update(self._task, description=printable(doing))
        self._progress.advance(self._task, steps)


@contextmanager
def progress(label: str, total: int | None = None, *, after_seconds: float = PROGRESS_AFTER_SECONDS) -> Iterator[Bar]:
    """A bar on stderr for what takes longer than a second; nothing at all where stderr is no terminal."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield Bar()
        return
    shown_bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        console=screen,
        transient=True,
    )
    task = shown_bar.add_task(printable(label), total=total)
    late = Timer(after_seconds, shown_bar.start)
    late.daemon = True
    late.start()
    try:
        yield Bar(shown_bar, task)
    finally:
        late.cancel()
        late.join()  # a bar that is being drawn is drawn before it is taken away
        if shown_bar.live.is_started:
            shown_bar.stop()


# ── secrets ──


def ask_secret(label: str, file: Path | None = None, stdin: bool = False) -> str:
    """A secret from a file, from a line of stdin, or typed unseen. Never from an option: other users see those.

    Several secrets can come over stdin, a line each, in the order in which they are asked for.
    """
    if file is not None and stdin:
        raise InvalidInput(f"{label} can come from a file or from stdin, not from both.")
    if file is not None:
        secret = _from_file(label, file)
    elif stdin:
        secret = sys.stdin.readline(SECRET_LIMIT + 2)
    elif sys.stdin.isatty():
        secret = _typed(label)
    else:
        raise InvalidInput(f"{label} is needed, but there is no terminal to type it. Give it in a file or over stdin.")
    return _checked_secret(label, secret)


def ask_secrets(labels: Sequence[str], file: Path | None = None, *, stdin: bool = False) -> list[str]:
    """Several secrets in their order: a line each of a file or of stdin, or typed unseen one after the other."""
    if file is None or stdin:
        return [ask_secret(label, file, stdin) for label in labels]
    lines = [line for line in _from_file(" and ".join(labels), file).splitlines() if line.strip()]
    if len(lines) != len(labels):
        raise InvalidInput(
            f"{file} has {len(lines)} lines with text; expected is a line each, in this order: {', '.join(labels)}."
        )
    return [_checked_secret(label, line) for label, line in zip(labels, lines, strict=True)]


def _from_file(label: str, file: Path) -> str:
    try:
        with file.expanduser().open(encoding="utf-8") as lines:
            return lines.read(SECRET_LIMIT + 2)
    except OSError as e:
        raise InvalidInput(f"{label} cannot be read from {file}: {e.strerror}.") from e
    except UnicodeDecodeError as e:
        raise InvalidInput(f"{label} cannot be read from {file}: it is not text.") from e


def _typed(label: str) -> str:
    try:
        return getpass.getpass(f"{label} (not shown): ")
    except EOFError:
        return ""


def _checked_secret(label: str, secret: str) -> str:
    secret = secret.strip(" \t\r\n")  # pasted secrets come with their surroundings
    if not secret:
        raise InvalidInput(f"{label} is empty; a secret is needed.")
    if len(secret) > SECRET_LIMIT:
        raise InvalidInput(f"{label} has more than {SECRET_LIMIT} characters; that is no secret of a broker.")
    if not secret.isprintable():
        raise InvalidInput(f"{label} has more than one line or a character that cannot be typed; one line is needed.")
    return secret
