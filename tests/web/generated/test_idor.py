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
import structlog
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
    readers: frozenset[str] = frozenset()  # of asha's things: "vimala", whom she shares with
    body: Mapping[str, Any] = {}
    query: Mapping[str, str] = {}
    ids: Mapping[str, str] = {}  # where a name means something else than in `IDS`


SHARED = Row(THING, frozenset({"vimala"}))

ROWS: dict[str, Row] = {
    "alive": Row(OPEN),
    "ready": Row(OPEN),
    "log_in": Row(OPEN, body={"name": "nobody in particular"}),  # tries at asha's would count, as they must
    "refresh": Row(OPEN),
    "log_out": Row(MINE),
    "show_me": Row(MINE),
    "list_my_log": Row(MINE),
    "register": Row(OPEN, body={"name": "somebody new"}),
    "list_invitations": Row(ADMIN),
    "invite": Row(ADMIN),
    "end_invitation": Row(ADMIN),
    "reauthenticate": Row(MINE),
    "change_password": Row(MINE),
    "begin_totp": Row(MINE),
    "confirm_totp": Row(MINE),
    "remove_totp": Row(MINE),
    "renew_recovery_codes": Row(MINE),
    "list_sessions": Row(MINE),
    "end_session": Row(THING),
    "end_other_sessions": Row(MINE),
    "list_api_tokens": Row(MINE),
    "create_api_token": Row(MINE),
    "end_api_token": Row(THING),
    "list_grants": Row(MINE),
    "grant_view": Row(MINE, body={"name": "vimala", "expires_at": "2026-06-01T00:00:00Z"}),
    "end_grant": Row(THING),
    "list_users": Row(ADMIN),
    "show_user": Row(ADMIN),
    "disable_user": Row(ADMIN),
    "enable_user": Row(ADMIN),
    "unlock_user": Row(ADMIN),
    "change_role": Row(ADMIN),
    "list_audit": Row(ADMIN),
    "show_queue": Row(ADMIN),
    "list_all_batches": Row(ADMIN),
    "list_accounts": Row(MINE, frozenset({"vimala"})),
    "show_account": SHARED,
    "connect_account": Row(
        MINE,
        body={"api_key": "k", "api_secret": "s"},
        query={"force": "true"},
        ids={"account_id": "client_code"},
    ),
    "change_account": Row(THING, SHARED.readers, body={"label": "taken over"}),
    "close_account": SHARED,
    "test_account": SHARED,
    "refresh_account_token": SHARED,
    "sync": SHARED,
    "list_holdings": SHARED,
    "list_positions": SHARED,
    "list_orders": SHARED,
    "show_order": SHARED,
    "list_fills": SHARED,
    "list_changes": Row(MINE, frozenset({"vimala"})),
    "list_snapshots": SHARED,
    "list_coverage": SHARED,
    "show_summary": SHARED,
    "show_household": Row(MINE),
    "show_schedules": SHARED,
    "set_schedules": Row(THING, SHARED.readers, body={"schedules": [{"cron": "0 9 * * 1-5"}]}),
    "preview_schedules": Row(MINE),
    "make_ws_ticket": Row(MINE),
    "stream_events": Row(MINE),  # what it may carry to whom is tested where it is read
    "list_batches": SHARED,
    "show_batch": SHARED,
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
    "accountId": "account_id",
    "invitation_id": "invitation_id",
}
ABSENT = {"order_id": "NO-SUCH-ORDER", "symbol": "NOSUCH", "client_code": "999999999"}  # the others are random UUIDs
NO_IDS = {"api_key"}  # end like one, and are none

OTHERS = ("nobody", "ravi", "vimala", "mohan", "deepa", "anand")
REFUSED = {401, 403, 404}
PERSON = {"name", "user"}
PUBLIC = {"symbol"}  # names no thing of anybody
PRIVATE = {"session", "token"}  # nobody's but hers
FIGURES = {"order", "client code"}  # which administering does not need
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


def ids_of(operation: Operation) -> list[str]:
    return [*id_parameters(operation), *id_fields(operation)]


def _is_id(name: str) -> bool:
    return name not in NO_IDS and (name in IDS or re.search(r"(_id|Id|_key)s?$", name) is not None)


def unknown(document: Mapping[str, Any], rows: Mapping[str, Row], ids: Mapping[str, str]) -> list[str]:
    """What the matrix cannot ask, since nobody has said what to expect."""
    missing = []
    for operation in operations(document):
        if operation.name not in rows:
            missing.append(f"{operation.name} has no row in ROWS")
        missing += [
            f"{operation.name} takes `{name}`, which is not in IDS" for name in ids_of(operation) if name not in ids
        ]
    return missing


# ── asking ──


class Matrix:
    """All questions about some operations, and what was wrong with the answers."""

    def __init__(self, town: Town, rows: Mapping[str, Row] = ROWS, *, confused: bool = False) -> None:
        self.town, self.rows = town, rows
        self.confused = confused  # the application takes everybody for asha, so her name in an answer says nothing
        self.hers = town.ids_of("asha")
        self.own = {who: {} if who == "nobody" else town.ids_of(who) for who in OTHERS}
        self.marks = town.marks_of("asha")
        self.asked = 0
        self.people: dict[str, Person] = {}  # whose sessions are as they were: only reads were asked since

    def faults(self, document: Mapping[str, Any]) -> Iterator[str]:
        found = [o for o in operations(document) if o.name in self.rows]
        for operation in sorted(found, key=lambda o: (o.method != "GET", o.method == "DELETE")):
            before = None if operation.method == "GET" else self.town.digest_of("asha")
            administered = operation.method != "GET" and self.rows[operation.name].about == ADMIN
            for who in OTHERS:
                # An administrator may; and what one may, row security cannot tell from what the application confuses.
                if who != "anand" or operation.method == "GET" or not (administered or self.confused):
                    yield from self.of(operation, who)
            if before is not None and (changed := self.town.changes(before, self.town.digest_of("asha"))):
                yield f"{operation.name}: somebody else changed what is asha's in {changed}"
            if administered and not self.confused:
                yield from self.of(operation, "anand")  # who may, and did
                self.town.fresh("asha")

    def of(self, operation: Operation, who: str) -> Iterator[str]:
        """Their own ids, then each of hers among their own, then all of hers."""
        if operation.is_endless and who not in LOCKED_OUT:
            return
        kinds = {name: self.rows[operation.name].ids.get(name, IDS[name]) for name in ids_of(operation)}
        absent = {name: ABSENT.get(kind, str(uuid4())) for name, kind in kinds.items()}
        own = {name: self.own[who].get(kind) or absent[name] for name, kind in kinds.items()}
        needed = {*operation.names("path"), *(operation.body or {}).get("required", ())}
        if operation.method == "GET" or not kinds:
            yield from self.wrong_with(*self.ask(Cell(operation, who, own, "own")))
        for name, kind in kinds.items():
            if kind in PUBLIC:
                continue
            assert self.hers.get(kind), f"asha has no {kind}: the town must be populated with one"
            given = {other: value for other, value in own.items() if other in needed} | {name: self.hers[kind]}
            yield from self.compared(Cell(operation, who, given, "her"), {**given, name: absent[name]})
        if len(kinds) > 1:
            given = {name: self.hers[kind] for name, kind in kinds.items()}
            yield from self.compared(Cell(operation, who, given, "all of her"), absent)

    def compared(self, cell: Cell, absent: Mapping[str, str]) -> Iterator[str]:
        """Foreign and absent are answered alike, but to those who may read it."""
        _, foreign, looks = self.ask(cell)
        yield from self.wrong_with(cell, foreign, looks)
        if not self.reads(cell) and self.row(cell).about != OPEN:
            other, nothing, _ = self.ask(Cell(cell.operation, cell.who, absent, "absent"))
            echoed = self.row(cell).about == MINE  # what they made of it is theirs, and shows what they sent
            one, two = (likeness(answer, c.ids if echoed else {}) for c, answer in ((cell, foreign), (other, nothing)))
            if one != two:
                yield f"{cell}: {one}, but absent ones: {two}"

    def wrong_with(self, cell: Cell, answer: httpx.Response, looks: int) -> Iterator[str]:
        row = self.row(cell)
        if cell.who in LOCKED_OUT and row.about != OPEN and answer.status_code != 401:
            yield f"{cell}: {answer.status_code} instead of 401"
        if row.about == ADMIN and cell.who != "anand" and not self.confused and answer.status_code not in REFUSED:
            yield f"{cell}: {answer.status_code}, although it is for administrators"
        if answer.status_code >= 500:
            yield f"{cell}: {answer.status_code}"
        if answer.is_success and cell.operation.method != "GET" and cell.whose != "own" and row.about == THING:
            yield f"{cell}: {answer.status_code}, although only she may"
        if answer.is_success and self.is_look(cell) and self.town.looks() == looks:
            yield f"{cell}: an administrator looked, and nothing tells of it"
        text = answer.text + "".join(answer.headers.values())
        sent = set(cell.ids.values())
        if shown := [(kind, mark) for kind, mark in self.forbidden(cell) if mark in text and mark not in sent]:
            yield f"{cell}: shows {shown}"

    def forbidden(self, cell: Cell) -> Iterator[tuple[str, str]]:
        """What this person may not be shown, whatever they ask."""
        for kind, mark in self.marks:
            if kind in PERSON and (self.confused or cell.who in {"vimala", "mohan", "anand"}):
                continue  # she shares, or did; an administrator knows who is here
            if self.reads(cell) and kind not in PRIVATE:
                continue
            if self.row(cell).about == ADMIN and cell.who == "anand" and kind not in FIGURES:
                continue
            yield kind, mark

    def reads(self, cell: Cell) -> bool:
        row = self.row(cell)
        return cell.who in row.readers or (cell.who == "anand" and (row.about == ADMIN or self.is_look(cell)))

    def is_look(self, cell: Cell) -> bool:
        """An administrator asks for another's figures."""
        named = "userId" in cell.ids and cell.whose != "own"
        return cell.who == "anand" and named and self.row(cell).about != ADMIN

    def row(self, cell: Cell) -> Row:
        return self.rows[cell.operation.name]

    def ask(self, cell: Cell) -> tuple[Cell, httpx.Response, int]:
        """The question, its answer, and how often administrators had looked before."""
        self.asked += 1
        looks = self.town.looks() if self.is_look(cell) else 0
        operation, row = cell.operation, self.row(cell)
        query = {name: value for name, value in cell.ids.items() if name in operation.names("query")}
        options: dict[str, Any] = {"params": {**row.query, **query}}
        if operation.body is not None:
            inside = {name: value for name, value in cell.ids.items() if name in id_fields(operation)}
            options["json"] = {**example(operation.body), **row.body, **inside}
        person: Person | None = None
        if cell.who != "nobody":
            person = self.people[cell.who] = self.people.get(cell.who) or self.town.fresh(cell.who)
        if operation.method != "GET":
            self.people.clear()
        return cell, self.town.ask(person, operation.method, operation.address(cell.ids), **options), looks


NEW_IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def likeness(answer: httpx.Response, sent: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
    """All that a stranger could tell two answers apart by, but for the ids of what was made just now."""

    def plain(text: str) -> str:
        for name, value in sent.items():
            text = text.replace(value, f"<{name}>")
        return NEW_IDS.sub("<new>", text)

    headers = {name: plain(value) for name, value in answer.headers.items()}
    if "etag" in headers:  # its second half is a digest of what was asked, which differs
        headers["etag"] = headers["etag"].partition("-")[0]
    return answer.status_code, headers, plain(answer.text)


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


@pytest.mark.usefixtures("silent")
def test_row_security_alone_keeps_people_apart(confused: Town, tell: Callable[[str, object], None]) -> None:
    """The application takes everybody for asha, and an admin at that: all its own filters are without effect."""
    matrix = Matrix(confused, {name: row for name, row in ROWS.items() if row.about != OPEN}, confused=True)
    found = [fault for fault in matrix.faults(confused.document) if "shows" in fault or "changed" in fault]
    tell("IDOR matrix without the application's filters", f"{matrix.asked}, {len(found)} leaks")
    assert not found, "\n".join(found[:20])


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("table", ["broker_accounts", "sync_batches"])
def test_a_table_without_row_security_is_found(confused: Town, table: str) -> None:
    rows = {name: ROWS[name] for name in ("list_accounts", "show_account", "show_batch")}
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


@pytest.fixture
def silent() -> None:
    """A confused application meets refusals it does not expect, and pictures each of its tracebacks for a second."""

    def drop(*_: object) -> None:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])


@pytest.fixture(scope="module")
def confused(template: Database, admin: Any) -> Iterator[Town]:
    """A town whose database tells the application that whoever asks is asha, and an admin, while its own policies know
    better: what the application checks or filters by itself is then always of asha."""
    with copied(template, admin) as database, founded(database) as made:
        made.rows.execute(CONFUSED.format(asha=made.people["asha"].user))
        yield made
