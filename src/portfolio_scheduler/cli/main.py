"""The command `portfolio-scheduler`: one module per group of commands, put together here."""

import os
import sys
import traceback
from collections.abc import Callable
from io import RawIOBase, TextIOWrapper
from pathlib import Path
from typing import TextIO

import typer

from portfolio_scheduler import __version__
from portfolio_scheduler.cli.accounts import accounts
from portfolio_scheduler.cli.bench import bench
from portfolio_scheduler.cli.coverage import coverage
from portfolio_scheduler.cli.demo import demo
from portfolio_scheduler.cli.history import changes, fills, orders
from portfolio_scheduler.cli.instruments import instruments
from portfolio_scheduler.cli.keys import keys
from portfolio_scheduler.cli.market_days import market_days
from portfolio_scheduler.cli.migrate import migrate
from portfolio_scheduler.cli.portfolio import holdings, positions, snapshots, summary
from portfolio_scheduler.cli.prices import prices
from portfolio_scheduler.cli.schedules import schedules
from portfolio_scheduler.cli.serve import serve_command, worker_command
from portfolio_scheduler.cli.simulator import simulator
from portfolio_scheduler.cli.status import status
from portfolio_scheduler.cli.sync import sync
from portfolio_scheduler.cli.upkeep import checks, rebuild, replay
from portfolio_scheduler.cli.users import users
from portfolio_scheduler.errors import PortfolioSchedulerError

app = typer.Typer(
    name="portfolio-scheduler",
    help="Reads your broker accounts every trading day and keeps what it read for ever. It never places an order.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


app.command()(demo)
app.command()(simulator)
app.command()(bench)
app.command()(migrate)
app.add_typer(accounts, name="accounts")
app.add_typer(users, name="users")
app.add_typer(keys, name="keys")
app.add_typer(schedules, name="schedules")
app.add_typer(market_days, name="market-days")
app.add_typer(instruments, name="instruments")
app.add_typer(prices, name="prices")
for command in (
    sync,
    status,
    coverage,
    summary,
    holdings,
    positions,
    orders,
    changes,
    fills,
    snapshots,
    checks,
    replay,
    rebuild,
):
    app.command()(command)
app.command("serve")(serve_command)
app.command("worker")(worker_command)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the job failed, 2 wrong use or set-up, 130 stopped by Ctrl-C."""
    sys.exit(exit_code(app))


def exit_code(run: Callable[[], object]) -> int:
    """Run a command to its exit code. The outermost door: what nothing else caught ends here, in one sentence."""
    sys.stdout, sys.stderr = _whole(sys.stdout), _whole(sys.stderr)
    try:
        try:
            run()
        finally:
            sys.stdout.flush()  # here, where a reader that went away can be met
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else int(e.code is not None)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _let_go_of_stdout()
        return 1
    except PortfolioSchedulerError as e:
        typer.echo(e.message, err=True)
        return e.exit_code
    except Exception as e:  # noqa: BLE001
        typer.echo(_unexpected(e), err=True)
        return 1
    return 0


def _whole(stream: TextIO) -> TextIO:
    """The stream as it loses nothing. A terminal without ₹ gets a question mark, not a traceback; and Python without
    buffers (PYTHONUNBUFFERED) would forget the rest of what it writes when a signal interrupts it, as after Ctrl-Z."""
    if not isinstance(stream, TextIOWrapper):
        return stream
    if isinstance(stream.buffer, RawIOBase):
        buffer = open(stream.fileno(), "wb", closefd=False)  # noqa: SIM115
        return TextIOWrapper(buffer, encoding=stream.encoding, errors="replace", line_buffering=True)
    stream.reconfigure(errors="replace")
    return stream


def _unexpected(e: Exception) -> str:
    """What to say of a fault of ours: never its text, which may hold anything, and no traceback unless asked for."""
    if os.environ.get("PORTFOLIO_SCHEDULER_LOG_LEVEL", "").lower() == "debug":
        return "".join(traceback.format_exception(e)).rstrip()
    frames = traceback.extract_tb(e.__traceback__)
    where = f" in {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return (
        f"Something unexpected happened ({type(e).__name__}{where}): see the log above, or run again with "
        "PORTFOLIO_SCHEDULER_LOG_LEVEL=debug for all of it."
    )


def _let_go_of_stdout() -> None:
    """Nobody reads any more; the interpreter's own flush at exit must not complain about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
