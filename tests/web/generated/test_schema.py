"""What the OpenAPI document says of every operation is so, whatever is sent: schemathesis, all checks, three roles."""

import asyncio
import copy
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.scale import PROOF, scaled
from tests.web.conftest import ADDRESS
from tests.web.generated.operations import operations
from tests.web.generated.town import Town

# pytest would rewrite the asserts of every module of whatever is also a plugin of its own: seconds for what has none.
_rewriting = [finder for finder in sys.meta_path if type(finder).__name__ == "AssertionRewritingHook"]
sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in _rewriting]
try:
    import schemathesis
    import schemathesis.specs.openapi.schemas
    from schemathesis.auths import AuthContext
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import events, from_schema
    from schemathesis.schemas import BaseSchema
finally:
    sys.meta_path[:0] = _rewriting

# Of each operation: twenty among the three of them, and two hundred of each in a proof.
EXAMPLES = {"asha": scaled(200, share=25), "vimala": scaled(200, share=33), "anand": scaled(200, share=33)}
# What is well-formed may still not be takeable (422), contradict what is there, or not be this person's to do.
TAKEN = ["2xx", "304", "401", "403", "404", "409", "422", "429"]
# Rules that a schema cannot say, most of them between fields; the description does, and 400 names the field.
SAID_IN_WORDS = {
    "connect_account": "which brokers there are, and which secrets each login needs",
    "register": "which names and passwords are too easily taken for another's or guessed",
    "grant_view": "that it ends within the next year",
    "set_schedules": "what a cron expression is, and which time zones there are",
    "preview_schedules": "the same",
    "list_changes": "that `account_id` is ours; the tool puts the broker's in, which is called so in an account",
    "change_account": "which secrets each login needs, and that something must be changed",
}


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
                elif method != "delete" and (found := ids.get(parameter["name"])):
                    parameter["schema"] = {"anyOf": [{"enum": [found]}, parameter["schema"]]}
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
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


LIES = {
    "Response violates schema": Lie(200, b'{"price": 1.5}'),
    "Undocumented status code": Lie(418, b"{}"),
    "Server error": Lie(500, b"{}"),
}


class Bridge:
    """The town's application for schemathesis, whose requests are made in a loop of another thread."""

    def __init__(self, town: Town) -> None:
        self.town, self.statuses = town, Counter[int]()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        for answer in await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self._answers(scope, body), self.town.loop)
        ):
            if answer["type"] == "http.response.start":
                self.statuses[answer["status"]] += 1
            await send(answer)

    async def _answers(self, scope: dict[str, Any], body: bytes) -> list[Any]:
        answers: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            answers.append(message)

        await self.town.site.web(scope, receive, send)  # type: ignore[arg-type]
        return answers


def configured(name: str) -> SchemathesisConfig:
    """All checks. What rules between fields refuse is a 400, which the six that have such rules may give."""
    count = {"generation": {"max-examples": EXAMPLES[name]}}
    taken = {"positive_data_acceptance": {"expected-statuses": TAKEN}}
    ruled = {"positive_data_acceptance": {"expected-statuses": [*TAKEN, "400"]}}
    return SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "base-url": ADDRESS,
            "phases": {"coverage": {"enabled": PROOF}, "fuzzing": count, "stateful": count},
            "checks": taken,
            "operations": [{"include-operation-id": one, "checks": ruled} for one in SAID_IN_WORDS],
        }
    )


def schema_for(town: Town, name: str, document: dict[str, Any], bridge: Any) -> BaseSchema:
    schema = schemathesis.openapi.from_dict(document, config=configured(name))
    schema.app = bridge

    @schema.auth(refresh_interval=None)
    class Login:
        """A session that began just now: the one before may have been ended by what was tried."""

        def get(self, case: schemathesis.Case, context: AuthContext) -> str:
            return town.fresh(name).token

        def set(self, case: schemathesis.Case, data: str, context: AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    return schema


class Walk:
    """What schemathesis finds wrong, and how often it asked each operation for it."""

    def __init__(self, schema: BaseSchema) -> None:
        self.faults: list[str] = []
        self.asked = Counter[str]()
        self.scenarios = Counter[str]()
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                self._take(event)
            elif isinstance(event, (events.NonFatalError, events.FatalError)):
                self.faults.append(str(getattr(event, "info", event)))

    def _take(self, event: events.ScenarioFinished) -> None:
        self.scenarios[event.phase.name] += 1
        for case in event.recorder.cases.values():
            self.asked[case.value.operation.definition.raw["operationId"]] += 1
        for checks in event.recorder.checks.values():
            for check in checks:
                if check.failure_info is not None:
                    found = check.failure_info
                    self.faults.append(f"{event.phase.name}: {found.failure}\n{found.code_sample}")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of an example, by Hypothesis for itself
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_answer_is_as_the_document_says(town: Town, name: str, tell: Callable[[str, object], None]) -> None:
    bridge, document = Bridge(town), sendable(town, town.document)
    with town.working():
        walk = Walk(schema_for(town, name, document, bridge))
    what = f"schemathesis as {name}, {EXAMPLES[name]} examples an operation"
    tell(what, f"{bridge.statuses.total()} requests, {len(walk.faults)} failures")
    assert not walk.faults, "\n\n".join(walk.faults[:25])
    assert not [status for status in bridge.statuses if status >= 500], bridge.statuses
    varied = [one.name for one in operations(document) if one.parameters or one.body]
    # Of so few examples as a quick run has, Hypothesis may find half of an operation's to be the same.
    least = EXAMPLES[name] / 2 if PROOF else 2
    assert {one: walk.asked[one] for one in varied if walk.asked[one] < least} == {}, "stopped early"
    assert walk.scenarios["STATEFUL_TESTING"] > 1, "what one operation gives was put into others"


def test_a_route_that_does_otherwise_is_found(town: Town) -> None:
    """Three routes that lie: a status nobody told of, a field of another type, and an error of the server."""
    for fault, lie in LIES.items():
        found = " ".join(Walk(schema_for(town, "asha", LYING, lie)).faults)
        assert fault in found, f"{fault} is not in: {found}"
