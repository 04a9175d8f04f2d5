"""The API in this process, on a real database and the simulator: `site` makes people and their clients.

`site.person("asha")` is a user with a session; `await asha.get("/portfolio-scheduler/…")` asks as them. Accounts are
connected and synced by the stories' own stage (`site.stage`), so that what is read was written by the real path.
"""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from litestar import Litestar

from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Pool
from portfolio_scheduler.web.place import Place
from portfolio_scheduler.web.server import make_place, make_web
from tests.conftest import Database
from tests.flows.conftest import FIRST_DAY, Stage, staged

ADDRESS = "http://127.0.0.1:8800"


class Person:
    """A user with a session, and how they ask."""

    def __init__(self, site: "Site", user: UUID, session: UUID | None, name: str) -> None:
        self.site, self.user, self.session, self.name = site, user, session, name

    @property
    def token(self) -> str:
        assert self.session is not None
        return self.site.place.signer.issue(user_id=self.user, session_id=self.session, now=self.site.now)

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.session else {}
        headers |= options.pop("headers", {})
        return await self.site.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        return await self.ask("POST", path, **options)

    async def put(self, path: str, **options: Any) -> httpx.Response:
        return await self.ask("PUT", path, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.ask("DELETE", path, **options)


class Site:
    """One installation: its web, its people, and the stage on which accounts are connected and synced."""

    def __init__(
        self, stage: Stage, place: Place, web: Litestar, client: httpx.AsyncClient, database: Database
    ) -> None:
        self.stage, self.place, self.web, self.client, self.database = stage, place, web, client, database

    @property
    def now(self) -> datetime:
        return self.place.app.clock.now()

    @property
    def nobody(self) -> Person:
        return Person(self, UUID(int=0), None, "nobody")

    def person(self, name: str, *, role: str = "user", second_factor: bool = False) -> Person:
        """A user of that name with a session that began just now."""
        with psycopg.connect(self.database.worker) as connection:
            row = connection.execute(
                """
                WITH u AS (INSERT INTO users (name, role, created_at) VALUES (%(name)s, %(role)s, %(now)s)
                    ON CONFLICT (name) DO UPDATE SET role = EXCLUDED.role RETURNING id)
                INSERT INTO sessions (user_id, begun_at, authenticated_at, refreshed_at, expires_at, idle_seconds,
                    remembered, second_factor, device_digest, refresh_digest, address, agent)
                SELECT id, %(now)s, %(now)s, %(now)s, %(until)s, 43200, false, %(factor)s, '', '', '', '' FROM u
                RETURNING user_id, id
                """,
                {
                    "name": name,
                    "role": role,
                    "now": self.now,
                    "until": self.now + timedelta(hours=12),
                    "factor": second_factor,
                },
            ).fetchone()
        assert row is not None
        return Person(self, *row, name)

    async def account_of(self, person: Person, number: int = 1) -> Account:
        """Connect the simulator's account of that number for a person."""
        return await self.stage.connect(number, user=person.name)


@pytest.fixture
async def site(database: Database, pool: Pool, api_pool: Pool) -> AsyncIterator[Site]:
    """The API at 16:00 of a trading day, without people."""
    async with staged(database, pool, FIRST_DAY) as stage:
        stage.at(FIRST_DAY, 16)
        place = make_place(stage.app, api_pool, None)
        web = make_web(place)
        transport = httpx.ASGITransport(app=web)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            yield Site(stage, place, web, client, database)


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """The problem document of an answer that is one."""
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    told: dict[str, Any] = json.loads(answer.content)
    assert told["status"] == answer.status_code
    return told
