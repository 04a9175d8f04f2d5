"""What a request may look like, checked before its route runs: declared parameters only, JSON bodies of exact types.

The declared ones are read from the OpenAPI document, so the two cannot differ.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from litestar import Litestar, Request
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.spec import OpenAPIType, Parameter, Schema

from portfolio_scheduler.errors import InvalidInput
from portfolio_scheduler.settings import LOOPBACK, Settings

PLAIN = r"^[^\x00-\x1f\x7f]*$"  # of texts in a body: without control characters, of which the database takes no NUL
JSON = "application/json"
OF_ANY_HOST = {"alive", "ready"}  # probes ask by whatever address the machine has
TEXT, INSTANT = "text", "date-time"
WITH_BODY = {"POST", "PUT", "PATCH", "DELETE"}


_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]*))(?::\d{1,5})?")
_PLACE = re.compile(r" - at `\$\.?(.*)`$")  # where in a body something is wrong, as msgspec says it


def declared_parameters(web: Litestar) -> dict[str, dict[str, str | None]]:
    """The query parameters of each operation, by its id: their names, and of what kind each is."""
    found = {}
    for path in (web.openapi_schema.paths or {}).values():
        for operation in (path.get, path.post, path.put, path.patch, path.delete):
            if operation is not None and operation.operation_id is not None:
                listed = [p for p in operation.parameters or [] if isinstance(p, Parameter) and p.param_in == "query"]
                found[operation.operation_id] = {p.name: _kind_of(p.schema) for p in listed}
    return found


def _kind_of(schema: Any) -> str | None:
    """TEXT where any will do, INSTANT; else None, as of words, numbers, dates and ids."""
    if not isinstance(schema, Schema):
        return None
    kinds = schema.type if isinstance(schema.type, list) else [schema.type]
    if OpenAPIType.STRING in kinds and schema.enum is None:
        return {None: TEXT, INSTANT: INSTANT}.get(schema.format)
    return next((kind for each in schema.one_of or () if (kind := _kind_of(each)) is not None), None)


async def check_request(request: Request[Any, Any, Any]) -> None:
    """Before every route: unknown parameters and bodies of another kind are refused, not ignored."""
    handler = request.route_handler
    _check_host(request)
    operations: dict[str, dict[str, str | None]] = request.app.state.parameters
    declared = operations.get(handler.fn.__name__)  # which is what the document calls the operation
    _check_parameters(list(request.query_params.multi_items()), declared)
    if request.method in WITH_BODY and _has_body(request):
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        expected = handler.opt.get("body_type", JSON)
        if kind != expected:
            raise HTTPException(status_code=415, detail=f"Send the body as {expected}.")
        content = await request.body()
        try:
            content.decode()
        except UnicodeDecodeError as e:
            raise InvalidInput("The body is not UTF-8, as JSON is.") from e
        if expected == JSON and handler.parsed_data_field is not None:
            _check_types(content, handler.parsed_data_field.annotation)


def _check_parameters(given: Sequence[tuple[str, str]], declared: Mapping[str, str | None] | None) -> None:
    """Of an address that the document does not name any parameter will do, once."""
    names = [name for name, _ in given]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"`{twice[0][:50]}` is there more than once; which of the two is meant, nobody knows.")
    if declared is None:
        return
    if unknown := sorted(set(names) - declared.keys()):
        raise InvalidInput(
            f"`{unknown[0][:50]}` is not a parameter of this address; it has {', '.join(sorted(declared)) or 'none'}."
        )
    for name, value in given:
        _check_value(name, value, declared[name])


def _check_value(name: str, value: str, kind: str | None) -> None:
    """The framework takes these for no parameter, or for seconds, and would answer another question."""
    if not value or (value.lower() == "null" and kind != TEXT):
        raise InvalidInput(f"`{name}` is {value or 'empty'}; leave it out instead.")
    if kind == INSTANT and ":" not in value:
        raise InvalidInput(f"`{name}` is no instant as RFC 3339 writes them: 2026-04-24T16:00:00Z.")


def _check_types(content: bytes, kind: Any) -> None:
    """The framework would take 0 for false, "7" for 7 and a number of seconds for an instant."""
    try:
        msgspec.convert(_JSON.decode(content), kind)
    except msgspec.ValidationError as e:
        reason = str(e)
        place = _PLACE.search(reason)
        found = {"key": place[1] if place else "", "message": _PLACE.sub("", reason), "source": "body"}
        raise ValidationException(detail="The body is not as it should be.", extra=[found]) from e
    except msgspec.DecodeError as e:
        raise InvalidInput("The body is not JSON.") from e


def _whole(text: str) -> int | float:
    """For JSON 7.0 is a whole number, as 7 is."""
    number = float(text)
    return int(number) if number.is_integer() else number


_JSON = msgspec.json.Decoder(float_hook=_whole)


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
    """The header without its port, in small letters; nothing of one that is none."""
    found = _HOST.fullmatch(host.lower())
    return (found[1] or found[2]) if found else ""


def _has_body(request: Request[Any, Any, Any]) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
