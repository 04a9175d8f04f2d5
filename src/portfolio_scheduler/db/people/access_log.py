"""The access log: what happened to logins, who changed access, and who saw whose figures. It is only added to."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.viewers import Entry, Viewer


class Event(StrEnum):
    """What happened. `actor` did it, `subject` is whose login or figures it was."""

    REGISTERED = "registered"
    LOGGED_IN = "logged_in"
    LOGIN_FAILED = "login_failed"
    LOGIN_STOPPED = "login_stopped"  # too many failures in a row: only devices that are known are let in
    LIMIT_REACHED = "limit_reached"  # further tries are refused for some minutes
    LOGGED_OUT = "logged_out"
    REAUTHENTICATED = "reauthenticated"
    REFRESH_REUSED = "refresh_reused"  # a copied refresh token: the session was ended
    SESSION_ENDED = "session_ended"
    PASSWORD_CHANGED = "password_changed"
    FACTOR_BEGUN = "factor_begun"
    FACTOR_CONFIRMED = "factor_confirmed"
    FACTOR_REMOVED = "factor_removed"
    RECOVERY_CODE_USED = "recovery_code_used"
    RECOVERY_CODES_RENEWED = "recovery_codes_renewed"
    TOKEN_CREATED = "token_created"
    TOKEN_ENDED = "token_ended"
    INVITED = "invited"
    INVITATION_ENDED = "invitation_ended"
    GRANTED = "granted"
    GRANT_ENDED = "grant_ended"
    ROLE_CHANGED = "role_changed"
    DISABLED = "disabled"
    ENABLED = "enabled"
    UNLOCKED = "unlocked"  # an admin lifted the stop after too many failures
    ADMIN_LOOKED = "admin_looked"  # an admin read another user's figures
    DENIED = "denied"  # an act of an admin that somebody else tried


# What their subject should be told of without looking for it.
ALARMING = (
    Event.LOGIN_STOPPED,
    Event.LIMIT_REACHED,
    Event.REFRESH_REUSED,
    Event.RECOVERY_CODE_USED,
    Event.FACTOR_REMOVED,
    Event.ADMIN_LOOKED,
)


async def record(
    tx: Tx,
    event: Event,
    at: datetime,
    address: str,
    *,
    actor_id: UUID | None = None,
    subject_id: UUID | None = None,
    account_id: UUID | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    """Add a row, in the transaction of what it tells of. `details` never holds a secret or what somebody mistyped."""
    await tx.execute(
        """
        INSERT INTO access_log (at, kind, actor_id, subject_id, account_id, address, details)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (at, event.value, actor_id, subject_id, account_id, address, Jsonb(dict(details or {}))),
    )


async def record_own(
    tx: Tx, event: Event, entry: Entry, viewer: Viewer, details: Mapping[str, object] | None = None
) -> None:
    """Add what the viewer did with their own login."""
    await record(
        tx,
        event,
        entry.at,
        entry.address,
        actor_id=viewer.user_id,
        subject_id=viewer.user_id,
        details=details,
    )


_COLUMNS: LiteralString = """
    SELECT l.id, l.at, l.kind, l.actor_id, l.subject_id, l.account_id, l.address, l.details FROM access_log l
"""
_AFTER: LiteralString = """
    AND (%(kind)s::text IS NULL OR l.kind = %(kind)s)
    AND (%(after_at)s::timestamptz IS NULL OR (l.at, l.id) < (%(after_at)s, %(after_id)s::uuid))
    ORDER BY l.at DESC, l.id DESC LIMIT %(limit)s
"""

# What concerns the viewer, newest first.
MINE: LiteralString = (
    _COLUMNS + "WHERE (l.subject_id = (SELECT app_user()) OR l.actor_id = (SELECT app_user()))" + _AFTER
)

# Of everybody, for admins; or of one user.
ALL: LiteralString = (
    _COLUMNS + "WHERE (%(user)s::uuid IS NULL OR l.subject_id = %(user)s OR l.actor_id = %(user)s)" + _AFTER
)
