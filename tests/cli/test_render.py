"""What is printed and asked: values, tables, trails, JSON, progress, secrets."""

import io
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from portfolio_scheduler.cli.render import (
    Column,
    Kind,
    Unknown,
    Value,
    ask_secret,
    console,
    day,
    ist_time,
    print_json,
    print_list,
    print_table,
    printable,
    progress,
    shown,
    signed_rupees,
    trail,
)
from portfolio_scheduler.clock import ist
from portfolio_scheduler.errors import InvalidInput

COLUMNS = (
    Column("Symbol"),
    Column("Quantity", Kind.QUANTITY),
    Column("Value", Kind.RUPEES),
    Column("Day", Kind.CHANGE),
    Column("Read", Kind.INSTANT),
)
READ_AT = ist(date(2026, 4, 24), 16)


def a_row(
    symbol: str = "INFY",
    quantity: Value = Decimal("10.500"),
    value: Value = Decimal(1234567),
    change: Value = Decimal("-1234.5"),
) -> tuple[Value, ...]:
    return (symbol, quantity, value, change, READ_AT)


def a_screen(width: int = 100, colours: bool = False) -> Console:
    return Console(
        file=io.StringIO(), width=width, force_terminal=colours, color_system="standard" if colours else None,
        markup=False, highlight=False, emoji=False,
    )  # fmt: skip


def text_of(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def table(*rows: tuple[Value, ...], width: int = 100, colours: bool = False) -> str:
    screen = a_screen(width, colours)
    print_table(screen, COLUMNS, rows)
    return text_of(screen)


# ── values ──


def test_times_are_those_of_india() -> None:
    assert ist_time(datetime(2026, 4, 24, 10, 30, tzinfo=UTC)) == "24 Apr 2026 16:00"
    assert ist_time(datetime(2026, 4, 23, 20, 5, tzinfo=UTC)) == "24 Apr 2026 01:35"
    assert day(date(2026, 11, 1)) == "1 Nov 2026"
    with pytest.raises(AssertionError):
        ist_time(datetime(2026, 4, 24, 16))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1234567", "+₹12,34,567.00"), ("-0.5", "-₹0.50"), ("0", "₹0.00"), ("0.004", "₹0.00"), ("-0.004", "₹0.00")],
)
def test_a_change_has_its_sign(value: str, expected: str) -> None:
    assert signed_rupees(Decimal(value)) == expected


@pytest.mark.parametrize(("value", "style"), [("1", "green"), ("-1", "red"), ("0", ""), ("-0.001", "")])
def test_a_change_has_its_colour(value: str, style: str) -> None:
    assert shown(Kind.CHANGE, Decimal(value)).style == style


@given(st.text())
def test_text_from_outside_cannot_drive_the_terminal(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)


# ── tables ──


def test_a_table_has_its_figures_on_the_right() -> None:
    lines = table(a_row(), a_row("TCS", 100000, Decimal(5), Decimal("12.345"))).splitlines()
    assert lines[0].split() == ["Symbol", "Quantity", "Value", "Day", "Read"]
    assert lines[2].split() == ["INFY", "10.5", "₹12,34,567.00", "-₹1,234.50", "24", "Apr", "2026", "16:00"]
    assert lines[3].split()[:4] == ["TCS", "1,00,000", "₹5.00", "+₹12.34"]
    assert lines[2].index("567.00") + 6 == lines[3].index("₹5.00") + 5


def test_unknown_figures_say_why_once() -> None:
    no_price = Unknown("no price known")
    text = table(a_row(value=no_price, change=Unknown("no snapshot before")), a_row(value=no_price), a_row(value=None))
    assert text.count("–¹") == 2
    assert text.count("–²") == 1
    assert text.endswith("¹ no price known\n² no snapshot before\n")


def test_text_of_a_broker_is_neither_markup_nor_a_control_sequence() -> None:
    text = table(a_row("[red]X[/red]\x1b[2J:smile:"))
    assert "[red]X[/red]�[2J:smile:" in text
    assert "\x1b" not in text


def test_colours_are_on_a_terminal_only() -> None:
    assert "\x1b[31m-₹1,234.50" in table(a_row(), colours=True)
    assert "\x1b" not in table(a_row())


@pytest.mark.parametrize("width", range(1, 121))
def test_no_figure_is_ever_cut(width: int) -> None:
    text = table(a_row("A symbol of many words"), a_row(value=Unknown("none")), width=width)
    for figure in ("₹12,34,567.00", "-₹1,234.50", "10.5", "24 Apr 2026 16:00"):
        assert figure in text
    assert "…" not in text


def test_one_thing_is_a_list() -> None:
    screen = a_screen()
    pairs = [(Column("Value", Kind.RUPEES), Decimal(1)), (Column("Day change", Kind.CHANGE), Unknown("first day"))]
    print_list(screen, pairs, title="Account ONE")
    assert text_of(screen) == "Account ONE\nValue       ₹1.00\nDay change  –¹\n¹ first day\n"


def test_a_row_with_a_value_missing_is_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        table(("INFY",))


# ── trails ──

STEPS = ["09:20 placed", "09:41 +4 at ₹1,500.00", "10:05 price ₹1,510.00", "11:00 +2 at ₹1,510.00", "15:31 cancelled"]


def test_an_order_is_told_in_two_lines() -> None:
    told = trail("INFY  BUY 10  CNC", STEPS, 200)
    assert told == "INFY  BUY 10  CNC\n  " + " → ".join(STEPS)


def test_the_middle_gives_way_first() -> None:
    assert trail("INFY", STEPS, 75).splitlines()[1] == (
        "  09:20 placed → 09:41 +4 at ₹1,500.00 → … 2 more … → 15:31 cancelled"
    )
    assert trail("INFY", STEPS, 60).splitlines()[1] == "  09:20 placed → … 3 more … → 15:31 cancelled"


@given(
    title=st.text(max_size=40),
    steps=st.lists(st.text(max_size=30) | st.sampled_from(STEPS), max_size=8),
    width=st.integers(min_value=1, max_value=250),
)
def test_a_trail_fits_any_width(title: str, steps: list[str], width: int) -> None:
    lines = trail(title, steps, width).split("\n")
    assert len(lines) == 2
    assert all(cell_len(line) <= width for line in lines)


# ── the console ──


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_console_follows_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")  # asked for by some pipelines; a file still gets no colours
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert console().color_system is None
    assert console().width == 1000
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert console().color_system is not None
    assert not console().no_color
    monkeypatch.setenv("NO_COLOR", "1")
    assert console().no_color


# ── JSON ──


class Colour(StrEnum):
    RED = "red"


class Thing(msgspec.Struct):
    account: UUID
    amount: Decimal
    at: datetime
    on: date
    by_day: dict[date, Decimal]
    colour: Colour = Colour.RED
    nothing: Decimal | None = None


def test_json_is_exact(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    thing = Thing(
        account=UUID(int=1),
        amount=Decimal("1.50E+5"),
        at=READ_AT,
        on=date(2026, 4, 24),
        by_day={date(2026, 4, 24): Decimal("-0.10")},
    )
    print_json({"things": [thing], "₹": (Decimal("1E-7"), True, 3, "x\u2028")})
    out, err = capsysbinary.readouterr()
    assert err == b""
    assert json.loads(out) == {
        "things": [
            {
                "account": "00000000-0000-0000-0000-000000000001",
                "amount": "150000",
                "at": "2026-04-24T10:30:00Z",
                "on": "2026-04-24",
                "by_day": {"2026-04-24": "-0.1"},
                "colour": "red",
                "nothing": None,
            }
        ],
        "₹": ["0.0000001", True, 3, "x\u2028"],
    }
    assert out.endswith(b"}\n")
    assert "₹".encode() in out


def test_json_refuses_what_has_no_form() -> None:
    with pytest.raises(TypeError, match="object has no form in JSON"):
        print_json({"x": object()})
    with pytest.raises(AssertionError):
        print_json(datetime(2026, 4, 24))


# ── progress ──


def test_no_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Syncing", total=2, after_seconds=0) as bar:
        bar.advance()
        bar.advance(doing="the last one")
    assert capsys.readouterr() == ("", "")


def on_a_terminal(code: str) -> tuple[str, str]:
    """Run code with stderr on a terminal of its own; what it printed on stdout and what the terminal saw."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-c", "from portfolio_scheduler.cli.render import *\n" + code]
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environ, check=True, text=True).stdout
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # the terminal is gone: all is read
        pass
    os.close(ours)
    return out, seen.decode()


def test_a_bar_is_on_stderr_when_it_takes_long() -> None:
    code = "import threading\nwith progress('Syncing', total=3, after_seconds={}) as bar:\n bar.advance(2)\n"
    out, seen = on_a_terminal(code.format(0) + " threading.Event().wait(0.3)\nprint('done')")
    assert out == "done\n"
    assert "Syncing" in seen
    assert "2/3" in seen
    assert on_a_terminal(code.format(60) + "print('done')") == ("done\n", "")


# ── secrets ──


def test_a_secret_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("  hunter2\r\n")
    assert ask_secret("API secret", file) == "hunter2"


def test_secrets_over_stdin_come_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("the key\nthe secret\n"))
    assert [ask_secret("API key", stdin=True), ask_secret("API secret", stdin=True)] == ["the key", "the secret"]
    with pytest.raises(InvalidInput, match="TOTP secret is empty"):
        ask_secret("TOTP secret", stdin=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"one\ntwo\n", "more than one line"),
        (b"a\0b", "more than one line or a character"),
        (b"\xff\xfe", "is not text"),
        (b"x" * 20000, "more than 16384 characters"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=message) as caught:
        ask_secret("API secret", file)
    assert "one\\ntwo" not in caught.value.message


def test_a_secret_needs_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="cannot be read from"):
        ask_secret("API secret", tmp_path / "absent")
    with pytest.raises(InvalidInput, match="not from both"):
        ask_secret("API secret", tmp_path / "absent", stdin=True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("unasked\n"))
    with pytest.raises(InvalidInput, match="no terminal"):
        ask_secret("API secret")


def test_a_typed_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def typed(prompt: str) -> str:
        asked.append(prompt)
        return "hunter2"

    monkeypatch.setattr("getpass.getpass", typed)
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert ask_secret("API secret") == "hunter2"
    assert asked == ["API secret (not shown): "]
