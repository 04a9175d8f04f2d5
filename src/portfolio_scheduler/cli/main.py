"""The command `portfolio-scheduler`: one module per group of commands, put together here."""

import sys

import typer

from portfolio_scheduler import __version__
from portfolio_scheduler.cli.serve import serve_command, worker_command
from portfolio_scheduler.cli.simulator import simulator
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


app.command()(simulator)
app.command("serve")(serve_command)
app.command("worker")(worker_command)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the job failed, 2 wrong use or set-up."""
    try:
        app()
    except PortfolioSchedulerError as e:
        typer.echo(e.message, err=True)
        sys.exit(e.exit_code)
