"""Errors as RFC 9457 problem documents. The only place that knows HTTP statuses of our errors."""

from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from portfolio_scheduler.errors import (
    BrokerError,
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    PortfolioSchedulerError,
    SetupProblem,
)
from portfolio_scheduler.log import logger

PROBLEM = "application/problem+json"

# The first that fits counts.
STATUSES: tuple[tuple[type[PortfolioSchedulerError], HTTPStatus], ...] = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (InvalidInput, HTTPStatus.BAD_REQUEST),
    (NotAllowed, HTTPStatus.FORBIDDEN),
    (BrokerError, HTTPStatus.BAD_GATEWAY),
    (SetupProblem, HTTPStatus.SERVICE_UNAVAILABLE),
)

log = logger()


def problem(status: HTTPStatus, detail: str | None = None) -> Response[dict[str, Any]]:
    body = {"type": "about:blank", "title": status.phrase, "status": status.value}
    return Response(body | ({"detail": detail} if detail else {}), status_code=status.value, media_type=PROBLEM)


def ours(_: Request[Any, Any, Any], error: PortfolioSchedulerError) -> Response[dict[str, Any]]:
    """Messages about the installation are for its owner's log, not for whoever asks."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    return problem(status, None if status >= HTTPStatus.INTERNAL_SERVER_ERROR else error.message)


def of_http(_: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """What the framework refuses: unknown addresses, methods, malformed input."""
    answer = problem(
        HTTPStatus(error.status_code), error.detail if error.status_code == HTTPStatus.BAD_REQUEST else None
    )
    answer.headers.update(error.headers or {})
    return answer


def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """A bug. Its text may hold anything, so it goes to the log and not to the caller."""
    log.error("request failed", path=request.url.path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR)
