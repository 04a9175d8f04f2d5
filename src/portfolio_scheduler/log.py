"""Structured logs to stderr. Fields are bound to the context (batch, account), so every line of a sync carries them."""

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import structlog

SECRET_WORDS = ("secret", "token", "password", "authorization", "api_key", "checksum", "totp", "credential")


def _mask(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last net: a field whose name sounds like a secret never prints its value."""
    for name in event:
        if name != "event" and any(word in name.lower() for word in SECRET_WORDS):
            event[name] = "•••"
    return event


def _one_line(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A value from outside must not be able to begin a forged log line."""
    for name, value in event.items():
        if isinstance(value, str) and ("\n" in value or "\r" in value):
            event[name] = value.replace("\r", "\\r").replace("\n", "\\n")
    return event


# Without the frames' local variables: they hold tokens and secrets.
_traceback = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def configure(
    level: str = "INFO",
    form: Literal["text", "json"] = "text",
    is_outage: Callable[[BaseException], bool] = lambda _: False,
) -> None:
    """Set up logging for this process. `form` "json" prints one object a line.

    An error of a library of which `is_outage` holds is told in one line: where it came from says nothing. Any other is
    a bug and keeps its traceback.
    """
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=32, sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _traceback if form == "json" else structlog.processors.format_exc_info,
            _mask,
            _one_line,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Forward(is_outage)], level=logging.WARNING, force=True)


class _Forward(logging.Handler):
    """What libraries log (the queue, the server) becomes a line like ours: masked, on one line, in the same form."""

    def __init__(self, is_outage: Callable[[BaseException], bool]) -> None:
        super().__init__()
        self._is_outage = is_outage

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and self._is_outage(error):
            found = {"error": type(error).__name__, "reason": first_line(error.__cause__ or error)}
            structlog.get_logger().warning(record.getMessage(), source=record.name, **found)
        else:
            structlog.get_logger().log(
                record.levelno, record.getMessage(), source=record.name, exc_info=record.exc_info
            )


def first_line(error: BaseException) -> str:
    """What an error says, as far as a line of the log goes."""
    return (str(error).splitlines() or [""])[0]


def logger(**initial: Any) -> Any:
    """A logger; keyword values go onto each of its lines."""
    return structlog.get_logger(**initial)
