"""docs/worked-examples.md is right: each row of each of its tables, computed."""

import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from portfolio_scheduler.clock import ist, ist_date
from portfolio_scheduler.domain.corporate_actions import ActionKind, CorporateAction, Movement
from portfolio_scheduler.domain.records import Position
from portfolio_scheduler.domain.valuation import Before, Book, Line, PricePoint, Trade, Valuation, value
from portfolio_scheduler.market.calendar import make_calendar
from tests.builders import MONDAY, TUESDAY, a_holding, a_position, d

PAGE = (Path(__file__).parents[2] / "docs" / "worked-examples.md").read_text(encoding="utf-8")
OLD, NEW = "INE009A01021", "INE467B01029"
Row = dict[str, str]


def table(heading: str) -> list[Row]:
    """The rows of the first table below a heading, by column."""
    text = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)
    ]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


def rows(heading: str) -> pytest.MarkDecorator:
    found = table(heading)
    return pytest.mark.parametrize("row", found, ids=[" ".join(row.values())[:60] for row in found])


def known(text: str) -> Decimal | None:
    return None if text == "–" else d(text)


def a_price(price: object) -> PricePoint:
    return PricePoint(price=d(price), priced_on=TUESDAY, source="ltp")


def before(quantity: str, price: str, *movements: Movement) -> Before:
    line = Line(
        isin=OLD,
        trading_symbol="OLD",
        quantity=d(quantity),
        average_price=d(1),
        price=d(price),
        priced_on=MONDAY,
        source="ltp",
        basis="added",
    )
    return Before(trading_on=MONDAY, holdings_value=d(quantity) * d(price), lines=(line,), movements=movements)


def parts(valuation: Valuation) -> dict[str, Decimal | None]:
    change = valuation.change
    assert change.day_change_reason is None
    return {
        "day change": change.day_change,
        "market move": change.market_move,
        "net invested": change.net_invested,
        "transferred": change.transferred,
        "unexplained": change.unexplained,
    }


@rows("Positions")
def test_positions(row: Row) -> None:
    carried = d(row["carried"])
    position = Position(
        segment=row["segment"],
        exchange="NSE",
        trading_symbol="LINE",
        product=row["product"],
        credit_quantity=d(row["bought"]),
        credit_price=d(row["at"]),
        debit_quantity=d(row["sold"]),
        debit_price=d(row["for"]),
        quantity=d(row["quantity"]),
        net_price=d(row["net price"]),
        net_carry_forward_quantity=carried,
        net_carry_forward_price=d(row["carried at"]),
        realised_pnl=known(row["realised_pnl"]),
    )
    assert position.quantity == carried + d(row["bought"]) - d(row["sold"]), "the example itself"
    prices = {} if row["our price"] == "–" else {"NSE:LINE": a_price(row["our price"])}
    found = value(TUESDAY, Book(holdings=(), positions=(position,), margin=None), prices, None, MONDAY, ())
    assert found.positions_pnl == known(row["P&L"])
    if row["product"] != "CNC" and found.positions_pnl is not None:
        assert found.positions_pnl - d(row["realised_pnl"]) == d(row["unrealised"])


@rows("Effective quantity (rule 8)")
def test_effective_quantity(row: Row) -> None:
    held, bought, sold = d(row["holdings say"]), d(row["bought today"]), d(row["sold today"])
    units = [unit for unit in (bought, -sold) if unit]
    found = value(
        TUESDAY,
        Book(
            holdings=(a_holding(OLD, held, trading_symbol="OLD"),) if held else (),
            positions=(a_position("OLD", bought=bought, sold=sold, isin=OLD),) if units else (),
            margin=None,
        ),
        {OLD: a_price(100)},
        None if row["the day before"] == "–" else before(row["the day before"], "100"),
        MONDAY,
        tuple(Trade(isin=OLD, traded_on=TUESDAY, units=unit, price=d(100)) for unit in units),
    )
    assert [(line.quantity, line.basis) for line in found.lines] == [(d(row["effective"]), row["basis"])]


@rows("Day change with purchases and sales (rule 9)")
def test_day_change(row: Row) -> None:
    executions = re.findall(r"(-?\d+) at ([\d.]+)", row["executions"])
    trades = tuple(Trade(isin=OLD, traded_on=TUESDAY, units=d(n), price=d(p)) for n, p in executions)
    moved = known(row["came otherwise"])
    movements = [Movement(isin=OLD, units=moved, explanation="transferred")] if moved is not None else []
    held = d(row["held after"])
    found = value(
        TUESDAY,
        Book(holdings=(a_holding(OLD, held),) if held else (), positions=(), margin=None),
        {} if row["close"] == "–" else {OLD: a_price(row["close"])},
        before(row["held before"], row["price before"], *movements),
        MONDAY,
        trades,
    )
    expected = {name: d(row[name]) for name in ("day change", "market move", "net invested", "transferred")}
    assert parts(found) == expected | {"unexplained": d(row["unexplained"])}


@rows("Trading day of an observation (rule 10)")
def test_trading_day(row: Row) -> None:
    wall = datetime.fromisoformat(row["observed (India)"])
    observed_at = ist(wall.date(), wall.hour, wall.minute)
    calendar = make_calendar()
    trading_on = calendar.trading_on(observed_at)
    final = "final" if observed_at >= calendar.closes_at(trading_on) else "provisional"
    standing = "late" if ist_date(observed_at) > trading_on else final
    assert wall.strftime("%A") == row["weekday"]
    assert (trading_on, standing) == (date.fromisoformat(row["trading day"]), row["standing"])


EFFECTS = {"": "turned", "announced": "announced", "credited": "arrived"}


def movements_of(row: Row, held_after: Decimal) -> list[Movement]:
    """The change of the holdings as the ledger has it when the action is linked."""
    kind, _, rest = row["action"].partition(" ")
    new, old = row["ratio"].split(":")
    action = CorporateAction(
        kind=ActionKind(kind),
        isin=OLD,
        new_isin=OLD if kind == "bonus" else NEW,
        effective_on=TUESDAY,
        new_units=d(new),
        old_units=d(old),
    )
    units = held_after - (d(row["held before"]) if kind == "bonus" else 0)
    details = action.details(EFFECTS[rest])
    return [Movement(isin=action.new_isin, units=units, explanation="corporate_action", details=details)]


@rows("Splits, bonuses and the like")
def test_corporate_actions(row: Row) -> None:
    held = {
        NEW if name == "new" else OLD: (d(units), price)
        for units, name, price in re.findall(r"(\d+) (old|new) at ([\d.]+)", row["holdings after"])
    }
    is_linked = "not linked" not in row["action"]
    movements = movements_of(row, held.get(NEW, held.get(OLD, (d(0), "")))[0]) if is_linked else []
    found = value(
        TUESDAY,
        Book(holdings=tuple(a_holding(isin, units) for isin, (units, _) in held.items()), positions=(), margin=None),
        {isin: a_price(price) for isin, (_, price) in held.items()},
        before(row["held before"], row["price before"], *movements),
        MONDAY,
        (),
    )
    names = ("day change", "market move", "net invested", "transferred", "unexplained")
    assert parts(found) == {name: d(row[name]) for name in names}
    if is_linked and row["action"] != "merger":
        assert {line.basis for line in found.lines} == {"added"}
