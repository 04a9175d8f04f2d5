"""The API in this process, on a real database and the simulator: `site` makes people and their clients.

`site.person("asha")` is a user with a session; `await asha.get("/portfolio-scheduler/…")` asks as them. Accounts are
connected and synced by the stories' own stage (`site.stage`), so that what is read was written by the real path.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import httpx
import psycopg
import pytest
from litestar import Litestar
from msgspec import structs

from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Pool
from portfolio_scheduler.identity.passwords import Argon2Cost, hash_password
from portfolio_scheduler.jobs import Pulse, work
from portfolio_scheduler.web.place import Place, Strictness
from portfolio_scheduler.web.server import make_place, make_web
from tests.conftest import Database
from tests.flows.conftest import FIRST_DAY, Stage, staged

ADDRESS = "http://127.0.0.1:8800"
# Passwords are hashed by the hundred here, and requests are sent by the thousand on a clock that stands still.
CHEAP = Argon2Cost(memory_kib=64, passes=1, lanes=1)
RELAXED = Strictness(cost=CHEAP, requests_a_minute=None)
PASSWORD = "eleven purple kettles sing"


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

    async def member(self, name: str, *, role: str = "user", password: str = PASSWORD) -> UUID:
        """A user who can log in, and has not."""
        hashed = await hash_password(password, cost=CHEAP)
        with psycopg.connect(self.database.worker) as connection:
            row = connection.execute(
                "INSERT INTO users (name, role, password_hash, created_at) VALUES (%s, %s, %s, %s) RETURNING id",
                (name, role, hashed, self.now),
            ).fetchone()
        assert row is not None
        user: UUID = row[0]
        return user

    async def admin(self, name: str = "root") -> Person:
        """An administrator who can log in, and has, with a second factor."""
        await self.member(name, role="admin")
        return self.person(name, role="admin", second_factor=True)

    async def log_in(self, name: str, **rest: Any) -> httpx.Response:
        """Ask for a login. `password` is that of `member` unless given; `address` is where it comes from."""
        headers = {"X-Forwarded-For": rest.pop("address")} if "address" in rest else {}
        body = {"name": name, "password": PASSWORD} | rest
        return await self.client.post("/auth/login", json=body, headers=headers)

    async def logged_in(self, name: str, **rest: Any) -> Person:
        """A person who has logged in over HTTP."""
        answer = await self.log_in(name, **rest)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        return Person(self, UUID(told["user_id"]), UUID(told["session_id"]), name)

    async def account_of(self, person: Person, number: int = 1) -> Account:
        """Connect the simulator's account of that number for a person."""
        return await self.stage.connect(number, user=person.name)


@pytest.fixture(scope="session")
def web() -> Litestar:
    """Made once: its routes and its document take a third of a second. Only its place is another in every test."""
    return make_web(cast(Place, None))


@pytest.fixture
async def site(database: Database, pool: Pool, api_pool: Pool, web: Litestar) -> AsyncIterator[Site]:
    """The API at 16:00 of a trading day, without people."""
    async with staged(database, pool, FIRST_DAY) as stage:
        stage.at(FIRST_DAY, 16)
        settings = structs.replace(stage.app.settings, proxies=("127.0.0.1/32",))
        place = make_place(structs.replace(stage.app, settings=settings), api_pool, None, RELAXED)
        web.state.place = place
        transport = httpx.ASGITransport(app=web)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            yield Site(stage, place, web, client, database)


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """The problem document of an answer that is one."""
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    told: dict[str, Any] = json.loads(answer.content)
    assert told["status"] == answer.status_code
    return told


async def until(fulfilled: Callable[[], bool | Awaitable[bool]], seconds: float = 20) -> None:
    """Wait for what somebody else does."""
    async with asyncio.timeout(seconds):
        for pause in itertools.chain((0.01, 0.02, 0.03), itertools.repeat(0.05)):
            found = fulfilled()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(pause)


@asynccontextmanager
async def working(site: Site) -> AsyncIterator[None]:
    """A real worker, as `worker` runs it, in this process."""
    stop = asyncio.Event()
    pulse = Pulse()
    task = asyncio.create_task(work(site.stage.app, stop, pulse), name="a worker")
    try:
        await until(lambda: pulse.working)
        yield
    finally:
        stop.set()
        await task
