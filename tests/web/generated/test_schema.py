"""What the OpenAPI document says of every operation is so, whatever is sent: schemathesis, all checks, three roles."""

import copy
import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest

from tests.scale import PROOF, scaled
from tests.web.generated.operations import operations
from tests.web.generated.town import Town, begins_and_ends

# A user who owns, a viewer, and an administrator: twenty examples of each operation between them, by turns; in a proof
# two hundred each.
ROLES = ("asha", "vimala", "anand") if PROOF else ("asha vimala anand",)
EXAMPLES = scaled(200)
DAYS = {"date": ["2026-04-20", "2026-04-21"], "date-time": ["2026-04-20T10:30:00Z", "2026-04-21T10:30:00Z"]}


def _format(schema: dict[str, Any]) -> str | None:
    """What kind of text a parameter is, whether or not it may be left out."""
    kinds = [schema, *schema.get("oneOf", ())]
    return next((kind["format"] for kind in kinds if "format" in kind), None)


def sendable(town: Town, document: dict[str, Any]) -> dict[str, Any]:
    """The document with what it cannot say: which ids, cursors and days there are, so that what is tried meets some."""
    told, ids = copy.deepcopy(document), town.ids_of("asha")
    for endless in [operation for operation in operations(document) if operation.is_endless]:
        del told["paths"][endless.path][endless.method.lower()]
    for path in told["paths"].values():
        for method, operation in path.items():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "cursor":
                    parameter["schema"] = {"enum": [None]}
                elif days := DAYS.get(_format(parameter["schema"])):
                    parameter["schema"] = {"enum": days}
                elif method == "delete" and _format(parameter["schema"]) == "uuid":
                    # The tool would take ids of earlier answers only, until nothing is left; those come by its links.
                    absent = [str(uuid5(NAMESPACE_OID, str(number))) for number in range(2 * EXAMPLES)]
                    parameter["schema"] = {"enum": absent}
                elif found := ids.get(parameter["name"]):
                    if _format(parameter["schema"]):
                        parameter["schema"] = {"anyOf": [{"enum": [found]}, parameter["schema"]]}
                    else:  # of a text the tool would take any other for wrong
                        parameter["example"] = found
    return told


LYING = {
    "openapi": "3.1.0",
    "info": {"title": "A twin that lies", "version": "1"},
    "paths": {
        "/thing": {
            "get": {
                "operationId": "show_thing",
                "responses": {
                    "200": {
                        "description": "A thing.",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {"price": {"type": "string"}},
                                    "required": ["price"],
                                }
                            }
                        },
                    },
                },
            }
        }
    },
}


class Lie:
    """An application that answers the same to everything."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await begins_and_ends(receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


LIES = {
    "Response violates schema": Lie(200, b'{"price": 1.5}'),
    "Undocumented status code": Lie(418, b"{}"),
    "Server error": Lie(500, b"{}"),
}


@pytest.fixture(scope="module")
def walking() -> ModuleType:
    """Imported only where these tests run: it takes three seconds."""
    from tests.web.generated import walking

    return walking


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of an example, by Hypothesis for itself
@pytest.mark.parametrize("names", ROLES)
def test_every_answer_is_as_the_document_says(
    town: Town, walking: ModuleType, names: str, tell: Callable[[str, object], None]
) -> None:
    bridge, document = walking.Bridge(town), sendable(town, town.document)
    turns = itertools.cycle(names.split())

    def token(follows: bool) -> str:
        """Of a session that began just now: the one before may have been ended by what was tried. Who follows up an
        answer is who got it."""
        return town.fresh(names.split(maxsplit=1)[0] if follows else next(turns)).token

    with town.working():
        walk = walking.Walk(walking.schema_for(document, bridge, EXAMPLES, token))
    what = f"schemathesis as {names}, {EXAMPLES} examples an operation"
    tell(what, f"{bridge.statuses.total()} requests, {len(walk.faults)} failures")
    assert not walk.faults, "\n\n".join(walk.faults[:25])
    assert not [status for status in bridge.statuses if status >= 500], bridge.statuses
    varied = [one.name for one in operations(document) if one.parameters or one.body]
    assert {one: walk.asked[one] for one in varied if walk.asked[one] < EXAMPLES / 2} == {}, "stopped early"
    assert walk.scenarios["STATEFUL_TESTING"] > 1, "what one operation gives was put into others"


def test_a_route_that_does_otherwise_is_found(walking: ModuleType) -> None:
    """Three routes that lie: a status nobody told of, a field of another type, and an error of the server."""
    for fault, lie in LIES.items():
        found = " ".join(walking.Walk(walking.schema_for(LYING, lie, 20, lambda _: "nobody")).faults)
        assert fault in found, f"{fault} is not in: {found}"
