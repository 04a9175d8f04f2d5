"""What must always be true, checked from the database: each problem says where it is and what to do about it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import localcontext
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db import ledger, state
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.db.reads import consistency
from portfolio_scheduler.db.reads.consistency import SHOWN, Day
from portfolio_scheduler.domain.changes import State
from portfolio_scheduler.domain.money import ZERO
from portfolio_scheduler.domain.valuation import EXACT, expected_units

QUEUED_SECONDS = 3600
TAMPERED = "somebody changed the database past the product: restore a backup, and find out who"
REBUILD = "run `portfolio-scheduler rebuild`; if it comes back, it is a bug"


class Problem(Struct, frozen=True, kw_only=True):
    """Something that should be true and is not."""

    check: str  # numbers, state, fills, snapshots, coverage, batches, calendar
    account: str | None  # label; None when it is about the whole installation
    account_id: UUID | None
    what: str
    where: str | None  # the fact's number, the day, the row
    remedy: str


async def check(app: App, accounts: Sequence[Account]) -> list[Problem]:
    """All checks of these accounts, and of the installation."""
    problems = list(_calendar(app))
    for account in accounts:
        async with transaction(app.pool) as tx:
            await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")  # one moment for all of it
            await tx.execute("SET LOCAL statement_timeout = 0")
            problems += [
                Problem(check=name, account=account.label, account_id=account.id, what=what, where=where, remedy=remedy)
                async for name, what, where, remedy in _of_account(app, tx, account)
            ]
    return problems


Found = tuple[str, str, str | None, str]  # check, what, where, remedy


async def _of_account(app: App, tx: Tx, account: Account) -> AsyncIterator[Found]:
    for check in (_numbers, _state, _fills, _snapshots):
        async for found in check(tx, account.id):
            yield found
    async for found in _coverage(app, tx, account):
        yield found
    async for found in _batches(tx, account):
        yield found


async def _numbers(tx: Tx, account_id: UUID) -> AsyncIterator[Found]:
    """Facts are numbered without a gap, each number is used once, none lies beyond the head."""
    found = await consistency.numbers(tx, account_id)
    for seq in found.missing:
        yield "numbers", "a fact is missing: its number is used by none", f"seq {seq}", TAMPERED
    for seq in found.doubled:
        yield "numbers", "a number is used by more than one fact", f"seq {seq}", TAMPERED
    if found.beyond is not None:
        yield "numbers", f"a fact is numbered beyond the head, {found.head}", f"seq {found.beyond}", TAMPERED


async def _state(tx: Tx, account_id: UUID) -> AsyncIterator[Found]:
    """Folding the facts that count gives the derived tables, every column of them; each order counts once."""
    for name in (await consistency.counted_twice(tx, account_id))[:SHOWN]:
        yield "state", f"{name} is first seen more than once among the facts that count", name, TAMPERED
    try:
        folded = ledger.folded(await ledger.load_changes(tx, account_id), State())
    except KeyError as error:
        yield "state", "a step or an execution belongs to an order that no fact introduces", str(error), TAMPERED
        return
    for table, rows in state.rows_by_table(account_id, folded).items():
        keys = await consistency.differing_rows(tx, account_id, table, rows)
        more = f"; one of {len(keys)} such rows" if len(keys) > 1 else ""
        for key in keys[:SHOWN]:
            yield "state", f"a row of {table} is not what the facts come to{more}", key, REBUILD


async def _fills(tx: Tx, account_id: UUID) -> AsyncIterator[Found]:
    """The executions of an order add up to its filled quantity, or an open finding says that they do not."""
    for order in await consistency.unfilled(tx, account_id):
        yield (
            "fills",
            f"{order.filled_quantity} filled, executions of {order.fills_quantity} known, and no finding says so",
            f"order {order.broker_order_id} of {order.listed_on}",
            "run `portfolio-scheduler sync --retry` on the same day; later the broker no longer tells",
        )


async def _snapshots(tx: Tx, account_id: UUID) -> AsyncIterator[Found]:
    """The newest snapshot of each day agrees with its lines, with the day before, and with what was traded."""
    for day in await consistency.days(tx, account_id):
        for what in _wrong(day):
            yield "snapshots", what, f"{day.trading_on}, seq {day.seq}", TAMPERED


def _wrong(day: Day) -> Iterator[str]:
    with localcontext() as context:
        context.prec = EXACT
        held = [line for line in day.lines if line.quantity]
        values = [line.value for line in held if line.value is not None]
        value = sum(values, ZERO) if values or not held else None
        if value != day.holdings_value:
            yield f"its lines come to {value}, but its value is {day.holdings_value}"
        if len(held) != day.holdings_count:
            yield f"it has {len(held)} lines that hold something, but counts {day.holdings_count}"
        yield from _wrong_change(day)
        yield from _wrong_quantities(day)


def _wrong_change(day: Day) -> Iterator[str]:
    if day.day_change is None:
        return
    parts = [day.market_move, day.net_invested, day.transferred, day.unexplained]
    if None in parts or day.holdings_value is None or day.previous_value is None or day.previous_on is None:
        yield "it has a day change of which a part is missing"
    elif {day.day_change} != {day.holdings_value - day.previous_value, sum((p for p in parts if p is not None), ZERO)}:
        yield "its day change is not the sum of its parts, or not the difference of the two values"
    elif day.previous_value not in day.previous_values:
        yield f"it is compared with {day.previous_value}, which was never the value of {day.previous_on}"


def _wrong_quantities(day: Day) -> Iterator[str]:
    """Rule 8: what a line holds is what it held before and what was traded since, unless it says `unexplained`."""
    if day.before is None:
        return
    expected = expected_units(day.before, day.trades)
    for line in day.lines:
        if line.basis != "unexplained" and line.quantity != expected.get(line.isin, ZERO):
            yield (
                f"{line.trading_symbol} holds {line.quantity}, but held and traded before comes to "
                f"{expected.get(line.isin, ZERO)}"
            )


async def _coverage(app: App, tx: Tx, account: Account) -> AsyncIterator[Found]:
    """Since the first complete day every trading day that is over was read, or is recorded as a gap."""
    first, covered = await consistency.covered_days(tx, account.id)
    if first is None or account.state == "closed":
        return
    last = app.calendar.previous(app.calendar.trading_on(app.clock.now()))
    for session in app.calendar.sessions(first, last):
        if session.on not in covered:
            yield (
                "coverage",
                "nothing was read of this trading day, and no gap is recorded",
                session.on.isoformat(),
                f"run `portfolio-scheduler sync {account.label}`, which records the gap",
            )


async def _batches(tx: Tx, account: Account) -> AsyncIterator[Found]:
    """No batch stays open behind nobody."""
    for batch_id, status in await consistency.stuck_batches(tx, account.id, QUEUED_SECONDS):
        what = "runs without a sign of life" if status == "running" else "has been waiting for an hour"
        remedy = f"run `portfolio-scheduler sync {account.label}`, which takes it over; is the service running?"
        yield "batches", f"a sync {what}", f"batch {batch_id}", remedy


def _calendar(app: App) -> Iterator[Problem]:
    """The calendar knows what the days of the next month are."""
    for warning in app.calendar.warnings(ist_date(app.clock.now())):
        what, _, remedy = warning.partition(". ")
        yield Problem(
            check="calendar",
            account=None,
            account_id=None,
            what=what[0].lower() + what[1:],
            where=f"known until {app.calendar.known_until}",
            remedy=remedy[0].lower() + remedy[1:],
        )
