"""The summary: a snapshot after the close, computed before it, always with what is unknown and why."""

from datetime import date
from decimal import Decimal

import pytest

from portfolio_scheduler.simulator.faults import Fault
from tests.cli.conftest import DAY, NEXT_DAY, Terminal

PARTS = ("market_move", "net_invested", "transferred", "unexplained")


def test_after_the_close_it_is_the_snapshot(traded: Terminal) -> None:
    [summary] = traded("summary", "--json").json["accounts"]
    assert (summary["standing"], summary["trading_on"], summary["reason"]) == ("final", str(NEXT_DAY), None)
    assert sum(Decimal(summary[part]) for part in PARTS) == Decimal(summary["day_change"])
    assert summary["unknown"] == {}
    assert "21 Apr 2026, final" in traded("summary").out


def test_before_the_close_it_is_provisional_and_no_snapshot_is_written(traded: Terminal) -> None:
    traded.at(date(2026, 4, 22), 11)
    [before] = traded("summary", "--json").json["accounts"]
    assert (before["standing"], before["unread_on"]) == ("final", "2026-04-22")
    assert "22 Apr 2026 has not been read yet" in traded("summary").out

    assert traded("sync").code == 0
    [summary] = traded("summary", "--json").json["accounts"]
    assert (summary["standing"], summary["trading_on"]) == ("provisional", "2026-04-22")
    assert "before the session closed" in summary["reason"]
    assert summary["unread_on"] is None
    assert summary["previous_on"] == str(NEXT_DAY)
    assert sum(Decimal(summary[part]) for part in PARTS) == Decimal(summary["day_change"])
    assert traded.rows("SELECT count(*) FROM portfolio_snapshots") == [(2,)]

    traded.at(date(2026, 4, 22), 16)
    assert traded("sync").code == 0
    [after] = traded("summary", "--json").json["accounts"]
    assert (after["standing"], after["trading_on"]) == ("final", "2026-04-22")


def test_the_provisional_figures_equal_the_snapshot_that_follows(terminal: Terminal) -> None:
    """With the margin missing no snapshot is written; the rest is valued all the same."""
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    terminal.sim.add_fault(Fault(kind="raw", path="/v1/margins", body="not json", times=None))
    assert terminal("sync").code == 1
    [before] = terminal("summary", "--json").json["accounts"]
    assert before["standing"] == "provisional"
    assert "margin" in before["reason"]
    assert before["cash"] is None
    assert before["unknown"]["cash"]
    assert "–¹" in terminal("summary").out
    terminal.sim.faults.waiting.clear()
    assert terminal("sync", "--retry").code == 0
    [after] = terminal("summary", "--json").json["accounts"]
    assert after["standing"] == "final"
    assert after["cash"] is not None
    for name in ("holdings_value", "invested", "unrealised_pnl", "positions_pnl", "holdings_count", "orders_count"):
        assert before[name] == after[name]


def test_what_was_never_read_is_unknown_and_not_nothing(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    terminal.sim.add_fault(Fault(kind="raw", path="/v1/holdings", body="not json", times=None))
    assert terminal("sync").code == 1
    [summary] = terminal("summary", "--json").json["accounts"]
    assert (summary["standing"], summary["holdings_value"], summary["invested"]) == ("provisional", None, None)
    assert summary["unknown"]["holdings_value"] == "the holdings have never been read"
    assert summary["positions_pnl"] is not None
    assert "the holdings have never been read" in terminal("summary").out

    terminal.sim.faults.waiting.clear()
    terminal.sim.add_fault(Fault(kind="raw", path="/v1/positions", body="not json", times=None))
    terminal.at(NEXT_DAY, 16)
    assert terminal("sync").code == 1
    [summary] = terminal("summary", "--json").json["accounts"]
    assert summary["holdings_value"] is not None
    assert summary["positions_pnl"] is None
    assert "positions:CASH" in summary["unknown"]["positions_pnl"]


def test_holdings_of_an_earlier_day_are_called_so(traded: Terminal) -> None:
    traded.at(date(2026, 4, 22), 16)
    traded.sim.add_fault(Fault(kind="raw", path="/v1/holdings", body="not json", times=None))
    assert traded("sync").code == 1
    [summary] = traded("summary", "--json").json["accounts"]
    assert any("the holdings are those of 21 Apr 2026" in note for note in summary["notes"])
    assert "as read on 21 Apr 2026 16:00" in traded("holdings").out


def test_several_accounts_stand_side_by_side_first(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    assert terminal("sync", "mine").code == 0
    printed = terminal("summary").out
    assert printed.index("Account") < printed.index("mine, 20 Apr 2026, final") < printed.index("trader, nothing read")
    assert "portfolio-scheduler sync trader" in printed
    assert [one["account"] for one in terminal("summary", "trader", "--json").json["accounts"]] == ["trader"]


@pytest.mark.parametrize("hour", [1, 8])
def test_a_late_reading_the_next_morning_does_not_empty_the_day(traded: Terminal, hour: int) -> None:
    [before] = traded("summary", "--json").json["accounts"]
    traded.at(date(2026, 4, 22), hour)
    traded("sync")
    [after] = traded("summary", "--json").json["accounts"]
    assert (after["standing"], after["trading_on"]) == ("final", str(NEXT_DAY))
    assert after["holdings_value"] == before["holdings_value"]
