"""Structure-aware fuzzing: whatever stands in the fields of an answer, parse raises nothing and keeps its bounds."""

import json
import re
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from portfolio_scheduler.brokers.groww.parse import PRICE_LIMIT, QUANTITY_LIMIT, parse
from portfolio_scheduler.domain.money import LIMIT, MAX_PLACES
from portfolio_scheduler.domain.records import Outcome, SectionResult
from tests.scale import scaled

from .conftest import TODAY
from .scripted import a_holding, a_position, a_trade, an_order
from .test_parse import NOW, an_answer

OK = SectionResult(outcome=Outcome.OK)
LITERALS = [
    "NaN", "Infinity", "-1", "1e400", "1e999999999", "-1e-999999999", "9" * 300, "0.1234567890123456789", "1_000",
    '"NaN"', '"1_000"', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', "true", "null", "[]",
    "{}", "[[[[[]]]]]", '{"a":{"a":1,"a":2}}', '""', '" "', "18446744073709551616", "-0", "1e9", "1000000000.1",
    '"2026-04-24T10:15:30Z"',
    "1777000000000", '"9999-99-99"', '"CASH"', '"FNO"', '"INE009A01021"', '"' + "x" * 5000 + '"', "\\", '"',
]  # fmt: skip
values = st.one_of(
    st.sampled_from(LITERALS),
    st.integers(-(10**30), 10**30).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.text(max_size=12).map(json.dumps),
)


@st.composite
def records(draw: st.DrawFn, sound: dict[str, Any]) -> str:
    """A sound record with some fields replaced, left out, doubled or unknown."""
    fields = {name: json.dumps(value) for name, value in sound.items()}
    names = [*fields, "unknown"]
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        fields[name] = draw(values)
    for name in draw(st.lists(st.sampled_from(names), max_size=2)):
        fields.pop(name, None)
    text = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    if fields and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(fields)))
        text += f', "{name}": {draw(values)}'
    return "{" + text + "}"


@st.composite
def bodies(draw: st.DrawFn, key: str, sound: list[dict[str, Any]]) -> bytes:
    rows = draw(st.lists(st.one_of(*(records(row) for row in sound), values), max_size=4))
    payload = f'{{"{key}": [{", ".join(rows)}]}}' if key else (rows or ["{}"])[0]
    text = f'{{"status": "SUCCESS", "payload": {payload}}}'
    body = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(body)))
        body = body[:cut] + draw(st.binary(max_size=4)) + body[cut + 1 :]
    return body


CALLS = {
    "owner": ("owner", "", "/user/detail", [{"ucc": "1", "active_segments": ["CASH"], "vendor_user_id": "v"}]),
    "holdings": ("holdings", "holdings", "/holdings/user", [a_holding(1), a_holding(2)]),
    "positions": ("positions", "positions", "/positions/user", [a_position(), a_position(segment="FNO")]),
    "orders": ("orders", "order_list", "/order/list?page=0#scan=1", [an_order(1), an_order(2), an_order(2, price=3)]),
    "fills": ("fills", "trade_list", "/order/trades/A?segment=CASH", [a_trade("A", 1), a_trade("A", 2)]),
    "margin": ("margin", "", "/margins/detail/user", [{"clear_cash": 5.5, "net_margin_used": 0}]),
    "ltp": ("prices", "", "/live-data/ltp?segment=CASH&exchange_symbols=NSE_A,NSE_B#keys=K1,K2", [{"NSE_A": 1.5}]),
}
SECTIONS = dict.fromkeys(
    ("owner", "holdings", "positions:CASH", "positions:FNO", "orders:CASH", "fills", "margin", "prices"), OK
)
SIGNED = {"realised_pnl", "quantity", "net_carry_forward_quantity"} | {
    "clear_cash", "net_margin_used", "brokerage_and_charges", "collateral_used", "collateral_available", "adhoc_margin"
}  # fmt: skip


def check_bounds(record: Any) -> None:
    for name, value in structs.asdict(record).items():
        if isinstance(value, Decimal):
            assert value.is_finite()
            assert -value.as_tuple().exponent <= MAX_PLACES
            assert abs(value) < LIMIT
            if "quantity" in name:
                assert abs(value) <= QUANTITY_LIMIT
                assert value >= 0 or (type(record).__name__ == "Position" and name in SIGNED)
            elif "price" in name:
                assert abs(value) <= PRICE_LIMIT
        elif isinstance(value, str):
            assert "\0" not in value
            value.encode()  # no half characters
            assert len(value) <= 4000


@settings(max_examples=scaled(1000), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_parse_raises_nothing_and_keeps_its_bounds(data: st.DataObject) -> None:
    calls = data.draw(st.lists(st.sampled_from(sorted(CALLS)), min_size=1, max_size=3))
    answers = []
    for call in calls:
        section, key, request, sound = CALLS[call]
        answers.append(an_answer(call, section, data.draw(bodies(key, sound)), request))
    statement = parse(answers, SECTIONS, NOW, TODAY)

    for record in (*statement.holdings, *statement.positions, *statement.orders, *statement.fills, *statement.prices):
        check_bounds(record)
    for one in (statement.owner, statement.margin):
        if one is not None:
            check_bounds(one)
    assert set(statement.sections) >= set(SECTIONS)  # and those of unknown segments
    for text in (*statement.flags, *(word for record in statement.quarantined for word in record.values())):
        assert re.fullmatch(r"[^\0-\x1f]*", text)
        text.encode()
    assert parse(answers, SECTIONS, NOW, TODAY) == statement
    for record in statement.quarantined:
        assert record["reason"]
        assert any(
            result.outcome is not Outcome.OK
            for name, result in statement.sections.items()
            if name.partition(":")[0] == record["section"].partition(":")[0]
        )
