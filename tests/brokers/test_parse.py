"""Reading answers value by value: times, numbers, words, texts, and records that cannot be used."""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from portfolio_scheduler.brokers.groww import wire
from portfolio_scheduler.brokers.groww.parse import parse, read_time
from portfolio_scheduler.clock import ist
from portfolio_scheduler.domain.records import Answer, Outcome, SectionResult, Statement

from .conftest import TODAY
from .scripted import a_holding, a_position, a_trade, an_order

NOW = ist(TODAY, 16)
TEN = ist(TODAY, 10, 15, 30)
OK = SectionResult(outcome=Outcome.OK)


def an_answer(call: str, section: str, payload: Any, request: str = "/x", status: int = 200) -> Answer:
    body = payload if isinstance(payload, bytes) else json.dumps({"status": "SUCCESS", "payload": payload}).encode()
    digest = hashlib.sha256(body).digest()
    return Answer(call=call, section=section, request=request, status=status, body=body, digest=digest, fetched_at=NOW)


def of_orders(*orders: Any) -> Statement:
    answer = an_answer("orders", "orders:CASH", {"order_list": list(orders)}, "/order/list?segment=CASH")
    return parse([answer], {"orders:CASH": OK}, NOW, TODAY)


def of_holdings(*holdings: Any) -> Statement:
    return parse([an_answer("holdings", "holdings", {"holdings": list(holdings)})], {"holdings": OK}, NOW, TODAY)


def of_positions(*positions: Any) -> Statement:
    answer = an_answer("positions", "positions", {"positions": list(positions)})
    return parse([answer], {"positions:CASH": OK, "positions:FNO": OK}, NOW, TODAY)


def of_fills(*trades: Any) -> Statement:
    answer = an_answer("fills", "fills", {"trade_list": list(trades)}, "/order/trades/A?segment=CASH&page=0")
    return parse([answer], {"fills": OK}, NOW, TODAY)


@pytest.mark.parametrize(
    ("raw", "at"),
    [
        ("2026-04-24T10:15:30", TEN),
        ("2026-04-24 10:15:30", TEN),
        ("2026-04-24T04:45:30Z", TEN),
        ("2026-04-24t04:45:30z", TEN),
        ("2026-04-24T10:15:30+05:30", TEN),
        ("2026-04-24T10:15:30+0530", TEN),
        ("2026-04-24T10:15:30 +05:30", TEN),
        ("2026-04-24T00:45:30-04:00", TEN),
        ("2026-04-24T10:15:30.5", TEN + timedelta(milliseconds=500)),
        ("2026-04-24T10:15:30.123456789", TEN + timedelta(microseconds=123456)),
        ("2026-04-24T10:15:30,250Z", TEN + timedelta(hours=5, minutes=30, milliseconds=250)),
        ("2026-04-24T10:15", ist(TODAY, 10, 15)),
        (" 2026-04-24T10:15:30 ", TEN),
        ("2026-04-24", ist(TODAY, 0)),
        (int(TEN.timestamp()), TEN),
        (int(TEN.timestamp() * 1000), TEN),
        (str(int(TEN.timestamp() * 1000)), TEN),
        (Decimal(f"{int(TEN.timestamp())}.5"), TEN + timedelta(milliseconds=500)),
        ("2019-08-24T14:15:22Z", datetime(2019, 8, 24, 14, 15, 22, tzinfo=UTC)),
        ("24-04-2026", None), ("24/04/2026 10:15", None), ("soon", None), ("2026-13-01", None), ("2026-02-30", None),
        ("2026-04-24T25:00:00", None), ("2026-04-24T10:15:30+99:00", None), ("0001-01-01T00:00:00", None),
        ("9999-12-31T23:59:59", None), (0, None), (-1, None), (10**30, None), (20260424, None), ("2026-W17-5", None),
        ("２０２６-04-24", None), (Decimal("1e20"), None),
    ],
)  # fmt: skip
def test_every_form_of_time(raw: Any, at: datetime | None) -> None:
    assert read_time(raw) == at


def test_times_keep_their_raw_text_and_say_when_they_are_odd() -> None:
    [order] = of_orders(
        an_order(1, created_at="yesterday", exchange_time="2026-04-24T16:05:01", trade_date="2026-04-23")
    ).orders
    assert (order.created_at, order.created_raw) == (None, "yesterday")
    assert order.exchange_at == ist(TODAY, 16, 5, 1)
    assert order.trade_on == date(2026, 4, 23)
    assert order.flags == ("created_at:unreadable", "exchange_time:future", "trade_date:an earlier day")
    [order] = of_orders(an_order(1, exchange_time="2026-04-24T16:05:00", trade_date="2026-04-23T18:30:00Z")).orders
    assert order.flags == ()
    assert order.trade_on == TODAY
    [order] = of_orders(an_order(1, created_at=None, exchange_time="", trade_date=None)).orders
    assert (order.created_raw, order.exchange_raw, order.flags) == (None, None, ())


@pytest.mark.parametrize(
    ("number", "value"),
    [("410.45", "410.45"), ("410", "410"), ("410.0", "410"), ("4.1e2", "410"), ('"410.45"', "410.45"), ("0", "0"),
     ("-0.05", "-0.05"), ("1000000000", "1000000000"), ("0.123456789012", "0.123456789012"), ("-0", "0")],
)  # fmt: skip
def test_numbers_are_exact(number: str, value: str) -> None:
    body = json.dumps({"payload": {"order_list": [an_order(1)]}}).replace("410.5", number).encode()
    [order] = parse(
        [an_answer("orders", "orders:CASH", body)], {"orders:CASH": OK}, NOW, TODAY
    ).orders  # fmt: skip
    assert order.price == Decimal(value)
    assert str(order.price.normalize()) == str(Decimal(value).normalize())


BAD_NUMBERS = [
    '"NaN"', '"1_000"', "1e999999999", "1e99999999999999999999999", "-1e400", "0.1234567890123456789", "1000000000.01",
    "true", "[]", "{}", '""', '"Infinity"', '" 5"', '"٥"', "9" * 400, "1e-999999999", '"0x10"',
    "12345678901234567890.1234567890123456789",
]  # fmt: skip


@pytest.mark.parametrize("number", [*BAD_NUMBERS, "9" * 5000])
def test_a_bad_number_costs_one_value_or_one_record_never_the_list(number: str) -> None:
    orders = json.dumps({"payload": {"order_list": [an_order(1), an_order(2, price=77.77), an_order(3, quantity=88)]}})
    for mark in ("77.77", "88"):
        body = orders.replace(mark, number).encode()
        statement = parse([an_answer("orders", "orders:CASH", body)], {"orders:CASH": OK}, NOW, TODAY)
        ids = [order.broker_order_id for order in statement.orders]
        if mark == "88":
            assert ids == ["GMK00001", "GMK00002"]
            assert statement.quarantined[0]["section"] == "orders:CASH"
            assert statement.sections["orders:CASH"].outcome is Outcome.UNSTABLE
        elif len(number) < 5000:
            assert ids == ["GMK00001", "GMK00002", "GMK00003"]
            assert statement.orders[1].price is None
            assert "orders:CASH:price:unreadable" in statement.flags


@pytest.mark.parametrize("quantity", [-1, 1000000001, None, "ten", 0.1234567890123])
def test_a_quantity_that_is_none_spoils_its_record(quantity: Any) -> None:
    assert of_orders(an_order(1, quantity=quantity)).orders == ()
    assert of_holdings(a_holding(1, quantity=quantity)).holdings == ()
    assert of_fills(a_trade("A", 1, quantity=quantity)).fills == ()
    if quantity not in {None, -1}:
        assert of_positions(a_position(quantity=quantity)).positions == ()
    if quantity is not None:
        assert of_holdings(a_holding(1, t1_quantity=quantity)).holdings == ()
        assert of_positions(a_position(credit_quantity=quantity)).positions == ()


def test_short_positions_are_negative_and_optional_figures_may_be_absent() -> None:
    bare = {"trading_symbol": "X", "segment": "FNO", "exchange": "NSE", "product": "NRML", "quantity": -75}
    [position] = of_positions(bare).positions
    assert position.quantity == -75
    assert (position.credit_quantity, position.net_price, position.realised_pnl, position.isin) == (0, None, None, None)
    [holding] = of_holdings({"isin": "INE009A01021", "quantity": 3}).holdings
    assert (holding.trading_symbol, holding.average_price, holding.exchanges) == ("", None, ())


def test_unknown_words_are_kept_and_flagged() -> None:
    statement = of_orders(
        an_order(1, order_status="PARKED", product="SUPER", validity="YEAR", exchange="XYZ", transaction_type="GIFT",
                 order_type="ICEBERG", amo_status="MAYBE")
    )  # fmt: skip
    [order] = statement.orders
    assert (order.status, order.product, order.validity, order.exchange) == ("PARKED", "SUPER", "YEAR", "XYZ")
    assert set(order.flags) == {
        "status:PARKED", "product:SUPER", "validity:YEAR", "exchange:XYZ", "side:GIFT", "order_type:ICEBERG",
        "amo_status:MAYBE",
    }  # fmt: skip
    assert set(statement.flags) == {f"orders:CASH:{word}" for word in order.flags}


def test_an_unknown_segment_is_a_section_of_its_own_and_a_known_one_has_its_own_reading() -> None:
    answer = an_answer("orders", "orders", {"order_list": [an_order(1, segment="MOON")]}, "/order/list?page=0")
    statement = parse([answer], {"orders:CASH": OK, "orders:MOON": OK}, NOW, TODAY)
    assert statement.orders[0].flags == ("segment:MOON",)
    stray = parse([answer], {"orders:CASH": OK}, NOW, TODAY)
    assert (stray.orders, stray.sections["orders:MOON"].outcome) == (statement.orders, Outcome.UNSTABLE)
    other = an_answer("orders", "orders:CASH", {"order_list": [an_order(1, segment="FNO")]}, "/order/list?page=0")
    assert parse([other], {"orders:CASH": OK}, NOW, TODAY).orders == ()


NAMELESS = {"groww_trade_id": "", "exchange_trade_id": None}


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (of_orders(an_order(1, groww_order_id=None), an_order(2)), "groww_order_id is missing"),
        (of_orders(an_order(1, groww_order_id=" "), an_order(2)), "groww_order_id is missing"),
        (of_orders(an_order(1, groww_order_id="x" * 201), an_order(2)), "groww_order_id is longer than 200 characters"),
        (of_orders(5, an_order(2)), "it is not a record we can read"),
        (of_orders(an_order(1, groww_order_id=["x"]), an_order(2)), "groww_order_id is missing"),
        (of_orders(an_order(1, groww_order_id="A\0"), an_order(2)), "groww_order_id is missing"),
        (of_orders(an_order(1, groww_order_id="A\ud800"), an_order(2)), "groww_order_id is missing"),
        (of_holdings(a_holding(1, isin=None), a_holding(2)), "isin is missing"),
        (of_positions(a_position(trading_symbol=""), a_position()), "trading_symbol is missing"),
        (of_fills(a_trade("A", 1) | NAMELESS, a_trade("A", 2)), "exchange_trade_id is missing"),
        (of_fills(a_trade("B", 1), a_trade("A", 2)), "it belongs to another order"),
        (of_fills(a_trade("A", 1, price=None), a_trade("A", 2)), "quantity or price is missing or unreadable"),
    ],
)  # fmt: skip
def test_one_record_without_identity_is_quarantined_alone(statement: Statement, why: str) -> None:
    assert [record["reason"] for record in statement.quarantined] == [why]
    assert len(statement.orders) + len(statement.holdings) + len(statement.positions) + len(statement.fills) == 1
    assert Outcome.UNSTABLE in {result.outcome for result in statement.sections.values()}


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b'{"payload": null}', b'{"payload": []}', b'{"payload": {}}', b"\xef\xbb\xbf{}",
     b'{"payload": {"order_list": null}}', b'{"payload": {"order_list": {}}}', b'{"payload": {"order_list": [{]}}',
     b'{"payload": {"order_list": []}, "x": ' + b"[" * 33 + b"]" * 33 + b"}", b"[" * 100_000, b"\xff\xfe",
     b'{"payload": {"order_list": [' + b'{"a":' * 100_000],
)  # fmt: skip
def test_a_list_that_is_none_fails_its_section(body: bytes) -> None:
    statement = parse([an_answer("orders", "orders:CASH", body)], {"orders:CASH": OK}, NOW, TODAY)
    assert statement.sections["orders:CASH"].outcome is Outcome.FAILED
    assert statement.sections["orders:CASH"].error == "BrokerAnswerUnknown"


def test_depth_is_counted_outside_of_strings() -> None:
    deep = b'{"payload": {"order_list": []}, "x": %s}'
    wire.readable(deep % (b"[" * 31 + b"]" * 31))
    wire.readable(deep % (b'"' + b"[" * 99 + b'"'))
    wire.readable(deep % (b'"\\"' + b"[" * 99 + b'"'))
    with pytest.raises(ValueError, match="nested"):
        wire.readable(deep % (b"[" * 32 + b'"]"' + b"]" * 32))


def test_odd_texts() -> None:
    long = "x" * 1_000_000
    statement = of_orders(
        an_order(1, remark=long), an_order(2, trading_symbol="A" * 60), an_order(3, remark="half \ud83d of it"),
        an_order(4, remark="NUL\0"), an_order(5, order_reference_id=12345), an_order(6, remark="pair 😀 \\ud800"),
        an_order(7, trading_symbol=None), an_order(8, remark={"a": 1}),
    )  # fmt: skip
    orders = {order.broker_order_id[-1]: order for order in statement.orders}
    assert len(orders["1"].remark or "") == 4000
    assert orders["1"].flags == ("remark:cut from 1000000 characters",)
    assert orders["2"].trading_symbol == "A" * 60
    assert orders["3"].remark is orders["4"].remark is orders["8"].remark is None
    assert orders["3"].flags == orders["4"].flags == ("remark:unreadable",)
    assert orders["5"].order_reference_id == "12345"
    assert orders["6"].remark == "pair 😀 \\ud800"
    assert orders["7"].flags == ("trading_symbol:missing",)


def test_keys_that_come_twice_are_flagged_and_the_last_wins() -> None:
    record = json.dumps(an_order(1))[:-1] + ', "price": 5, "unknown": 1, "unknown": 2}'
    body = f'{{"payload": {{"order_list": [{record}, {json.dumps(an_order(2))}]}}}}'.encode()
    statement = parse([an_answer("orders", "orders:CASH", body)], {"orders:CASH": OK}, NOW, TODAY)
    assert statement.orders[0].price == 5
    assert "orders:CASH:price:twice in one record" in statement.flags
    assert of_orders(an_order(1, remark="price"), an_order(2)).flags == ()


def test_records_that_contradict_each_other_are_not_chosen_from() -> None:
    statement = of_holdings(a_holding(1), a_holding(1, quantity=8), a_holding(2), a_holding(2))
    assert [holding.isin for holding in statement.holdings] == ["INE000002011"]
    assert statement.sections["holdings"].outcome is Outcome.UNSTABLE
    statement = of_fills(a_trade("A", 1), a_trade("A", 1, quantity=3))
    assert statement.fills == ()


def test_odd_isins() -> None:
    assert of_holdings(a_holding(1, isin="WHAT")).flags == ("holdings:isin:WHAT",)
    [contract, share] = of_positions(
        a_position(segment="FNO", symbol_isin="NIFTY26APRFUT"), a_position(symbol_isin="?")
    ).positions
    assert (contract.isin, contract.flags) == (None, ())
    assert (share.isin, share.flags) == (None, ("isin:?",))


def test_fills_fall_back_to_the_exchange_trade_id_and_other_times() -> None:
    [fill] = of_fills(a_trade("A", 1, groww_trade_id="", trade_date_time=None)).fills
    assert fill.broker_trade_id == "50010001"
    assert fill.traded_at == ist(TODAY, 10, 15, 31)


def test_answers_of_failed_sections_are_passed_over_and_nothing_raises() -> None:
    failed = SectionResult(outcome=Outcome.FAILED, error="BrokerUnavailable", reason="no")
    answers = [
        an_answer("holdings", "holdings", {"holdings": [a_holding(1)]}),
        an_answer("margin", "margin", b"<html>", status=502),
        an_answer("unheard of", "new", b"?"),
    ]
    statement = parse(answers, {"holdings": failed, "margin": failed}, NOW, TODAY)
    assert (statement.holdings, statement.margin, statement.flags) == ((), None, ())
    assert statement.sections == {"holdings": failed, "margin": failed}


def test_the_same_answers_give_the_same_statement() -> None:
    answers = [
        an_answer("orders", "orders", {"order_list": [an_order(n, product=f"P{n}") for n in range(50)]}),
        an_answer("holdings", "holdings", {"holdings": [a_holding(n, isin=None) for n in range(9)]}),
    ]
    sections = {"orders:CASH": OK, "holdings": OK}
    assert parse(answers, sections, NOW, TODAY) == parse(answers, sections, NOW, TODAY)


def test_margin_leaves_out_what_the_broker_leaves_out() -> None:
    statement = parse([an_answer("margin", "margin", {"clear_cash": -5.25, "x": 1})], {"margin": OK}, NOW, TODAY)
    assert statement.margin is not None
    assert statement.margin.clear_cash == Decimal("-5.25")
    assert statement.margin.collateral_used is None


def test_an_owner_without_code_is_none() -> None:
    statement = parse([an_answer("owner", "owner", {"vendor_user_id": "v"})], {"owner": OK}, NOW, TODAY)
    assert statement.owner is None
    assert statement.sections["owner"].outcome is Outcome.FAILED


def test_a_cancelled_trade_is_read_and_flagged() -> None:
    statement = of_fills(a_trade("A", 1), a_trade("A", 2, trade_status="CANCELLED"))
    assert [fill.is_cancelled for fill in statement.fills] == [False, True]
    assert statement.flags == ("fills:status:CANCELLED",)
    assert statement.ok("fills")


def test_a_creation_time_that_one_scan_gives_less_exactly_is_no_other_order() -> None:
    vague, exact = an_order(1, created_at="2026-04-24T09:30"), an_order(1, created_at="2026-04-24T09:30:17")
    assert of_orders(vague, exact).quarantined == ()
    assert len(of_orders(vague, an_order(1, created_at="2026-04-24T09:31:17")).quarantined) == 1
