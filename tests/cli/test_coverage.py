"""The grid of days: every trading day is on it, whatever became of it."""

import dataclasses
from datetime import date

from portfolio_scheduler.simulator.faults import Fault
from tests.cli.conftest import DAY, NEXT_DAY, Terminal

WEDNESDAY, THURSDAY = date(2026, 4, 22), date(2026, 4, 23)


def states(terminal: Terminal, *args: str) -> list[tuple[str, str]]:
    return [(day["trading_on"], day["state"]) for day in terminal("coverage", *args, "--json").json["days"]]


def test_every_trading_day_shows_what_became_of_it(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    terminal("sync")
    terminal.at(NEXT_DAY, 16)
    terminal.sim.add_fault(Fault(kind="html", path="/v1/positions", status=404))
    terminal.sim.add_fault(Fault(kind="html", path="/v1/holdings", status=404))
    terminal("sync")
    assert states(terminal) == [("2026-04-21", "partial"), ("2026-04-20", "complete")]
    terminal.at(THURSDAY, 10)
    before = [("2026-04-22", "missing"), ("2026-04-21", "partial"), ("2026-04-20", "complete")]
    assert states(terminal) == [("2026-04-23", "not yet"), *before]
    terminal("sync")
    lost = [("2026-04-22", "lost"), *before[1:]]
    assert states(terminal) == [("2026-04-23", "provisional"), *lost]
    assert states(terminal, "--to", "2026-04-22", "--from", "2026-04-21") == lost[:2]
    terminal.at(date(2026, 4, 26), 12)  # a Sunday
    assert [on for on, _ in states(terminal)][:2] == ["2026-04-24", "2026-04-23"]


def test_people_see_a_grid(traded: Terminal) -> None:
    answer = traded("coverage")
    assert answer.code == 0
    heading, *lines = [line.split() for line in answer.out.splitlines() if line.strip() and "─" not in line][1:]
    assert heading == ["Day", "All", "Holdings", "Positions", "Orders", "Fills", "Margin", "Prices"]
    assert lines[0] == ["21", "Apr", "2026", *["complete"] * 7]


def test_of_one_segment_only_its_name_is_shown(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    terminal("sync")
    assert "positions:FNO" in terminal("coverage", "--json").json["days"][0]["sections"]
    from portfolio_scheduler.cli.coverage import _cell

    sections = {"positions:CASH": "complete", "positions:FNO": "partial", "orders": "lost", "orders:CASH": "late"}
    assert [_cell(sections, group) for group in ("positions", "orders")] == ["partial (FNO)", "lost"]


def test_prices_from_elsewhere_are_imported(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    terminal.at(DAY, 16)
    terminal("sync")
    terminal.sim.add_fault(Fault(kind="failure", path="/v1/live-data", status=403, code="403", times=None))
    terminal.at(NEXT_DAY, 16)
    terminal("sync")
    [day, _] = terminal("coverage", "--json").json["days"]
    assert day["sections"]["prices"] == "imported"
    [one] = terminal("status", "--json").json["accounts"]
    assert (one["coverage"]["complete"], one["coverage"]["imported"]) == (1, 1)
    assert "1 complete, 1 imported" in terminal("accounts", "show", "mine").out


def test_a_span_that_ends_before_it_begins_is_refused(terminal: Terminal) -> None:
    answer = terminal("coverage", "--from", "2026-04-22", "--to", "2026-04-21")
    assert (answer.code, answer.err) == (2, "--from 2026-04-22 is after --to 2026-04-21.")


def test_without_accounts_the_first_step_is_named(terminal: Terminal) -> None:
    assert "accounts add" in terminal("coverage").out


def sections(terminal: Terminal, on: date, *args: str) -> dict[str, str]:
    days = terminal("coverage", *args, "--json").json["days"]
    [found] = [day["sections"] for day in days if day["trading_on"] == on.isoformat()]
    return dict(found)


def test_what_was_not_read_says_why(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 10)
    assert set(sections(terminal, DAY).values()) == {"not yet", "not expected"}
    terminal("sync")
    assert sections(terminal, DAY)["orders:CASH"] == "provisional"
    terminal.at(WEDNESDAY, 10)
    assert set(sections(terminal, NEXT_DAY).values()) == {"missing", "not expected"}
    terminal("sync")
    lost = sections(terminal, NEXT_DAY)
    assert {lost[name] for name in ("orders", "positions:CASH", "fills", "holdings")} == {"lost"}
    assert sections(terminal, DAY)["orders:CASH"] == "provisional", "the day before stays what it was"


def test_segments_that_are_not_active_are_not_expected(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 16)
    terminal("sync")
    found = sections(terminal, DAY)
    assert (found["orders:CASH"], found["orders:COMMODITY"]) == ("complete", "not expected")


def test_days_before_the_account_was_connected_are_shown_when_asked_for(terminal: Terminal) -> None:
    terminal.at(NEXT_DAY, 16)
    terminal.connect(1, "mine")
    terminal("sync")
    assert states(terminal) == [("2026-04-21", "complete")]
    assert states(terminal, "--from", "2026-04-20") == [("2026-04-21", "complete"), ("2026-04-20", "not expected")]


def test_a_day_read_after_midnight_is_late_or_lost_never_complete(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 10)
    terminal("sync")
    terminal.at(NEXT_DAY, 2)
    terminal("sync")
    assert sections(terminal, DAY)["holdings"] == "late"
    assert "complete" not in sections(terminal, DAY).values()


def test_orders_that_were_completed_the_next_morning_are_named_and_the_day_is_not_called_complete(
    terminal: Terminal,
) -> None:
    quirks = dataclasses.replace(terminal.sim.world.quirks, remembers_orders=True)
    terminal.sim.account(2).quirks = quirks
    terminal.connect(2, "trader")
    terminal.at(DAY, 10)
    terminal("sync")
    terminal.at(NEXT_DAY, 9, 30)
    terminal("sync")
    [_, day] = terminal("coverage", "--json").json["days"]
    assert (day["state"], bool(day["recovered"]), day["unanswered"]) == ("provisional", True, [])
    out = terminal("coverage").out
    assert "asked for by id on a later day" in out
    assert "Orders placed after that day's last reading cannot be known." in out


def test_a_silent_order_is_named(terminal: Terminal) -> None:
    terminal.connect(2, "trader")
    terminal.at(DAY, 10)
    terminal("sync")
    terminal.at(NEXT_DAY, 9, 30)
    terminal("sync")
    [_, day] = terminal("coverage", "--json").json["days"]
    assert day["unanswered"]
    assert all(f"no answer about {order}" in terminal("coverage").out for order in day["unanswered"][:1])
