"""Keys are rotated, rewrapped and retired while accounts sync, and no sync notices."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import msgspec
import pytest

from portfolio_scheduler import keyring
from portfolio_scheduler.app import open_keys
from portfolio_scheduler.db import installs, sealed
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.errors import SecretUnreadable
from portfolio_scheduler.sealing import PLACES
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.sync.rewrapping import retire, rewrap
from tests.flows.conftest import FIRST_DAY, Stage
from tests.scale import scaled

SYNCS = scaled(100)


async def with_own_keys(stage: Stage) -> Settings:
    """Keys that this test may change; those of the tests' process are shared."""
    settings = msgspec.structs.replace(stage.app.settings, keys=stage.app.settings.keys / f"own-{stage.app.pool.name}")
    async with transaction(stage.app.pool) as tx:
        install_id = await installs.install_id(tx)
    sealer, vault = open_keys(settings, install_id, stage.clock)
    stage.app = msgspec.structs.replace(stage.app, settings=settings, sealer=sealer, vault=vault)
    return settings


async def test_rotation_under_load_fails_no_sync(stage: Stage, tell: Callable[[str, object], None]) -> None:
    """Another process rotates and rewraps all the time; those that sync follow without a restart."""
    settings = await with_own_keys(stage)
    other = msgspec.structs.replace(stage.app)
    accounts = [await stage.connect(number) for number in (1, 2)]
    stage.at(FIRST_DAY, 16)
    reports, rewrapped = [], 0

    async def syncing(number: int) -> None:
        reports.extend([await stage.sync(accounts[number]) for _ in range(SYNCS)])

    both = asyncio.gather(syncing(0), syncing(1))
    while not both.done():
        before = other.vault.active_key_id
        await asyncio.to_thread(keyring.rotated, settings, stage.clock.now())
        done = await rewrap(other)
        assert (done.unreadable, done.left) == ([], 0)
        rewrapped += done.rewrapped
        await retire(other, before)
    await both
    assert rewrapped >= len(accounts) * 2, "credentials and token of each"
    assert [report.status for report in reports] == ["completed"] * SYNCS * len(accounts)
    tell("syncs while keys were rotated, rewrapped and retired", f"{len(reports)}, 0 failed, {rewrapped} rewrapped")
    async with transaction(stage.app.pool) as tx:
        assert {use.key_id for use in await sealed.uses(tx)} == {stage.app.vault.active_key_id}


async def test_a_secret_that_is_changed_meanwhile_is_not_overwritten(stage: Stage) -> None:
    """The exchange finds another value than the one it wrapped anew, and leaves it; so it does where a row is held."""
    await with_own_keys(stage)
    account = await stage.connect(1)
    async with transaction(stage.app.pool) as tx:
        [before] = await sealed.not_begun_with(tx, PLACES[0], b"nothing", UUID(int=0), 10)
        newer = stage.app.vault.seal(account.id, "credentials", b"newer")
        await tx.execute("UPDATE broker_accounts SET sealed_credentials = %s", (newer,))
        assert await sealed.exchange(tx, PLACES[0], [before], [b"\x02 older, wrapped anew"]) == 0
        async with transaction(stage.app.pool) as other:
            assert await sealed.exchange(other, PLACES[0], [before], [b"\x02 waits for nobody"]) == 0
        held = sealed.Sealed(account_id=account.id, row_id=account.id, value=newer)
        assert await sealed.exchange(tx, PLACES[0], [held], [newer + b"\0"]) == 1


async def test_credentials_that_wait_to_be_tried_are_rewrapped_too(stage: Stage) -> None:
    settings = await with_own_keys(stage)
    account = await stage.connect(1)
    async with transaction(stage.app.pool) as tx:
        cursor = await tx.execute("SELECT uuidv7()")
        [request_id] = await cursor.fetchone() or [None]
        waiting = stage.app.sealer.seal(account.id, "credentials", b"untried", request_id)
        await tx.execute(
            "INSERT INTO account_requests (id, user_id, account_id, kind, sealed_credentials, created_at) "
            "VALUES (%s, %s, %s, 'change', %s, %s)",
            (request_id, account.user_id, account.id, waiting, stage.clock.now()),
        )
    keyring.rotated(settings, stage.clock.now())
    assert (await rewrap(stage.app)).rewrapped == 3
    again = await stage.one("SELECT sealed_credentials FROM account_requests")
    assert again[:9] != waiting[:9]
    assert stage.app.vault.open(account.id, "credentials", again, request_id) == b"untried"
    with pytest.raises(SecretUnreadable):
        stage.app.vault.open(account.id, "credentials", again)
