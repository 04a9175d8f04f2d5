"""How complete and how fresh what is told of an account is: said with every answer, and never left to be guessed."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.clock import day_in_words, ist_time_in_words
from portfolio_scheduler.domain.market_days import Session
from portfolio_scheduler.domain.records import Outcome, SectionResult

FINAL, PROVISIONAL, NOTHING = "final", "provisional", "nothing read"
GOOD = frozenset({Outcome.OK, Outcome.NOT_ENTITLED})


class Days(Protocol):
    """The exchange's calendar, as far as it is asked here."""

    def session(self, on: date) -> Session | None: ...
    def previous(self, on: date) -> date: ...
    def trading_on(self, observed_at: datetime) -> date: ...


class LastRead(Struct, frozen=True, kw_only=True):
    """One reading of an account: of which day, when, and how each section ended."""

    trading_on: date
    observed_at: datetime
    standing: str  # provisional, final, late
    sections: dict[str, SectionResult]

    @property
    def bad(self) -> dict[str, str]:
        """The sections that were not read well, and why."""
        return {
            name: result.reason or result.outcome.value
            for name, result in sorted(self.sections.items())
            if result.outcome not in GOOD
        }


class Seen(Struct, frozen=True, kw_only=True):
    """What completeness is judged by."""

    account_id: UUID
    account: str
    state: str
    read: LastRead | None  # the last reading that brought anything
    unread: list[str]  # sections of that day that were asked for and never read well
    lost_on: list[date] = []  # days whose orders nobody can read any more, newest first


class Completeness(Struct, frozen=True, kw_only=True):
    """How much of an account is known, and how fresh that is."""

    account_id: UUID
    account: str
    state: str  # of the account: active, paused, needs_login, closed
    standing: str  # final: read after the close; late: on a later date; provisional: before the close; nothing read
    reason: str | None  # why it is not final
    trading_on: date | None  # the last trading day that was read
    read_at: datetime | None
    unread_on: date | None  # the trading day that should have been read by now and was not
    missing: dict[str, str]  # section of that day → why it was not read
    lost_on: list[date]  # days whose orders can never be read any more


def completeness_of(seen: Seen, days: Days, now: datetime, until_on: date | None) -> Completeness:
    """What is known of an account, now or at the end of a day."""
    read = seen.read
    if read is None:
        return Completeness(
            account_id=seen.account_id,
            account=seen.account,
            state=seen.state,
            standing=NOTHING,
            reason=nothing_read(until_on),
            trading_on=None,
            read_at=None,
            unread_on=None,
            missing={},
            lost_on=seen.lost_on,
        )
    bad = read.bad
    return Completeness(
        account_id=seen.account_id,
        account=seen.account,
        state=seen.state,
        standing=read.standing,
        reason=before_the_close(read) if read.standing == PROVISIONAL else None,
        trading_on=read.trading_on,
        read_at=read.observed_at,
        unread_on=unread_on(days, now, read.trading_on, until_on),
        missing={section: bad.get(section, "not read well that day") for section in seen.unread},
        lost_on=seen.lost_on,
    )


def nothing_read(until_on: date | None) -> str:
    return f"nothing had been read by {day_in_words(until_on)}" if until_on else "nothing has been read yet"


def before_the_close(read: LastRead) -> str:
    return f"read at {ist_time_in_words(read.observed_at)}, before the session closed"


def why_provisional(read: LastRead, *, touched: bool) -> str:
    """Why a day has no snapshot that stands for it."""
    if read.standing == PROVISIONAL:
        return before_the_close(read)
    if read.bad:
        return "not read well: " + "; ".join(f"{name} ({reason})" for name, reason in read.bad.items())
    return "something changed after the day's snapshot" if touched else "the day has not been read completely"


def unread_on(days: Days, now: datetime, trading_on: date, until_on: date | None) -> date | None:
    """The current trading day, or the last until a day, if it is later than the one that was read."""
    current = days.trading_on(now)
    if until_on is not None and until_on < current:
        current = days.previous(until_on + timedelta(days=1))
    return current if current > trading_on else None


def never_read(unread: Sequence[str], holdings_read_on: date | None) -> tuple[dict[str, str], list[str]]:
    """Which figures cannot be told because their section was never read well, and what else to say of it.

    An amount of nothing read would be a 0 that nobody has seen.
    """
    reasons: dict[str, str] = {}
    notes = []
    if holdings_read_on is None:
        reasons |= dict.fromkeys(OF_HOLDINGS, "the holdings have never been read")
    elif "holdings" in unread:
        notes.append(f"the holdings are those of {day_in_words(holdings_read_on)}, with the trades known since")
    if lines := [section for section in unread if section.startswith("positions:")]:
        reasons["positions_pnl"] = f"not read on that day: {', '.join(lines)}"
    if lists := [section for section in unread if section.startswith("orders:") or section == "fills"]:
        notes.append(f"not read on that day, so there may be more than counted: {', '.join(lists)}")
    return reasons, notes


AMOUNTS = (
    "holdings_value",
    "invested",
    "unrealised_pnl",
    "positions_pnl",
    "cash",
    "margin_used",
    "day_change",
    "market_move",
    "net_invested",
    "transferred",
    "unexplained",
)
CHANGE = frozenset({"day_change", "market_move", "net_invested", "transferred", "unexplained"})
OF_HOLDINGS = ("holdings_value", "invested", "unrealised_pnl", "priced_ratio", *sorted(CHANGE))
