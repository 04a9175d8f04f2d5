"""Connecting an account: its credentials are tried before they count, then sealed and kept."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.brokers.broker import AccessToken, Credentials
from portfolio_scheduler.db import accounts, ledger
from portfolio_scheduler.db.accounts import Account, SealedCredentials
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain import schedule
from portfolio_scheduler.domain.records import Owner
from portfolio_scheduler.domain.schedule import Schedule
from portfolio_scheduler.errors import BrokerLoginRequired, InvalidInput, NotFound
from portfolio_scheduler.sync.dating import clock_advice
from portfolio_scheduler.sync.ownership import append_config, checked_open
from portfolio_scheduler.sync.run import checked_awake, is_another, unidentified, unsealed


class Tried(Struct, frozen=True, kw_only=True):
    """Credentials that worked: whose account it is, and the token they brought."""

    owner: Owner
    token: AccessToken | None

    def __repr__(self) -> str:
        return f"Tried(ucc={self.owner.ucc!r}, •••)"


async def connect(app: App, *, broker: str, label: str, credentials: Credentials, user: str | None = None) -> Account:
    """Try the credentials, then add the account with its client code. Nothing is kept when they do not work.

    It is for the user of that name, made if need be; without a name for the only one there is.
    """
    if broker not in app.brokers:
        raise NotFound(f"There is no broker {broker!r}; known are {', '.join(sorted(app.brokers))}.")
    if not label.strip():
        raise InvalidInput("An account needs a label.")
    tried = await try_login(app, broker, credentials, None)
    async with transaction(app.pool) as tx:
        account_id = await accounts.new_id(tx)
        now = app.clock.now()
        user_id = await (accounts.ensure_user(tx, user, now) if user else accounts.usual_user(tx, now))
        return await add(app, tx, account_id, user_id, broker, label.strip(), credentials, tried)


async def add(
    app: App,
    tx: Tx,
    account_id: UUID,
    user_id: UUID,
    broker: str,
    label: str,
    credentials: Credentials,
    tried: Tried,
    *,
    schedules: Sequence[Schedule] | None = None,
    late_pass: bool | None = None,
) -> Account:
    """Add an account whose credentials were tried, as a part of a transaction."""
    await accounts.add(
        tx,
        account_id=account_id,
        user_id=user_id,
        broker=broker,
        label=label,
        login=credentials.login.value,
        credentials=_sealed(app, account_id, credentials, 1),
        now=app.clock.now(),
        schedules=None if schedules is None else schedule.stored(schedules),
        late_pass=late_pass is not False,
    )
    await save(app, tx, account_id, tried)
    return await accounts.load(tx, account_id)


async def change_login(app: App, account: Account, credentials: Credentials) -> Account:
    """Try new credentials of an account and keep them in place of the old ones; nothing is kept when they fail."""
    checked_open(account)
    tried = await try_login(app, account.broker, credentials, None)
    check_same(account, tried.owner)
    async with transaction(app.pool) as tx:
        await replace_login(app, tx, account.id, credentials, tried)
        return await accounts.load(tx, account.id)


async def replace_login(app: App, tx: Tx, account_id: UUID, credentials: Credentials, tried: Tried) -> None:
    """Keep credentials that were tried in place of the old ones, as a part of a transaction."""
    head = await ledger.seize(tx, account_id)
    before = checked_open(await accounts.load(tx, account_id))
    sealed = _sealed(app, account_id, credentials, before.credentials_number + 1)
    await accounts.save_login(tx, account_id, credentials.login.value, sealed, app.clock.now())
    await save(app, tx, account_id, tried)
    details = {"login": credentials.login.value, "before": before.login}
    if sealed.fingerprint is not None:
        details["fingerprint"] = sealed.fingerprint
    await append_config(app, tx, head, "login", details)


async def probe(app: App, account: Account) -> Owner:
    """Try the kept credentials now. Proves the login and that it is still the same broker account."""
    tried = await probed(app, account)
    async with transaction(app.pool) as tx:
        await save(app, tx, account.id, tried)
    return tried.owner


async def probed(app: App, account: Account, *, renew: bool = False) -> Tried:
    """What the kept credentials bring; nothing is written. With `renew` they must bring a new token."""
    checked_awake(account, app.clock.now())
    credentials, token = unsealed(app, account)
    tried = await try_login(app, account.broker, credentials, None if renew else token)
    check_same(account, tried.owner)
    return tried


def _sealed(app: App, account_id: UUID, credentials: Credentials, number: int) -> SealedCredentials:
    secret = msgspec.json.encode(credentials)
    return SealedCredentials(
        sealed=app.vault.seal(account_id, "credentials", secret, version=number),
        number=number,
        fingerprint=app.sealer.fingerprint(secret),
    )


def check_same(account: Account, owner: Owner) -> None:
    """Credentials of another broker account are refused."""
    if is_another(account, owner):
        raise BrokerLoginRequired(
            f"These credentials belong to the broker account {owner.ucc}, but {account.label!r} is "
            f"{account.ucc or account.broker_account_id}; nothing was saved."
        )


async def try_login(app: App, broker: str, credentials: Credentials, token: AccessToken | None) -> Tried:
    """Ask the broker whose account this is; nothing is written."""
    now = app.clock.now()
    async with app.brokers[broker].open(credentials, token, app.clock) as session:
        try:
            fetched = await session.fetch_book(["owner"])
        except BrokerLoginRequired as error:
            if advice := clock_advice(session.clock_offset):
                raise BrokerLoginRequired(f"{error.message} {advice}", call=error.call, status=error.status) from error
            raise
        minted = session.token
    said = app.brokers[broker].parse(fetched.answers, fetched.sections, now, app.calendar.trading_on(now))
    if said.owner is None:
        raise unidentified(fetched.sections.get("owner"))
    return Tried(owner=said.owner, token=minted)


async def save(app: App, tx: Tx, account_id: UUID, tried: Tried) -> None:
    """Keep what trying the credentials brought."""
    owner, token = tried.owner, tried.token
    await accounts.save_owner(
        tx, account_id, ucc=owner.ucc, vendor_user_id=owner.vendor_user_id, segments=list(owner.segments)
    )
    if token is not None:
        sealed = app.vault.seal(account_id, "token", token.token.encode())
        await accounts.save_token(tx, account_id, sealed, token.expires_at)
