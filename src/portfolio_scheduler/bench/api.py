"""`api`: reads a second of one server process, with row-level security and tokens, beside pgbench on the same SELECT.

Client, server and database share the machine. What is kept in the server's memory is measured, and what is not.
"""

import asyncio
import itertools
import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict

from portfolio_scheduler.app import App, running
from portfolio_scheduler.bench import place
from portfolio_scheduler.bench.api_client import Run, ask, request, tags
from portfolio_scheduler.bench.api_ground import ACCOUNT, SESSION, Ground, build
from portfolio_scheduler.bench.crew import Crew, Failed
from portfolio_scheduler.bench.end_to_end import NORMAL, simulator_options
from portfolio_scheduler.bench.figures import Aim, Figure, Scale, at_least, at_most, figure
from portfolio_scheduler.bench.stage import staged, trading_days
from portfolio_scheduler.clock import StoppedClock, ist
from portfolio_scheduler.db import embedded
from portfolio_scheduler.db.gated import Gated
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.db.reads import api_history, api_portfolio
from portfolio_scheduler.identity.signing import Keyring
from portfolio_scheduler.identity.tokens import Signer
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.web.bodies import ROOM, Bodies
from portfolio_scheduler.web.place import Strictness
from portfolio_scheduler.web.server import make_web, opened_place, serving

CONNECTIONS = (1, 8)
SHARED = "client, server and database share the machine"
READS = {
    "holdings (50 rows)": "/portfolio-scheduler/holdings/{account}",
    "summary": "/portfolio-scheduler/summary/{account}",
    "orders (page of 50)": "/portfolio-scheduler/orders/{account}",
    "quantity-changes": "/portfolio-scheduler/quantity-changes/SHARE1",
}
AIMS: dict[str, Aim | None] = {
    "holdings (50 rows)": at_least(2000),
    "summary": at_least(3000),
    "orders (page of 50)": at_least(2000),
    "quantity-changes": None,
    "304 Not Modified": at_least(5000),
}
_PAGE: dict[str, object] = dict.fromkeys(
    ("since", "to", "on", "symbol", "status", "side", "segment", "order", "key_on", "key_at", "key_seq", "key_account")
)
_OF_ALL: dict[str, object] = _PAGE | {"until": None, "size": 50, "limit": 51}
SELECTS: dict[str, tuple[Gated, dict[str, object]]] = {
    "holdings (50 rows)": (api_portfolio.HOLDINGS_NOW, _OF_ALL),
    "summary": (api_portfolio.SUMMARY_NOW, _OF_ALL),
    "orders (page of 50)": (api_history.orders_query(newest_first=True, then=False), _OF_ALL),
    "quantity-changes": (
        api_history.changes_query(newest_first=True, of_one=False),
        _OF_ALL | {"account": None, "symbol": "SHARE1"},
    ),
}


class Web:
    """The server's process."""

    def __init__(self, address: str, bodies: Bodies) -> None:
        self.address, self.bodies = address, bodies

    async def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    async def keep(self, room: int) -> None:
        self.bodies.resize(room)


@asynccontextmanager
async def web(settings: Settings, at: datetime) -> AsyncIterator[Web]:
    async with (
        running(settings, StoppedClock(at)) as app,
        opened_place(app, None, Strictness(requests_a_minute=None)) as opened,
        serving(make_web(opened), "127.0.0.1", 0) as address,
    ):
        yield Web(address, opened.bodies)


def _id(what: str, number: int) -> UUID:
    return UUID(md5(f"{what}{number}".encode(), usedforsecurity=False).hexdigest())


class Asking:
    """The questions of all accounts' owners, made before they are asked."""

    def __init__(self, settings: Settings, ground: Ground) -> None:
        signer = Signer(Keyring.open_keys(settings, ground.now), settings.url)
        numbers = range(1, ground.accounts + 1)
        self.accounts = [_id("account", number) for number in numbers]
        self.tokens = [
            signer.issue(user_id=_id("user", n), session_id=_id("session", n), now=ground.now) for n in numbers
        ]

    def of(self, path: str, **headers: str) -> list[bytes]:
        pairs = zip(self.accounts, self.tokens, strict=True)
        return [request(path.format(account=account), token, **headers) for account, token in pairs]

    def unchanged(self, path: str, found: Sequence[str]) -> list[bytes]:
        rows = zip(self.accounts, self.tokens, found, strict=True)
        return [request(path.format(account=a), token, If_None_Match=tag) for a, token, tag in rows]


def _split(questions: Sequence[bytes], connections: int, *, over_and_over: bool = True) -> list[Iterator[bytes]]:
    parts = [list(questions[start::connections]) for start in range(connections)]
    return [itertools.cycle(part) if over_and_over else iter(part) for part in parts]


class Cpu:
    """What a request takes of the processors: the figure that other work on the machine moves least."""

    def __init__(self, server: Crew, settings: Settings, note: str) -> None:
        self.server, self.settings, self.note = server, settings, note

    async def of(self, asking: Coroutine[Any, Any, Run]) -> tuple[Run, str]:
        before = self.server.cpu_seconds(), place.server_cpu_seconds(self.settings)
        run = await asking
        web = self.server.cpu_seconds() - before[0]
        database = place.server_cpu_seconds(self.settings) - before[1]
        web, database = (seconds / len(run.latencies) * 1e6 for seconds in (web, database))
        return run, f"CPU a request: server {web:,.0f} µs, database {database:,.0f} µs; {self.note}"


async def measure(scale: Scale) -> list[Figure]:
    ground = Ground(
        accounts=scale.of(1000, 16),
        days=trading_days(scale.of(250, 3)),
        orders_a_day=4,
    )
    with place.fresh() as (settings, owner):
        async with running(settings, StoppedClock(ground.now)) as app:
            await build(app.pool, ground)
            with psycopg.connect(owner, autocommit=True) as connection:
                connection.execute("VACUUM (ANALYZE)")
            asking = Asking(settings, ground)
            with Crew(1, web, settings, ground.now) as server:
                figures = await _reads(app, server, asking, ground, scale)
    return figures + await _while_syncing(scale)


async def _reads(app: App, server: Crew, asking: Asking, ground: Ground, scale: Scale) -> list[Figure]:
    (port,), seconds = server.tell("port"), 0.05 if scale.quick else 5
    cpu = Cpu(server, app.settings, f"{ground.accounts:,} accounts, {ground.orders:,} orders; {SHARED}")
    figures: list[Figure] = []
    for name, path in READS.items():
        questions = asking.of(path)
        server.tell("keep", 0)
        await ask(port, _split(questions, 8), seconds=seconds / 2)  # plans and caches as in a long run
        for connections in CONNECTIONS:
            run, cost = await cpu.of(ask(port, _split(questions, connections), seconds=seconds))
            figures += _figures(f"{name}, nothing kept", connections, run, None, cost)
        alone = await asyncio.to_thread(_pgbench, app, name, ground, 8, seconds)
        figures.append(figure("api", f"{name}, nothing kept, of pgbench's rate", "×", [run.per_second / alone]))
        server.tell("keep", ROOM)
        await ask(port, _split(questions, 8, over_and_over=False), seconds=600)
        for connections in CONNECTIONS:
            run, cost = await cpu.of(ask(port, _split(questions, connections), seconds=seconds))
            figures += _figures(name, connections, run, AIMS[name] if connections == max(CONNECTIONS) else None, cost)
        figures.append(
            figure("api", f"{name}, of pgbench's rate", "×", [run.per_second / alone], note=f"pgbench {alone:,.0f}/s")
        )
    path = READS["holdings (50 rows)"]
    known = asking.unchanged(path, await tags(port, asking.of(path)))
    for connections in CONNECTIONS:
        run, cost = await cpu.of(ask(port, _split(known, connections), seconds=seconds, status=304))
        aim = AIMS["304 Not Modified"] if connections == max(CONNECTIONS) else None
        figures += _figures("304 Not Modified", connections, run, aim, cost)
    return figures


def _figures(name: str, connections: int, run: Run, aim: Aim | None, note: str) -> list[Figure]:
    what = f"{name}, {connections} connection{'s' if connections > 1 else ''}"
    late = at_most(15) if aim else None
    return [
        figure("api", what, "requests/s", [run.per_second], aim, note),
        figure("api", f"{what}: p50", "ms", [run.quantile(0.5)]),
        figure("api", f"{what}: p99", "ms", [run.quantile(0.99)], late),
    ]


def _pgbench(app: App, name: str, ground: Ground, connections: int, seconds: float) -> float:
    """Transactions a second of the same two statements in one round trip, with nobody but pgbench in between."""
    query, params = SELECTS[name]
    number = ":n"
    session = SESSION.replace("{number}", number)
    literal = {"account": ACCOUNT.replace("{number}", number)} | {
        key: _literal(value) for key, value in params.items() if key != "account" or value is None
    }
    if "account" in params:
        literal["account"] = _literal(params["account"])
    body = re.sub(r"%\((\w+)\)s", lambda found: literal[found[1]], query.document).replace("%%", "%")
    script = (
        f"\\set n random(1, {ground.accounts})\n\\startpipeline\n"
        f"SELECT * FROM enter_session({session}, '{ground.now.isoformat()}');\n{_one_line(body)};\n\\endpipeline\n"
    )
    parts = conninfo_to_dict(app.api_conninfo)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "read.sql"
        path.write_text(script)
        command = [str(embedded.binary("pgbench")), "-n", "-M", "prepared", "-c", str(connections), "-j", "1"]
        command += ["-T", str(int(seconds))] if seconds >= 1 else ["-t", "5"]
        command += ["-f", str(path), str(parts["dbname"])]
        return _rate(command, parts)


def _one_line(query: str) -> str:
    """pgbench takes a line break for nothing special, but `--` and `:` for more than SQL does."""
    lines = (line.partition(" -- ")[0] for line in query.splitlines())
    return " ".join(" ".join(lines).split())


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case list():
            return "'{}'"
        case int():
            return str(value)
        case _:
            return f"'{value}'"


def _rate(command: Sequence[str], parts: Mapping[str, object]) -> float:
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password"}
    env = {variable: str(parts[name]) for variable, name in names.items() if name in parts}
    env["PGOPTIONS"] = "-c timezone=UTC -c jit=off"
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if done.returncode or found is None:
        raise Failed(f"pgbench failed: {done.stderr[-800:]}")
    return float(found[1])


async def _while_syncing(scale: Scale) -> list[Figure]:
    """Reads of holdings and summaries by turns, from before the first of 100 accounts is synced until all are."""
    count = scale.of(100, 3)
    days = trading_days(2)
    async with staged(simulator_options(NORMAL, count, days[0])) as stage:
        accounts = await stage.connect(range(1, count + 1))
        with stage.working(1, limited=False):
            stage.stand_at(ist(days[0], 16))
            await stage.sync([account.id for account in accounts])
            now = ist(days[1], 16)
            stage.stand_at(now)
            session = await _session(stage.app, accounts[0].user_id, now)
            signer = Signer(Keyring.open_keys(stage.app.settings, now), stage.app.settings.url)
            token = signer.issue(user_id=accounts[0].user_id, session_id=session, now=now)
            paths = (f"/portfolio-scheduler/{what}/{a.id}" for a in accounts for what in ("holdings", "summary"))
            questions = [request(path, token) for path in paths]
            with Crew(1, web, stage.app.settings, now) as server:
                (port,) = server.tell("port")
                syncing = asyncio.create_task(stage.sync([account.id for account in accounts]))
                latencies: list[float] = []
                while not syncing.done():
                    run = await ask(port, _split(questions, 2), seconds=0.25)
                    latencies += run.latencies
                took = await syncing
    late = Run(seconds=took, latencies=sorted(latencies)).quantile(0.95)
    note = f"{len(latencies):,} reads, 2 connections; {SHARED} with a worker and the simulator"
    return [figure("api", f"reads while {count} accounts sync: p95", "ms", [late], at_most(200), note)]


async def _session(app: App, user_id: UUID, now: datetime) -> UUID:
    async with transaction(app.pool) as tx:
        cursor = await tx.execute(
            "INSERT INTO sessions (user_id, begun_at, authenticated_at, refreshed_at, expires_at, idle_seconds, "
            "remembered, second_factor, device_digest, refresh_digest, address, agent) VALUES (%(user)s, %(now)s, "
            "%(now)s, %(now)s, %(now)s::timestamptz + interval '1 day', 86400, false, false, '', '', '', '') "
            "RETURNING id",
            {"user": user_id, "now": now},
        )
        row = await cursor.fetchone()
        assert row is not None
        return UUID(str(row[0]))
