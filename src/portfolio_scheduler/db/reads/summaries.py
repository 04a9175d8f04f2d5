"""What a summary of an account starts from, in one statement: the day's snapshot, or all that the day is computed from.

The figures themselves are made of it by `domain/summary.py`.
"""

from collections.abc import Sequence
from datetime import date
from typing import LiteralString
from uuid import UUID

from portfolio_scheduler.db.past import HOLDING_STATES, POSITION_STATES
from portfolio_scheduler.db.pool import Tx
from portfolio_scheduler.db.prices import NEWEST
from portfolio_scheduler.db.reads.rows import rows
from portfolio_scheduler.db.snapshots import BEFORE, FILLS_COUNT, NEAR_DAYS, ORDER_DAYS, STATE_FENCE, TRADES
from portfolio_scheduler.domain.summary import Basis

_COMPUTED: LiteralString = (
    """
    SELECT json_build_object('holdings', h.found, 'positions', p.found, 'before', b.found, 'trades', t.found,
        'margin', (SELECT margin FROM effective_batches m WHERE m.account_id = a.id AND m.trading_on = r.trading_on
            AND m.margin IS NOT NULL ORDER BY m.fence DESC LIMIT 1),
        'holdings_read_on', (SELECT m.trading_on FROM effective_batches m
            WHERE m.account_id = a.id AND m.trading_on IS NOT NULL
            AND coalesce(m.sections #>> '{holdings,outcome}' = 'ok', false)
            AND (%(until)s::date IS NULL OR m.trading_on <= %(until)s)
            ORDER BY m.trading_on DESC, m.finished_at DESC LIMIT 1),
        'unread', (SELECT coalesce(json_agg(section ORDER BY section), '[]') FROM coverage c
            WHERE c.account_id = a.id AND c.trading_on = r.trading_on AND c.state = 'partial'),
        'orders_on', (SELECT coalesce(json_object_agg(o.day_on, o.count), '{}') FROM (
            SELECT day_on, count(*) FROM ({orders}) o WHERE day_on > r.trading_on - {near}
            AND day_on <= r.trading_on GROUP BY day_on) o),
        'fills_count', {fills},
        'prices', (SELECT coalesce(json_object_agg(k.key, to_json(n)), '{}') FROM (
            SELECT e ->> 'isin' AS key FROM json_array_elements(h.found) e
            UNION SELECT e ->> 'isin' FROM json_array_elements(t.found) e
            UNION SELECT e ->> 'isin' FROM json_array_elements(b.found -> 'lines') e
            UNION SELECT CASE WHEN e ->> 'segment' = 'CASH' AND e ->> 'isin' <> '' THEN e ->> 'isin'
                ELSE (e ->> 'exchange') || ':' || (e ->> 'trading_symbol') END FROM json_array_elements(p.found) e
        ) k CROSS JOIN LATERAL ({newest}) n))
    FROM (SELECT (SELECT coalesce(json_agg(h), '[]') FROM {holdings} h WHERE h.account_id = a.id) AS found OFFSET 0) h,
        (SELECT (SELECT coalesce(json_agg(p), '[]') FROM {positions} p
            WHERE p.account_id = a.id AND p.trading_on = r.trading_on) AS found OFFSET 0) p,
        (SELECT {before} AS found OFFSET 0) b,
        (SELECT {trades} AS found OFFSET 0) t
""".replace("{orders}", ORDER_DAYS.replace("{after}", "(r.trading_on - {near})"))
    .replace("{near}", NEAR_DAYS)
    .replace("{fills}", FILLS_COUNT)
    .replace("{before}", BEFORE)
    .replace("{trades}", TRADES)
    .replace("{newest}", NEWEST.replace("{key}", "k.key").replace("{until}", "r.trading_on"))
    .replace("{account}", "a.id")
    .replace("{day}", "r.trading_on")
)

_BASIS: LiteralString = """
SELECT a.id AS account_id, a.label AS account, a.broker, a.state, to_json(r) AS read, to_json(s) AS snapshot,
    (SELECT coalesce(e.value ->> 'reason', nullif(e.value ->> 'outcome', 'ok'))
        FROM effective_batches b, jsonb_each(b.sections) e
        WHERE b.account_id = a.id AND b.finished_at IS NOT NULL AND e.key = 'margin'
            AND (%(until)s::date IS NULL OR b.trading_on <= %(until)s)
        ORDER BY b.fence DESC NULLS FIRST, b.id DESC LIMIT 1) AS margin_reason, t.touched,
    CASE WHEN r.trading_on IS NOT NULL AND (s.seq IS NULL OR s.trading_on < r.trading_on OR t.touched)
        THEN ({computed}) END AS open
FROM broker_accounts a
LEFT JOIN LATERAL (
    SELECT b.trading_on, b.observed_at, b.standing, b.sections FROM effective_batches b
    WHERE b.account_id = a.id AND b.trading_on IS NOT NULL
        AND (%(until)s::date IS NULL OR b.trading_on <= %(until)s) AND EXISTS (
        SELECT FROM jsonb_each(b.sections) e
        WHERE (e.key = 'holdings' OR starts_with(e.key, 'positions:')) AND e.value ->> 'outcome' = 'ok')
    ORDER BY b.trading_on DESC, b.finished_at DESC LIMIT 1
) r ON true
LEFT JOIN LATERAL (
    SELECT s.*, {fence} AS fence, coalesce((s.details -> 'state_seq' ->> 0)::bigint, s.seq) AS state_seq
    FROM portfolio_snapshots s
    WHERE s.account_id = a.id AND (%(until)s::date IS NULL OR s.trading_on <= %(until)s)
    ORDER BY s.trading_on DESC, s.revision DESC LIMIT 1
) s ON true
CROSS JOIN LATERAL (
    SELECT s.seq IS NOT NULL AND EXISTS (
        SELECT FROM (
            SELECT batch_id FROM holding_changes WHERE account_id = a.id AND seq > s.state_seq
            UNION ALL SELECT batch_id FROM position_changes WHERE account_id = a.id AND seq > s.state_seq
            UNION ALL SELECT batch_id FROM order_quantity_changes WHERE account_id = a.id AND seq > s.state_seq
            UNION ALL SELECT batch_id FROM order_fills WHERE account_id = a.id AND seq > s.state_seq
        ) c JOIN sync_batches b ON b.id = c.batch_id  -- a correction stands in the place of what it corrects
        WHERE b.standing <> 'late' AND (%(until)s::date IS NULL OR b.trading_on <= %(until)s)
            AND b.fence > s.fence) AS touched
) t
WHERE a.id = ANY(%(accounts)s) ORDER BY a.created_at, a.id
""".replace("{fence}", STATE_FENCE).replace("{computed}", _COMPUTED)

NOW: LiteralString = _BASIS.replace("{holdings}", "real_holdings").replace("{positions}", "real_positions")
THEN: LiteralString = _BASIS.replace(
    "{holdings}", "(" + HOLDING_STATES.replace("ANY(%(accounts)s)", "a.id") + ")"
).replace("{positions}", "(" + POSITION_STATES.replace("ANY(%(accounts)s)", "a.id") + ")")


async def bases(tx: Tx, account_ids: Sequence[UUID], *, until_on: date | None = None) -> list[Basis]:
    """What the summaries of these accounts start from, now or at the end of a day."""
    query = NOW if until_on is None else THEN
    return await rows(tx, query, {"accounts": list(account_ids), "until": until_on}, Basis)
