"""Every statement the product runs, explained on a large database: a thousand accounts, 200 orders of each.

In the proof they are a million orders.

The real commands, a real sync, the planner and the sweep run against it; whatever they execute is explained (and
executed by the explanation) first. So a new query is covered as soon as a command runs it, and a function that runs SQL
without any of these acts calling it is named. What an act for one account reads may not grow with the others' rows.
"""

import ast
import asyncio
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from structlog.testing import capture_logs

from portfolio_scheduler.app import running
from portfolio_scheduler.db.pool import CountedCursor, transaction
from portfolio_scheduler.db.readiness import readiness
from portfolio_scheduler.settings import load
from portfolio_scheduler.simulator.faults import Fault
from portfolio_scheduler.sync import plan
from tests.cli.conftest import DAY, Terminal, durable, simulator, terminal
from tests.scale import scaled

__all__ = ["durable", "simulator", "terminal"]

SOURCE = Path(__file__).parents[2] / "src" / "portfolio_scheduler"
ACCOUNTS = 1000
ORDERS = scaled(1_000_000, share=5)
GROWTH = 300  # rows that the acts themselves add to the account
LARGE = 20_000  # rows; a smaller table may be read whole
# Rows of each table for every row of the account that is copied; the others get what makes them large enough.
DEEP = {"order_history", "current_orders", "order_quantity_changes", "order_fills"}
OF_THE_UNSETTLED = "jsonb_each(last.sections)"  # only in what the planner asks about accounts that ended badly
SHARED = {"closing_prices", "instruments", "market_days"}

# Acts of one account, in the words of the command line. ACCOUNT, ORDER and SYMBOL are filled in.
OF_ONE = (
    "status ACCOUNT", "summary ACCOUNT", "holdings ACCOUNT", "positions ACCOUNT", "orders ACCOUNT",
    "orders ACCOUNT --all", "orders ACCOUNT --all --symbol SYMBOL --status EXECUTED", "fills ACCOUNT",
    "fills ACCOUNT --all --symbol SYMBOL", "changes --account ACCOUNT", "changes SYMBOL --account ACCOUNT",
    "changes --account ACCOUNT --order ORDER", "changes --account ACCOUNT --date 2026-04-21", "snapshots ACCOUNT",
    "snapshots ACCOUNT --revisions", "accounts show ACCOUNT", "accounts test ACCOUNT", "coverage ACCOUNT",
    "sync ACCOUNT", "sync ACCOUNT --retry", "accounts pause ACCOUNT", "accounts resume ACCOUNT",
    "accounts login ACCOUNT --stdin",
    "summary ACCOUNT --as-of 2026-04-21", "holdings ACCOUNT --as-of 2026-04-21",
)  # fmt: skip
# Acts over all accounts. As JSON, because tables of a thousand accounts take longer to draw than everything else here.
OF_ALL = (
    "accounts list", "status", "coverage --from 2026-04-20 --to 2026-04-21",
    "orders", "orders --all --limit 50", "orders --all --limit 50 --symbol SYMBOL", "orders --date 2026-04-21",
    "fills", "fills --all --limit 50", "fills --all --limit 50 --symbol SYMBOL", "fills --date 2026-04-21",
    "changes --limit 50", "changes SYMBOL --limit 50", "changes --date 2026-04-21",
)  # fmt: skip

# SQL that none of the acts runs, and why it need not be, or is not yet. A whole module, or one function of it.
NOT_RUN = {
    "bench/": "measures on databases of its own",
    "db/pool.py: execute": "what all others run their statements through",
    "db/viewers.py": "says who asks and runs what it is given; no table of its own",
    "db/requests.py": "by primary key, or the few that are open, of an index of their own",
    "db/idempotency.py": "by primary key",
    "db/accounts.py: rename": "by primary key",
    "db/batches.py: ask": "one row of each account asked for, by the index of open batches",
    "db/live.py": "by primary key, or the accounts that one user sees",
    "db/pool.py: notices": "listens",
    "db/accounts.py: ensure_user": "by the unique name",
    "db/queue.py: enqueue_request": "adds one job",
    "db/people/": "rows of people, not of accounts: by primary key, by an index of their own, or of one person",
    "cli/users.py: _listed": "everybody, as is meant",
    "web/routes/admin.py": "an administrator's lists of everybody, page by page; no figures of accounts",
    "web/routes/registration.py: list_invitations": "all invitations, page by page",
    "web/asking.py": "by primary key, or the accounts of one user",
    "web/routes/syncs.py": "the accounts of one user, and of each the batches of the last hours",
    "db/corporate_actions.py": "reference tables, written once a day; no account's rows",
    "db/instrument_loading.py": "a table of one row",
    "db/instruments.py": "reference tables, written once a day; no account's rows",
    "db/price_lines.py": "reference tables, written by imports; no account's rows",
    "db/prices.py: amend": "reference tables, written by imports; no account's rows",
    "db/market_days.py": "a few hundred days of the exchange; no account's rows",
    "db/ledger.py: load_changes": "replay and rebuild: reads the whole account, as is meant",
    "db/ledger.py: load_payloads": "replay: reads the whole account, as is meant",
    "db/ledger.py: last_sights": "replay: reads the whole account, as is meant",
    "db/batches.py: kept": "replay: reads the whole account, as is meant",
    "db/batches.py: find": "replay: finds one batch by its id",
    "db/batches.py: fences": "replay and days valued anew: reads the whole account, as is meant",
    "db/batches.py: open_batch": "by primary key, on a conflict only",
    "db/batches.py: beat": "by primary key, after five seconds only",
    "db/batches.py: is_finished": "by primary key, after a lost connection only",
    "db/accounts.py: listed": "all accounts, a thousand rows",
    "db/accounts.py: needs_login": "by primary key",
    "db/accounts.py: leave_alone": "by primary key",
    "db/sealed.py": "all sealed values, a page at a time, when keys are changed; as is meant",
    "db/logins.py": "all accounts once before the close of a day, each by primary keys",
    "db/notices.py: notice": "one row, by primary key",
    "db/notices.py: since": "in the order of an index, as far as nobody has read yet",
    "db/accounts.py: set_schedules": "by primary key",
    "db/accounts.py: planned": "by primary key",
    "db/gaps.py: unseen": "only when a day was missed",
    "db/reads/orders.py: partly_filled_and_cancelled": "the demo's summary, on the demo's own database",
    "db/reads/snapshots.py: never_read": "only while a day is incomplete; reads the view coverage, as `coverage` does",
    "db/rebuilding.py": "reads the whole account, as is meant",
    "db/past.py: book": "folds the account's facts up to a day; copied facts do not fold",
    "db/snapshots.py: days_to_value": "after an import of prices only",
    "sync/replay.py": "reads the whole account, as is meant",
    "sync/rebuild.py": "reads the whole account, as is meant",
    "checks.py": "reads the whole account, as is meant; copied rows are not numbered without gaps",
    "db/reads/consistency.py": "the same",
    "db/rereadings.py": "replay: reads the whole account, as is meant",
}


def excused(name: str) -> bool:
    return any(name == held or name.startswith(held) for held in NOT_RUN)


class Plan(msgspec.Struct):
    """One statement with what its execution touched."""

    statement: str
    nodes: list[dict[str, Any]]


class Explainer:
    """Explains, and thereby executes, every statement of an open transaction before it runs; then undoes that."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []

    @contextmanager
    def listening(self) -> Iterator[list[Plan]]:
        self.plans = []
        execute = CountedCursor.execute
        explainer = self

        async def explained(self: Any, query: Any, params: Any = None, **rest: Any) -> Any:
            text = query if isinstance(query, str) else query.as_string(None)
            if re.match(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)", text, re.IGNORECASE):
                await explainer.explain(self.connection, text, params)
            return await execute(self, query, params, **rest)

        CountedCursor.execute = explained  # type: ignore[method-assign]
        try:
            yield self.plans
        finally:
            CountedCursor.execute = execute  # type: ignore[method-assign]

    async def explain(self, connection: Any, text: str, params: Any) -> None:
        async with psycopg.AsyncCursor(connection) as cursor:
            await cursor.execute("SAVEPOINT explained")
            try:
                await cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, FORMAT JSON) {text}", params)
                [(found,)] = await cursor.fetchall()
            except psycopg.Error:
                return  # the statement itself will say so, and whoever runs it expects it
            finally:
                await cursor.execute("ROLLBACK TO explained; RELEASE explained")
        self.plans.append(Plan(statement=" ".join(text.split()), nodes=list(_nodes(found[0]["Plan"]))))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


# ── what is wrong with a plan ──


def whole_scans(found: Plan, large: set[str]) -> Iterator[str]:
    """Large tables that are read from end to end, or whose index is."""
    for node in found.nodes:
        table = node.get("Relation Name")
        if table in large and node["Node Type"] == "Seq Scan" and node["Actual Loops"]:
            yield f"reads all of {table}: {found.statement[:200]}"
        by_index = table in large and node["Node Type"].startswith("Index") and "Index Cond" not in node
        if by_index and rows_read(node) > LARGE:
            yield f"reads all of {table} by {node['Index Name']}: {found.statement[:200]}"


def foreign_rows(found: Plan, large: set[str], most: dict[str, int]) -> Iterator[str]:
    """Scans of a tenant's table that are not led by the account, or that read more than one account has."""
    for node in found.nodes:
        table = node.get("Relation Name")
        if table not in large or table in SHARED or not node["Actual Loops"]:
            continue
        led = re.search(r"\b(account_id|id)\b = ", " ".join(_conditions(node, found.nodes)))
        if "Scan" in node["Node Type"] and not led:
            yield f"{table} is not read by account: {found.statement[:200]}"
        elif rows_read(node) > most[table] + GROWTH:
            yield f"{rows_read(node)} rows of {table}, more than one account has: {found.statement[:200]}"


def looks_at_everybody(found: Plan) -> Iterator[str]:
    """What the planner asks about accounts that ended badly, asked about each account there is."""
    turns = [node["Actual Loops"] for node in found.nodes if node.get("Relation Name") == "sync_batches"]
    if OF_THE_UNSETTLED in found.statement and max(turns, default=0) > ACCOUNTS / 10:
        yield f"looks at the batches of {max(turns)} accounts: {found.statement[:200]}"


def _conditions(node: dict[str, Any], nodes: list[dict[str, Any]]) -> Iterator[str]:
    for part in (node, *node.get("Plans", ())):
        yield from (str(part[name]) for name in ("Index Cond", "Recheck Cond", "TID Cond") if name in part)


def rows_read(node: dict[str, Any]) -> int:
    """Rows one turn of a scan took from its table, kept or thrown away."""
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int(node.get("Actual Rows", 0) + removed)


# ── which functions run SQL ──


def sql_functions() -> Iterator[str]:
    """Every function of the product that hands a statement to the database itself, as "db/reads/orders.py: orders"."""
    for file in sorted(SOURCE.rglob("*.py")):
        if "simulator" in file.parts or "migrations" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.AsyncFunctionDef) and _runs_sql(node):
                yield f"{file.relative_to(SOURCE).as_posix()}: {node.name}"


def _runs_sql(function: ast.AsyncFunctionDef) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "execute" or (name in {"rows", "read", "write"} and node.args and _is_tx(node.args[0])):
                return True
    return False


def _is_tx(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "tx"


@contextmanager
def called_functions() -> Iterator[set[str]]:
    """The functions of the product that run a statement inside the block, themselves or through others."""
    called: set[str] = set()
    prefix = str(SOURCE) + "/"
    execute = CountedCursor.execute

    async def noted(self: Any, *args: Any, **rest: Any) -> Any:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename.startswith(prefix):
                called.add(f"{frame.f_code.co_filename.removeprefix(prefix)}: {frame.f_code.co_name}")
            frame = frame.f_back
        return await execute(self, *args, **rest)

    CountedCursor.execute = noted  # type: ignore[method-assign]
    try:
        yield called
    finally:
        CountedCursor.execute = execute  # type: ignore[method-assign]


# ── a large database ──


def fill(superuser: str, account_id: str) -> None:
    """A thousand accounts like this one, each with all its rows many times over, on earlier days."""
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no foreign keys to check a million times
        connection.execute("SET max_parallel_workers_per_gather = 0")
        connection.execute(
            """CREATE TEMP TABLE copies AS SELECT gen_random_uuid() AS id, n FROM generate_series(1, %s) n""",
            [ACCOUNTS - 1],
        )
        connection.execute("INSERT INTO copies VALUES (%s, 0)", [account_id])
        for table, columns in _tenant_tables(connection):
            _copy(connection, table, columns, account_id)
        prices = f"""INSERT INTO closing_prices SELECT 'INE' || lpad(n::text, 9, '0'), date '2025-01-01' + d, 'ltp',
            100, timestamptz '2025-01-01 10:30+00' + make_interval(days => d), 'NSE', 'CASH', 'S' || n
            FROM generate_series(1, 200) n, generate_series(1, {LARGE // 100}) d"""
        connection.execute(prices)  # type: ignore[arg-type]
        connection.execute("UPDATE account_heads SET seq = 100000000")
        connection.execute("ANALYZE")


def _tenant_tables(connection: Any) -> list[tuple[str, list[str]]]:
    """Accounts first, then every table of the product with an `account_id`, with the columns that can be written."""
    found = connection.execute(
        """
        SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated = '')
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' GROUP BY c.oid
        HAVING bool_or(a.attname = 'account_id') OR c.relname = 'broker_accounts'
        ORDER BY c.relname <> 'broker_accounts', c.relname
        """
    ).fetchall()
    return [(str(table), list(columns)) for table, columns in found]


# How a copied row differs from its original: copy number c.n, round r.
DIFFERS = {
    "account_id": "c.id",
    "seq": "t.seq + 1000000 * r",
    "first_seq": "t.first_seq + 1000000 * r",
    "last_seq": "t.last_seq + 1000000 * r",
    "batch_id": "md5(t.batch_id::text || c.id || r)::uuid",
    "broker_order_id": "t.broker_order_id || '-' || r",
    "trading_on": "t.trading_on - 7 * r",
    "listed_on": "t.listed_on - 7 * r",
    "finished_at": "t.finished_at - make_interval(days => 7 * r)",
    "observed_at": "t.observed_at - make_interval(days => 7 * r)",
    "payload_digest": "sha256((c.id::text || r || encode(t.payload_digest, 'hex'))::bytea)",
    "body": "'\\x00'::bytea",
    "slot_at": "NULL",
}
OF_BATCHES = {"id": "md5(t.id::text || c.id || r)::uuid"}
OF_ACCOUNTS = {"id": "c.id", "label": "'copy ' || c.n", "ucc": "'copy ' || c.n", "broker_account_id": "'copy ' || c.n"}
ONCE = {"broker_accounts", "account_heads", "real_holdings", "real_positions", "open_findings"}


def _copy(connection: Any, table: str, columns: list[str], account_id: str) -> None:
    key = "id" if table == "broker_accounts" else "account_id"
    counted = connection.execute(
        SQL("SELECT count(*) FROM {} WHERE {} = %s").format(Identifier(table), Identifier(key)), [account_id]
    ).fetchone()
    rows = counted[0]
    if not rows:
        return
    rounds = 1 if table in ONCE else max(1, _wanted(table) // (ACCOUNTS * rows))
    differs = DIFFERS | (OF_BATCHES if table == "sync_batches" else OF_ACCOUNTS if table == "broker_accounts" else {})
    values = ", ".join(differs.get(name, f't."{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    only = "c.n > 0" if table in ONCE else "true"
    indexes = connection.execute(
        """SELECT indexdef, indexrelid::regclass::text FROM pg_index JOIN pg_indexes
           ON indexname = indexrelid::regclass::text AND schemaname = 'public'
           WHERE indrelid = %s::regclass AND NOT indisprimary
           AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)""",
        [table],
    ).fetchall()
    for _, name in indexes:  # made again afterwards, which is faster
        connection.execute(f"DROP INDEX {name}")
    connection.execute(
        f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} t, copies c, generate_series(1, {rounds}) r "
        f"WHERE t.{key} = %s AND {only}",
        [account_id],
    )
    for definition, _ in indexes:
        connection.execute(definition)


def _wanted(table: str) -> int:
    if table == "current_orders":
        return ORDERS
    return max(ORDERS // 10, int(LARGE * 1.3)) if table in DEEP else int(LARGE * 1.3)


@pytest.fixture
def crowded(terminal: Terminal) -> Terminal:
    """The trader, read on two days, among a thousand accounts with all their orders."""
    terminal.connect(2, "trader")
    for on in (DAY, DAY + timedelta(days=1)):
        terminal.at(on, 16)
        assert terminal("sync").code == 0
    [(account_id,)] = terminal.rows("SELECT id::text FROM broker_accounts")
    fill(terminal.database.superuser, account_id)
    terminal.at(date(2026, 4, 22), 16)
    return terminal


@pytest.mark.long
def test_no_statement_grows_with_the_rows_of_others(crowded: Terminal) -> None:
    sizes = dict(crowded.rows("SELECT relname, reltuples::bigint FROM pg_class WHERE relkind = 'r' AND reltuples > 0"))
    assert sizes["broker_accounts"] == ACCOUNTS
    assert sizes["current_orders"] > ORDERS * 0.9
    large = {table for table, rows in sizes.items() if rows > LARGE}
    most = {
        table: crowded.rows(f"SELECT max(n) FROM (SELECT count(*) n FROM {table} GROUP BY account_id) x")[0][0]
        for table in large - SHARED
    }
    [(symbol, order)] = crowded.rows("SELECT trading_symbol, broker_order_id FROM current_orders LIMIT 1")
    words = {"ACCOUNT": "trader", "ORDER": order, "SYMBOL": symbol}
    explainer, wrong = Explainer(), []
    with called_functions() as called:
        for act in OF_ONE:
            with explainer.listening() as plans:
                answer = crowded(*(words.get(word, word) for word in act.split()), typed=crowded.secrets(2))
            assert answer.code == 0, (act, answer)
            assert plans, act
            wrong += [f"{act}: {what}" for one in plans for what in foreign_rows(one, large, most)]
            wrong += [f"{act}: {what}" for one in plans for what in whole_scans(one, large)]
        with explainer.listening() as plans:
            assert crowded.connect(1, "another").code == 0
            crowded.sim.add_fault(Fault(kind="failure", path="/v1/holdings", status=403, code="403", times=None))
            crowded("sync", "another")  # ends in a way that the planner looks at
            with capture_logs():  # the last command's standard error is closed
                asyncio.run(planned(crowded))
            crowded("accounts", "remove", "trader", "--yes")
        wrong += [f"planner: {what}" for one in plans for what in whole_scans(one, large)]
        wrong += [f"planner: {what}" for one in plans for what in looks_at_everybody(one)]
        assert sum(OF_THE_UNSETTLED in one.statement for one in plans) >= 2
    for act in OF_ALL:
        with explainer.listening() as plans:
            assert crowded(*(words.get(word, word) for word in act.split()), "--json").code == 0, act
        wrong += [f"{act}: {what}" for one in plans for what in whole_scans(one, large - {"sync_batches"})]
    unseen = [name for name in sql_functions() if name not in called and not excused(name)]
    assert "\n".join(dict.fromkeys(wrong)) == ""
    assert unseen == [], "add an act that runs them, or a reason to NOT_RUN"


async def planned(terminal: Terminal) -> None:
    """What runs each minute, and what the health endpoint asks."""
    async with running(load(), terminal.clock) as app:
        await plan.plan(app, app.clock.now())
        await plan.sweep(app, app.clock.now())
        async with transaction(app.pool) as tx:
            await readiness(tx, app.clock.now())


# ── the checks find their broken twins ──


def scan(kind: str, **rest: Any) -> Plan:
    node = {"Node Type": kind, "Relation Name": "current_orders", "Actual Loops": 1, "Actual Rows": 1.0, **rest}
    return Plan(statement="SELECT", nodes=[node])


@pytest.mark.parametrize(
    "twin",
    [
        scan("Seq Scan"),
        scan("Index Scan", **{"Index Cond": "(trading_symbol = 'INFY')", "Index Name": "x"}),
        scan("Index Scan", **{"Index Cond": "(account_id = $1)", "Rows Removed by Filter": 2001}),
    ],
)
def test_a_plan_that_reads_other_accounts_is_caught(twin: Plan) -> None:
    large = {"current_orders"}
    assert [*foreign_rows(twin, large, {"current_orders": 1000}), *whole_scans(twin, large)]


def test_a_plan_by_account_is_none() -> None:
    good = scan("Index Scan", **{"Index Cond": "(account_id = $1)", "Index Name": "x"})
    assert not [
        *foreign_rows(good, {"current_orders"}, {"current_orders": 1000}),
        *whole_scans(good, {"current_orders"}),
    ]


def test_a_tick_that_looks_at_every_account_is_caught() -> None:
    node = {"Node Type": "Index Scan", "Relation Name": "sync_batches", "Actual Loops": ACCOUNTS}
    assert list(looks_at_everybody(Plan(statement=f"SELECT FROM {OF_THE_UNSETTLED}", nodes=[node])))
    assert not list(looks_at_everybody(Plan(statement="SELECT", nodes=[node])))


def test_functions_that_run_sql_are_found() -> None:
    found = set(sql_functions())
    assert {"db/batches.py: finish", "db/reads/orders.py: orders", "db/prices.py: newest"} <= found
