"""A trade that the exchange took back is a finding of its own, not an execution."""

from alembic import op

revision = "annulled_trades"
down_revision = "config_and_coverage"
branch_labels = None
depends_on = None

KINDS = """
ALTER TABLE ledger_events DROP CONSTRAINT ledger_events_kind_check;
ALTER TABLE ledger_events ADD CONSTRAINT ledger_events_kind_check CHECK (kind IN (
    'GAP', 'MISSING', 'DISCREPANCY', 'SUSPECT', 'QUARANTINED', 'ANNULLED', 'CORRECTION', 'CONFIG', 'CLEARED'));
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(KINDS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
