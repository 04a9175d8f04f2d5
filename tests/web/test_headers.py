"""What stands in the head of every answer, and whose requests are answered at all."""

import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from msgspec.structs import replace

from portfolio_scheduler import log
from portfolio_scheduler.web.server import SECURITY_HEADERS, make_web
from tests.web.conftest import Person, Site, problem_of

SECURE = "https://portfolio.example.org"
ME, REPORTS = "/auth/me", "/csp-reports"
# One answer of each kind: open, closed, absent, refused, a page and its parts, the document.
PATHS = (
    "/health",
    ME,
    "/absent",
    "/docs",
    "/docs/explorer.js",
    "/openapi.json",
    "/portfolio-scheduler/broker-accounts",
)


@pytest.fixture
async def secure(site: Site) -> AsyncIterator[Site]:
    """The same installation, reached by https."""
    app = replace(site.place.app, settings=replace(site.place.app.settings, url=SECURE))
    web = make_web(replace(site.place, app=app))
    transport = httpx.ASGITransport(app=web)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=SECURE) as client:
        yield Site(site.stage, site.place, web, client, site.database)


async def answers(site: Site) -> AsyncIterator[httpx.Response]:
    person = site.person("asha")
    for who in (person, site.nobody):
        for path in PATHS:
            yield await who.get(path)
    yield await person.post(ME)  # 405
    yield await person.post("/auth/login", content=b"x", headers={"Content-Type": "text/plain"})  # 415
    yield await person.post("/auth/login", json={})  # 400


async def test_every_answer_has_the_headers_that_protect_its_reader(site: Site) -> None:
    async for answer in answers(site):
        for name, value in SECURITY_HEADERS.items():
            if name not in {"Content-Security-Policy", "Cache-Control"}:
                assert answer.headers[name] == value, answer.url
        policy = answer.headers["content-security-policy"]
        for directive in ("default-src", "object-src", "base-uri", "frame-ancestors"):
            assert f"{directive} 'none'" in policy, answer.url


async def test_nothing_is_kept_by_a_cache_but_the_parts_of_the_page(site: Site) -> None:
    async for answer in answers(site):
        kept = "max-age" in answer.headers["cache-control"]
        assert kept == (answer.url.path == "/docs/explorer.js"), answer.url
        assert kept or answer.headers["cache-control"] == "no-store"


async def test_https_is_asked_for_where_there_is_https_and_nowhere_else(site: Site, secure: Site) -> None:
    async for answer in answers(secure):
        found = re.fullmatch(r"max-age=(\d+); includeSubDomains", answer.headers["strict-transport-security"])
        assert found is not None
        assert int(found[1]) >= 365 * 86_400
    async for answer in answers(site):
        assert "strict-transport-security" not in answer.headers


async def test_no_answer_sets_a_cookie_or_lets_another_origin_read(site: Site) -> None:
    async for answer in answers(site):
        assert "set-cookie" not in answer.headers
    for method in ("GET", "OPTIONS"):
        headers = {"Origin": "https://evil.example.org", "Access-Control-Request-Method": "POST"}
        answer = await site.person("asha").ask(method, ME, headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_every_answer_with_a_body_says_what_it_is(site: Site) -> None:
    async for answer in answers(site):
        kind = answer.headers["content-type"]
        if answer.content:
            assert re.match(r"application/(\S+\+)?json|text/\w+; charset=utf-8", kind), (answer.url, kind)


async def test_only_declared_methods_are_answered(site: Site) -> None:
    person = site.person("asha")
    paths: dict[str, dict[str, object]] = site.web.openapi_schema.to_schema()["paths"]
    for path, operations in paths.items():
        there = {name.upper() for name in operations} | {"OPTIONS"}
        filled = re.sub(r"{\w+}", "00000000-0000-4000-8000-000000000000", path)
        asked = await person.ask("OPTIONS", filled)
        assert (asked.status_code, set(asked.headers["allow"].split(", "))) == (204, there), path
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND"} - there:
            answer = await person.ask(method, filled)
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) == there, path


async def test_no_answer_sends_its_reader_elsewhere(site: Site) -> None:
    """A request in clear is not led to https either: whoever sent it must notice."""
    async for answer in answers(site):
        assert answer.status_code not in range(300, 304)
        assert "location" not in answer.headers


async def test_a_logout_lets_the_browser_forget(site: Site) -> None:
    answer = await site.person("asha").post("/auth/logout")
    assert (answer.status_code, answer.headers["clear-site-data"]) == (204, '"cache"')


def test_no_address_takes_a_secret() -> None:
    """Addresses are kept: by proxies, histories and logs."""
    schema = make_web(None).openapi_schema.to_schema()  # type: ignore[arg-type]  # which no request reaches
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                assert parameter["in"] in {"path", "query", "header"}
                secret = re.search(r"token|secret|password|ticket|code|api_?key", parameter["name"], re.IGNORECASE)
                assert not secret or parameter["name"].endswith("_id") or parameter["in"] == "header", path


async def test_a_parameter_that_comes_twice_is_refused(site: Site) -> None:
    told = problem_of(await site.person("asha").get("/auth/access-log?limit=1&limit=2"))
    assert "`limit` is there more than once" in told["detail"]


# ── whose requests ──


async def asked_by(person: Person, host: str, path: str = ME) -> httpx.Response:
    return await person.get(path, headers={"Host": host})


async def test_a_request_for_another_host_is_refused(secure: Site) -> None:
    person = secure.person("asha")
    for host in ("evil.example.org", "portfolio.example.org.evil.org", "203.0.113.9", "", "[::2]:80", "a@localhost"):
        told = problem_of(await asked_by(person, host))
        assert told["type"] == "invalid_input", host
        assert "PORTFOLIO_SCHEDULER_URL" in told["detail"]


async def test_its_own_names_and_those_of_the_machine_itself_are_answered(secure: Site) -> None:
    # 401: the token of this person is of the installation under its other address, and only that is wrong
    for host in ("portfolio.example.org", "Portfolio.Example.org:443", "127.0.0.1:8800", "localhost", "[::1]:8800"):
        assert (await asked_by(secure.nobody, host)).status_code == 401, host


async def test_probes_may_ask_by_any_address(secure: Site) -> None:
    assert (await asked_by(secure.nobody, "203.0.113.9", "/health")).status_code == 200


# ── what browsers report ──


async def report(site: Site, content: bytes, kind: str = "application/csp-report") -> httpx.Response:
    return await site.nobody.post(REPORTS, content=content, headers={"Content-Type": kind})


async def test_a_page_that_tried_what_it_may_not_is_logged(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    told = {
        "document-uri": "https://portfolio.example.org/docs?token=canary",
        "effective-directive": "script-src-elem",
        "blocked-uri": "https://cdn.example.com/x.js?canary",
        "original-policy": "canary",
    }
    assert (await report(site, json.dumps({"csp-report": told}).encode())).status_code == 204
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["path"], line["kind"], line["source"]) == ("/docs", "script-src-elem", "cdn.example.com")
    assert "canary" not in json.dumps(line)


async def test_a_report_that_is_none_is_refused(site: Site) -> None:
    for content in (b"", b"[]", b"{}", b'{"csp-report": 1}', b'{"csp-report": {"blocked-uri": "http://["}}'):
        assert (await report(site, content)).status_code == 400, content
    assert (await report(site, b"{}", "text/plain")).status_code == 415
