"""Whatever a broker says: what the batch says of it, what the tables hold, and that the next good sync heals it.

docs/bad-input.md lists every case with its test. After each bad sync the ledger is whole and holds nothing of what
could not be used; after the next good one the account is complete, and its tables are what they would have been anyway.
"""

import zlib
from typing import Any

import msgspec
import pytest

from portfolio_scheduler.brokers.groww.client import Groww
from portfolio_scheduler.brokers.http import Policy
from portfolio_scheduler.domain.records import Outcome
from portfolio_scheduler.simulator.faults import Fault
from tests.flows.conftest import FIRST_DAY, Stage
from tests.flows.ledger_checks import check_ledger

HOLDINGS, ORDERS, POSITIONS = "/v1/holdings/user", "/v1/order/list", "/v1/positions/user"
DERIVED = {
    "orders": "SELECT broker_order_id, status, filled_quantity, price FROM current_orders ORDER BY 1",
    "holdings": "SELECT isin, quantity, average_price FROM real_holdings ORDER BY 1",
    "positions": "SELECT segment, exchange, trading_symbol, product, quantity FROM real_positions ORDER BY 1, 2, 3, 4",
}


def fault(kind: str, path: str = HOLDINGS, **rest: Any) -> Fault:
    return Fault(kind=kind, path=path, times=None, **rest)  # type: ignore[arg-type]


def edit(path: str, rows: str, **values: str) -> Fault:
    """Fields of every row of a list, each set to these bytes of JSON."""
    return fault("edit", path, rows=rows, values={name: msgspec.Raw(text.encode()) for name, text in values.items()})


def holding(**values: str) -> Fault:
    return edit(HOLDINGS, "holdings", **values)


def order(**values: str) -> Fault:
    return edit(ORDERS, "order_list", **values)


async def tables(stage: Stage) -> dict[str, list[Any]]:
    return {name: await stage.rows(query) for name, query in DERIVED.items()}


async def heals(stage: Stage, account: Any) -> None:
    """The next good sync makes the day complete, and the tables what they are without any fault."""
    stage.sim.faults.waiting.clear()
    stage.clock.set(stage.sim.now)
    stage.clock.advance(90)
    report = await stage.sync(account)
    if report.status == "partial":  # what came and went is believed the second time
        stage.clock.advance(90)
        report = await stage.sync(account)
    assert report.status == "completed", report
    await check_ledger(stage, account.id)
    healed = await tables(stage)
    orders = stage.sim.account(2).orders.values()
    assert [(row[0], row[2]) for row in healed["orders"]] == sorted((o.order_id, o.filled_quantity) for o in orders)
    assert all(quantity > 0 for _, quantity, _ in healed["holdings"])
    assert await stage.one("SELECT count(*) FROM portfolio_snapshots") >= 1


async def shown(stage: Stage) -> tuple[str, list[str]]:
    """What the last batch says: its text and its flags."""
    text, flags = await stage.one("SELECT error_text, flags FROM sync_batches ORDER BY id DESC LIMIT 1")
    return text or "", flags


# ── answers that are none: the section fails, says why, keeps the answer, and changes nothing ──

NO_ANSWER = {
    "500": (fault("html", status=500), "HTTP 500"),
    "503": (fault("failure", status=503), "HTTP 503"),
    "html_instead_of_json": (fault("html", status=200), "JSON"),
    "empty": (fault("empty"), "JSON"),
    "truncated_json": (fault("truncated"), "JSON"),
    "payload_null": (fault("null_payload"), "holds no payload"),
    "200_with_failure": (fault("failure", status=200, code="GA001"), "refused holdings"),
    "another_shape": (fault("raw", body='{"status":"SUCCESS","payload":{"surprise":1}}'), "not of the shape we know"),
    "nesting_100000": (fault("raw", body='{"payload":' + "[" * 100_000 + "]" * 100_000 + "}"), ""),
    "redirect": (fault("redirect", headers={"Location": "https://example.com/"}), "redirect"),
    "gzip_bomb": (fault("gzip_bomb"), "larger than 5120 KiB"),
    "endless_body": (fault("endless"), "larger than 5120 KiB"),
    "connection_cut": (fault("cut"), "connection failed"),
    "no_answer": (fault("drop"), "connection failed"),
    "403": (fault("failure", status=403, code="403"), "does not let this account read"),
}


@pytest.mark.parametrize("case", NO_ANSWER)
async def test_an_answer_that_is_none_fails_its_section_only(stage: Stage, case: str) -> None:
    what, words = NO_ANSWER[case]
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(what)
    report = await stage.sync(account)
    outcome = Outcome.NOT_ENTITLED if case == "403" else Outcome.FAILED
    assert report.sections["holdings"].outcome is outcome, report
    assert words in (report.sections["holdings"].reason or "")
    held = await tables(stage)
    assert (held["holdings"], bool(held["orders"])) == ([], True)
    await check_ledger(stage, account.id)
    await heals(stage, account)


async def test_a_slow_loris_meets_the_deadline_and_fails_its_section_only(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.app.brokers["groww"] = Groww(stage.sim.url, Policy(deadline_seconds=0.5, attempts=2))  # type: ignore[index]
    stage.sim.add_fault(fault("drip", seconds=0.2))
    report = await stage.sync(account)
    assert "No complete answer to holdings within 0.5 s" in (report.sections["holdings"].reason or "")
    assert report.counts["orders"] > 0
    await heals(stage, account)


async def test_429_until_our_patience_ends_says_when_to_try_again(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(fault("failure", status=429, code="429"))
    report = await stage.sync(account)
    assert report.status in {"partial", "failed"}
    assert "slow down; try again in" in (report.error or "")
    await check_ledger(stage, account.id)
    stage.at(FIRST_DAY, 16, 40)  # the pause is over
    await heals(stage, account)


@pytest.mark.parametrize("path", ["/v1/user", HOLDINGS, ORDERS, "/v1/margins"])
async def test_401_in_the_middle_that_lasts_asks_for_the_owner(stage: Stage, path: str) -> None:
    """One new login and no more; what could be read is kept, and whose account it is must be known."""
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(fault("gateway", path, status=401, code="401"))
    report = await stage.sync(account)
    assert report.status == ("failed" if path == "/v1/user" else "partial")
    assert "did not accept the TOTP login" in (report.error or "")
    assert await stage.one("SELECT state FROM broker_accounts") == "needs_login"
    assert await stage.one("SELECT count(*) FROM portfolio_snapshots") == 0
    mints = [request for request in stage.sim.requests if request.path.startswith("/v1/token")]
    assert len(mints) <= 3, "one to connect, two at most in a sync"
    await check_ledger(stage, account.id)
    await heals(stage, account)
    assert await stage.one("SELECT state FROM broker_accounts") == "active"


# ── values that are none: the record is quarantined, or the value left out and flagged ──

QUARANTINED = {
    "quantity_nan": holding(quantity='"NaN"'),
    "quantity_1e999999999": holding(quantity="1e999999999"),
    "quantity_1_000": holding(quantity='"1_000"'),
    "quantity_negative": holding(quantity="-1"),
    "quantity_2_to_the_64": holding(quantity=str(2**64)),
    "isin_missing": holding(isin="null", trading_symbol="null"),
    "isin_with_nul": holding(isin='"INE\\u0000"'),
    "isin_with_half_a_character": holding(isin='"INE\\ud800"'),
}


@pytest.mark.parametrize("case", QUARANTINED)
async def test_a_record_that_cannot_be_used_is_quarantined_and_nothing_is_concluded(stage: Stage, case: str) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 15, 45)
    await stage.sync(account)
    before = (await tables(stage))["holdings"]
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(QUARANTINED[case])
    report = await stage.sync(account)
    assert report.status == "partial"
    assert report.sections["holdings"].outcome in {Outcome.UNSTABLE, Outcome.FAILED}, report.sections["holdings"]
    assert (await tables(stage))["holdings"] == before, "nothing of it is applied, nothing is taken away"
    bodies = await stage.rows("SELECT body FROM broker_payloads WHERE call = 'holdings' ORDER BY seq DESC LIMIT 1")
    assert b"holdings" in zlib.decompress(bodies[0][0]), "the answer itself is kept"
    await check_ledger(stage, account.id)
    await heals(stage, account)


FLAGGED = {
    "unknown_status": (order(order_status='"DREAMING"'), "orders:status:DREAMING"),
    "unknown_product": (order(product='"SUPER"'), "orders:product:SUPER"),
    "unknown_segment": (order(segment='"MOON"'), "orders:segment:MOON"),
    "price_of_19_decimals": (order(price="1.1234567890123456789"), "orders:price:unreadable"),
    "price_nan": (order(price='"NaN"'), "orders:price:unreadable"),
    "remark_of_1_mb": (order(remark='"' + "x" * 20_000 + '"'), "orders:remark:cut from 20000 characters"),
    "remark_with_nul": (order(remark='"a\\u0000b"'), "orders:remark:unreadable"),
    "remark_with_half_a_character": (order(remark='"a\\ud800b"'), "orders:remark:unreadable"),
    "symbol_empty": (order(trading_symbol='""'), "orders:trading_symbol:missing"),
    "time_in_the_future": (order(exchange_time='"2026-04-25T10:00:00"'), "orders:exchange_time:future"),
}


@pytest.mark.parametrize("case", FLAGGED)
async def test_an_odd_value_is_kept_or_left_out_and_flagged(stage: Stage, case: str) -> None:
    what, expected = FLAGGED[case]
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(what)
    await stage.sync(account)
    _, flags = await shown(stage)
    assert any(held.endswith(expected.removeprefix("orders:")) for held in flags), flags
    orders = await stage.rows("SELECT broker_order_id FROM order_history")
    assert len(orders) == len(stage.sim.account(2).orders), "no record is dropped"
    await check_ledger(stage, account.id)


async def test_a_symbol_of_60_characters_is_a_symbol(stage: Stage) -> None:
    account = await stage.connect(2)
    stage.at(FIRST_DAY, 16)
    stage.sim.add_fault(order(trading_symbol='"' + "S" * 60 + '"'))
    await stage.sync(account)
    assert await stage.rows("SELECT DISTINCT length(trading_symbol) FROM order_history") == [(60,)]
    await check_ledger(stage, account.id)


# ── lists that contradict themselves ──


def order_page(*rows: dict[str, Any]) -> str:
    return msgspec.json.encode({"status": "SUCCESS", "payload": {"order_list": list(rows)}}).decode()


ROW = {
    "groww_order_id": "G1", "trading_symbol": "INFY", "order_status": "OPEN", "remark": "", "quantity": 10,
    "price": 100, "trigger_price": 0, "filled_quantity": 0, "remaining_quantity": 10, "average_fill_price": 0,
    "deliverable_quantity": 0, "amo_status": "NA", "validity": "DAY", "exchange": "NSE", "order_type": "LIMIT",
    "transaction_type": "BUY", "segment": "CASH", "product": "CNC", "created_at": "2026-04-20T10:15:30",
    "exchange_time": "2026-04-20T10:15:31", "trade_date": None, "order_reference_id": "r1",
}  # fmt: skip
SELL = ROW | {"transaction_type": "SELL"}


def listing(*rows: dict[str, Any], text: str = "") -> list[Fault]:
    return [
        Fault(kind="raw", path=ORDERS, body=text or order_page(*rows)),
        Fault(kind="raw", path=ORDERS, body=order_page(), times=None),
    ]


@pytest.mark.parametrize(
    ("faults", "orders", "flag"),
    [
        pytest.param(listing(ROW, ROW), 1, None, id="duplicate_ids_identical"),
        pytest.param(listing(ROW, SELL), 0, "quarantined", id="duplicate_ids_conflicting"),
        pytest.param(
            listing(text=order_page(ROW).replace('"price":', '"price":5,"price":')), 1, "twice", id="keys_twice"
        ),
        pytest.param(listing(ROW | {"trade_date": "2026-04-17"}), 1, "an earlier day", id="order_of_yesterday"),
    ],
)
async def test_a_list_that_contradicts_itself(stage: Stage, faults: list[Fault], orders: int, flag: str | None) -> None:
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    for one in faults:
        stage.sim.add_fault(one)
    await stage.sync(account)
    assert await stage.one("SELECT count(*) FROM order_history WHERE broker_order_id = 'G1'") == orders
    _, flags = await shown(stage)
    assert flag is None or any(flag in held for held in flags), flags
    await check_ledger(stage, account.id)


@pytest.mark.parametrize("shift", [False, True])
async def test_pages_that_never_end_are_given_up_and_said(stage: Stage, shift: bool) -> None:
    """A page that repeats ends the scan; pages that bring ever new orders end after forty."""
    account = await stage.connect(1)
    stage.at(FIRST_DAY, 16)
    for page in range(400 if shift else 1):
        row = ROW | {"groww_order_id": f"G{page}"}
        stage.sim.add_fault(Fault(kind="raw", path=ORDERS, body=order_page(row), times=1 if shift else None))
    report = await stage.sync(account)
    if shift:
        assert report.status == "partial"
        assert "paging runaway" in (report.error or "")
        assert await stage.one("SELECT count(*) FROM order_history") == 0
    else:
        assert await stage.one("SELECT count(*) FROM order_history") == 1
    await check_ledger(stage, account.id)
