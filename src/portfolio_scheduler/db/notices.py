"""What the owner should hear of: kept once a day at most for each account and kind, whoever notices it and how often.

Nothing is sent from here. `status` shows what is still open; whoever passes notices on reads `since`.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.rows import rows

APPROVAL_NEEDED = "approval_needed"  # the API key must be approved for today
TOKEN_NEEDED = "token_needed"  # a pasted token has died
LOGIN_REFUSED = "login_refused"  # TOTP, or credentials of another account
NOT_ENTITLED = "not_entitled"  # the broker lets the account read nothing
SYNC_FAILED = "sync_failed"  # all retries failed
ANSWER_UNKNOWN = "answer_unknown"  # for the developers: the broker says what we do not know, again and again
REFUSED = "refused"  # for the developers: the broker refuses a call that should be right
BUG = "bug"  # for the developers: the program failed twice
SECRET_UNREADABLE = "secret_unreadable"  # the key file does not open the credentials

LOGIN = (APPROVAL_NEEDED, TOKEN_NEEDED, LOGIN_REFUSED)
OPEN_FOR = timedelta(days=2)  # after that nobody is helped by it; a trouble that lasts is noticed anew each day


class Notice(Struct, frozen=True, kw_only=True):
    """One thing to hear of."""

    id: UUID
    account_id: UUID
    account: str  # label
    kind: str
    noticed_on: date
    noticed_at: datetime
    text: str
    link: str | None


async def notice(
    tx: Tx, account_id: UUID, kind: str, *, on: date, at: datetime, text: str, link: str | None = None
) -> bool:
    """Keep it, unless the account has one of that kind today. Says whether it is new."""
    cursor = await tx.execute(
        """
        INSERT INTO notices (account_id, kind, noticed_on, noticed_at, text, link) VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT DO NOTHING
        """,
        (account_id, kind, on, at, text, link),
    )
    return cursor.rowcount == 1


async def open_notices(tx: Tx, account_ids: Sequence[UUID], now: datetime) -> list[Notice]:
    """Those that nothing has settled since: no completed sync, and for logins no probe that went well either."""
    query = """
        SELECT n.*, a.label AS account FROM notices n JOIN broker_accounts a ON a.id = n.account_id
        WHERE n.account_id = ANY(%(accounts)s) AND n.noticed_at > %(since)s
            AND NOT EXISTS (SELECT FROM effective_batches b WHERE b.account_id = n.account_id
                AND b.finished_at > n.noticed_at AND b.status = 'completed')
            AND NOT (n.kind = ANY(%(login)s) AND a.state = 'active')
        ORDER BY n.id
    """
    parameters = {"accounts": list(account_ids), "since": now - OPEN_FOR, "login": list(LOGIN)}
    return await rows(tx, query, parameters, Notice)


async def since(tx: Tx, last: UUID | None, limit: int = 1000) -> list[Notice]:
    """The next ones after the last that was passed on, in the order they came."""
    query = """
        SELECT n.*, a.label AS account FROM notices n JOIN broker_accounts a ON a.id = n.account_id
        WHERE %(last)s::uuid IS NULL OR n.id > %(last)s ORDER BY n.id LIMIT %(limit)s
    """
    return await rows(tx, query, {"last": last, "limit": limit}, Notice)
