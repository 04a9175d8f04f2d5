"""Second factors in the database: the locked secret, the last code that was used, and the recovery codes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from portfolio_scheduler.db.pool import Tx


async def use_step(tx: Tx, user_id: UUID, step: int) -> bool:
    """Whether the code of that step was not used before. A code works once, however many try it at the same moment."""
    cursor = await tx.execute(
        "UPDATE users SET factor_step = %s WHERE id = %s AND (factor_step IS NULL OR factor_step < %s)",
        (step, user_id, step),
    )
    return cursor.rowcount == 1


async def use_recovery_code(tx: Tx, user_id: UUID, digest: bytes, now: datetime) -> bool:
    """Whether it was one of theirs that had not been used."""
    cursor = await tx.execute(
        "UPDATE recovery_codes SET used_at = %s WHERE user_id = %s AND digest = %s AND used_at IS NULL",
        (now, user_id, digest),
    )
    return cursor.rowcount == 1


async def keep_box(tx: Tx, user_id: UUID, boxed: bytes) -> None:
    """The same secret, locked anew."""
    await tx.execute("UPDATE users SET factor_box = %s WHERE id = %s", (boxed, user_id))


async def propose(tx: Tx, user_id: UUID, boxed: bytes) -> None:
    """A secret that counts once a code of it was given."""
    await tx.execute(
        "UPDATE users SET factor_box = %s, factor_step = NULL, factor_confirmed_at = NULL WHERE id = %s",
        (boxed, user_id),
    )


async def confirm(tx: Tx, user_id: UUID, now: datetime) -> None:
    await tx.execute("UPDATE users SET factor_confirmed_at = %s WHERE id = %s", (now, user_id))


async def remove(tx: Tx, user_id: UUID) -> None:
    await tx.execute(
        "UPDATE users SET factor_box = NULL, factor_step = NULL, factor_confirmed_at = NULL WHERE id = %s", (user_id,)
    )
    await tx.execute("DELETE FROM recovery_codes WHERE user_id = %s", (user_id,))


async def replace_recovery_codes(tx: Tx, user_id: UUID, digests: Sequence[bytes]) -> None:
    await tx.execute("DELETE FROM recovery_codes WHERE user_id = %s", (user_id,))
    await tx.execute(
        "INSERT INTO recovery_codes (user_id, digest) SELECT %s, unnest(%s::bytea[])", (user_id, list(digests))
    )
