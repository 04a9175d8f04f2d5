"""Reads whose answer may be known already: which version they have now, and the answer itself only where it is another.

The database finds both in one statement (`answer_to` of the migration `reads`). PostgreSQL sets up all of a statement
before it runs any of it, and of one with dozens of joins that costs more than a short answer; so that one is prepared
by the connection, and run by its name where it is wanted.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, LiteralString

from msgspec import Struct

from portfolio_scheduler.db.lines import Prepared

Scope = Literal["account", "seen", "own"]

_PARAMETER = re.compile(r"%\((\w+)\)s")


class Told(Struct, frozen=True, kw_only=True):
    """A question with its parameters, as PostgreSQL reads them."""

    statement: Prepared
    scope: bytes
    account: bytes | None
    given: bytes


class Gated:
    """A document (one text) about one account, about all that the viewer sees, or about their own that are open."""

    def __init__(self, scope: Scope, document: LiteralString) -> None:
        self.scope = scope
        self.names = list(dict.fromkeys(_PARAMETER.findall(document)))
        numbered = _PARAMETER.sub(lambda found: f"${self.names.index(found[1]) + 1}", document).replace("%%", "%")
        digest = hashlib.blake2b(numbered.encode(), digest_size=8).hexdigest()
        self.statement = Prepared(f"read_{digest}", numbered)

    def told(self, params: Mapping[str, Any]) -> Told:
        """What `answer_to` is told of a question; the same as often as it is asked."""
        account = _text(params["account"]) if self.scope == "account" else None
        return Told(
            statement=self.statement,
            scope=self.scope.encode(),
            account=None if account is None else account.encode(),
            given=array([_text(params[name]) for name in self.names]),
        )


def array(texts: list[str | None]) -> bytes:
    """As PostgreSQL reads one."""
    return f"{{{','.join(map(_element, texts))}}}".encode()


def _element(text: str | None) -> str:
    if text is None:
        return "NULL"
    assert "\x00" not in text, "PostgreSQL's text holds no NUL; refuse it before"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(value: Any) -> str | None:
    """A parameter as PostgreSQL reads it."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case date():
            return value.isoformat()
        case list():
            return "{" + ",".join(str(_text(each)) for each in value) + "}"
        case _:
            return str(value)
