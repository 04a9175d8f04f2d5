"""Whatever a client sends, it gets a clear refusal, never an internal error."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portfolio_scheduler.simulator.routes import BEGINNINGS, EXACT

GETS = [path for method, path in EXACT if method == "GET"] + [path + "x" for _, path, _ in BEGINNINGS]
POSTS = [path for method, path in EXACT if method == "POST"] + ["/v1/token/api/access"]
NAMES = ["segment", "page", "page_size", "trading_symbol", "exchange_symbols", "exchange"]
SYMBOLS = ["NSE_", "_", ",", "NSE_SYN99999", "NSE_SYNx", "NIFTY99DEC1CE", "NSE_NIFTY00JANFUT"]
WORDS = [*SYMBOLS, "CASH", "FNO", "NSE", "²", "-0", "9999999999"]
ORDER = {
    "trading_symbol": "INFY", "quantity": 1, "price": 1, "trigger_price": None, "validity": "DAY", "exchange": "NSE",
    "segment": "CASH", "product": "CNC", "order_type": "LIMIT", "transaction_type": "BUY", "groww_order_id": "x",
    "order_reference_id": None,
}  # fmt: skip
ODD_WORDS = st.sampled_from(["", "NaN", "Infinity", "-1", "1e999", "SL", "SELL", "FNO", "NRML"])
ODD = st.one_of(st.none(), ODD_WORDS, st.integers(), st.floats())
QUERIES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(WORDS) | st.text(max_size=9))
slow_fixtures = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def groww(start, at):
    client = await start()
    client.sim.set_clock(at(4, 24, 12))
    return client


def is_clear(status: int, body: dict) -> bool:
    return status < 500 and (body.get("status") in {"SUCCESS", "FAILURE"} or "errorCode" in body)


@slow_fixtures
@given(
    path=st.sampled_from(GETS),
    query=QUERIES,
)
async def test_odd_parameters(groww, path, query):
    status, body = await groww.ask(path.removeprefix("/v1"), **query)
    assert is_clear(status, body)


@slow_fixtures
@given(path=st.sampled_from(POSTS), changes=st.dictionaries(st.sampled_from(sorted(ORDER)), ODD), listed=st.booleans())
async def test_odd_bodies(groww, path, changes, listed):
    body = ORDER | {name: str(value) if isinstance(value, float) else value for name, value in changes.items()}
    answer = await groww.ask(path.removeprefix("/v1"), method="POST", json=[body] if listed else body, segment="CASH")
    assert is_clear(*answer)
