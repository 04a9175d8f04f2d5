"""From the parsed statement to the commit, without network: the engine against a raw writer of the same rows.

Accounts of 50 holdings, 10 positions and 100 orders; each is seen first, then with one order in ten changed, then
unchanged, then once more with the very same answers. Every process works off its accounts one after the other.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count
from statistics import median
from typing import Any, TypeAlias
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from portfolio_scheduler.app import App, running
from portfolio_scheduler.bench import place, raw_writer, statements
from portfolio_scheduler.bench.crew import Crew
from portfolio_scheduler.bench.figures import Aim, Figure, Scale, at_least, figure, ratios
from portfolio_scheduler.bench.raw_writer import Rows
from portfolio_scheduler.clock import StoppedClock, SystemClock, ist
from portfolio_scheduler.db import accounts, batches, ledger, prices
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.batches import Claim, Result
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.domain.records import Fetched, Statement
from portfolio_scheduler.settings import Settings
from portfolio_scheduler.sync import repetition, run
from portfolio_scheduler.sync.dating import Dated

Facts: TypeAlias = dict[str, Rows]  # by kind of statement

NOW = ist(statements.DAY, 16, 15)
KINDS = ("first", "changed", "unchanged", "again")
WITHOUT_FACTS = frozenset({"unchanged", "again"})
AIMS: dict[str, Aim] = {
    "first": at_least(0.6),
    "changed": at_least(0.6),
    "unchanged": at_least(1.5),
    "again": at_least(1.5),
}
SAYS = {
    "first": statements.first,
    "changed": statements.changed,
    "unchanged": statements.unchanged,
    "again": statements.unchanged,
}
NAMES = {
    "first": "first sync",
    "changed": "10 % of orders changed",
    "unchanged": "nothing changed, compared",
    "again": "nothing changed, byte for byte",
}


class Claimed(Struct, frozen=True):
    """An account with an open batch and what it is going to say."""

    account: Account
    claim: Claim
    book: Fetched
    statement: Statement


class Hand:
    """One process: writes its accounts one after the other, the engine's way or the raw way."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.claimed: list[Claimed] = []

    async def claim(self, account_ids: Sequence[UUID], kind: str) -> None:
        """Open the batches, which is no part of what is measured."""
        said = SAYS[kind]()
        self.claimed = []
        for account_id in account_ids:
            async with transaction(self.app.pool) as tx:
                account = await accounts.load(tx, account_id)
                claim = await batches.start(tx, account_id, trigger="manual", now=NOW, worker="bench")
                statement = statements.of_account(said, account.ucc or "")
                book = statements.answers_of(statement)
                head = await ledger.lock(tx, account_id, claim.fence)
                await ledger.keep_payloads(tx, head, claim.id, book.answers)
            statement = replace(statement, fingerprint=book.fingerprint)
            self.claimed.append(Claimed(account, claim, book, statement))

    async def apply(self, kind: str) -> int:
        """The engine. Returns how many facts it found."""
        found = 0
        for each in self.claimed:
            result = await (self._repeat(each) if kind == "again" else self._compare(each))
            assert result.status == "completed", result.error_text
            found += sum(result.counts.values())
        return found

    async def _compare(self, each: Claimed) -> Result:
        return await run.apply(self.app, each.account, each.claim, each.statement, statements.DAY)

    async def _repeat(self, each: Claimed) -> Result:
        """As a sync does whose answers are those of the sync before."""
        when = Dated(observed_at=each.statement.observed_at, trading_on=statements.DAY, offset=None)
        async with transaction(self.app.pool) as tx:
            before = await repetition.repeated(tx, self.app, each.account, each.claim, each.book, when)
        assert before is not None, "the same answers were not recognised"
        return await run.repeat(self.app, each.claim, each.book, when, before)

    async def write(self, rows: Rows, *, all_stated: bool) -> None:
        """The baseline."""
        puts = rows.stated if all_stated else rows.changed
        for each in self.claimed:
            await raw_writer.write(self.app.pool, each.account.id, each.claim.id, rows, puts)


@asynccontextmanager
async def hand(settings: Settings, now: datetime = NOW) -> AsyncIterator[Hand]:
    async with running(settings, StoppedClock(now)) as app:
        yield Hand(app)


async def measure(scale: Scale) -> list[Figure]:
    figures = []
    with place.fresh() as (settings, _):
        async with running(settings, StoppedClock(NOW)) as app:
            async with transaction(app.pool) as tx:
                await prices.save(tx, statements.prices())
            found = await model(app)
            for processes in (1, 2):
                with Crew(processes, hand, settings) as crew:
                    race = Race(app, crew, processes, scale.of(40, 2), found)
                    for _ in range(scale.runs + 1):
                        await race.run()
                    figures += race.figures(warm=0 if scale.quick else 1)
    return figures


async def model(app: App) -> Facts:
    """Lets the engine write one account and keeps what it wrote, for the raw writer."""
    (account_id,) = await new_accounts(app, 1)
    own, found, seq = Hand(app), {}, 0
    for kind in KINDS:
        await own.claim([account_id], kind)
        await own.apply(kind)
        async with transaction(app.pool) as tx:
            found[kind] = await raw_writer.captured(tx, account_id, own.claimed[0].claim.id, seq)
        seq = found[kind].seq
    return found


class Race:
    """The engine and the baseline in turn, on new accounts each time."""

    def __init__(self, app: App, crew: Crew, processes: int, each: int, found: Facts) -> None:
        self.app, self.crew, self.processes, self.each, self.found = app, crew, processes, each, found
        self.seconds: dict[tuple[str, str], list[float]] = {}
        self.processor: dict[tuple[str, str], list[float]] = {}  # ms an account, ours and the server's
        self.facts: dict[str, int] = {}

    async def run(self) -> None:
        ours, blind, exact = [
            [(await new_accounts(self.app, self.each),) for _ in range(self.processes)] for _ in range(3)
        ]
        for kind in KINDS:
            rows = self.found[kind]
            self._claim(ours, kind)
            self._time("engine", kind, "apply", (kind,))
            self._claim(blind, kind)
            self._time("raw", kind, "write", (rows,), all_stated=True)
            if kind not in WITHOUT_FACTS:
                self._claim(exact, kind)
                self._time("raw, changes only", kind, "write", (rows,), all_stated=False)

    def _claim(self, account_ids: list[tuple[list[UUID]]], kind: str) -> None:
        self.crew.tell_each("claim", [(own, kind) for (own,) in account_ids])

    def _time(self, who: str, kind: str, method: str, args: tuple[Any, ...], **options: bool) -> None:
        clock = SystemClock()
        started, used = clock.monotonic(), self._processor_seconds()
        answers = self.crew.tell(method, *args, **options)
        self.seconds.setdefault((who, kind), []).append(clock.monotonic() - started)
        spent = (self._processor_seconds() - used) * 1e3 / self.processes / self.each
        self.processor.setdefault((who, kind), []).append(spent)
        if who == "engine":
            self.facts[kind] = sum(answers) // self.processes // self.each

    def _processor_seconds(self) -> float:
        return self.crew.cpu_seconds() + place.server_cpu_seconds(self.app.settings)

    def figures(self, warm: int) -> list[Figure]:
        """Without the first `warm` runs, in which plans and caches are made."""
        at = f"{self.processes} process{'es' if self.processes > 1 else ''}"
        seconds = {key: samples[warm:] for key, samples in self.seconds.items()}
        written = self.processes * self.each
        figures = []
        for kind in KINDS:
            own, raw = seconds["engine", kind], seconds["raw", kind]
            spent = [f"{median(self.processor[who, kind]):.1f}" for who in ("engine", "raw")]
            note = (
                f"{_rate(written, own)} accounts/s, raw writer {_rate(written, raw)}; {self.facts[kind]} facts; "
                f"processor ms each {spent[0]}, raw {spent[1]}"
            )
            figures.append(figure("apply", f"{NAMES[kind]}, {at}", "× raw", ratios(raw, own), AIMS[kind], note))
        exact = ratios(seconds["raw, changes only", "changed"], seconds["engine", "changed"])
        note = "the raw writer is told which rows changed"
        return [
            *figures,
            figure("apply", f"{NAMES['changed']}, {at}, against only those rows", "× raw", exact, note=note),
        ]


def _rate(accounts_written: int, seconds: Sequence[float]) -> str:
    return f"{accounts_written / sorted(seconds)[len(seconds) // 2]:,.0f}"


_number = count(1)


async def new_accounts(app: App, how_many: int) -> list[UUID]:
    async with transaction(app.pool) as tx:
        return [await _account(tx, f"{next(_number):09d}") for _ in range(how_many)]


async def _account(tx: Tx, name: str) -> UUID:
    """An account whose owner is known already, as on every day but the first."""
    account_id = await accounts.new_id(tx)
    user_id = await accounts.ensure_user(tx, "bench", NOW)
    await accounts.add(
        tx,
        account_id=account_id,
        user_id=user_id,
        broker="groww",
        label=name,
        login="totp",
        credentials=accounts.SealedCredentials(sealed=b"sealed", number=1, fingerprint=None),
        now=NOW,
    )
    await accounts.save_owner(tx, account_id, ucc=name, vendor_user_id=name, segments=list(statements.SEGMENTS))
    return account_id
