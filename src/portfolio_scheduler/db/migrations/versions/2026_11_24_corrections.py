"""Corrections: facts that name the fact they correct, what a batch needs to be replayed, and views of what counts.

A fact counts until a CORRECTION names it. Every reader that asks what is true reads the `effective_…` views.
"""

from alembic import op

revision = "corrections"
down_revision = "market"
branch_labels = None
depends_on = None

BATCHES = """
ALTER TABLE sync_batches DROP CONSTRAINT sync_batches_trigger_check;
ALTER TABLE sync_batches ADD CONSTRAINT sync_batches_trigger_check
    CHECK (trigger IN ('scheduled', 'manual', 'catch-up', 'retry', 'replay'));
ALTER TABLE sync_batches ADD COLUMN fetched jsonb;
COMMENT ON COLUMN sync_batches.fetched IS 'the outcome of each section when it was fetched, before it was parsed and compared';
"""

# The unique indexes now cover facts that correct as well, each by what it corrects.
INDEXES = """
CREATE UNIQUE INDEX ledger_events_corrections ON ledger_events (account_id, corrects_seq) WHERE kind = 'CORRECTION';
ALTER TABLE ledger_events ADD CONSTRAINT ledger_events_corrects CHECK (kind <> 'CORRECTION' OR corrects_seq IS NOT NULL);
DROP INDEX order_history_once;
CREATE UNIQUE INDEX order_history_once ON order_history (account_id, broker_order_id, corrects_seq) NULLS NOT DISTINCT;
DROP INDEX order_fills_once;
CREATE UNIQUE INDEX order_fills_once ON order_fills (account_id, broker_order_id, broker_trade_id, corrects_seq)
    NULLS NOT DISTINCT;
"""

REREADINGS = """
CREATE TABLE rereadings (
    account_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    batch_id uuid NOT NULL,
    observed_at timestamptz NOT NULL,
    payload_digest bytea,
    corrects_seq bigint CHECK (corrects_seq < seq),
    trading_on date NOT NULL,
    status text NOT NULL CHECK (status IN ('completed', 'partial', 'failed')),
    sections jsonb NOT NULL,
    flags jsonb NOT NULL,
    margin jsonb,
    reason text NOT NULL,
    PRIMARY KEY (account_id, seq),
    FOREIGN KEY (account_id, batch_id) REFERENCES sync_batches (account_id, id)
);
COMMENT ON TABLE rereadings IS 'fact: what a finished batch read, as its raw answers are understood by a replay; the newest counts';
CREATE INDEX rereadings_batch ON rereadings (account_id, batch_id, seq);
SELECT guard_fact('rereadings');
"""

CORRECTED = ("order_history", "order_quantity_changes", "order_fills", "holding_changes", "position_changes")


def effective(table: str, condition: str = "") -> str:
    return f"""
CREATE VIEW effective_{table} WITH (security_invoker = true) AS
SELECT * FROM {table} f WHERE {condition}NOT EXISTS (
    SELECT FROM ledger_events c
    WHERE c.account_id = f.account_id AND c.corrects_seq = f.seq AND c.kind = 'CORRECTION');
COMMENT ON VIEW effective_{table} IS 'view: the facts of {table} that no correction names';
"""


BATCH_VIEWS = """
CREATE VIEW effective_batches WITH (security_invoker = true) AS
SELECT b.id, b.account_id, b.trigger, b.slot_at, b.wanted, coalesce(r.status, b.status) AS status, b.fence, b.queued_at,
    b.started_at, b.finished_at, b.observed_at, b.trading_on, b.standing, coalesce(r.sections, b.sections) AS sections,
    b.counts, coalesce(r.flags, b.flags) AS flags, CASE WHEN r.seq IS NULL THEN b.margin ELSE r.margin END AS margin,
    CASE WHEN r.seq IS NULL THEN b.error_class END AS error_class,
    CASE WHEN r.seq IS NULL THEN b.error_text END AS error_text
FROM sync_batches b
LEFT JOIN LATERAL (
    SELECT seq, status, sections, flags, margin FROM rereadings r
    WHERE r.account_id = b.account_id AND r.batch_id = b.id ORDER BY r.seq DESC LIMIT 1
) r ON true
WHERE b.trigger <> 'replay';
COMMENT ON VIEW effective_batches IS 'view: the attempts to sync, each with what it read as it is understood now';

CREATE OR REPLACE VIEW coverage WITH (security_invoker = true) AS
WITH read AS NOT MATERIALIZED (
    SELECT b.account_id, b.trading_on, s.key AS section, b.standing, s.value ->> 'outcome' AS outcome, b.id AS batch_id
    FROM effective_batches b, jsonb_each(b.sections) s
    WHERE b.status IN ('completed', 'partial', 'failed') AND b.trading_on IS NOT NULL
), best AS NOT MATERIALIZED (
    SELECT DISTINCT ON (account_id, trading_on, section) account_id, trading_on, section, batch_id,
        CASE WHEN outcome IN ('ok', 'not_entitled') AND standing = 'final' THEN 'complete'
             WHEN outcome IN ('ok', 'not_entitled') AND standing = 'late' THEN 'late'
             WHEN outcome IN ('ok', 'not_entitled') THEN 'provisional'
             ELSE 'partial' END AS state
    FROM read
    ORDER BY account_id, trading_on, section,
        CASE WHEN outcome IN ('ok', 'not_entitled') THEN 0 ELSE 1 END,
        CASE standing WHEN 'final' THEN 0 WHEN 'late' THEN 1 ELSE 2 END, batch_id DESC
)
SELECT account_id, trading_on, section, state, batch_id FROM best
UNION ALL
SELECT e.account_id, e.trading_on, e.section, 'lost', e.batch_id
FROM effective_ledger_events e
WHERE e.kind = 'GAP' AND NOT EXISTS (
    SELECT FROM best b WHERE (b.account_id, b.trading_on, b.section) = (e.account_id, e.trading_on, e.section));
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(BATCHES)
    run(INDEXES)
    run(REREADINGS)
    for table in CORRECTED:
        run(effective(table))
    run(effective("ledger_events", "f.kind <> 'CORRECTION' AND "))
    run(BATCH_VIEWS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
