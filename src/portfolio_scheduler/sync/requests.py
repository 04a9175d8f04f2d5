"""What owners ask through the API, done by a worker: connecting an account, changing it, trying its login, closing it.

The broker is asked with no transaction open. Then one transaction says that the request is done and does it, so that a
request that was withdrawn meanwhile changes nothing.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

import msgspec
import psycopg

from portfolio_scheduler.app import App
from portfolio_scheduler.brokers.broker import Credentials
from portfolio_scheduler.db import accounts, requests
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.batches import BEATS_PER_LEASE
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.db.requests import FAILED, REFUSED, Request, Wish
from portfolio_scheduler.domain.records import Owner
from portfolio_scheduler.errors import (
    BrokerLoginRequired,
    BrokerNotEntitled,
    BrokerRefused,
    Conflict,
    Fenced,
    InvalidInput,
    NotFound,
    PortfolioSchedulerError,
    Unprocessable,
)
from portfolio_scheduler.log import logger
from portfolio_scheduler.sync import connect, ownership, schedules

# What whoever asked can mend by asking otherwise; the rest is trouble that may pass.
THEIRS = (BrokerLoginRequired, BrokerNotEntitled, BrokerRefused, InvalidInput, Conflict, NotFound)

log = logger()


async def answer(app: App, request_id: UUID) -> None:
    """Do what is asked, and say how it ended. Nothing happens when it has ended or nobody waits any more."""
    async with transaction(app.pool) as tx:
        request = await requests.claim(tx, request_id)
    if request is None:
        return
    try:
        await _while_asked(app, request)
    except Fenced as error:
        log.info("request was withdrawn", request=str(request.id), kind=request.kind, reason=error.message)
    except PortfolioSchedulerError as error:
        await _refuse(app, request, error)
    except BaseException as error:
        await asyncio.shield(_refuse(app, request, PortfolioSchedulerError("the worker failed; see its log")))
        log.warning("request failed", request=str(request.id), kind=request.kind, error=type(error).__name__)
        raise


async def sweep(app: App) -> int:
    """End requests that nobody took up or whose worker died; their secrets go. Returns how many."""
    async with transaction(app.pool) as tx:
        ended = await requests.sweep(tx, app.clock.now(), app.settings.lease_seconds)
        await requests.forget(tx, app.clock.now())
    return len(ended)


async def _act(app: App, request: Request) -> None:
    wish = request.wish
    match request.kind:
        case requests.CONNECT:
            await _connect(app, request, wish)
        case requests.CHANGE:
            await _change(app, request, wish)
        case requests.CLOSE:
            async with transaction(app.pool) as tx:
                await requests.settle(tx, request.id, app.clock.now())
                await ownership.shut(app, tx, request.account_id)
        case _:
            await _try(app, request)
    log.info("request done", request=str(request.id), kind=request.kind, account=str(request.account_id))


async def _refuse(app: App, request: Request, error: PortfolioSchedulerError) -> None:
    status = REFUSED if isinstance(error, THEIRS) else FAILED
    log.info("request refused", request=str(request.id), kind=request.kind, status=status, reason=error.message)
    with suppress(Fenced):
        async with transaction(app.pool) as tx:
            await requests.refuse(tx, request.id, app.clock.now(), status, _kind(error), error.message)


def _kind(error: PortfolioSchedulerError) -> str:
    return type(error).__name__


def _credentials(app: App, request: Request) -> Credentials | None:
    if request.sealed_credentials is None:
        return None
    secret = app.vault.open(request.account_id, "credentials", request.sealed_credentials, request.id)
    return msgspec.json.decode(secret, type=Credentials)


async def _connect(app: App, request: Request, wish: Wish) -> None:
    credentials = _credentials(app, request)
    assert credentials is not None
    assert wish.broker is not None
    assert wish.label is not None
    tried = await connect.try_login(app, wish.broker, credentials, None)
    _check_number(wish.broker_account_id, tried.owner)
    async with transaction(app.pool) as tx:
        await requests.settle(tx, request.id, app.clock.now())
        await connect.add(
            app,
            tx,
            request.account_id,
            request.user_id,
            wish.broker,
            wish.label,
            credentials,
            tried,
            schedules=wish.schedules,
            late_pass=wish.late_pass,
        )


def _check_number(number: str | None, owner: Owner) -> None:
    if number not in {None, owner.ucc, owner.vendor_user_id}:
        raise Unprocessable(
            f"These credentials work, but belong to another broker account than {number!r}. Leave `account_id` out, or "
            "give the client code that the broker shows."
        )


async def _change(app: App, request: Request, wish: Wish) -> None:
    credentials = _credentials(app, request)
    account = await _loaded(app, request)
    tried = None
    if credentials is not None:
        tried = await connect.try_login(app, account.broker, credentials, None)
        connect.check_same(account, tried.owner)
    async with transaction(app.pool) as tx:
        await requests.settle(tx, request.id, app.clock.now())
        if credentials is not None and tried is not None:
            await connect.replace_login(app, tx, account.id, credentials, tried)
        await _apply(app, tx, account, wish)


async def _apply(app: App, tx: Tx, account: Account, wish: Wish) -> None:
    """The rest of a wish, each part with the fact that tells of it."""
    if wish.label is not None:
        await accounts.rename(tx, account.id, wish.label)
    if wish.schedules is not None or wish.late_pass is not None:
        await schedules.change_schedules(app, tx, account.id, wish.schedules, late_pass=wish.late_pass)
    if wish.paused is not None:
        await ownership.switch(app, tx, account.id, *(ownership.PAUSED if wish.paused else ownership.RESUMED))


async def _try(app: App, request: Request) -> None:
    """Try the kept login; for a token, have the broker make a new one."""
    account = await _loaded(app, request)
    tried = await connect.probed(app, account, renew=request.kind == requests.TOKEN)
    async with transaction(app.pool) as tx:
        await requests.settle(tx, request.id, app.clock.now())
        await connect.save(app, tx, account.id, tried)


async def _loaded(app: App, request: Request) -> Account:
    async with transaction(app.pool) as tx:
        return ownership.checked_open(await accounts.load(tx, request.account_id))


async def _while_asked(app: App, request: Request) -> None:
    """Act, with a sign of life every few seconds. Withdrawn meanwhile, it is given up at once: nobody hears of it."""
    acting = asyncio.create_task(_act(app, request), name=f"request {request.id}")
    withdrawn = asyncio.create_task(_until_withdrawn(app, request), name=f"heartbeat {request.id}")
    try:
        await asyncio.wait({acting, withdrawn}, return_when=asyncio.FIRST_COMPLETED)
        if acting.done():
            acting.result()  # raises what ended it
            return
        raise Fenced(requests.GONE)
    finally:
        for task in (acting, withdrawn):
            task.cancel()
        await asyncio.gather(acting, withdrawn, return_exceptions=True)


async def _until_withdrawn(app: App, request: Request) -> None:
    while True:
        await asyncio.sleep(app.settings.lease_seconds / BEATS_PER_LEASE)
        try:
            async with transaction(app.pool) as tx:
                await requests.beat(tx, request.id)
        except Fenced:
            return
        except (psycopg.Error, PortfolioSchedulerError) as error:
            log.warning("heartbeat missed", error=type(error).__name__)
