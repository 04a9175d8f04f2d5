"""Reads whose answer may be known already: a short question for the version, and a long one that only then runs.

Both travel together. PostgreSQL sets up all of a statement before it runs any of it, and of one with dozens of joins
that costs more than a short answer; so the long one is prepared by the connection, and a function of the migration
`reads` runs it by name where it is wanted.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, LiteralString

from psycopg.sql import SQL, Composed, Identifier

_PARAMETER = re.compile(r"%\((\w+)\)s")
_numbers = itertools.count(1)


class Gated:
    """A document (one text) and what says its version."""

    def __init__(self, ask: LiteralString, document: LiteralString) -> None:
        self.ask = ask
        self.document = document
        self._names = list(dict.fromkeys(_PARAMETER.findall(document)))
        numbered = _PARAMETER.sub(lambda found: f"${self._names.index(found[1]) + 1}", document)
        self._statement: LiteralString = numbered.replace("%%", "%")
        self.key = hashlib.blake2b(numbered.encode(), digest_size=8).hexdigest()

    def new_name(self) -> str:
        """For the statement in one connection; another each time, for one that failed may or may not be there."""
        return f"read_{self.key}_{next(_numbers)}"

    def prepare(self, name: str) -> Composed:
        return SQL("PREPARE {} AS ").format(Identifier(name)) + SQL(self._statement)

    def params(self, given: Mapping[str, Any], name: str, known: list[str]) -> dict[str, Any]:
        """The parameters of `ask`."""
        texts = [_text(given[each]) for each in self._names]
        return {**given, "known": known, "question": name, "given": texts}


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
