"""Replay: the kept answers of an account are parsed and compared anew, and what is understood differently is corrected.

The history is told twice, batch after batch: as it is recorded, and as it is understood now. Where the two differ a
correction names what no longer counts, and new facts take its place with the batch, the instant and the trading day of
the old. A replay with an unchanged parser finds no difference and writes no fact.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from portfolio_scheduler.app import App
from portfolio_scheduler.db import accounts, batches, corporate_actions, ledger, prices, snapshots
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.batches import Claim, Kept, KeptReading, Result
from portfolio_scheduler.db.ledger import Batch, Entry, Head, Recorded, Rereading, Snapshot
from portfolio_scheduler.db.pool import Tx, transaction
from portfolio_scheduler.db.rebuilding import rebuild
from portfolio_scheduler.domain.changes import (
    Change,
    Event,
    FillSeen,
    HoldingChange,
    OrderChange,
    OrderSeen,
    PositionChange,
    as_details,
)
from portfolio_scheduler.domain.diff import diff
from portfolio_scheduler.domain.records import Answer, Outcome, Price, SectionResult, Statement
from portfolio_scheduler.domain.restating import Restatement, Told, day_of, line_of, restate, touchable
from portfolio_scheduler.errors import BrokerError, Conflict, InvalidInput
from portfolio_scheduler.log import logger
from portfolio_scheduler.sync.dating import CLOCK
from portfolio_scheduler.sync.gaps import is_given_up, is_lost_day
from portfolio_scheduler.sync.revalue import Revisions
from portfolio_scheduler.sync.run import check_identity, fail, heartbeat, is_complete, result_of, worker_name
from portfolio_scheduler.sync.snapshot import COMPARED, DAY_CHANGE, snapshot_of
from portfolio_scheduler.sync.telling import DayEnd, Reading, Telling

GONE = SectionResult(outcome=Outcome.FAILED, error="PayloadMissing", reason="Its raw answer is no longer kept.")

log = logger()


class Replayed(Struct, frozen=True, kw_only=True):
    """What a replay of one account did."""

    account: str  # label
    account_id: str
    batches: int  # how many were read again
    voided: int  # facts that no longer count
    added: int  # facts that count from now on
    rereadings: int  # batches whose outcome is another now
    prices: int  # prices that differed
    snapshots: tuple[date, ...]  # days with a new revision
    skipped: tuple[str, ...]  # what could not be read again, and why


class Understood(Struct, frozen=True, kw_only=True):
    """A batch as it is understood now."""

    changes: Sequence[Change]
    reading: Reading
    digests: dict[str, bytes] = {}
    prices: tuple[Price, ...] = ()
    is_complete: bool = False
    day_end: DayEnd | None = None


class Difference(Struct, kw_only=True):
    """What the two tellings differ in, gathered batch by batch."""

    recorded: list[Told[UUID]] = []
    understood: list[Told[UUID]] = []
    rereadings: dict[UUID, Reading] = {}
    prices: list[Price] = []
    days: dict[date, tuple[UUID, DayEnd, DayEnd]] = {}  # batch, as recorded, as understood
    digests: dict[UUID, dict[str, bytes]] = {}
    skipped: list[str] = []
    batches: int = 0


async def replay(app: App, account_id: UUID, *, batch_id: UUID | None = None, since_on: date | None = None) -> Replayed:
    """Read again the answers of that batch, or of the first of that trading day, and of all later ones.

    The account has an open batch while this runs, so no sync can come between. `Conflict` when one runs already.
    """
    async with transaction(app.pool) as tx:
        account = await accounts.load(tx, account_id)
        claim = await batches.start(tx, account_id, trigger="replay", now=app.clock.now(), worker=worker_name())
        if claim.trigger != "replay":
            raise Conflict(f"A sync of {account.label!r} is waiting to run (batch {claim.id}); try again after it.")
    with structlog.contextvars.bound_contextvars(batch=str(claim.id), account=account.label):
        try:
            async with heartbeat(app, claim):
                done = await _replay(app, account, claim, batch_id, since_on)
        except BaseException as error:
            await asyncio.shield(fail(app, account, claim, error))
            raise
        log.info("replayed", batches=done.batches, voided=done.voided, added=done.added, days=len(done.snapshots))
    return done


async def _replay(app: App, account: Account, claim: Claim, batch_id: UUID | None, since_on: date | None) -> Replayed:
    async with transaction(app.pool) as tx:
        history = await batches.kept(tx, account.id)
        recorded = await ledger.load_changes(tx, account.id)
        actions = await corporate_actions.of_account(tx, account.id)
    first = _first(history, batch_id, since_on)
    by_batch: dict[UUID, list[Recorded]] = {}
    for one in recorded:
        if one.batch_id is not None:  # what the owner did was read from no answer, and stands
            by_batch.setdefault(one.batch_id, []).append(one)
    before, now, found = Telling(actions), Telling(actions), Difference()
    for number, kept in enumerate(history):
        facts = by_batch.pop(kept.id, [])
        changes, reading = [one.change for one in facts], _reading(kept)
        if number < first:
            now.tell(changes, reading)
        else:
            await _tell_again(app, account, kept, facts, now, found)
        before.tell(changes, reading)
        if kept.id in found.digests:
            _note_day_end(kept, before, found)
    assert not by_batch, "every fact belongs to a finished batch"
    _void_gaps(recorded, now, found)
    found.days = {
        day: (read_by, _with_orders(then, before), _with_orders(anew, now))
        for day, (read_by, then, anew) in found.days.items()
    }
    return await _apply(app, account, claim, history, found)


def _first(history: Sequence[Kept], batch_id: UUID | None, since_on: date | None) -> int:
    for number, kept in enumerate(history):
        if kept.id == batch_id or (
            since_on is not None and kept.trading_on is not None and kept.trading_on >= since_on
        ):
            return number
    if batch_id is not None:
        raise InvalidInput(f"Batch {batch_id} is not a finished batch of this account.")
    return len(history)


def _reading(kept: Kept) -> Reading | None:
    if kept.trading_on is None or kept.standing is None or not kept.sections:
        return None
    return Reading(
        trading_on=kept.trading_on,
        standing=kept.standing,
        status=kept.status,
        sections=kept.sections,
        flags=kept.flags,
        margin=kept.margin,
    )


# ── telling again ───────────────────────────────────────────────────────────────────────────────────────────────────


async def _tell_again(
    app: App, account: Account, kept: Kept, facts: Sequence[Recorded], now: Telling, found: Difference
) -> None:
    """The next batch as it is understood now. What cannot be read again stands as it is recorded."""
    not_read = [one.change for one in facts if _is_not_read(one.change)]
    read = [one for one in facts if not _is_not_read(one.change)]
    understood = await _understand(app, account, kept, read, now, found)
    if understood is None:
        changes = now.foldable(one.change for one in read)
        understood_reading = _reading(kept)
    else:
        changes, understood_reading = list(understood.changes), understood.reading
        found.batches += 1
        found.digests[kept.id] = understood.digests
        found.prices += understood.prices
        if understood.reading != _reading(kept):
            found.rereadings[kept.id] = understood.reading
    found.recorded += [Told(kept.id, one.change, one.seq) for one in read]
    found.understood += [Told(kept.id, change) for change in changes]
    now.tell([*not_read, *changes], understood_reading)
    if understood is not None and understood.is_complete:
        _keep_day_end(kept, understood, now, found)


def _is_not_read(change: Change) -> bool:
    """Whether no reading finds it: it stands, whatever an answer is understood to say."""
    return isinstance(change, Event) and (change.kind == "CONFIG" or is_lost_day(change) or is_given_up(change))


async def _understand(
    app: App, account: Account, kept: Kept, facts: Sequence[Recorded], now: Telling, found: Difference
) -> Understood | None:
    """Parse and compare the kept answers of one batch; None when it has none that can be used."""
    if not kept.can_be_replayed:
        if kept.sections:
            found.skipped.append(f"batch {kept.id}: it kept too little to be read again")
        return None
    assert kept.reading is not None
    assert kept.observed_at is not None
    assert kept.trading_on is not None
    assert kept.standing is not None
    reading = KeptReading.unpacked(kept.reading)
    async with transaction(app.pool) as tx:
        answers, gone = await _answers(tx, account.id, reading)
    stand = _stand(gone, reading.sections)
    sections = reading.sections | dict.fromkeys(stand, GONE)
    if gone:
        found.skipped.append(f"batch {kept.id}: raw answers of {', '.join(sorted(gone))} are no longer kept")
    statement = app.brokers[account.broker].parse(answers, sections, kept.observed_at, kept.trading_on)
    clock = tuple(held for held in kept.flags if held.startswith(CLOCK))  # seen on the way, stands in no answer
    statement = msgspec.structs.replace(statement, flags=(*statement.flags, *clock))
    try:
        check_identity(account, statement)
    except BrokerError as error:
        if kept.sections:
            found.skipped.append(f"batch {kept.id}: {error.message}")
        return None
    return _compared(kept, statement, facts, stand, now)


def _compared(kept: Kept, statement: Statement, facts: Sequence[Recorded], stand: set[str], now: Telling) -> Understood:
    assert kept.observed_at is not None
    assert kept.trading_on is not None
    assert kept.standing is not None
    read = now.readings(kept.trading_on)
    moment = now.moment(kept.observed_at, kept.trading_on)
    ids = {fill.broker_order_id for fill in statement.fills} | set(statement.order_ids)
    known = touchable(now.state, ids, kept.trading_on)
    difference = diff(known, statement, moment)
    old = {name: result for name, result in kept.sections.items() if name in stand}
    difference = replace(difference, sections=difference.sections | old)
    margin = kept.margin if "margin" in stand else statement.margin
    result = result_of(difference, statement, kept.trading_on, kept.standing, {})
    standing_facts = [one.change for one in facts if _section_of(one.change) in stand]
    changes = [change for change in difference.changes if _section_of(change) not in stand]
    return Understood(
        changes=now.foldable([*changes, *standing_facts]),
        reading=Reading(
            trading_on=kept.trading_on,
            standing=kept.standing,
            status=result.status,
            sections=difference.sections,
            flags=statement.flags,
            margin=margin,
        ),
        digests=statement.digests,
        prices=statement.prices,
        is_complete=kept.standing != "provisional" and is_complete(difference, statement.owner, read),
    )


async def _answers(tx: Tx, account_id: UUID, reading: KeptReading) -> tuple[list[Answer], set[str]]:
    """The kept answers of a batch, and the sections of those that are gone."""
    payloads = await ledger.load_payloads(tx, account_id, [one.payload for one in reading.answers])
    answers = [
        Answer(
            call=one.call,
            section=one.section,
            request=one.request,
            status=one.status,
            body=payloads[one.payload].body,
            digest=payloads[one.payload].digest,
            fetched_at=one.fetched_at,
        )
        for one in reading.answers
        if one.payload in payloads
    ]
    return answers, {one.section for one in reading.answers if one.payload not in payloads}


def _stand(gone: set[str], fetched: dict[str, SectionResult]) -> set[str]:
    """Sections that stand as recorded because an answer of theirs is gone. Orders and executions go together."""
    stand = {name for name in fetched for section in gone if name == section or name.startswith(f"{section}:")}
    if any(name == "fills" or name.startswith("orders:") for name in stand):
        stand |= {name for name in fetched if name == "fills" or name.startswith("orders:")}
    return stand


def _section_of(change: Change) -> str:
    match change:
        case OrderSeen():
            return f"orders:{change.order.segment}"
        case OrderChange():
            return f"orders:{change.segment}"
        case FillSeen():
            return "fills"
        case HoldingChange():
            return "holdings"
        case PositionChange():
            return f"positions:{change.position.segment}"
        case Event():
            return change.section


def _day_end(kept: Kept, telling: Telling, margin: Any) -> DayEnd:
    assert kept.observed_at is not None
    assert kept.trading_on is not None
    return DayEnd(
        moment=telling.moment(kept.observed_at, kept.trading_on),
        state=telling.state,
        orders=(),
        margin=margin or telling.readings(kept.trading_on).margin,
        executions=(),
        movements=tuple(telling.movements),
    )


def _with_orders(end: DayEnd, telling: Telling) -> DayEnd:
    """Orders and executions are told of their own day, also by what was read later; so the whole telling counts."""
    return replace(end, orders=tuple(telling.state.orders.values()), executions=tuple(telling.executions))


def _keep_day_end(kept: Kept, understood: Understood, now: Telling, found: Difference) -> None:
    """The last complete reading of a day makes its snapshot; one on a later date only if there is no other."""
    assert kept.trading_on is not None
    if kept.standing == "late" and kept.trading_on in found.days:
        return
    day_end = _day_end(kept, now, understood.reading.margin)
    found.days[kept.trading_on] = (kept.id, day_end, day_end)


def _note_day_end(kept: Kept, before: Telling, found: Difference) -> None:
    """Beside it, the same moment as it is recorded."""
    assert kept.trading_on is not None
    if kept.trading_on in found.days and found.days[kept.trading_on][0] == kept.id:
        batch_id, _, now = found.days[kept.trading_on]
        found.days[kept.trading_on] = (batch_id, _day_end(kept, before, kept.margin), now)


def _void_gaps(recorded: Sequence[Recorded], now: Telling, found: Difference) -> None:
    """A day whose orders turn out to have been read is no gap."""
    if not found.batches:
        return
    read = now.read_days()
    found.recorded += [
        Told(one.batch_id, one.change, one.seq)
        for one in recorded
        if isinstance(one.change, Event) and is_lost_day(one.change) and one.change.trading_on in read and one.batch_id
    ]


# ── writing the differences ─────────────────────────────────────────────────────────────────────────────────────────


async def _apply(app: App, account: Account, claim: Claim, history: Sequence[Kept], found: Difference) -> Replayed:
    """All differences in one transaction, the account's head locked."""
    places = {kept.id: kept for kept in history}
    changed = restate(found.recorded, found.understood)
    async with transaction(app.pool) as tx:
        head = await ledger.lock(tx, account.id, claim.fence)
        facts = await _facts(tx, head, claim, places, changed, found, app)
        facts += [_rereading(places[batch_id], reading) for batch_id, reading in found.rereadings.items()]
        await ledger.append_entries(tx, head, facts)
        head = Head(account.id, head.seq + len(facts))
        if changed:
            await rebuild(tx, account.id)
        amended = await prices.amend(tx, found.prices)
        told = _told_of_earlier_days(changed, places)
        days = await _snapshots(app, tx, head, claim, places, found, told, amended=bool(amended))
        done = Replayed(
            account=account.label,
            account_id=str(account.id),
            batches=found.batches,
            voided=sum(1 for one in changed if one.old is not None),
            added=sum(1 for one in changed if one.new is not None),
            rereadings=len(found.rereadings),
            prices=amended,
            snapshots=tuple(days),
            skipped=tuple(found.skipped),
        )
        counts = {"voided": done.voided, "added": done.added, "snapshots": len(days)}
        await batches.finish(tx, claim, Result(status="completed", counts=counts), app.clock.now())
    return done


async def _facts(
    tx: Tx,
    head: Head,
    claim: Claim,
    places: dict[UUID, Kept],
    changed: Sequence[Restatement[UUID]],
    found: Difference,
    app: App,
) -> list[Entry]:
    """First the facts that count from now on, then the corrections that name what they replace."""
    orders = sorted({sight[0] for one in changed if one.new is not None and (sight := _sight(one.new.change))})
    sights = await ledger.last_sights(tx, head.account_id, orders)
    entries, replaced_by = [], {}
    for one in changed:
        if one.new is not None:
            old_seq = one.old.seq if one.old is not None else sights.get(_sight(one.new.change))
            entries.append(Entry(one.new.change, _place(places[one.new.batch], found), old_seq))
            if one.old is not None:
                replaced_by[one.old.seq] = head.seq + len(entries)
    now = app.clock.now()
    batch = Batch(claim.id, now, {})
    for one in changed:
        if one.old is not None:
            event = Event(
                kind="CORRECTION",
                section=_section_of(one.old.change),
                subject="/".join(str(part) for part in line_of(one.old.change)[1:]),
                trading_on=day_of(one.old.change),
                observed_at=now,
                details=as_details(replaced_by=replaced_by.get(one.old.seq), reason="replay"),
            )
            entries.append(Entry(event, batch, one.old.seq))
    return entries


def _sight(change: Change) -> tuple[str, ...]:
    """By what the first sight of an order or an execution is known; nothing for other changes."""
    match change:
        case OrderSeen():
            return (change.order.broker_order_id,)
        case FillSeen():
            return (change.fill.broker_order_id, change.fill.broker_trade_id)
        case _:
            return ()


def _place(kept: Kept, found: Difference) -> Batch:
    assert kept.observed_at is not None
    return Batch(kept.id, kept.observed_at, found.digests.get(kept.id, {}))


def _rereading(kept: Kept, reading: Reading) -> Entry:
    assert kept.observed_at is not None
    fact = Rereading(
        trading_on=reading.trading_on,
        status=reading.status,
        sections=reading.sections,
        flags=reading.flags,
        margin=reading.margin,
        reason="replay",
    )
    return Entry(fact, Batch(kept.id, kept.observed_at, {}))


def _told_of_earlier_days(changed: Sequence[Restatement[UUID]], places: Mapping[UUID, Kept]) -> dict[date, str]:
    """Days of which something was learned after them and is understood differently now, each with its reason."""
    told: dict[date, set[str]] = {}
    for restated in changed:
        for one in (restated.old, restated.new):
            if one is None or not isinstance(one.change, OrderChange | FillSeen):
                continue
            on, place = one.change.trading_on, places[one.batch]
            assert place.trading_on is not None
            if on < place.trading_on or place.standing == "late":
                told.setdefault(on, set()).add(str(line_of(one.change)[1]))
    what = "what became of order {} is understood differently"
    return {on: what.format(", ".join(sorted(ids))) for on, ids in told.items()}


async def _snapshots(
    app: App,
    tx: Tx,
    head: Head,
    claim: Claim,
    places: Mapping[UUID, Kept],
    found: Difference,
    told: Mapping[date, str],
    *,
    amended: bool,
) -> list[date]:
    """New revisions of the days whose figures differ now, oldest first: each day is compared with the one before.

    That is of the days that were read again, and of earlier ones of whose orders what was read again tells.
    """
    earlier = await snapshots.days_to_value(tx, min([*told, *found.days]), head.account_id) if told else []
    anew = Revisions(app, tx, head, Batch(claim.id, app.clock.now(), {}), {day.trading_on: day for day in earlier})
    written: list[date] = []
    for day in sorted({*found.days, *anew.days}):
        follows = bool(written) and app.calendar.previous(day) == written[-1]
        snapshot = await _as_read(app, tx, anew.head, found, day, written, amended) if day in found.days else None
        if snapshot is not None:
            await ledger.append_entries(tx, anew.head, [Entry(snapshot, _place(places[found.days[day][0]], found))])
            anew.head = Head(head.account_id, anew.head.seq + 1)
            written.append(day)
            continue
        is_due = day in anew.days and day not in found.days and (day in told or follows)
        if is_due and await anew.revise(day, f"replay: {told.get(day) or 'the day before was revised'}"):
            written.append(day)
    return written


async def _as_read(
    app: App, tx: Tx, head: Head, found: Difference, day: date, written: Sequence[date], amended: bool
) -> Snapshot | None:
    """The snapshot of a day that was read again; None when the newest one says the same."""
    _, before, now = found.days[day]
    compared = await snapshots.context(tx, head.account_id, day, app.calendar.previous(day))
    if compared.latest is not None and now.moment.rolled:
        return None
    revised_before = compared.before is not None and compared.before.trading_on in written
    same = compared.latest is not None and now.says_the_same(before, compared)
    if same and not revised_before and not amended:
        return None
    names = (*COMPARED, *DAY_CHANGE)
    snapshot = await snapshot_of(app, tx, now.moment, now.state, now.margin, now.counted(compared), names=names)
    return None if snapshot is None else replace(snapshot, reason=f"replay: {snapshot.reason}")
