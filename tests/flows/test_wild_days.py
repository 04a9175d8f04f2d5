"""Days at random: whatever a broker, a crash or a clock does, the ledger says what the model says."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import Phase
from msgspec.structs import replace

from portfolio_scheduler.db import ledger, snapshots
from portfolio_scheduler.db.ledger import append
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain import order_diff
from portfolio_scheduler.domain.changes import ADDED, CANCELLED, MODIFIED, REMOVED, Difference
from portfolio_scheduler.domain.diff import diff
from portfolio_scheduler.sync import run
from portfolio_scheduler.sync.snapshot import snapshot_of
from tests.conftest import Database
from tests.flows.wild_machine import DAYS, Months
from tests.scale import PROOF, scaled

MONTHS = scaled(200)
TRIES = 20  # months in which a broken twin must be caught
# The number of the first of them, where it was seen to take few; from any other it takes longer, that is all.
FIRST = {"forgets fills": 7, "forgets amendments": 7, "forgets cancellations": 8, "believes what goes back": 3}


@pytest.fixture
def months(template: Database, admin: "psycopg.Connection[Any]") -> Iterator[Months]:
    with asyncio.Runner() as runner:
        yield Months(runner, template, admin)


@pytest.mark.long
def test_months_at_random_are_written_down_as_they_were_told(
    months: Months, tell: Callable[[str, object], None]
) -> None:
    months.go(MONTHS)
    tell("months at random", dict(sorted(months.seen.items())))
    assert months.seen["days"] >= MONTHS * DAYS


# ── the negative control: each broken twin must be caught ───────────────────────────────────────────────────────────


def forgets(kind: str) -> Any:
    """A diff that forgets one kind of change."""

    def forgetful(*seen: Any) -> Difference:
        found = diff(*seen)
        return replace(found, changes=tuple(c for c in found.changes if getattr(c, "change_type", None) != kind))

    return forgetful


async def marks_nothing(*_: object) -> None:
    """Nobody writes lost days off."""


async def always_revises(*known: Any) -> int:
    """A snapshot each time, whether anything differs or not."""
    app, tx, head, batch, moment, after, margin = known
    before = await snapshots.context(tx, head.account_id, moment.trading_on, app.calendar.previous(moment.trading_on))
    made = await snapshot_of(app, tx, moment, after, margin, replace(before, latest=None))
    assert made is not None
    revision = before.latest.revision + 1 if before.latest else 1
    await ledger.append(tx, head, batch, [replace(made, revision=revision)])
    return 1


async def saves_nothing(*_: object) -> None:
    """The facts are folded, and what comes of it is not kept."""


def is_always_complete(*_: object) -> bool:
    return True


def never_goes_back(*_: object) -> bool:
    """Whatever the broker says last is believed."""
    return False


async def appends_and_commits(tx: Tx, *rest: Any) -> Any:
    """Facts are there for good before the batch is finished."""
    appended = await append(tx, *rest)
    await tx.execute("COMMIT")
    await tx.execute("BEGIN")
    return appended


TWINS = {
    "forgets fills": (run, "diff", forgets(ADDED)),
    "forgets sales": (run, "diff", forgets(REMOVED)),
    "forgets cancellations": (run, "diff", forgets(CANCELLED)),
    "forgets amendments": (run, "diff", forgets(MODIFIED)),
    "believes what goes back": (order_diff, "_goes_back", never_goes_back),
    "marks no lost day": (run, "mark_lost_days", marks_nothing),
    "calls each reading complete": (run, "is_complete", is_always_complete),
    "revises without a difference": (run, "take_snapshot", always_revises),
    "keeps no state": (run.state, "save", saves_nothing),
    "writes in several commits": (run.ledger, "append", appends_and_commits),
}


@pytest.mark.parametrize("twin", TWINS)
def test_a_broken_twin_is_caught(months: Months, twin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a few months must fail, else the machine proves nothing."""
    monkeypatch.setattr(*TWINS[twin])
    with pytest.raises((AssertionError, KeyError, psycopg.Error)):
        months.go(TRIES, first=FIRST.get(twin, 1), phases=[Phase.generate], derandomize=True, database=None)


@pytest.mark.skipif(not PROOF, reason="shrinking takes hundreds of tries")
def test_what_fails_is_shrunk_to_the_few_steps_it_takes(
    months: Months, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str, object], None]
) -> None:
    """A sale is placed, filled and read: a month of sixty steps comes down to about these."""
    monkeypatch.setattr(*TWINS["forgets sales"])
    with pytest.raises(AssertionError):
        months.go(TRIES, derandomize=True, database=None)
    tell("a failing month, shrunk", f"{months.steps} steps")
    assert months.steps <= 10
