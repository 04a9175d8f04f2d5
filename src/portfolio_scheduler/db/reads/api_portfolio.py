"""The questions of the API about what there is and what it is worth: each one statement, gated by its version.

They are the queries of the command line, for one account, or for all of a user's.
"""

from typing import LiteralString

from portfolio_scheduler.db.gated import Gated
from portfolio_scheduler.db.reads import holdings, positions, snapshots, summaries
from portfolio_scheduler.db.reads.completeness import SEEN, SEEN_OF_ONE
from portfolio_scheduler.db.reads.known import KNOWN
from portfolio_scheduler.db.reads.snapshots import SnapshotRow
from portfolio_scheduler.db.reads.versions import OF_VIEWER, of_account, of_accounts
from portfolio_scheduler.db.reads.written import page

_MINE: LiteralString = "ANY(ARRAY(SELECT a.id FROM broker_accounts a WHERE {which}))".replace("{which}", OF_VIEWER)


_AS_ROWS: LiteralString = "SELECT coalesce(json_agg(r), '[]')::text FROM ({query}) r"

# Two parts: what completeness is judged by, and the rows.
SEEN_AND: LiteralString = "SELECT ({seen})::text || chr(30) || ({rows})".replace("{seen}", SEEN_OF_ONE)


def _one(query: LiteralString) -> LiteralString:
    return query.replace("ANY(%(accounts)s)", "%(account)s").replace("account_id = a.id", "account_id = %(account)s")


def _rows(query: LiteralString) -> LiteralString:
    return _AS_ROWS.replace("{query}", query)


def _with_seen(rows: LiteralString, before: LiteralString = "") -> LiteralString:
    return before + SEEN_AND.replace("{rows}", rows)


HOLDINGS_NOW = of_account(_with_seen(_rows(_one(holdings.NOW))))
HOLDINGS_THEN = of_account(_with_seen(_rows(_one(holdings.THEN))))
HOLDINGS_KNOWN = of_account(_with_seen(_rows(_one(holdings.THEN)), KNOWN))
POSITIONS_NOW = of_account(_with_seen(_rows(_one(positions.NOW))))
POSITIONS_THEN = of_account(_with_seen(_rows(_one(positions.THEN))))
SUMMARY_NOW = of_account(_rows(_one(summaries.NOW)))
SUMMARY_THEN = of_account(_rows(_one(summaries.THEN)))


def snapshots_query(*, newest_first: bool) -> Gated:
    query = _one(snapshots.snapshots_page(newest_first=newest_first))
    written = page(query, SnapshotRow, ("r.trading_on", "r.revision"))
    return of_account(SEEN_AND.replace("{rows}", written))


_HOUSEHOLD: LiteralString = "SELECT ({summaries}) || chr(30) || ({held})"


def _household(summary: LiteralString, held: LiteralString) -> Gated:
    asked, lines = (_rows(query.replace("ANY(%(accounts)s)", _MINE)) for query in (summary, held))
    return of_accounts(_HOUSEHOLD.replace("{summaries}", asked).replace("{held}", lines), OF_VIEWER)


HOUSEHOLD_NOW = _household(summaries.NOW, holdings.NOW)
HOUSEHOLD_THEN = _household(summaries.THEN, holdings.THEN)

SEEN_OF_MANY: LiteralString = """(
    SELECT coalesce(json_agg(s.seen), '[]')::text FROM ({seen} WHERE {which} ORDER BY a.created_at, a.id) s)
""".replace("{seen}", SEEN)
