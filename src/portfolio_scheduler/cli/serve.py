"""`serve`: health endpoint, planner and worker in one process. `worker`: the same without the web."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
import uvloop

from portfolio_scheduler import log
from portfolio_scheduler.clock import Clock, make_clock
from portfolio_scheduler.settings import Settings, load

if TYPE_CHECKING:  # a command line that only prints its help imports no database driver
    from portfolio_scheduler.app import App

Serving = Callable[["App", asyncio.Event], Coroutine[Any, Any, None]]


def serve_command(
    host: Annotated[str | None, typer.Option(help="Where to listen; PORTFOLIO_SCHEDULER_HOST otherwise.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port; 0 takes any free one; PORTFOLIO_SCHEDULER_PORT otherwise."),
    ] = None,
    with_worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Plan and run syncs here, too.")] = True,
) -> None:
    """Run the service until Ctrl-C or SIGTERM: it syncs every account when it is due and answers on HTTP."""
    settings = load()
    uvloop.run(
        until_stopped(
            settings,
            lambda app, stop: serve(
                app,
                host=settings.host if host is None else host,
                port=settings.port if port is None else port,
                worker=with_worker,
                stop=stop,
            ),
            opens=with_worker,
        )
    )


def worker_command() -> None:
    """Plan and run syncs until Ctrl-C or SIGTERM, without the web. Any number may share one DATABASE_URL."""
    uvloop.run(until_stopped(load(), _work))


async def until_stopped(
    settings: Settings, serving: Serving, clock: Clock | None = None, *, opens: bool = True
) -> None:
    """Run the product until the process is asked to end; a second signal does not interrupt the ending."""
    from portfolio_scheduler.app import running
    from portfolio_scheduler.jobs import is_outage

    log.configure(settings.log_level, settings.log_format, is_outage)
    with told_in_one_line(), stopping() as stop:
        async with running(settings, clock or make_clock(settings.clock), opens=opens) as app, kept(settings):
            await serving(app, stop)


@asynccontextmanager
async def kept(settings: Settings, **pace: float) -> AsyncIterator[None]:
    """While inside, the embedded database is started again when it stops under us."""
    from portfolio_scheduler.db.keeper import keep_running

    if settings.database_url:
        yield
        return
    keeper = asyncio.create_task(keep_running(settings, **pace), name="keeper")
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


@contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and Ctrl-C set instead of interrupting what runs."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Tasks of libraries that a lost database ended, and that nobody asks how they ended, are trouble of a kind that
    is told already. Any other error of such a task is a bug, and keeps its traceback."""
    from portfolio_scheduler.jobs import is_outage

    def told(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error, task = context.get("exception"), context.get("task") or context.get("future")
        if error is None or not is_outage(error):
            loop.default_exception_handler(context)
            return
        name = task.get_name() if isinstance(task, asyncio.Task) else "unknown"
        log.logger().warning("a task ended badly", task=name, error=type(error).__name__, reason=log.first_line(error))

    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(told)
    try:
        yield
    finally:
        loop.set_exception_handler(before)


async def serve(
    app: "App", *, host: str, port: int, worker: bool = True, stop: asyncio.Event, finish_seconds: int | None = None
) -> None:
    """Serve until `stop` is set, then give running syncs so long to end. Every "now" is the app's clock's."""
    from portfolio_scheduler.cli.users import new_setup_token
    from portfolio_scheduler.jobs import FINISH_SECONDS, Pulse, stand_by, work
    from portfolio_scheduler.web.server import listening

    pulse = Pulse() if worker else None
    async with listening(app, host, port, pulse) as address:
        typer.echo(f"Listening on {address} (health: {address}/health/ready). Ctrl-C stops it.")
        if (token := await new_setup_token(app)) is not None:
            typer.echo(f"Nobody can log in yet. Set-up token for the first user, good for a day: {token}")
        if pulse is None:
            await stand_by(app, stop)
        else:
            await work(app, stop, pulse, finish_seconds=finish_seconds or FINISH_SECONDS)
        log.logger().info("stopping")


async def _work(app: "App", stop: asyncio.Event) -> None:
    from portfolio_scheduler.jobs import Pulse, work

    typer.echo("Working. Ctrl-C stops it.")
    await work(app, stop, Pulse())
