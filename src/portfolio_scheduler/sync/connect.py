"""Connecting an account: its credentials are tried before they count, then sealed and kept."""

from uuid import UUID

import msgspec

from portfolio_scheduler.app import App
from portfolio_scheduler.brokers.broker import AccessToken, Credentials
from portfolio_scheduler.db import accounts, ledger
from portfolio_scheduler.db.accounts import Account, SealedCredentials
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain.records import Owner
from portfolio_scheduler.errors import BrokerLoginRequired, InvalidInput, NotFound
from portfolio_scheduler.sync.dating import clock_advice
from portfolio_scheduler.sync.ownership import append_config, checked_open
from portfolio_scheduler.sync.run import checked_awake, unidentified, unsealed


async def connect(app: App, *, broker: str, label: str, credentials: Credentials, user: str | None = None) -> Account:
    """Try the credentials, then add the account with its client code. Nothing is kept when they do not work.

    It is for the user of that name, made if need be; without a name for the only one there is.
    """
    if broker not in app.brokers:
        raise NotFound(f"There is no broker {broker!r}; known are {', '.join(sorted(app.brokers))}.")
    if not label.strip():
        raise InvalidInput("An account needs a label.")
    owner, token = await _try(app, broker, credentials, None)
    now = app.clock.now()
    async with transaction(app.pool) as tx:
        account_id = await accounts.new_id(tx)
        await accounts.add(
            tx,
            account_id=account_id,
            user_id=await (accounts.ensure_user(tx, user, now) if user else accounts.usual_user(tx, now)),
            broker=broker,
            label=label.strip(),
            login=credentials.login.value,
            credentials=_sealed(app, account_id, credentials, 1),
            now=now,
        )
        await _save(app, tx, account_id, owner, token)
        return await accounts.load(tx, account_id)


async def change_login(app: App, account: Account, credentials: Credentials) -> Account:
    """Try new credentials of an account and keep them in place of the old ones; nothing is kept when they fail."""
    checked_open(account)
    owner, token = await _try(app, account.broker, credentials, None)
    _check_same(account, owner)
    async with transaction(app.pool) as tx:
        head = await ledger.seize(tx, account.id)
        before = checked_open(await accounts.load(tx, account.id))
        sealed = _sealed(app, account.id, credentials, before.credentials_number + 1)
        await accounts.save_login(tx, account.id, credentials.login.value, sealed, app.clock.now())
        await _save(app, tx, account.id, owner, token)
        details = {"login": credentials.login.value, "before": account.login}
        if sealed.fingerprint is not None:
            details["fingerprint"] = sealed.fingerprint
        await append_config(app, tx, head, "login", details)
        return await accounts.load(tx, account.id)


async def probe(app: App, account: Account) -> Owner:
    """Try the kept credentials now. Proves the login and that it is still the same broker account."""
    checked_awake(account, app.clock.now())
    credentials, token = unsealed(app, account)
    owner, token = await _try(app, account.broker, credentials, token)
    _check_same(account, owner)
    async with transaction(app.pool) as tx:
        await _save(app, tx, account.id, owner, token)
    return owner


def _sealed(app: App, account_id: UUID, credentials: Credentials, number: int) -> SealedCredentials:
    secret = msgspec.json.encode(credentials)
    return SealedCredentials(
        sealed=app.vault.seal(account_id, "credentials", secret, version=number),
        number=number,
        fingerprint=app.sealer.fingerprint(secret),
    )


def _check_same(account: Account, owner: Owner) -> None:
    if account.ucc is not None and owner.ucc != account.ucc:
        raise BrokerLoginRequired(
            f"These credentials belong to the broker account {owner.ucc}, but {account.label!r} is {account.ucc}; "
            "nothing was saved."
        )


async def _try(
    app: App, broker: str, credentials: Credentials, token: AccessToken | None
) -> tuple[Owner, AccessToken | None]:
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
    return said.owner, minted


async def _save(app: App, tx: Tx, account_id: UUID, owner: Owner, token: AccessToken | None) -> None:
    await accounts.save_owner(
        tx, account_id, ucc=owner.ucc, vendor_user_id=owner.vendor_user_id, segments=list(owner.segments)
    )
    if token is not None:
        sealed = app.vault.seal(account_id, "token", token.token.encode())
        await accounts.save_token(tx, account_id, sealed, token.expires_at)
