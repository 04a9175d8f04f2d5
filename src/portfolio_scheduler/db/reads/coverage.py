"""Which trading days we have, section by section."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.rows import rows


class CoverageDay(Struct, frozen=True, kw_only=True):
    """One trading day of one account. No section at all: nothing was read."""

    account_id: UUID
    account: str  # label
    segments: list[str]  # active ones, as the broker said last
    trading_on: date
    expected: bool  # False before the account was connected and after it was removed
    sections: dict[str, str]  # section → complete, provisional, partial, late, lost, imported
    recovered: list[str] = []  # ids of orders that were asked for later, one by one, and answered
    unanswered: list[str] = []  # the same of those the broker did not know any more


async def coverage(tx: Tx, account_ids: Sequence[UUID], closes: Mapping[date, datetime]) -> list[CoverageDay]:
    """A row for each account and each of these days, newest day first; one query."""
    query = """
        SELECT a.id AS account_id, a.label AS account, a.segments, d.trading_on, coalesce(c.sections, '{}') AS sections,
            c.sections IS NOT NULL OR (a.created_at < d.closes_at AND d.trading_on <= coalesce(
                (SELECT max(e.trading_on) FROM ledger_events e
                 WHERE e.account_id = a.id AND e.kind = 'CONFIG' AND e.subject = 'closed'), d.trading_on)) AS expected,
            coalesce(r.recovered, '{}') AS recovered, coalesce(r.unanswered, '{}') AS unanswered
        FROM broker_accounts a
        CROSS JOIN unnest(%(days)s::date[], %(closes)s::timestamptz[]) AS d (trading_on, closes_at)
        LEFT JOIN (
            SELECT account_id, trading_on, jsonb_object_agg(section, state) AS sections FROM coverage
            WHERE account_id = ANY(%(accounts)s) AND trading_on = ANY(%(days)s) GROUP BY account_id, trading_on
        ) c ON (c.account_id, c.trading_on) = (a.id, d.trading_on)
        LEFT JOIN (
            SELECT account_id, trading_on,
                array_agg(subject ORDER BY first) FILTER (WHERE NOT silent) AS recovered,
                array_agg(subject ORDER BY first) FILTER (WHERE silent) AS unanswered
            FROM (
                SELECT account_id, trading_on, subject, min(seq) AS first, bool_or(kind = 'GAP') AS silent
                FROM effective_ledger_events
                WHERE account_id = ANY(%(accounts)s) AND trading_on = ANY(%(days)s) AND kind IN ('RECOVERED', 'GAP')
                    AND section <> 'orders' GROUP BY account_id, trading_on, subject
            ) asked GROUP BY account_id, trading_on
        ) r ON (r.account_id, r.trading_on) = (a.id, d.trading_on)
        WHERE a.id = ANY(%(accounts)s)
        ORDER BY a.created_at, a.id, d.trading_on DESC
    """
    return await rows(
        tx, query, {"accounts": list(account_ids), "days": list(closes), "closes": list(closes.values())}, CoverageDay
    )
