"""Connecting an account: its credentials are tried before they count, then sealed and kept."""

from uuid import UUID

import msgspec

from portfolio_scheduler.app import App
from portfolio_scheduler.brokers.broker import AccessToken, Credentials
from portfolio_scheduler.db import accounts
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain.records import Owner
from portfolio_scheduler.errors import BrokerLoginRequired, BrokerUnavailable, InvalidInput, NotFound
from portfolio_scheduler.sync.dating import clock_advice
from portfolio_scheduler.sync.run import unsealed

DEFAULT_USER = "owner"


async def connect(app: App, *, broker: str, label: str, credentials: Credentials, user: str = DEFAULT_USER) -> Account:
    """Try the credentials, then add the account with its client code. Nothing is kept when they do not work."""
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
            user_id=await accounts.ensure_user(tx, user, now),
            broker=broker,
            label=label.strip(),
            login=credentials.login.value,
            sealed_credentials=app.vault.seal(account_id, "credentials", msgspec.json.encode(credentials)),
            now=now,
        )
        await _save(app, tx, account_id, owner, token)
        return await accounts.load(tx, account_id)


async def probe(app: App, account: Account) -> Owner:
    """Try the kept credentials now. Proves the login and that it is still the same broker account."""
    credentials, token = unsealed(app, account)
    owner, token = await _try(app, account.broker, credentials, token)
    if account.ucc is not None and owner.ucc != account.ucc:
        raise BrokerLoginRequired(
            f"These credentials belong to the broker account {owner.ucc}, but {account.label!r} is {account.ucc}."
        )
    async with transaction(app.pool) as tx:
        await _save(app, tx, account.id, owner, token)
    return owner


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
        result = fetched.sections.get("owner")
        raise BrokerUnavailable(
            f"The broker did not say whose account this is: {result.reason if result else 'no answer'}."
        )
    return said.owner, minted


async def _save(app: App, tx: Tx, account_id: UUID, owner: Owner, token: AccessToken | None) -> None:
    await accounts.save_owner(
        tx, account_id, ucc=owner.ucc, vendor_user_id=owner.vendor_user_id, segments=list(owner.segments)
    )
    if token is not None:
        sealed = app.vault.seal(account_id, "token", token.token.encode())
        await accounts.save_token(tx, account_id, sealed, token.expires_at)
