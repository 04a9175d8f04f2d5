"""The questions of the API about what was ordered and what became of it: pages that PostgreSQL writes itself."""

from typing import LiteralString

from portfolio_scheduler.db.gated import Gated
from portfolio_scheduler.db.past import ORDER_STATES
from portfolio_scheduler.db.reads.api_portfolio import SEEN_AND, SEEN_OF_MANY
from portfolio_scheduler.db.reads.changes import ChangeRow, changes_page
from portfolio_scheduler.db.reads.completeness import SEEN_OF_ONE
from portfolio_scheduler.db.reads.coverage import COVERAGE
from portfolio_scheduler.db.reads.orders import FillRow, OrderRow, fills_page, orders_page
from portfolio_scheduler.db.reads.versions import SEEN_BY_VIEWER, of_account, of_accounts
from portfolio_scheduler.db.reads.written import item, page

_ORDER_KEYS: tuple[LiteralString, ...] = ("r.listed_on", "r.created_at", "r.first_seq")
_FILL_KEYS: tuple[LiteralString, ...] = ("r.trading_on", "r.traded_at", "r.seq")
_CHANGE_KEYS: tuple[LiteralString, ...] = ("r.trading_on", "r.observed_at", "r.account_id", "r.seq")


def _one(query: LiteralString) -> LiteralString:
    return query.replace("ANY(%(accounts)s)", "%(account)s").replace("account_id = a.id", "account_id = %(account)s")


def _paged(written: LiteralString) -> Gated:
    """Three parts: what completeness is judged by, the items, and the keys of the last one where more follow."""
    return of_account(SEEN_AND.replace("{rows}", written))


def orders_query(*, newest_first: bool, then: bool) -> Gated:
    return _paged(page(_one(orders_page(newest_first=newest_first, then=then)), OrderRow, _ORDER_KEYS))


def fills_query(*, newest_first: bool) -> Gated:
    return _paged(page(_one(fills_page(newest_first=newest_first)), FillRow, _FILL_KEYS))


def changes_query(*, newest_first: bool, of_one: bool) -> Gated:
    """Of one account, which must be there, or of all that the viewer sees."""
    which: LiteralString = "a.id = %(account)s" if of_one else SEEN_BY_VIEWER
    written = page(changes_page(newest_first=newest_first, which=which), ChangeRow, _CHANGE_KEYS)
    document = _MANY_AND.replace("{which}", which).replace("{rows}", written)
    return of_account(document) if of_one else of_accounts(document, which)


_MANY_AND: LiteralString = "SELECT {seen} || chr(30) || ({rows})".replace("{seen}", SEEN_OF_MANY)
_ONE_ORDER: LiteralString = """
    SELECT o.*, a.label AS account, o.filled_quantity * o.average_fill_price AS filled_value,
        CASE WHEN o.status IN ('EXECUTED', 'DELIVERY_AWAITED', 'COMPLETED', 'CANCELLED', 'REJECTED', 'FAILED') THEN 0
             ELSE o.quantity - o.filled_quantity END AS open_quantity
    FROM (WITH s AS (SELECT * FROM effective_order_history h WHERE h.account_id = %(account)s
        AND h.broker_order_id = %(order)s AND (%(until)s::date IS NULL OR h.listed_on <= %(until)s)) {states}) o
    JOIN broker_accounts a ON a.id = o.account_id
""".replace("{states}", ORDER_STATES)


_STORY: LiteralString = """
SELECT ({seen})::text || chr(30) || coalesce((SELECT ({order_item})::text FROM ({order}) r), '')
    || chr(30) || (SELECT coalesce(json_agg({step_item}), '[]')::text FROM ({steps}) r)
    || chr(30) || (SELECT coalesce(json_agg({fill_item}), '[]')::text FROM ({fills}) r)
"""


def order_query() -> Gated:
    """Four parts: completeness, the order or nothing, its steps and its executions, oldest first."""
    return of_account(
        _STORY.replace("{seen}", SEEN_OF_ONE)
        .replace("{order_item}", item(OrderRow))
        .replace("{order}", _ONE_ORDER)
        .replace("{step_item}", item(ChangeRow))
        .replace("{steps}", changes_page(newest_first=False, which="a.id = %(account)s"))
        .replace("{fill_item}", item(FillRow))
        .replace("{fills}", _one(fills_page(newest_first=False)))
    )


COVERED = of_account("SELECT coalesce(json_agg(r), '[]')::text FROM ({days}) r".replace("{days}", _one(COVERAGE)))
