"""Which process takes in the morning's list of instruments, and what went wrong with it last."""

from alembic import op

revision = "instrument_loading"
down_revision = "late_pass"
branch_labels = None
depends_on = None

LOADING = """
CREATE TABLE instrument_loading (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    worker text NOT NULL,
    leased_until timestamptz NOT NULL,
    retry_at timestamptz,
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    error_text text
);
COMMENT ON TABLE instrument_loading IS 'control: who takes in the list of instruments (one row, lease by the clock of the database), and why it failed last';
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(LOADING)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
