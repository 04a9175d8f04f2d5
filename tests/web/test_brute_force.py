"""T47 and T48: guessing passwords over HTTP, and what the time of an answer gives away."""

import asyncio
import time
from collections.abc import Callable, Sequence
from math import erfc, sqrt
from statistics import median

import httpx
import pytest
from msgspec import structs

from portfolio_scheduler.identity.passwords import Argon2Cost, hash_password
from portfolio_scheduler.web.server import make_web
from tests.scale import PROOF, scaled
from tests.web.conftest import ADDRESS, PASSWORD, Site, problem_of

MOST, MANY = scaled(10_000, share=100), scaled(1000, share=20)
AT_ONCE = 25
WRONG = "not the password at all"
Tell = Callable[[str, object], None]


async def flood(site: Site, names: Sequence[str], addresses: Sequence[str]) -> list[int]:
    """Try as often as there are names and addresses, many at once; the statuses."""
    tries = [site.log_in(name, password=WRONG, address=address) for name, address in zip(names, addresses, strict=True)]
    answers: list[httpx.Response] = []
    for start in range(0, len(tries), AT_ONCE):
        answers += await asyncio.gather(*tries[start : start + AT_ONCE])
    return [answer.status_code for answer in answers]


async def test_one_user_is_tried_ten_times_in_five_minutes_wherever_from(site: Site, tell: Tell) -> None:
    await site.member("asha")
    await site.member("ravi")
    device = (await site.log_in("asha", address="198.51.100.7")).json()["device_token"]
    site.stage.clock.advance(400)
    many = [f"203.0.{n // 250}.{n % 250}" for n in range(MANY)]
    for what, names, addresses in (
        ("one user from one address", ["asha"] * MOST, ["203.0.113.1"] * MOST),
        ("many users from one address", [f"user{n}" for n in range(MANY)], ["203.0.113.1"] * MANY),
        ("one user from many addresses", ["asha"] * MANY, many),
        ("one user from one /64", ["asha"] * MANY, [f"2001:db8::{n:x}" for n in range(MANY)]),
    ):
        statuses = await flood(site, names, addresses)
        assert set(statuses) == {401, 429}, what
        assert statuses.count(401) == 10, what
        tell(f"T47: {what}: passwords checked of {len(names)} tries", statuses.count(401))
        known = await site.log_in("asha", device_token=device, address="203.0.113.1")
        assert known.status_code == 200, "the owner's device has tries of its own"
        began = time.perf_counter()
        assert (await site.log_in("ravi", address="198.51.100.8")).status_code == 200
        tell(f"T47: {what}: login of somebody else meanwhile, ms", round((time.perf_counter() - began) * 1000))
        site.stage.clock.advance(400)
    assert await site.stage.one("SELECT count(*) FROM access_log WHERE kind = 'login_failed'") == 40


@pytest.mark.skipif(not PROOF, reason="takes a thousand logins: make proof")
async def test_everybody_together_is_tried_a_thousand_times(site: Site, tell: Tell) -> None:
    await site.member("asha")
    device = (await site.log_in("asha")).json()["device_token"]
    site.stage.clock.advance(400)
    names = [f"user{n}" for n in range(1200)]
    statuses = await flood(site, names, [f"203.0.{n // 250}.{n % 250}" for n in range(1200)])
    assert statuses.count(401) == 1000
    tell("T47: many users from many addresses: passwords checked of 1200 tries", statuses.count(401))
    assert (await site.log_in("asha", address="198.51.100.1")).status_code == 429
    assert (await site.log_in("asha", device_token=device)).status_code == 200


async def test_a_refusal_says_when_to_come_back_and_then_it_works(site: Site) -> None:
    await site.member("asha")
    for _ in range(10):
        await site.log_in("asha", password=WRONG)
    refused = await site.log_in("asha")
    assert problem_of(refused)["type"] == "too_many"
    wait = int(refused.headers["retry-after"])
    assert 0 < wait <= 330
    site.stage.clock.advance(wait)
    assert (await site.log_in("asha")).status_code == 200
    kinds = "SELECT details ->> 'limit' FROM access_log WHERE kind = 'limit_reached' ORDER BY 1"
    assert await site.stage.rows(kinds) == [("login address",), ("login user",)]


async def test_after_a_hundred_failures_only_known_devices_are_let_in_until_an_admin_lifts_it(site: Site) -> None:
    user = await site.member("asha")
    device = (await site.log_in("asha")).json()["device_token"]
    await site.stage.rows("UPDATE users SET failed_logins = 99 WHERE name = 'asha' RETURNING 1")
    assert (await site.log_in("asha", password=WRONG)).status_code == 401
    site.stage.clock.advance(400)
    stopped, unknown = await site.log_in("asha"), await site.log_in("nobody")
    assert stopped.status_code == 401
    assert stopped.content == unknown.content
    known = await site.log_in("asha", device_token=device)
    assert known.status_code == 200
    assert (await site.log_in("asha")).status_code == 401, "which lifts nothing for others"
    root = await site.admin()
    assert (await root.post(f"/admin/users/{user}/unlock")).json()["failed_logins"] == 0
    assert (await site.log_in("asha")).status_code == 200
    kinds = "SELECT count(*) FROM access_log WHERE kind IN ('login_stopped', 'unlocked')"
    assert await site.stage.one(kinds) == 2


async def test_a_device_counts_for_who_logged_in_from_it_and_until_it_failed_too_often(site: Site) -> None:
    await site.member("asha")
    await site.member("ravi")
    device = (await site.log_in("asha", address="198.51.100.7")).json()["device_token"]
    site.stage.clock.advance(400)
    for n in range(10):
        await site.log_in("ravi", password=WRONG, address=f"203.0.113.{n}")
    assert (await site.log_in("ravi", device_token=device, address="203.0.113.99")).status_code == 429
    statuses = [(await site.log_in("asha", password=WRONG, device_token=device)).status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429], "a known device has ten tries as well"
    await site.stage.rows("UPDATE attempts SET count = 100 WHERE bucket LIKE 'failures device%%' RETURNING 1")
    await site.stage.rows("UPDATE users SET failed_logins = 100 WHERE name = 'asha' RETURNING 1")
    site.stage.clock.advance(400)
    assert (await site.log_in("asha", device_token=device)).status_code == 401


# ── time ──


def separation(one: Sequence[float], other: Sequence[float]) -> float:
    """p of Mann and Whitney: how likely two samples as far apart as these are of one kind."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    rank_sum = sum(rank for rank, (_, which) in enumerate(ranked, 1) if which == 0)
    n, m = len(one), len(other)
    u = rank_sum - n * (n + 1) / 2
    return erfc(abs(u - n * m / 2) / sqrt(n * m * (n + m + 1) / 12) / sqrt(2))


async def test_an_unknown_name_takes_as_long_as_a_known_one(site: Site, tell: Tell) -> None:
    """T48: both compute a hash, which is nearly all that an answer takes; `make proof` also looks for a difference."""
    cost = Argon2Cost() if PROOF else Argon2Cost(memory_kib=16_384, passes=3, lanes=1)
    web = make_web(structs.replace(site.place, cost=cost))
    await site.member("asha")
    tries = scaled(200, share=25)
    spent: dict[str, list[float]] = {"asha": [], "nobody": []}
    waited: dict[str, list[float]] = {"asha": [], "nobody": []}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=web), base_url=ADDRESS) as client:  # type: ignore[arg-type]
        hashed = await hash_password(PASSWORD, cost=cost)
        await site.stage.rows("UPDATE users SET password_hash = %s RETURNING 1", hashed)
        for n in range(2 * tries):
            name = ("asha", "nobody")[n % 2]
            cpu, began = time.process_time(), time.perf_counter()
            answer = await client.post("/auth/login", json={"name": name, "password": WRONG})
            spent[name].append(time.process_time() - cpu)
            waited[name].append(time.perf_counter() - began)
            assert answer.status_code == 401
            site.stage.clock.advance(200)
    known, unknown = (median(spent[name]) for name in ("asha", "nobody"))
    assert 0.7 < unknown / known < 1.4, (known, unknown)
    if PROOF:
        apart = abs(median(waited["asha"]) - median(waited["nobody"])) * 1000
        p = separation(waited["asha"], waited["nobody"])
        tell("T48: known and unknown names, medians apart by ms", f"{apart:.2f}")
        tell("T48: known and unknown names, Mann-Whitney p", f"{p:.3f}")
        assert apart < 5
        assert p > 0.01


def test_a_difference_in_time_would_be_seen() -> None:
    one = [0.050 + n % 7 / 1000 for n in range(100)]
    assert separation(one, [each + 0.002 for each in one]) < 0.01
    assert separation(one, [each + 0.0001 for each in one[::-1]]) > 0.01
