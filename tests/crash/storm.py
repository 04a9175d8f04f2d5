"""What disturbs workers from outside: kills, and the way back after the database has crashed."""

import asyncio
import random
import signal
from contextlib import suppress

import psycopg

from tests.crash.arena import Arena


class Killer:
    """Kills workers, whatever they are doing."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.count = 0

    def kill_one(self, place: Arena) -> None:
        alive = [worker for worker in place.workers if worker.is_alive]
        if alive:
            self.chance.choice(alive).send(signal.SIGKILL)
            self.count += 1


async def back(place: Arena) -> None:
    """Wait until the database answers: the last crash may still be going on."""
    while not _answers(place):
        place.reconnect()
        await asyncio.sleep(0.05)


def _answers(place: Arena) -> bool:
    with suppress(psycopg.Error):
        place.facts()
        return True
    return False
