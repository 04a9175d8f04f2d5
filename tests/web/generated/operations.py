"""The operations of an OpenAPI document, as the proofs walk over them."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

STREAM = "text/event-stream"
METHODS = ("get", "post", "put", "patch", "delete")


class Operation(Struct, frozen=True, kw_only=True):
    """One operation: how it is called, and what can be said to it."""

    name: str
    method: str
    path: str  # with {names} where ids stand
    parameters: tuple[dict[str, Any], ...]
    body: dict[str, Any] | None  # the schema of its JSON body, references resolved
    is_open: bool  # needs no login
    is_endless: bool  # its answer is a stream, which only a refusal ends

    def names(self, where: str) -> list[str]:
        return [p["name"] for p in self.parameters if p["in"] == where]

    def address(self, values: Mapping[str, Any]) -> str:
        """The path with its ids filled in."""
        address = self.path
        for name in self.names("path"):
            address = address.replace("{" + name + "}", str(values[name]))
        return address


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                told = methods[method]
                content = told.get("requestBody", {}).get("content", {})
                yield Operation(
                    name=told["operationId"],
                    method=method.upper(),
                    path=path,
                    parameters=tuple(told.get("parameters", ())),
                    body=resolved(document, content["application/json"]["schema"]) if content else None,
                    is_open=not told.get("security", [None])[0],
                    is_endless=STREAM in told.get("responses", {}).get("200", {}).get("content", {}),
                )


def resolved(document: Mapping[str, Any], schema: Any) -> Any:
    """The schema with its references replaced by what they stand for."""
    if isinstance(schema, list):
        return [resolved(document, each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return resolved(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    return {name: resolved(document, value) for name, value in schema.items()}


def strings(schema: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where a body takes a string: the names that lead there."""
    if not isinstance(schema, dict):
        return
    kinds = schema.get("type")
    if "string" in ([kinds] if isinstance(kinds, str) else kinds or ()):
        yield at
    for each in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from strings(each, at)
    for name, value in schema.get("properties", {}).items():
        yield from strings(value, (*at, name))
    if "items" in schema:
        yield from strings(schema["items"], (*at, "[]"))


def example(schema: Any) -> Any:
    """A value that the schema allows: its example where it has one."""
    for word in ("const", "default"):
        if schema.get(word) is not None:
            return schema[word]
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    for each in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        if each.get("type") != "null":
            return example(each)
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else next(each for each in kinds if each != "null")
    if kind == "object":
        wanted = schema.get("required", ())
        return {name: example(schema["properties"][name]) for name in wanted}
    if kind == "array":
        return [example(schema["items"])]
    if kind == "string":
        if schema.get("format") == "uuid":
            return "00000000-0000-4000-8000-000000000000"
        return {"date": "2026-04-20", "date-time": "2026-04-20T10:00:00Z"}.get(
            schema.get("format", ""), "x" * max(schema.get("minLength", 1), 1)
        )
    return {"integer": int(schema.get("minimum", 1)), "number": 1, "boolean": True}.get(kind)
