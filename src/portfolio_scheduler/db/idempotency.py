"""Requests that carry an `Idempotency-Key` are carried out once: asking again with the same key gives the same answer.

The key is taken in the transaction that does what is asked. Whoever asks at the same time waits for its end: either it
was done, and they get its answer, or nothing was, and they do it.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.errors import Unprocessable

LIFE = timedelta(hours=24)


async def take(tx: Tx, user_id: UUID, key: str, request: bytes, now: datetime) -> Any | None:
    """The answer that this request was given before; None when it is the first, which must `keep` its own."""
    digest = hashlib.sha256(request).digest()
    cursor = await tx.execute(
        """
        INSERT INTO idempotency_keys (user_id, key, request_digest, created_at, status, answer)
        VALUES (%(user)s, %(key)s, %(digest)s, %(now)s, 0, '{}')
        ON CONFLICT (user_id, key) DO UPDATE SET request_digest = EXCLUDED.request_digest,
            created_at = EXCLUDED.created_at, status = 0, answer = '{}'
            WHERE idempotency_keys.created_at <= %(expired)s
        """,
        {"user": user_id, "key": key, "digest": digest, "now": now, "expired": now - LIFE},
    )
    if cursor.rowcount == 1:
        return None
    cursor = await tx.execute(
        "SELECT request_digest, answer FROM idempotency_keys WHERE user_id = %s AND key = %s", (user_id, key)
    )
    row = await cursor.fetchone()
    assert row is not None
    if row[0] != digest:
        raise Unprocessable(
            "This `Idempotency-Key` came with another request in the last 24 hours; take a new one for each request."
        )
    return row[1]


async def keep(tx: Tx, user_id: UUID, key: str, status: int, answer: Any) -> None:
    """What the request that took the key is answered."""
    await tx.execute(
        "UPDATE idempotency_keys SET status = %s, answer = %s WHERE user_id = %s AND key = %s",
        (status, Jsonb(answer), user_id, key),
    )
