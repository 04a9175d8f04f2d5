"""`serve` and `worker` take in the list of instruments each morning by themselves: once, whatever goes wrong."""

import asyncio
from datetime import timedelta

from portfolio_scheduler.clock import ist
from portfolio_scheduler.db import instrument_loading
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.jobs import Pulse, name_instruments, work
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.morning import last_morning
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.test_serve import until

PATH = "/v1/instruments/instrument.csv"
MONDAY, TUESDAY = FIRST_DAY, FIRST_DAY + timedelta(days=1)


def downloads(stage: Stage) -> int:
    return stage.sim.requests_by_path().get(f"GET {PATH}", 0)


async def days(stage: Stage) -> list[object]:
    return [on for (on,) in await stage.rows("SELECT read_on FROM instrument_files ORDER BY 1")]


def test_the_morning_is_eight_in_india() -> None:
    assert last_morning(ist(TUESDAY, 8)) == ist(TUESDAY, 8)
    assert last_morning(ist(TUESDAY, 7, 59)) == ist(MONDAY, 8)
    assert last_morning(ist(TUESDAY, 23, 59)) == ist(TUESDAY, 8)


async def test_the_list_is_taken_in_once_each_morning(stage: Stage) -> None:
    await stage.connect(1)
    for _ in range(3):
        await name_instruments(stage.app)
    assert (downloads(stage), await days(stage)) == (1, [MONDAY])
    stage.at(TUESDAY, 7, 59)
    await name_instruments(stage.app)
    assert downloads(stage) == 1
    stage.at(TUESDAY, 8, 1)
    await name_instruments(stage.app)
    assert (downloads(stage), await days(stage)) == (2, [MONDAY, TUESDAY])


async def test_a_missed_morning_is_caught_up_whenever_the_machine_wakes(stage: Stage) -> None:
    await stage.connect(1)
    stage.at(TUESDAY, 6)
    await name_instruments(stage.app)
    assert await days(stage) == [TUESDAY]
    stage.at(TUESDAY, 8)
    await name_instruments(stage.app)
    assert downloads(stage) == 2, "the list of six o'clock may have been yesterday's"


async def test_without_an_account_nothing_is_downloaded(stage: Stage) -> None:
    await name_instruments(stage.app)
    assert downloads(stage) == 0


async def test_of_many_processes_one_downloads_it(stage: Stage) -> None:
    await stage.connect(1)
    stage.sim.add_fault(Fault(kind="delay", path=PATH, seconds=0.3))
    await asyncio.gather(*(name_instruments(stage.app) for _ in range(5)))
    assert (downloads(stage), await days(stage)) == (1, [MONDAY])


async def test_a_process_that_died_at_it_holds_it_no_longer_than_its_lease(stage: Stage) -> None:
    await stage.connect(1)
    async with transaction(stage.app.pool) as tx:
        now = stage.clock.now()
        assert await instrument_loading.claim(tx, "somebody who died", now, now)
    await name_instruments(stage.app)
    assert downloads(stage) == 0
    await stage.rows("UPDATE instrument_loading SET leased_until = clock_timestamp() RETURNING 1")
    await name_instruments(stage.app)
    assert (downloads(stage), await days(stage)) == (1, [MONDAY])


async def test_a_failure_is_kept_and_tried_again_a_quarter_of_an_hour_later(stage: Stage) -> None:
    await stage.connect(1)
    stage.at(TUESDAY, 8)
    stage.sim.add_fault(Fault(kind="raw", path=PATH, body="<html>not today</html>"))
    await name_instruments(stage.app)
    async with transaction(stage.app.pool) as tx:
        trouble = await instrument_loading.trouble(tx)
    assert trouble is not None
    assert (trouble.failures, trouble.retry_at) == (1, ist(TUESDAY, 8, 15))
    assert trouble.error_text.startswith("This is not Groww's list of instruments")
    stage.at(TUESDAY, 8, 14)
    await name_instruments(stage.app)
    assert downloads(stage) == 1
    stage.at(TUESDAY, 8, 15)
    await name_instruments(stage.app)
    assert (downloads(stage), await days(stage)) == (2, [TUESDAY])
    async with transaction(stage.app.pool) as tx:
        assert await instrument_loading.trouble(tx) is None


async def test_a_clock_that_was_set_back_does_not_put_the_next_try_off(stage: Stage) -> None:
    await stage.connect(1)
    stage.at(TUESDAY, 12)
    stage.sim.add_fault(Fault(kind="raw", path=PATH, body="<html>not today</html>"))
    await name_instruments(stage.app)
    stage.clock.set(ist(MONDAY, 12))
    await name_instruments(stage.app)
    assert await days(stage) == [MONDAY]


async def test_the_worker_takes_it_in_and_syncs_do_not_wait_for_it(stage: Stage) -> None:
    """The real loops: a download that hangs, and the sync of a due account beside it."""
    await stage.connect(2)
    stage.at(MONDAY, 16)
    stage.sim.add_fault(Fault(kind="delay", path=PATH, seconds=60, times=None))
    stop = asyncio.Event()
    working = asyncio.create_task(work(stage.app, stop, Pulse()))
    await until(stage.rows, "SELECT FROM sync_batches WHERE status = 'completed'")
    assert await stage.one("SELECT leased_until > clock_timestamp() FROM instrument_loading"), "it hangs meanwhile"
    stop.set()
    await working
    assert await stage.one("SELECT leased_until <= clock_timestamp() FROM instrument_loading"), "the next may begin"
