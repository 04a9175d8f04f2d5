"""The state of accounts at the end of a trading day, from the facts that count, by sets: time travel and `rebuild`.

This is `fold` in SQL, as far as the newest fact of each line decides. Tests hold the two together.
"""

from datetime import date
from typing import Final, LiteralString
from uuid import UUID

import msgspec

from portfolio_scheduler.db.documents import read
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.domain.changes import KnownHolding, KnownPosition, State

# Of an order as first seen, after its last step, and as the newest step that mentions it says.
_STEPPED: Final = (
    ("status", "status_after"),
    ("quantity", "quantity_after"),
    ("filled_quantity", "filled_after"),
    ("price", "price_after"),
    ("trigger_price", "trigger_price_after"),
    ("average_fill_price", "average_fill_price_after"),
)
MENTIONED: Final = (
    ("order_type", "text"),
    ("validity", "text"),
    ("product", "text"),
    ("amo_status", "text"),
    ("remaining_quantity", "units"),
    ("deliverable_quantity", "units"),
    ("remark", "text"),
    ("order_reference_id", "text"),
    ("exchange_at", "timestamptz"),
    ("exchange_raw", "text"),
    ("trade_on", "date"),
    ("trade_raw", "text"),
)
_CASES: LiteralString = ",\n    ".join(
    [f"CASE WHEN l.seq IS NULL THEN s.{name} ELSE l.{after} END AS {name}" for name, after in _STEPPED]
    + [
        f"CASE WHEN d.said ? '{name}' THEN (d.said ->> '{name}')::{kind} ELSE s.{name} END AS {name}"
        for name, kind in MENTIONED
    ]
)

# Expects `s`, rows of effective_order_history; parameter `until` is the last trading day that counts, null for all.
ORDER_STATES: LiteralString = f"""
SELECT s.account_id, s.broker_order_id, s.seq AS first_seq, greatest(s.seq, t.last_seq, f.last_seq) AS last_seq,
    s.listed_on, s.segment, s.exchange, s.trading_symbol, s.side,
    {_CASES},
    s.created_at, s.created_raw, s.flags,
    coalesce(f.quantity, 0) AS fills_quantity, coalesce(f.value, 0) AS fills_value,
    r.details ->> 'regressed_to' AS regressed_status, r.filled_after AS regressed_filled
FROM s
LEFT JOIN LATERAL (
    SELECT max(c.seq) AS last_seq, max(c.seq) FILTER (WHERE c.change_type <> 'REGRESSED') AS step_seq
    FROM effective_order_quantity_changes c
    WHERE c.account_id = s.account_id AND c.broker_order_id = s.broker_order_id
        AND (%(until)s::date IS NULL OR c.trading_on <= %(until)s)
) t ON true
LEFT JOIN order_quantity_changes l ON l.account_id = s.account_id AND l.seq = t.step_seq
LEFT JOIN order_quantity_changes r ON r.account_id = s.account_id AND r.seq = t.last_seq
    AND r.seq > coalesce(t.step_seq, 0)
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(e.key, e.value ORDER BY c.seq) AS said
    FROM effective_order_quantity_changes c, jsonb_each(c.details) e
    WHERE c.account_id = s.account_id AND c.broker_order_id = s.broker_order_id AND c.seq <= t.step_seq
        AND c.change_type <> 'REGRESSED' AND c.details <> '{{}}'
        AND (%(until)s::date IS NULL OR c.trading_on <= %(until)s)
) d ON true
LEFT JOIN LATERAL (
    SELECT max(c.seq) AS last_seq, sum(c.quantity) AS quantity, sum(c.quantity * c.price) AS value
    FROM effective_order_fills c
    WHERE c.account_id = s.account_id AND c.broker_order_id = s.broker_order_id
        AND (%(until)s::date IS NULL OR c.trading_on <= %(until)s)
) f ON true
"""

_HOLDING = """account_id, seq AS last_seq, trading_on AS changed_on, isin, trading_symbol, quantity, average_price,
    t1_quantity, demat_free_quantity, demat_locked_quantity, broker_locked_quantity, pledge_quantity,
    repledge_quantity, corporate_action_quantity, transfer_quantity, exchanges"""
HOLDING_STATES: LiteralString = f"""
SELECT {_HOLDING} FROM (
    SELECT DISTINCT ON (account_id, isin) * FROM effective_holding_changes
    WHERE account_id = ANY(%(accounts)s) AND (%(until)s::date IS NULL OR trading_on <= %(until)s)
    ORDER BY account_id, isin, seq DESC
) h WHERE NOT details ? 'gone'
"""

_POSITION = """account_id, seq AS last_seq, trading_on, segment, exchange, trading_symbol, product, isin, quantity,
    credit_quantity, credit_price, debit_quantity, debit_price, carry_forward_credit_quantity,
    carry_forward_credit_price, carry_forward_debit_quantity, carry_forward_debit_price, net_price,
    net_carry_forward_quantity, net_carry_forward_price, realised_pnl, flags"""
POSITION_STATES: LiteralString = f"""
SELECT {_POSITION} FROM (
    SELECT DISTINCT ON (account_id, segment, exchange, trading_symbol, product) * FROM effective_position_changes
    WHERE account_id = ANY(%(accounts)s) AND (%(until)s::date IS NULL OR trading_on <= %(until)s)
    ORDER BY account_id, segment, exchange, trading_symbol, product, seq DESC
) p WHERE NOT gone
"""

FINDING_STATES: LiteralString = """
SELECT account_id, opened AS kind, section, subject, seq AS last_seq, trading_on, observed_at, details FROM (
    SELECT DISTINCT ON (account_id, coalesce(details ->> 'cleared', kind), section, subject) *,
        coalesce(details ->> 'cleared', kind) AS opened
    FROM effective_ledger_events
    WHERE account_id = ANY(%(accounts)s) AND (%(until)s::date IS NULL OR trading_on <= %(until)s)
    ORDER BY account_id, coalesce(details ->> 'cleared', kind), section, subject, seq DESC
) e WHERE kind NOT IN ('CLEARED', 'CONFIG', 'RECOVERED')
"""


_PRICE: LiteralString = """SELECT price, priced_on, priced_at, source FROM closing_prices c
    WHERE c.instrument_key = {key} AND (%(until)s::date IS NULL OR c.priced_on <= %(until)s)
    ORDER BY c.priced_on DESC, c.priced_at DESC LIMIT 1"""

# The views holding_values and position_values, as they were.
HOLDING_VALUES: LiteralString = f"""
SELECT h.*, h.demat_locked_quantity + h.broker_locked_quantity + h.pledge_quantity + h.repledge_quantity
        AS locked_quantity, p.price, p.priced_on, p.priced_at, p.source AS price_source
FROM ({HOLDING_STATES}) h LEFT JOIN LATERAL ({_PRICE.replace("{key}", "h.isin")}) p ON true
"""
POSITION_VALUES: LiteralString = f"""
SELECT p.*, c.price, c.priced_on, c.priced_at, c.source AS price_source,
    CASE WHEN p.quantity = 0 THEN 0 ELSE p.quantity * (c.price - p.net_price) END AS unrealised_pnl
FROM ({POSITION_STATES}) p LEFT JOIN LATERAL ({
    _PRICE.replace(
        "{key}",
        "CASE WHEN p.segment = 'CASH' AND p.isin IS NOT NULL THEN p.isin"
        " ELSE p.exchange || ':' || p.trading_symbol END",
    )
}) c ON true
"""


class _Book(msgspec.Struct):
    holdings: list[KnownHolding]
    positions: list[KnownPosition]


_decoder = msgspec.json.Decoder(_Book)
_BOOK: LiteralString = f"""
SELECT json_build_object(
  'holdings', (SELECT coalesce(json_agg(json_build_object('holding', to_json(h), 'changed_on', h.changed_on,
        'last_seq', h.last_seq)), '[]') FROM ({HOLDING_STATES}) h),
  'positions', (SELECT coalesce(json_agg(json_build_object('position', to_json(p), 'trading_on', p.trading_on,
        'last_seq', p.last_seq)), '[]') FROM ({POSITION_STATES}) p)
)::text
"""


async def book(tx: Tx, account_id: UUID, until_on: date) -> State:
    """Holdings and positions of an account at the end of that day; nothing else of its state."""
    found = await read(tx, _BOOK, {"accounts": [account_id], "until": until_on}, _decoder)
    return State(
        holdings={known.holding.isin: known for known in found.holdings},
        positions={known.position.key: known for known in found.positions},
    )
