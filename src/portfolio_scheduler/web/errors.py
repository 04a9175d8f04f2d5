"""Errors as RFC 9457 problem documents. The only place that knows HTTP statuses of our errors."""

import re
from http import HTTPStatus
from typing import Any

import psycopg
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from msgspec import UNSET, Struct, UnsetType

from portfolio_scheduler.errors import (
    BrokerError,
    Conflict,
    DatabaseUnavailable,
    InvalidInput,
    LoginRequired,
    NotAllowed,
    NotFound,
    NoWorker,
    PortfolioSchedulerError,
    QueueFull,
    RecentLoginRequired,
    SecondFactorMissing,
    SecondFactorRequired,
    SetupProblem,
    StorageFull,
    TooMany,
    Unprocessable,
)
from portfolio_scheduler.log import logger
from portfolio_scheduler.web.addresses import address_of
from portfolio_scheduler.web.place import Place

PROBLEM = "application/problem+json"

# The first that fits counts.
STATUSES: tuple[tuple[type[PortfolioSchedulerError], HTTPStatus], ...] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (Unprocessable, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InvalidInput, HTTPStatus.BAD_REQUEST),
    (LoginRequired, HTTPStatus.UNAUTHORIZED),
    (TooMany, HTTPStatus.TOO_MANY_REQUESTS),
    (NotAllowed, HTTPStatus.FORBIDDEN),
    (BrokerError, HTTPStatus.BAD_GATEWAY),
    (NoWorker, HTTPStatus.SERVICE_UNAVAILABLE),
    (QueueFull, HTTPStatus.SERVICE_UNAVAILABLE),
    (SetupProblem, HTTPStatus.SERVICE_UNAVAILABLE),
)
# What somebody outside may be told of an installation that does not work, by `type` of the problem. None: what it says
# itself, which was written for them.
UNAVAILABLE: tuple[tuple[type[PortfolioSchedulerError], str, str | None], ...] = (
    (NoWorker, "no_worker", None),
    (QueueFull, "queue_full", None),
    (BrokerError, "broker", None),
    (StorageFull, "storage_full", "The disk of the database is full; whoever runs this installation must make room."),
    (DatabaseUnavailable, "database_unavailable", "The database does not answer, or not in time; try again."),
)
CODES = {
    HTTPStatus.BAD_REQUEST: "invalid_input",
    HTTPStatus.UNAUTHORIZED: "login_required",
    HTTPStatus.FORBIDDEN: "not_allowed",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.UNPROCESSABLE_ENTITY: "unprocessable",
    HTTPStatus.TOO_MANY_REQUESTS: "too_many",
    HTTPStatus.INTERNAL_SERVER_ERROR: "unexpected",
    HTTPStatus.BAD_GATEWAY: "broker",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}

# Refusals that may be somebody's attempt to get past a control.
TRACED = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)

# What a client can do something about by itself has a word of its own.
SPECIFIC: tuple[tuple[type[PortfolioSchedulerError], str], ...] = (
    (SecondFactorRequired, "second_factor_required"),
    (SecondFactorMissing, "second_factor_missing"),
    (RecentLoginRequired, "recent_login_required"),
)

log = logger()


class Fault(Struct, frozen=True, kw_only=True):
    """One thing wrong with a request."""

    field: str  # of the body, or the parameter's name
    reason: str


class Problem(Struct, frozen=True, kw_only=True):
    """What went wrong (RFC 9457). `type` is a fixed word for programs, `detail` a sentence for people."""

    type: str
    title: str
    status: int
    detail: str | UnsetType = UNSET
    errors: list[Fault] | UnsetType = UNSET


def problem(
    status: HTTPStatus, detail: str | None = None, *, code: str | None = None, errors: list[Fault] | None = None
) -> Response[Problem]:
    body = Problem(
        type=code or CODES.get(status, "about:blank"),
        title=status.phrase,
        status=status.value,
        detail=detail or UNSET,
        errors=errors or UNSET,
    )
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return Response(body, status_code=status.value, media_type=PROBLEM, headers=headers)


def ours(request: Request[Any, Any, Any], error: PortfolioSchedulerError) -> Response[Problem]:
    """Messages about the installation are for its owner's log, not for whoever asks."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        code = next((code for kind, code in SPECIFIC if isinstance(error, kind)), None)
        _note_refusal(request, status, code)
        answer = problem(status, error.message, code=code)
        if isinstance(error, TooMany):
            answer.headers["Retry-After"] = str(error.retry_after_seconds)
        return answer
    log.warning("request failed", path=request.scope["path"], error=type(error).__name__, reason=error.message)
    for kind, code, detail in UNAVAILABLE:
        if isinstance(error, kind):
            return _later(problem(status, detail or error.message, code=code))
    return problem(status)


def of_database(request: Request[Any, Any, Any], error: psycopg.Error) -> Response[Problem]:
    """A statement that took too long, a lock that was not given, a connection that broke: later it may work."""
    if isinstance(error, psycopg.errors.DiskFull):
        return ours(request, StorageFull())
    if isinstance(error, psycopg.OperationalError):  # with it also: cancelled by a timeout, and no lock in time
        return ours(request, DatabaseUnavailable(str(error).partition("\n")[0]))
    return unexpected(request, error)


def _note_refusal(request: Request[Any, Any, Any], status: HTTPStatus, code: str | None) -> None:
    """Whoever tries what is not theirs, or what no client of ours sends, leaves a trace; what they sent does not."""
    if status in TRACED:
        place: Place = request.app.state.place
        log.info(
            "request refused",
            path=request.scope["path"],
            status=status.value,
            kind=code or CODES.get(status, ""),
            address=address_of(request, place.app.settings.proxies),
            user=request.scope["state"].get("user"),
        )


def _later(answer: Response[Problem]) -> Response[Problem]:
    answer.headers["Retry-After"] = "5"
    return answer


def of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """What the framework refuses: unknown addresses, methods, malformed input."""
    status = HTTPStatus(error.status_code)
    _note_refusal(request, status, None)
    told = status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
    answer = problem(status, error.detail if told else None, errors=_faults(error.extra))
    answer.headers.update(error.headers or {})
    return answer


_VALUE = re.compile(r" '.*'$", re.DOTALL)  # with which msgspec repeats a word that is none of the allowed


def _faults(extra: Any) -> list[Fault] | None:
    """Which fields the framework found wrong. What was sent is not repeated: it may be a secret."""
    if not isinstance(extra, list):
        return None
    return [
        Fault(field=str(found.get("key") or "body"), reason=_VALUE.sub("", str(found.get("message", ""))))
        for found in extra
        if isinstance(found, dict)
    ]


def too_deep(_: Request[Any, Any, Any], __: RecursionError) -> Response[Problem]:
    """What the JSON decoder says of a body that is nested a thousand times; none of ours is three times."""
    return problem(HTTPStatus.BAD_REQUEST, "The body is nested too deeply.")


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """A bug. Its text may hold anything, so it goes to the log and not to the caller."""
    log.error("request failed", path=request.scope["path"], exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR)


def _spec(status: HTTPStatus) -> ResponseSpec:
    return ResponseSpec(
        data_container=Problem,
        media_type=PROBLEM,
        generate_examples=False,
        description=status.phrase,
    )


# What every route that asks for a login may answer besides its own; those of more say so in their declaration.
PROBLEMS = {
    status.value: _spec(status)
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
}
WRITE_PROBLEMS = PROBLEMS | {
    status.value: _spec(status)
    for status in (
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    )
}
# Of routes that have a worker ask the broker.
BROKER_PROBLEMS = WRITE_PROBLEMS | {HTTPStatus.BAD_GATEWAY.value: _spec(HTTPStatus.BAD_GATEWAY)}
