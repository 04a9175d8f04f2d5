"""`demo`: the whole product on made-up accounts. A simulated Groww over HTTP, an embedded database of its own, sixty
trading days through the same sync that serves a real account, then the service."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import uvloop
from msgspec.structs import replace

if TYPE_CHECKING:
    from portfolio_scheduler.app import App
    from portfolio_scheduler.clock import TickingClock
    from portfolio_scheduler.db.accounts import Account
    from portfolio_scheduler.db.reads.changes import ChangeRow
    from portfolio_scheduler.db.reads.orders import OrderRow
    from portfolio_scheduler.domain.summary import Summary
    from portfolio_scheduler.settings import Settings
    from portfolio_scheduler.simulator.server import Simulator

SEED = 7
LABELS = ("quiet investor", "active trader", "daily approval")
LAST_DAY = date(2026, 4, 24)  # the last day the simulator has real closing prices for
SEEN_DURING_THE_DAY = ((11, 15), (14, 45))  # on the last days the trader is also synced by hand, so that trails grow
MARKER = "this-is-a-demo"


def demo(
    exit_after: Annotated[bool, typer.Option("--exit", help="End after the summary instead of serving.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON: decimals as strings.")] = False,
    days: Annotated[int, typer.Option(min=2, max=500, help="How many trading days to replay.")] = 60,
    port: Annotated[int | None, typer.Option(help="Where to serve on 127.0.0.1 (8800 unless set).")] = None,
) -> None:
    """Show the product at work: three made-up accounts, their last 60 trading days, then the service until Ctrl-C."""
    from portfolio_scheduler.cli.running import prepared

    settings = _demo_settings(prepared(), port)
    uvloop.run(_demo(settings, days=days, serve_after=not exit_after, as_json=as_json))


def _demo_settings(settings: "Settings", port: int | None) -> "Settings":
    """The demo's own folders beside the real ones, and always the embedded database."""
    return replace(
        settings,
        data=settings.data.with_name(settings.data.name + "-demo"),
        keys=settings.keys.with_name(settings.keys.name + "-demo"),
        database_url=None,
        port=port or settings.port,
    )


async def _demo(settings: "Settings", *, days: int, serve_after: bool, as_json: bool) -> None:
    from portfolio_scheduler.clock import SystemClock
    from portfolio_scheduler.market.calendar import make_calendar
    from portfolio_scheduler.simulator.options import SimulatorOptions
    from portfolio_scheduler.simulator.server import running as simulated

    real = SystemClock()
    started = real.monotonic()
    calendar = make_calendar()
    replayed = [session.on for session in calendar.sessions(date(2024, 1, 1), LAST_DAY)][-days:]
    with _own_folder(settings.data):
        _say("Starting a simulated Groww (made-up accounts, real NSE closing prices) and an embedded PostgreSQL …")
        async with (
            simulated(SimulatorOptions(accounts=3, seed=SEED, on=replayed[0])) as sim,
            _fresh_app(replace(settings, groww_url=sim.url), sim) as (app, clock),
        ):
            accounts = [await _connect(app, sim, n, label) for n, label in enumerate(LABELS, start=1)]
            _say(f"Syncing {len(accounts)} accounts, {len(replayed)} trading days, day by day …")
            syncs = await _replay(app, sim, clock, accounts, replayed)
            seconds = real.monotonic() - started
            await _show(app, accounts, as_json=as_json, replayed=(len(replayed), syncs, seconds))
            if serve_after:
                await _serve(app, sim, quiet=as_json)


# ── its own place ───────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _own_folder(folder: Path) -> Any:
    """Only one demo at a time, and only in a folder that is a demo's: what it finds there it replaces."""
    import fcntl

    from portfolio_scheduler.errors import Conflict, SetupProblem

    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            folder.chmod(0o711)
            (folder / MARKER).touch()
    if not (folder / MARKER).exists():
        raise SetupProblem(f"{folder} is not a demo's folder; set PORTFOLIO_SCHEDULER_DATA to another place.")
    lock = os.open(folder / MARKER, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as e:
        raise Conflict(f"A demo is already running in {folder}; stop it first (Ctrl-C in its terminal).") from e
    finally:
        os.close(lock)


@contextlib.asynccontextmanager
async def _fresh_app(settings: "Settings", sim: "Simulator") -> "AsyncIterator[tuple[App, TickingClock]]":
    """The product on an empty database, at the simulator's time."""
    from portfolio_scheduler.app import running
    from portfolio_scheduler.clock import TickingClock
    from portfolio_scheduler.db import embedded

    embedded.empty(settings)
    clock = TickingClock(sim.now)
    async with running(settings, clock) as app:
        yield app, clock


async def _connect(app: "App", sim: "Simulator", number: int, label: str) -> "Account":
    from portfolio_scheduler.brokers.broker import Credentials
    from portfolio_scheduler.domain.records import Login
    from portfolio_scheduler.sync.connect import connect

    login = sim.accounts[number - 1]
    credentials = Credentials(
        login=Login(login.method),
        api_key=login.api_key,
        api_secret=login.secret or "",
        totp_secret=login.totp_secret or "",
    )
    return await connect(app, broker="groww", label=label, credentials=credentials)


# ── the days ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _replay(
    app: "App", sim: "Simulator", clock: "TickingClock", accounts: "Sequence[Account]", days: Sequence[date]
) -> int:
    """Each day at 16:00 every account; on the last three the trader during the day as well. Returns how many syncs."""
    from portfolio_scheduler.cli.render import progress
    from portfolio_scheduler.clock import ist
    from portfolio_scheduler.db import accounts as stored
    from portfolio_scheduler.db.pool import transaction

    syncs = 0
    with progress("Replaying", len(days)) as bar:
        for day in days:
            for hour, minute in SEEN_DURING_THE_DAY if day in days[-3:] else ():
                _set_time(sim, clock, ist(day, hour, minute))
                syncs += await _sync(app, accounts[1:2], trigger="manual")
            _set_time(sim, clock, ist(day, 16))
            syncs += await _sync(app, accounts, trigger="scheduled")
            bar.advance(doing=f"Replaying {day}")
    async with transaction(app.pool) as tx:
        await stored.planned(tx, [account.id for account in accounts], app.clock.now())
    return syncs


def _set_time(sim: "Simulator", clock: "TickingClock", at: Any) -> None:
    sim.set_clock(at)
    clock.set(at)


async def _sync(app: "App", accounts: "Sequence[Account]", *, trigger: str) -> int:
    from portfolio_scheduler.errors import PortfolioSchedulerError
    from portfolio_scheduler.sync.run import sync_account

    reports = await asyncio.gather(*(sync_account(app, account.id, trigger=trigger) for account in accounts))
    for report in reports:
        if report.status != "completed":
            raise PortfolioSchedulerError(f"The sync of {report.account} ended {report.status}: {report.error}")
    return len(reports)


# ── what it shows ───────────────────────────────────────────────────────────────────────────────────────────────────


async def _show(app: "App", accounts: "Sequence[Account]", *, as_json: bool, replayed: tuple[int, int, float]) -> None:
    from portfolio_scheduler.cli.summary import summaries as summarised
    from portfolio_scheduler.db.pool import transaction
    from portfolio_scheduler.db.reads import changes as changes_read
    from portfolio_scheduler.db.reads import orders as orders_read

    summaries = await summarised(app, accounts)
    ids = [account.id for account in accounts]
    async with transaction(app.pool) as tx:
        last_day = await changes_read.changes(tx, ids, on=app.calendar.trading_on(app.clock.now()))
        told = await orders_read.partly_filled_and_cancelled(tx, ids)
        steps = [await changes_read.trail(tx, order.account_id, order.broker_order_id) for order in told]
    if as_json:
        _print_json(summaries, last_day, told, steps, replayed)
    else:
        _print_text(app, summaries, last_day, told, steps, replayed)


def _print_json(
    summaries: "Sequence[Summary]",
    last_day: "Sequence[ChangeRow]",
    told: "Sequence[OrderRow]",
    steps: "Sequence[Sequence[ChangeRow]]",
    replayed: tuple[int, int, float],
) -> None:
    from portfolio_scheduler.cli.render import print_json

    days, syncs, _ = replayed
    print_json(
        {
            "days": days,
            "syncs": syncs,
            "accounts": [
                {
                    "account": summary.account,
                    "account_id": summary.account_id,
                    "summary": summary,
                    "changes": [change for change in last_day if change.account_id == summary.account_id],
                }
                for summary in summaries
            ],
            "trails": [{"order": order, "changes": list(trail)} for order, trail in zip(told, steps, strict=True)],
        }
    )


def _print_text(
    app: "App",
    summaries: "Sequence[Summary]",
    last_day: "Sequence[ChangeRow]",
    told: "Sequence[OrderRow]",
    steps: "Sequence[Sequence[ChangeRow]]",
    replayed: tuple[int, int, float],
) -> None:
    from portfolio_scheduler.cli.render import console, day
    from portfolio_scheduler.cli.summary import print_overview
    from portfolio_scheduler.cli.trails import order_trail, print_changes

    out = console()
    days, syncs, seconds = replayed
    today = app.calendar.trading_on(app.clock.now())
    out.print(f"\n{days} trading days up to {day(today)}, {syncs} syncs over HTTP, {seconds:.1f} s\n", highlight=False)
    print_overview(out, summaries)
    shown = [change for change in last_day if change.kind != "holding"][:12]
    out.print()
    print_changes(out, shown, title=f"What changed on {day(today)} (newest first, {len(last_day)} in all)")
    for order, trail in zip(told, steps, strict=True):
        out.print("\nThe trail of one order")
        out.print(order_trail(order, trail, out.width), highlight=False)


# ── then the service ────────────────────────────────────────────────────────────────────────────────────────────────


async def _serve(app: "App", sim: "Simulator", *, quiet: bool) -> None:
    from portfolio_scheduler.cli.serve import serve, stopping

    sim.set_ticking(ticking=True)
    environment = _write_environment(app)
    if not quiet:
        _say(_next_steps(environment))
    with stopping() as stop:
        await serve(app, host=app.settings.host, port=app.settings.port, stop=stop)


def _write_environment(app: "App") -> Path:
    """A file for other terminals: with it every command works on the demo's accounts, at the demo's time."""
    from portfolio_scheduler.clock import SystemClock

    values = {
        "PORTFOLIO_SCHEDULER_DATA": app.settings.data,
        "PORTFOLIO_SCHEDULER_KEYS": app.settings.keys,
        "PORTFOLIO_SCHEDULER_GROWW_URL": app.settings.groww_url,
        "PORTFOLIO_SCHEDULER_CLOCK": f"{app.clock.now().isoformat()}@{SystemClock().now().isoformat()}",
    }
    path = app.settings.data / "environment"
    path.write_text("".join(f"export {name}='{value}'\n" for name, value in values.items()), encoding="utf-8")
    return path


def _next_steps(environment: Path) -> str:
    return f"""
The service runs on these accounts now, its clock standing at the simulator's. Try, in another terminal:

  . '{environment}'
  .venv/bin/portfolio-scheduler summary
  .venv/bin/portfolio-scheduler holdings "active trader"
  .venv/bin/portfolio-scheduler orders
  .venv/bin/portfolio-scheduler changes --help
  .venv/bin/portfolio-scheduler sync --all

Your own account (in a terminal without that file): .venv/bin/portfolio-scheduler accounts add --label mine
"""


def _say(text: str) -> None:
    typer.echo(text, err=True)
