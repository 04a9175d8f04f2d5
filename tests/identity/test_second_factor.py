"""Codes of an authenticator app are those of RFC 6238 and good once; recovery codes are read as people type them."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from portfolio_scheduler.identity import second_factor as totp

SECRET = base64.b32encode(b"12345678901234567890").decode()  # of RFC 6238, appendix B
NOW = datetime(2026, 4, 24, 10, 30, 7, tzinfo=UTC)
STEP = int(NOW.timestamp()) // 30


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    assert totp.code_of(SECRET, seconds // 30) == code
    assert totp.accepted_step(SECRET, code, datetime.fromtimestamp(seconds, UTC), None) == seconds // 30


@pytest.mark.parametrize(
    ("away", "accepted"), [(-3, False), (-2, False), (-1, True), (0, True), (1, True), (2, False), (3, False)]
)
def test_one_step_before_and_after_is_accepted(away: int, accepted: bool) -> None:
    step = totp.accepted_step(SECRET, totp.code_of(SECRET, STEP + away), NOW, None)
    assert step == (STEP + away if accepted else None)


def test_a_code_is_good_once_and_so_is_each_code_before_it() -> None:
    before, current, after = (totp.code_of(SECRET, STEP + n) for n in (-1, 0, 1))
    last = totp.accepted_step(SECRET, current, NOW, None)
    assert last == STEP
    assert totp.accepted_step(SECRET, current, NOW, last) is None
    assert totp.accepted_step(SECRET, current, NOW + timedelta(seconds=30), last) is None
    assert totp.accepted_step(SECRET, before, NOW, last) is None
    assert totp.accepted_step(SECRET, after, NOW, last) == STEP + 1


def test_a_code_that_two_steps_share_is_good_once_too() -> None:
    step = 62_075_368  # found by trying two million steps
    code = totp.code_of(SECRET, step)
    assert code == totp.code_of(SECRET, step + 1)
    now = datetime.fromtimestamp(step * 30, UTC)
    last = totp.accepted_step(SECRET, code, now, None)
    assert last == step + 1
    assert totp.accepted_step(SECRET, code, now + timedelta(seconds=30), last) is None


@pytest.mark.parametrize("typed", ["{0}{1}", "{0} {1}", " {0}{1}\n"])
def test_spaces_do_not_matter(typed: str) -> None:
    code = totp.code_of(SECRET, STEP)
    assert totp.accepted_step(SECRET, typed.format(code[:3], code[3:]), NOW, None) == STEP


def test_what_is_no_code_is_refused() -> None:
    code = totp.code_of(SECRET, STEP)
    arabic = code.translate({ord("0") + n: 0x660 + n for n in range(10)})
    for typed in ("", code[:5], code + "0", "0" + code, "-" + code[1:], arabic, "1e5000", code + "\0", "9" * 100_000):
        assert totp.accepted_step(SECRET, typed, NOW, None) is None


def test_of_a_thousand_guesses_none_is_right_without_the_secret() -> None:
    right = {totp.code_of(SECRET, STEP + n) for n in (-1, 0, 1)}
    guesses = [f"{n:06}" for n in range(0, 1_000_000, 997) if f"{n:06}" not in right]
    assert len(guesses) > 1000
    assert [code for code in guesses if totp.accepted_step(SECRET, code, NOW, None) is not None] == []


def test_each_secret_has_160_bits_of_its_own() -> None:
    made = {totp.new_secret() for _ in range(100)}
    assert len(made) == 100
    assert {len(base64.b32decode(secret)) for secret in made} == {20}


def test_the_address_holds_what_an_app_needs() -> None:
    address = urlsplit(totp.uri(SECRET, "ravi kumar@example.org", "Portfolio Scheduler"))
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    assert unquote(address.path) == "/Portfolio Scheduler:ravi kumar@example.org"
    fields = parse_qs(address.query)
    assert fields["secret"] == [SECRET]
    assert fields["issuer"] == ["Portfolio Scheduler"]
    assert fields.get("digits", ["6"]) == ["6"]
    assert fields.get("period", ["30"]) == ["30"]
    assert fields.get("algorithm", ["SHA1"]) == ["SHA1"]


def test_there_are_ten_recovery_codes_and_none_is_like_another() -> None:
    codes = [code for _ in range(20) for code in totp.recovery_codes()]
    assert len(totp.recovery_codes()) == 10
    assert len({text for text, _ in codes}) == len({digest for _, digest in codes}) == 200
    letters = {text.replace("-", "") for text, _ in codes}
    assert {len(text) for text in letters} == {28}
    assert len(set("".join(letters))) == 32  # 28 letters of 32 kinds: 140 bits


def test_a_recovery_code_is_read_as_people_type_it() -> None:
    for text, digest in totp.recovery_codes():
        typed = text.upper().replace("-", " ").replace("0", "O").replace("1", "l")
        assert totp.recovery_digest(text) == totp.recovery_digest(typed) == digest
        assert text.encode() not in digest


@pytest.mark.parametrize("typed", ["", "abc", "u" * 28, "0" * 27, "0" * 29, "é" * 28, "123456"])
def test_what_is_no_recovery_code_has_no_digest(typed: str) -> None:
    assert totp.recovery_digest(typed) is None
