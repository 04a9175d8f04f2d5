"""Where an account stands: its last sync and the reasons of what failed, its login, what is missing and what is odd."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import Struct
from rich.console import Console

from portfolio_scheduler.app import App
from portfolio_scheduler.cli.render import Column, Kind, Value, ist_time, print_list, print_table
from portfolio_scheduler.db.instrument_loading import Trouble
from portfolio_scheduler.db.notices import Notice
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads import accounts as reads
from portfolio_scheduler.db.reads.accounts import AccountRow, BatchRow, CoverageRow, FindingRow
from portfolio_scheduler.domain.records import Outcome
from portfolio_scheduler.domain.schedule import Reason, Slot
from portfolio_scheduler.market.timetables import timetable
from portfolio_scheduler.sync.dating import clock_advice
from portfolio_scheduler.sync.risks import risks
from portfolio_scheduler.sync.schedules import mornings
from portfolio_scheduler.sync.slots import last_run, next_slot


class Standing(Struct, frozen=True, kw_only=True):
    """One account and where it stands now."""

    account: str  # label
    account_id: UUID
    broker: str
    ucc: str | None  # the broker's client code
    login: str
    login_valid_until: datetime | None  # of the access token that is kept
    login_is_valid: bool
    credentials_fingerprint: str | None  # tells two credentials apart, and nothing else
    credentials_at: datetime | None  # since when the account has these
    state: str  # active, paused, needs_login, closed
    segments: list[str]
    created_at: datetime
    last_expected_at: datetime | None  # the last run that was due
    last_done_at: datetime | None  # when the last sync that read something ended
    next_due_at: datetime | None
    next_due_reason: str | None  # regular, special session, late pass, unfinished orders
    risks: list[str]  # what may go wrong with the next run, a sentence each
    complete_on: date | None  # the last trading day with a snapshot
    coverage: CoverageRow
    unread_days: int  # trading days since the first reading, the current one excepted, of which nothing was read
    findings_count: int
    last_batch: BatchRow | None
    open_batch: BatchRow | None


class Status(Struct, frozen=True, kw_only=True):
    """All that `status` says."""

    accounts: list[Standing]
    findings: list[FindingRow]
    notices: list[Notice]
    instruments: Trouble | None  # why the morning's list could not be taken in
    warnings: list[str]  # about the exchange's calendar and the keys


async def standings(app: App, tx: Tx, account_ids: Sequence[UUID]) -> list[Standing]:
    """Where the accounts stand."""
    found = await reads.standing(tx, account_ids)
    now = app.clock.now()
    kinds = {_slots_of(row): row for row in found}  # most accounts are due together, and looking ahead takes time
    due = {kind: _due(app, row, now) for kind, row in kinds.items()}
    early = await mornings(app, tx, account_ids)
    return [_standing(app, row, now, _sooner(due[_slots_of(row)], early.get(row.account_id))) for row in found]


def _sooner(due: "_Due", morning_at: datetime | None) -> "_Due":
    """The next run is that for unfinished orders, if no other comes before."""
    expected_at, slot = due
    if morning_at is not None and (slot is None or morning_at < slot.at):
        slot = Slot(morning_at, Reason.UNFINISHED)
    return expected_at, slot


def _slots_of(row: AccountRow) -> tuple[bytes, bool, bool]:
    """What decides when an account is due."""
    return msgspec.json.encode(row.schedules), row.late_pass, "COMMODITY" in row.segments


_Due = tuple[datetime | None, Slot | None]  # when it was due last, and the next time with its reason


def _standing(app: App, row: AccountRow, now: datetime, due: _Due) -> Standing:
    runs = row.state in {"active", "needs_login"}
    expected_at, slot = due
    return Standing(
        account=row.label,
        account_id=row.account_id,
        broker=row.broker,
        ucc=row.ucc,
        login=row.login,
        login_valid_until=row.token_expires_at,
        login_is_valid=row.token_expires_at is not None and row.token_expires_at > now,
        credentials_fingerprint=row.credentials_fingerprint,
        credentials_at=row.credentials_at,
        state=row.state,
        segments=row.segments,
        created_at=row.created_at,
        last_expected_at=expected_at if runs and expected_at and expected_at >= row.created_at else None,
        last_done_at=row.last_done.finished_at if row.last_done else None,
        next_due_at=slot.at if runs and slot else None,
        next_due_reason=slot.reason.value if runs and slot else None,
        risks=risks(app, row, now, expected_at, slot.at if slot else None),
        complete_on=row.complete_on,
        coverage=row.coverage,
        unread_days=_unread_days(app, row.coverage),
        findings_count=row.findings_count,
        last_batch=row.last_batch,
        open_batch=row.open_batch,
    )


def _due(app: App, row: AccountRow, now: datetime) -> _Due:
    """The last and the next slot of the account's schedules, of the late pass, or of a special session."""
    kind = timetable(row.schedules, late_pass=row.late_pass, segments=row.segments)
    return last_run(app, kind, now), next_slot(app, kind, now)


def _unread_days(app: App, coverage: CoverageRow) -> int:
    """The current day may still be read, so it is not missing yet."""
    if coverage.first_on is None or coverage.last_on is None:
        return 0
    current = app.calendar.trading_on(app.clock.now())
    until = max(coverage.last_on, app.calendar.previous(current))
    return max(len(app.calendar.sessions(coverage.first_on, until)) - coverage.days, 0)


# ── for people ──────────────────────────────────────────────────────────────────────────────────────────────────────


def outcome(one: Standing) -> str:
    """The last sync in a few words."""
    if one.open_batch is not None:
        return one.open_batch.status
    if one.last_batch is None:
        return "never"
    standing = f", {one.last_batch.standing}" if one.last_batch.standing else ""
    return f"{one.last_batch.status}{standing}"


def login_in_words(one: Standing) -> str:
    if one.login_valid_until is None:
        return one.login
    if one.login_is_valid:
        return f"{one.login}, until {ist_time(one.login_valid_until)}"
    renews = "renews by itself" if one.login == "totp" else "expired"
    return f"{one.login}, {renews}"


def credentials_in_words(one: Standing) -> str | None:
    if one.credentials_at is None:
        return None
    return f"{one.credentials_fingerprint or 'no fingerprint'}, since {ist_time(one.credentials_at)}"


def reasons(batch: BatchRow) -> list[str]:
    """Why a batch is not simply good, a sentence per section."""
    found = [
        f"{name}: {result.reason or result.outcome.value.replace('_', ' ')}"
        for name, result in sorted(batch.sections.items())
        if result.outcome is not Outcome.OK
    ]
    return found or ([batch.error_text] if batch.error_text else [])


def wrong_clock(batch: BatchRow) -> str | None:
    """What a batch says of this machine's clock, when it was not the broker's."""
    for held in batch.flags:
        section, _, rest = held.partition(":")
        if section == "clock":
            way, _, length = rest.partition(":")
            seconds = timedelta(seconds=int(length.partition(" ")[0]))
            return clock_advice(-seconds if way == "ahead" else seconds)
    return None


def print_status(
    to: Console, found: Sequence[Standing], findings: Sequence[FindingRow], noticed: Sequence[Notice]
) -> None:
    """All accounts a line each, then what is at risk, the reasons of what went wrong, what was noticed and is odd."""
    columns = (
        Column("Account"),
        Column("State"),
        Column("Expected", Kind.INSTANT),
        Column("Last sync"),
        Column("at", Kind.INSTANT),
        Column("Complete", Kind.DAY),
        Column("Next due", Kind.INSTANT),
        Column("Login"),
        Column("Days"),
        Column("Findings", Kind.QUANTITY),
    )
    rows = [
        (
            one.account,
            one.state.replace("_", " "),
            one.last_expected_at,
            outcome(one),
            one.last_batch.finished_at if one.last_batch else None,
            one.complete_on,
            one.next_due_at,
            login_in_words(one),
            days_in_words(one),
            one.findings_count,
        )
        for one in found
    ]
    print_table(to, columns, rows)
    for one in found:
        if one.next_due_at is not None and one.next_due_reason == Reason.UNFINISHED.value:
            to.print(f"{one.account}: due at {ist_time(one.next_due_at)} for unfinished orders.", soft_wrap=True)
        for risk in one.risks:
            to.print(f"At risk: {one.account}: {risk}", soft_wrap=True)
    for one in found:
        if one.last_batch is not None:
            for reason in reasons(one.last_batch):
                to.print(f"{one.account}: {reason}", soft_wrap=True)
            if (advice := wrong_clock(one.last_batch)) and not (one.last_batch.error_text or "").endswith(advice):
                to.print(f"{one.account}: {advice}", soft_wrap=True)
        if one.state == "needs_login":
            to.print(f"{one.account}: the broker does not accept the login; you must act.", soft_wrap=True)
    for notice in noticed:
        at = ist_time(notice.noticed_at)
        to.print(f"Noticed {at}: {notice.text}{f' {notice.link}' if notice.link else ''}", soft_wrap=True)
    print_findings(to, findings)


def days_in_words(one: Standing) -> str:
    """How many trading days we have, the good ones first."""
    coverage = one.coverage
    counts = {
        "complete": coverage.complete,
        "imported": coverage.imported,
        "late": coverage.late,
        "provisional": coverage.provisional,
        "partial": coverage.partial,
        "lost": coverage.lost,
        "not read": one.unread_days,
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def print_standing(to: Console, one: Standing) -> None:
    """One account, a line per thing to know."""
    pairs: list[tuple[Column, Value]] = [
        (Column("Id"), str(one.account_id)),
        (Column("Broker"), f"{one.broker}, client {one.ucc or 'not known yet'}"),
        (Column("Segments"), ", ".join(one.segments) or None),
        (Column("State"), one.state.replace("_", " ")),
        (Column("Login"), login_in_words(one)),
        (Column("Credentials"), credentials_in_words(one)),
        (Column("Connected", Kind.INSTANT), one.created_at),
        (Column("Last expected", Kind.INSTANT), one.last_expected_at),
        (Column("Last sync"), outcome(one)),
        (Column("Last done", Kind.INSTANT), one.last_done_at),
        (Column("Next due"), f"{ist_time(one.next_due_at)} ({one.next_due_reason})" if one.next_due_at else None),
        (Column("At risk"), " ".join(one.risks) or None),
        (Column("Last complete day", Kind.DAY), one.complete_on),
        (Column("Days"), days_in_words(one)),
        (Column("First day read", Kind.DAY), one.coverage.first_on),
    ]
    print_list(to, pairs, title=one.account)


def print_batches(to: Console, batches: Sequence[BatchRow]) -> None:
    if not batches:
        to.print("No syncs yet.")
        return
    columns = (
        Column("Sync", Kind.INSTANT),
        Column("Why"),
        Column("Status"),
        Column("Day", Kind.DAY),
        Column("Standing"),
        Column("New facts", Kind.QUANTITY),
        Column("Reasons"),
    )
    rows = [
        (
            batch.started_at,
            batch.trigger,
            batch.status,
            batch.trading_on,
            batch.standing,
            sum(batch.counts.values()),
            "; ".join(reasons(batch)) or None,
        )
        for batch in batches
    ]
    print_table(to, columns, rows)


def print_findings(to: Console, findings: Sequence[FindingRow]) -> None:
    if not findings:
        return
    columns = (
        Column("Account"),
        Column("Finding"),
        Column("About"),
        Column("Day", Kind.DAY),
        Column("Since", Kind.INSTANT),
        Column("Details"),
    )
    rows = [
        (
            one.account,
            one.kind,
            one.section if one.subject in {"", "*"} else f"{one.section} {one.subject}",
            one.trading_on,
            one.observed_at,
            "; ".join(f"{name.replace('_', ' ')} {text}" for name, text in one.details.items()),
        )
        for one in findings
    ]
    print_table(to, columns, rows, title="Open findings")
