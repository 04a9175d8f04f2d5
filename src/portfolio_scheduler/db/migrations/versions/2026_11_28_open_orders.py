"""Orders that were open when last seen are found without reading all of them: there are few at a time."""

from alembic import op

revision = "open_orders"
down_revision = "leaner"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE INDEX current_orders_open ON current_orders (account_id, listed_on)
        WHERE status NOT IN ('CANCELLED', 'COMPLETED', 'DELIVERY_AWAITED', 'EXECUTED', 'FAILED', 'REJECTED')
        """
    )


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
