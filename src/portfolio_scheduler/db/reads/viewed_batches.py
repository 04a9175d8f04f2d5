"""Batches as their viewer may see them: the queries behind the API. Row-level security does the choosing."""

from typing import LiteralString

_SHOWN: LiteralString = """
    SELECT b.id, b.account_id, b.trigger, b.status, b.wanted, b.queued_at, b.started_at, b.finished_at, b.observed_at,
    b.trading_on, b.standing, b.sections, b.counts, b.flags, b.error_class, b.error_text
"""

# Newest first. An account without batches gives one row of nulls, one that nobody may see none.
HISTORY: LiteralString = (
    _SHOWN
    + """
    FROM broker_accounts a LEFT JOIN LATERAL (
        SELECT * FROM sync_batches s
        WHERE s.account_id = a.id AND (%(before)s::uuid IS NULL OR s.id < %(before)s)
            AND (%(status)s::text IS NULL OR s.status = %(status)s)
        ORDER BY s.id DESC LIMIT %(limit)s
    ) b ON true
    WHERE a.id = %(account)s ORDER BY b.id DESC
"""
)

ONE: LiteralString = _SHOWN + " FROM sync_batches b WHERE b.id = %(batch)s"

OPEN: LiteralString = (
    _SHOWN
    + """
    FROM sync_batches b WHERE b.account_id = ANY(%s) AND b.status IN ('queued', 'running') ORDER BY b.account_id
"""
)

# What the viewer may have synced: their own, open ones; and how often each was in the last hour.
MINE: LiteralString = """
    SELECT a.id, a.user_id, a.state, used.times, used.since
    FROM broker_accounts a CROSS JOIN LATERAL (
        SELECT count(*) AS times, min(s.queued_at) AS since FROM sync_batches s
        WHERE s.account_id = a.id AND s.trigger = 'manual' AND s.queued_at > %(now)s - interval '1 hour'
            AND s.id > uuidv7(interval '-2 hours')
    ) used
    WHERE CASE WHEN %(account)s::uuid IS NULL THEN a.user_id = %(user)s AND a.state IN ('active', 'needs_login')
        ELSE a.id = %(account)s END
    ORDER BY a.created_at, a.id
"""
