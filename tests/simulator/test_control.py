"""The simulator's own API: clock, faults, put answers, what was asked."""

import asyncio
import base64
import io
import json

import aiohttp
import pytest


async def test_the_state_has_all_logins(start):
    groww = await start()
    status, state = await groww.control("state", method="GET")
    assert status == 200
    assert (state["at"], state["date"], state["ticking"]) == ("2026-04-24T09:00:00+05:30", "2026-04-24", False)
    assert [account["number"] for account in state["accounts"]] == [1, 2, 3]
    assert state["accounts"][0]["totp_secret"] == groww.sim.accounts[0].totp_secret
    assert state["accounts"][2]["secret"] == groww.sim.accounts[2].secret
    assert state["url"] == groww.sim.url


async def test_the_clock_goes_forward_only(start):
    groww = await start()
    status, body = await groww.control("clock", json={"at": "2026-04-24T16:00:00+05:30"})
    assert (status, body["at"]) == (200, "2026-04-24T16:00:00+05:30")
    status, body = await groww.control("clock", json={"at": "2026-04-24T15:00:00+05:30"})
    assert (status, body["error"][:10]) == (400, "The clock ")
    assert (await groww.control("clock", json={"at": "2026-04-24T17:00:00"}))[0] == 400, "no offset"


async def test_the_clock_can_tick(start):
    groww = await start()
    _, body = await groww.control("clock", json={"at": "2026-04-24T16:00:00+05:30", "ticking": True})
    assert body["ticking"] is True
    before = groww.sim.now
    await asyncio.sleep(0.05)
    assert groww.sim.now > before


async def test_a_fault_hits_the_next_matching_calls(start):
    groww = await start()
    await groww.control(
        "faults", json={"kind": "status", "status": 500, "path": "/v1/holdings", "times": 2, "body": "{}"}
    )
    statuses = [(await groww.ask(path))[0] for path in ("/user/detail", *["/holdings/user"] * 3)]
    assert statuses == [200, 500, 500, 200]


async def test_a_fault_can_wait_and_can_be_meant_for_one_account(start):
    groww = await start()
    key = groww.sim.accounts[1].api_key
    await groww.control("faults", json=[{"kind": "failure", "status": 503, "api_key": key, "after": 1, "times": None}])
    assert [(await groww.login(2).ask("/user/detail"))[0] for _ in range(3)] == [200, 503, 503]
    assert (await groww.login(1).ask("/user/detail"))[0] == 200
    await groww.control("faults", method="DELETE")
    assert (await groww.login(2).ask("/user/detail"))[0] == 200


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ({"kind": "html"}, 502, b"<html>"),
        ({"kind": "html", "status": 429}, 429, b"<html>"),
        ({"kind": "failure", "code": "GA000"}, 200, b'{"status":"FAILURE"'),
        ({"kind": "failure", "status": 429, "code": "429"}, 429, b'{"status":"FAILURE"'),
        ({"kind": "gateway", "code": "401"}, 401, b'{"errorCode":"401"'),
        ({"kind": "null_payload"}, 200, b'{"status":"SUCCESS","payload":null}'),
        ({"kind": "empty"}, 200, b""),
        ({"kind": "truncated"}, 200, b'{"status":"SUCCESS"'),
        ({"kind": "raw", "body": "NaN"}, 200, b"NaN"),
        ({"kind": "raw", "body_base64": base64.b64encode(b"\x00\xff").decode()}, 200, b"\x00\xff"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
async def test_odd_answers(start, fault, status, text):
    groww = await start()
    await groww.control("faults", json=fault)
    headers = {"Authorization": f"Bearer {groww.token}"}
    async with groww.http.get(groww.sim.url + "/user/detail", headers=headers) as answer:
        assert answer.status == status
        assert (await answer.read()).startswith(text)


async def test_an_answer_may_be_very_long(start):
    groww = await start()
    fault = {"kind": "raw", "body_base64": base64.b64encode(b" " * 8_000_000).decode()}
    body = io.BytesIO(json.dumps(fault).encode())
    async with groww.http.post(groww.sim.control_url + "/faults", data=body) as answer:
        assert answer.status == 200
    async with groww.http.get(groww.sim.url + "/user/detail") as answer:
        assert len(await answer.read()) == 8_000_000


async def test_a_throttled_call_may_say_when_to_come_back(start):
    groww = await start()
    fault = {"kind": "failure", "status": 429, "code": "429", "headers": {"Retry-After": "600"}}
    await groww.control("faults", json=fault)
    async with groww.http.get(groww.sim.url + "/user/detail") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "600")


async def test_a_redirect(start):
    groww = await start()
    fault = {"kind": "redirect", "headers": {"Location": "http://127.0.0.1:1/elsewhere"}}
    await groww.control("faults", json=fault)
    async with groww.http.get(groww.sim.url + "/user/detail", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "http://127.0.0.1:1/elsewhere")


async def test_an_answer_can_be_edited(start):
    groww = await start()
    before = await groww.holdings()
    edit = {"kind": "edit", "rows": "holdings", "values": {"average_price": None}, "without": ["tradable_exchanges"]}
    await groww.control("faults", json=edit)
    for symbol, row in (await groww.holdings()).items():
        assert row.keys() == before[symbol].keys() - {"tradable_exchanges"}
        assert (row["average_price"], row["quantity"]) == (None, before[symbol]["quantity"])
    await groww.control("faults", json={"kind": "edit", "values": {"ucc": "other"}})
    assert (await groww.payload("/user/detail"))["ucc"] == "other"


@pytest.mark.parametrize("kind", ["drop", "cut"])
async def test_a_broken_connection(start, kind):
    groww = await start()
    # aiohttp itself tries once more on a connection that it had kept open.
    await groww.control("faults", json={"kind": kind, "times": None})
    with pytest.raises(aiohttp.ClientError):
        await groww.ask("/user/detail")
    await groww.control("faults", method="DELETE")
    assert (await groww.ask("/user/detail"))[0] == 200


async def test_a_slow_answer(start):
    groww = await start()
    await groww.control("faults", json={"kind": "delay", "seconds": 0.1})
    before = asyncio.get_running_loop().time()
    assert (await groww.ask("/user/detail"))[0] == 200
    assert asyncio.get_running_loop().time() - before >= 0.1


@pytest.mark.parametrize("kind", ["drip", "endless"])
async def test_an_answer_that_never_ends(start, kind):
    groww = await start()
    await groww.control("faults", json={"kind": kind, "seconds": 0.02})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await groww.ask("/user/detail")
    assert (await groww.ask("/user/detail"))[0] == 200


async def test_rows_can_be_put_in_place_of_answers(start):
    groww = await start()
    odd = {"isin": "X", "trading_symbol": "ODD", "quantity": 1.5, "new_field": [1]}
    await groww.control("accounts/1/holdings", json={"rows": [odd]})
    assert await groww.holdings() == {"ODD": odd}
    order = {"groww_order_id": "A1", "segment": "FNO", "order_status": "PONDERING"}
    await groww.control("accounts/1/orders", json={"rows": [order, {"groww_order_id": "A2", "segment": "CASH"}]})
    assert await groww.orders(segment="FNO") == [order]
    assert await groww.payload("/order/detail/A1", segment="FNO") == order
    await groww.control("accounts/1/trades", json={"order_id": "A1", "rows": [{"quantity": 1}]})
    assert await groww.trades(order) == [{"quantity": 1}]
    await groww.control("accounts/1/positions", json={"rows": []})
    assert await groww.positions() == []
    await groww.control("accounts/1/margins", json={"clear_cash": "many"})
    assert await groww.payload("/margins/detail/user") == {"clear_cash": "many"}
    await groww.control("accounts/1/answers", method="DELETE")
    assert "ODD" not in await groww.holdings()


async def test_requests_are_counted(start):
    groww = await start()
    await groww.login(2).ask("/holdings/user")
    await groww.ask("/order/list", segment="CASH")
    _, seen = await groww.control("requests", method="GET")
    assert seen["by_path"] == {"GET /v1/holdings/user": 1, "GET /v1/order/list": 1}
    assert seen["requests"][1] == ["GET", "/v1/order/list", "segment=CASH", 2, 200, None]
    await groww.control("requests", method="DELETE")
    assert not groww.sim.requests


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("nothing", {}, 404),
        ("faults", {"kind": "unheard of"}, 400),
        ("faults", {"kind": "html", "api_key": "nobody"}, 400),
        ("quirks", {"unheard_of": 1}, 400),
        ("accounts/99/holdings", {"rows": []}, 404),
        ("token", {"account": 99}, 404),
        ("approve", {"api_key": "nobody"}, 401),
    ],
)
async def test_wrong_use_is_told(start, path, body, status):
    groww = await start()
    assert (await groww.control(path, json=body))[0] == status
