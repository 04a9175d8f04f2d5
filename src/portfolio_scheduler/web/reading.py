"""How every read answers: one round trip, an ETag, a kept body where nothing has changed, JSON or a file.

The question carries the versions that are known, of the body kept here and of the one the client holds. The database
says the present version, and the rows only where it is none of those.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

import msgspec
from litestar import Request, Response
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from msgspec import Struct

from portfolio_scheduler import __version__
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db.gated import Gated, Told
from portfolio_scheduler.db.viewers import Entry, read_unless
from portfolio_scheduler.domain.plain_json import encoded
from portfolio_scheduler.errors import InvalidInput, NotFound
from portfolio_scheduler.market.calendar import Calendar
from portfolio_scheduler.web import tables
from portfolio_scheduler.web.bodies import Body
from portfolio_scheduler.web.entry import READ, check_scope
from portfolio_scheduler.web.errors import PROBLEMS, WRITE_PROBLEMS
from portfolio_scheduler.web.place import Place

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"

AsOf = Annotated[
    date | None,
    QueryParameter(name="as_of", description="As it was at the end of this day (YYYY-MM-DD). Left out: as it is now."),
]
KnownAt = Annotated[
    datetime | None,
    QueryParameter(name="known_at", description="What was believed at this instant (RFC 3339, with its offset)."),
]
Since = Annotated[date | None, QueryParameter(name="since", description="From this trading day on.")]
To = Annotated[date | None, QueryParameter(name="to", description="To this trading day.")]
On = Annotated[date | None, QueryParameter(name="on", description="Of this trading day only.")]
Symbol = Annotated[
    str | None,
    QueryParameter(
        name="symbol", min_length=1, max_length=60, description="This trading symbol, in any case; no pattern."
    ),
]
Segment = Annotated[
    Literal["CASH", "FNO", "COMMODITY"] | None, QueryParameter(name="segment", description="Of this segment.")
]
Side = Annotated[Literal["BUY", "SELL"] | None, QueryParameter(name="side", description="Of this side.")]
Sort = Annotated[Literal["newest", "oldest"], QueryParameter(name="sort", description="What comes first.")]
Table: TypeAlias = Literal["json", "csv"]
AsTable = Annotated[
    Table | None, QueryParameter(name="format", description="JSON, or a CSV file. Left out: what `Accept` says.")
]
File: TypeAlias = Literal["json", "csv", "parquet"]
AsFile = Annotated[
    File | None,
    QueryParameter(name="format", description="JSON, a CSV or a Parquet file. Left out: what `Accept` says."),
]

UNCHANGED = ResponseSpec(
    data_container=None, generate_examples=False, description="What `If-None-Match` names still holds."
)
READ_PROBLEMS = PROBLEMS | {HTTPStatus.NOT_MODIFIED.value: UNCHANGED}
FILE_PROBLEMS = READ_PROBLEMS | {422: WRITE_PROBLEMS[422]}


class Question(Struct, frozen=True, kw_only=True):
    """What a route asks of the database, and how the answer is made of what comes back."""

    name: str  # of the route; a file is called so
    query: Gated
    params: Mapping[str, Any]
    make: Callable[[bytes], Struct | bytes]  # the document → the answer, or its JSON
    record: type[Struct]  # of a row in a file
    made_by: tuple[object, ...] = ()  # what else decides what `make` makes
    rows: str = "items"  # the field whose rows a file has; without such a field the answer is the row
    absent: str = "There is no such account."


class Asked(Struct, frozen=True, kw_only=True):
    """A question as it was asked at a moment; asked again, it is the same as long as the moment is."""

    question: Question
    told: Told
    form: File
    moment: tuple[str, ...]
    digest: bytes  # of all that decides the answer but the rows and who asks


class Found(Struct, frozen=True, kw_only=True):
    """What there is to say."""

    status: HTTPStatus
    headers: dict[str, str]
    body: bytes


async def answered(
    place: Place, entry: Entry, request: Request[Any, Any, Any], question: Question, form: File | None
) -> Response[Any]:
    """The answer to a question as its viewer may have it. Whoever may not see the account is told it is absent."""
    accept, moment = request.headers.get("accept", ""), moment_of(place)
    params = repr(sorted(question.params.items()))
    asked = Asked(
        question=question,
        told=question.query.told(question.params),
        form=form or _accepted(accept),
        moment=moment,
        digest=_digest(question.name, params, repr(question.made_by), *moment),
    )
    if (failed := request.scope["state"].get("failed")) is not None:  # it was asked already (`front.py`)
        raise failed
    found = await find(place, entry, asked, request.headers.get("if-none-match", ""))
    lasts = moment == moment_of(place, entry.at)  # not when it passed while the route made its question
    # Who looks at somebody is recorded each time.
    if asked.form == "json" and lasts and "userId" not in request.query_params:
        place.repeats.put(request.scope, accept, asked)
    if found.status == HTTPStatus.NOT_MODIFIED:
        return Response(None, status_code=found.status, headers=found.headers, media_type=JSON)
    return _formed(question, asked.form, found.body, found.headers)


async def find(place: Place, entry: Entry, asked: Asked, if_none_match: str) -> Found:
    """The answer as JSON, or that it is still what the client holds."""
    question = asked.question
    who = (entry.session_id or _NOBODY).bytes + (entry.token_digest or b"") + (entry.subject_id or _NOBODY).bytes
    # Of one account everybody who sees it gets the same; of all that somebody sees, each their own.
    key = asked.digest if question.query.scope == "account" else _blake(asked.digest, who)
    mine = _blake(key, who, asked.form.encode()).hex()
    held = _held(if_none_match, mine) if if_none_match else []
    kept = place.bodies.get(key)
    known = [*held, kept.version] if kept else held
    viewer, version, document = await read_unless(place.lines, entry, asked.told, known)
    check_scope(viewer, READ)
    if version is None:
        raise NotFound(question.absent)
    headers = {"etag": f'"{version}-{mine}"', "vary": "Accept, Authorization"}
    if version in held:
        return Found(status=HTTPStatus.NOT_MODIFIED, headers=headers, body=b"")
    if document is None:
        if kept is None or kept.version != version:
            raise NotFound(question.absent)
        return Found(status=HTTPStatus.OK, headers=headers, body=kept.content)
    answer = question.make(document)
    body = answer if isinstance(answer, bytes) else encoded(answer)
    place.bodies.put(key, Body(version, body))
    return Found(status=HTTPStatus.OK, headers=headers, body=body)


def moment_of(place: Place, at: datetime | None = None) -> tuple[str, ...]:
    """What an answer depends on besides the rows: the trading day, whether it has closed, what the calendar knows."""
    second = (at or place.app.clock.now()).replace(microsecond=0)
    return _moment(place.app.calendar, place.app.calendar.edition, second)


@lru_cache(maxsize=8)  # sessions close on whole seconds, and a second has many reads
def _moment(calendar: Calendar, edition: int, second: datetime) -> tuple[str, ...]:
    session = calendar.session(current := calendar.trading_on(second))
    closed = session is None or second >= session.closes_at
    return (__version__, str(current), str(closed), str(edition))


_NOBODY = UUID(int=0)


def _digest(*parts: str) -> bytes:
    return _blake("\x00".join(parts).encode())


def _blake(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=12).digest()


def _held(header: str, mine: str) -> list[str]:
    """The versions that the client holds of this very answer."""
    tags = (tag.strip().removeprefix("W/").strip('"') for tag in header[:2000].split(","))
    versions = (tag.removesuffix(f"-{mine}") for tag in tags if tag.endswith(f"-{mine}"))
    return [version for version in versions if version.isascii() and version.isalnum()]


def _accepted(accept: str) -> File:
    if "text/csv" in accept:
        return "csv"
    return "parquet" if "parquet" in accept else "json"


def _formed(question: Question, form: File, body: bytes, headers: dict[str, str]) -> Response[Any]:
    if form == "json":
        return Response(body, media_type=JSON, headers=headers)
    told = msgspec.json.decode(body)
    items = told.get(question.rows, [told])
    if told.get("next"):
        headers["Portfolio-Next"] = told["next"]
    if "completeness" in told:
        headers["Portfolio-Completeness"] = json.dumps(told["completeness"])  # all ASCII, as headers must be
    headers["Content-Disposition"] = f'attachment; filename="{question.name}.{form}"'
    if form == "csv":
        return Response(tables.as_csv(items, question.record), media_type=CSV, headers=headers)
    return Response(tables.as_parquet(items, question.record), media_type=PARQUET, headers=headers)


def check_past(place: Place, as_of: date | None, known_at: datetime | None = None) -> None:
    """Only what has been can be looked back at."""
    now = place.app.clock.now()
    if as_of is not None and as_of > ist_date(now):
        raise InvalidInput(f"`as_of` {as_of} lies in the future; today is {ist_date(now)}.")
    if known_at is not None and known_at.tzinfo is None:
        raise InvalidInput("`known_at` needs its offset, as in 2026-04-24T16:00:00+05:30 (in an address: %2B05:30).")
    if known_at is not None and known_at > now:
        raise InvalidInput("`known_at` lies in the future.")


def check_text(**given: str | None) -> None:
    """PostgreSQL's text holds no NUL, so nothing can be called so."""
    for name, text in given.items():
        if text is not None and "\x00" in text:
            raise InvalidInput(f"`{name}` holds a NUL character.")
