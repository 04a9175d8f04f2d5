"""What goes back over the wire, and the two shapes of refusal: Groww's envelope and the body of the gateway before
it."""

from typing import Any, NamedTuple

import msgspec

ENCODER = msgspec.json.Encoder(decimal_format="number")  # Groww sends numbers; ours are exact
JSON = "application/json"


class Answer(NamedTuple):
    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: dict[str, str] | None = None


class Refusal(Exception):
    """The call is refused; carries the answer that says so."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body.decode())
        self.answer = answer


def encode(value: Any) -> bytes:
    return ENCODER.encode(value)


def bare(value: Any, status: int = 200) -> Answer:
    return Answer(encode(value), status)


def success(payload: Any) -> Answer:
    return Answer(enveloped(encode(payload)))


def enveloped(payload: bytes) -> bytes:
    return b'{"status":"SUCCESS","payload":' + payload + b"}"


def rows(name: str, encoded: list[bytes]) -> bytes:
    """A payload of rows that are already encoded."""
    return b'{"' + name.encode() + b'":[' + b",".join(encoded) + b"]}"


def failure(status: int, code: str, message: str, **more: str) -> Answer:
    error = {"code": code, "message": message, "metadata": None, **more}
    return bare({"status": "FAILURE", "error": error}, status)


def gateway_refusal(status: int, code: str, message: str) -> Answer:
    """Dead tokens never reach the service behind the gateway, so there is no envelope."""
    return bare({"errorCode": code, "errorMessage": {"message": message}}, status)


def bad_request(message: str) -> Refusal:
    return Refusal(failure(400, "GA001", message))


def not_found(message: str) -> Refusal:
    return Refusal(failure(404, "GA004", message))


def forbidden() -> Refusal:
    return Refusal(failure(403, "403", "Access forbidden for this request."))


def unauthorised() -> Refusal:
    return Refusal(gateway_refusal(401, "401", "Unauthorized"))
