"""Keeps the embedded server running for a process that stays: it stops by itself when its disk is full.

PostgreSQL cannot go on without writing its log, and cannot recover while there is no room for it. So somebody has to
start it again once there is.
"""

import asyncio

from portfolio_scheduler.db import embedded
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.log import logger
from portfolio_scheduler.settings import Settings

LOOK_SECONDS = 5

log = logger()


async def keep_running(settings: Settings, look_seconds: float = LOOK_SECONDS) -> None:
    """Look every few seconds, for ever. What keeps the server from starting is said once."""
    said = ""
    while True:
        try:
            if await asyncio.to_thread(embedded.revive, settings):
                log.warning("the embedded database had stopped and runs again")
                said = ""
        except SetupProblem as error:
            if error.message != said:
                log.warning("the embedded database has stopped and cannot be started", reason=error.message)
            said = error.message
        await asyncio.sleep(look_seconds)
