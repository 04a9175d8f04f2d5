"""`instruments` and `prices`: what they take, print and refuse."""

from pathlib import Path

import pytest

from tests.cli.conftest import DAY, Terminal

INFY, TCS = "INE009A01021", "INE467B01029"
LIST = "exchange,segment,trading_symbol,isin,name\nNSE,CASH,INFY,{infy},Infosys\nBSE,CASH,INFY,{infy},Infosys\n"


@pytest.fixture
def listed(terminal: Terminal, folder: Path) -> Terminal:
    path = folder / "list.csv"
    path.write_text(LIST.format(infy=INFY))
    answer = terminal("instruments", "load", str(path))
    assert (answer.code, answer.out) == (
        0,
        "2 instruments: 2 new names, 0 that no longer hold, 0 described anew.\n",
    ), answer
    return terminal


def test_growws_list_is_loaded_and_shown(terminal: Terminal) -> None:
    first = terminal("instruments", "load", "--json").json
    assert (first["file"]["source"], first["file"]["opened"]) == ("groww", first["file"]["listed"])
    assert terminal("instruments", "load").out.startswith("The list is the same as the last one: ")
    shown = terminal("instruments", "show", "infy")
    assert INFY in shown.out
    assert [row["exchange"] for row in terminal("instruments", "show", INFY, "--json").json["instruments"]] == [
        "NSE",
        "BSE",
    ]


def test_a_file_that_is_no_list_is_refused(listed: Terminal, folder: Path) -> None:
    (folder / "page.html").write_text("<html></html>\n")
    answer = listed("instruments", "load", str(folder / "page.html"))
    assert (answer.code, answer.out) == (2, "")
    assert "is not Groww's list of instruments" in answer.err


def test_an_unknown_name_says_what_to_do(terminal: Terminal) -> None:
    assert "is not known; `portfolio-scheduler instruments load`" in terminal("instruments", "show", "NOBODY").out


def test_a_link_is_repeated_in_words_and_may_be_forgotten(listed: Terminal) -> None:
    given = ("instruments", "link", INFY, TCS, "--kind", "split", "--ratio", "5:1", "--on", "2026-04-22")
    assert listed(*given).out == f"Linked. split on 22 Apr 2026: 1 of {INFY} become 5 of {TCS}.\n"
    shown = listed("instruments", "show", "INFY").out
    assert f"split on 22 Apr 2026: 1 of {INFY} become 5 of {TCS}" in shown
    assert listed("instruments", "show", "INFY", "--json").json["instruments"][0]["successor_isin"] == TCS
    assert listed(*given, "--remove").out.startswith("Forgotten.")
    assert listed("instruments", "show", "INFY", "--json").json["instruments"][0]["successor_isin"] is None
    assert listed(*given, "--remove").code == 2


@pytest.mark.parametrize("ratio", ["1:5x", "0:1", "five"])
def test_a_wrong_ratio_is_refused(terminal: Terminal, ratio: str) -> None:
    answer = terminal("instruments", "link", INFY, TCS, "--kind", "split", "--ratio", ratio, "--on", "2026-04-22")
    assert (answer.code, answer.out) == (2, "")
    assert "no ratio like 5:1" in answer.err


def test_prices_are_imported_and_the_day_is_valued_anew(terminal: Terminal, folder: Path) -> None:
    path = folder / "prices.csv"
    path.write_text(f"date,isin,close\n2026-04-17,{INFY},1400\n2026-04-17,{TCS},3000.5\n")
    terminal.at(DAY, 16)
    assert (
        terminal("prices", "import", str(path)).out == "2 closing prices of 17 Apr 2026: 2 new, 0 changed, 0 known.\n"
    )
    path.write_text(f"date,isin,close\n2026-04-17,{INFY},1401\n2026-04-16,{TCS},3000.5\n")
    assert terminal("prices", "import", str(path)).out == (
        "2 closing prices of 16 Apr 2026 to 17 Apr 2026: 1 new, 1 changed, 0 known.\n"
    )
    assert terminal("prices", "import", str(path), "--source", "mine", "--json").json["new"] == 2


def test_bad_lines_are_told_by_their_number(terminal: Terminal, folder: Path) -> None:
    path = folder / "prices.csv"
    path.write_text(f"date,isin,close\n2026-04-17,{INFY},1400\n2026-04-17,{TCS},-1\n2026-04-17,X\x1b[31m,5\n")
    refused = terminal("prices", "import", str(path))
    assert (refused.code, refused.out) == (2, "")
    assert "line 3: -1 is no price: more than 0" in refused.err
    assert "line 4: " in refused.err
    assert "\x1b" not in refused.err
    assert "2 lines of prices.csv cannot be used, so nothing was imported" in refused.err
    skipped = terminal("prices", "import", str(path), "--skip-bad")
    assert skipped.code == 0
    assert "1 closing prices of 17 Apr 2026: 1 new" in skipped.out
    assert "2 bad lines were left out." in skipped.out


def test_status_says_why_the_morning_s_list_could_not_be_taken_in(terminal: Terminal) -> None:
    terminal.connect(1)
    assert terminal("status", "--json").json["instruments"] is None
    terminal.rows(
        "INSERT INTO instrument_loading (worker, leased_until, retry_at, failures, error_text) "
        "VALUES ('w', now(), now(), 2, 'Groww does not give its list.') RETURNING 1"
    )
    said = "The list of instruments could not be taken in (2 times): Groww does not give its list."
    assert said in terminal("status").out
    assert terminal("status", "--json").json["instruments"]["failures"] == 2
