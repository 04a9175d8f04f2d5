"""Announced days are corrected by another entry, never overwritten; and one says how far the announcements reach."""

from alembic import op

revision = "announced_days"
down_revision = "notices_and_probes"
branch_labels = None
depends_on = None

ANNOUNCED = """
ALTER TABLE market_days DROP CONSTRAINT market_days_pkey, DROP CONSTRAINT market_days_kind_check,
    DROP CONSTRAINT market_days_check,
    ADD COLUMN id uuid NOT NULL DEFAULT uuidv7() PRIMARY KEY,
    ADD COLUMN noted_at timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT market_days_kind_check
        CHECK (kind IN ('session', 'special', 'closed', 'withdrawn', 'known_until')),
    ADD CONSTRAINT market_days_check CHECK ((kind IN ('session', 'special')) = (opens_at IS NOT NULL)
        AND (opens_at IS NULL) = (closes_at IS NULL)),
    ADD CONSTRAINT market_days_source_check CHECK (source <> '');
ALTER TABLE market_days ALTER COLUMN noted_at DROP DEFAULT;
CREATE INDEX market_days_day ON market_days (exchange, day_on, id DESC);
COMMENT ON TABLE market_days IS 'reference: what the exchange announced beyond the regular calendar; of a day the newest counts';
COMMENT ON COLUMN market_days.kind IS 'withdrawn: earlier entries of that day do not count; known_until: the announcements are complete until that day';
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(ANNOUNCED)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
