"""Whom a read is about: oneself; for an admin another, who can see it."""

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
from litestar import get

from portfolio_scheduler.db.reads import viewed_accounts
from portfolio_scheduler.db.viewers import read
from portfolio_scheduler.web import server
from portfolio_scheduler.web.entry import At
from portfolio_scheduler.web.subjects import About
from tests.web.conftest import ADDRESS, Site


@get("/seen")
async def list_seen(place: At, subject: About) -> list[str]:
    """A read as the routes have it."""
    params = {"after_at": None, "after_id": None, "limit": 100}
    _, rows = await read(place.pool, subject, viewed_accounts.LISTED, params)
    return [str(row[0]) for row in rows]


@pytest.fixture
async def seen(site: Site) -> AsyncIterator[Site]:
    """The site with that read beside its own."""
    web = server.make_web(site.place, (*server.ROUTES, list_seen))
    transport = httpx.ASGITransport(app=web)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
        yield Site(site.stage, site.place, web, client, site.database)


async def test_for_oneself_the_id_changes_nothing(seen: Site) -> None:
    asha = seen.person("asha")
    account = await seen.account_of(asha)
    for params in ({}, {"userId": str(asha.user)}):
        assert (await asha.get("/seen", params=params)).json() == [str(account.id)]


async def test_an_admin_sees_another_and_the_other_sees_that(seen: Site) -> None:
    asha, ravi = seen.person("asha"), seen.person("ravi", role="admin", second_factor=True)
    account = await seen.account_of(asha)
    assert (await ravi.get("/seen")).json() == []
    assert (await ravi.get("/seen", params={"userId": str(asha.user)})).json() == [str(account.id)]
    (told,) = (await asha.get("/auth/access-log")).json()["items"]
    assert (told["kind"], told["actor_id"], told["details"]) == (
        "admin_looked",
        str(ravi.user),
        {"by": "ravi", "operation": "list_seen"},
    )


async def test_what_others_share_with_somebody_an_admin_does_not_see_through_them(seen: Site) -> None:
    asha, ravi = seen.person("asha"), seen.person("ravi", role="admin", second_factor=True)
    mina = seen.person("mina")
    shared = await seen.account_of(mina)
    await seen.stage.rows(
        "INSERT INTO viewer_grants (owner_id, viewer_id, owner_name, viewer_name, granted_at, expires_at) "
        "VALUES (%s, %s, 'mina', 'asha', %s, 'infinity') RETURNING id",
        *(mina.user, asha.user, seen.now),
    )
    assert (await asha.get("/seen")).json() == [str(shared.id)]
    assert (await ravi.get("/seen", params={"userId": str(asha.user)})).json() == []


async def test_for_everybody_else_another_is_like_an_absent_one(seen: Site) -> None:
    asha, ravi = seen.person("asha"), seen.person("ravi")
    await seen.account_of(ravi)
    foreign = await asha.get("/seen", params={"userId": str(ravi.user)})
    absent = await asha.get("/seen", params={"userId": str(uuid4())})
    assert foreign.status_code == absent.status_code == 404
    assert (foreign.content, foreign.headers) == (absent.content, absent.headers)
    assert (await ravi.get("/auth/access-log")).json()["items"] == []


async def test_an_admin_without_a_second_factor_is_told_so(seen: Site) -> None:
    asha, ravi = seen.person("asha"), seen.person("ravi", role="admin")
    answer = await ravi.get("/seen", params={"userId": str(asha.user)})
    assert answer.status_code == 403
    assert answer.json()["type"] == "second_factor_missing"


async def test_an_admin_hears_of_a_user_who_is_not_there(seen: Site) -> None:
    ravi = seen.person("ravi", role="admin", second_factor=True)
    assert (await ravi.get("/seen", params={"userId": str(uuid4())})).status_code == 404
