"""Rewrapping: the data keys of all sealed values are wrapped to the active key, while syncs go on; then the old key
may be retired."""

import asyncio
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler import keyring
from portfolio_scheduler.app import App
from portfolio_scheduler.db import sealed
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.errors import Conflict, SecretUnreadable
from portfolio_scheduler.log import logger
from portfolio_scheduler.sealing import PLACES, SCHEME, Place

AT_ONCE = 200  # values per transaction, a tenth of a second's work
PASSES = 10  # over values that somebody changed meanwhile
RETIRE_SECONDS = 0.5  # a sealed value is opened at once after it was read
PAUSE_SECONDS = 0.5  # between them; whoever is at a row is at it for less

log = logger()


class Rewrapped(Struct, frozen=True, kw_only=True):
    """What came of it."""

    rewrapped: int
    unreadable: list[str]  # why a value could not be opened; it stays as it is
    left: int  # values that others held in every pass


async def rewrap(app: App) -> Rewrapped:
    """Wrap every data key anew. Never opens a secret (those of scheme 1 excepted), never waits for a sync."""
    done, left = 0, 0
    unreadable: dict[tuple[str, UUID], str] = {}
    for _ in range(PASSES):
        left = 0
        for place in PLACES:
            passed = await _pass(app, place, unreadable)
            done, left = done + passed.done, left + passed.left
        if not left:
            break
        await asyncio.sleep(PAUSE_SECONDS)
    log.info("keys rewrapped", key_id=app.vault.active_key_id, values=done, unreadable=len(unreadable), left=left)
    return Rewrapped(rewrapped=done, unreadable=list(unreadable.values()), left=left)


async def retire(app: App, key_id: str) -> None:
    """Destroy a key that nothing is sealed to. Whoever read a value before it was rewrapped gets to open it."""
    await _check_unused(app, key_id)
    await asyncio.sleep(RETIRE_SECONDS)
    await _check_unused(app, key_id)  # again: who still seals to it has an old sealing.json
    await asyncio.to_thread(keyring.retired, app.settings, key_id)
    log.info("key retired", key_id=key_id)


async def _check_unused(app: App, key_id: str) -> None:
    async with transaction(app.pool) as tx:
        used = await sealed.uses(tx)
    if (count := sum(use.values for use in used if use.key_id == key_id)) > 0:
        raise Conflict(
            f"{count} secrets are still sealed to key {key_id}; run `portfolio-scheduler keys rewrap` first."
        )


class _Passed(Struct):
    done: int = 0
    left: int = 0


async def _pass(app: App, place: Place, unreadable: dict[tuple[str, UUID], str]) -> _Passed:
    """Once through the rows of a place. No transaction is open while keys are wrapped."""
    passed, after = _Passed(), UUID(int=0)
    head = bytes([SCHEME]) + bytes.fromhex(app.vault.active_key_id)
    while True:
        async with transaction(app.pool) as tx:
            found = await sealed.not_begun_with(tx, place, head, after, AT_ONCE)
        if not found:
            return passed
        after = found[-1].row_id
        again = await asyncio.to_thread(_rewrapped, app, place, found, unreadable)
        async with transaction(app.pool) as tx:
            done = await sealed.exchange(tx, place, [one for one, _ in again], [value for _, value in again])
        passed.done += done
        passed.left += len(again) - done


def _rewrapped(
    app: App, place: Place, found: list[sealed.Sealed], unreadable: dict[tuple[str, UUID], str]
) -> list[tuple[sealed.Sealed, bytes]]:
    again = []
    for one in found:
        try:
            again.append((one, app.vault.rewrap(one.account_id, place.purpose, one.value, one.row_id)))
        except SecretUnreadable as error:
            unreadable[place.table + place.column, one.row_id] = error.message
    return again
