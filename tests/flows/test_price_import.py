"""Prices from files, for those without live data: all of it or nothing, and a valued summary afterwards."""

import gzip
import io
import zipfile
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from portfolio_scheduler.cli.summary import summarise
from portfolio_scheduler.clock import ist
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.db.prices import newest
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.simulator.market import load_stocks
from portfolio_scheduler.simulator.options import Quirks
from portfolio_scheduler.sync.instruments import load_instruments
from portfolio_scheduler.sync.price_import import BadLines, Imported, import_prices
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.instrument_files import an_isin, csv_of
from tests.flows.ledger_checks import check_ledger

INFY, TCS = "INE009A01021", "INE467B01029"
FRIDAY = FIRST_DAY - timedelta(days=3)
OLD = (
    "SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES,ISIN,\n"
    f"INFY,BL,1400,1401,1399,1390.5,1390,1395,100,139050,17-APR-2026,1,{INFY},\n"
    f"INFY,EQ,1400,1420,1390,1410.25,1410,1395,1000,1410250,17-APR-2026,10,{INFY},\n"
    f"TCS,EQ,3000,3050,2990,3025.1,3025,3000,1000,3025100,17-APR-2026,10,{TCS},\n"
)
UDIFF = (
    "TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,XpryDt,FininstrmActlXpryDt,StrkPric,OptnTp,"
    "FinInstrmNm,OpnPric,HghPric,LwPric,ClsPric,LastPric,PrvsClsgPric\n"
    f"2026-04-17,2026-04-17,CM,NSE,STK,1594,{INFY},INFY,EQ,,,,,INFOSYS LIMITED,1400,1420,1390,1410.25,1410,1395\n"
    f"2026-04-17,2026-04-17,FO,NSE,STF,1,,INFY,,2026-04-30,2026-04-30,,,INFY26APRFUT,1400,1420,1390,1412,1410,1395\n"
)
PLAIN = f"Date,ISIN,Close\n2026-04-17,{INFY},1410.25\n2026-04-17,{TCS},3025.1\n"


async def imported(stage: Stage, folder: Path, text: str | bytes, **rest: Any) -> Imported:
    path = folder / "prices.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return await import_prices(stage.app, path, **rest)


async def kept(stage: Stage) -> list[Any]:
    return await stage.rows(
        "SELECT trading_symbol, priced_on, source, price FROM closing_prices ORDER BY trading_symbol, priced_on, source"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OLD, [("INFY", "import:nse", "1410.25"), ("TCS", "import:nse", "3025.1")]),
        (UDIFF, [("INFY", "import:nse", "1410.25")]),
        (PLAIN, [(INFY, "import:csv", "1410.25"), (TCS, "import:csv", "3025.1")]),
        (f"\ufeff{PLAIN}".replace("\n", "\r\n"), [(INFY, "import:csv", "1410.25"), (TCS, "import:csv", "3025.1")]),
    ],
    ids=["old", "udiff", "plain", "windows"],
)
async def test_each_form_is_read(stage: Stage, folder: Path, text: str, expected: list[Any]) -> None:
    done = await imported(stage, folder, text)
    assert (done.prices, done.new, done.first_on) == (len(expected), len(expected), FRIDAY)
    assert await kept(stage) == [(symbol, FRIDAY, source, Decimal(price)) for symbol, source, price in expected]
    again = await imported(stage, folder, text)
    assert (again.new, again.changed) == (0, 0)


async def test_packed_files_are_read(stage: Stage, folder: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("cm17APR2026bhav.csv", OLD)
    assert (await imported(stage, folder, archive.getvalue())).new == 2
    assert (await imported(stage, folder, gzip.compress(PLAIN.encode()), source="mine")).new == 2
    with pytest.raises(InvalidInput, match="cut off"):
        await imported(stage, folder, gzip.compress(PLAIN.encode())[:-9])
    with pytest.raises(InvalidInput, match="damaged"):
        await imported(stage, folder, archive.getvalue()[:60])
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr("another.csv", OLD)
    with pytest.raises(InvalidInput, match="2 files"):
        await imported(stage, folder, archive.getvalue())


BAD = (
    "date,isin,symbol,close\n"
    f"2026-04-17,{INFY},,1410.25\n"
    f"2026-04-17,{TCS},,0\n"
    f"2026-04-17,{TCS},,-1\n"
    f"2026-04-17,{TCS},,NaN\n"
    f"2026-04-17,{TCS},,1_000\n"
    f"2026-04-17,{TCS},,1000000001\n"
    f"2026-04-17,{TCS},,\n"
    f"2026-04-17,{TCS},\n"
    "2026-04-17,INE467B01028,,10\n"
    "2026-04-17,,NOBODY,10\n"
    "2026-04-17,,,10\n"
    f"2026-04-19,{TCS},,10\n"
    f"2026-04-20,{TCS},,10\n"
    f"17/04/2026,{TCS},,10\n"
    f"2026-04-16,{TCS},,10\n"
    f"2026-04-16,{TCS},,11\n"
)
REASONS = {
    3: "more than 0",
    4: "more than 0",
    5: "is no price",
    6: "is no price",
    7: "at most",
    8: "has no close",
    9: "has 3 fields instead of 4",
    10: "is no ISIN",
    11: "NOBODY is not known as a symbol of 2026-04-17",
    12: "neither an ISIN nor a symbol",
    13: "is no trading day",
    14: "has not closed yet",
    15: "is no date",
    16: "another close",
    17: "another close",
}


async def test_every_bad_line_is_told_and_nothing_is_half_written(stage: Stage, folder: Path) -> None:
    with pytest.raises(BadLines, match=r"15 lines of prices\.csv cannot be used, so nothing was imported") as refused:
        await imported(stage, folder, BAD)
    assert {bad.line: True for bad in refused.value.bad} == dict.fromkeys(REASONS, True)
    for bad in refused.value.bad:
        assert REASONS[bad.line] in bad.reason
    assert await kept(stage) == []
    done = await imported(stage, folder, BAD, skip_bad=True)
    assert (done.prices, done.bad_count) == (1, 15)
    assert await kept(stage) == [(INFY, FRIDAY, "import:csv", Decimal("1410.25"))]
    assert await stage.one("SELECT count(*) FROM price_lines") == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no file of closing prices"),
        ("<html>\n", "no file of closing prices"),
        ("date,close\n", "no file of closing prices"),
        ("date,isin,close\n", "holds no closing price"),
        (UDIFF.replace(",CM,", ",FO,"), "holds no closing price"),
        (PLAIN + "x" * 70_000, "longer than 64 KiB"),
    ],
)
async def test_what_is_no_price_file_is_refused(stage: Stage, folder: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        await imported(stage, folder, text)
    with pytest.raises(InvalidInput, match="No such file"):
        await import_prices(stage.app, folder / "absent.csv")
    with pytest.raises(InvalidInput, match="name of a source"):
        await import_prices(stage.app, folder / "prices.csv", source="A b")


async def test_a_symbol_means_what_it_meant_on_that_day(stage: Stage, folder: Path) -> None:
    listing, (before, after, other) = folder / "list.csv", (an_isin(1), an_isin(2), an_isin(3))
    listing.write_text(csv_of([("NSE", "CASH", "ABB", before), ("NSE", "CASH", "TWO", before)]))
    await load_instruments(stage.app, listing)
    stage.at(FIRST_DAY + timedelta(days=1), 9)
    rows = [("NSE", "CASH", "ABB", after), ("NSE", "CASH", "TWO", before), ("BSE", "CASH", "TWO", other)]
    listing.write_text(csv_of(rows))
    await load_instruments(stage.app, listing)
    stage.at(FIRST_DAY + timedelta(days=1), 16)
    text = "date,symbol,exchange,close\n2026-04-20,ABB,,500\n2026-04-21,ABB,,100\n2026-04-21,TWO,BSE,7\n"
    await imported(stage, folder, text)
    assert await stage.rows("SELECT instrument_key, priced_on FROM closing_prices ORDER BY priced_on, price DESC") == [
        (before, FIRST_DAY),
        (after, FIRST_DAY + timedelta(days=1)),
        (other, FIRST_DAY + timedelta(days=1)),
    ]
    with pytest.raises(BadLines) as refused:
        await imported(stage, folder, "date,symbol,close\n2026-04-21,TWO,7\n2026-04-17,ABB,8\n")
    assert [bad.reason for bad in refused.value.bad] == [
        f"TWO meant {before} and {other} on 2026-04-21; give the ISIN or the exchange",
        "ABB is not known as a symbol of 2026-04-17; give the ISIN",
    ]


async def test_the_last_price_after_the_close_comes_before_an_imported_one(stage: Stage, folder: Path) -> None:
    """Rule 7: last traded price, imported close, last known. One traded before the close gives way to the close."""
    await imported(stage, folder, PLAIN)

    async def used(source: str, at: str, price: int) -> tuple[str, Decimal]:
        await stage.rows(
            "INSERT INTO closing_prices VALUES (%s, %s, %s, %s, %s, 'NSE', 'CASH', 'INFY') RETURNING 1",
            INFY, FRIDAY, source, price, at,
        )  # fmt: skip
        async with transaction(stage.app.pool) as tx:
            point = (await newest(tx, [INFY], FIRST_DAY))[INFY]
        return point.source, point.price

    assert await used("midday", "2026-04-17T12:00:00+05:30", 1) == ("import:csv", Decimal("1410.25"))
    assert await used("ltp", "2026-04-17T16:00:00+05:30", 2) == ("ltp", Decimal(2))


@pytest.fixture
async def unentitled(stage: Stage) -> Stage:
    stage.sim.world.quirks = Quirks(not_entitled=frozenset({1, 2, 3}))
    return stage


def bhavcopy(stage: Stage, on: date) -> str:
    """The closing prices of all stocks of the simulator on a day, as the exchange would publish them."""
    market = stage.sim.world.market
    head, _, _ = OLD.partition("\n")
    rows = [
        f"{s.symbol},EQ,1,1,1,{Decimal(market.close(s.symbol, market.days.index_at(on))).scaleb(-2)},1,1,1,1,"
        f"{on:%d-%b-%Y},1,{s.isin},\n"
        for s in load_stocks()
    ]
    return head + "\n" + "".join(rows)


async def test_an_account_without_live_data_is_valued_after_an_import(unentitled: Stage, folder: Path) -> None:
    stage = unentitled
    account = await stage.connect(1)
    days = [FIRST_DAY, FIRST_DAY + timedelta(days=1)]
    for day in days:
        stage.at(day, 16)
        report = await stage.sync(account)
        assert (report.status, report.counts["snapshots"]) == ("completed", 1)
    before = await summarise(stage.app, account)
    assert before.priced_ratio == 0
    text = bhavcopy(stage, days[0]) + bhavcopy(stage, days[1]).partition("\n")[2]
    done = await imported(stage, folder, text)
    assert [(one.account, one.days) for one in done.revalued] == [("account 1", tuple(days))]
    after = await summarise(stage.app, account)
    assert (after.standing, after.priced_ratio, after.revision, after.oldest_price_on) == ("final", 1, 2, days[1])
    assert after.holdings_value is not None
    assert after.holdings_value > 0
    assert after.day_change is not None
    assert after.unexplained == 0
    again = await imported(stage, folder, text)
    assert again.revalued == ()
    report = await stage.sync(account)
    assert report.counts["snapshots"] == 0, "the next reading agrees with the revision"


async def test_a_corrected_close_revises_the_days_it_was_used_on(unentitled: Stage, folder: Path) -> None:
    stage = unentitled
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    await stage.sync(account)
    await imported(stage, folder, bhavcopy(stage, FIRST_DAY))
    (isin,) = await stage.rows("SELECT isin FROM real_holdings LIMIT 1")
    done = await imported(stage, folder, f"date,isin,close\n2026-04-20,{isin[0]},1\n", source="nse")
    assert (done.changed, [one.days for one in done.revalued]) == (1, [(FIRST_DAY,)])


async def test_accounts_with_live_data_keep_their_figures(stage: Stage, folder: Path) -> None:
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    await stage.sync(account)
    done = await imported(stage, folder, bhavcopy(stage, FIRST_DAY).replace(",EQ,1,1,1,", ",EQ,1,1,1,9"))
    assert done.revalued == ()
    assert await stage.one("SELECT count(*) FROM portfolio_snapshots") == 1


async def valued_at_noons_prices(stage: Stage) -> Any:
    """An account whose live data ended after noon, so that its day is valued with the prices of then."""
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 12)
    await stage.sync(account)
    assert not [note for note in (await summarise(stage.app, account)).notes if "before the close" in note], (
        "while the exchange trades nobody expects a closing price"
    )
    stage.sim.world.quirks = Quirks(not_entitled=frozenset({1, 2, 3}))
    stage.at(FIRST_DAY, 16)
    assert (await stage.sync(account)).counts["snapshots"] == 1
    return account


async def test_a_price_of_noon_never_passes_for_a_closing_price(stage: Stage, folder: Path) -> None:
    account = await valued_at_noons_prices(stage)
    said = await summarise(stage.app, account)
    assert (said.standing, said.priced_ratio) == ("final", 1)
    held = await stage.one("SELECT count(*) FROM jsonb_array_elements((SELECT lines FROM portfolio_snapshots))")
    assert any(note.startswith(f"{held} prices are from before the close: ") for note in said.notes), said.notes
    assert (
        await stage.one(
            """SELECT count(*) FROM portfolio_snapshots, jsonb_array_elements(lines) l
           WHERE (l ->> 'early_at')::timestamptz = %s""",
            ist(FIRST_DAY, 12),
        )
        == held
    )
    await check_ledger(stage, account.id)
    done = await imported(stage, folder, bhavcopy(stage, FIRST_DAY))
    assert [one.days for one in done.revalued] == [(FIRST_DAY,)]
    after = await summarise(stage.app, account)
    assert (after.revision, after.notes) == (2, ())
    assert (await imported(stage, folder, bhavcopy(stage, FIRST_DAY))).revalued == ()
    stage.at(FIRST_DAY, 23, 15)
    assert (await stage.sync(account)).counts.get("snapshots", 0) == 0, "no revision without end"
    await check_ledger(stage, account.id)


async def test_a_close_equal_to_the_price_of_noon_is_a_revision_as_well(stage: Stage, folder: Path) -> None:
    """No figure differs, but from now on they are those of the close."""
    await valued_at_noons_prices(stage)
    lines = await stage.rows("SELECT instrument_key, price FROM closing_prices WHERE instrument_key LIKE 'INE%%'")
    text = "date,isin,close\n" + "".join(f"2026-04-20,{isin},{price}\n" for isin, price in lines)
    assert [one.days for one in (await imported(stage, folder, text)).revalued] == [(FIRST_DAY,)]
    reason = await stage.one("SELECT reason FROM portfolio_snapshots ORDER BY seq DESC LIMIT 1")
    assert reason.endswith("differs in prices from before the close")
    assert (await imported(stage, folder, text)).revalued == ()
