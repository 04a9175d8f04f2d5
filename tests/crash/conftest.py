"""The process that crash tests fork their workers from, and what they count for the table at the end."""

import multiprocessing.forkserver
import os

import pytest

from portfolio_scheduler.failpoints import SWITCH
from tests.crash import worker_process


@pytest.fixture(scope="session", autouse=True)
def nursery() -> None:
    """Started once per test process, the only one with the failpoints' switch in its environment."""
    os.environ[SWITCH] = "1"
    try:
        worker_process.nursery.set_forkserver_preload(worker_process.PRELOADED)
        multiprocessing.forkserver.ensure_running()
    finally:
        del os.environ[SWITCH]
