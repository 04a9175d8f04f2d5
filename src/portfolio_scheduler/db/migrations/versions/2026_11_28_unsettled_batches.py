"""What the planner looks at every minute, found without looking at every account: batches that left something open."""

from alembic import op

revision = "unsettled_batches"
down_revision = "open_orders"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(
        """
        CREATE INDEX sync_batches_unsettled ON sync_batches (finished_at)
            WHERE status IN ('partial', 'failed') OR trigger = 'replay'
                OR (sections - 'prices') @? '$.* ? (@.outcome == "not_entitled")'
        """
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
