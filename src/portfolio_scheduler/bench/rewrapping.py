"""How long `keys rewrap` takes after a rotation, and what sealing, opening and rewrapping one secret cost alone."""

from collections.abc import Callable
from datetime import date
from uuid import UUID

from portfolio_scheduler import keyring
from portfolio_scheduler.app import App, running
from portfolio_scheduler.bench import place
from portfolio_scheduler.bench.crew import Failed
from portfolio_scheduler.bench.figures import Figure, Scale, figure
from portfolio_scheduler.clock import StoppedClock, SystemClock, ist
from portfolio_scheduler.db.accounts import ensure_user
from portfolio_scheduler.db.pool import transaction
from portfolio_scheduler.sealing import CREDENTIALS
from portfolio_scheduler.sync.rewrapping import rewrap

SECRETS = 10_000
SECRET = b'{"login":"totp","api_key":"' + b"k" * 60 + b'","totp_secret":"' + b"T" * 32 + b'"}'

ADD = """
INSERT INTO broker_accounts (id, user_id, broker, label, login, sealed_credentials, planned_through, created_at)
SELECT id, %(user)s, 'groww', id::text, 'totp', sealed, %(at)s, %(at)s
FROM unnest(%(ids)s::uuid[], %(sealed)s::bytea[]) AS given (id, sealed)
"""


async def measure(scale: Scale) -> list[Figure]:
    count = scale.of(SECRETS, 50)
    with place.fresh() as (settings, _):
        async with running(settings, StoppedClock(ist(date(2026, 4, 6), 9))) as app:
            await _fill(app, count)
            seconds = [await _rewrapped(app, count) for _ in range(scale.runs)]
            alone = _alone(app, scale.of(500, 5))
    note = f"{count:,} secrets, database included"
    return [
        figure("rewrap", "keys rewrap after a rotation", "s", seconds, note=note),
        *(figure("rewrap", f"{name} one secret", "µs", samples) for name, samples in alone.items()),
    ]


async def _fill(app: App, count: int) -> None:
    ids = [UUID(int=number) for number in range(1, count + 1)]
    sealed = [app.sealer.seal(account_id, CREDENTIALS, SECRET) for account_id in ids]
    async with transaction(app.pool) as tx:
        user = await ensure_user(tx, "bench", app.clock.now())
        await tx.execute(ADD, {"user": user, "at": app.clock.now(), "ids": ids, "sealed": sealed})


async def _rewrapped(app: App, count: int) -> float:
    keyring.rotated(app.settings, app.clock.now())
    clock = SystemClock()
    started = clock.monotonic()
    done = await rewrap(app)
    seconds = clock.monotonic() - started
    if done.rewrapped != count:
        raise Failed(f"{done.rewrapped} secrets were rewrapped, there are {count}.")
    return seconds


def _alone(app: App, runs: int) -> dict[str, list[float]]:
    """Microseconds of each act, without the database."""
    account_id = UUID(int=1)
    sealed = app.vault.seal(account_id, CREDENTIALS, SECRET)
    keyring.rotated(app.settings, app.clock.now())
    acts: dict[str, Callable[[], object]] = {
        "sealing": lambda: app.sealer.seal(account_id, CREDENTIALS, SECRET),
        "opening": lambda: app.vault.open(account_id, CREDENTIALS, sealed),
        "rewrapping": lambda: app.vault.rewrap(account_id, CREDENTIALS, sealed),
    }
    clock = SystemClock()
    samples: dict[str, list[float]] = {name: [] for name in acts}
    for name, act in acts.items():
        for _ in range(runs):
            started = clock.monotonic()
            act()
            samples[name].append((clock.monotonic() - started) * 1e6)
    return samples
