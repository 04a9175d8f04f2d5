"""When we err: the caller learns nothing of it, the log everything, and the next request is answered."""

import json
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
from litestar import get
from litestar.params import FromPath

from portfolio_scheduler import log
from portfolio_scheduler.errors import SetupProblem
from portfolio_scheduler.web import server
from tests.web.conftest import ADDRESS, Site, problem_of

SECRET = "canary-of-a-secret"
ERRORS = {
    "bug": ValueError(SECRET),
    "sql": psycopg.errors.SyntaxError(f"syntax error at {SECRET}"),
    "setup": SetupProblem(f"The file {SECRET} is missing."),
    "group": ExceptionGroup("several", [KeyError(SECRET)]),
}


@get("/broken/{which:str}", include_in_schema=False)
async def fail(which: FromPath[str]) -> None:
    """A route with a bug."""
    raise ERRORS[which]


@pytest.fixture
async def broken(site: Site) -> AsyncIterator[Site]:
    web = server.make_web(site.place, (*server.ROUTES, fail))
    transport = httpx.ASGITransport(app=web, raise_app_exceptions=False)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
        yield Site(site.stage, site.place, web, client, site.database)


async def test_an_error_of_ours_is_told_to_the_log_only(broken: Site, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    assert not broken.web.debug
    for which in ERRORS:
        answer = await broken.client.get(f"/broken/{which}")
        told = problem_of(answer)
        assert told["status"] == (503 if which == "setup" else 500), which
        assert set(told) <= {"type", "title", "status", "detail"}
        assert SECRET not in answer.text
        line = json.loads(capsys.readouterr().err.splitlines()[-1])
        assert line["event"] == "request failed"
        assert line["level"] in {"warning", "error"}
        assert SECRET in json.dumps(line)  # of what went wrong, the log tells
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await broken.client.get("/health")).status_code == 200
