"""Instruments as files tell them, prices as files tell them, and corporate actions that link one ISIN to the next.

Files are copied line by line into tables of their own, empty between two loads, so that what they change can be said
in one statement however long they are. Those tables are unlogged: what a crash leaves in them is worth nothing.
"""

from alembic import op

revision = "market"
down_revision = "tables"
branch_labels = None
depends_on = None

TABLES = """
COMMENT ON COLUMN instruments.to_on IS 'the first day on which it no longer holds; null: it still does';
COMMENT ON COLUMN instruments.successor_isin IS 'the ISIN that a corporate action turned it into';
CREATE INDEX instruments_symbol ON instruments (trading_symbol);

CREATE TABLE instrument_files (
    read_on date NOT NULL,
    source text NOT NULL,
    read_at timestamptz NOT NULL,
    digest bytea NOT NULL,
    listed integer NOT NULL,
    opened integer NOT NULL,
    closed integer NOT NULL,
    relabelled integer NOT NULL,
    PRIMARY KEY (read_on, source)
);
COMMENT ON TABLE instrument_files IS 'reference: the last instruments file taken in on each day, and what it changed';

CREATE TABLE corporate_actions (
    isin text NOT NULL,
    effective_on date NOT NULL,
    kind text NOT NULL CHECK (kind IN ('split', 'bonus', 'merger', 'demerger', 'rename')),
    new_isin text NOT NULL,
    new_units units NOT NULL CHECK (new_units > 0),
    old_units units NOT NULL CHECK (old_units > 0),
    source text NOT NULL,
    noted_at timestamptz NOT NULL,
    PRIMARY KEY (isin, effective_on, kind, new_isin),
    CHECK ((kind = 'bonus') = (isin = new_isin))
);
COMMENT ON TABLE corporate_actions IS 'reference: what turned units of one ISIN into units of another; old_units held became new_units';
COMMENT ON COLUMN corporate_actions.effective_on IS 'the ex-date: prices are new from this session on';
CREATE INDEX corporate_actions_day ON corporate_actions (effective_on);

CREATE UNLOGGED TABLE instrument_lines (
    line integer NOT NULL,
    exchange text NOT NULL,
    segment text NOT NULL,
    trading_symbol text NOT NULL,
    isin text,
    name text,
    instrument_type text,
    lot_size units,
    tick_size amount
);
COMMENT ON TABLE instrument_lines IS 'reference: lines of an instruments file while it is being loaded';

CREATE UNLOGGED TABLE price_lines (
    line integer NOT NULL,
    source text NOT NULL,
    priced_on date NOT NULL,
    isin text,
    exchange text,
    trading_symbol text,
    rank smallint NOT NULL,
    price amount NOT NULL
);
COMMENT ON TABLE price_lines IS 'reference: lines of a price file while it is being imported';
"""

# As before, but for two imported closes of one day the same one is chosen wherever a price is looked up.
VIEWS = """
CREATE OR REPLACE VIEW holding_values WITH (security_invoker = true) AS
SELECT h.*, p.price, p.priced_on, p.priced_at, p.source AS price_source,
       h.quantity * p.price AS value, h.quantity * p.price - h.invested_value AS unrealised_pnl
FROM real_holdings h
LEFT JOIN LATERAL (
    SELECT price, priced_on, priced_at, source FROM closing_prices c
    WHERE c.instrument_key = h.isin ORDER BY c.priced_on DESC, c.priced_at DESC, c.source DESC LIMIT 1
) p ON true;

CREATE OR REPLACE VIEW position_values WITH (security_invoker = true) AS
SELECT p.*, c.price, c.priced_on, c.priced_at, c.source AS price_source,
       CASE WHEN p.quantity = 0 THEN 0 ELSE p.quantity * (c.price - p.net_price) END AS unrealised_pnl
FROM real_positions p
LEFT JOIN LATERAL (
    SELECT price, priced_on, priced_at, source FROM closing_prices c
    WHERE c.instrument_key = CASE WHEN p.segment = 'CASH' AND p.isin IS NOT NULL THEN p.isin
                                  ELSE p.exchange || ':' || p.trading_symbol END
    ORDER BY c.priced_on DESC, c.priced_at DESC, c.source DESC LIMIT 1
) c ON true;
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(TABLES)
    run(VIEWS)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
