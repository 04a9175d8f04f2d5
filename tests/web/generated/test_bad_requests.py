"""Bad requests, generated over every operation: SQL in every text, forms and foreign origins, bodies that are none.

No answer is a server's error, none shows a row more than the honest question, and nothing is changed.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.scale import scaled
from tests.web.generated.operations import Operation, example, operations, strings
from tests.web.generated.town import Town

# Fifty ways to leave a string: comments, quotes of every dialect, unions, waits, second statements, LIKE, encodings.
INJECTIONS = (
    "'", "''", '"', "`", "\\", "\\'", "';", "'--", "'#", "'/*", "') OR ('1'='1", "' OR '1'='1", "' OR 1=1--",
    "' OR 'a'='a' --", '" OR ""="', "1 OR 1=1", "1; SELECT 1", "'; SELECT pg_sleep(5)--", "' || pg_sleep(5) || '",
    "' UNION SELECT NULL--", "' UNION SELECT NULL,NULL,NULL--", "' UNION ALL SELECT name FROM users--",
    "'; DROP TABLE users--", "'; DELETE FROM order_history; --", "' AND 1=CAST(version() AS int)--",
    "' AND (SELECT count(*) FROM users) > 0--", "%", "_", "%%%", "____", "A%", "%'", "\\%", "[a-z]", ".*",
    "$$", "$$;SELECT 1;$$", "E'\\x27'", "U&'\\0027'", "%27", "%2527", "%(account)s", "%s", "{0}", "${7*7}",
    ":1", "$1", "NULL", "'; SET app.user_id = '' --", "' ORDER BY 99--",
)  # fmt: skip
HEADERS = ("Authorization", "Accept", "If-None-Match", "Idempotency-Key", "X-Forwarded-For", "User-Agent", "Origin")
EACH = scaled(len(INJECTIONS), share=25)  # payloads of a place; all of them take turns


class Place:
    """Where an operation takes a text, and the request that puts one there."""

    def __init__(self, operation: Operation, where: str, name: tuple[str, ...]) -> None:
        self.operation, self.where, self.name = operation, where, name

    def __str__(self) -> str:
        return f"{self.operation.name} {self.where} {'.'.join(self.name)}"


def finite(document: dict[str, Any]) -> list[Operation]:
    return [operation for operation in operations(document) if not operation.is_endless]


def places(document: dict[str, Any]) -> Iterator[Place]:
    for operation in finite(document):
        for parameter in operation.parameters:
            yield Place(operation, parameter["in"], (parameter["name"],))
        for at in strings(operation.body or {}):
            yield Place(operation, "body", at)
        for header in HEADERS:
            yield Place(operation, "header", (header,))


class Asker:
    """Asha asks; what she asks of is ravi's neighbour, so that a leak would show."""

    def __init__(self, town: Town) -> None:
        self.town, self.ids = town, town.ids_of("asha")
        self.marks = [mark for _, mark in town.marks_of("ravi")]
        self.asha = town.fresh("asha")
        self.asked = 0

    def ask(self, operation: Operation, **more: Any) -> httpx.Response:
        self.asked += 1
        if operation.method != "GET":
            self.asha = self.town.fresh("asha")
        path = {name: self.ids.get(name) or "x" for name in operation.names("path")} | more.pop("path", {})
        if operation.body is not None and not {"content", "json", "data"} & more.keys():
            more["json"] = example(operation.body)
        address = operation.address({name: quoted(value) for name, value in path.items()})
        return self.town.ask(self.asha, operation.method, address, **more)

    def put(self, place: Place, text: str) -> httpx.Response:
        name = place.name[0]
        match place.where:
            case "path":
                return self.ask(place.operation, path={name: text})
            case "query":
                return self.ask(place.operation, params={name: text})
            case "header":
                return self.ask(place.operation, headers={name: text.encode("ascii", "replace").decode()})
            case _:
                return self.ask(place.operation, json=filled(example(place.operation.body), place.name, text))

    def wrong_with(self, what: object, answer: httpx.Response) -> Iterator[str]:
        if answer.status_code >= 500 and answer.json().get("type") != "no_worker":
            yield f"{what}: {answer.status_code} {answer.text[:200]}"
        if shown := [mark for mark in self.marks if mark in answer.text]:
            yield f"{what}: shows {shown}"


def quoted(text: Any) -> str:
    return quote(str(text), safe="")


def filled(body: Any, at: tuple[str, ...], text: str) -> Any:
    if not at:
        return text
    if at[0] == "[]":
        return [filled(body[0] if isinstance(body, list) and body else None, at[1:], text)]
    held = body if isinstance(body, dict) else {}
    return {**held, at[0]: filled(held.get(at[0]), at[1:], text)}


@pytest.mark.long
def test_no_text_becomes_sql(town: Town, tell: Callable[[str, object], None]) -> None:
    asker, before, found = Asker(town), town.digest_of("ravi"), []
    for number, place in enumerate(places(town.document)):
        for payload in INJECTIONS[number % (len(INJECTIONS) // EACH) :: len(INJECTIONS) // EACH]:
            found += asker.wrong_with(f"{place} {payload!r}", asker.put(place, payload))
    tell("SQL injection: requests", f"{asker.asked}, {len(found)} errors or extra rows")
    assert not found, "\n".join(found[:20])
    assert town.changes(before, town.digest_of("ravi")) == []
    assert len(INJECTIONS) == 50


def test_wildcards_of_like_are_letters(town: Town) -> None:
    """A filter with % or _ finds what is called so: nothing."""
    asker = Asker(town)
    tried = 0
    for operation in finite(town.document):
        for name in {"symbol", "order_id"} & {*operation.names("query")}:
            for wildcard in ("%", "_", "A%", "%a%", "____"):
                answer = asker.ask(operation, params={name: wildcard})
                assert answer.status_code in {200, 400}, answer.text
                assert answer.status_code == 400 or answer.json()["items"] == [], f"{operation.name} {name}={wildcard}"
                tried += 1
    assert tried >= 20


def test_a_page_of_somebody_else_can_send_nothing(town: Town, tell: Callable[[str, object], None]) -> None:
    """What a browser sends for a foreign page: forms, text, and requests with a foreign origin; no token is with it."""
    writes = [operation for operation in finite(town.document) if operation.method != "GET" and not operation.is_open]
    succeeded, tried = [], 0
    for operation in writes:
        path = {name: town.ids_of("asha").get(name) or "x" for name in operation.names("path")}
        body = json.dumps(example(operation.body or {"type": "object"}))
        before = town.digest_of("asha")
        for sent in forged(body):
            answer = town.ask(None, operation.method, operation.address(path), **sent)
            tried += 1
            if answer.is_success:
                succeeded.append(f"{operation.name} {sent}: {answer.status_code}")
            assert "access-control-allow-origin" not in answer.headers
        if changed := town.changes(before, town.digest_of("asha")):
            succeeded.append(f"{operation.name} changed {changed}")
    tell("requests forged across sites", f"{tried}, {len(succeeded)} succeeded")
    assert not succeeded
    assert tried >= 30


def forged(body: str) -> list[dict[str, Any]]:
    foreign = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    return [
        {"data": {"name": "x"}},
        {"files": {"name": b"x"}},
        {"content": body, "headers": {"Content-Type": "text/plain"}},
        {"content": body, "headers": {"Content-Type": "application/json", "Cookie": "session=x; token=y"} | foreign},
        {"content": body, "headers": {"Content-Type": "application/json", "Origin": "null"}},
    ]


def test_reading_changes_nothing(town: Town) -> None:
    asker = Asker(town)
    before = town.digest_of("asha")
    for operation in finite(town.document):
        if operation.method == "GET":
            asker.ask(operation)
    assert town.changes(before, town.digest_of("asha")) == []


BODIES: dict[str, dict[str, Any]] = {
    "nesting": {"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}},
    "nested objects": {
        "content": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        "headers": {"Content-Type": "application/json"},
    },
    "oversize": {"content": b'{"a": "' + b"x" * 300_000 + b'"}', "headers": {"Content-Type": "application/json"}},
    "form": {"data": {"name": "x"}},
    "text": {"content": b"{}", "headers": {"Content-Type": "text/plain"}},
    "xml": {"content": b"<a/>", "headers": {"Content-Type": "application/xml"}},
    "no JSON": {"content": b"{", "headers": {"Content-Type": "application/json"}},
    "another type": {"content": b"[1, 2]", "headers": {"Content-Type": "application/json"}},
    "NaN": {"content": b'{"a": NaN}', "headers": {"Content-Type": "application/json"}},
    "unknown field": {"json": {"is_admin": True}},
    "NUL": {"content": b'{"name": "\\u0000", "label": "\\u0000"}', "headers": {"Content-Type": "application/json"}},
    "bad UTF-8": {"content": b'{"name": "\xff"}', "headers": {"Content-Type": "application/json"}},
}


def test_bodies_that_are_none_are_refused_by_name(town: Town) -> None:
    asker = Asker(town)
    for operation in finite(town.document):
        if operation.body is not None:
            for kind, sent in BODIES.items():
                answer = asker.ask(operation, **sent)
                assert answer.status_code in {400, 401, 413, 415, 422}, f"{operation.name} {kind}: {answer.status_code}"
                assert answer.headers["content-type"].startswith("application/problem+json")


# What a lenient reader takes for a value of that kind.
NEARLY: dict[str, tuple[Any, ...]] = {
    "boolean": (0, 1, "true", "null"),
    "integer": ("7", 7.5, True),
    "date-time": (1_800_000_000, "1800000000", "2026-06-01"),
    "string": (7, True, ["x"]),
}


def test_a_value_of_nearly_the_right_type_is_refused(town: Town) -> None:
    asker, tried = Asker(town), 0
    for operation in finite(town.document):
        for name, schema in (operation.body or {}).get("properties", {}).items():
            kinds = [schema, *schema.get("oneOf", ())]
            for kind in {kind.get("format", kind.get("type")) for kind in kinds if "enum" not in kind} & NEARLY.keys():
                for value in NEARLY[kind]:
                    answer = asker.ask(operation, json={**example(operation.body), name: value})
                    assert answer.status_code == 400, f"{operation.name} takes {value!r} for {name}: {answer.text}"
                    assert name in str(answer.json()["errors"]), answer.text
                    tried += 1
    assert tried > 100


def test_a_whole_number_may_be_written_with_a_point(town: Town) -> None:
    """JSON knows one kind of number."""
    written = {"content": b'{"expires_in_days": 7.0}', "headers": {"Content-Type": "application/json"}}
    assert town.ask(town.fresh("anand"), "POST", "/auth/invitations", **written).status_code == 201


def test_nobody_makes_themselves_more_than_they_are(town: Town) -> None:
    """A field that is not the caller's to set is refused with every body, not ignored."""
    asker = Asker(town)
    for operation in finite(town.document):
        if operation.body is None:
            continue
        for field in ("role", "user_id", "is_admin", "created_at", "id", "scopes", "owner"):
            if field not in operation.body["properties"]:
                answer = asker.ask(operation, json={**example(operation.body), field: "admin"})
                assert answer.status_code == 400, f"{operation.name} takes {field}: {answer.status_code}"


PAGES = (("cursor", "W10"), ("cursor", "é" * 700), ("limit", "0"), ("limit", "201"), ("limit", "x"))


def test_bad_cursors_pages_and_unknown_parameters_are_named(town: Town) -> None:
    asker = Asker(town)
    for operation in finite(town.document):
        if "cursor" in operation.names("query"):
            asker.asha = town.fresh("anand")  # who may ask for every list
            for name, value in (
                ("cursor", "W10"),
                ("cursor", "é" * 700),
                ("limit", "0"),
                ("limit", "201"),
                ("limit", "x"),
            ):
                answer = asker.ask(operation, params={name: value})
                assert answer.status_code == 400, f"{operation.name} {name}={value[:9]}: {answer.status_code}"
                assert name in answer.text
        answer = asker.ask(operation, params={"colour": "red"})
        assert answer.status_code in {400, 401}, f"{operation.name}: {answer.status_code}"
        assert answer.status_code == 401 or "colour" in answer.text


def test_a_leak_and_an_error_would_be_seen(town: Town) -> None:
    asker = Asker(town)
    leak = httpx.Response(200, text=asker.marks[0])
    assert list(asker.wrong_with("leak", leak))
    assert list(asker.wrong_with("error", httpx.Response(500, json={"type": "unexpected"})))
