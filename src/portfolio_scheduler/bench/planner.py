"""How fast one tick of the planner claims the accounts that are due: a batch with its job for each, one transaction."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from typing import LiteralString

from portfolio_scheduler.app import App, running
from portfolio_scheduler.bench import place
from portfolio_scheduler.bench.crew import Failed
from portfolio_scheduler.bench.figures import Figure, Scale, at_least, at_most, figure
from portfolio_scheduler.clock import StoppedClock, SystemClock, ist
from portfolio_scheduler.db.accounts import ensure_user
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.sync.plan import plan

ACCOUNTS = 10_000
SECONDS = 5
MONDAY = date(2026, 4, 6)

ADD = """
WITH added AS (
    INSERT INTO broker_accounts (user_id, broker, label, login, sealed_credentials, planned_through, created_at)
    SELECT %(user)s, 'groww', 'account ' || n, 'totp', '\\x00', %(at)s - n * interval '1 second', %(at)s
    FROM generate_series(1, %(count)s) AS n RETURNING id
)
INSERT INTO account_heads (account_id) SELECT id FROM added
"""
# The first is due at 16:00 in April like before; the second, in January, makes no two accounts alike.
DIFFER = """
UPDATE broker_accounts SET schedules = json_build_array(
    json_build_object('cron', '0 16 * 4 1-5', 'timezone', 'Asia/Kolkata'),
    json_build_object('cron', mod(n, 60) || ' ' || mod(n / 60, 24) || ' ' || 1 + mod(n / 1440, 28) || ' 1 *',
        'timezone', 'Asia/Kolkata'))::jsonb
FROM (SELECT id AS account_id, row_number() OVER (ORDER BY id) AS n FROM broker_accounts) numbered
WHERE id = account_id
"""
END = "UPDATE sync_batches SET status = 'completed', finished_at = %(now)s WHERE status = 'queued'"

FAIL = """
WITH failed AS (
    UPDATE sync_batches SET status = 'failed', finished_at = %(now)s, error_class = 'BrokerUnavailable',
        fence = (SELECT max(fence) + 1 FROM account_heads)
    WHERE status = 'queued' RETURNING account_id, fence
)
UPDATE account_heads h SET fence = failed.fence FROM failed WHERE h.account_id = failed.account_id
"""


async def measure(scale: Scale) -> list[Figure]:
    """Ten thousand accounts due at once: all by the same schedule, then each by schedules of its own."""
    accounts = scale.of(ACCOUNTS, 30)
    with place.fresh() as (settings, _):
        async with running(settings, StoppedClock(ist(MONDAY, 9))) as app:
            async with transaction(app.pool) as tx:
                user = await ensure_user(tx, "bench", app.clock.now())
                await tx.execute(ADD, {"user": user, "at": app.clock.now() - timedelta(days=1), "count": accounts})
            alike, idle = await _ticks(app, scale, MONDAY, accounts)
            first, later = await _failures(app, scale, MONDAY + timedelta(days=8), accounts)
            async with transaction(app.pool) as tx:
                await tx.execute(DIFFER)
            own, _ = await _ticks(app, scale, MONDAY + timedelta(weeks=2), accounts)
    note = f"{accounts:,} accounts due in one tick"
    return [
        figure(
            "planner", "claims", "accounts/s", [accounts / one for one in alike], at_least(ACCOUNTS / SECONDS), note
        ),
        figure("planner", "that tick", "s", alike, at_most(SECONDS), note),
        figure("planner", "each by schedules of its own", "s", own, at_most(SECONDS), note),
        figure(
            "planner", "a tick when nobody is due", "ms", [1e3 * one for one in idle], note=f"{accounts:,} accounts"
        ),
        figure("planner", "the tick after all have failed", "s", first, note=f"{accounts:,} accounts"),
        figure("planner", "the ticks after that", "ms", [1e3 * one for one in later], note=f"{accounts:,} accounts"),
    ]


async def _ticks(app: App, scale: Scale, first_on: date, accounts: int) -> tuple[list[float], list[float]]:
    """Seconds of the tick at 16:00, and of the one after it, day by day. The first day is not counted."""
    claiming, idle = [], []
    for number in range(scale.runs + 1):
        at = ist(first_on + timedelta(days=number % 5 + 7 * (number // 5)), 16)
        claiming.append(await _claimed(app, at, accounts))
        async with transaction(app.pool) as tx:
            await _end(tx, at)
        idle.append(await _seconds(lambda at=at: _expect(app, at + timedelta(minutes=1), 0)))  # type: ignore[misc]
    return claiming[1:], idle[1:]


async def _failures(app: App, scale: Scale, first_on: date, accounts: int) -> tuple[list[float], list[float]]:
    """Seconds of the tick after the syncs of all accounts have failed, and of the next one, on a Tuesday and later."""
    first: list[float] = []
    later: list[float] = []
    for number in range(min(scale.runs, 4)):
        at = ist(first_on + timedelta(days=number), 16)
        await _expect(app, at, accounts)
        async with transaction(app.pool) as tx:
            await _end(tx, at, FAIL)
        for minute, seconds in enumerate((first, later), start=1):
            now = at + timedelta(minutes=minute)
            seconds.append(await _seconds(lambda now=now: _expect(app, now, 0)))  # type: ignore[misc]
    return first, later


async def _claimed(app: App, at: datetime, accounts: int) -> float:
    return await _seconds(lambda: _expect(app, at, accounts))


async def _expect(app: App, now: datetime, accounts: int) -> None:
    planned = await plan(app, now)
    if planned.due != accounts:
        raise Failed(f"{planned.due} accounts were claimed at {now}, {accounts} were due.")


async def _end(tx: Tx, now: datetime, end: LiteralString = END) -> None:
    """The workers' part: the batches are done and their jobs are gone."""
    await tx.execute(end, {"now": now})
    await tx.execute("DELETE FROM procrastinate_jobs")


async def _seconds(work: Callable[[], Awaitable[None]]) -> float:
    clock = SystemClock()
    started = clock.monotonic()
    await work()
    return clock.monotonic() - started
