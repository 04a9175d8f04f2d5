"""What may be told of credentials without telling them: a fingerprint, since when, and the how manieth they are.

The number is bound into the sealed value, so that an older one put back in its place does not open.
"""

from alembic import op

revision = "credential_marks"
down_revision = "people"
branch_labels = None
depends_on = None

MARKS = """
ALTER TABLE broker_accounts
    ADD COLUMN credentials_number integer NOT NULL DEFAULT 1 CHECK (credentials_number > 0),
    ADD COLUMN credentials_fingerprint text CHECK (credentials_fingerprint ~ '^[0-9a-f]{8}$'),
    ADD COLUMN credentials_at timestamptz;
COMMENT ON COLUMN broker_accounts.credentials_number IS 'how many credentials the account has had; bound into the sealed ones';
COMMENT ON COLUMN broker_accounts.credentials_fingerprint IS 'tells two credentials apart, and nothing else; null for those from before there were fingerprints';
COMMENT ON COLUMN broker_accounts.credentials_at IS 'since when the account has these';
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(MARKS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
