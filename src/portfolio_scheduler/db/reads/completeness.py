"""How much of an account is known, for every answer to say: the last reading, what it lacked, which days are lost."""

from typing import LiteralString

LOST_SHOWN: LiteralString = "100"

# A JSON object as `domain.completeness.Seen`, of an account `a`.
SEEN: LiteralString = """
SELECT json_build_object('account_id', a.id, 'account', a.label, 'state', a.state, 'read', to_json(r),
    'unread', (SELECT coalesce(json_agg(u.section ORDER BY u.section), '[]') FROM (
        SELECT e.key AS section FROM effective_batches b, jsonb_each(b.sections) e
        WHERE b.account_id = a.id AND b.trading_on = r.trading_on
        GROUP BY e.key HAVING NOT bool_or(e.value ->> 'outcome' IN ('ok', 'not_entitled'))) u),
    'lost_on', (SELECT coalesce(json_agg(g.trading_on), '[]') FROM (
        SELECT DISTINCT e.trading_on FROM effective_ledger_events e
        WHERE e.account_id = a.id AND e.kind = 'GAP' AND e.section = 'orders'
            AND (%(until)s::date IS NULL OR e.trading_on <= %(until)s)
        ORDER BY e.trading_on DESC LIMIT {shown}) g)) AS seen
FROM broker_accounts a LEFT JOIN LATERAL (
    SELECT b.trading_on, b.observed_at, b.standing, b.sections FROM effective_batches b
    WHERE b.account_id = a.id AND b.trading_on IS NOT NULL AND b.status IN ('completed', 'partial')
        AND (%(until)s::date IS NULL OR b.trading_on <= %(until)s)
    ORDER BY b.trading_on DESC, b.finished_at DESC LIMIT 1
) r ON true
""".replace("{shown}", LOST_SHOWN)

# With the account as a parameter and not as a column, the newest batch is found by its index.
SEEN_OF_ONE: LiteralString = SEEN.replace("account_id = a.id", "account_id = %(account)s") + " WHERE a.id = %(account)s"
