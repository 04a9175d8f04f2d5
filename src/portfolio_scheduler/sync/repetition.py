"""A reading that says byte for byte what the one before it said: the late pass of most days.

The same answers to the same questions are the same statement, and a second look at a statement finds nothing (the
property that `diff` is tested for). So nothing has to be understood, compared or valued again; the batch is finished
with the outcome of the one before. Whatever could make a difference is not taken for a repetition.
"""

from portfolio_scheduler.app import App
from portfolio_scheduler.clock import ist_date
from portfolio_scheduler.db import batches, ledger
from portfolio_scheduler.db.accounts import Account
from portfolio_scheduler.db.batches import Claim, Repeated, Result
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.records import OK, Fetched, Outcome, SectionResult
from portfolio_scheduler.sync.dating import Dated, standing_at

CLOSING_TOGETHER = frozenset({"CASH", "FNO"})  # segments whose session ends with the calendar's
ASKED_LAST = ("fills", "prices")  # nothing is left to ask for, and that went well


async def repeated(tx: Tx, app: App, account: Account, claim: Claim, book: Fetched, when: Dated) -> Repeated | None:
    """The batch that `book` repeats. Only one straight before this, of the same day, that went well and after which
    nothing is open: no suspicion that a second look confirms, no flag, no price that goes on moving."""
    sections = sections_of(book)
    plainly = bool(book.answers) and claim.wanted is None and account.state == "active" and not when.flags
    final = standing_at(app, when.observed_at, when.trading_on) == "final"
    today = ist_date(app.clock.now()) == ist_date(when.observed_at)
    if not (plainly and final and today and all(_is_settled(name, result) for name, result in sections.items())):
        return None
    return await batches.repeated(tx, claim, when.trading_on, book.fingerprint, sections)


def sections_of(book: Fetched) -> dict[str, SectionResult]:
    """What a repetition of these answers has read."""
    return book.sections | dict.fromkeys(ASKED_LAST, OK)


def _is_settled(section: str, result: SectionResult) -> bool:
    segment = section.partition(":")[2]
    return result.outcome is Outcome.OK and (not segment or segment in CLOSING_TOGETHER)


async def finish(tx: Tx, app: App, claim: Claim, book: Fetched, when: Dated, before: Repeated) -> Result:
    """Keep which answers were read, and end the batch as the one before ended."""
    head = await ledger.lock(tx, claim.account_id, claim.fence)
    whole = Fetched(answers=book.answers, sections=sections_of(book))
    payloads = await ledger.keep_payloads(tx, head, claim.id, whole.answers)
    standing = standing_at(app, when.observed_at, when.trading_on)
    await batches.save_reading(
        tx, claim, whole, payloads, observed_at=when.observed_at, trading_on=when.trading_on, standing=standing
    )
    result = Result(
        status="completed",
        sections=whole.sections,
        margin=before.margin,
        observed_at=when.observed_at,
        trading_on=when.trading_on,
        standing=standing,
        fingerprint=book.fingerprint,
    )
    await batches.finish(tx, claim, result, app.clock.now())
    return result
