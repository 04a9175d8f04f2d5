"""The simulated Groww over HTTP, on the loopback interface only. Tests start it in their own process with
`running`; the command `simulator` keeps it open."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from portfolio_scheduler.clock import IST
from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.simulator import control, routes
from portfolio_scheduler.simulator.accounts import Account, Login
from portfolio_scheduler.simulator.answers import (
    Answer,
    Refusal,
    bad_request,
    bare,
    not_found,
)
from portfolio_scheduler.simulator.calls import Call
from portfolio_scheduler.simulator.faults import SPOILS_ANSWER, Fault, Faults, spoil
from portfolio_scheduler.simulator.limits import CallType, Limits
from portfolio_scheduler.simulator.options import SimulatorOptions
from portfolio_scheduler.simulator.tokens import Tokens
from portfolio_scheduler.simulator.world import World

HOST = "127.0.0.1"
REQUESTS_KEPT = 100_000
BODY_CAP_BYTES = 64 << 20
CHANGELOG = {"info": ["This is a simulator; no order reaches an exchange."], "warning": []}


class Request(NamedTuple):
    """A call that was made, for tests that count them."""

    method: str
    path: str
    query: str
    account: int | None
    status: int
    fault: str | None


class Simulator:
    """A running simulator. Its clock, faults and accounts can be driven from here or over `/_sim/`."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.world = World(options)
        self.tokens = Tokens(self.world)
        self.faults = Faults()
        self.limits = Limits() if options.limits else None
        self.requests: deque[Request] = deque(maxlen=REQUESTS_KEPT)
        self.port = options.port

    @property
    def url(self) -> str:
        """Where the Trade API begins, with its version."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def control_url(self) -> str:
        return f"http://{HOST}:{self.port}/_sim"

    @property
    def accounts(self) -> list[Login]:
        return self.world.logins

    @property
    def now(self) -> datetime:
        return self.world.clock.now().astimezone(IST)

    def account(self, number: int) -> Account:
        """The account as it is now, to look into."""
        return self.world.account(number)

    def set_clock(self, at: datetime) -> None:
        self.world.set_clock(at)

    def set_ticking(self, *, ticking: bool = True) -> None:
        self.world.set_ticking(ticking=ticking)

    def approve(self, number: int) -> None:
        self.tokens.approve(self.world.login(number).api_key)

    def token(self, number: int) -> str:
        """An access token without logging in, as the owner would copy it from the web page."""
        return str(self.tokens.issue(self.world.login(number).number)["token"])

    def add_fault(self, fault: Fault) -> None:
        if fault.api_key is not None:
            fault.account = self.world.number_of_key.get(fault.api_key)
            if fault.account is None:
                raise InvalidInput("No account has this API key.")
        self.faults.waiting.append(fault)

    def requests_by_path(self) -> dict[str, int]:
        return dict(Counter(f"{request.method} {request.path}" for request in self.requests))

    def logins(self) -> list[dict[str, Any]]:
        """Everything a client needs to log in to each account."""
        return [{**msgspec.to_builtins(login), "method": login.method} for login in self.accounts]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        method, path = request.method, request.path
        body = await request.read() if request.can_read_body else b""
        if path.startswith("/_sim/"):
            return self._response(control.answer(self, method, path, body))
        path = path.rstrip("/")
        number = self._caller(request)
        fault = self.faults.next_for(method, path, number) if self.faults.waiting else None
        answer = Answer(b"")
        if fault is None or fault.kind in SPOILS_ANSWER:
            answer = self._answer(request, method, path, number, body)
        response: web.StreamResponse | Answer = answer
        if fault is not None:
            response = await spoil(fault, request, answer, self._date())
        if isinstance(response, Answer):
            response = self._response(response)
        self.requests.append(
            Request(method, path, request.query_string, number, response.status, fault.kind if fault else None)
        )
        return response

    def _response(self, answer: Answer) -> web.Response:
        headers = {"Date": self._date()} | (answer.headers or {})
        return web.Response(body=answer.body, status=answer.status, content_type=answer.content_type, headers=headers)

    def _date(self) -> str:
        return format_datetime(self.now.astimezone(UTC), usegmt=True)

    def _caller(self, request: web.BaseRequest) -> int | None:
        """Whose token or key the call carries, None if nobody's."""
        authorization = request.headers.get("Authorization", "")
        number = self.tokens.number_of_token(authorization)
        return number if number is not None else self.world.number_of_key.get(authorization.removeprefix("Bearer "))

    def _answer(self, request: web.BaseRequest, method: str, path: str, number: int | None, body: bytes) -> Answer:
        try:
            found = routes.find(method, path)
            if found is None:
                return self._answer_special(request, (method, path), number, body)
            self._check_version(request)
            session = self.tokens.session(request.headers.get("Authorization", ""))
            route, tail = found
            now = self.world.now
            if self.limits is not None:
                self.limits.count(str(session.number), route.call_type, now)
            return route.answer(Call(self.world, self.world.account(session.number), now, request.query, tail, body))
        except Refusal as e:
            return e.answer

    def _answer_special(
        self, request: web.BaseRequest, target: tuple[str, str], number: int | None, body: bytes
    ) -> Answer:
        """The calls that are not enveloped, and those that do not exist."""
        authorization = request.headers.get("Authorization", "")
        if target in routes.INSTRUMENTS:
            return Answer(self.world.instruments.csv_of(self.world.today), content_type="text/csv")
        if target == routes.CHANGELOG:
            return bare(CHANGELOG)
        if target == routes.MINT:
            if self.limits is not None:
                self.limits.count(str(number), CallType.AUTHENTICATION, self.world.now)
            return self.tokens.mint(authorization, body)
        if target == routes.SOCKET_TOKEN:
            return self._socket_token(authorization)
        raise not_found(f"There is no {target[0]} {target[1]}")

    def _socket_token(self, authorization: str) -> Answer:
        number = self.tokens.session(authorization).number
        subscription = sha256(f"{self.options.seed}/{number}/feed".encode()).hexdigest()[:24]
        issued = self.tokens.issue(number)
        return bare({"token": issued["token"], "subscriptionId": subscription, "expiry": issued["expiry"]})

    def _check_version(self, request: web.BaseRequest) -> None:
        if self.world.quirks.strict_version_header and request.headers.get("X-API-VERSION") != "1.0":
            raise bad_request("Missing header: X-API-VERSION")


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """Tests put answers of many megabytes; aiohttp's own cap is one."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_CAP_BYTES)


@asynccontextmanager
async def running(options: SimulatorOptions | None = None) -> AsyncIterator[Simulator]:
    """A simulator that answers over HTTP inside the block."""
    simulator = Simulator(options or SimulatorOptions())
    server = web.Server(simulator.handle, request_factory=_request, access_log=None)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, simulator.port).start()
        simulator.port = int(runner.addresses[0][1])
        yield simulator
    finally:
        await runner.cleanup()


__all__ = ["Fault", "Request", "Simulator", "SimulatorOptions", "running"]
