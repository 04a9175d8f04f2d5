"""Structured logs to stderr. Fields are bound to the context (batch, account), so every line of a sync carries them.

What may be printed is listed, not what may not: a field that nobody thought of is masked.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import date
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Literal
from uuid import UUID

import structlog

MASK = "•••"

# Every field that a line may show. None of them ever holds a secret; a new one is added here by whoever says so.
# fmt: off
FIELDS = frozenset({
    "account", "action", "added", "address", "answer", "attempt", "bad", "batch", "batches", "before", "call",
    "changed",
    "closed", "cluster", "data", "days", "due", "ended", "error", "events", "fence", "file", "fills",
    "holding_changes", "isin", "key_id", "kind", "left", "link", "listed", "loop", "loops", "new", "new_isin",
    "opened", "order_changes", "orders", "outcome", "path", "pause_seconds", "position_changes", "prices",
    "problem", "queue", "reason", "request", "requests",
    "retries", "roles", "snapshots", "source", "sqlstate", "stale", "status", "task",
    "trigger", "unreadable", "user", "values", "voided", "warning", "woken",
})
# fmt: on
OF_THE_LOG = frozenset({"event", "level", "timestamp", "exception"})

# Addresses carry secrets behind the question mark, and before the @.
_USER_IN_URL = re.compile(r"(?<=://)[^\s/@'\"]+@")
_QUERY = re.compile(r"((?:\b[a-z][a-z0-9+.-]*:/)?/[^\s?#'\"<>]*)\?[^\s?'\"<>]*=[^\s'\"<>]*", re.IGNORECASE)

# What begins a new line, moves the cursor or turns the reading direction: a value from outside must not be able to
# forge a line.
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
_NAMED = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}
_ENCODED = {code: _NAMED.get(code, f"\\u{code:04x}") for code in _CONTROLS}


def _allow(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask every field that is not listed, and clean the others."""
    for name, value in event.items():
        event[name] = _clean(value) if name in FIELDS or name in OF_THE_LOG else MASK
    return event


def _clean(value: Any) -> Any:
    """Plain values only, on one line, addresses without what may be secret in them. What else it is shows nothing."""
    if value is None or isinstance(value, bool | int | float | Decimal):
        return value
    if isinstance(value, str | UUID | date | PurePath):
        return _QUERY.sub(r"\1", _USER_IN_URL.sub(f"{MASK}@", str(value))).translate(_ENCODED)
    if isinstance(value, Mapping):
        return {_clean(name): _clean(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(one) for one in value]
    return MASK


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
            _allow,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Forward(is_outage)], level=logging.WARNING, force=True)


class _Forward(logging.Handler):
    """What libraries log (the queue, the server) becomes a line like ours: cleaned, on one line, in the same form."""

    def __init__(self, is_outage: Callable[[BaseException], bool]) -> None:
        super().__init__()
        self._is_outage = is_outage

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and self._is_outage(error):
            reason = first_line(error.__cause__ or error)
            structlog.get_logger().warning(
                record.getMessage(), source=record.name, error=type(error).__name__, reason=reason
            )
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
