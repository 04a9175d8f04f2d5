"""A second transaction that gets in the way of a worker's, so that PostgreSQL itself raises the conflict.

The worker calls these in the midst of its own transaction and goes on when the rival is in place.
"""

import os
import threading
import time
from contextlib import suppress
from typing import Any

import psycopg

PATIENCE_SECONDS = 10
RUNNING = "SELECT id FROM sync_batches WHERE status = 'running' AND worker LIKE %s ORDER BY id FOR UPDATE"
HEADS = """SELECT FROM account_heads WHERE account_id IN (
    SELECT account_id FROM sync_batches WHERE status = 'running' AND worker LIKE %s) ORDER BY account_id FOR UPDATE"""


def deadlock(superuser: str) -> None:
    """The rival holds the batch, which the worker writes last, and waits for the head, which the worker has.

    It never looks for deadlocks itself, so the worker's transaction is the one that is ended.
    """
    rival = psycopg.connect(superuser)
    rival.execute("SET deadlock_timeout = '1h'")
    rival.execute(RUNNING, (_ours(),))
    threading.Thread(target=_wait_for_the_head, args=(rival,), daemon=True).start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    with psycopg.connect(superuser, autocommit=True) as other:
        while not _waits(other, rival) and time.monotonic() < deadline:
            time.sleep(0.01)


def _wait_for_the_head(rival: "psycopg.Connection[Any]") -> None:
    with suppress(psycopg.Error), rival:
        rival.execute(HEADS, (_ours(),))
        rival.rollback()


def _waits(other: "psycopg.Connection[Any]", rival: "psycopg.Connection[Any]") -> bool:
    query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    row = other.execute(query, (rival.info.backend_pid,)).fetchone()
    return bool(row and row[0])


def overtake(superuser: str) -> None:
    """The rival changes the batch and commits after the worker's snapshot was taken."""
    with psycopg.connect(superuser, autocommit=True) as rival:
        rival.execute(
            "UPDATE sync_batches SET heartbeat_at = now() WHERE status = 'running' AND worker LIKE %s", (_ours(),)
        )


def _ours() -> str:
    return f"%:{os.getpid()}"
