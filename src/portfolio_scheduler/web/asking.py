"""Asking a worker, and waiting for it: the web seals secrets, but neither opens them nor meets a broker.

The request and its job are written together. Whoever asks waits at most twenty seconds; then the request is withdrawn,
so that a worker that wakes up later does not act on what its owner believes to have failed.
"""

import asyncio
from uuid import UUID

from portfolio_scheduler.clock import SystemClock
from portfolio_scheduler.db import requests
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.queue import enqueue_request
from portfolio_scheduler.db.reads import viewed_accounts
from portfolio_scheduler.db.requests import Ending, Wish
from portfolio_scheduler.db.viewers import Entry, Viewer, as_viewer, read
from portfolio_scheduler.errors import (
    BrokerUnavailable,
    Conflict,
    NotAllowed,
    NotFound,
    NoWorker,
    Unprocessable,
)
from portfolio_scheduler.sealing import CREDENTIALS
from portfolio_scheduler.web.entry import MANAGE, check_recent, check_scope
from portfolio_scheduler.web.place import Place

LOOKS_SECONDS = (0.02, 0.03, 0.05, 0.1)  # between looks; the last one again and again
MACHINE = SystemClock()  # people wait in real time

NO_ACCOUNT = "There is no such account."
CLOSED = "This account has been closed; its history stays readable. Connect it anew to read it again."


async def own_account(tx: Tx, viewer: Viewer, account_id: UUID) -> tuple[str, str]:
    """Label and login of an open account of the viewer's own. One that is shared with them is to be read only."""
    cursor = await tx.execute(viewed_accounts.OWNED, (account_id,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(NO_ACCOUNT)
    user_id, state, label, login, _ = row
    if user_id != viewer.user_id:
        raise NotAllowed("This account is shared with you for reading; only its owner may do that.")
    if state == "closed":
        raise Conflict(CLOSED)
    return label, login


async def check_label(tx: Tx, viewer: Viewer, label: str, account_id: UUID) -> None:
    """Told before a broker is asked; the database refuses it in any case."""
    cursor = await tx.execute(viewed_accounts.LABELLED, (viewer.user_id, label, account_id))
    row = await cursor.fetchone()
    if row is not None and row[0]:
        raise Conflict(f"You have an account labelled {label!r} already; choose another `label`.")


async def put(
    place: Place,
    tx: Tx,
    viewer: Viewer,
    kind: str,
    account_id: UUID,
    request_id: UUID,
    wish: Wish = requests.NOTHING_MORE,
    credentials: bytes | None = None,
) -> None:
    """Ask, in a transaction of the viewer's."""
    await requests.check_room(tx, viewer.user_id)
    sealed = place.app.sealer.seal(account_id, CREDENTIALS, credentials, request_id) if credentials else None
    await requests.add(
        tx,
        request_id,
        user_id=viewer.user_id,
        account_id=account_id,
        kind=kind,
        wish=wish,
        sealed_credentials=sealed,
        now=place.app.clock.now(),
    )
    await enqueue_request(tx, request_id)


async def ask(place: Place, entry: Entry, kind: str, account_id: UUID, *, recent: bool = False) -> Ending:
    """Ask something of an account that needs no words, and wait for how it ended. `recent` is for what only somebody
    may do who gave their password lately."""
    async with as_viewer(place.pool, entry) as (tx, viewer):
        check_scope(viewer, MANAGE)
        await own_account(tx, viewer, account_id)
        if recent:
            check_recent(viewer, entry.at)
        request_id, _ = await requests.new_ids(tx)
        await put(place, tx, viewer, kind, account_id, request_id)
    return await wait(place, entry, request_id)


async def wait(place: Place, entry: Entry, request_id: UUID) -> Ending:
    """How a request ended. `NoWorker` or `BrokerUnavailable` when it did not in time: then it was withdrawn."""
    ends_at = MACHINE.monotonic() + place.patience_seconds
    looks = iter(LOOKS_SECONDS)
    pause = LOOKS_SECONDS[-1]
    while True:
        await asyncio.sleep(next(looks, pause))
        found = await _ending(place, entry, request_id)
        if not found.is_open:
            return found
        if MACHINE.monotonic() >= ends_at:
            break
    async with as_viewer(place.pool, entry) as (tx, _):
        was = await requests.withdraw(tx, request_id, place.app.clock.now())
    match was:
        case None:  # it ended at the last moment
            return await _ending(place, entry, request_id)
        case requests.QUEUED:
            raise NoWorker
        case _:
            raise BrokerUnavailable(
                f"The broker did not answer within {place.patience_seconds:g} s; nothing was changed or kept."
            )


async def _ending(place: Place, entry: Entry, request_id: UUID) -> Ending:
    _, rows = await read(place.pool, entry, requests.ENDING, {"request": request_id})
    if not rows:
        raise NotFound
    status, error_class, reason = rows[0]
    return Ending(status=status, error_class=error_class, reason=reason)


def check_done(ending: Ending) -> None:
    """What did not work is said as it is: what its owner can mend, and trouble of the broker's or of ours."""
    reason = ending.reason or ""
    if ending.status == requests.DONE:
        return
    if ending.status == requests.REFUSED:
        raise Conflict(reason) if ending.error_class == Conflict.__name__ else Unprocessable(reason)
    if (ending.error_class or "").startswith("Broker"):
        raise BrokerUnavailable(reason)
    raise NoWorker("The worker could not do it, and its log says why; nothing was changed or kept. Try again.")
