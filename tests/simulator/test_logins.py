"""Who gets a token, for how long, and who does not."""

import hashlib

import pytest

from portfolio_scheduler.simulator.options import Quirks


async def test_the_totp_mint_answers_without_an_envelope(start):
    groww = await start()
    status, body = await groww.mint(1, key_type="totp", totp=groww.totp(1))
    assert status == 200
    assert body.keys() == {"token", "tokenRefId", "sessionName", "expiry", "isActive"}
    assert body["expiry"] == "2026-04-25T06:00:00"


@pytest.mark.parametrize(("late", "status"), [(0, 200), (30, 200), (-30, 200), (90, 400), (-90, 400)])
async def test_a_code_is_good_for_one_step_either_way(start, late, status):
    groww = await start()
    assert (await groww.mint(1, key_type="totp", totp=groww.totp(1, late_seconds=late)))[0] == status


async def test_a_wrong_code_is_refused_with_a_message(start):
    groww = await start()
    status, body = await groww.mint(1, key_type="totp", totp="000000")
    assert (status, body["status"], body["error"]["displayMessage"]) == (400, "FAILURE", "Invalid TOTP.")


@pytest.mark.parametrize("as_text", [False, True])
async def test_the_checksum_stamp_may_be_a_number_or_a_text(start, as_text):
    groww = await start()
    body = groww.approval(3)
    if as_text:
        body["timestamp"] = str(body["timestamp"])
    assert (await groww.mint(3, **body))[0] == 200


@pytest.mark.parametrize(("late", "status"), [(590, 200), (610, 400), (-610, 400)])
async def test_a_checksum_is_good_for_ten_minutes(start, late, status):
    groww = await start()
    assert (await groww.mint(3, **groww.approval(3, late_seconds=late)))[0] == status


async def test_a_wrong_checksum_is_refused(start):
    groww = await start()
    wrong = groww.approval(3) | {"checksum": hashlib.sha256(b"x").hexdigest()}
    assert (await groww.mint(3, **wrong))[0] == 400


async def test_an_unknown_key_is_refused_by_the_gateway(start):
    groww = await start()
    headers = {"Authorization": "Bearer nobody"}
    async with groww.http.post(groww.sim.url + "/token/api/access", json={}, headers=headers) as answer:
        assert answer.status == 401
        assert (await answer.json()).keys() == {"errorCode", "errorMessage"}


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_key_must_be_approved_each_day(start, at, status):
    groww = await start(quirks=Quirks(auto_approve=False, unapproved_status=status))
    assert (await groww.mint(3, **groww.approval(3)))[0] == status
    await groww.control("approve", json={"api_key": groww.sim.accounts[2].api_key})
    assert (await groww.mint(3, **groww.approval(3)))[0] == 200
    groww.sim.set_clock(at(4, 25, 7))
    assert (await groww.mint(3, **groww.approval(3)))[0] == status


async def test_a_token_dies_at_six_in_the_morning(start, at):
    groww = await start()
    groww.sim.set_clock(at(4, 25, 5, 59, 59))
    assert (await groww.ask("/user/detail"))[0] == 200
    groww.sim.set_clock(at(4, 25, 6))
    status, body = await groww.ask("/user/detail")
    assert (status, body) == (401, {"errorCode": "401", "errorMessage": {"message": "Unauthorized"}})
    assert (await groww.mint(1, key_type="totp", totp=groww.totp(1)))[0] == 200


async def test_a_token_belongs_to_one_account(start):
    groww = await start()
    answers = [(await groww.login(number).payload("/user/detail"))["ucc"] for number in (1, 2, 3)]
    assert answers == [login.ucc for login in groww.sim.accounts]


async def test_a_second_token_may_kill_the_first(start):
    groww = await start()
    first = groww.token
    groww.sim.token(1)
    assert (await groww.ask("/user/detail"))[0] == 200
    await groww.control("quirks", json={"one_token": True})
    groww.sim.token(1)
    groww.token = first
    assert (await groww.ask("/user/detail"))[0] == 200, "only tokens of after the change are counted"
    last = groww.login(1).token
    groww.sim.token(1)
    groww.token = last
    assert (await groww.ask("/user/detail"))[0] == 401


async def test_a_token_can_be_copied_from_the_web_page(start):
    groww = await start()
    _, issued = await groww.control("token", json={"account": 2})
    groww.token = issued["token"]
    assert (await groww.payload("/user/detail"))["ucc"] == groww.sim.accounts[1].ucc
