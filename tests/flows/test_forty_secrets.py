"""T49: secrets of every kind go through a day with faults, errors and crashes, and are found nowhere.

A real `serve` on a database of its own. Looked through are its output, the log of its PostgreSQL, every version of
every row of every table (jobs of the queue among them), a dump, what the broker's answers were kept as, and all
answers and live events. A new secret is shown to whoever it is for, in that one answer.
"""

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pyotp
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import scalar_row
from psycopg.sql import SQL

from portfolio_scheduler.clock import ist
from portfolio_scheduler.db import embedded
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.simulator.server import Simulator, SimulatorOptions, running
from tests.conftest import settings_in
from tests.flows.conftest import FIRST_DAY
from tests.flows.test_serve import Service, environment, free_port
from tests.scale import PROOF
from tests.web.conftest import ADDRESS, until
from tests.web.generated.operations import operations

ACCOUNTS = "/portfolio-scheduler/broker-accounts"
SYNC = "/portfolio-scheduler/sync"
SHOWN = {"access_token", "refresh_token", "device_token", "token", "secret", "uri", "recovery_codes", "ticket"}

# Every version of every row, from when it is written, by whomever.
SEEN = """
CREATE TABLE seen (row text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO public.seen VALUES (TG_TABLE_NAME || ' ' || NEW::text);
    RETURN NULL;
END
$$;
DO $$
DECLARE t text;
BEGIN
    FOR t IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND relname <> 'seen' LOOP
        EXECUTE format('CREATE TRIGGER see AFTER INSERT OR UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION see()', t);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER see', t);
    END LOOP;
END
$$;
"""


class Answer:
    """An answer that came, and how it was asked for."""

    def __init__(self, question: str, status: int, headers: Mapping[str, str], text: str, told: Any) -> None:
        self.question, self.status, self.told = question, status, told
        self.text = f"{dict(headers)} {text}"


class Secrets:
    """What is to be found nowhere, each with what it is."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}

    def plant(self, kind: str, secret: str) -> str:
        assert len(secret) >= 8, f"{kind} would be found by chance"
        self.kinds[secret] = kind
        return secret

    def found_in(self, where: str, content: str) -> Iterator[str]:
        """As itself, and as bytes are written out."""
        for secret, kind in self.kinds.items():
            coded = secret.encode()
            for text in (secret, coded.hex(), base64.b64encode(coded).decode().rstrip("=")[:-1]):
                if text in content:
                    yield f"{where} shows a {kind}"


class Visitor:
    """Somebody at the API. All that comes back is kept; secrets that are new in it are planted."""

    def __init__(self, url: str, http: aiohttp.ClientSession, secrets: Secrets) -> None:
        self.url, self.http, self.secrets = url, http, secrets
        self.answers: list[Answer] = []
        self.token = ""

    async def ask(self, method: str, path: str, body: Any = None, token: str | None = None, **more: str) -> Answer:
        bearer = self.token if token is None else token
        headers = ({"Authorization": f"Bearer {bearer}"} if bearer else {}) | more
        async with self.http.request(method, self.url + path, json=body, headers=headers) as answer:
            text = await answer.text()
            told = json.loads(text) if answer.content_type.endswith("json") else None
        came = Answer(f"{method} {path.partition('?')[0]}", answer.status, answer.headers, text, told)
        if answer.ok and isinstance(told, dict):
            for kind in SHOWN & told.keys():
                for secret in told[kind] if isinstance(told[kind], list) else [told[kind]]:
                    if secret is not None and kind != "uri":
                        came.text = came.text.replace(self.secrets.plant(kind, secret), "")
        self.answers.append(came)
        return came

    async def done(self, method: str, path: str, body: Any = None) -> Any:
        came = await self.ask(method, path, body)
        assert came.status < 300, f"{came.question}: {came.text}"
        return came.told

    async def enter(self, path: str, **body: Any) -> Any:
        told = await self.done("POST", path, body)
        self.token = told["access_token"]
        return told


class Day:
    """The service over a day: its processes, what they say, and what goes wrong with it."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        base = settings_in(folder)
        self.settings = Settings(data=base.data, keys=base.keys, groww_url=sim.url)
        self.sim, self.folder = sim, folder
        self.secrets = Secrets()
        self.outputs: list[Path] = []
        self.password = password(self.secrets, "password")  # asha's

    @asynccontextmanager
    async def serving(self, hour: int, form: str) -> AsyncIterator[tuple[Service, Visitor]]:
        """`serve` from that hour on, its whole output in a file."""
        self.sim.set_clock(ist(FIRST_DAY, hour))
        port, output = free_port(), self.folder / f"output-{hour}"
        self.outputs.append(output)
        command = [sys.executable, "-m", "tests.flows.serve_process", ist(FIRST_DAY, hour).isoformat(), str(port), "2"]
        logging = {"PORTFOLIO_SCHEDULER_LOG_FORMAT": form, "PORTFOLIO_SCHEDULER_LOG_LEVEL": "debug"}
        with output.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *command, env=environment(self.settings) | logging, stdout=file, stderr=file
            )
            try:
                service = Service(process, port)
                await service.until_ready()
                async with aiohttp.ClientSession() as http:
                    yield service, Visitor(service.url, http, self.secrets)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()

    @contextmanager
    def broken(self, *statements: str) -> Iterator[None]:
        """While inside, something in the database is not as the product knows it: errors nobody expects."""
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            for statement in statements[::2]:
                connection.execute(statement)  # type: ignore[call-overload]
            try:
                yield
            finally:
                for statement in reversed(statements[1::2]):
                    connection.execute(statement)  # type: ignore[call-overload]

    @cached_property
    def superuser(self) -> str:
        return embedded.conninfo(self.settings, user=embedded.SUPERUSER)

    def rows(self, query: str) -> list[Any]:
        with psycopg.connect(self.superuser, row_factory=scalar_row) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    def kill_the_database(self) -> None:
        """As the kernel does when memory runs out."""
        [pid_file] = self.settings.data.rglob("postmaster.pid")
        os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGKILL)

    def written(self) -> Iterator[tuple[str, str]]:
        """All that is left of the day, but for what was answered."""
        for output in self.outputs:
            yield "the log", output.read_text()
        for file in self.settings.data.rglob("log/*.log"):
            yield "the log of PostgreSQL", file.read_text()
        yield "a row", "\n".join(self.rows("SELECT row FROM seen"))
        yield "the dump", dump(self.superuser)
        for body in self.rows("SELECT body FROM broker_payloads"):
            yield "a kept answer of the broker", zlib.decompress(body).decode()
        if PROOF:  # free space of its pages, journal, temporary files
            for file in self.settings.data.rglob("*"):
                if file.is_file():
                    yield f"the file {file.name}", file.read_bytes().decode("latin-1")

    def leaks(self, visitors: Sequence[Visitor]) -> list[str]:
        answers = [(answer.question, answer.text) for visitor in visitors for answer in visitor.answers]
        return [
            leak for where, content in (*self.written(), *answers) for leak in self.secrets.found_in(where, content)
        ]


def dump(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
    env = os.environ | {variable: str(parts[name]) for variable, name in names.items() if name in parts}
    return subprocess.run([embedded.binary("pg_dump")], env=env, capture_output=True, text=True, check=True).stdout


def renamed(table: str) -> tuple[str, str]:
    return f"ALTER TABLE {table} RENAME TO lost", f"ALTER TABLE lost RENAME TO {table}"


def refusing(table: str) -> tuple[str, str]:
    """PostgreSQL puts a row that fails a check into its error and its log."""
    return (
        f"ALTER TABLE {table} ADD CONSTRAINT never CHECK (false) NOT VALID",
        f"ALTER TABLE {table} DROP CONSTRAINT never",
    )


# ── the day ──


def password(secrets: Secrets, kind: str) -> str:
    return secrets.plant(kind, f"seven {len(secrets.kinds)} quiet lanterns {kind}")


async def people_come(day: Day, admin: Visitor, asha: Visitor) -> None:
    """The admin by the set-up token, which is printed for whoever owns the machine, asha by an invitation."""
    [setup] = re.findall(r"good for a day: (\S+)", day.outputs[0].read_text())
    day.outputs[0].write_text(day.outputs[0].read_text().replace(day.secrets.plant("set-up token", setup), ""))
    own = password(day.secrets, "admin's password")
    await admin.enter("/auth/register", token=setup, name="root", password=own)
    seed = (await admin.done("POST", "/auth/totp"))["secret"]
    await admin.done("POST", "/auth/totp/confirm", {"code": code(day, seed)})
    invited = await admin.done("POST", "/auth/invitations", {"role": "user"})
    tokens = await asha.enter("/auth/register", token=invited["token"], name="asha", password=day.password)
    for _ in range(2):
        renewal = {name: tokens[name] for name in ("refresh_token", "device_token")}
        tokens = {**tokens, **await asha.enter("/auth/refresh", **renewal), "device_token": tokens["device_token"]}
    await asha.done("POST", "/auth/api-tokens", {"name": "sheet", "scopes": ["read"]})


def code(day: Day, seed: str) -> str:
    return pyotp.TOTP(seed).at(day.sim.now)


def credentials(day: Day, number: int) -> dict[str, str]:
    login = day.sim.accounts[number - 1]
    given = {"api_key": login.api_key, "api_secret": login.secret, "totp_secret": login.totp_secret}
    return {name: day.secrets.plant(name, value) for name, value in given.items() if value}


async def accounts_are_connected(day: Day, asha: Visitor) -> list[str]:
    """Three of them; and three with secrets that are wrong, which the broker says back to us in every way it can."""
    day.sim.approve(3)
    accounts = []
    for number in (1, 2, 3):
        body = {"broker_name": "groww", "label": f"account {number}", **credentials(day, number)}
        accounts.append((await asha.done("POST", ACCOUNTS, body))["id"])
    for kind, status in (("failure", 401), ("gateway", 403), ("raw", 502)):
        wrong = {
            name: day.secrets.plant(f"wrong {name}", f"wrong-{name}-for-{kind}") for name in ("api_key", "api_secret")
        }
        echo = f"{wrong['api_key']} and {wrong['api_secret']} do not fit"
        day.sim.add_fault(Fault(kind=kind, path="/v1/token", status=status, code="GA001", message=echo, body=echo))
        came = await asha.ask("POST", ACCOUNTS, {"broker_name": "groww", "label": kind, **wrong})
        assert came.status >= 400, kind
        day.sim.faults.waiting.clear()
    return accounts


async def it_goes_wrong(day: Day, admin: Visitor, asha: Visitor, account: str) -> None:
    """Errors that nobody expects, each in the middle of something secret; and the wrong thing in the wrong place."""
    fresh = password(day.secrets, "password that is not in use")
    login = {"name": "asha", "password": fresh}
    connecting = {"broker_name": "groww", "label": "more", **credentials(day, 4)}
    with day.broken(*renamed("attempts")):
        assert (await asha.ask("POST", "/auth/login", login)).status == 500
    with day.broken(*refusing("api_tokens")):
        assert (await asha.ask("POST", "/auth/api-tokens", {"name": "y", "scopes": ["read"]})).status == 500
    with day.broken(*refusing("account_requests")):
        assert (await asha.ask("POST", ACCOUNTS, connecting)).status == 500
    with day.broken(*refusing("broker_accounts")):
        came = await asha.ask("POST", ACCOUNTS, connecting)
        assert came.status >= 500, came.text
        assert (await asha.ask("POST", f"{ACCOUNTS}/{account}/refresh-token")).status >= 500
    with day.broken(*renamed("order_history")):
        assert (await ended(asha, account))["status"] == "failed"
    assert (await asha.ask("POST", "/auth/login", login)).status == 401
    for where in ("Authorization", "Cookie", "X-Api-Key", "Idempotency-Key", "User-Agent", "If-None-Match"):
        stray = day.secrets.plant(f"secret in {where}", f"Bearer stray-secret-in-{where}")
        await asha.ask("GET", "/auth/me", **{where: stray})
    for path in (f"{SYNC}?token=", f"{ACCOUNTS}?cursor=", "/auth/me?password=", "/nowhere?key=", "/ws?ticket="):
        await asha.ask("GET", path + day.secrets.plant("secret in an address", f"stray-secret-{len(path)}"))
    await admin.ask("POST", "/auth/totp/remove", {"code": day.secrets.plant("code", "48210993")})


async def ended(asha: Visitor, account: str) -> dict[str, Any]:
    """A sync that was asked for, once it is over."""
    [batch] = (await asha.done("POST", SYNC, {"account_id": account}))["batches"]
    return await once(asha, batch["id"], lambda told: told["finished_at"] is not None)


async def once(asha: Visitor, batch: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The batch, once it is so."""
    told: dict[str, Any] = {}

    async def looked() -> bool:
        told.update(await asha.done("GET", f"{SYNC}/{batch}"))
        return fits(told)

    await until(looked)
    return told


async def everything_crashes(day: Day, service: Service, asha: Visitor, account: str) -> None:
    """In the midst of a sync that has logged in, the service and its database at once."""
    day.sim.add_fault(Fault(kind="delay", path="/v1/holdings", seconds=60))
    [batch] = (await asha.done("POST", SYNC, {"account_id": account}))["batches"]
    await once(asha, batch["id"], lambda told: told["status"] == "running")
    service.process.kill()
    day.kill_the_database()
    await service.process.wait()
    day.sim.faults.waiting.clear()


async def everything_is_read(visitor: Visitor, ids: Mapping[str, str]) -> None:
    document = await visitor.done("GET", "/openapi.json")
    for operation in operations(document):
        if operation.method == "GET" and not operation.is_endless:
            path = operation.address({name: ids.get(name, "x") for name in operation.names("path")})
            came = await visitor.ask("GET", path)
            assert came.status < 500, came.text
            if "format" in operation.names("query"):
                await visitor.ask("GET", f"{path}?format=csv")


@asynccontextmanager
async def listening(visitor: Visitor) -> AsyncIterator[Answer]:
    """A live connection; the answer is all that comes over it."""
    heard = Answer("/ws", 101, {}, "", None)
    ticket = (await visitor.done("POST", "/ws-ticket"))["ticket"]

    async def hear(socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            heard.text += str(message.data)

    async with visitor.http.ws_connect(f"{visitor.url}/ws", headers={"Origin": ADDRESS}) as socket:
        await socket.send_json({"ticket": ticket})
        hearing = asyncio.create_task(hear(socket))
        yield heard
        hearing.cancel()
    visitor.answers.append(heard)


@pytest.mark.long
async def test_forty_secrets_are_found_nowhere_after_a_day(
    installed_folder: Path, tell: Callable[[str, object], None]
) -> None:
    async with running(SimulatorOptions(accounts=4, seed=7, on=FIRST_DAY, ticking=True)) as sim:
        day = Day(installed_folder, sim)
        with embedded.running(day.settings):
            visitors = await lived(day)
            found = day.leaks(visitors)
            tell("T49: planted secrets", f"{len(day.secrets.kinds)}, {len(found)} found")
            answers = [answer for visitor in visitors for answer in visitor.answers]
            tell(
                "T49: answers read",
                f"{len(answers)}, {sum(a.status >= 500 for a in answers)} of them errors on purpose",
            )
            assert found == []
            assert len(day.secrets.kinds) >= 40
            put_everywhere(day, next(iter(day.secrets.kinds)))
            await until(lambda: {leak.partition(" shows")[0] for leak in day.leaks([])} >= EVERYWHERE)


async def lived(day: Day) -> list[Visitor]:
    """The day itself. Returns all who asked."""
    with psycopg.connect(day.superuser) as connection:
        connection.execute(SEEN)
    async with day.serving(11, "json") as (service, admin):
        asha = Visitor(service.url, admin.http, day.secrets)
        await people_come(day, admin, asha)
        accounts = await accounts_are_connected(day, asha)
        async with listening(asha) as heard:
            assert (await ended(asha, accounts[0]))["status"] == "completed"
        assert accounts[0] in heard.text
        await it_goes_wrong(day, admin, asha, accounts[1])
        await everything_crashes(day, service, asha, accounts[2])
    async with day.serving(16, "text") as (service, evening):
        await evening.enter("/auth/login", name="asha", password=day.password)
        for account in accounts[:2]:
            await until(lambda account=account: is_read(evening, account))
        await everything_is_read(evening, {"account_id": accounts[0], "symbol": "INFY"})
        changed = {"current_password": day.password, "new_password": password(day.secrets, "later password")}
        await evening.done("POST", "/auth/password", changed)
        await evening.done("DELETE", f"{ACCOUNTS}/{accounts[1]}")
        await evening.ask("GET", "/auth/me", token=asha.token)
        await evening.done("POST", "/auth/logout")
        await service.stop()
    for token in day.sim.tokens.issued:
        day.secrets.plant("token of the broker", token)
    return [admin, asha, evening]


async def is_read(visitor: Visitor, account: str) -> bool:
    batches = (await visitor.done("GET", f"/portfolio-scheduler/sync-history/{account}"))["items"]
    return any((batch["trigger"], batch["status"]) == ("scheduled", "completed") for batch in batches)


EVERYWHERE = {"the log", "the log of PostgreSQL", "a row", "the dump", "a kept answer of the broker"}


def put_everywhere(day: Day, secret: str) -> None:
    """What the search must then see. (PostgreSQL writes its log a little later.)"""
    with psycopg.connect(day.superuser, autocommit=True) as connection:
        connection.execute("ALTER TABLE broker_payloads DISABLE TRIGGER USER")  # the guards of facts
        connection.execute("UPDATE broker_accounts SET label = %s WHERE label = 'account 3'", [secret])
        connection.execute("UPDATE broker_payloads SET body = %s", [zlib.compress(secret.encode())])
        with suppress(psycopg.errors.InvalidTextRepresentation):
            connection.execute(SQL("SELECT {}::uuid").format(secret))
    with day.outputs[0].open("a") as output:
        output.write(base64.b64encode(secret.encode()).decode())
