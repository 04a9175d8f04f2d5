"""What a person is told of themselves, in one query."""

from typing import LiteralString

ME: LiteralString = """
    SELECT u.factor_confirmed_at IS NOT NULL,
        (SELECT count(*) FROM recovery_codes c WHERE c.user_id = u.id AND c.used_at IS NULL),
        u.password_changed_at,
        coalesce((SELECT json_agg(a ORDER BY a.at DESC, a.id DESC) FROM (
            SELECT l.id, l.at, l.kind, l.actor_id, l.subject_id, l.account_id, l.address, l.details FROM access_log l
            WHERE l.subject_id = u.id AND l.kind = ANY (%(alarming)s)
                AND l.at > (SELECT app_now()) - interval '30 days'
            ORDER BY l.at DESC, l.id DESC LIMIT 20) a), '[]')
    FROM users u WHERE u.id = (SELECT app_user())
"""

_USER: LiteralString = """
    SELECT u.id, u.name, u.role, u.created_at, u.password_hash IS NOT NULL AS can_log_in, u.disabled_at,
        u.factor_confirmed_at IS NOT NULL AS has_second_factor, u.failed_logins,
        (SELECT max(l.at) FROM access_log l WHERE l.subject_id = u.id AND l.kind = 'logged_in') AS last_login_at,
        (SELECT count(*) FROM broker_accounts a WHERE a.user_id = u.id AND a.state <> 'closed') AS accounts
    FROM users u
"""
USERS: LiteralString = (
    _USER
    + """
    WHERE %(after_at)s::timestamptz IS NULL OR (u.created_at, u.id) < (%(after_at)s, %(after_id)s::uuid)
    ORDER BY u.created_at DESC, u.id DESC LIMIT %(limit)s
"""
)
USER: LiteralString = _USER + "WHERE u.id = %(user)s"

# What waits and what runs, of everybody.
QUEUE: LiteralString = """
    SELECT b.kind, count(*) FILTER (WHERE b.status = 'queued'), count(*) FILTER (WHERE b.status = 'running'),
        min(b.queued_at) FILTER (WHERE b.status = 'queued')
    FROM (
        SELECT 'sync' AS kind, status, queued_at FROM sync_batches WHERE status IN ('queued', 'running')
        UNION ALL
        SELECT 'request', status, created_at FROM account_requests WHERE status IN ('queued', 'running')
    ) b GROUP BY b.kind
"""

# How syncs went, without anything they read.
BATCHES: LiteralString = """
    SELECT b.id, b.account_id, u.name AS owner, b.trigger, b.status, b.queued_at, b.started_at, b.finished_at,
        b.trading_on, b.error_class
    FROM sync_batches b JOIN broker_accounts a ON a.id = b.account_id JOIN users u ON u.id = a.user_id
    WHERE (%(status)s::text IS NULL OR b.status = %(status)s)
        AND (%(account)s::uuid IS NULL OR b.account_id = %(account)s)
        AND (%(after)s::uuid IS NULL OR b.id < %(after)s)
    ORDER BY b.id DESC LIMIT %(limit)s
"""
