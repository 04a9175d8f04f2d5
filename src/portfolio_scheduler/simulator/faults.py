"""Faults on demand: a test says what goes wrong with the next matching calls."""

import asyncio
import gzip
from random import Random
from typing import Literal

import msgspec
from aiohttp import web

from portfolio_scheduler.simulator.answers import JSON, Answer, failure, gateway_refusal

Kind = Literal[
    "status", "failure", "gateway", "html", "empty", "null_payload", "truncated", "cut", "drop", "delay", "drip",
    "endless", "raw", "redirect", "gzip_bomb", "edit",
]  # fmt: skip
GZIP_BOMB_BYTES = 1 << 30
LOOK_SECONDS = 0.05  # how often a delayed answer asks whether it may go
# With these the call has taken effect and only its answer suffers; with all others it never reached the service.
SPOILS_ANSWER = frozenset({"edit", "truncated", "cut", "drop", "delay", "drip", "endless"})


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong, with which calls, and how often."""

    kind: Kind
    path: str = "/v1"  # calls whose path begins so
    method: str | None = None
    api_key: str | None = None  # only calls of the account with this key
    account: int | None = None  # the same by number
    times: int | None = 1  # None: until cleared
    after: int = 0  # let so many matching calls pass first
    percent: int = 100  # of the matching calls, drawn by `seed`: the same ones each time
    seed: int = 0
    status: int | None = None
    code: str = "GA000"
    message: str = "Something went wrong."
    body: str | None = None  # text of a raw answer, or `body_base64`
    body_base64: bytes | None = None
    content_type: str = JSON
    headers: dict[str, str] = {}
    rows: str | None = None  # of `edit`: the payload's list whose rows are edited, e.g. "holdings"; else the payload
    values: dict[str, msgspec.Raw] = {}  # of `edit`: fields to set, to any JSON value
    without: list[str] = []  # of `edit`: fields to leave out
    seconds: float = 0  # of `delay`, and between the bytes of `drip`

    def matches(self, method: str, path: str, number: int | None) -> bool:
        return (
            path.startswith(self.path)
            and (self.method is None or self.method == method)
            and (self.account is None or self.account == number)
        )


class Faults:
    def __init__(self) -> None:
        self.waiting: list[Fault] = []
        self._chances: dict[int, Random] = {}  # by the seed of the faults that do not always happen

    def next_for(self, method: str, path: str, number: int | None) -> Fault | None:
        """The fault for this call, counted down."""
        for fault in self.waiting:
            if not fault.matches(method, path, number):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.percent < 100 and not self._happens(fault):
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.waiting.remove(fault)
            return fault
        return None

    def _happens(self, fault: Fault) -> bool:
        chance = self._chances.setdefault(fault.seed, Random(fault.seed))  # noqa: S311 - the same ones each time
        return chance.randrange(100) < fault.percent


async def spoil(fault: Fault, request: web.BaseRequest, answer: Answer, date: str) -> web.StreamResponse | Answer:
    """The call's answer with the fault in it."""
    match fault.kind:
        case "delay":
            await _delay(fault)
            return answer
        case "drop":
            return _drop(request)
        case "cut" | "drip" | "endless":
            return await _stream(fault, request, answer, date)
        case _:
            return _replacement(fault, answer)


async def _delay(fault: Fault) -> None:
    """Whoever holds the fault may end the wait by setting its seconds to 0: no test has to guess how long is enough."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (left := began + fault.seconds - loop.time()) > 0:  # noqa: ASYNC110 - set from another thread, too
        await asyncio.sleep(min(left, LOOK_SECONDS))


def _replacement(fault: Fault, answer: Answer) -> Answer:
    status = fault.status
    match fault.kind:
        case "status" | "raw":
            body = fault.body_base64 if fault.body_base64 is not None else (fault.body or "").encode()
            return Answer(body, status or 200, fault.content_type, fault.headers)
        case "failure":
            return failure(status or 200, fault.code, fault.message)._replace(headers=fault.headers)
        case "gateway":
            return gateway_refusal(status or 401, fault.code, fault.message)._replace(headers=fault.headers)
        case "html":
            page = f"<html><head><title>{status or 502}</title></head><body>{fault.message}</body></html>"
            return Answer(page.encode(), status or 502, "text/html", fault.headers)
        case "empty":
            return Answer(b"", status or 200, fault.content_type, fault.headers)
        case "null_payload":
            return Answer(b'{"status":"SUCCESS","payload":null}', status or 200)
        case "truncated":
            return answer._replace(body=answer.body[: len(answer.body) // 2])
        case "edit":
            return answer._replace(body=_edited(fault, answer.body))
        case "redirect":
            return Answer(b"", status or 302, fault.content_type, fault.headers)
        case _:
            packed = gzip.compress(bytes(GZIP_BOMB_BYTES), 1, mtime=0)
            return Answer(packed, 200, JSON, {"Content-Encoding": "gzip"})


def _edited(fault: Fault, body: bytes) -> bytes:
    """The same answer with some fields set or left out; everything else keeps its bytes."""
    envelope = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    payload = msgspec.json.decode(envelope["payload"], type=dict[str, msgspec.Raw])
    if fault.rows is None:
        payload = _edited_fields(fault, payload)
    elif fault.rows in payload:
        rows = msgspec.json.decode(payload[fault.rows], type=list[dict[str, msgspec.Raw]])
        payload[fault.rows] = msgspec.Raw(msgspec.json.encode([_edited_fields(fault, row) for row in rows]))
    return msgspec.json.encode(envelope | {"payload": msgspec.Raw(msgspec.json.encode(payload))})


def _edited_fields(fault: Fault, fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    return {name: value for name, value in (fields | fault.values).items() if name not in fault.without}


def _drop(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _stream(fault: Fault, request: web.BaseRequest, answer: Answer, date: str) -> web.StreamResponse:
    """Answers that begin well and never end well."""
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type, "Date": date})
    if fault.kind != "endless":
        response.content_length = len(answer.body)
    await response.prepare(request)
    try:
        if fault.kind == "cut":
            await response.write(answer.body[: len(answer.body) // 2])
            _drop(request)
        elif fault.kind == "drip":
            for place in range(len(answer.body)):
                await response.write(answer.body[place : place + 1])
                await asyncio.sleep(fault.seconds)
        else:
            while True:
                await response.write(b" " * 65_536)
                await asyncio.sleep(fault.seconds)
    except ConnectionError:
        _drop(request)
    return response
