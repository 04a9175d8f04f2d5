"""The accounts with what was last done about them, what is missing, and what is odd."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.rows import rows
from portfolio_scheduler.domain.records import SectionResult


class BatchRow(Struct, frozen=True, kw_only=True):
    """One attempt to sync."""

    id: UUID
    trigger: str
    status: str  # queued, running, completed, partial, failed
    wanted: list[str] | None  # sections it was asked for; None is all
    started_at: datetime | None
    finished_at: datetime | None
    observed_at: datetime | None
    trading_on: date | None
    standing: str | None  # provisional, final, late
    sections: dict[str, SectionResult]
    counts: dict[str, int]
    flags: list[str] = []  # unknown words and odd records, as "section:field:word"; "clock:…" when ours is wrong
    error_class: str | None
    error_text: str | None


class CoverageRow(Struct, frozen=True, kw_only=True):
    """How many trading days we have, each counted once, by its worst section."""

    first_on: date | None
    last_on: date | None
    complete: int
    imported: int
    late: int
    provisional: int
    partial: int
    lost: int

    @property
    def days(self) -> int:
        return self.complete + self.imported + self.late + self.provisional + self.partial + self.lost


class ProbeRow(Struct, frozen=True, kw_only=True):
    """How the probe of a login ended."""

    probe_on: date
    ended_at: datetime | None
    outcome: str | None  # ok, owner, later; None while it runs
    text: str | None


class DoneRow(Struct, frozen=True, kw_only=True):
    """The last sync that read something."""

    finished_at: datetime
    trading_on: date
    standing: str
    status: str  # completed, partial


class AccountRow(Struct, frozen=True, kw_only=True):
    """One account and where it stands."""

    account_id: UUID
    label: str
    broker: str
    ucc: str | None
    login: str
    state: str
    segments: list[str]
    schedules: list[dict[str, str]]
    late_pass: bool
    token_expires_at: datetime | None
    credentials_fingerprint: str | None
    credentials_at: datetime | None
    created_at: datetime
    resume_at: datetime | None
    planned_through: datetime
    last_batch: BatchRow | None  # the last that ended
    last_done: DoneRow | None
    last_probe: ProbeRow | None
    open_batch: BatchRow | None
    complete_on: date | None  # the last day with a snapshot
    findings_count: int
    coverage: CoverageRow


_ACCOUNTS = """
SELECT a.id AS account_id, a.label, a.broker, a.ucc, a.login, a.state, a.segments, a.schedules, a.late_pass,
    a.token_expires_at, a.credentials_fingerprint, a.credentials_at, a.created_at, a.resume_at, a.planned_through,
    (SELECT to_json(d) FROM (SELECT finished_at, trading_on, standing, status FROM effective_batches b
        WHERE b.account_id = a.id AND b.status IN ('completed', 'partial')
        ORDER BY b.fence DESC NULLS FIRST, b.id DESC LIMIT 1) d) AS last_done,
    (SELECT to_json(p) FROM (SELECT probe_on, ended_at, outcome, text FROM login_probes p WHERE p.account_id = a.id
        ORDER BY probe_on DESC LIMIT 1) p) AS last_probe,
    (SELECT to_json(b) FROM effective_batches b WHERE b.account_id = a.id AND b.finished_at IS NOT NULL
        ORDER BY b.fence DESC NULLS FIRST, b.id DESC LIMIT 1) AS last_batch,
    (SELECT to_json(b) FROM sync_batches b WHERE b.account_id = a.id
        AND b.status IN ('queued', 'running')) AS open_batch,
    (SELECT max(s.trading_on) FROM portfolio_snapshots s WHERE s.account_id = a.id) AS complete_on,
    (SELECT count(*) FROM open_findings f WHERE f.account_id = a.id) AS findings_count,
    (SELECT json_build_object('first_on', min(trading_on), 'last_on', max(trading_on),
            'complete', count(*) FILTER (WHERE state = 1), 'imported', count(*) FILTER (WHERE state = 2),
            'late', count(*) FILTER (WHERE state = 3), 'provisional', count(*) FILTER (WHERE state = 4),
            'partial', count(*) FILTER (WHERE state = 5), 'lost', count(*) FILTER (WHERE state = 6))
        FROM (SELECT c.trading_on, max(array_position(
                ARRAY['complete', 'imported', 'late', 'provisional', 'partial', 'lost'], c.state)) AS state
            FROM coverage c WHERE c.account_id = a.id GROUP BY c.trading_on) days) AS coverage
FROM broker_accounts a WHERE a.id = ANY(%(accounts)s) ORDER BY a.state = 'closed', a.created_at, a.id
"""


async def standing(tx: Tx, account_ids: Sequence[UUID]) -> list[AccountRow]:
    """Where each of the accounts stands."""
    return await rows(tx, _ACCOUNTS, {"accounts": list(account_ids)}, AccountRow)


async def recent_batches(tx: Tx, account_id: UUID, limit: int) -> list[BatchRow]:
    """The last attempts, newest first, one that runs included."""
    query = """
        SELECT * FROM effective_batches WHERE account_id = %(account)s
        ORDER BY fence DESC NULLS FIRST, id DESC LIMIT %(limit)s
    """
    return await rows(tx, query, {"account": account_id, "limit": limit}, BatchRow)


async def last_ended(tx: Tx, account_id: UUID) -> BatchRow | None:
    """The last attempt that has ended."""
    query = """
        SELECT * FROM effective_batches WHERE account_id = %(account)s AND finished_at IS NOT NULL
        ORDER BY fence DESC NULLS FIRST, id DESC LIMIT 1
    """
    found = await rows(tx, query, {"account": account_id}, BatchRow)
    return found[0] if found else None


class FindingRow(Struct, frozen=True, kw_only=True):
    """Something missing, suspect or differing that nothing has cleared yet."""

    account_id: UUID
    account: str
    kind: str
    section: str
    subject: str
    trading_on: date
    observed_at: datetime
    details: dict[str, str]


async def open_findings(tx: Tx, account_ids: Sequence[UUID]) -> list[FindingRow]:
    """What is odd now, newest first."""
    query = """
        SELECT f.*, a.label AS account FROM open_findings f JOIN broker_accounts a ON a.id = f.account_id
        WHERE f.account_id = ANY(%(accounts)s) ORDER BY f.observed_at DESC, f.last_seq DESC
    """
    return await rows(tx, query, {"accounts": list(account_ids)}, FindingRow)


async def first_read(tx: Tx, account_ids: Sequence[UUID]) -> dict[UUID, date]:
    """The first trading day of which anything was read, of each account that has one."""
    cursor = await tx.execute(
        """
        SELECT a.id, b.trading_on FROM unnest(%s::uuid[]) a (id) CROSS JOIN LATERAL (
            SELECT trading_on FROM effective_batches b
            WHERE b.account_id = a.id AND b.trading_on IS NOT NULL AND b.sections <> '{}'
            ORDER BY b.trading_on LIMIT 1) b
        """,
        (list(account_ids),),
    )
    return dict(await cursor.fetchall())
