"""What there is and what it is worth: holdings, positions, snapshots, summaries; now, then, or as was believed."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from portfolio_scheduler.db.reads import api_portfolio, written
from portfolio_scheduler.db.reads.holdings import HoldingRow, holding_rows
from portfolio_scheduler.db.reads.positions import PositionRow
from portfolio_scheduler.db.reads.snapshots import SnapshotRow
from portfolio_scheduler.domain.completeness import Completeness, Seen, completeness_of
from portfolio_scheduler.domain.household import Household, Share, household, shares
from portfolio_scheduler.domain.money import ZERO
from portfolio_scheduler.domain.plain_json import encoded
from portfolio_scheduler.domain.summary import Basis, Summary, summary_of
from portfolio_scheduler.web.document import SECURITY
from portfolio_scheduler.web.entry import At
from portfolio_scheduler.web.listing import Cursor, Limit, cursor_of, keys_of
from portfolio_scheduler.web.place import Place
from portfolio_scheduler.web.reading import (
    FILE_PROBLEMS,
    READ_PROBLEMS,
    AsFile,
    AsOf,
    AsTable,
    KnownAt,
    Question,
    Segment,
    Since,
    Sort,
    Symbol,
    To,
    answered,
    check_past,
)
from portfolio_scheduler.web.subjects import About

ROOT = "/portfolio-scheduler"

HoldingsSort = Annotated[
    Literal["symbol", "value", "quantity", "unrealised_pnl"],
    QueryParameter(name="sort", description="By symbol, or the greatest first; what is not known comes last."),
]


class Holdings(Struct, frozen=True, kw_only=True):
    """A page of what an account holds, each unit counted once."""

    items: list[HoldingRow]
    next: str | None
    completeness: Completeness


class Positions(Struct, frozen=True, kw_only=True):
    """A page of the positions as last read."""

    items: list[PositionRow]
    next: str | None
    completeness: Completeness


class Snapshots(Struct, frozen=True, kw_only=True):
    """A page of valued trading days."""

    items: list[SnapshotRow]
    next: str | None
    completeness: Completeness


class WholeHousehold(Household, frozen=True, kw_only=True):
    """All accounts of one person together, each share once."""

    holdings: list[Share]


class _Line(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, order=True):
    """Where a page of lines ended."""

    unknown: bool
    amount: Decimal
    symbol: str
    rest: str


_seen = msgspec.json.Decoder(Seen)
_positions = msgspec.json.Decoder(list[PositionRow])
_bases = msgspec.json.Decoder(list[Basis])


def completeness(place: Place, seen: bytes, as_of: date | None) -> Completeness:
    return completeness_of(_seen.decode(seen), place.app.calendar, place.app.clock.now(), as_of)


def _page_of(lines: list[tuple[_Line, Any]], after: _Line | None, limit: int) -> tuple[list[Any], str | None]:
    """The rows after a place in their order, and the cursor of the following page."""
    ordered = sorted(lines, key=lambda line: line[0])
    left = [line for line in ordered if after is None or line[0] > after]
    more = cursor_of(left[limit - 1][0]) if len(left) > limit else None
    return [row for _, row in left[:limit]], more


@get(ROOT + "/holdings/{account_id:uuid}", tags=["portfolio"], responses=READ_PROBLEMS, security=SECURITY)
async def list_holdings(
    place: At,
    subject: About,
    request: Request[Any, Any, Any],
    account_id: FromPath[UUID],
    as_of: AsOf = None,
    known_at: KnownAt = None,
    symbol: Symbol = None,
    sort: HoldingsSort = "symbol",
    limit: Limit = 50,
    cursor: Cursor = None,
    form: AsTable = None,
) -> Response[Holdings]:
    """The shares held now, at the end of a day, or as was believed at an instant; today's delivery trades included,
    each unit counted once."""
    check_past(place, as_of, known_at)
    after = keys_of(cursor, _Line) if cursor else None

    def line(row: HoldingRow) -> tuple[_Line, HoldingRow]:
        amount = None if sort == "symbol" else getattr(row, sort)
        amount = ZERO if sort == "symbol" else amount
        place_of = _Line(amount is None, -(amount or ZERO), row.trading_symbol, row.isin)
        return place_of, row

    def make(document: bytes) -> Holdings:
        seen, held = written.parts(document)
        rows = [row for row in holding_rows(held) if symbol is None or row.trading_symbol == symbol.upper()]
        items, more = _page_of([line(row) for row in rows], after, limit)
        return Holdings(items=items, next=more, completeness=completeness(place, seen, as_of))

    query = api_portfolio.HOLDINGS_NOW if as_of is None else api_portfolio.HOLDINGS_THEN
    if known_at is not None:
        query = api_portfolio.HOLDINGS_KNOWN
    question = Question(
        name="holdings",
        query=query,
        params={"account": account_id, "until": as_of, "known_at": known_at},
        made_by=(symbol, sort, limit, cursor),
        make=make,
        record=HoldingRow,
    )
    return await answered(place, subject, request, question, form)


@get(ROOT + "/positions/{account_id:uuid}", tags=["portfolio"], responses=READ_PROBLEMS, security=SECURITY)
async def list_positions(
    place: At,
    subject: About,
    request: Request[Any, Any, Any],
    account_id: FromPath[UUID],
    as_of: AsOf = None,
    segment: Segment = None,
    symbol: Symbol = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    form: AsTable = None,
) -> Response[Positions]:
    """The positions as last read, or as they stood at the end of a day, by symbol, with their profit or loss."""
    check_past(place, as_of)
    after = keys_of(cursor, _Line) if cursor else None

    def make(document: bytes) -> Positions:
        seen, lines = written.parts(document)
        rows = [
            (_Line(False, ZERO, row.trading_symbol, f"{row.segment}/{row.exchange}/{row.product}"), row)
            for row in _positions.decode(lines)
            if segment in {None, row.segment} and (symbol is None or row.trading_symbol == symbol.upper())
        ]
        items, more = _page_of(rows, after, limit)
        return Positions(items=items, next=more, completeness=completeness(place, seen, as_of))

    question = Question(
        name="positions",
        query=api_portfolio.POSITIONS_NOW if as_of is None else api_portfolio.POSITIONS_THEN,
        params={"account": account_id, "until": as_of},
        made_by=(segment, symbol, limit, cursor),
        make=make,
        record=PositionRow,
    )
    return await answered(place, subject, request, question, form)


class _Day(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page of snapshots ended."""

    trading_on: date
    revision: int


@get(ROOT + "/snapshots/{account_id:uuid}", tags=["portfolio"], responses=FILE_PROBLEMS, security=SECURITY)
async def list_snapshots(
    place: At,
    subject: About,
    request: Request[Any, Any, Any],
    account_id: FromPath[UUID],
    since: Since = None,
    to: To = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    revisions: Annotated[bool, QueryParameter(name="revisions", description="Every revision, not the newest.")] = False,
    sort: Sort = "newest",
    limit: Limit = 50,
    cursor: Cursor = None,
    form: AsFile = None,
) -> Response[Snapshots]:
    """The valued portfolio of each trading day with its change from the day before; the newest revision of each, as
    known now or at an instant."""
    check_past(place, as_of, known_at)
    to = min(filter(None, (to, as_of)), default=None)
    after = keys_of(cursor, _Day) if cursor else None

    def make(document: bytes) -> bytes:
        seen, items, keys = written.parts(document)
        return listed(items, written.cursor(keys), completeness(place, seen, as_of))

    question = Question(
        name="snapshots",
        query=_SNAPSHOTS[sort],
        params={
            "account": account_id,
            "since": since,
            "to": to,
            "until": as_of,
            "known_at": known_at,
            "revisions": revisions,
            "key_on": after.trading_on if after else None,
            "key_revision": after.revision if after else None,
            "size": limit,
            "limit": limit + 1,
        },
        made_by=(sort,),
        make=make,
        record=SnapshotRow,
    )
    return await answered(place, subject, request, question, form)


_SNAPSHOTS = {sort: api_portfolio.snapshots_query(newest_first=sort == "newest") for sort in ("newest", "oldest")}


@get(ROOT + "/summary/{account_id:uuid}", tags=["portfolio"], responses=READ_PROBLEMS, security=SECURITY)
async def show_summary(
    place: At,
    subject: About,
    request: Request[Any, Any, Any],
    account_id: FromPath[UUID],
    as_of: AsOf = None,
    form: AsTable = None,
) -> Response[Summary]:
    """What an account is worth, how that came about, and what is unknown and why. After the close it is the day's
    snapshot, before it is computed and called provisional."""
    check_past(place, as_of)

    def make(document: bytes) -> Summary:
        [basis] = _bases.decode(document)
        return summary_of(basis, place.app.calendar, place.app.clock.now(), as_of)

    question = Question(
        name="summary",
        query=api_portfolio.SUMMARY_NOW if as_of is None else api_portfolio.SUMMARY_THEN,
        params={"account": account_id, "until": as_of},
        make=make,
        record=Summary,
    )
    return await answered(place, subject, request, question, form)


@get(ROOT + "/household/summary", tags=["portfolio"], responses=READ_PROBLEMS, security=SECURITY)
async def show_household(
    place: At, subject: About, request: Request[Any, Any, Any], as_of: AsOf = None, form: AsTable = None
) -> Response[WholeHousehold]:
    """All of a user's accounts together: the sums of their figures as far as every account has them, and each share
    once, whichever brokers hold it. As a file: the shares."""
    check_past(place, as_of)

    def make(document: bytes) -> WholeHousehold:
        found, held = written.parts(document)
        now, days = place.app.clock.now(), place.app.calendar
        whole = household([summary_of(basis, days, now, as_of) for basis in _bases.decode(found)])
        return WholeHousehold(**msgspec.structs.asdict(whole), holdings=shares(holding_rows(held)))

    question = Question(
        name="household",
        query=api_portfolio.HOUSEHOLD_NOW if as_of is None else api_portfolio.HOUSEHOLD_THEN,
        params={"until": as_of},
        make=make,
        record=Share,
        rows="holdings",
    )
    return await answered(place, subject, request, question, form)


def listed(items: bytes, following: str | None, known: Completeness | list[Completeness]) -> bytes:
    """A page whose rows PostgreSQL wrote."""
    rest = encoded({"next": following, "completeness": known})
    return b'{"items":' + items + b"," + rest[1:]


ROUTES = (list_holdings, list_positions, list_snapshots, show_summary, show_household)
