"""The HTTP side: routes, headers of every answer, and Granian's embedded server, which lives and dies with its caller.

Granian's command line would fork: after a `kill -9` of the parent its child serves on. Embedded, there is no child.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import psycopg
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler
from litestar.types import Message, Scope

from portfolio_scheduler.app import App
from portfolio_scheduler.db.lines import Lines, opened_lines
from portfolio_scheduler.db.pool import Pool, make_pool, opened
from portfolio_scheduler.db.revisions import shipped
from portfolio_scheduler.errors import PortfolioSchedulerError, SetupProblem
from portfolio_scheduler.identity.factor_box import FactorBox
from portfolio_scheduler.identity.signing import Keyring
from portfolio_scheduler.identity.tokens import Signer, Verifier
from portfolio_scheduler.jobs import Pulse
from portfolio_scheduler.web import document, errors
from portfolio_scheduler.web.asked import check_request, declared_parameters
from portfolio_scheduler.web.bodies import Bodies
from portfolio_scheduler.web.entry import address_only, entry_of, place_of
from portfolio_scheduler.web.front import Front
from portfolio_scheduler.web.live import Live
from portfolio_scheduler.web.pace import Pace
from portfolio_scheduler.web.place import Place, Strictness
from portfolio_scheduler.web.repeats import Repeats
from portfolio_scheduler.web.routes import (
    accounts,
    admin,
    connecting,
    explorer,
    factors,
    health,
    history,
    live,
    logins,
    me,
    passwords,
    portfolio,
    registration,
    schedules,
    sessions,
    sharing,
    syncs,
    violations,
)
from portfolio_scheduler.web.subjects import subject_of

START_SECONDS = 10
STOP_SECONDS = 3

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "portfolio-scheduler",  # else Granian puts its own name there
}
# Where the installation is reached by https; on the machine's own address it would forbid http to other programs.
STRICT_TRANSPORT = "max-age=31536000; includeSubDomains"


STRICT = Strictness()
BODY_LIMIT = 256 * 1024  # bytes
CONNECTIONS = 8  # of the API's pool: reads take a millisecond each, and PostgreSQL works on few at a time
PATIENCE_SECONDS = 2  # for one of them to become free

ROUTES = (
    *health.ROUTES,
    *explorer.ROUTES,
    *violations.ROUTES,
    *accounts.ROUTES,
    *portfolio.ROUTES,
    *history.ROUTES,
    *connecting.ROUTES,
    *schedules.ROUTES,
    *syncs.ROUTES,
    *live.ROUTES,
    *logins.ROUTES,
    *registration.ROUTES,
    *me.ROUTES,
    *passwords.ROUTES,
    *factors.ROUTES,
    *sessions.ROUTES,
    *sharing.ROUTES,
    *admin.ROUTES,
)


def make_web(place: Place, routes: Sequence[HTTPRouteHandler | WebsocketRouteHandler] = ROUTES) -> Litestar:
    """The ASGI application."""
    web = Litestar(
        route_handlers=routes,
        state=State({"place": place, "parameters": {}, "methods": {}}),
        dependencies={
            "place": Provide(place_of, sync_to_thread=False),
            "entry": Provide(entry_of, sync_to_thread=False),
            "address": Provide(address_only, sync_to_thread=False),
            "subject": Provide(subject_of),
        },
        before_request=check_request,
        before_send=[_secure],
        exception_handlers={
            PortfolioSchedulerError: errors.ours,
            psycopg.Error: errors.of_database,
            HTTPException: errors.of_http,
            RecursionError: errors.too_deep,
            Exception: errors.unexpected,
        },
        openapi_config=document.CONFIG,
        plugins=[document.StrictBodies()],
        request_max_body_size=BODY_LIMIT,
        logging_config=None,
    )
    document.tell_of_files(web.openapi_schema)
    web.state.parameters = declared_parameters(web)
    web.asgi_handler = Front(web.asgi_handler)
    web.state.methods = {route.path_format: ", ".join(sorted(route.methods)) for route in web.routes}
    return web


def make_place(app: App, pool: Pool, lines: Lines, pulse: Pulse | None, strictness: Strictness = STRICT) -> Place:
    now = app.clock.now()
    keys = Keyring.open_keys(app.settings, now)
    issuer = app.settings.url
    return Place(
        app=app,
        pool=pool,
        lines=lines,
        keyring=keys,
        signer=Signer(keys, issuer),
        verifier=Verifier(keys, issuer),
        factors=FactorBox.open_keys(app.settings, now),
        cost=strictness.cost,
        pace=Pace(strictness.requests_a_minute),
        live=Live(pool, app.clock),
        pulse=pulse,
        bodies=Bodies(),
        repeats=Repeats(),
        revision=shipped()[-1],
    )


@asynccontextmanager
async def listening(
    app: App, host: str, port: int, pulse: Pulse | None, strictness: Strictness = STRICT
) -> AsyncIterator[str]:
    """Answer requests inside this block. Yields the address; port 0 takes any free one."""
    async with opened_place(app, pulse, strictness) as place, serving(make_web(place), host, port) as address:
        yield address


@asynccontextmanager
async def opened_place(app: App, pulse: Pulse | None, strictness: Strictness = STRICT) -> AsyncIterator[Place]:
    """What the routes work with, its connections open."""
    pool = make_pool(app.api_conninfo, "api", max_size=CONNECTIONS, wait_seconds=PATIENCE_SECONDS, name="web")
    hearing = make_pool(app.api_conninfo, "api", max_size=1, wait_seconds=PATIENCE_SECONDS, name="live")
    async with opened(pool), opened(hearing), opened_lines(app.api_conninfo, name="reads") as lines:
        place = make_place(app, pool, lines, pulse, strictness)
        async with place.live.hearing(hearing):
            yield place


@asynccontextmanager
async def serving(web: Litestar, host: str, port: int) -> AsyncIterator[str]:
    """Granian's server in this process and this event loop. Yields the address."""
    host, port = _free(host, port)
    server = Server(web, address=host, port=port, interface=Interfaces.ASGI, log_enabled=False, websockets=True)
    task = asyncio.create_task(server.serve(), name="web")
    try:
        await _until_it_answers(task, host, port)
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        server.stop()  # type: ignore[no-untyped-call]
        done, _ = await asyncio.wait([task], timeout=STOP_SECONDS)
        if not done:  # a client that does not hang up
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


_SECURITY = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_OVER_TLS = [*_SECURITY, (b"strict-transport-security", STRICT_TRANSPORT.encode())]


async def _secure(message: Message, scope: Scope) -> None:
    """A route may say otherwise of a header, as the pages do, by setting it itself."""
    if message["type"] == "http.response.start":
        given = list(message["headers"])  # raw: building an object of them for each answer costs more than the read
        if scope["type"] == ScopeType.HTTP and scope["method"] == "OPTIONS":
            given = _with_all_methods(given, scope)
        named = {name.lower() for name, _ in given}
        place: Place = scope["litestar_app"].state.place
        wanted = _OVER_TLS if place.app.settings.url.startswith("https:") else _SECURITY
        message["headers"] = [*given, *(pair for pair in wanted if pair[0] not in named)]


def _with_all_methods(headers: list[tuple[bytes, bytes]], scope: Scope) -> list[tuple[bytes, bytes]]:
    """The framework names those of the first of several handlers of a path only."""
    methods = scope["litestar_app"].state.methods.get(scope.get("path_template"), "").encode()
    return [(name, methods if name.lower() == b"allow" else value) for name, value in headers]


def _free(host: str, port: int) -> tuple[str, int]:
    """The host's address and a port that nobody uses.

    Granian shares its port with whoever else asks for it (SO_REUSEPORT); a plain bind tells whether it is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[:2], family=family) as probe:
            host, port = probe.getsockname()[:2]
    except OSError as error:
        raise SetupProblem(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. "
            "Choose another with --host and --port, or PORTFOLIO_SCHEDULER_HOST and PORTFOLIO_SCHEDULER_PORT."
        ) from error
    return host, port


async def _until_it_answers(task: asyncio.Task[None], host: str, port: int) -> None:
    connect = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    for _ in range(START_SECONDS * 50):
        if task.done():
            task.result()
            raise SetupProblem(f"The web server on {host}, port {port}, ended before it began.")
        with suppress(OSError):
            _, writer = await asyncio.open_connection(connect, port)
            writer.close()
            return
        await asyncio.sleep(0.02)
    raise SetupProblem(f"The web server on {host}, port {port}, did not answer within {START_SECONDS} s.")
