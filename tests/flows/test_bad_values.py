"""Recipes T27, T30, T31 and T33, and the habits and refusals of a broker, over orders, holdings and positions.

Each test walks through its cases on one account, one sync after the other: what a case leaves behind would show in the
next one, and in the ledger at the end.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.domain.records import Outcome
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync.run import Report
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger
from tests.flows.test_bad_answers import HOLDINGS, ORDERS, POSITIONS, edit, fault, shown, tables

LISTS = {"holdings": (HOLDINGS, "holdings"), "orders": (ORDERS, "order_list"), "positions": (POSITIONS, "positions")}
QUANTITY = {"holdings": "quantity", "orders": "quantity", "positions": "credit_quantity"}
IDENTITY = {"holdings": "isin", "orders": "groww_order_id", "positions": "trading_symbol"}
NO_QUANTITY = (
    "NaN", "Infinity", '"NaN"', "1e400", str(2**63), str(2**64), "9" * 5000, "-1", "1.1234567890123456789",
    "[" * 100_000 + "]" * 100_000,
)  # fmt: skip
NO_IDENTITY = ('"A\\u0000"', '"A\\ud800"', '"' + "A" * 2**20 + '"', "null")


async def read(stage: Stage, account: Account, *faults: Fault) -> Report:
    """A sync a second later, with these faults and no others."""
    stage.sim.faults.waiting.clear()
    for one in faults:
        stage.sim.add_fault(one)
    stage.move(stage.clock.now() + timedelta(seconds=1))
    return await stage.sync(account)


async def after_the_close(stage: Stage) -> tuple[Account, dict[str, list[Any]]]:
    """The trader's Monday, read well: its tables."""
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    assert (await stage.sync(account)).status == "completed"
    held = await tables(stage)
    assert all(held.values()), "there are orders, holdings and positions"
    return account, held


async def lines(stage: Stage) -> dict[str, list[Any]]:
    """The tables without positions of quantity 0."""
    held = await tables(stage)
    return held | {"positions": [row for row in held["positions"] if row[-1]]}


def outcomes(report: Report, what: str) -> set[Outcome]:
    return {result.outcome for name, result in report.sections.items() if name.partition(":")[0] == what}


@pytest.mark.parametrize("what", LISTS)
async def test_a_value_that_is_none_changes_nothing_of_its_list(stage: Stage, what: str) -> None:
    """T27: whatever stands where a quantity or an identity should, its section says so, and nothing is concluded."""
    account, before = await after_the_close(stage)
    path, rows = LISTS[what]
    cases = [(QUANTITY[what], text) for text in NO_QUANTITY] + [(IDENTITY[what], text) for text in NO_IDENTITY]
    for field, text in cases:
        case = f"{field}: {text[:40]}"
        report = await read(stage, account, edit(path, rows, **{field: text}))
        assert report.status == "partial", case
        assert outcomes(report, what) & {Outcome.FAILED, Outcome.UNSTABLE}, case
        assert await tables(stage) == before, case
    assert (await read(stage, account)).status == "completed"
    assert await tables(stage) == before
    await check_ledger(stage, account.id)


@pytest.mark.parametrize("what", LISTS)
async def test_a_key_that_comes_twice_is_flagged_and_its_last_value_counts(stage: Stage, what: str) -> None:
    """T27, in the first place: no record is lost."""
    account, before = await after_the_close(stage)
    path, rows = LISTS[what]
    field = QUANTITY[what]
    await read(stage, account, edit(path, rows, **{field: f'5,"{field}":77'}))
    _, flags = await shown(stage)
    assert any("twice" in held for held in flags), flags
    assert {len(held) for held in (await tables(stage)).values()} == {len(held) for held in before.values()}


async def test_an_order_that_goes_back_keeps_its_high_water_mark(stage: Stage) -> None:
    """T30: the status, the filled quantity, or the terms after the end. Each is told once, and no old row changes."""
    account, before = await after_the_close(stage)
    seen = await stage.rows("SELECT to_jsonb(o) FROM order_history o ORDER BY seq")
    ended = await stage.one("SELECT count(*) FROM current_orders WHERE status = 'EXECUTED'")
    assert ended
    cases: list[dict[str, str]] = [{"order_status": '"OPEN"'}, {"filled_quantity": "0"}, {"quantity": "100000"}]
    told = 0
    for values in cases:
        for _ in range(2):
            await read(stage, account, edit(ORDERS, "order_list", **values))
            assert (await tables(stage))["orders"] == before["orders"], values
        count = await stage.one("SELECT count(*) FROM order_quantity_changes WHERE change_type = 'REGRESSED'")
        assert count - told >= ended, values
        again = await stage.one(
            "SELECT count(*) FROM order_quantity_changes c JOIN order_quantity_changes d ON c.broker_order_id = "
            "d.broker_order_id AND c.change_type = 'REGRESSED' AND d.change_type = 'REGRESSED' AND c.seq < d.seq "
            "AND c.details = d.details AND c.filled_after = d.filled_after"
        )
        assert again == 0, "the same claim is told once"
        told = count
    assert await stage.rows("SELECT to_jsonb(o) FROM order_history o ORDER BY seq") == seen
    assert (await read(stage, account)).status == "completed"
    assert await tables(stage) == before
    await check_ledger(stage, account.id)


@pytest.mark.parametrize("habit", ["one a page", "three a page", "exactly full", "repeated"])
async def test_pages_of_any_size_bring_all_orders(stage: Stage, habit: str) -> None:
    """T31: a page smaller than asked for is no end, a full one neither; a page that repeats is."""
    theirs = stage.sim.account(2)
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    theirs.catch_up(int(stage.clock.now().timestamp()))
    size = {"one a page": 1, "three a page": 3, "exactly full": len(theirs.orders), "repeated": 100}[habit]
    quirks = replace(theirs.quirks, order_page_cap=size, order_page_default=size, repeats_pages=habit == "repeated")
    stage.sim.world.quirks = theirs.quirks = quirks
    theirs.forget_answers()
    assert (await stage.sync(account)).status == "completed"
    assert await stage.one("SELECT count(*) FROM order_history") == len(theirs.orders) > 3
    await check_ledger(stage, account.id)


@pytest.mark.parametrize("what", LISTS)
async def test_a_list_that_comes_back_empty_takes_nothing_away(stage: Stage, what: str) -> None:
    """T33: not before a second reading half a minute later agrees; orders not even then."""
    account, _ = await after_the_close(stage)
    before = await lines(stage)
    path, rows = LISTS[what]
    empty = msgspec.json.encode({"status": "SUCCESS", "payload": {rows: []}}).decode()
    for _ in range(2):
        report = await read(stage, account, fault("raw", path, body=empty))
        assert await lines(stage) == before
    if what == "orders":
        missing = await stage.one("SELECT count(*) FROM open_findings WHERE kind = 'MISSING'")
        assert missing == len(before["orders"])
    else:
        assert Outcome.SUSPECT in outcomes(report, what)
    stage.move(stage.clock.now() + timedelta(seconds=30))
    await read(stage, account, fault("raw", path, body=empty))
    assert (await lines(stage))[what] == (before["orders"] if what == "orders" else [])
    stage.move(stage.clock.now() + timedelta(seconds=30))
    await read(stage, account)
    assert (await lines(stage))[what] == before[what]
    await check_ledger(stage, account.id)


# ── habits of the broker's data: all of it is read, and nothing is a change ──

HABITS = {
    "float quantities": [
        edit(HOLDINGS, "holdings", pledge_quantity="0.0"),
        edit(ORDERS, "order_list", remaining_quantity="0.0"),
        edit(POSITIONS, "positions", net_carry_forward_quantity="0.0"),
    ],
    "no exchanges of a holding": [fault("edit", HOLDINGS, rows="holdings", without=["tradable_exchanges"])],
    "no segment of a position": [fault("edit", POSITIONS, rows="positions", without=["segment"])],
    "no prices of an order": [edit(ORDERS, "order_list", trigger_price="null", remark="null")],
    "fields nobody knows": [edit(path, rows, brand_new='{"a":[1,2]}', another="null") for path, rows in LISTS.values()],
}


async def test_habits_of_the_broker_are_no_changes(stage: Stage) -> None:
    account, before = await after_the_close(stage)
    for habit, faults in HABITS.items():
        report = await read(stage, account, *faults)
        assert report.status == "completed", (habit, report.error)
        held = await tables(stage)
        assert {name: len(rows) for name, rows in held.items()} == {name: len(rows) for name, rows in before.items()}
        assert held["holdings"] == before["holdings"], habit
        assert held["positions"] == before["positions"], habit
    await check_ledger(stage, account.id)


@pytest.mark.parametrize(
    ("what", "synthetic"),
    [
        (edit("/v1/order/trades", "trade_list", groww_trade_id='""'), False),
        (edit("/v1/order/trades", "trade_list", groww_trade_id="null", isin="null"), False),
        (edit("/v1/order/trades", "trade_list", created_at='"2026-04-20T05:00:00Z"', trade_date_time="null"), False),
        (fault("failure", "/v1/order/trades", status=404, code="GA004"), True),
    ],
    ids=["blank trade id", "no trade id, no ISIN", "Zulu times", "404"],
)
async def test_odd_trades_are_executions_all_the_same(stage: Stage, what: Fault, synthetic: bool) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    assert (await read(stage, account, what)).status == "completed"
    short = await stage.rows("SELECT broker_order_id FROM current_orders WHERE fills_quantity <> filled_quantity")
    assert short == []
    assert await stage.rows("SELECT DISTINCT synthetic FROM order_fills") == [(synthetic,)]
    await check_ledger(stage, account.id)


# ── refusals that pass: each costs another call or another login, and no section ──

PASSING: dict[str, dict[str, Any]] = {
    "401 of the gateway": {"kind": "gateway", "status": 401, "code": "401"},
    "401 in an envelope": {"kind": "failure", "status": 401, "code": "401"},
    "429 in an envelope": {"kind": "failure", "status": 429, "code": "429"},
    "429 of the gateway": {"kind": "gateway", "status": 429, "code": "429"},
    "429 as a page": {"kind": "html", "status": 429},
    "429 in the body only": {"kind": "failure", "status": 200, "code": "429"},
    "502 as a page": {"kind": "html", "status": 502},
    "GA000 with 200": {"kind": "failure", "status": 200, "code": "GA000"},
    "GA003 with 503": {"kind": "failure", "status": 503, "code": "GA003"},
    "half an answer": {"kind": "truncated"},
    "no answer": {"kind": "drop"},
}


@pytest.mark.parametrize("what", LISTS)
async def test_a_refusal_that_passes_costs_no_section(stage: Stage, what: str) -> None:
    account, before = await after_the_close(stage)
    for case, how in PASSING.items():
        report = await read(stage, account, Fault(path=LISTS[what][0], times=1, **how))
        assert report.status == "completed", (case, report.error)
        assert stage.sim.faults.waiting == [], f"{case} was met"
        stage.sim.set_clock(stage.clock.now())  # pauses and second tries took their time
    assert await tables(stage) == before
    await check_ledger(stage, account.id)
