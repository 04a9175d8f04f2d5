"""The list of instruments: taken in once a day, changed lines only, with the days on which a name holds."""

import gzip
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from portfolio_scheduler.errors import BrokerError, Conflict, InvalidInput
from portfolio_scheduler.simulator.server import Fault
from portfolio_scheduler.sync.instruments import Loaded, load_instruments
from tests.conftest import Database
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.instrument_files import Row, a_full_file, an_isin, csv_of
from tests.scale import scaled

OLD, NEW, OTHER = an_isin(1), an_isin(2), an_isin(3)
TODAY, TOMORROW = FIRST_DAY, FIRST_DAY + timedelta(days=1)
BASE: tuple[Row, ...] = tuple(("NSE", "CASH", f"STEADY{n}", an_isin(100 + n)) for n in range(20))


async def load(stage: Stage, folder: Path, *rows: Row, text: str | None = None) -> Loaded:
    path = folder / "list.csv"
    path.write_text(csv_of((*BASE, *rows)) if text is None else text)
    loaded = await load_instruments(stage.app, path)
    assert loaded is not None
    return loaded


async def names(stage: Stage, word: str) -> list[Any]:
    return await stage.rows(
        "SELECT trading_symbol, isin, from_on, to_on FROM instruments WHERE %s IN (trading_symbol, isin) "
        "ORDER BY from_on, trading_symbol",
        word,
    )


async def test_growws_list_is_taken_in_once_a_day(stage: Stage) -> None:
    loaded = await load_instruments(stage.app)
    assert loaded is not None
    assert (loaded.file.opened, loaded.file.closed, loaded.bad_count) == (loaded.file.listed, 0, 0)
    assert loaded.file.listed > 170
    assert await load_instruments(stage.app) is None
    assert stage.sim.requests_by_path() == {"GET /v1/instruments/instrument.csv": 1}
    assert await stage.one("SELECT count(*) FROM instruments WHERE trading_symbol = ''") == 0
    stage.at(TOMORROW, 9)
    again = await load_instruments(stage.app)
    assert again is not None
    assert again.file.relabelled == 0


async def test_no_token_is_sent_for_it(stage: Stage) -> None:
    await stage.connect(1)
    await load_instruments(stage.app)
    assert [r.account for r in stage.sim.requests if "instrument" in r.path] == [None]


async def test_unchanged_lines_write_nothing(stage: Stage, folder: Path) -> None:
    await load(stage, folder)
    before = await stage.rows("SELECT xmin::text, ctid::text, * FROM instruments ORDER BY trading_symbol")
    stage.at(TOMORROW, 9)
    same = await load(stage, folder)
    assert same.unchanged
    more = await load(stage, folder, ("NSE", "CASH", "NEWCO", NEW))
    assert (more.file.opened, more.file.closed, more.file.relabelled) == (1, 0, 0)
    after = await stage.rows(
        "SELECT xmin::text, ctid::text, * FROM instruments WHERE trading_symbol <> 'NEWCO' ORDER BY trading_symbol"
    )
    assert after == before


async def test_a_symbol_that_means_another_isin_has_two_lives(stage: Stage, folder: Path) -> None:
    await load(stage, folder, ("NSE", "CASH", "ABB", OLD))
    stage.at(TOMORROW, 9)
    await load(stage, folder, ("NSE", "CASH", "ABB", NEW))
    assert await names(stage, "ABB") == [("ABB", OLD, TODAY, TOMORROW), ("ABB", NEW, TOMORROW, None)]


async def test_a_renamed_company_keeps_its_isin(stage: Stage, folder: Path) -> None:
    await load(stage, folder, ("NSE", "CASH", "ZOMATO", OLD))
    stage.at(TOMORROW, 9)
    await load(stage, folder, ("NSE", "CASH", "ETERNAL", OLD))
    assert await names(stage, OLD) == [("ZOMATO", OLD, TODAY, TOMORROW), ("ETERNAL", OLD, TOMORROW, None)]


async def test_a_list_corrected_within_the_day_leaves_no_empty_life(stage: Stage, folder: Path) -> None:
    await load(stage, folder, ("NSE", "CASH", "ABB", OLD), ("NSE", "CASH", "TYPO", OTHER))
    await load(stage, folder, ("NSE", "CASH", "ABB", NEW))
    assert await names(stage, "ABB") == [("ABB", NEW, TODAY, None)]
    assert await names(stage, "TYPO") == []


async def test_expired_contracts_are_forgotten(stage: Stage, folder: Path) -> None:
    await load(stage, folder, ("NSE", "FNO", "ABB26APR100CE", OLD))
    assert await names(stage, "ABB26APR100CE") == [("ABB26APR100CE", None, TODAY, None)]
    stage.at(TOMORROW, 9)
    await load(stage, folder, ("NSE", "FNO", "ABB26MAY100CE", ""))
    assert await names(stage, "ABB26APR100CE") == []


async def test_a_symbol_listed_with_two_isins_changes_nothing_and_is_told(stage: Stage, folder: Path) -> None:
    await load(stage, folder, ("NSE", "CASH", "ABB", OLD))
    stage.at(TOMORROW, 9)
    loaded = await load(stage, folder, ("NSE", "CASH", "ABB", NEW), ("NSE", "CASH", "ABB", OTHER))
    assert loaded.unclear == ("NSE:ABB",)
    assert await names(stage, "ABB") == [("ABB", OLD, TODAY, None)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no exchange"),
        ("<!DOCTYPE html><html><body>Sorry</body></html>\n", "names no exchange"),
        ("exchange,segment,trading_symbol,isin\n", "lists nothing"),
        (csv_of(BASE)[:-30], "cut off: its last line, 21, has"),
        (csv_of(BASE[:10]), "names 10 of NSE CASH, where 20 are known"),
        (csv_of([("BSE", "CASH", "ABB", OLD)]), "names 0 of NSE CASH"),
        (csv_of(BASE) + "x" * 70_000 + "\n", "longer than 64 KiB"),
        (csv_of(BASE) + '"' + "y,\n" * 50_000, "cannot be read as a table"),
        (csv_of([*BASE, ("NSE", "CASH", "S" * 60, OLD), ("NSE", "CASH", "ABB", OLD)]), "is no trading symbol"),
        (csv_of([*BASE, ("NSE", "CASH", "A\0B", OLD), ("NSE", "CASH", "ABB", OLD)]), "is no trading symbol"),
        (csv_of([*BASE, ("NSE", "CASH", "ABB", "INE117A01023"), ("NSE", "CASH", "X", OLD)]), "is no ISIN"),
    ],
    ids=["empty", "html", "header", "cut", "half", "other", "long", "quote", "symbol", "nul", "isin"],
)
async def test_an_odd_file_changes_nothing_and_says_so(stage: Stage, folder: Path, text: str, said: str) -> None:
    await load(stage, folder)
    before = await stage.rows("SELECT * FROM instruments ORDER BY trading_symbol")
    stage.at(TOMORROW, 9)
    with pytest.raises(InvalidInput, match=said):
        await load(stage, folder, text=text)
    assert await stage.rows("SELECT * FROM instruments ORDER BY trading_symbol") == before
    assert await stage.one("SELECT count(*) FROM instrument_lines") == 0
    assert await stage.one("SELECT count(*) FROM instrument_files") == 1


async def test_one_odd_line_among_many_is_left_out_and_told(stage: Stage, folder: Path) -> None:
    many = [("NSE", "CASH", f"MANY{n}", an_isin(1000 + n)) for n in range(300)]
    loaded = await load(stage, folder, ("NSE", "CASH", "ABB", "NO ISIN"), *many)
    assert [(bad.line, bad.reason) for bad in loaded.bad] == [(22, "ABB: 'NO ISIN' is no ISIN")]
    assert loaded.file.opened == 320


async def test_a_packed_file_is_read_as_well(stage: Stage, folder: Path) -> None:
    path = folder / "list.csv.gz"
    path.write_bytes(gzip.compress(csv_of(BASE).encode()))
    loaded = await load_instruments(stage.app, path)
    assert loaded is not None
    assert loaded.file.opened == 20
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInput, match="cut off"):
        await load_instruments(stage.app, path)


async def test_a_list_of_an_earlier_day_is_refused(stage: Stage, folder: Path) -> None:
    stage.at(TOMORROW, 9)
    await load(stage, folder)
    stage.clock.set(stage.clock.now() - timedelta(days=1))
    with pytest.raises(Conflict, match="older names over newer ones"):
        await load(stage, folder, ("NSE", "CASH", "ABB", OLD))


@pytest.mark.parametrize(
    "fault",
    [Fault(kind="html", times=None), Fault(kind="cut", times=None), Fault(kind="gzip_bomb", times=None)],
    ids=lambda fault: fault.kind,
)
async def test_a_download_that_fails_changes_nothing(stage: Stage, fault: Fault) -> None:
    stage.sim.add_fault(fault)
    with pytest.raises(BrokerError):
        await load_instruments(stage.app)
    assert await stage.one("SELECT count(*) FROM instruments") == 0


LOADER = """
import asyncio, json, re, sys, time
from datetime import date
from pathlib import Path
from portfolio_scheduler.app import App
from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.clock import StoppedClock, ist
from portfolio_scheduler.db.pool import make_pool, opened, transaction
from portfolio_scheduler.market.calendar import make_calendar
from portfolio_scheduler.settings import load
from portfolio_scheduler.sync.instruments import load_instruments

async def main():
    async with opened(make_pool(sys.argv[1], "worker")) as pool:
        app = App(settings=load(), pool=pool, conninfo="", api_conninfo="",
            clock=StoppedClock(ist(date(2026, 4, 20), 9)),
            calendar=make_calendar(), sealer=None, vault=None, brokers={"groww": Groww()})
        async with transaction(pool) as tx:
            await tx.execute("SELECT 1")
        peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
        before, told = peak(), []
        for path in sys.argv[2:]:
            since = time.monotonic()
            loaded = await load_instruments(app, Path(path))
            told.append([time.monotonic() - since, loaded.file.listed, loaded.file.opened, loaded.file.closed])
        print(json.dumps({"mebibytes": (peak() - before) / 1024, "told": told}))

asyncio.run(main())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read as Linux tells it")
@pytest.mark.long
def test_a_file_of_full_size_takes_little_memory(database: Database, folder: Path) -> None:
    """150 000 lines in the proof, a fifth of that elsewhere: first all new, then a thousand changed."""
    lines = scaled(150_000, share=5)
    first, second = folder / "first.csv", folder / "second.csv"
    size = a_full_file(first, lines)
    assert size > 140 * lines
    second.write_text(first.read_text().replace("SHARE0001", "SHIFT0001"))
    command = [sys.executable, "-c", LOADER, database.worker, str(first), str(second)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    sys.stderr.write(f"{size / 1024**2:.0f} MiB of instruments: {figures}\n")
    assert figures["mebibytes"] < 60 * lines / 150_000  # what is read at once would take four times the file
    assert [told[1:] for told in figures["told"]] == [[lines, lines, 0], [lines, 1000, 1000]]
