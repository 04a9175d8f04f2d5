"""How long a person waits for the first sync when everything has been set up before: the command, from start to end."""

import asyncio
import os
import sys
from pathlib import Path

from portfolio_scheduler.bench import place
from portfolio_scheduler.bench.crew import Crew, Failed
from portfolio_scheduler.bench.end_to_end import NORMAL, simulator_options
from portfolio_scheduler.bench.figures import Figure, Scale, at_most, figure
from portfolio_scheduler.bench.host import host
from portfolio_scheduler.bench.stage import trading_days
from portfolio_scheduler.clock import SystemClock, ist

STEPS = "the process, the embedded server, the sync, the server's stop"


async def measure(scale: Scale) -> list[Figure]:
    """Each run is the first sync of an account: everything it holds is new."""
    (day,) = trading_days(1)
    with Crew(1, host, simulator_options(NORMAL, scale.runs, day)) as simulator, place.folder() as folder:
        (url,), (logins,) = simulator.tell("url"), simulator.tell("logins")
        settings = place.settings_in(folder)
        with place.running(settings):
            pass  # set up, and stopped again
        simulator.tell("stand_at", ist(day, 16))
        environment = os.environ | {
            "PORTFOLIO_SCHEDULER_DATA": str(settings.data),
            "PORTFOLIO_SCHEDULER_KEYS": str(settings.keys),
            "PORTFOLIO_SCHEDULER_GROWW_URL": url,
            "PORTFOLIO_SCHEDULER_CLOCK": f"{ist(day, 16).isoformat()}@{SystemClock().now().isoformat()}",
            "DATABASE_URL": "",
        }
        seconds = []
        for number, login in enumerate(logins):
            typed = f"{login['api_key']}\n{login['totp_secret']}\n"
            label = f"account {number}"
            await _run(environment, "accounts", "add", "--label", label, "--login", "totp", "--stdin", typed=typed)
            clock = SystemClock()
            started = clock.monotonic()
            await _run(environment, "sync", label)
            seconds.append(clock.monotonic() - started)
    return [figure("warm-start", "`sync` of a new account, server stopped before", "s", seconds, at_most(3), STEPS)]


async def _run(environment: dict[str, str], *command: str, typed: str = "") -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "portfolio_scheduler",
        *command,
        env=environment,
        cwd=Path.cwd(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(typed.encode())
    if process.returncode:
        raise Failed(f"`{' '.join(command)}` ended with {process.returncode}: {(out + err).decode()[-500:]}")
