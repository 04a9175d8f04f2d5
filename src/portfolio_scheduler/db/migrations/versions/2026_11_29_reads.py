"""What tells the API whether an answer would be the same as before, and what was known at an instant.

Prices are shared, so no account's number moves when one is written: their writes are counted. In many rows, of which
each connection has its own most of the time, so that syncs do not wait for each other.
"""

from alembic import op

revision = "reads"
down_revision = "next_looks"
branch_labels = None
depends_on = None

PRICES = """
CREATE TABLE price_writes (
    shard integer PRIMARY KEY,
    writes bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE price_writes IS 'reference: how often closing prices were written, in parts; their sum moves with every write';
INSERT INTO price_writes (shard) SELECT generate_series(0, 63);

CREATE FUNCTION count_price_writes() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF EXISTS (SELECT FROM written) THEN
        UPDATE public.price_writes SET writes = writes + 1 WHERE shard = pg_catalog.pg_backend_pid() % 64;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION count_price_writes() IS 'after a statement that wrote closing prices';
CREATE TRIGGER prices_added AFTER INSERT ON closing_prices REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION count_price_writes();
CREATE TRIGGER prices_changed AFTER UPDATE ON closing_prices REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION count_price_writes();
CREATE TRIGGER prices_removed AFTER DELETE ON closing_prices REFERENCING OLD TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION count_price_writes();
"""

KNOWN = """
ALTER TABLE sync_batches ADD COLUMN last_seq bigint;
COMMENT ON COLUMN sync_batches.last_seq IS 'the number of the account''s last fact when this batch ended: all that was known then';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(PRICES)
    run(KNOWN)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
