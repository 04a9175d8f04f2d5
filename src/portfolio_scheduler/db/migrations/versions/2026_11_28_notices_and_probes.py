"""What the owner must hear of, the probes of logins before the close, and how long a broker wants to be left alone."""

from alembic import op

revision = "notices_and_probes"
down_revision = "instrument_loading"
branch_labels = None
depends_on = None

RESUME = """
ALTER TABLE broker_accounts ADD COLUMN resume_at timestamptz;
COMMENT ON COLUMN broker_accounts.resume_at IS 'until then the broker wants the account left alone (Retry-After); null when it does not';
"""

NOTICES = """
CREATE TABLE notices (
    account_id uuid NOT NULL REFERENCES broker_accounts (id),
    kind text NOT NULL,
    noticed_on date NOT NULL,
    id uuid NOT NULL DEFAULT uuidv7(),
    noticed_at timestamptz NOT NULL,
    text text NOT NULL,
    link text,
    PRIMARY KEY (account_id, kind, noticed_on)
);
COMMENT ON TABLE notices IS 'control: what the owner should hear of, once a day at most for each account and kind';
COMMENT ON COLUMN notices.id IS 'in the order they came: whoever passes them on remembers the last one';
CREATE INDEX notices_in_order ON notices (id);
"""

PROBES = """
CREATE TABLE login_probes (
    account_id uuid NOT NULL REFERENCES broker_accounts (id),
    probe_on date NOT NULL,
    attempts integer NOT NULL DEFAULT 1 CHECK (attempts > 0),
    claimed_at timestamptz NOT NULL,
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('ok', 'owner', 'later')),
    text text,
    PRIMARY KEY (account_id, probe_on),
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
);
COMMENT ON TABLE login_probes IS 'control: whether an account''s login would work tonight, tried once a day before the close';
COMMENT ON COLUMN login_probes.claimed_at IS 'by the database''s own clock, as leases are';
COMMENT ON COLUMN login_probes.outcome IS 'ok; owner: only the owner can help; later: the broker could not be asked';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(RESUME)
    run(NOTICES)
    run(PROBES)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
