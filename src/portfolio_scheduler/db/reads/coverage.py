"""Which trading days we have, section by section."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.rows import rows


class CoverageDay(Struct, frozen=True, kw_only=True):
    """One trading day of one account. No section at all: nothing was read."""

    account_id: UUID
    account: str  # label
    segments: list[str]  # active ones, as the broker said last
    trading_on: date
    expected: bool  # False before the account was connected and after it was removed
    sections: dict[str, str]  # section → complete, provisional, partial, late, lost, imported
    recovered: list[str] = []  # ids of orders that were asked for later, one by one, and answered
    unanswered: list[str] = []  # the same of those the broker did not know any more


COVERAGE: LiteralString = """
SELECT a.id AS account_id, a.label AS account, a.segments, d.trading_on, coalesce(c.sections, '{}') AS sections,
    c.sections IS NOT NULL OR (a.created_at < d.closes_at AND d.trading_on <= coalesce(
        (SELECT max(e.trading_on) FROM ledger_events e
         WHERE e.account_id = a.id AND e.kind = 'CONFIG' AND e.subject = 'closed'), d.trading_on)) AS expected,
    coalesce(r.recovered, '{}') AS recovered, coalesce(r.unanswered, '{}') AS unanswered
FROM broker_accounts a
CROSS JOIN unnest(%(days)s::date[], %(closes)s::timestamptz[]) AS d (trading_on, closes_at)
LEFT JOIN (
    SELECT account_id, trading_on, jsonb_object_agg(section, state) AS sections FROM coverage
    WHERE account_id = ANY(%(accounts)s) AND trading_on = ANY(%(days)s) GROUP BY account_id, trading_on
) c ON (c.account_id, c.trading_on) = (a.id, d.trading_on)
LEFT JOIN (
    SELECT account_id, trading_on,
        array_agg(subject ORDER BY first) FILTER (WHERE NOT silent) AS recovered,
        array_agg(subject ORDER BY first) FILTER (WHERE silent) AS unanswered
    FROM (
        SELECT account_id, trading_on, subject, min(seq) AS first, bool_or(kind = 'GAP') AS silent
        FROM effective_ledger_events
        WHERE account_id = ANY(%(accounts)s) AND trading_on = ANY(%(days)s) AND kind IN ('RECOVERED', 'GAP')
            AND section <> 'orders' GROUP BY account_id, trading_on, subject
    ) asked GROUP BY account_id, trading_on
) r ON (r.account_id, r.trading_on) = (a.id, d.trading_on)
WHERE a.id = ANY(%(accounts)s)
ORDER BY a.created_at, a.id, d.trading_on DESC
"""


async def coverage(tx: Tx, account_ids: Sequence[UUID], closes: Mapping[date, datetime]) -> list[CoverageDay]:
    """A row for each account and each of these days, newest day first; one query."""
    return await rows(
        tx,
        COVERAGE,
        {"accounts": list(account_ids), "days": list(closes), "closes": list(closes.values())},
        CoverageDay,
    )


MISSING, NOT_YET, NOT_EXPECTED = "missing", "not yet", "not expected"
GROUPS = ("holdings", "positions", "orders", "fills", "margin", "prices")
BY_SEGMENT = ("positions", "orders")
SEGMENTS = ("CASH", "FNO", "COMMODITY")
WORST_LAST = (
    NOT_EXPECTED, "complete", "imported", "late", "provisional", "partial", NOT_YET, MISSING, "lost",
)  # fmt: skip


class CoveredDay(Struct, frozen=True, kw_only=True):
    """The same for people: every section has a word, and so has the day, that of its worst section."""

    account: str
    account_id: UUID
    trading_on: date
    state: str
    sections: dict[str, str]
    recovered: list[str]
    unanswered: list[str]


def covered(day: CoverageDay, current: date) -> CoveredDay:
    """A day as it stands on the current trading day."""
    return CoveredDay(
        account=day.account,
        account_id=day.account_id,
        trading_on=day.trading_on,
        state=state_of(day, current),
        sections=dict(sorted(sections_of(day, current).items())),
        recovered=day.recovered,
        unanswered=day.unanswered,
    )


def sections_of(day: CoverageDay, current: date) -> dict[str, str]:
    """Every section that the day has or should have; of one that was not read, why."""
    if not day.expected:
        absent = NOT_EXPECTED
    elif day.trading_on == current:
        absent = NOT_YET
    else:  # what is lost is written down by the next sync; until then it is only missing
        absent = "lost" if "orders" in day.sections else MISSING
    active = day.segments or [name.partition(":")[2] for name in day.sections if ":" in name] or ["CASH"]
    expected = {}
    for group in GROUPS:
        if group not in BY_SEGMENT:
            expected[group] = absent
            continue
        expected |= {f"{group}:{segment}": absent for segment in active}
        expected |= {f"{group}:{segment}": NOT_EXPECTED for segment in SEGMENTS if segment not in active}
    if "orders" in day.sections:  # all of them, in one word
        expected = {name: state for name, state in expected.items() if not name.startswith("orders:")}
    return expected | {name: state for name, state in day.sections.items() if name != "owner"}


def state_of(day: CoverageDay, current: date) -> str:
    """The day in one word: that of its worst section."""
    return max(sections_of(day, current).values(), key=WORST_LAST.index)
