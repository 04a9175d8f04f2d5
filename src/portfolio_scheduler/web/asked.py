"""What a request may look like, checked before its route runs: declared parameters only, JSON bodies only.

The declared ones are read from the OpenAPI document, so the two cannot differ.
"""

from typing import Any
from urllib.parse import urlsplit

from litestar import Litestar, Request
from litestar.exceptions import HTTPException
from litestar.openapi.spec import Parameter

from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.settings import LOOPBACK, Settings

PLAIN = r"^[^\x00-\x1f\x7f]*$"  # of texts in a body: without control characters, of which the database takes no NUL
JSON = "application/json"
OF_ANY_HOST = {"alive", "ready"}  # probes ask by whatever address the machine has
WITH_BODY = {"POST", "PUT", "PATCH", "DELETE"}


def declared_parameters(web: Litestar) -> dict[str, frozenset[str]]:
    """The names of the query parameters of each operation, by its id."""
    found = {}
    for path in (web.openapi_schema.paths or {}).values():
        for operation in (path.get, path.post, path.put, path.patch, path.delete):
            if operation is not None and operation.operation_id is not None:
                parameters = (p for p in operation.parameters or [] if isinstance(p, Parameter))
                found[operation.operation_id] = frozenset(p.name for p in parameters if p.param_in == "query")
    return found


async def check_request(request: Request[Any, Any, Any]) -> None:
    """Before every route: unknown parameters and bodies of another kind are refused, not ignored."""
    handler = request.route_handler
    _check_host(request)
    operations: dict[str, frozenset[str]] = request.app.state.parameters
    declared = operations.get(handler.fn.__name__)  # which is what the document calls the operation
    if declared is not None and (unknown := sorted(set(request.query_params) - declared)):
        raise InvalidInput(
            f"`{unknown[0][:50]}` is not a parameter of this address; it has {', '.join(sorted(declared)) or 'none'}."
        )
    names = [name for name, _ in request.query_params.multi_items()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"`{twice[0][:50]}` is there more than once; which of the two is meant, nobody knows.")
    if request.method in WITH_BODY and _has_body(request):
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        expected = handler.opt.get("body_type", JSON)
        if kind != expected:
            raise HTTPException(status_code=415, detail=f"Send the body as {expected}.")
        try:
            (await request.body()).decode()
        except UnicodeDecodeError as e:
            raise InvalidInput("The body is not UTF-8, as JSON is.") from e


def _check_host(request: Request[Any, Any, Any]) -> None:
    """Pages of others that make their name point to this machine (DNS rebinding) are answered nothing."""
    if is_host_of(request.app.state.place.app.settings, request.headers.get("host", "")):
        return
    if request.route_handler.fn.__name__ not in OF_ANY_HOST:
        raise InvalidInput(
            "This is not the address of this installation: PORTFOLIO_SCHEDULER_URL says by which it is reached, and a "
            "proxy in front of it must pass on the header Host."
        )


def is_host_of(settings: Settings, host: str) -> bool:
    """Whether a header `Host` names this installation, or the machine itself."""
    name = _name_of(host)
    return name in LOOPBACK or name == urlsplit(settings.url).hostname


def _name_of(host: str) -> str:
    """The header without its port, in small letters."""
    name, bracket, _ = host.lower().partition("]")
    return name.removeprefix("[") if bracket else name.partition(":")[0]


def _has_body(request: Request[Any, Any, Any]) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
