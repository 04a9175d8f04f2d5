"""The story of a sync, from top to bottom.

Gather, decide, apply: the network is read with no transaction open; what it means is decided by pure functions;
everything that follows is written in one transaction at the end. Who has read this file has read the product.
"""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

import msgspec
import psycopg
import structlog
from msgspec import Struct

from portfolio_scheduler.app import App
from portfolio_scheduler.brokers.broker import AccessToken, Broker, BrokerSession, Credentials
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db import accounts, batches, corporate_actions, gaps, ledger, prices, snapshots, state
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.batches import Claim, Readings, Repeated, Result
from portfolio_scheduler.db.pool import Tx, is_worth_retrying, transaction
from portfolio_scheduler.db.state import Standing
from portfolio_scheduler.domain.changes import (
    Difference,
    Event,
    FillSeen,
    HoldingChange,
    Moment,
    OrderChange,
    OrderSeen,
    PositionChange,
    State,
    fold,
)
from portfolio_scheduler.domain.diff import diff
from portfolio_scheduler.domain.line_diff import position_section
from portfolio_scheduler.domain.order_diff import order_section
from portfolio_scheduler.domain.records import (
    Fetched,
    Instrument,
    Order,
    Outcome,
    Owner,
    SectionResult,
    Statement,
)
from portfolio_scheduler.domain.valuation import instrument_key
from portfolio_scheduler.errors import (
    BrokerAnswerUnknown,
    BrokerError,
    BrokerLoginRequired,
    BrokerNotEntitled,
    BrokerRefused,
    BrokerThrottled,
    BrokerUnavailable,
    DatabaseUnavailable,
    Fenced,
    PortfolioSchedulerError,
)
from portfolio_scheduler.failpoints import failpoint
from portfolio_scheduler.log import logger
from portfolio_scheduler.sync import repetition
from portfolio_scheduler.sync.dating import Dated, clock_advice, dated, standing_at
from portfolio_scheduler.sync.gaps import mark_given_up, mark_lost_days
from portfolio_scheduler.sync.ownership import checked_open
from portfolio_scheduler.sync.repetition import CLOSING_TOGETHER
from portfolio_scheduler.sync.revalue import revise_told
from portfolio_scheduler.sync.snapshot import take_snapshot

RETRY_WAITS = (0.5, 2.0, 5.0)  # seconds at most before a transaction is tried again, drawn from their upper halves
FRESH = timedelta(minutes=5)  # what was fetched longer ago is fetched again rather than applied again
GOOD = frozenset({Outcome.OK, Outcome.NOT_ENTITLED})
COUNTED: Mapping[type, str] = {
    OrderSeen: "orders",
    OrderChange: "order_changes",
    FillSeen: "fills",
    HoldingChange: "holding_changes",
    PositionChange: "position_changes",
    Event: "events",
    ledger.Snapshot: "snapshots",
}

log = logger()


class Report(Struct, frozen=True, kw_only=True):
    """What one sync did."""

    account: str  # label
    account_id: str
    batch_id: str
    status: str  # completed, partial, failed
    trading_on: date | None
    standing: str | None
    sections: dict[str, SectionResult]
    counts: dict[str, int]
    error: str | None  # one sentence, when it failed


async def sync_account(
    app: App, account_id: UUID, *, trigger: str = "manual", wanted: list[str] | None = None
) -> Report:
    """Open a batch for the account and run it. `Conflict` when one is already running."""
    async with transaction(app.pool) as tx:
        claim = await batches.start(
            tx,
            account_id,
            trigger=trigger,
            now=app.clock.now(),
            worker=worker_name(),
            wanted=wanted,
            stale_seconds=app.settings.lease_seconds,
        )
        account = checked_open(await accounts.load(tx, account_id))  # after the claim, which waits for who closes it
    return await run(app, account, claim)


async def run_queued(app: App, account_id: UUID) -> Report | None:
    """Run the account's queued batch. None when there is none: it is done, or somebody else is at it."""
    async with transaction(app.pool) as tx:
        claim = await batches.claim_queued(tx, account_id, now=app.clock.now(), worker=worker_name())
        if claim is None:
            return None
        account = await accounts.load(tx, account_id)
        failpoint("claiming")
    failpoint("claimed")
    with suppress(Fenced):  # said in the log already; whoever took the batch over reports
        return await run(app, account, claim)
    return None


def worker_name() -> str:
    """Which process on which machine runs a batch, for people who look for it."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def run(app: App, account: Account, claim: Claim) -> Report:
    """Run a claimed batch to its end, whatever that is: a batch never stays open behind a living worker."""
    with structlog.contextvars.bound_contextvars(batch=str(claim.id), account=account.label):
        log.info("sync started", trigger=claim.trigger, fence=claim.fence)
        try:
            async with heartbeat(app, claim):
                result = await _sync(app, account, claim)
        except BrokerError as error:
            result = await fail(app, account, claim, error)
        except Fenced as error:
            log.warning("sync was taken over", reason=error.message)
            raise
        except BaseException as error:
            await asyncio.shield(fail(app, account, claim, error))
            raise
        log.info("sync finished", status=result.status, **result.counts)
        return _report(account, claim, result)


class Asked(Struct, frozen=True, kw_only=True):
    """What was said first, as it is understood, and what follows from it."""

    said: Statement
    known: Standing  # what was known of it then
    unpriced: list[Instrument]
    unfinished: list[Order]  # of earlier days, of which nobody knows the end


class Gathered(Struct, frozen=True, kw_only=True):
    """What the network brought. What was read first is understood already: it decided what to ask last."""

    book: Fetched
    first: Asked | Repeated
    last: Fetched = Fetched()  # executions and prices

    @property
    def whole(self) -> Fetched:
        return Fetched(answers=self.book.answers + self.last.answers, sections=self.book.sections | self.last.sections)


async def _sync(app: App, account: Account, claim: Claim) -> Result:
    broker = app.brokers[account.broker]
    began_at = app.clock.now()
    checked_awake(account, began_at)
    credentials, token = unsealed(app, account)
    async with broker.open(credentials, token, app.clock) as session:
        try:
            gathered, when = await _fetch(app, account, claim, broker, session, began_at)
        except BrokerError as error:
            when = dated(app, began_at, session.clock_offset)
            if when.offset is not None:  # the broker was heard, so today is today
                await _again(app, partial(mark_lost_days, app, account, claim, when.observed_at, when.trading_on))
            return await fail(app, account, claim, error, when)
        finally:
            await _keep_token(app, account, session, token)
    if isinstance(gathered.first, Repeated):
        return await repeat(app, claim, gathered.book, when, gathered.first)
    first, whole, last = gathered.first, gathered.whole, gathered.last
    now = app.clock.now()
    rolled = ist_date(now) > ist_date(began_at)  # read across midnight: its lists may be the new day's
    if rolled:
        when = dated(app, now, when.offset)
    kept = await _keep(app, claim, whole, when.observed_at, when.trading_on)
    known = None
    if rolled:
        statement = broker.parse(whole.answers, whole.sections, when.observed_at, when.trading_on)
    else:
        known = kept.later(first.known)
        statement = first.said.joined(broker.parse(last.answers, last.sections, when.observed_at, when.trading_on))
    fingerprint = None if rolled else gathered.book.fingerprint
    statement = msgspec.structs.replace(statement, flags=(*statement.flags, *when.flags), fingerprint=fingerprint)
    check_identity(account, statement)
    return await apply(app, account, claim, statement, when.trading_on, known, keep_slot=not when.contradicted)


# ── gather: the network, no transaction open ────────────────────────────────────────────────────────────────────────


async def _fetch(
    app: App, account: Account, claim: Claim, broker: Broker, session: BrokerSession, began_at: datetime
) -> tuple[Gathered, Dated]:
    """All the broker says, and when. What to ask last (executions, prices) follows from what it said first."""
    book = await session.fetch_book(claim.wanted)
    failpoint("book_read")
    when = dated(app, began_at, session.clock_offset)
    book = Fetched(answers=when.shifted(book.answers), sections=book.sections)
    first = await _again(app, partial(_asked_next, app, account, claim, broker, book, when))
    if isinstance(first, Repeated):
        return Gathered(book=book, first=first), when
    earlier = await session.fetch_earlier(first.unfinished)
    told = broker.parse(earlier.answers, {}, when.observed_at, when.trading_on).earlier if earlier.answers else ()
    fills = await _fetch_last("fills", session.fetch_fills(_owed(first.said, first.known.state, told)))
    priced = await _fetch_last("prices", session.fetch_prices(first.unpriced))
    failpoint("all_read")
    answers = when.shifted(earlier.answers + fills.answers + priced.answers)
    last = Fetched(answers=answers, sections=fills.sections | priced.sections)
    return Gathered(book=book, first=first, last=last), when


async def _asked_next(
    app: App, account: Account, claim: Claim, broker: Broker, book: Fetched, when: Dated, tx: Tx
) -> Asked | Repeated:
    """What is known of what was said, and what to ask for next. Days that are lost are marked before."""
    await mark_lost_days(app, account, claim, when.observed_at, when.trading_on, tx)
    before = await repetition.repeated(tx, app, account, claim, book, when)
    if before is not None:
        return before
    said = broker.parse(book.answers, book.sections, when.observed_at, when.trading_on)
    today = ist_date(when.observed_at)
    left = await gaps.unfinished(tx, account.id, today, said.order_ids)
    left = [one for one in left if said.ok(order_section(one.order))]  # else it may stand in the list not read
    await mark_given_up(account, claim, [one for one in left if one.is_hopeless(today)], when.observed_at, tx)
    unfinished = [one.order for one in left if not one.is_hopeless(today)]
    ids = [*said.order_ids, *(order.broker_order_id for order in unfinished)]
    known = await state.load_standing(tx, account.id, ids, when.trading_on, fills_of=())
    unpriced = await _unpriced(app, tx, said, known.state, when.observed_at, when.trading_on)
    return Asked(said=said, known=known, unpriced=unpriced, unfinished=unfinished)


async def _fetch_last(section: str, fetching: Awaitable[Fetched]) -> Fetched:
    """What is asked last may fail without losing what was read first, be it by a login that died in between."""
    try:
        return await fetching
    except BrokerError as error:
        failed = SectionResult(outcome=Outcome.FAILED, error=type(error).__name__, reason=error.message)
        return Fetched(sections={section: failed})


def _owed(said: Statement, known: State, told: Sequence[Order] = ()) -> list[Order]:
    """Orders of which more was filled than we have executions of, today's earlier ones included."""
    listed = {order.broker_order_id: order for order in (*said.orders, *told)}
    earlier = {k: v.order for k, v in known.orders.items() if k not in listed}
    owed = []
    for broker_order_id, order in (listed | earlier).items():
        have = known.orders.get(broker_order_id)
        if order.filled_quantity > (have.fills_quantity if have else 0):
            owed.append(order)
    return owed


async def _unpriced(
    app: App, tx: Tx, said: Statement, known: State, observed_at: datetime, trading_on: date
) -> list[Instrument]:
    """Instruments held or open that nobody has read the closing price of yet; before the close, all of them.

    The close is the cash market's, which derivatives share; what trades on into the evening is read every time.
    """
    instruments = _instruments(said, known, trading_on)
    closes_at = app.calendar.closes_at(trading_on)
    if observed_at < closes_at:
        return sorted(instruments.values())
    have = await prices.priced_since(tx, instruments.keys(), trading_on, closes_at)
    return sorted(i for key, i in instruments.items() if key not in have or i.segment not in CLOSING_TOGETHER)


def _instruments(said: Statement, known: State, trading_on: date) -> dict[str, Instrument]:
    """What was said or, where nothing was, is known; positions of an earlier day count for nothing (rule 5)."""
    holdings = said.holdings if said.applies("holdings") else tuple(k.holding for k in known.holdings.values())
    today = [known.position for known in known.positions.values() if known.trading_on == trading_on]
    unread = [position for position in today if not said.applies(position_section(position))]
    instruments = {}
    for holding in holdings:
        exchange = "NSE" if not holding.exchanges or "NSE" in holding.exchanges else holding.exchanges[0]
        if holding.trading_symbol:
            instruments[holding.isin] = Instrument(
                key=holding.isin, exchange=exchange, segment="CASH", trading_symbol=holding.trading_symbol
            )
    for position in (*said.positions, *unread):
        key = instrument_key(position)
        if position.quantity and key not in instruments:
            instruments[key] = Instrument(
                key=key, exchange=position.exchange, segment=position.segment, trading_symbol=position.trading_symbol
            )
    return instruments


def checked_awake(account: Account, now: datetime) -> None:
    """A broker that asked for a pause is not asked before it is over, whichever process asks."""
    if account.resume_at is not None and account.resume_at > now:
        seconds = (account.resume_at - now).total_seconds()
        raise BrokerThrottled(
            f"The broker asked for a pause; this account can be read again in {seconds / 60:.0f} min.",
            call="login",
            retry_after_seconds=seconds,
        )


def unsealed(app: App, account: Account) -> tuple[Credentials, AccessToken | None]:
    """The account's secrets, decrypted just before they are used. A dead token is no token."""
    if account.sealed_credentials is None:
        raise BrokerLoginRequired(f"Account {account.label!r} has no credentials any more; it is closed.")
    secret = app.vault.open(account.id, "credentials", account.sealed_credentials, version=account.credentials_number)
    credentials = msgspec.json.decode(secret, type=Credentials)
    if account.sealed_token is None or account.token_expires_at is None:
        return credentials, None
    if account.token_expires_at <= app.clock.now():
        return credentials, None
    token = app.vault.open(account.id, "token", account.sealed_token).decode()
    return credentials, AccessToken(token=token, expires_at=account.token_expires_at)


async def _keep_token(app: App, account: Account, session: BrokerSession, before: AccessToken | None) -> None:
    """A token that was minted is sealed and kept, also when the rest failed: minting is rationed.

    So is how long the broker wants the account left alone.
    """
    token, resume_at = session.token, session.resume_at
    minted = token if token != before else None
    if minted is not None or resume_at is not None:
        try:
            async with transaction(app.pool) as tx:
                if minted is not None:
                    sealed = app.vault.seal(account.id, "token", minted.token.encode())
                    await accounts.save_token(tx, account.id, sealed, minted.expires_at)
                if resume_at is not None:
                    await accounts.leave_alone(tx, account.id, resume_at)
            failpoint("token_kept")
        except (psycopg.Error, DatabaseUnavailable) as error:  # today's reading is worth more
            log.warning("token not kept", error=type(error).__name__)


class Kept(Struct, frozen=True):
    """Where the account's head stood before and after the raw answers were kept."""

    before_seq: int
    after_seq: int

    def later(self, known: Standing) -> Standing | None:
        """What was known before still stands if nobody has written in between: raw answers change no state."""
        return Standing(self.after_seq, known.state) if known.seq == self.before_seq else None


async def _keep(app: App, claim: Claim, fetched: Fetched, observed_at: datetime, trading_on: date) -> Kept:
    """The raw answers are facts before anybody has understood them."""

    async def keep(tx: Tx) -> Kept:
        head = await ledger.lock(tx, claim.account_id, claim.fence)
        payloads = await ledger.keep_payloads(tx, head, claim.id, fetched.answers)
        standing = standing_at(app, observed_at, trading_on)
        await batches.save_reading(
            tx, claim, fetched, payloads, observed_at=observed_at, trading_on=trading_on, standing=standing
        )
        failpoint("keeping_answers")
        return Kept(head.seq, max(head.seq, *payloads.values()) if payloads else head.seq)

    kept = await _again(app, keep)
    failpoint("answers_kept")
    return kept


def check_identity(account: Account, statement: Statement) -> None:
    """Credentials of another account must never write into this one's history."""
    owner = statement.owner
    if owner is None:
        raise unidentified(statement.sections.get("owner"))
    if is_another(account, owner):
        raise BrokerLoginRequired(
            f"These credentials belong to the broker account {owner.ucc}, but {account.label!r} is "
            f"{account.ucc or account.broker_account_id}; nothing was written. Enter this account's own credentials."
        )


def is_another(account: Account, owner: Owner) -> bool:
    """Whether the broker names another account than this one. One that was saved untested is known, until its first
    login, by the number that its owner gave, if they gave one."""
    if account.ucc is not None:
        return owner.ucc != account.ucc
    return account.broker_account_id not in {None, owner.ucc, owner.vendor_user_id}


UNIDENTIFIED: tuple[type[BrokerError], ...] = (BrokerAnswerUnknown, BrokerNotEntitled, BrokerRefused, BrokerThrottled)


def unidentified(result: SectionResult | None) -> BrokerError:
    """Why we do not know whose account it is: of the class that says who can help."""
    kinds = {kind.__name__: kind for kind in UNIDENTIFIED}
    kind = kinds.get(result.error or "", BrokerUnavailable) if result else BrokerUnavailable
    reason = result.reason if result else "no answer"
    return kind(f"The broker did not say whose account this is ({reason}), so nothing was written.")


# ── decide and apply: pure functions inside one transaction ─────────────────────────────────────────────────────────


async def apply(
    app: App,
    account: Account,
    claim: Claim,
    statement: Statement,
    trading_on: date,
    known: Standing | None = None,
    *,
    keep_slot: bool = True,
) -> Result:
    """Write all of it or nothing. `known` saves reading again what has not changed since it was read."""
    write = partial(_write, app, account, claim, statement, trading_on, known, keep_slot=keep_slot)
    result = await _once(app, claim, write)
    failpoint("applied")
    return result


async def repeat(app: App, claim: Claim, book: Fetched, when: Dated, before: Repeated) -> Result:
    """The answers say what they said the last time: there is nothing to compare."""

    async def write(tx: Tx) -> Result:
        return await repetition.finish(tx, app, claim, book, when, before)

    result = await _once(app, claim, write)
    failpoint("repeated")
    return result


T = TypeVar("T")


async def _again(app: App, work: Callable[[Tx], Awaitable[T]], *, until: datetime | None = None) -> T:
    """Do it in a transaction, and once more after a conflict or a lost connection: what failed so did nothing.

    Three times at most, as decided in docs/decisions/0011, and not after `until`.
    """
    for seconds in (*RETRY_WAITS, None):
        try:
            async with transaction(app.pool) as tx:
                return await work(tx)
        except psycopg.Error as error:
            too_late = until is not None and app.clock.now() > until
            if seconds is None or too_late or not is_worth_retrying(error):
                raise
            log.warning("transaction is tried again", sqlstate=error.sqlstate)
            await app.pool.check()  # one lost connection is seldom alone
            await app.clock.sleep(seconds * random.uniform(0.5, 1))  # noqa: S311
    raise AssertionError("unreachable")


async def _once(app: App, claim: Claim, write: Callable[[Tx], Awaitable[Result]]) -> Result:
    """Bring the batch to its end, once: when only the answer to our commit was lost, what was written is the result."""
    written: list[Result] = []

    async def work(tx: Tx) -> Result:
        if not (written and await batches.is_finished(tx, claim)):
            written.append(await write(tx))
        return written[-1]

    return await _again(app, work, until=app.clock.now() + FRESH)


async def _write(
    app: App,
    account: Account,
    claim: Claim,
    statement: Statement,
    trading_on: date,
    known_before: Standing | None,
    tx: Tx,
    *,
    keep_slot: bool,
) -> Result:
    head = await ledger.lock(tx, account.id, claim.fence)
    failpoint("head_locked")
    known = await _known(tx, head, statement, trading_on, known_before)
    read = await batches.readings(tx, account.id, trading_on)
    moment = await _moment(tx, account, statement, trading_on, read)

    difference = diff(known, statement, moment)
    batch = ledger.Batch(claim.id, statement.observed_at, statement.digests)
    facts = await ledger.append(tx, head, batch, difference.changes)
    failpoint("facts_written")
    after = fold(known, facts)  # type: ignore[arg-type]
    await state.save(tx, account.id, known, after, head.seq)
    failpoint("state_saved")
    await prices.save(tx, statement.prices)

    standing = standing_at(app, statement.observed_at, trading_on)
    counts = _count(difference)
    head = ledger.Head(account.id, head.seq + len(facts))
    revised = await revise_told(app, tx, head, batch, _told_of_earlier_days(difference, statement, moment))
    head, counts["snapshots"] = ledger.Head(account.id, head.seq + revised), revised
    if standing != "provisional" and is_complete(difference, statement.owner, read):
        margin = statement.margin or read.margin
        counts["snapshots"] += await take_snapshot(app, tx, head, batch, moment, after, margin)
        failpoint("snapshot_taken")
    if statement.owner is not None:
        await _save_owner(tx, account, statement.owner)
    if any(result.error == BrokerLoginRequired.__name__ for result in statement.sections.values()):
        await accounts.needs_login(tx, account.id)
    result = result_of(difference, statement, trading_on, standing, counts)
    await batches.finish(tx, claim, result, app.clock.now(), keep_slot=keep_slot)
    failpoint("batch_finished")
    return result


async def _known(tx: Tx, head: ledger.Head, statement: Statement, trading_on: date, before: Standing | None) -> State:
    """What the statement is compared with. What was read of it before serves again if nothing was written since, and
    no executions are known of the orders that bring some."""
    filled = {fill.broker_order_id for fill in statement.fills}
    if before is not None and before.seq == head.seq:
        executed = (before.state.orders.get(broker_order_id) for broker_order_id in filled)
        if not any(known is not None and known.fills_quantity for known in executed):
            return before.state
    ids = filled | set(statement.order_ids)
    return await state.load(tx, head.account_id, ids, trading_on, fills_of=filled)


def _told_of_earlier_days(difference: Difference, statement: Statement, moment: Moment) -> dict[date, str]:
    """Days that something was told of although their lists are over, each with the reason of its revision."""
    asked = {order.broker_order_id for order in statement.earlier}
    told: dict[date, set[str]] = {}
    for change in difference.changes:
        order_id = (
            change.broker_order_id
            if isinstance(change, OrderChange)
            else change.fill.broker_order_id
            if isinstance(change, FillSeen)
            else None
        )
        if order_id in asked and order_id is not None:
            on = change.trading_on  # type: ignore[union-attr]
            if on < moment.trading_on or moment.rolled:
                told.setdefault(on, set()).add(order_id)
    when = f"learned on {moment.observed_on}"
    return {on: f"what became of order {', '.join(sorted(ids))} was {when}" for on, ids in told.items()}


async def _moment(tx: Tx, account: Account, statement: Statement, trading_on: date, read: Readings) -> Moment:
    trades = await snapshots.deliveries(tx, account.id, read.holdings_read_on)
    return Moment(
        observed_at=statement.observed_at,
        observed_on=ist_date(statement.observed_at),
        trading_on=trading_on,
        holdings_read_on=read.holdings_read_on,
        deliveries=tuple((trade.isin, trade.traded_on, trade.units) for trade in trades),
        actions=await corporate_actions.due(tx, account.id, read.holdings_read_on, ist_date(statement.observed_at)),
    )


def is_complete(difference: Difference, owner: Owner | None, read: Readings) -> bool:
    """Whether this reading, with what was read well before on the same day, says everything about the day."""
    segments = owner.segments if owner else ()
    expected = {"holdings", "fills", "margin", "prices", *difference.sections, *read.asked}
    expected |= {f"{section}:{segment}" for section in ("positions", "orders") for segment in segments}
    good = {name for name, result in difference.sections.items() if result.outcome in GOOD}
    bad = difference.sections.keys() - good
    return expected <= good | set(read.done) - bad


async def _save_owner(tx: Tx, account: Account, owner: Owner) -> None:
    segments = list(owner.segments)
    unchanged = (account.ucc, account.segments, account.broker_account_id) == (
        owner.ucc,
        segments,
        owner.vendor_user_id,
    )
    if not unchanged or account.state == "needs_login":
        await accounts.save_owner(tx, account.id, ucc=owner.ucc, vendor_user_id=owner.vendor_user_id, segments=segments)


def _count(difference: Difference) -> dict[str, int]:
    counts = dict.fromkeys(COUNTED.values(), 0)
    for change in difference.changes:
        counts[COUNTED[type(change)]] += 1
    return counts


def result_of(
    difference: Difference, statement: Statement, trading_on: date, standing: str, counts: dict[str, int]
) -> Result:
    bad = {name: result for name, result in difference.sections.items() if result.outcome not in GOOD}
    status = "completed" if not bad else "partial" if len(bad) < len(difference.sections) - 1 else "failed"
    reasons = "; ".join(f"{name}: {result.reason or result.outcome.value}" for name, result in sorted(bad.items()))
    return Result(
        status=status,
        sections=difference.sections,
        counts=counts,
        flags=statement.flags,
        margin=statement.margin,
        observed_at=statement.observed_at,
        trading_on=trading_on,
        standing=standing,
        error_class=next((result.error for result in bad.values() if result.error), None),
        error_text=reasons or None,
        fingerprint=statement.fingerprint,
    )


# ── around it ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def fail(app: App, account: Account, claim: Claim, error: BaseException, when: Dated | None = None) -> Result:
    """Close the batch as failed. The text of an error that is not ours may hold anything, so only its class is kept."""
    ours = isinstance(error, PortfolioSchedulerError)
    interrupted = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
    text = error.message if ours else "interrupted" if interrupted else "unexpected error; see the log"  # type: ignore[attr-defined]
    if when is not None and (advice := clock_advice(when.offset)):
        text = f"{text} {advice}"
    flags = when.flags if when is not None else ()
    result = Result(status="failed", error_class=type(error).__name__, error_text=text, flags=flags)
    log.warning("sync failed", error=type(error).__name__, reason=text)

    async def close(tx: Tx) -> None:
        if isinstance(error, BrokerLoginRequired):
            await accounts.needs_login(tx, account.id)
        with suppress(Fenced):
            keep_slot = when is None or not when.contradicted
            await batches.finish(tx, claim, result, app.clock.now(), keep_slot=keep_slot)
        failpoint("failing")

    await _again(app, close)
    return result


@asynccontextmanager
async def heartbeat(app: App, claim: Claim) -> AsyncIterator[None]:
    """Tell the database every few seconds that this batch has a living worker."""
    task = asyncio.create_task(_beat(app, claim), name=f"heartbeat {claim.id}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # swallows its cancellation, never ours


async def _beat(app: App, claim: Claim) -> None:
    while True:
        await asyncio.sleep(app.settings.lease_seconds / batches.BEATS_PER_LEASE)
        try:
            async with transaction(app.pool) as tx:
                await batches.beat(tx, claim)
                failpoint("beating")
        except Fenced:
            return  # the fence stops the writing; there is nothing left to beat for
        except (psycopg.Error, PortfolioSchedulerError) as error:
            log.warning("heartbeat missed", error=type(error).__name__)


def _report(account: Account, claim: Claim, result: Result) -> Report:
    return Report(
        account=account.label,
        account_id=str(account.id),
        batch_id=str(claim.id),
        status=result.status,
        trading_on=result.trading_on,
        standing=result.standing,
        sections=result.sections,
        counts=result.counts,
        error=result.error_text,
    )
