"""Schemathesis over one of our documents: what it is told, and what it finds. Whoever needs it imports it then: it
takes three seconds, which no process should spend that only collects tests."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.scale import PROOF
from tests.web.conftest import ADDRESS
from tests.web.generated.town import Town, begins_and_ends

# pytest would rewrite the asserts of every module of whatever is also a plugin of its own: seconds for what has none.
_rewriting = [finder for finder in sys.meta_path if type(finder).__name__ == "AssertionRewritingHook"]
sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in _rewriting]
try:
    import schemathesis
    import schemathesis.specs.openapi.schemas
    from schemathesis.auths import AuthContext
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import events, from_schema
    from schemathesis.generation.meta import TestPhase
    from schemathesis.schemas import BaseSchema
finally:
    sys.meta_path[:0] = _rewriting

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


class Bridge:
    """The town's application for schemathesis, whose requests are made in a loop of another thread."""

    def __init__(self, town: Town) -> None:
        self.town, self.statuses = town, Counter[int]()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await begins_and_ends(receive, send)
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


def configured(examples: int) -> SchemathesisConfig:
    """All checks. What rules between fields refuse is a 400, which those that have such rules may give."""
    count = {"generation": {"max-examples": examples}}
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


def schema_for(document: dict[str, Any], web: Any, examples: int, token: Callable[[bool], str]) -> BaseSchema:
    """The document, asked of `web` so many times an operation; each question has a token of its own, and `token` is
    told whether it follows from the answer to another."""
    schema = schemathesis.openapi.from_dict(document, config=configured(examples))
    schema.app = web

    @schema.auth(refresh_interval=None)
    class Login:
        def get(self, case: schemathesis.Case, context: AuthContext) -> str:
            return token(case.meta is not None and case.meta.phase.name is TestPhase.STATEFUL)

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
