"""What a request may look like, checked before its route runs: declared parameters only, JSON bodies only.

The declared ones are read from the OpenAPI document, so the two cannot differ.
"""

from typing import Any

from litestar import Litestar, Request
from litestar.exceptions import HTTPException
from litestar.openapi.spec import Parameter

from portfolio_scheduler.errors import InvalidInput

PLAIN = r"^[^\x00-\x1f\x7f]*$"  # of texts in a body: without control characters, of which the database takes no NUL
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
    operations: dict[str, frozenset[str]] = request.app.state.parameters
    declared = operations.get(handler.fn.__name__)  # which is what the document calls the operation
    if declared is not None and (unknown := sorted(set(request.query_params) - declared)):
        raise InvalidInput(
            f"`{unknown[0][:50]}` is not a parameter of this address; it has {', '.join(sorted(declared)) or 'none'}."
        )
    if request.method in WITH_BODY and _has_body(request):
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPException(status_code=415, detail="Send the body as application/json.")
        try:
            (await request.body()).decode()
        except UnicodeDecodeError as e:
            raise InvalidInput("The body is not UTF-8, as JSON is.") from e


def _has_body(request: Request[Any, Any, Any]) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
