"""The queue: procrastinate's own schema, as the installed release brings it."""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "queue"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.get_bind().exec_driver_sql(SchemaManager.get_schema())


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
