"""Orders asked for by their id after their day, and coverage that tells a lost day from an order nobody answers for."""

from alembic import op

revision = "recovered_orders"
down_revision = "one_truth_a_cell"
branch_labels = None
depends_on = None

KINDS = """
ALTER TABLE ledger_events DROP CONSTRAINT ledger_events_kind_check;
ALTER TABLE ledger_events ADD CONSTRAINT ledger_events_kind_check CHECK (kind IN (
    'GAP', 'RECOVERED', 'MISSING', 'DISCREPANCY', 'SUSPECT', 'QUARANTINED', 'ANNULLED', 'CORRECTION', 'CONFIG',
    'CLEARED'));
"""

COVERAGE = """
CREATE OR REPLACE VIEW coverage WITH (security_invoker = true) AS
SELECT account_id, trading_on, section, state, batch_id FROM (
    SELECT DISTINCT ON (b.account_id, b.trading_on, s.key) b.account_id, b.trading_on, s.key AS section, b.id AS batch_id,
        CASE WHEN s.value ->> 'outcome' NOT IN ('ok', 'not_entitled') THEN 'partial'
             WHEN s.key = 'prices' AND s.value ->> 'outcome' = 'not_entitled' AND EXISTS (
                 SELECT FROM portfolio_snapshots p WHERE p.account_id = b.account_id
                     AND p.trading_on = b.trading_on AND p.priced_ratio > 0) THEN 'imported'
             WHEN b.standing = 'final' THEN 'complete'
             WHEN b.standing = 'late' THEN 'late'
             ELSE 'provisional' END AS state
    FROM effective_batches b, jsonb_each(b.sections) s
    WHERE b.status IN ('completed', 'partial', 'failed') AND b.trading_on IS NOT NULL
    ORDER BY b.account_id, b.trading_on, s.key,
        CASE WHEN s.value ->> 'outcome' IN ('ok', 'not_entitled') THEN 0 ELSE 1 END,
        CASE b.standing WHEN 'final' THEN 0 WHEN 'late' THEN 1 ELSE 2 END, b.fence DESC NULLS LAST, b.id DESC
) best
WHERE NOT (starts_with(section, 'orders:') AND state IN ('late', 'partial') AND (
    SELECT g.seq FROM effective_ledger_events g
    WHERE g.account_id = best.account_id AND g.kind = 'GAP' AND g.section = 'orders'
        AND g.trading_on = best.trading_on LIMIT 1) IS NOT NULL)
UNION ALL
SELECT e.account_id, e.trading_on, e.section, 'lost', e.batch_id
FROM effective_ledger_events e
WHERE e.kind = 'GAP' AND e.section = 'orders' AND NOT EXISTS (
    SELECT FROM effective_batches b, jsonb_each(b.sections) s
    WHERE b.account_id = e.account_id AND b.trading_on = e.trading_on AND b.standing IN ('provisional', 'final')
        AND starts_with(s.key, 'orders:') AND s.value ->> 'outcome' IN ('ok', 'not_entitled'));
COMMENT ON VIEW coverage IS 'view: account, trading day, section: complete, provisional, partial, late, lost, imported';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(KINDS)
    run(COVERAGE)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
