"""Syncs: asking for one, and what came of those that were. The API queues a batch and its job; a worker reads."""

from datetime import date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from msgspec import Struct
from psycopg.rows import tuple_row

from portfolio_scheduler.db import batches, idempotency
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.queue import BY_HAND, enqueue
from portfolio_scheduler.db.reads import viewed_batches
from portfolio_scheduler.db.viewers import Viewer, as_viewer, read
from portfolio_scheduler.errors import Conflict, NotAllowed, NotFound, TooMany
from portfolio_scheduler.web.asking import CLOSED, NO_ACCOUNT
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import READ, SYNC, At, Who, check_scope
from portfolio_scheduler.web.errors import PROBLEMS, WRITE_PROBLEMS
from portfolio_scheduler.web.listing import Cursor, Limit, Page, cursor_of, keys_of
from portfolio_scheduler.web.subjects import About

PATH = "/portfolio-scheduler"
MOST_AN_HOUR = 6  # syncs by hand of an account
HOUR = timedelta(hours=1)
TRIES = 3

Key = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[ -~]+$",
        description="Any text of your own: the same request with the same key within 24 hours is carried out once.",
    ),
]
Status = Literal["queued", "running", "completed", "partial", "failed"]
OfStatus = Annotated[Status | None, QueryParameter(name="status", description="Only batches that stand so.")]


class SyncWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which account to read; none: all of yours that are not paused."""

    account_id: UUID | None = None


class SectionAnswer(Struct, frozen=True, kw_only=True):
    """How the reading of one section ended."""

    outcome: str  # ok, failed, unstable, suspect, not_entitled …
    error: str | None = None
    reason: str | None = None


class BatchAnswer(Struct, frozen=True, kw_only=True):
    """One attempt to read an account."""

    id: UUID
    account_id: UUID
    trigger: str  # manual, scheduled, catch-up, retry, or replay: read again from what was kept
    status: str  # queued, running, completed, partial or failed
    wanted: list[str] | None  # sections it is to read; null for all
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    observed_at: datetime | None  # when the broker said it
    trading_on: date | None
    standing: str | None  # provisional before the close, final after it, late on another day
    sections: dict[str, SectionAnswer]
    counts: dict[str, int]  # facts written, by kind
    flags: list[str]
    error_class: str | None
    error_text: str | None


class Skipped(Struct, frozen=True, kw_only=True):
    """An account that was not queued."""

    account_id: UUID
    reason: str


class Queued(Struct, frozen=True, kw_only=True):
    """The batches that read what was asked for: new ones, and those that were open already."""

    batches: list[BatchAnswer]
    skipped: list[Skipped]


class _Keys(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of batches ended."""

    id: UUID


@post(
    PATH + "/sync", status_code=HTTPStatus.ACCEPTED.value, tags=["syncs"], responses=WRITE_PROBLEMS, security=SECURITY
)
async def sync(place: At, entry: Who, data: JSONBody[SyncWish], idempotency_key: Key = None) -> Response[Queued]:
    """Queue a reading of one account or of all that are not paused. An account has one open batch at most: asking
    again returns it. By hand an account is read at most six times an hour."""
    now = place.app.clock.now()
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_scope(viewer, SYNC)
        given = None
        if idempotency_key is not None:
            given = await idempotency.take(tx, viewer.user_id, idempotency_key, _digested(data), now)
        if given is not None:
            return Response(msgspec.convert(given, Queued), status_code=HTTPStatus.ACCEPTED.value)
        queued = await _queue(tx, viewer, data.account_id, now)
        if idempotency_key is not None:
            answer = msgspec.to_builtins(queued)
            await idempotency.keep(tx, viewer.user_id, idempotency_key, HTTPStatus.ACCEPTED.value, answer)
    return Response(queued, status_code=HTTPStatus.ACCEPTED.value)


def _digested(data: SyncWish) -> bytes:
    return b"POST sync " + msgspec.json.encode(data)


async def _queue(tx: Tx, viewer: Viewer, account_id: UUID | None, now: datetime) -> Queued:
    async with tx.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(viewed_batches.MINE, {"now": now, "account": account_id, "user": viewer.user_id})
        found = await cursor.fetchall()
    if account_id is not None:
        _check_one(viewer, found)
    ids = [row[0] for row in found]
    already = await _open(tx, ids)
    has_open = {one.account_id for one in already}
    skipped = [
        Skipped(account_id=id_, reason=_too_often(since, now).message)
        for id_, _, _, times, since in found
        if times >= MOST_AN_HOUR and id_ not in has_open
    ]
    if skipped and len(skipped) == len(ids):
        raise _too_often(min(row[4] for row in found), now)
    asked = [id_ for id_ in ids if id_ not in {one.account_id for one in skipped}]
    return Queued(batches=await _ask(tx, asked, now), skipped=skipped)


def _check_one(viewer: Viewer, found: list[tuple[Any, ...]]) -> None:
    if not found:
        raise NotFound(NO_ACCOUNT)
    _, user_id, state, _, _ = found[0]
    if user_id != viewer.user_id:
        raise NotAllowed("This account is shared with you for reading; only its owner may sync it.")
    if state == "closed":
        raise Conflict(CLOSED)


def _too_often(since: datetime, now: datetime) -> TooMany:
    return TooMany(
        f"It was read by hand {MOST_AN_HOUR} times in the last hour; its schedule goes on.",
        retry_after_seconds=max(1, int((since + HOUR - now).total_seconds()) + 1),
    )


async def _ask(tx: Tx, account_ids: list[UUID], now: datetime) -> list[BatchAnswer]:
    """The open batch of each. One that was running may end before it can be shown: then a new one is queued."""
    found: list[BatchAnswer] = []
    for _ in range(TRIES):
        new = await batches.ask(tx, account_ids, now)
        await enqueue(tx, new, priority=BY_HAND)
        found = await _open(tx, account_ids)
        if len(found) == len(account_ids):
            return found
    raise Conflict("Batches of these accounts end as fast as they begin; try again.")


async def _open(tx: Tx, account_ids: list[UUID]) -> list[BatchAnswer]:
    async with tx.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(viewed_batches.OPEN, (account_ids,))
        return [_answer(row) for row in await cursor.fetchall()]


@get(PATH + "/sync-history/{account_id:uuid}", tags=["syncs"], responses=PROBLEMS, security=SECURITY)
async def list_batches(
    place: At,
    subject: About,
    account_id: FromPath[UUID],
    status: OfStatus = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[BatchAnswer]:
    """The batches of an account, the newest first."""
    params = {
        "account": account_id,
        "before": keys_of(cursor, _Keys).id if cursor else None,
        "status": status,
        "limit": limit + 1,
    }
    viewer, rows = await read(place.pool, subject, viewed_batches.HISTORY, params)
    check_scope(viewer, READ)
    if not rows:
        raise NotFound(NO_ACCOUNT)
    items = [_answer(row) for row in rows[:limit] if row[0] is not None]
    more = len(rows) > limit
    return Page(items=items, next=cursor_of(_Keys(items[-1].id)) if more else None)


@get(PATH + "/sync/{batch_id:uuid}", tags=["syncs"], responses=PROBLEMS, security=SECURITY)
async def show_batch(place: At, subject: About, batch_id: FromPath[UUID]) -> BatchAnswer:
    """One batch: how it stands, or how it ended, section by section."""
    viewer, rows = await read(place.pool, subject, viewed_batches.ONE, {"batch": batch_id})
    check_scope(viewer, READ)
    if not rows:
        raise NotFound("There is no such batch.")
    return _answer(rows[0])


def _answer(row: tuple[Any, ...]) -> BatchAnswer:
    fields = dict(zip(BatchAnswer.__struct_fields__, row, strict=True))
    fields["sections"] = msgspec.convert(fields["sections"], dict[str, SectionAnswer])
    return BatchAnswer(**fields)


ROUTES = (sync, list_batches, show_batch)
