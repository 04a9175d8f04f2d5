"""The lines of the last positions statement, each with its profit or loss."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from msgspec import Struct

from portfolio_scheduler.db.past import POSITION_VALUES
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.rows import rows


class PositionRow(Struct, frozen=True, kw_only=True):
    """One line. Amounts in rupees; None is unknown and `reason` says why."""

    account_id: UUID
    account: str
    trading_on: date
    segment: str
    exchange: str
    trading_symbol: str
    product: str
    isin: str | None
    quantity: Decimal  # net; short is negative
    credit_quantity: Decimal  # bought today
    credit_price: Decimal
    debit_quantity: Decimal  # sold today
    debit_price: Decimal
    net_carry_forward_quantity: Decimal
    net_price: Decimal | None
    price: Decimal | None
    priced_on: date | None
    price_source: str | None
    realised_pnl: Decimal | None
    unrealised_pnl: Decimal | None
    pnl: Decimal | None  # both together
    is_delivery: bool  # counted with the holdings, not in the positions' profit and loss
    reason: str | None


_POSITIONS: LiteralString = """
SELECT v.*, a.label AS account, v.realised_pnl + v.unrealised_pnl AS pnl,
    v.segment = 'CASH' AND v.product = 'CNC' AS is_delivery,
    CASE WHEN v.realised_pnl IS NULL THEN 'the broker gave no realised profit or loss'
         WHEN v.quantity <> 0 AND v.price IS NULL THEN 'no price yet'
         WHEN v.quantity <> 0 AND v.net_price IS NULL THEN 'the broker gave no entry price' END AS reason
FROM {positions} v JOIN broker_accounts a ON a.id = v.account_id
WHERE v.account_id = ANY(%(accounts)s)
ORDER BY a.created_at, a.id, v.segment, v.trading_symbol, v.product
"""


NOW: LiteralString = _POSITIONS.replace("{positions}", "position_values")
THEN: LiteralString = _POSITIONS.replace("{positions}", f"({POSITION_VALUES})")


async def positions(tx: Tx, account_ids: Sequence[UUID], *, until_on: date | None = None) -> list[PositionRow]:
    """The positions of the accounts as last read, now or at the end of a day."""
    query = NOW if until_on is None else THEN
    return await rows(tx, query, {"accounts": list(account_ids), "until": until_on}, PositionRow)
