"""Nobody sees or changes what is another's: every operation of the document × every kind of person × every id.

Asha's things are what others ask for. An operation that has no row in `ROWS`, or takes an id that has none in
`IDS`, fails here: whoever adds it says what others may get of it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
from msgspec import Struct

from tests.conftest import Database, copied
from tests.web.conftest import Person
from tests.web.generated.operations import Operation, example, operations
from tests.web.generated.town import Town, founded

# ── what others may get ──

OPEN = "open"  # nobody needs to log in, and it shows nothing of anybody
MINE = "mine"  # it is about whoever asks, and takes no id
THING = "thing"  # it is about something with an owner, which its id names
ADMIN = "admin"  # it is for administrators


class Row(Struct, frozen=True):
    """What an operation is about, who besides the owner reads it, and what is sent when the examples do not do."""

    about: str
    readers: frozenset[str] = frozenset()  # of asha's things: "vimala", whom she shares with; "anand", who says so
    body: Mapping[str, Any] | None = None


SHARED = Row(THING, frozenset({"vimala"}))

ROWS: dict[str, Row] = {
    "alive": Row(OPEN),
    "ready": Row(OPEN),
    "log_in": Row(OPEN, body={"name": "nobody in particular"}),  # tries at asha's would count, as they must
    "refresh": Row(OPEN),
    "log_out": Row(MINE),
    "show_me": Row(MINE),
    "list_my_log": Row(MINE),
    "list_accounts": Row(MINE, frozenset({"vimala"})),
    "show_account": SHARED,
}

# The names under which operations take ids, in paths, queries and bodies, and what `Town.ids_of` calls the thing.
IDS = {
    "account_id": "account_id",
    "order_id": "order_id",
    "batch_id": "batch_id",
    "symbol": "symbol",
    "session_id": "session_id",
    "token_id": "token_id",
    "grant_id": "grant_id",
    "user_id": "user_id",
    "userId": "user_id",
}
ABSENT = {"order_id": "NO-SUCH-ORDER", "symbol": "NOSUCH"}  # the others are random UUIDs
NO_IDS = {"idempotency_key"}  # end like one, and are none: chosen by whoever asks

OTHERS = ("nobody", "ravi", "vimala", "mohan", "deepa", "anand")
LOCKED_OUT = {"nobody", "deepa"}


class Cell(Struct, frozen=True):
    """One question: who asks what, with whose ids."""

    operation: Operation
    who: str
    ids: Mapping[str, str]
    whose: str

    def __str__(self) -> str:
        return f"{self.operation.name} as {self.who} with {self.whose} ids"


# ── which ids an operation takes ──


def id_fields(operation: Operation) -> list[str]:
    """Names of ids in the body."""
    return [name for name in (operation.body or {}).get("properties", {}) if _is_id(name)]


def id_parameters(operation: Operation) -> list[str]:
    return [*operation.names("path"), *(name for name in operation.names("query") if _is_id(name))]


def _is_id(name: str) -> bool:
    return name not in NO_IDS and (name in IDS or re.search(r"(_id|Id|_key)s?$", name) is not None)


def unknown(document: Mapping[str, Any], rows: Mapping[str, Row], ids: Mapping[str, str]) -> list[str]:
    """What the matrix cannot ask, since nobody has said what to expect."""
    missing = []
    for operation in operations(document):
        if operation.name not in rows:
            missing.append(f"{operation.name} has no row in ROWS")
        missing += [
            f"{operation.name} takes `{name}`, which is not in IDS"
            for name in (*id_parameters(operation), *id_fields(operation))
            if name not in ids
        ]
    return missing


# ── asking ──


class Matrix:
    """All questions about some operations, and what was wrong with the answers."""

    def __init__(self, town: Town, rows: Mapping[str, Row] = ROWS, *, confused: bool = False) -> None:
        self.town, self.rows = town, rows
        self.confused = confused  # the application takes everybody for asha, so her name in an answer says nothing
        self.hers, self.his = town.ids_of("asha"), town.ids_of("ravi")
        self.marks = town.marks_of("asha")
        self.asked = 0

    def faults(self, document: Mapping[str, Any]) -> Iterator[str]:
        found = [o for o in operations(document) if o.name in self.rows]
        for operation in sorted(found, key=lambda o: (o.method != "GET", o.method == "DELETE")):
            before = None if operation.method == "GET" else self.town.digest_of("asha")
            for who in OTHERS:
                yield from self.of(operation, who)
            if before is not None and (changed := self.town.changes(before, self.town.digest_of("asha"))):
                yield f"{operation.name}: somebody else changed what is asha's in {changed}"

    def of(self, operation: Operation, who: str) -> Iterator[str]:
        row = self.rows[operation.name]
        names = [*id_parameters(operation), *id_fields(operation)]
        absent = {name: ABSENT.get(IDS[name], str(uuid4())) for name in names}
        own = {name: self.his.get(IDS[name]) or absent[name] for name in names}
        if operation.method == "GET" or not names:
            yield from self.leaks(Cell(operation, who, own, "own"), row)
        for name in names:
            foreign = self.hers.get(IDS[name])
            assert foreign, f"asha has no {IDS[name]}: the town must be populated with one"
            given = {**own, name: foreign} if len(names) == 1 else {**self._required(operation, own), name: foreign}
            yield from self.compared(Cell(operation, who, given, "her"), {**given, name: absent[name]}, row)
        if len(names) > 1:
            given = {name: self.hers[IDS[name]] for name in names}
            yield from self.compared(Cell(operation, who, given, "all of her"), absent, row)

    def _required(self, operation: Operation, own: Mapping[str, str]) -> dict[str, str]:
        wanted = {*operation.names("path"), *(operation.body or {}).get("required", ())}
        return {name: value for name, value in own.items() if name in wanted}

    def compared(self, cell: Cell, absent: Mapping[str, str], row: Row) -> Iterator[str]:
        """Foreign and absent are answered alike, but for those who may read it."""
        yield from self.leaks(cell, row)
        if cell.who in row.readers or (cell.who == "anand" and row.about == ADMIN) or row.about == OPEN:
            return
        foreign, nothing = self.ask(cell), self.ask(Cell(cell.operation, cell.who, absent, "absent"))
        if likeness(foreign) != likeness(nothing):
            yield f"{cell}: {likeness(foreign)}, but absent ones: {likeness(nothing)}"

    def leaks(self, cell: Cell, row: Row) -> Iterator[str]:
        answer = self.ask(cell)
        if cell.who in LOCKED_OUT and row.about != OPEN and answer.status_code != 401:
            yield f"{cell}: {answer.status_code} instead of 401"
        if (
            row.about == ADMIN
            and cell.who != "anand"
            and answer.status_code not in {401, 403, 404}
            and not self.confused
        ):
            yield f"{cell}: {answer.status_code}, although it is for administrators"
        if answer.status_code >= 500:
            yield f"{cell}: {answer.status_code}"
        if answer.is_success and cell.operation.method != "GET" and cell.whose != "own" and row.about == THING:
            yield f"{cell}: {answer.status_code}, although only she may"
        text = answer.text + "".join(answer.headers.values())
        shown = {kind: mark for kind, mark in self.forbidden(cell.who, row) if mark in text}
        if shown:
            yield f"{cell}: shows {shown}"

    def forbidden(self, who: str, row: Row) -> Iterator[tuple[str, str]]:
        """What this person may not be shown, whatever they ask."""
        for kind, mark in self.marks:
            person = kind in {"name", "user"}
            if person and (self.confused or who in {"vimala", "mohan", "anand"}):
                continue  # she shares, or did; an admin knows who is here
            if who in row.readers and kind not in {"session", "token", "secret"}:
                continue
            if row.about == ADMIN and who == "anand" and kind not in {"order", "client code", "secret"}:
                continue
            yield kind, mark

    def ask(self, cell: Cell) -> httpx.Response:
        self.asked += 1
        operation = cell.operation
        query = {name: value for name, value in cell.ids.items() if name in operation.names("query")}
        options: dict[str, Any] = {"params": query}
        if operation.body is not None:
            body = {**example(operation.body), **(self.rows[operation.name].body or {})}
            options["json"] = body | {name: value for name, value in cell.ids.items() if name in id_fields(operation)}
        person: Person | None = None if cell.who == "nobody" else self.town.fresh(cell.who)
        return self.town.ask(person, operation.method, operation.address(cell.ids), **options)


def likeness(answer: httpx.Response) -> tuple[int, dict[str, str], str]:
    """All that a stranger could tell two answers apart by."""
    return answer.status_code, dict(answer.headers), answer.text


# ── the proofs ──


def test_every_operation_and_every_id_has_its_row(town: Town) -> None:
    assert unknown(town.document, ROWS, IDS) == []


def test_the_matrix_names_no_operation_that_is_gone(town: Town) -> None:
    assert set(ROWS) - {operation.name for operation in operations(town.document)} == set()


def test_an_operation_or_id_without_a_row_is_found() -> None:
    twin = {"paths": {"/things/{thing_id}": {"get": {"operationId": "show_thing", "parameters": [THING_ID]}}}}
    assert unknown(twin, {}, {}) == [
        "show_thing has no row in ROWS",
        "show_thing takes `thing_id`, which is not in IDS",
    ]


THING_ID = {"name": "thing_id", "in": "path", "required": True, "schema": {"type": "string"}}


def test_nobody_sees_or_changes_what_is_anothers(town: Town, tell: Callable[[str, object], None]) -> None:
    matrix = Matrix(town)
    found = list(matrix.faults(town.document))
    tell("IDOR matrix: questions", f"{matrix.asked}, {len(found)} leaks")
    assert not found, "\n".join(found[:20])
    assert matrix.asked > len(ROWS) * len(OTHERS) / 2


def test_row_security_alone_keeps_people_apart(confused: Town, tell: Callable[[str, object], None]) -> None:
    """The application takes everybody for asha, and an admin at that: all its own filters are without effect."""
    matrix = Matrix(confused, {name: row for name, row in ROWS.items() if row.about != OPEN}, confused=True)
    found = [fault for fault in matrix.faults(confused.document) if "shows" in fault or "changed" in fault]
    tell("IDOR matrix without the application's filters", f"{matrix.asked}, {len(found)} leaks")
    assert not found, "\n".join(found[:20])


@pytest.mark.parametrize("table", ["broker_accounts"])
def test_a_table_without_row_security_is_found(confused: Town, table: str) -> None:
    rows = {name: row for name, row in ROWS.items() if row.about != OPEN}
    with without_row_security(confused, table):
        found = list(Matrix(confused, rows, confused=True).faults(confused.document))
    assert [fault for fault in found if "shows" in fault or "changed" in fault], table


def test_an_answer_that_tells_foreign_from_absent_is_found(town: Town) -> None:
    """Without row security the operation shows asha's account to ravi: the plain matrix must see that, too."""
    with without_row_security(town, "broker_accounts"):
        found = list(Matrix(town, {"show_account": SHARED}).faults(town.document))
    assert any("show_account as ravi with her ids: shows" in fault for fault in found)
    assert any("but absent ones" in fault for fault in found)


@contextmanager
def without_row_security(town: Town, table: str) -> Iterator[None]:
    town.rows.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    try:
        yield
    finally:
        town.rows.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")


CONFUSED = """
ALTER FUNCTION enter_session(uuid, timestamptz) RENAME TO true_session;
CREATE FUNCTION enter_session(session uuid, at timestamptz) RETURNS viewer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    who public.viewer := public.true_session(session, at);
BEGIN
    IF who.user_id IS NOT NULL THEN
        who.user_id := '{asha}';
        who.name := 'asha';
        who.role := 'admin';
    END IF;
    RETURN who;
END
$$;
GRANT EXECUTE ON FUNCTION enter_session(uuid, timestamptz) TO PUBLIC;
"""


@pytest.fixture(scope="module")
def confused(template: Database, admin: Any) -> Iterator[Town]:
    """A town whose database tells the application that whoever asks is asha, and an admin, while its own policies know
    better: what the application checks or filters by itself is then always of asha."""
    with copied(template, admin) as database, founded(database) as made:
        made.rows.execute(CONFUSED.format(asha=made.people["asha"].user))
        yield made
