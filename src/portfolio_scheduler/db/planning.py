"""What the planner reads and writes: who may be due, batches for those who are, retries, and what dead workers left.

Every statement works on all accounts at once. Instants come from the caller's clock; leases from the database's.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from portfolio_scheduler.db.gaps import LOOK_BACK, MORNINGS
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.queue import SYNC_ACCOUNT
from portfolio_scheduler.errors import PortfolioSchedulerError

RETRY_AFTER = timedelta(minutes=15)
RETRY_WITHIN = timedelta(hours=12)  # after that it is a matter for the next slot
RETRIES = 3
INTERRUPTIONS = 20  # retries that were interrupted, until it seems to be the account that ends its workers
AHEAD = timedelta(minutes=5)  # planned further into the future than this: the clock has been set back since
FAR_AHEAD = timedelta(hours=6)  # by so much that we cannot tell what has been done of the day it really is
BUG_RETRIES = 1  # two attempts, then it is a dead letter: a bug does not mend itself
SAME_ANSWERS = 3  # as often as a broker may say the same thing that we do not understand
FULL = "StorageFull"
# Repeating these changes nothing: the owner or we must act first.
NEVER_RETRIED = ("BrokerLoginRequired", "BrokerNotEntitled", "BrokerRefused", "SecretUnreadable")
# The broker has nothing to do with these, so there is nothing to wait for.
INTERRUPTED = ("WorkerLost", "CancelledError", "KeyboardInterrupt")


class Kind(Struct, frozen=True, kw_only=True):
    """What decides when accounts are due; most accounts share it with many others."""

    schedules: list[dict[str, Any]]
    late_pass: bool
    commodity: bool
    planned_since: datetime  # the account of this kind that was planned longest ago
    planned_until: datetime  # and the one planned last


class KindDue(Struct, frozen=True, kw_only=True):
    """The newest slot of accounts of one kind."""

    kind: Kind
    slot_at: datetime
    trigger: str  # scheduled, catch-up


class Due(Struct, frozen=True, kw_only=True):
    account_id: UUID
    slot_at: datetime | None  # None after the clock was set far back: whatever time it is, the broker is asked
    trigger: str  # scheduled, catch-up


async def kinds(tx: Tx) -> list[Kind]:
    """How the accounts that are to be synced differ in when they are due."""
    async with tx.cursor(row_factory=class_row(Kind)) as cursor:
        await cursor.execute(
            """
            SELECT schedules, late_pass, 'COMMODITY' = ANY(segments) AS commodity,
                min(planned_through) AS planned_since, max(planned_through) AS planned_until
            FROM broker_accounts WHERE state IN ('active', 'needs_login')
            GROUP BY schedules, late_pass, 'COMMODITY' = ANY(segments)
            """
        )
        return await cursor.fetchall()


async def idle(tx: Tx, due: Sequence[KindDue], now: datetime) -> list[Due]:
    """The accounts whose newest slot nobody has seen to and that have no open batch.

    An account that somebody holds locked waits for a later tick; the others must not wait for it.

    After the clock was set back, `planned_through` lies in the future: then the slots themselves say what was done.
    Set back by so much that a day might be taken for one that is done, the account is read at once, once.
    """
    async with tx.cursor(row_factory=class_row(Due)) as cursor:
        await cursor.execute(
            """
            SELECT a.id AS account_id, CASE WHEN a.planned_through <= %(far)s THEN due.slot_at END AS slot_at,
                CASE WHEN a.planned_through <= %(far)s THEN due.trigger ELSE 'catch-up' END AS trigger
            FROM broker_accounts a
            JOIN unnest(%(schedules)s::jsonb[], %(late_pass)s::bool[], %(commodity)s::bool[], %(slots)s::timestamptz[],
                    %(triggers)s::text[]) AS due (schedules, late_pass, commodity, slot_at, trigger)
                ON a.schedules = due.schedules AND a.late_pass = due.late_pass
                AND ('COMMODITY' = ANY(a.segments)) = due.commodity
            WHERE a.state IN ('active', 'needs_login')
                AND (a.planned_through < due.slot_at OR a.planned_through > %(ahead)s)
                AND (a.resume_at IS NULL OR a.resume_at <= %(now)s) AND NOT EXISTS (
                SELECT FROM sync_batches b WHERE b.account_id = a.id AND b.status IN ('queued', 'running'))
            FOR NO KEY UPDATE OF a SKIP LOCKED
            """,
            {
                "schedules": [Jsonb(one.kind.schedules) for one in due],
                "late_pass": [one.kind.late_pass for one in due],
                "commodity": [one.kind.commodity for one in due],
                "slots": [one.slot_at for one in due],
                "triggers": [one.trigger for one in due],
                "now": now,
                "ahead": now + AHEAD,
                "far": now + FAR_AHEAD,
            },
        )
        return await cursor.fetchall()


async def mornings(tx: Tx, now: datetime, today: date, late: timedelta) -> list[Due]:
    """Idle accounts with unfinished orders that nobody has read since the morning after.

    Only those that can log in without their owner: the others would be told to act for a run that the day's own run
    makes needless.
    """
    query = f"""
        SELECT a.id AS account_id, m.at AS slot_at,
            CASE WHEN m.at >= %(now)s - %(late)s THEN 'scheduled' ELSE 'catch-up' END AS trigger
        FROM ({MORNINGS}) m JOIN broker_accounts a ON a.id = m.account_id
        WHERE a.state = 'active' AND (a.login = 'totp' OR a.token_expires_at > %(now)s) AND m.at <= %(now)s
            AND a.planned_through <= %(ahead)s AND (a.resume_at IS NULL OR a.resume_at <= %(now)s)
            AND NOT EXISTS (SELECT FROM sync_batches b WHERE b.account_id = a.id
                AND (b.status IN ('queued', 'running') OR coalesce(b.started_at, b.queued_at) >= m.at))
        FOR NO KEY UPDATE OF a SKIP LOCKED
    """  # noqa: S608 - a constant
    given = {"now": now, "today": today, "since": today - LOOK_BACK, "late": late, "ahead": now + AHEAD}
    async with tx.cursor(row_factory=class_row(Due)) as cursor:
        await cursor.execute(query, given)
        return await cursor.fetchall()


async def add_due(tx: Tx, due: Sequence[Due], now: datetime) -> list[UUID]:
    """A queued batch for each; one that has its slot already, or got an open batch meanwhile, is left alone.

    Returns the accounts that got one. `planned_through` moves for exactly those whose slot has its batch.
    """
    ids, slots = [each.account_id for each in due], [each.slot_at for each in due]
    cursor = await tx.execute(
        """
        INSERT INTO sync_batches (account_id, trigger, slot_at, status, queued_at)
        SELECT id, trigger, slot_at, 'queued', %s
        FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[]) AS due (id, trigger, slot_at)
        ORDER BY id  -- the same order in every planner, so that two of them cannot deadlock
        ON CONFLICT DO NOTHING RETURNING account_id
        """,
        (now, ids, [each.trigger for each in due], slots),
    )
    added = [account_id for (account_id,) in await cursor.fetchall()]
    await tx.execute(
        """
        UPDATE broker_accounts a SET planned_through = %(now)s
        FROM unnest(%(ids)s::uuid[], %(slots)s::timestamptz[]) AS due (id, slot_at)
        LEFT JOIN sync_batches b ON b.account_id = due.id AND b.slot_at = due.slot_at
        WHERE a.id = due.id AND (b.id IS NOT NULL OR due.slot_at IS NULL)
            AND (a.planned_through < %(now)s OR a.planned_through > %(ahead)s)
        """,
        {"now": now, "ahead": now + AHEAD, "ids": ids, "slots": slots},
    )
    return added


def _names(of: type[BaseException]) -> set[str]:
    return {of.__name__}.union(*(_names(one) for one in of.__subclasses__()))


# Errors by the class that batches keep: ours, the database's and the machine's troubles. Any other is a bug.
EXPECTED = sorted(
    {*INTERRUPTED, "AccountClosed"}.union(
        *(_names(one) for one in (PortfolioSchedulerError, psycopg.OperationalError, OSError))
    )
)

# Accounts whose newest batch ended badly, with what of it could be read again: `tried` counts the retries since the
# run that was due or asked for, without those that a full disk or an interruption ended, `in_a_row` the newest of these
# interruptions; `repeated` are sections that said the same unknown thing again and again. Of the accounts that
# `unsettled` names, since looking at one costs reading its history.
_ENDED_BADLY: LiteralString = """
    FROM broker_accounts a
    CROSS JOIN LATERAL (
        SELECT status, trigger, wanted, sections, error_class, error_text, finished_at FROM effective_batches
        WHERE account_id = a.id ORDER BY fence DESC NULLS FIRST, id DESC LIMIT 1) last
    CROSS JOIN LATERAL (
        SELECT coalesce(min(n) FILTER (WHERE trigger <> 'retry') - 1, count(*)) AS tried FROM (
            SELECT trigger, row_number() OVER (ORDER BY fence DESC NULLS FIRST, id DESC) AS n FROM effective_batches
            WHERE account_id = a.id AND NOT (trigger = 'retry' AND coalesce(error_class = ANY(%(uncounted)s), false))
            ORDER BY fence DESC NULLS FIRST, id DESC LIMIT %(retries)s) newest) newest
    CROSS JOIN LATERAL (
        SELECT coalesce(min(n) FILTER (WHERE trigger <> 'retry' OR NOT was_one) - 1, count(*)) AS in_a_row FROM (
            SELECT trigger, coalesce(error_class = ANY(%(interrupted)s), false) AS was_one,
                row_number() OVER (ORDER BY fence DESC NULLS FIRST, id DESC) AS n FROM effective_batches
            WHERE account_id = a.id AND last.error_class = ANY(%(interrupted)s)
            ORDER BY fence DESC NULLS FIRST, id DESC LIMIT %(interruptions)s) newest) interruptions
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(section), '{}') AS sections FROM (
            SELECT s.key AS section FROM (
                SELECT sections FROM sync_batches WHERE account_id = a.id AND trigger <> 'replay'
                ORDER BY fence DESC NULLS FIRST, id DESC LIMIT %(same)s) b, jsonb_each(b.sections) s
            WHERE s.value ->> 'error' = 'BrokerAnswerUnknown'
            GROUP BY s.key
            HAVING count(s.value ->> 'digest') = %(same)s AND count(DISTINCT s.value ->> 'digest') = 1) same) repeated
    CROSS JOIN LATERAL (
        SELECT array_agg(key ORDER BY key) FILTER (
                   WHERE (value ->> 'error' <> ALL(%(never)s) OR value ->> 'error' IS NULL)
                       AND key <> ALL(repeated.sections)) AS sections,
               count(*) AS bad
        FROM jsonb_each(last.sections) WHERE value ->> 'outcome' NOT IN ('ok', 'not_entitled')) missing
    CROSS JOIN LATERAL (
        SELECT string_agg(key, ', ' ORDER BY key) AS sections FROM jsonb_each(last.sections)
        WHERE value ->> 'outcome' = 'not_entitled' AND key <> 'prices') forbidden
    WHERE a.id = ANY(%(unsettled)s) AND a.state IN ('active', 'needs_login')
        AND last.finished_at > %(now)s - %(within)s
"""
_IS_BUG: LiteralString = "coalesce(last.error_class <> ALL(%(expected)s), false)"
_CAN_BE_RETRIED: LiteralString = f"""
    interruptions.in_a_row < %(interruptions)s
    AND newest.tried < CASE WHEN {_IS_BUG} THEN %(bug_retries)s ELSE %(retries)s END
    AND CASE WHEN missing.bad > 0 THEN missing.sections IS NOT NULL
             ELSE coalesce(last.error_class, '') <> ALL(%(never)s) END
"""
_WORDS: dict[str, object] = {
    "within": RETRY_WITHIN,
    "retries": RETRIES,
    "bug_retries": BUG_RETRIES,
    "same": SAME_ANSWERS,
    "never": list(NEVER_RETRIED),
    "interrupted": list(INTERRUPTED),
    "interruptions": INTERRUPTIONS,
    "full": FULL,
    "uncounted": [*INTERRUPTED, FULL],
    "expected": EXPECTED,
}


async def unsettled(tx: Tx, now: datetime) -> list[UUID]:
    """Accounts with a batch of the last hours that failed, is incomplete or found something forbidden, and that nobody
    has looked at since, or not for the last time. They stay locked: one that somebody else holds waits for later.

    The index `sync_batches_unsettled` passes over all that went well; its words are repeated here. It names no account
    too few: what a replay understood differently was replayed after it had been read.
    """
    cursor = await tx.execute(
        """
        SELECT a.id FROM broker_accounts a JOIN account_heads h ON h.account_id = a.id
        WHERE a.id IN (
                SELECT account_id FROM sync_batches WHERE finished_at > %(now)s - %(within)s
                    AND (status IN ('partial', 'failed') OR trigger = 'replay'
                        OR (sections - 'prices') @? '$.* ? (@.outcome == "not_entitled")'))
            AND (h.looked_fence IS DISTINCT FROM h.fence OR h.look_at <= %(now)s)
            AND a.state IN ('active', 'needs_login') AND NOT EXISTS (
                SELECT FROM sync_batches b WHERE b.account_id = a.id AND b.status IN ('queued', 'running'))
        ORDER BY a.id FOR NO KEY UPDATE OF a SKIP LOCKED
        """,
        {"now": now, "within": RETRY_WITHIN},
    )
    return [account_id for (account_id,) in await cursor.fetchall()]


async def note_looks(tx: Tx, account_ids: Sequence[UUID], now: datetime) -> None:
    """The planner has looked at these accounts. It looks again after the newest batch's time for a retry, or the
    broker's pause, and after that only when there is another batch; while the disk is full, whenever it can."""
    await tx.execute(
        """
        UPDATE account_heads h SET looked_fence = h.fence, look_at = CASE
            WHEN last.error_class = %(full)s THEN %(now)s
            WHEN a.resume_at > %(now)s OR last.finished_at + %(after)s > %(now)s
                THEN greatest(a.resume_at, last.finished_at + %(after)s) END
        FROM broker_accounts a
        CROSS JOIN LATERAL (SELECT error_class, finished_at FROM sync_batches
            WHERE account_id = a.id ORDER BY fence DESC NULLS FIRST, id DESC LIMIT 1) last
        WHERE h.account_id = a.id AND a.id IN (
            SELECT account_id FROM account_heads WHERE account_id = ANY(%(ids)s)
            ORDER BY account_id FOR NO KEY UPDATE SKIP LOCKED)
        """,
        {"now": now, "after": RETRY_AFTER, "full": FULL, "ids": list(account_ids)},
    )


async def add_retries(tx: Tx, unsettled: Sequence[UUID], now: datetime, *, roomy: bool) -> list[UUID]:
    """A queued batch for what is still missing, of those accounts whose newest batch ended badly some time ago.

    What a full disk ended is tried again as soon as there is room, what was interrupted at once, and neither counts
    among the tries. An account whose retries are interrupted again and again waits for its next slot.
    """
    cursor = await tx.execute(
        f"""
        INSERT INTO sync_batches (account_id, trigger, wanted, status, queued_at)
        SELECT a.id, 'retry', coalesce(missing.sections, last.wanted), 'queued', %(now)s
        {_ENDED_BADLY} AND last.status IN ('partial', 'failed') AND {_CAN_BE_RETRIED}
            AND (a.resume_at IS NULL OR a.resume_at <= %(now)s)
            AND CASE WHEN last.error_class = ANY(%(interrupted)s) THEN last.trigger <> 'manual'
                     WHEN last.error_class = %(full)s AND %(roomy)s THEN true
                     ELSE last.finished_at <= %(now)s - %(after)s END
        ORDER BY a.id ON CONFLICT DO NOTHING RETURNING account_id
        """,
        _WORDS | {"unsettled": list(unsettled), "now": now, "after": RETRY_AFTER, "roomy": roomy},
    )
    return [account_id for (account_id,) in await cursor.fetchall()]


async def add_notices(tx: Tx, unsettled: Sequence[UUID], now: datetime, on: date) -> list[tuple[str, str, str]]:
    """A notice for each of those whose newest batch ended in a way that no retry will mend: label, kind and text.

    A part the account may not read is one too, prices excepted: those can be imported.
    """
    cursor = await tx.execute(
        f"""
        WITH found AS (
            SELECT a.id, a.label, CASE
                    WHEN last.status = 'completed' OR last.error_class = 'BrokerNotEntitled' THEN 'not_entitled'
                    WHEN last.error_class = 'BrokerLoginRequired' THEN CASE a.login
                        WHEN 'approval' THEN 'approval_needed' WHEN 'token' THEN 'token_needed'
                        ELSE 'login_refused' END
                    WHEN last.error_class = 'SecretUnreadable' THEN 'secret_unreadable'
                    WHEN last.error_class = 'BrokerRefused' THEN 'refused'
                    WHEN last.error_class = 'BrokerAnswerUnknown' THEN 'answer_unknown'
                    WHEN {_IS_BUG} THEN 'bug' ELSE 'sync_failed' END AS kind,
                coalesce(last.error_text, 'the account may not read ' || forbidden.sections, last.error_class,
                    'part of it could not be read') AS text
            {_ENDED_BADLY}
                AND (coalesce(last.error_class, '') <> ALL(%(interrupted)s)
                    OR interruptions.in_a_row >= %(interruptions)s)
                AND CASE WHEN last.status IN ('partial', 'failed') THEN NOT ({_CAN_BE_RETRIED})
                         ELSE last.status = 'completed' AND forbidden.sections IS NOT NULL END
        ), new AS (
            INSERT INTO notices (account_id, kind, noticed_on, noticed_at, text)
            SELECT id, kind, %(on)s, %(now)s, label || ': ' || text FROM found ORDER BY id
            ON CONFLICT DO NOTHING RETURNING account_id, kind, text
        ) SELECT a.label, new.kind, new.text FROM new JOIN broker_accounts a ON a.id = new.account_id
        """,  # noqa: S608 - constants
        _WORDS | {"unsettled": list(unsettled), "now": now, "on": on},
    )
    return await cursor.fetchall()


async def give_up_stale(tx: Tx, now: datetime, stale_seconds: float) -> list[UUID]:
    """Fail running batches without a heartbeat and raise their accounts' fences. Locks heads first, as syncs do."""
    cursor = await tx.execute(
        """
        WITH stale AS MATERIALIZED (
            SELECT b.id FROM sync_batches b JOIN account_heads h USING (account_id)
            WHERE b.status = 'running' AND b.heartbeat_at < clock_timestamp() - make_interval(secs => %(stale)s)
            ORDER BY account_id FOR UPDATE OF h SKIP LOCKED
        ), lost AS (
            UPDATE sync_batches b SET status = 'failed', finished_at = greatest(%(now)s, started_at),
                error_class = 'WorkerLost', error_text = 'the worker that ran this batch stopped without a word'
            FROM stale WHERE b.id = stale.id AND b.status = 'running'
                AND b.heartbeat_at < clock_timestamp() - make_interval(secs => %(stale)s)
            RETURNING b.account_id
        )
        UPDATE account_heads h SET fence = fence + 1 FROM lost WHERE h.account_id = lost.account_id
        RETURNING h.account_id
        """,
        {"now": now, "stale": stale_seconds},
    )
    return [account_id for (account_id,) in await cursor.fetchall()]


async def unwoken(tx: Tx, stale_seconds: float) -> list[UUID]:
    """Accounts whose batch has been queued for a while and that no waiting job will wake a worker for."""
    cursor = await tx.execute(
        """
        SELECT account_id FROM sync_batches b
        WHERE status = 'queued' AND uuid_extract_timestamp(id) < clock_timestamp() - make_interval(secs => %s)
            AND NOT EXISTS (SELECT FROM procrastinate_jobs j
                WHERE j.status = 'todo' AND j.task_name = %s AND j.args ->> 'account_id' = b.account_id::text)
        """,
        (stale_seconds, SYNC_ACCOUNT),
    )
    return [account_id for (account_id,) in await cursor.fetchall()]
