"""The reading commands print what the database holds: as tables for people, as JSON with exact decimals."""

from datetime import date
from decimal import Decimal

import pytest

from portfolio_scheduler.clock import ist
from portfolio_scheduler.db.pool import counted_statements
from tests.cli.conftest import DAY, NEXT_DAY, Terminal

READING = ("status", "summary", "holdings", "positions", "orders", "changes", "fills", "snapshots", "accounts list")


@pytest.mark.parametrize("command", READING)
def test_an_empty_install_gets_the_next_step(terminal: Terminal, command: str) -> None:
    answer = terminal(*command.split())
    assert answer.code == 0
    assert "portfolio-scheduler accounts add" in answer.out
    document = terminal(*command.split(), "--json")
    assert document.code == 0
    # Of the keys, which tests share, some are older than a year by the clock of others.
    assert [value for name, value in document.json.items() if value and name != "warnings"] == []
    assert [warning for warning in document.json.get("warnings", []) if not warning.startswith("Key ")] == []


@pytest.mark.parametrize("command", READING)
def test_before_the_first_sync_every_command_says_something(terminal: Terminal, command: str) -> None:
    terminal.connect(1)
    answer = terminal(*command.split())
    assert answer.code == 0
    assert answer.out.strip()
    assert terminal(*command.split(), "--json").code == 0


@pytest.mark.parametrize(
    "command",
    ["status", "summary", "holdings", "positions", "orders", "fills", "snapshots", "sync", "accounts show",
     "accounts test", "changes --account"],
)  # fmt: skip
def test_an_unknown_account_exits_2_in_one_sentence(terminal: Terminal, command: str) -> None:
    answer = terminal(*command.split(), "nobody")
    assert answer.code == 2
    assert answer.err == "There is no account 'nobody'; `portfolio-scheduler accounts list` shows all."
    assert answer.out == ""


def test_orders_are_those_of_today_of_a_day_or_all(traded: Terminal) -> None:
    def ids(*args: str) -> set[str]:
        return {order["broker_order_id"] for order in traded("orders", *args, "--json").json["orders"]}

    stored = dict(traded.rows("SELECT listed_on, array_agg(broker_order_id) FROM current_orders GROUP BY 1"))
    assert ids() == set(stored[NEXT_DAY])
    assert ids("--date", str(DAY)) == set(stored[DAY])
    assert ids("--all") == {broker_order_id for day in stored.values() for broker_order_id in day}
    assert len(ids("--all", "--limit", "2")) == 2
    assert ids("--date", "2026-04-18") == set()
    assert "--all" in traded("orders", "--date", "2026-04-18").out
    assert traded("orders", "--all", "--date", str(DAY)).code == 2


def test_orders_are_filtered_by_symbol_and_status(traded: Terminal) -> None:
    found = traded("orders", "--all", "--symbol", "indigo", "--status", "cancelled", "--json").json["orders"]
    assert {(order["trading_symbol"], order["status"]) for order in found} == {("INDIGO", "CANCELLED")}


def test_decimals_in_json_are_strings_that_equal_the_database(traded: Terminal) -> None:
    orders = {order["broker_order_id"]: order for order in traded("orders", "--all", "--json").json["orders"]}
    columns = ("quantity", "filled_quantity", "price", "average_fill_price", "filled_value", "open_quantity")
    rows = traded.rows(f"SELECT broker_order_id, {', '.join(columns)} FROM current_orders")
    assert len(rows) == len(orders)
    for broker_order_id, *values in rows:
        for name, value in zip(columns, values, strict=True):
            text = orders[broker_order_id][name]
            assert text is None if value is None else isinstance(text, str) and Decimal(text) == value

    snapshots = traded("snapshots", "--json").json["snapshots"]
    names = ("holdings_value", "invested", "unrealised_pnl", "cash", "day_change", "market_move", "priced_ratio")
    rows = traded.rows(f"SELECT {', '.join(names)} FROM portfolio_snapshots ORDER BY trading_on DESC")
    for snapshot, row in zip(snapshots, rows, strict=True):
        assert [None if snapshot[name] is None else Decimal(snapshot[name]) for name in names] == list(row)

    fills = traded("fills", "--all", "--json").json["fills"]
    rows = traded.rows("SELECT quantity, price FROM order_fills ORDER BY seq")
    printed = [(Decimal(fill["quantity"]), Decimal(fill["price"])) for fill in sorted(fills, key=lambda f: f["seq"])]
    assert printed == rows


def test_a_share_bought_today_is_held_once_today_and_tomorrow(traded: Terminal) -> None:
    def held(symbol: str) -> list[tuple[Decimal, Decimal]]:
        rows = traded("holdings", "--json").json["holdings"]
        return [(Decimal(r["quantity"]), Decimal(r["held_quantity"])) for r in rows if r["trading_symbol"] == symbol]

    assert held("INDIGO") == [(Decimal(1), Decimal(0))]
    assert held("DRREDDY") == []  # sold today, all 31 of them
    traded.at(date(2026, 4, 22), 9, 30)
    assert held("INDIGO") == [(Decimal(1), Decimal(0))]
    traded.at(date(2026, 4, 22), 16)
    assert traded("sync").code == 0
    assert held("INDIGO") == [(Decimal(1), Decimal(1))]


def test_the_holdings_add_up_to_the_snapshot(traded: Terminal) -> None:
    rows = traded("holdings", "--json").json["holdings"]
    [(value, count)] = traded.rows(
        "SELECT holdings_value, holdings_count FROM portfolio_snapshots WHERE trading_on = %s", [NEXT_DAY]
    )
    assert sum(Decimal(row["value"]) for row in rows) == value
    assert len(rows) == count


def test_a_price_from_before_the_close_is_marked_once_the_session_is_over(terminal: Terminal) -> None:
    terminal.connect(1, "mine")
    terminal.at(DAY, 11)
    terminal("sync")
    words = "Read before the close, no closing price yet: "
    assert words not in terminal("holdings").out, "nobody expects a closing price yet"
    terminal.at(DAY, 18)
    assert words in terminal("holdings").out
    rows = terminal("holdings", "--json").json["holdings"]
    assert {row["early_at"] for row in rows} == {ist(DAY, 11).isoformat().replace("+00:00", "Z")}
    terminal("sync")
    assert words not in terminal("holdings").out
    assert {row["early_at"] for row in terminal("holdings", "--json").json["holdings"]} == {None}


def test_positions_have_a_profit_or_loss_or_a_reason(traded: Terminal) -> None:
    rows = traded("positions", "--json").json["positions"]
    assert rows
    assert all((row["pnl"] is None) == (row["reason"] is not None) for row in rows)
    summary = traded("summary", "--json").json["accounts"][0]
    total = sum(Decimal(row["pnl"]) for row in rows if not row["is_delivery"])
    assert total == Decimal(summary["positions_pnl"])
    assert "NRML" in traded("positions").out


def test_changes_tell_of_orders_and_holdings_newest_first(traded: Terminal) -> None:
    found = traded("changes", "--limit", "500", "--json").json["changes"]
    assert {change["kind"] for change in found} == {"order", "holding"}
    assert [change["seq"] for change in found] == sorted((change["seq"] for change in found), reverse=True)
    counted = traded.rows(
        "SELECT (SELECT count(*) FROM order_history), (SELECT count(*) FROM order_quantity_changes), "
        "(SELECT count(*) FROM holding_changes)"
    )
    assert len(found) == sum(counted[0])
    of_day = traded("changes", "--date", str(NEXT_DAY), "--json").json["changes"]
    assert {change["trading_on"] for change in of_day} == {str(NEXT_DAY)}


def test_the_story_of_one_symbol_and_of_one_order(traded: Terminal) -> None:
    found = traded("changes", "indigo", "--json").json["changes"]
    assert [change["change_type"] for change in found] == ["ORDER_CANCELLED", "QUANTITY_ADDED", "ORDER_PLACED"]
    assert [change["quantity_delta"] for change in found] == ["0", "1", "0"]
    of_order = traded("changes", "--order", found[0]["broker_order_id"], "--json").json["changes"]
    assert of_order == found
    printed = traded("changes", "INDIGO").out
    assert "cancelled with 1 of 6 filled" in printed
    assert "bought 1 (1 of 6" in printed


def test_snapshots_are_the_newest_revision_of_each_day_or_all(traded: Terminal) -> None:
    assert [s["trading_on"] for s in traded("snapshots", "--json").json["snapshots"]] == ["2026-04-21", "2026-04-20"]
    assert len(traded("snapshots", "--limit", "1", "--json").json["snapshots"]) == 1
    assert "first complete statement" in traded("snapshots", "--revisions").out


def test_amounts_are_grouped_as_in_india_and_unknown_ones_have_a_reason(traded: Terminal) -> None:
    printed = traded("snapshots").out
    [(value,)] = traded.rows("SELECT holdings_value FROM portfolio_snapshots ORDER BY trading_on LIMIT 1")
    assert value == Decimal("2512308.33")
    assert "₹25,12,308.33" in printed
    assert "–¹" in printed
    assert "¹ no earlier snapshot" in printed


def test_without_a_terminal_there_are_no_colours(traded: Terminal) -> None:
    for command in READING:
        assert "\x1b" not in traded(*command.split()).out


def test_more_accounts_take_no_more_statements(terminal: Terminal) -> None:
    for number in (1, 2, 3):
        terminal.connect(number)
    terminal.at(DAY, 16)
    assert terminal("sync").code == 0
    one, all_three = [], []
    for command in ("status", "holdings", "positions", "orders", "changes", "fills", "snapshots"):
        account = ["--account", "account 2"] if command == "changes" else ["account 2"]
        for args, counts in (([command, *account], one), ([command], all_three)):
            with counted_statements() as statements:
                assert terminal(*args).code == 0
            counts.append(len(statements))
    assert one == all_three
    assert max(one) <= 14  # three transactions, calendar, install, the accounts and at most five reads
