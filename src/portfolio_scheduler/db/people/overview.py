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
