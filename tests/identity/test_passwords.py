"""A password that guessers try first is refused with its reason; what is kept of one is Argon2id at full cost."""

import asyncio
import random
import re
import string
import threading

import argon2
import pytest

from portfolio_scheduler.errors import InvalidInput, SecretUnreadable
from portfolio_scheduler.identity import blocklist, passwords
from portfolio_scheduler.identity.passwords import Argon2Cost

CHEAP = Argon2Cost(memory_kib=64, passes=1, lanes=1)
NAME = "ravi.kumar@example.org"
GOOD = "tangled-otter-lamp"


async def test_the_right_password_is_told_from_others() -> None:
    kept = await passwords.hash_password(GOOD, cost=CHEAP)
    assert await passwords.verify(kept, GOOD, cost=CHEAP)
    for other in ("", GOOD + " ", GOOD[:-1], GOOD.upper(), GOOD + "\0", "\ud800", "x" * 100_000):
        assert not await passwords.verify(kept, other, cost=CHEAP)


async def test_the_cost_is_what_is_promised() -> None:
    kept = await passwords.hash_password(GOOD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await passwords.verify(kept, GOOD)
    assert GOOD not in kept


async def test_the_same_password_is_never_kept_the_same_way() -> None:
    kept = {await passwords.hash_password(GOOD, cost=CHEAP) for _ in range(20)}
    assert len(kept) == 20


async def test_without_a_user_the_answer_is_no_at_the_same_cost() -> None:
    nobody = passwords._nobodys(passwords.STRONG)
    kept = await passwords.hash_password(GOOD)
    assert argon2.extract_parameters(nobody) == argon2.extract_parameters(kept)
    assert not await passwords.verify(None, GOOD, cost=CHEAP)
    assert not await passwords.verify(None, "", cost=CHEAP)


async def test_a_password_is_the_same_however_its_letters_are_composed() -> None:
    kept = await passwords.hash_password("caf\u00e9 blue r\u00edver \ufb01sh", cost=CHEAP)
    assert await passwords.verify(kept, "cafe\u0301 blue ri\u0301ver fish", cost=CHEAP)
    assert not await passwords.verify(kept, "cafe blue river fish", cost=CHEAP)


async def test_a_hash_of_another_cost_is_to_be_made_anew() -> None:
    kept = await passwords.hash_password(GOOD, cost=CHEAP)
    assert not passwords.needs_rehash(kept, cost=CHEAP)
    assert passwords.needs_rehash(kept)
    assert passwords.needs_rehash(kept, cost=Argon2Cost(memory_kib=64, passes=2, lanes=1))
    assert await passwords.verify(kept, GOOD)  # and is verified until then, at its own cost


async def test_two_computations_at_once_at_most_and_the_loop_goes_on() -> None:
    cost = Argon2Cost(memory_kib=8192, passes=4, lanes=1)
    running = asyncio.gather(*(passwords.hash_password(GOOD, cost=cost) for _ in range(8)))
    most = turns = 0
    while not running.done():
        await asyncio.sleep(0.001)
        turns += 1
        most = max(most, sum(thread.name.startswith("argon2") for thread in threading.enumerate()))
    assert len(set(await running)) == 8
    assert most <= 2
    assert turns > 8


@pytest.mark.parametrize(
    "kept",
    ["", "x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", GOOD, "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAA$"],
)
async def test_a_damaged_hash_is_said_to_be_damaged(kept: str) -> None:
    with pytest.raises(SecretUnreadable, match="Set a new password"):
        await passwords.verify(kept, GOOD, cost=CHEAP)


@pytest.mark.parametrize("parameters", ["m=4294967295,t=1,p=1", "m=64,t=100000000,p=1"])
async def test_a_planted_hash_does_not_take_all_memory_or_time(parameters: str) -> None:
    planted = f"$argon2id$v=19${parameters}$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    with pytest.raises(SecretUnreadable, match="ours are ID with at most"):
        await passwords.verify(planted, GOOD, cost=CHEAP)


@pytest.mark.parametrize(
    "text",
    [
        "correct umbrella battery 7 staple",
        "tangled-otter-lamp",
        "kX9v!mQ2rT7z",
        "blue rice under monday trains",
        "desert party violin",
        "holding breath in water",
        "market of lost umbrellas",
        "naranja cohete lluvia",
        "पुरानी किताब नीला आसमान",
        "my_cat_eats_old_maps",
        "7f3a9c1e5b8d",
        "x" * 5 + "tangled otter lamp" + "y" * 105,
    ],
)
def test_a_password_that_nobody_would_try_is_accepted_whatever_it_is_made_of(text: str) -> None:
    passwords.check_rules(text, NAME)


@pytest.mark.parametrize(
    "text",
    """
    Password@12345 password123456 P@ssw0rd1234 passw0rdpassw0rd qwerty123456 qwertyuiop12 1qaz2wsx3edc zaq12wsxcde3
    q1w2e3r4t5y6 qwertzuiop123 asdfghjkl;'12 1234qwerasdf !@#$%^&*()_+ 123456789012 111222333444 123123123123
    000000000001 aaaaaaaaaaaa abcabcabcabc abcdefghijkl monkeymonkey hellohello12 Sunshine@2024 sunflower1234567890
    Christopher1985 international professional1 administrator admin1234567 Welcome@2025! letmeinplease
    correcthorsebatterystaple JaiShreeRam@108 OmNamahShivaya iloveindia2024 Mumbai@12345 groww@groww123
    portfolioscheduler portfolio-scheduler Portfolio.Scheduler.1 adminpassword1 nifty50sensex1 growwpassword
    kishore.kumar99 ravi.kumar@1990 RaviKumarRaviKumar ravi.kumar@example.org kumar-kumar-kumar
    ＰＡＳＳＷＯＲＤ１２３４５
    """.split(),  # noqa: SIM905
)
def test_a_password_that_guessers_try_first_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="The field password is easily guessed"):
        passwords.check_rules(text, NAME)


def test_a_user_name_is_no_word_for_others() -> None:
    passwords.check_rules("tumblewick1234", "somebody")
    with pytest.raises(InvalidInput, match="easily guessed"):
        passwords.check_rules("tumblewick1234", "Tumblewick")


@pytest.mark.parametrize("length", [0, 1, 8, 11, 129, 5000])
def test_a_length_outside_the_bounds_is_refused_with_both(length: int) -> None:
    with pytest.raises(InvalidInput, match=rf"The field new_password has {length} characters; it must have 12 to 128"):
        passwords.check_rules(("tangled otter lamp " * 300)[:length], NAME, field="new_password")


def test_length_counts_characters_after_normalising() -> None:
    passwords.check_rules("नीलाआसमान किताब", NAME)
    with pytest.raises(InvalidInput, match="has 6 characters"):
        passwords.check_rules("e\u0301" * 6, NAME)


@pytest.mark.parametrize("letter", ["\0", "\n", "\x1b", "\ud800", "\x7f"])
def test_characters_that_cannot_be_typed_are_refused(letter: str) -> None:
    with pytest.raises(InvalidInput, match="control or unassigned"):
        passwords.check_rules(f"tangled{letter}otter lamp", NAME)


def test_a_refusal_does_not_repeat_the_password() -> None:
    for text in ("password123456", "shorter", "tangled\0otter lamp", "Z" * 200):
        with pytest.raises(InvalidInput) as refusal:
            passwords.check_rules(text, NAME)
        assert text not in refusal.value.message


def test_the_list_is_long_and_every_word_of_it_is_refused_with_digits_behind_it() -> None:
    words = blocklist.listed()
    assert len(words) >= 3000
    assert sum(len(word) >= passwords.SHORTEST for word in words) >= 1000
    assert [word for word in words if word != blocklist._folded(word) or not re.fullmatch(r"\S{4,}", word)] == []
    sample = sorted(words)[::20]
    assert len(sample) > 400
    assert [word for word in sample if not blocklist.is_easily_guessed(f"{word.capitalize()}@2024", "")] == []


def test_random_passwords_are_not_refused() -> None:
    draw = random.Random(42)
    drawn = ["".join(draw.choices(string.ascii_lowercase + string.digits, k=12)) for _ in range(400)]
    assert [text for text in drawn if blocklist.is_easily_guessed(text, "somebody")] == []
