"""`bench`: how fast and how small the product is on this machine."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from portfolio_scheduler.errors import InvalidInput

if TYPE_CHECKING:
    from portfolio_scheduler.bench.figures import Figure, Report


def bench(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only this benchmark; may be given repeatedly.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small run that shows that everything works; its figures mean nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the JSON to this file, too.")] = None,
) -> None:
    """Measure the product on this machine, on a database of its own that is removed afterwards."""
    from portfolio_scheduler import log
    from portfolio_scheduler.bench.run import run
    from portfolio_scheduler.cli.render import print_json

    log.configure("error")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # however it is ended, it cleans up
    if out is not None and not out.absolute().parent.is_dir():
        raise InvalidInput(f"{out} cannot be written: there is no folder {out.absolute().parent}.")
    report = uvloop.run(run(only or [], quick=quick, tell=lambda name: typer.echo(f"measuring {name} …", err=True)))
    if out is not None:
        _write(out, report)
    if as_json:
        print_json(report)
    else:
        _print_table(report)


def _write(out: Path, report: "Report") -> None:
    import msgspec

    document = msgspec.json.format(msgspec.json.encode(report), indent=2)
    try:
        out.write_bytes(document + b"\n")
    except OSError as e:
        raise InvalidInput(f"{out} cannot be written: {e.strerror}.") from e


def _print_table(report: "Report") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from portfolio_scheduler.cli.render import console

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("benchmark", overflow="fold")
    for title in ("median", "spread", "unit", "aim", ""):
        table.add_column(title, justify="left" if title in {"unit", ""} else "right", no_wrap=True)
    table.add_column("note", overflow="fold")
    before = ""
    for line in report.figures:
        if line.measure != before:
            table.add_section()
            before = line.measure
        spread = f"{_number(line.low)} – {_number(line.high)}" if line.runs > 1 else ""
        cells = (line.name, _number(line.median), spread, line.unit, line.aim or "", _verdict(line), line.note)
        table.add_row(*map(Text, cells))
    out = console()
    out.print(table)
    where = ", ".join(f"{name} {what}" for name, what in report.machine.items())
    out.print(f"\n{where}. Medians; the spread is that of all runs.")
    if report.quick:
        out.print("A quick run: these figures mean nothing.")


def _verdict(line: "Figure") -> str:
    return "" if line.met is None else "met" if line.met else "missed"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"
