"""Probes of logins: which accounts may be probed, the claim to do it, and its end. Leases by the database's clock."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from msgspec import Struct
from psycopg.rows import class_row

from portfolio_scheduler.db.pool import Tx

ATTEMPTS = 3  # of a probe that could not reach the broker, or whose process died
AGAIN_AFTER_SECONDS = 600
LEASE_SECONDS = 120  # a probe that has not ended by then died with its process

# A probe that is over, or that somebody is at; with `p` the row of the day.
_SETTLED = f"""
    CASE WHEN p.outcome IS NULL THEN p.attempts >= {ATTEMPTS}
             OR p.claimed_at > clock_timestamp() - make_interval(secs => {LEASE_SECONDS})
         WHEN p.outcome = 'later' THEN p.attempts >= {ATTEMPTS}
             OR p.claimed_at > clock_timestamp() - make_interval(secs => {AGAIN_AFTER_SECONDS})
         ELSE true END
"""


class Unprobed(Struct, frozen=True, kw_only=True):
    """Accounts of one timetable that are not probed yet."""

    schedules: list[dict[str, Any]]
    late_pass: bool
    segments: list[str]
    account_ids: list[UUID]


async def unprobed(tx: Tx, on: date, now: datetime) -> list[Unprobed]:
    """Accounts whose login may be probed that day. One that syncs, or must be left alone, is not."""
    async with tx.cursor(row_factory=class_row(Unprobed)) as cursor:
        await cursor.execute(
            f"""
            SELECT schedules, late_pass, segments, array_agg(id) AS account_ids
            FROM broker_accounts a
            WHERE state IN ('active', 'needs_login') AND (resume_at IS NULL OR resume_at <= %(now)s)
                AND NOT EXISTS (SELECT FROM login_probes p
                    WHERE p.account_id = a.id AND p.probe_on = %(on)s AND {_SETTLED})
                AND NOT EXISTS (SELECT FROM sync_batches b
                    WHERE b.account_id = a.id AND b.status IN ('queued', 'running'))
            GROUP BY schedules, late_pass, segments
            """,  # noqa: S608 - constants
            {"on": on, "now": now},
        )
        return await cursor.fetchall()


async def claim(tx: Tx, account_ids: Sequence[UUID], on: date) -> list[UUID]:
    """The right to probe these accounts today, of those that nobody else has taken."""
    cursor = await tx.execute(
        f"""
        INSERT INTO login_probes AS p (account_id, probe_on, claimed_at)
        SELECT id, %s, clock_timestamp() FROM unnest(%s::uuid[]) AS due (id) ORDER BY id
        ON CONFLICT (account_id, probe_on) DO UPDATE
            SET claimed_at = clock_timestamp(), attempts = p.attempts + 1, outcome = NULL, ended_at = NULL
            WHERE NOT ({_SETTLED})
        RETURNING account_id
        """,  # noqa: S608 - constants
        (on, list(account_ids)),
    )
    return [account_id for (account_id,) in await cursor.fetchall()]


async def finish(tx: Tx, account_id: UUID, on: date, *, outcome: str, text: str | None, now: datetime) -> None:
    await tx.execute(
        "UPDATE login_probes SET outcome = %s, text = %s, ended_at = %s WHERE account_id = %s AND probe_on = %s",
        (outcome, text, now, account_id, on),
    )
