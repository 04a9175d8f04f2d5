"""When the planner looks again at an account whose newest batch ended badly, so that most minutes it need not."""

from alembic import op

revision = "next_looks"
down_revision = "credential_marks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """
        ALTER TABLE account_heads ADD COLUMN looked_fence bigint, ADD COLUMN look_at timestamptz;
        COMMENT ON COLUMN account_heads.looked_fence IS
            'the fence of the newest batch when the planner last looked at how it had ended';
        COMMENT ON COLUMN account_heads.look_at IS 'when it looks again although the fence is still the same';
        """
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
