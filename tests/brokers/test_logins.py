"""Three ways in, and what each refusal leads to."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from portfolio_scheduler.brokers.broker import AccessToken
from portfolio_scheduler.brokers.groww.login import next_death, read_token, totp
from portfolio_scheduler.clock import StoppedClock, ist
from portfolio_scheduler.domain.records import Login, Outcome
from portfolio_scheduler.errors import BrokerError, BrokerLoginRequired, BrokerThrottled

from .conftest import TODAY, Account, credentials
from .scripted import KEY, SECRET, Scripted, always, failure, in_turn, raw

MINT = "/token/api/access"
GATEWAY_401 = raw('{"errorCode": "401", "errorMessage": {"message": "Unauthorized"}}', 401)


def test_totp_codes_are_those_of_rfc_6238_and_of_pyotp() -> None:
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert totp(secret, datetime.fromtimestamp(59, UTC)) == "287082"
    assert totp(secret, datetime.fromtimestamp(1111111109, UTC)) == "081804"
    now = datetime(2026, 4, 24, 10, 30, tzinfo=UTC)
    assert totp(" gezd gnbv gy3t qojq gezd gnbv gy3t qojq ", now) == pyotp.TOTP(secret).at(now)
    assert len(totp("JBSWY3DPEHPK3PXP", now)) == 6  # eighty bits are few, but they are what some brokers give


async def test_totp_login(account: Account, server: Scripted, clock: StoppedClock) -> None:
    await account.book()
    assert json.loads(server.bodies[0]) == {"key_type": "totp", "totp": totp("JBSWY3DPEHPK3PXP", clock.now())}
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert server.asked[1].headers["Authorization"] == "Bearer tok-1-shown-nowhere"
    assert account.session.token == AccessToken(token="tok-1-shown-nowhere", expires_at=ist(TODAY, 6) + timedelta(1))


async def test_a_totp_code_that_is_refused_is_followed_by_that_of_the_next_step(
    account: Account, server: Scripted, clock: StoppedClock
) -> None:
    server.on(MINT, in_turn(failure(401, "GA005"), server.mint))
    start = clock.now()
    assert (await account.book()).owner is not None
    assert account.session.mints == 2
    codes = [json.loads(body)["totp"] for body in server.bodies[:2]]
    assert codes == [totp("JBSWY3DPEHPK3PXP", start), totp("JBSWY3DPEHPK3PXP", start + timedelta(seconds=30))]


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("login", [Login.TOTP, Login.APPROVAL])
async def test_a_refused_login_asks_the_owner_and_does_not_loop(
    account: Account, server: Scripted, status: int, login: Login
) -> None:
    server.on(MINT, always(failure(status, "GA005")))
    with pytest.raises(BrokerLoginRequired) as raised:
        await account.do("fetch_book", login=credentials(login))
    assert len(server.asked) == {Login.TOTP: 2, Login.APPROVAL: 1}[login]
    assert ("https://groww.in/trade-api/api-keys" in raised.value.message) is (login is Login.APPROVAL)


async def test_approval_login_sends_the_hash_of_secret_and_seconds(
    account: Account, server: Scripted, clock: StoppedClock
) -> None:
    await account.book(login=credentials(Login.APPROVAL))
    stamp = str(int(clock.now().timestamp()))
    assert json.loads(server.bodies[0]) == {
        "key_type": "approval",
        "checksum": hashlib.sha256(f"{SECRET}{stamp}".encode()).hexdigest(),
        "timestamp": stamp,
    }


async def test_an_inactive_token_means_not_approved(account: Account, server: Scripted) -> None:
    server.on(MINT, always(raw('{"token": "t", "expiry": "2026-04-25T06:00:00", "isActive": false}')))
    with pytest.raises(BrokerLoginRequired, match="Approve the key"):
        await account.do("fetch_book", login=credentials(Login.APPROVAL))


async def test_a_pasted_token_is_used_as_it_is_and_never_renewed(account: Account, server: Scripted) -> None:
    login = credentials(Login.TOKEN, access_token=" pasted-1\n")
    await account.book(login=login)
    assert server.count(MINT) == 0
    assert server.asked[0].headers["Authorization"] == "Bearer pasted-1"

    server.on("/user/detail", always(GATEWAY_401))
    with pytest.raises(BrokerLoginRequired, match="Paste today's token"):
        await account.do("fetch_book", login=login)
    assert server.count(MINT) == 0


async def test_a_pasted_token_known_to_be_dead_is_not_sent_again(
    account: Account, server: Scripted, clock: StoppedClock
) -> None:
    dead = AccessToken(token="pasted-1", expires_at=clock.now() - timedelta(hours=1))
    with pytest.raises(BrokerLoginRequired):
        await account.do("fetch_book", login=credentials(Login.TOKEN, access_token="pasted-1"), token=dead)
    assert server.asked == []


async def test_a_cached_token_is_used_until_six_in_the_morning(
    account: Account, server: Scripted, clock: StoppedClock
) -> None:
    cached = AccessToken(token="cached", expires_at=next_death(clock.now()))
    await account.book(token=cached)
    assert account.session.mints == 0
    assert account.session.token == cached
    clock.set(cached.expires_at - timedelta(seconds=30))
    await account.book(token=cached)
    assert account.session.mints == 1


@pytest.mark.parametrize("refusal", [GATEWAY_401, failure(401, "401"), raw("", 401), failure(200, "401")])
async def test_a_token_that_dies_in_the_middle_is_renewed_once(
    account: Account, server: Scripted, refusal: object
) -> None:
    for path in ("/holdings/user", "/positions/user", "/margins/detail/user"):
        server.on(path, in_turn(refusal, server.answers[path]))
    statement = await account.book()
    assert {result.outcome for result in statement.sections.values()} == {Outcome.OK}
    assert (account.session.mints, server.count(MINT)) == (2, 2)


async def test_a_401_on_every_call_ends_after_one_renewal(account: Account, server: Scripted) -> None:
    server.on("/holdings/user", always(GATEWAY_401))
    statement = await account.book()
    assert statement.sections["holdings"].error == "BrokerLoginRequired"
    assert server.count(MINT) == 2
    assert server.count("/holdings/user") == 2


async def test_neither_403_nor_429_leads_to_a_new_token(account: Account, server: Scripted) -> None:
    server.on("/holdings/user", always(failure(403, "403", "Access forbidden for this request.")))
    server.on("/margins/detail/user", in_turn(failure(429, "429"), {"clear_cash": 1}))
    statement = await account.book()
    assert statement.sections["holdings"].outcome is Outcome.NOT_ENTITLED
    assert statement.sections["margin"].outcome is Outcome.OK
    assert server.count(MINT) == 1


async def test_a_throttled_login_is_left_alone(account: Account, server: Scripted) -> None:
    server.on(MINT, always(raw("slow down", 429, **{"Retry-After": "600"})))
    with pytest.raises(BrokerThrottled) as raised:
        await account.do("fetch_book")
    assert raised.value.retry_after_seconds == 600
    assert len(server.asked) == 1


@pytest.mark.parametrize("odd", ["", "two words", "café", "line\nbreak"])
async def test_a_key_that_cannot_go_into_a_header_is_refused_before_anything_is_sent(
    account: Account, server: Scripted, odd: str
) -> None:
    with pytest.raises(BrokerLoginRequired, match="Enter it again"):
        await account.do("fetch_book", login=credentials(api_key=odd))
    with pytest.raises(BrokerLoginRequired, match="not base32"):
        await account.do("fetch_book", login=credentials(totp_secret="1!"))
    assert server.asked == []


@pytest.mark.parametrize("body", ["{}", '{"token": ""}', '{"token": 5}', "<html>", '{"token": "a b"}'])
async def test_an_odd_mint_answer_is_our_error_and_shows_nothing(account: Account, server: Scripted, body: str) -> None:
    server.on(MINT, always(raw(body)))
    with pytest.raises(BrokerError) as raised:
        await account.do("fetch_book")
    assert body not in raised.value.message


NOW = ist(TODAY, 16)


@pytest.mark.parametrize(
    ("expiry", "expires_at"),
    [
        ('"2026-04-25T06:00:00"', ist(TODAY, 6) + timedelta(1)),
        ('"2026-04-24T18:00:00"', ist(TODAY, 18)),
        ('"2026-04-24T12:30:00Z"', ist(TODAY, 18)),
        ('"2026-12-31T06:00:00"', ist(TODAY, 6) + timedelta(1)),
        ('"soon"', ist(TODAY, 6) + timedelta(1)),
        ("null", ist(TODAY, 6) + timedelta(1)),
        ("1777000000", ist(TODAY, 6) + timedelta(1)),
    ],
)
def test_an_expiry_is_in_indian_time_and_never_trusted_beyond_six(expiry: str, expires_at: datetime) -> None:
    assert read_token(b'{"token": "t", "expiry": %s}' % expiry.encode(), NOW).expires_at == expires_at


def test_six_in_the_morning() -> None:
    assert next_death(ist(TODAY, 5, 59)) == ist(TODAY, 6)
    assert next_death(ist(TODAY, 6)) == ist(TODAY, 6) + timedelta(1)
