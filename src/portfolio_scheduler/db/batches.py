"""Batches: one attempt to sync one account each. The table is the truth about what runs; a queue job only wakes it up.

At most one batch per account is open, by a unique index. A claim raises the account's fence, so that a worker that
lost its batch can no longer write. Leases use the database's clock.
"""

import zlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from portfolio_scheduler.db.documents import document, read
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.records import Fetched, Margin, SectionResult
from portfolio_scheduler.errors import Conflict, Fenced, InvalidInput, NotFound

STALE_SECONDS = 20  # the default of the setting PORTFOLIO_SCHEDULER_LEASE_SECONDS
BEATS_PER_LEASE = 4


class Claim(Struct, frozen=True, kw_only=True):
    """The right to run one batch, until another worker takes it over."""

    id: UUID
    account_id: UUID
    fence: int
    trigger: str
    wanted: list[str] | None  # sections to fetch; None for all


class Running(Struct, frozen=True, kw_only=True):
    """An open batch of somebody else."""

    id: UUID
    status: str
    started_at: datetime | None


async def start(
    tx: Tx,
    account_id: UUID,
    *,
    trigger: str,
    now: datetime,
    worker: str,
    wanted: Sequence[str] | None = None,
    stale_seconds: float = STALE_SECONDS,
) -> Claim:
    """Open a batch and claim it. A queued one is taken over, and reads everything if this asks for everything; a
    running one is a `Conflict` that names it."""
    await _give_up_stale(tx, account_id, now, stale_seconds)
    await tx.execute(
        """
        INSERT INTO sync_batches (account_id, trigger, wanted, status, queued_at)
        VALUES (%s, %s, %s, 'queued', %s)
        ON CONFLICT (account_id) WHERE status IN ('queued', 'running') DO UPDATE SET wanted = NULL
            WHERE sync_batches.status = 'queued' AND EXCLUDED.wanted IS NULL
        """,
        (account_id, trigger, list(wanted) if wanted is not None else None, now),
    )
    claim = await claim_queued(tx, account_id, now=now, worker=worker)
    if claim is None:
        running = await open_batch(tx, account_id)
        since = f" since {running.started_at:%H:%M:%S} UTC" if running and running.started_at else ""
        raise Conflict(f"Batch {running.id if running else '?'} of this account is already running{since}.")
    return claim


async def ask(tx: Tx, account_ids: Sequence[UUID], now: datetime) -> list[UUID]:
    """Queue a batch by hand for each account that has none open. A queued one that was to read some sections reads
    everything. Returns the accounts whose batch is new and wants a job."""
    cursor = await tx.execute(
        """
        INSERT INTO sync_batches (account_id, trigger, status, queued_at)
        SELECT id, 'manual', 'queued', %s FROM unnest(%s::uuid[]) AS asked (id) ORDER BY id
        ON CONFLICT (account_id) WHERE status IN ('queued', 'running') DO UPDATE SET wanted = NULL
            WHERE sync_batches.status = 'queued' AND sync_batches.wanted IS NOT NULL
        RETURNING account_id, xmax = 0
        """,
        (now, list(account_ids)),
    )
    return [account_id for account_id, is_new in await cursor.fetchall() if is_new]


async def claim_queued(tx: Tx, account_id: UUID, *, now: datetime, worker: str) -> Claim | None:
    """Claim the account's queued batch, if there is one and nobody else is at it."""
    async with tx.cursor(row_factory=class_row(Claim)) as cursor:
        await cursor.execute(
            """
            WITH queued AS (
                SELECT id FROM sync_batches WHERE account_id = %(account)s AND status = 'queued' FOR UPDATE SKIP LOCKED
            ), head AS (
                UPDATE account_heads SET fence = fence + 1
                WHERE account_id = %(account)s AND EXISTS (SELECT FROM queued) RETURNING fence
            )
            UPDATE sync_batches b SET status = 'running', fence = head.fence, worker = %(worker)s,
                started_at = %(now)s, heartbeat_at = clock_timestamp()
            FROM queued, head WHERE b.id = queued.id
            RETURNING b.id, b.account_id, b.fence, b.trigger, b.wanted
            """,
            {"account": account_id, "worker": worker, "now": now},
        )
        return await cursor.fetchone()


async def open_batch(tx: Tx, account_id: UUID) -> Running | None:
    async with tx.cursor(row_factory=class_row(Running)) as cursor:
        await cursor.execute(
            """
            SELECT id, status, started_at FROM sync_batches
            WHERE account_id = %s AND status IN ('queued', 'running')
            """,
            (account_id,),
        )
        return await cursor.fetchone()


async def _give_up_stale(tx: Tx, account_id: UUID, now: datetime, stale_seconds: float) -> None:
    """A running batch without a heartbeat is its dead worker's; its fence is raised before anybody else starts."""
    await tx.execute(
        """
        WITH stale AS (
            UPDATE sync_batches SET status = 'failed', finished_at = greatest(%(now)s, started_at),
                error_class = 'WorkerLost', error_text = 'the worker that ran this batch stopped without a word'
            WHERE account_id = %(account)s AND status = 'running'
                AND heartbeat_at < clock_timestamp() - make_interval(secs => %(stale)s)
            RETURNING account_id
        )
        UPDATE account_heads h SET fence = fence + 1 FROM stale WHERE h.account_id = stale.account_id
        """,
        {"account": account_id, "now": now, "stale": stale_seconds},
    )


async def shut(tx: Tx, account_id: UUID, now: datetime, reason: str) -> UUID | None:
    """End the account's open batch, if any, and raise the fence: nobody writes for the account any more."""
    await tx.execute("UPDATE account_heads SET fence = fence + 1 WHERE account_id = %s", (account_id,))
    cursor = await tx.execute(
        """
        UPDATE sync_batches SET status = 'failed', finished_at = greatest(%s, started_at),
            error_class = 'AccountClosed', error_text = %s
        WHERE account_id = %s AND status IN ('queued', 'running') RETURNING id
        """,
        (now, reason, account_id),
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def beat(tx: Tx, claim: Claim) -> None:
    """Say that the worker is alive; a worker that lost its batch is told so."""
    cursor = await tx.execute(
        """
        UPDATE sync_batches SET heartbeat_at = clock_timestamp()
        WHERE account_id = %s AND id = %s AND fence = %s AND status = 'running'
        """,
        (claim.account_id, claim.id, claim.fence),
    )
    if cursor.rowcount != 1:
        raise Fenced


class KeptAnswer(Struct, frozen=True, kw_only=True):
    """A raw answer without its body, which is kept as the payload of that number."""

    call: str
    section: str
    request: str
    status: int
    payload: int  # its seq
    fetched_at: datetime


class KeptReading(Struct, frozen=True, kw_only=True):
    """What a batch read, in the order of the answers, and how each section was fetched: all a replay needs."""

    answers: list[KeptAnswer]
    sections: dict[str, SectionResult]

    def packed(self) -> bytes:
        return zlib.compress(document([{"answers": self.answers, "sections": plain(self.sections)}]).encode()[1:-1])

    @classmethod
    def unpacked(cls, packed: bytes) -> "KeptReading":
        return _reading(zlib.decompress(packed))


_reading = msgspec.json.Decoder(KeptReading).decode


def plain(sections: Mapping[str, SectionResult]) -> dict[str, dict[str, str]]:
    """The outcome of each section; an error, a reason and a digest only where there is one."""
    told = {}
    for name, result in sections.items():
        said = {"outcome": result.outcome.value} | {
            word: getattr(result, word) for word in ("error", "reason", "digest")
        }
        told[name] = {word: value for word, value in said.items() if value is not None}
    return told


async def save_reading(
    tx: Tx,
    claim: Claim,
    fetched: Fetched,
    payloads: Mapping[bytes, int],
    *,
    observed_at: datetime,
    trading_on: date,
    standing: str,
) -> None:
    """Which raw answers this batch read when; `payloads` are the numbers under which they are kept."""
    answers = [
        KeptAnswer(
            call=answer.call,
            section=answer.section,
            request=answer.request,
            status=answer.status,
            payload=payloads[answer.digest],
            fetched_at=answer.fetched_at,
        )
        for answer in fetched.answers
    ]
    await tx.execute(
        """
        UPDATE sync_batches SET reading = %s, observed_at = %s, trading_on = %s, standing = %s
        WHERE account_id = %s AND id = %s AND fence = %s
        """,
        (
            KeptReading(answers=answers, sections=fetched.sections).packed() if answers else None,
            observed_at,
            trading_on,
            standing,
            claim.account_id,
            claim.id,
            claim.fence,
        ),
    )


class Result(Struct, frozen=True, kw_only=True):
    """How a batch ended."""

    status: str  # completed, partial, failed
    sections: dict[str, SectionResult] = {}
    counts: dict[str, int] = {}
    flags: tuple[str, ...] = ()
    margin: Margin | None = None
    observed_at: datetime | None = None
    trading_on: date | None = None
    standing: str | None = None
    error_class: str | None = None
    error_text: str | None = None
    fingerprint: bytes | None = None  # of what was asked first; None when it must not be taken for a repetition


async def finish(tx: Tx, claim: Claim, result: Result, now: datetime, *, keep_slot: bool = True) -> None:
    """Close the batch for good; after this the database refuses any change to it.

    A slot that only a wrong clock had reached is let go, so that its own time may still come.
    """
    cursor = await tx.execute(
        """
        UPDATE sync_batches SET status = %(status)s, finished_at = greatest(%(now)s, started_at),
            sections = %(sections)s, counts = %(counts)s, flags = %(flags)s, margin = %(margin)s,
            observed_at = coalesce(%(observed_at)s, observed_at), trading_on = coalesce(%(trading_on)s, trading_on),
            standing = coalesce(%(standing)s, standing),
            error_class = %(error_class)s, error_text = %(error_text)s, fingerprint = %(fingerprint)s,
            slot_at = CASE WHEN %(keep_slot)s THEN slot_at END,
            last_seq = (SELECT seq FROM account_heads WHERE account_id = %(account)s)
        WHERE account_id = %(account)s AND id = %(id)s AND fence = %(fence)s AND status = 'running'
        """,
        {
            "account": claim.account_id,
            "id": claim.id,
            "fence": claim.fence,
            "now": now,
            "status": result.status,
            "sections": Jsonb(plain(result.sections)),
            "counts": Jsonb({what: count for what, count in result.counts.items() if count}),
            "flags": Jsonb(result.flags),
            "margin": Jsonb(result.margin, dumps=_json) if result.margin else None,
            "observed_at": result.observed_at,
            "trading_on": result.trading_on,
            "standing": result.standing,
            "error_class": result.error_class,
            "error_text": result.error_text,
            "fingerprint": result.fingerprint,
            "keep_slot": keep_slot,
        },
    )
    if cursor.rowcount != 1:
        raise Fenced


class Repeated(Struct, frozen=True, kw_only=True):
    """A finished batch that said all there is to say of its day."""

    id: UUID
    margin: Margin | None


async def repeated(
    tx: Tx, claim: Claim, trading_on: date, fingerprint: bytes, sections: Mapping[str, SectionResult]
) -> Repeated | None:
    """The batch straight before this one, if it read the same of the same day, well and after the close, and left
    nothing that a second look would settle. A replay or the owner's hand in between raises the fence by its own."""
    cursor = await tx.execute(
        """
        SELECT id, margin FROM sync_batches b
        WHERE account_id = %(account)s AND trading_on = %(day)s AND fence = %(fence)s - 1
            AND fingerprint = %(fingerprint)s AND sections = %(sections)s
            AND status = 'completed' AND standing = 'final' AND flags = '[]'
            AND NOT EXISTS (SELECT FROM rereadings r WHERE r.account_id = b.account_id AND r.batch_id = b.id)
            AND NOT EXISTS (SELECT FROM open_findings f
                WHERE f.account_id = b.account_id AND f.kind IN ('SUSPECT', 'MISSING', 'DISCREPANCY'))
        """,
        {
            "account": claim.account_id,
            "day": trading_on,
            "fence": claim.fence,
            "fingerprint": fingerprint,
            "sections": Jsonb(plain(sections)),
        },
    )
    row = await cursor.fetchone()
    return (
        Repeated(id=row[0], margin=msgspec.convert(row[1], Margin, strict=False) if row[1] else None) if row else None
    )


async def is_finished(tx: Tx, claim: Claim) -> bool:
    """Whether this very claim has been brought to its end."""
    cursor = await tx.execute(
        "SELECT FROM sync_batches WHERE account_id = %s AND id = %s AND fence = %s AND finished_at IS NOT NULL",
        (claim.account_id, claim.id, claim.fence),
    )
    return cursor.rowcount == 1


def _json(value: Any) -> bytes:
    return document([value]).encode()[1:-1]


class Readings(Struct, frozen=True, kw_only=True):
    """What earlier batches of the account have read."""

    holdings_read_on: date | None  # trading day of the last good reading of holdings
    done: list[str]  # sections read well after the close of the trading day asked for
    asked: list[str]  # all sections asked for then
    margin: Margin | None  # of that day, the last


async def readings(tx: Tx, account_id: UUID, trading_on: date) -> Readings:
    """What has been read before, for the day and at all."""
    cursor = await tx.execute(
        """
        SELECT
            (SELECT trading_on FROM effective_batches WHERE account_id = %(account)s AND trading_on IS NOT NULL
                AND sections #>> '{holdings,outcome}' = 'ok'
                ORDER BY trading_on DESC, finished_at DESC LIMIT 1),
            (SELECT coalesce(array_agg(DISTINCT s.key), '{}') FROM effective_batches b, jsonb_each(b.sections) s
                WHERE b.account_id = %(account)s AND b.trading_on = %(day)s AND b.standing <> 'provisional'
                AND s.value ->> 'outcome' IN ('ok', 'not_entitled')),
            (SELECT coalesce(array_agg(DISTINCT k.key), '{}')
                FROM effective_batches b, jsonb_object_keys(b.sections) k (key)
                WHERE b.account_id = %(account)s AND b.trading_on = %(day)s AND b.standing <> 'provisional'),
            (SELECT margin FROM effective_batches WHERE account_id = %(account)s AND trading_on = %(day)s
                AND margin IS NOT NULL ORDER BY fence DESC LIMIT 1)
        """,
        {"account": account_id, "day": trading_on},
    )
    row = await cursor.fetchone()
    assert row is not None
    read_on, done, asked, margin = row
    return Readings(
        holdings_read_on=read_on,
        done=done,
        asked=asked,
        margin=msgspec.convert(margin, Margin, strict=False) if margin else None,
    )


class Kept(Struct, frozen=True, kw_only=True):
    """A finished batch with all that a replay needs of it, and what it read as it is understood now."""

    id: UUID
    status: str
    observed_at: datetime | None  # None when it got no answers
    trading_on: date | None
    standing: str | None
    reading: bytes | None  # packed
    sections: dict[str, SectionResult]
    flags: tuple[str, ...]
    margin: Margin | None

    @property
    def can_be_replayed(self) -> bool:
        return self.reading is not None and self.observed_at is not None


_kept = msgspec.json.Decoder(list[Kept])


async def kept(tx: Tx, account_id: UUID) -> list[Kept]:
    """The finished batches of an account in the order in which they ran (not by id: clocks may be set back)."""
    return await read(
        tx,
        """
        SELECT coalesce(json_agg(json_build_object('id', e.id, 'status', e.status, 'observed_at', e.observed_at,
            'trading_on', e.trading_on, 'standing', e.standing, 'sections', e.sections, 'flags', e.flags,
            'reading', translate(encode(b.reading, 'base64'), chr(10), ''), 'margin', e.margin)
            ORDER BY b.fence, b.finished_at, b.id), '[]')::text
        FROM effective_batches e JOIN sync_batches b ON b.id = e.id
        WHERE e.account_id = %(account)s AND e.finished_at IS NOT NULL
        """,
        {"account": account_id},
        _kept,
    )


async def fences(tx: Tx, account_id: UUID) -> dict[UUID, int]:
    """The account's batches by the order in which they ran: the higher the later."""
    cursor = await tx.execute("SELECT id, fence FROM sync_batches WHERE account_id = %s", (account_id,))
    return dict(await cursor.fetchall())


async def find(tx: Tx, reference: str) -> tuple[UUID, UUID]:
    """Id and account of the one batch whose id begins so."""
    cursor = await tx.execute(
        "SELECT id, account_id FROM effective_batches WHERE starts_with(id::text, lower(%s)) LIMIT 2", (reference,)
    )
    found = await cursor.fetchall()
    if len(reference) < 6 or not found:
        raise NotFound(
            f"There is no batch {reference!r}; give its id or the beginning of it (six characters or more), as "
            "`accounts show ACCOUNT --json` prints it."
        )
    if len(found) > 1:
        raise InvalidInput(f"More than one batch begins with {reference!r}; give more of its id.")
    batch_id, account_id = found[0]
    return batch_id, account_id
