"""The late pass can be switched off, account by account."""

from alembic import op

revision = "late_pass"
down_revision = "annulled_trades"
branch_labels = None
depends_on = None

LATE_PASS = """
ALTER TABLE broker_accounts ADD COLUMN late_pass boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN broker_accounts.late_pass IS 'whether it is read late in the evening, besides its schedules';
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(LATE_PASS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
