"""`serve` as a process whose clock ticks on from an instant: `python -m tests.flows.serve_process AT PORT FINISH`, the
seconds that running syncs get to end."""

import asyncio
import sys
from datetime import datetime

from portfolio_scheduler.cli.serve import serve, until_stopped
from portfolio_scheduler.clock import TickingClock
from portfolio_scheduler.settings import load

if __name__ == "__main__":
    at, port, finish = datetime.fromisoformat(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    asyncio.run(
        until_stopped(
            load(),
            lambda app, stop: serve(app, host="127.0.0.1", port=port, stop=stop, finish_seconds=finish),
            clock=TickingClock(at),
        )
    )
