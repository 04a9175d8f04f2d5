"""What the OpenAPI document says of every operation is so, whatever is sent: schemathesis, all checks, three roles."""

import asyncio
import copy
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.scale import scaled
from tests.web.conftest import ADDRESS
from tests.web.generated.town import Town

# pytest would rewrite the asserts of every module of whatever is also a plugin of its own: seconds for what has none.
_rewriting = [finder for finder in sys.meta_path if type(finder).__name__ == "AssertionRewritingHook"]
sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in _rewriting]
try:
    import schemathesis
    import schemathesis.specs.openapi.schemas
    from schemathesis.auths import AuthContext
    from schemathesis.config import (
        CoveragePhaseConfig,
        FuzzingPhaseConfig,
        GenerationConfig,
        PhasesConfig,
        ProjectConfig,
        ProjectsConfig,
        SchemathesisConfig,
        StatefulPhaseConfig,
    )
    from schemathesis.engine import core, events, from_schema
    from schemathesis.schemas import BaseSchema
finally:
    sys.meta_path[:0] = _rewriting

EXAMPLES = scaled(200)
ROLES = ("asha", "vimala", "anand")


def sendable(town: Town, document: dict[str, Any]) -> dict[str, Any]:
    """The document with what it cannot say: which cursors there are."""
    told = copy.deepcopy(document)
    for path in told["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "cursor":
                    parameter["schema"] = {"enum": [None]}
    return told


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
        for answer in await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._answers(scope, body), self.town.loop)):
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


def schema_for(town: Town, name: str, document: dict[str, Any], bridge: Any) -> BaseSchema:
    phases = PhasesConfig(
        coverage=CoveragePhaseConfig(enabled=name == "asha"),
        fuzzing=FuzzingPhaseConfig(generation=GenerationConfig(max_examples=EXAMPLES)),
        stateful=StatefulPhaseConfig(generation=GenerationConfig(max_examples=EXAMPLES)),
    )
    project = ProjectConfig(base_url=ADDRESS, phases=phases)
    schema = schemathesis.openapi.from_dict(
        document, config=SchemathesisConfig(projects=ProjectsConfig(default=project), seed=1)
    )
    schema.app = bridge

    @schema.auth(refresh_interval=None)
    class Login:
        """A session that began just now: the one before may have been ended by what was tried."""

        def get(self, case: schemathesis.Case, context: AuthContext) -> str:
            return town.fresh(name).token

        def set(self, case: schemathesis.Case, data: str, context: AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    return schema


def faults(schema: BaseSchema) -> Iterator[str]:
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            for case_id, checks in event.recorder.checks.items():
                for check in checks:
                    if check.failure_info is not None:
                        yield f"{event.phase.name} {event.label}: {check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
        elif isinstance(event, (events.NonFatalError, events.FatalError)):
            yield str(getattr(event, "info", event))


@pytest.mark.long
@pytest.mark.parametrize("name", ROLES)
def test_every_answer_is_as_the_document_says(town: Town, name: str, tell: Callable[[str, object], None]) -> None:
    bridge = Bridge(town); t0=time.process_time(); w0=time.time()
    found = list(faults(schema_for(town, name, sendable(town, town.document), bridge)))
    print("CPU", name, time.process_time()-t0, "WALL", time.time()-w0, bridge.statuses)
    tell(f"schemathesis as {name}, {EXAMPLES} examples an operation", f"{bridge.statuses.total()} requests, {len(found)} failures")
    assert not found, "\n\n".join(found[:5])
    assert not [status for status in bridge.statuses if status >= 500]
