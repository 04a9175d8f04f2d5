"""This installation: the id that its secrets and its history are bound to."""

from uuid import UUID

from portfolio_scheduler.db.pool import Tx


async def install_id(tx: Tx) -> UUID:
    cursor = await tx.execute("SELECT install_id FROM install")
    row = await cursor.fetchone()
    assert row is not None
    found: UUID = row[0]
    return found
