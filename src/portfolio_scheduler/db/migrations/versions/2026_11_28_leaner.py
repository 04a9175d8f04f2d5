"""Half the bytes for the same facts: what is written twice is written once, what repeats shares its place in indexes.

An index whose last column makes every entry different cannot share entries; without it, the rows of one order, symbol
or day stand together, and the few of them are sorted when read. What a batch read is packed into one value, naming each
raw answer by its number. That an order was placed is said by its first sight alone.
"""

import json
import zlib

from alembic import op

revision = "leaner"
down_revision = "recovered_orders"
branch_labels = None
depends_on = None

INDEXES = """
DROP INDEX order_quantity_changes_trail;
DROP INDEX order_quantity_changes_symbol;
DROP INDEX order_quantity_changes_day;
CREATE INDEX order_quantity_changes_trail ON order_quantity_changes (account_id, broker_order_id);
CREATE INDEX order_quantity_changes_symbol ON order_quantity_changes (account_id, trading_symbol);
CREATE INDEX order_quantity_changes_day ON order_quantity_changes (account_id, trading_on);
CREATE INDEX order_history_symbol ON order_history (account_id, trading_symbol);
DROP INDEX holding_changes_line;
CREATE INDEX holding_changes_line ON holding_changes (account_id, isin);
DROP INDEX position_changes_line;
CREATE INDEX position_changes_line ON position_changes (account_id, segment, exchange, trading_symbol, product);
"""

PLACED = """
ALTER TABLE order_quantity_changes DROP CONSTRAINT order_quantity_changes_change_type_check;
ALTER TABLE order_quantity_changes ADD CONSTRAINT order_quantity_changes_change_type_check
    CHECK (change_type IN ('QUANTITY_ADDED', 'QUANTITY_REMOVED', 'ORDER_MODIFIED', 'ORDER_CANCELLED', 'STATUS_CHANGED',
        'REGRESSED')) NOT VALID;
COMMENT ON TABLE order_quantity_changes IS 'fact: the trail of each order after its first sight: filled, modified, cancelled, regressed';
"""

PAYLOADS = """
ALTER TABLE broker_payloads DROP COLUMN digest;
ALTER TABLE broker_payloads ADD CHECK (length(payload_digest) = 32);
ALTER TABLE broker_payloads ALTER COLUMN payload_digest SET NOT NULL;
CREATE UNIQUE INDEX broker_payloads_digest ON broker_payloads (account_id, payload_digest);
"""

READINGS = """
ALTER TABLE sync_batches ADD COLUMN reading bytea;
ALTER TABLE sync_batches ADD COLUMN fingerprint bytea;
COMMENT ON COLUMN sync_batches.reading IS
    'zlib of JSON: the raw answers in their order (call, section, request, status, payload: its seq, fetched_at), and the outcome of each section when it was fetched';
COMMENT ON COLUMN sync_batches.fingerprint IS 'SHA-256 of what the answers to the first questions said: the same again is the same statement';
"""

_KEPT = """
SELECT b.id, b.fetched, (SELECT json_agg(jsonb_build_object('call', a ->> 'call', 'section', a ->> 'section',
        'request', a ->> 'request', 'status', a -> 'status', 'payload', p.seq, 'fetched_at', a ->> 'fetched_at')
        ORDER BY n)
    FROM jsonb_array_elements(b.answers) WITH ORDINALITY x (a, n)
    JOIN broker_payloads p ON p.account_id = b.account_id AND p.payload_digest = decode(a ->> 'digest', 'hex'))
FROM sync_batches b WHERE b.fetched IS NOT NULL
"""


# A derived row follows from facts of an account, which name it already: checking each of them again buys nothing.
DERIVED = """
ALTER TABLE current_orders DROP CONSTRAINT current_orders_account_id_fkey;
ALTER TABLE real_holdings DROP CONSTRAINT real_holdings_account_id_fkey;
ALTER TABLE real_positions DROP CONSTRAINT real_positions_account_id_fkey;
ALTER TABLE open_findings DROP CONSTRAINT open_findings_account_id_fkey;
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(INDEXES)
    run(PLACED)
    run(PAYLOADS)
    run(DERIVED)
    run(READINGS)
    run("ALTER TABLE sync_batches DISABLE TRIGGER finished_batches_stay")
    for batch_id, sections, answers in run(_KEPT).fetchall():
        packed = zlib.compress(json.dumps({"answers": answers or [], "sections": sections}).encode())
        run("UPDATE sync_batches SET reading = %s WHERE id = %s", (packed, batch_id))
    run("ALTER TABLE sync_batches ENABLE ALWAYS TRIGGER finished_batches_stay")
    run("ALTER TABLE sync_batches DROP COLUMN answers, DROP COLUMN fetched")


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
