"""What is held: the broker's holdings with today's delivery trades on top, each unit counted once (rule 8)."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from portfolio_scheduler.db.past import HOLDING_VALUES, POSITION_VALUES
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.reads.rows import rows
from portfolio_scheduler.db.snapshots import STATE_FENCE
from portfolio_scheduler.domain.money import ZERO
from portfolio_scheduler.domain.records import Holding, Position
from portfolio_scheduler.domain.valuation import Before, Book, Line, PricePoint, Trade, effective_lines, instrument_key


class HoldingRow(Struct, frozen=True, kw_only=True):
    """One ISIN of one account. Amounts in rupees; None is unknown, never 0, and `reasons` says why."""

    account_id: UUID
    account: str
    isin: str
    trading_symbol: str
    quantity: Decimal  # what is owned: `held_quantity` and today's delivery trades, counted once
    held_quantity: Decimal  # as the broker's holdings say
    t1_quantity: Decimal  # bought and not settled, inside `held_quantity`
    locked_quantity: Decimal  # in the demat account, at the broker, pledged
    average_price: Decimal | None
    invested: Decimal | None
    price: Decimal | None
    priced_on: date | None
    price_source: str | None
    early_at: datetime | None = None  # when the price was read, if that was before the close: it is no closing price
    value: Decimal | None
    unrealised_pnl: Decimal | None
    basis: str  # added, contained, unexplained: how `quantity` came about
    read_on: date | None  # the trading day that the broker's holdings were last read well for
    read_at: datetime | None
    reasons: tuple[str, ...] = ()


class _Holding(Holding, frozen=True, kw_only=True):
    locked_quantity: Decimal
    price: Decimal | None
    priced_on: date | None
    price_source: str | None


class _Position(Position, frozen=True, kw_only=True):
    price: Decimal | None
    priced_on: date | None
    price_source: str | None


class _Held(Struct, frozen=True, kw_only=True):
    account_id: UUID
    account: str
    read_on: date | None
    read_at: datetime | None
    holdings: tuple[_Holding, ...]
    positions: tuple[_Position, ...]  # today's deliveries
    before: Before | None
    trades: tuple[Trade, ...]


# Of a plain comparison the planner believes that hardly a batch meets it, and it reads and sorts all of an account's to
# find the newest. Of `coalesce` it believes that half of them do, and walks the index of days from its end.
_HELD: LiteralString = """
SELECT a.id AS account_id, a.label AS account, h.read_on, h.read_at,
    (SELECT coalesce(json_agg(v ORDER BY v.isin), '[]') FROM (
        SELECT isin, trading_symbol, quantity, average_price, t1_quantity, locked_quantity, price, priced_on,
            price_source FROM {holdings} WHERE account_id = a.id) v) AS holdings,
    (SELECT coalesce(json_agg(v), '[]') FROM {positions} v WHERE v.account_id = a.id
        AND v.trading_on = r.read_on AND v.segment = 'CASH' AND v.product = 'CNC') AS positions,
    to_json(s) AS before,
    (SELECT coalesce(json_agg(json_build_object(
            'isin', coalesce(f.isin, f.exchange || ':' || f.trading_symbol), 'traded_on', f.trading_on,
            'trading_symbol', f.trading_symbol,
            'units', CASE f.side WHEN 'BUY' THEN f.quantity ELSE -f.quantity END, 'price', f.price)), '[]')
        FROM effective_order_fills f
        WHERE f.account_id = a.id AND f.trading_on > s.trading_on AND f.trading_on <= r.read_on
        AND f.segment = 'CASH' AND f.product = 'CNC' AND f.side IN ('BUY', 'SELL')) AS trades
FROM broker_accounts a
LEFT JOIN LATERAL (
    SELECT b.trading_on AS read_on, b.observed_at AS read_at FROM effective_batches b
    WHERE b.account_id = a.id AND b.trading_on IS NOT NULL
        AND coalesce(b.sections #>> '{holdings,outcome}' = 'ok', false)
        AND (%(until)s::date IS NULL OR b.trading_on <= %(until)s)
    ORDER BY b.trading_on DESC, b.finished_at DESC LIMIT 1
) h ON true
LEFT JOIN LATERAL (
    SELECT b.trading_on AS read_on FROM effective_batches b
    WHERE b.account_id = a.id AND b.trading_on IS NOT NULL
        AND (%(until)s::date IS NULL OR b.trading_on <= %(until)s) AND EXISTS (
        SELECT FROM jsonb_each(b.sections) e
        WHERE (e.key = 'holdings' OR starts_with(e.key, 'positions:')) AND e.value ->> 'outcome' = 'ok')
    ORDER BY b.trading_on DESC, b.finished_at DESC LIMIT 1
) r ON true
LEFT JOIN LATERAL (
    SELECT s.trading_on, s.holdings_value, s.lines, (
        SELECT coalesce(json_agg(json_build_object('isin', m.isin, 'units', m.quantity - m.quantity_before,
            'explanation', m.explanation, 'details', m.details) ORDER BY m.seq), '[]')
        FROM effective_holding_changes m JOIN sync_batches x ON x.id = m.batch_id
        WHERE m.account_id = a.id AND x.fence > {fence} AND m.trading_on >= s.trading_on
            AND (%(until)s::date IS NULL OR m.trading_on <= %(until)s)
            AND m.explanation IN ('corporate_action', 'transferred')) AS movements
    FROM portfolio_snapshots s
    WHERE s.account_id = a.id AND s.trading_on < r.read_on ORDER BY s.trading_on DESC, s.revision DESC LIMIT 1
) s ON true
WHERE a.id = ANY(%(accounts)s) ORDER BY a.created_at, a.id
""".replace("{fence}", STATE_FENCE)


NOW: LiteralString = _HELD.replace("{holdings}", "holding_values").replace("{positions}", "position_values")
THEN: LiteralString = f"WITH held AS ({HOLDING_VALUES}), open AS ({POSITION_VALUES})" + _HELD.replace(
    "{holdings}", "held"
).replace("{positions}", "open")


async def holdings(tx: Tx, account_ids: Sequence[UUID], *, until_on: date | None = None) -> list[HoldingRow]:
    """What the accounts hold now, or held at the end of a day, by symbol. What was sold off that day is gone."""
    query = NOW if until_on is None else THEN
    held = await rows(tx, query, {"accounts": list(account_ids), "until": until_on}, _Held)
    return [row for account in held for row in _rows(account)]


_decoder = msgspec.json.Decoder(list[_Held])


def holding_rows(document: str | bytes) -> list[HoldingRow]:
    """The same of one JSON document of `NOW` or `THEN`."""
    return [row for account in _decoder.decode(document) for row in _rows(account)]


def _rows(held: _Held) -> list[HoldingRow]:
    book = Book(holdings=held.holdings, positions=held.positions, margin=None)
    points = {line.isin: point for line in held.holdings if (point := _point(line))}
    points |= {instrument_key(line): point for line in held.positions if (point := _point(line))}
    by_isin = {holding.isin: holding for holding in held.holdings}
    lines = effective_lines(book, points, held.before, held.trades)
    found = [_row(held, line, by_isin.get(line.isin)) for line in lines if line.quantity]
    return sorted(found, key=lambda row: (row.trading_symbol, row.isin))


def _point(line: _Holding | _Position) -> PricePoint | None:
    if line.price is None or line.priced_on is None or line.price_source is None:
        return None
    return PricePoint(price=line.price, priced_on=line.priced_on, source=line.price_source)


def _row(held: _Held, line: Line, holding: _Holding | None) -> HoldingRow:
    value, invested = line.value, line.invested
    reasons = []
    if value is None:
        reasons.append("no price yet")
    if invested is None:
        reasons.append("the broker gave no average price")
    if line.basis == "unexplained":
        reasons.append("quantity not explained by what was held and traded")
    return HoldingRow(
        account_id=held.account_id,
        account=held.account,
        isin=line.isin,
        trading_symbol=line.trading_symbol,
        quantity=line.quantity,
        held_quantity=holding.quantity if holding else ZERO,
        t1_quantity=holding.t1_quantity if holding else ZERO,
        locked_quantity=holding.locked_quantity if holding else ZERO,
        average_price=line.average_price,
        invested=invested,
        price=line.price,
        priced_on=line.priced_on,
        price_source=line.source,
        value=value,
        unrealised_pnl=None if value is None or invested is None else value - invested,
        basis=line.basis,
        read_on=held.read_on,
        read_at=held.read_at,
        reasons=tuple(reasons),
    )
