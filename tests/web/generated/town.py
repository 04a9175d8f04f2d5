"""A populated installation that many tests share: six people, their accounts, and a loop of its own that serves them.

The loop runs in a thread, so that tests which are not async, such as hypothesis's and a generated client's, can ask.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from functools import cached_property
from typing import Any, TypeVar

import httpx
import msgspec
import psycopg
from psycopg.rows import dict_row

from portfolio_scheduler.db.lines import opened_lines
from portfolio_scheduler.db.pool import make_pool, opened
from portfolio_scheduler.web.server import make_place, make_web
from tests.conftest import Database
from tests.flows.conftest import FIRST_DAY, staged
from tests.web.conftest import ADDRESS, RELAXED, Person, Site, working

T = TypeVar("T")
IMPATIENT, PATIENT = 0.01, 20  # seconds for a worker, where none runs and where one does
DAYS = 400  # the grants' and tokens' time


class Town:
    """Asha, whose things nobody else may see; Ravi, who has his own; Vimala, with whom Asha shares her accounts;
    Mohan, with whom she did until his grant ended; Deepa, a viewer too, but disabled; Anand, who is the admin."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="town", daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self.site: Site = self.run(self._open())
        self.rows = psycopg.connect(database.superuser, autocommit=True, row_factory=dict_row)
        self.document: dict[str, Any] = self.site.web.openapi_schema.to_schema()
        self.people: dict[str, Person] = {}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout=120)

    async def _open(self) -> Site:
        worker = await self._stack.enter_async_context(opened(make_pool(self.database.worker, "worker", max_size=4)))
        api = await self._stack.enter_async_context(opened(make_pool(self.database.api, "api", max_size=4)))
        lines = await self._stack.enter_async_context(opened_lines(self.database.api, name="reads"))
        stage = await self._stack.enter_async_context(staged(self.database, worker, FIRST_DAY))
        stage.at(FIRST_DAY, 16)
        place = msgspec.structs.replace(make_place(stage.app, api, lines, None, RELAXED), patience_seconds=IMPATIENT)
        web = make_web(place)
        transport = httpx.ASGITransport(app=web)  # type: ignore[arg-type]
        client = await self._stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=ADDRESS))
        return Site(stage, place, web, client, self.database)

    def close(self) -> None:
        self.rows.close()
        self.run(self._stack.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    @contextmanager
    def working(self) -> Iterator[None]:
        """A worker runs beside, as accounts need to be connected."""
        worker, state = working(self.site), self.site.web.state
        self.run(worker.__aenter__())
        state.place = msgspec.structs.replace(self.site.place, patience_seconds=PATIENT)
        try:
            yield
        finally:
            state.place = self.site.place
            self.run(worker.__aexit__(None, None, None))

    # ── asking ──

    def ask(self, person: Person | None, method: str, path: str, **options: Any) -> httpx.Response:
        return self.run((person or self.site.nobody).ask(method, path, **options))

    def fresh(self, name: str) -> Person:
        """The person as they are meant to be, with a session that began just now, whatever was asked before."""
        person = self.people[name]
        disabled = self.site.now if name == "deepa" else None
        session = self.rows.execute(
            _SESSION, {"user": person.user, "now": self.site.now, "disabled": disabled, "role": ROLES[name]}
        ).fetchone()
        assert session is not None
        return Person(self.site, person.user, session["id"], name)

    # ── what is there ──

    def populate(self) -> None:
        self.people = {name: self.site.person(name, role=role, second_factor=True) for name, role in ROLES.items()}
        self.run(self._sync())
        for viewer, ended in (("vimala", None), ("mohan", self.site.now), ("deepa", None)):
            self._grant("asha", viewer, ended)
        for name in ("asha", "ravi"):
            self.rows.execute(_PAPERS, {"user": self.people[name].user, "now": self.site.now, "name": name})

    async def _sync(self) -> None:
        stage = self.site.stage
        accounts = [
            await stage.connect(number, label=f"savings of {name}", user=name)
            for name, number in (("asha", 2), ("ravi", 1))
        ]
        for on in (FIRST_DAY, FIRST_DAY + timedelta(days=1)):
            stage.at(on, 16)
            for account in accounts:
                await stage.sync(account)

    def ids_of(self, name: str) -> dict[str, Any]:
        """One id of each kind that belongs to the person, by the names under which operations take them."""
        found = self.rows.execute(_IDS, {"user": self.people[name].user}).fetchone()
        assert found is not None
        return {kind: value if value is None else str(value) for kind, value in found.items()}

    def marks_of(self, name: str) -> list[tuple[str, str]]:
        """Texts by which an answer shows something of the person, each with what it is."""
        rows = self.rows.execute(_MARKS, {"user": self.people[name].user}).fetchall()
        marks = {(row["kind"], row["mark"]) for row in rows if row["mark"]}
        return sorted(marks | {("name", f'"{name}"')})

    def digest_of(self, name: str) -> dict[str, str]:
        """A digest of all rows that are the person's, by table."""
        parts = []
        for table, column in self._owned:
            mine = (
                "%(user)s" if column != "account_id" else "ANY(SELECT id FROM broker_accounts WHERE user_id = %(user)s)"
            )
            parts.append(
                f"SELECT '{table}' AS name, coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') AS digest "
                f"FROM {table} t WHERE t.{column} = {mine}"
            )
        parts.append(
            "SELECT 'queue', count(*)::text FROM procrastinate_jobs j, broker_accounts a "
            "WHERE a.user_id = %(user)s AND strpos(j.args::text, a.id::text) > 0"
        )
        rows = self.rows.execute(" UNION ALL ".join(parts), {"user": self.people[name].user}).fetchall()
        return {row["name"]: row["digest"] for row in rows}

    def looks(self) -> int:
        """How often an administrator has looked at somebody, as the access log tells."""
        row = self.rows.execute("SELECT count(*) AS looks FROM access_log WHERE kind = 'admin_looked'").fetchone()
        assert row is not None
        return int(row["looks"])

    @staticmethod
    def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
        return [table for table, digest in before.items() if after[table] != digest]

    @cached_property
    def _owned(self) -> list[tuple[str, str]]:
        """Tables with rows of people, and the column that says whose. Who looked at somebody is written down, and is
        no change of theirs."""
        rows = self.rows.execute(
            """SELECT c.relname, min(a.attname) AS owner FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'access_log'
                   AND (a.attname IN ('account_id', 'user_id', 'owner_id')
                       OR (c.relname = 'users' AND a.attname = 'id'))
               GROUP BY 1 ORDER BY 1"""
        ).fetchall()
        return [(row["relname"], row["owner"]) for row in rows]

    def _grant(self, owner: str, viewer: str, ended: Any) -> None:
        self.rows.execute(
            "INSERT INTO viewer_grants (owner_id, viewer_id, owner_name, viewer_name, granted_at, expires_at, ended_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                self.people[owner].user,
                self.people[viewer].user,
                owner,
                viewer,
                self.site.now,
                self.site.now + timedelta(days=DAYS),
                ended,
            ),
        )


ROLES = {"asha": "user", "ravi": "user", "vimala": "user", "mohan": "user", "deepa": "user", "anand": "admin"}

_IDS = """
    SELECT %(user)s::uuid AS user_id, a.id AS account_id, a.ucc AS client_code,
        (SELECT o.broker_order_id FROM order_history o WHERE o.account_id = a.id ORDER BY o.seq LIMIT 1) AS order_id,
        (SELECT b.id FROM sync_batches b WHERE b.account_id = a.id ORDER BY b.id LIMIT 1) AS batch_id,
        (SELECT o.trading_symbol FROM order_history o WHERE o.account_id = a.id ORDER BY o.seq LIMIT 1) AS symbol,
        (SELECT s.id FROM sessions s WHERE s.user_id = %(user)s ORDER BY s.id LIMIT 1) AS session_id,
        (SELECT t.id FROM api_tokens t WHERE t.user_id = %(user)s ORDER BY t.id LIMIT 1) AS token_id,
        (SELECT i.id FROM invitations i WHERE i.invited_by = %(user)s ORDER BY i.id LIMIT 1) AS invitation_id,
        (SELECT g.id FROM viewer_grants g WHERE g.owner_id = %(user)s ORDER BY g.viewer_name LIMIT 1) AS grant_id
    FROM (SELECT) AS one LEFT JOIN broker_accounts a ON a.user_id = %(user)s ORDER BY a.created_at LIMIT 1
"""
_MARKS = """
    WITH a AS (SELECT * FROM broker_accounts WHERE user_id = %(user)s)
    SELECT 'user' AS kind, %(user)s::uuid::text AS mark
    UNION ALL SELECT 'account', id::text FROM a
    UNION ALL SELECT 'account', broker_account_id FROM a
    UNION ALL SELECT 'client code', ucc FROM a
    UNION ALL SELECT 'account', label FROM a
    UNION ALL SELECT 'batch', b.id::text FROM sync_batches b JOIN a ON a.id = b.account_id
    UNION ALL SELECT 'order', o.broker_order_id FROM order_history o JOIN a ON a.id = o.account_id
    UNION ALL SELECT 'session', s.id::text FROM sessions s WHERE s.user_id = %(user)s
    UNION ALL SELECT 'token', t.id::text FROM api_tokens t WHERE t.user_id = %(user)s
"""
_PAPERS = """
    WITH token AS (
        INSERT INTO api_tokens (user_id, name, digest, scopes, created_at, expires_at) VALUES
        (%(user)s, 'sheet of ' || %(name)s, sha256(%(name)s::bytea), '{read}', %(now)s, %(now)s + interval '1 year'))
    INSERT INTO invitations (digest, role, invited_by, created_at, expires_at)
    VALUES (sha256(%(name)s::bytea), 'user', %(user)s, %(now)s, %(now)s + interval '7 days')
"""
_SESSION = """
    WITH tries AS (DELETE FROM attempts),
    again AS (UPDATE users SET disabled_at = %(disabled)s, role = %(role)s WHERE id = %(user)s)
    INSERT INTO sessions (user_id, begun_at, authenticated_at, refreshed_at, expires_at, idle_seconds, remembered,
        second_factor, device_digest, refresh_digest, address, agent)
    VALUES (%(user)s, %(now)s, %(now)s, %(now)s, %(now)s + interval '12 hours', 43200, false, true, '', '', '', '')
    RETURNING id
"""


@contextmanager
def founded(database: Database) -> Iterator[Town]:
    town = Town(database)
    try:
        town.populate()
        yield town
    finally:
        town.close()


async def begins_and_ends(receive: Any, send: Any) -> None:
    """ASGI's lifespan of an application that does nothing at either end."""
    for kind in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{kind}.complete"})
