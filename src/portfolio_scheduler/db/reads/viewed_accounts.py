"""Accounts as their viewer may see them: the queries behind the API's lists. Row-level security does the choosing."""

from typing import LiteralString

_COLUMNS: LiteralString = """
    SELECT a.id, coalesce(u.name, g.owner_name) AS owner, a.broker, a.broker_account_id, a.ucc, a.label, a.login,
        CASE WHEN a.state = 'active' AND a.ucc IS NULL THEN 'untested' ELSE a.state END AS state,
        a.segments, a.schedules, a.late_pass, a.token_expires_at, a.credentials_fingerprint, a.credentials_at,
        a.created_at
    FROM broker_accounts a LEFT JOIN users u ON u.id = a.user_id
    LEFT JOIN LATERAL (
        SELECT g.owner_name FROM viewer_grants g WHERE g.owner_id = a.user_id AND u.id IS NULL
        ORDER BY g.granted_at DESC LIMIT 1
    ) g ON true
"""

LISTED: LiteralString = (
    _COLUMNS
    + """
    WHERE %(after_at)s::timestamptz IS NULL OR (a.created_at, a.id) > (%(after_at)s, %(after_id)s)
    ORDER BY a.created_at, a.id LIMIT %(limit)s
"""
)

ONE: LiteralString = _COLUMNS + " WHERE a.id = %(account)s"

# For those who want to act on it: their own or somebody else's, and what the act goes by.
OWNED: LiteralString = "SELECT user_id, state, label, login, broker FROM broker_accounts WHERE id = %s"
LABELLED: LiteralString = (
    "SELECT EXISTS (SELECT FROM broker_accounts WHERE user_id = %s AND label = %s AND state <> 'closed' AND id <> %s)"
)
SCHEDULED: LiteralString = (
    "SELECT schedules, late_pass, segments, state, planned_through FROM broker_accounts WHERE id = %(account)s"
)
