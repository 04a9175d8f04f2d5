"""`simulator`: a Groww Trade API server of our own, for trying the product out without an account."""

import asyncio
import signal
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
import uvloop

from portfolio_scheduler.errors import InvalidInput, SetupProblem
from portfolio_scheduler.simulator.options import LAST_DAY, SimulatorOptions

if TYPE_CHECKING:  # aiohttp's server costs a quarter of a second, which no other command should pay
    from portfolio_scheduler.simulator.server import Simulator


def simulator(
    port: Annotated[int, typer.Option(help="Where to listen on 127.0.0.1; 0 takes any free port.")] = 8900,
    accounts: Annotated[int, typer.Option(min=1, help="How many accounts.")] = 3,
    seed: Annotated[int, typer.Option(help="The same seed gives the same accounts and answers.")] = 7,
    on: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Stand at 09:00 of this day.")
    ] = None,
    opened: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="When the accounts began to trade.")
    ] = None,
    ticking: Annotated[bool, typer.Option(help="Let the clock run instead of standing still.")] = False,
    limits: Annotated[bool, typer.Option("--limits", help="Apply Groww's rate limits.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of a table.")] = False,
) -> None:
    """Serve a simulated Groww until Ctrl-C: made-up accounts, real closing prices, its own clock."""
    options = SimulatorOptions(
        accounts=accounts,
        seed=seed,
        on=on.date() if on else LAST_DAY,
        opened_on=opened.date() if opened else None,
        port=port,
        ticking=ticking,
        limits=limits,
    )
    if options.opened_on is not None and options.opened_on > options.on:
        raise InvalidInput(f"--from {options.opened_on} is after --date {options.on}.")
    uvloop.run(_serve(options, as_json=json))


async def _serve(options: SimulatorOptions, *, as_json: bool) -> None:
    from portfolio_scheduler.simulator.server import running

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    try:
        async with running(options) as sim:
            if as_json:
                _print_json(sim)
            else:
                _print_table(sim, options.on)
            await stopped.wait()
    except OSError as e:
        raise SetupProblem(f"Cannot listen on 127.0.0.1:{options.port}: {e.strerror}. Choose another --port.") from e


def _print_json(sim: "Simulator") -> None:
    greeting = {
        "url": sim.url,
        "control_url": sim.control_url,
        "date": sim.options.on.isoformat(),
        "accounts": sim.logins(),
    }
    print(msgspec.json.encode(greeting).decode(), flush=True)


def _print_table(sim: "Simulator", on: date) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    console.print(f"Simulated Groww at {sim.url}, standing at {on} 09:00 IST; control at {sim.control_url}/state")
    table = Table("#", "kind", "UCC", "login", box=None, padding=(0, 1), pad_edge=False)
    table.add_column("", overflow="fold")  # a secret is never cut
    for login in sim.accounts[:20]:
        secret = ("secret", login.secret) if login.secret else ("TOTP secret", login.totp_secret)
        table.add_row(str(login.number), login.kind, login.ucc, "API key", login.api_key)
        table.add_row("", "", "", *secret)
    console.print(table)
    if len(sim.accounts) > 20:
        console.print(f"… and {len(sim.accounts) - 20} more: {sim.control_url}/state lists them all.")
    console.print("Ctrl-C stops it.")
