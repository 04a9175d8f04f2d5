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

# A statement whose plan is large costs most of a cheap answer before it has run at all, so it must not even begin
# where it is not wanted. EXECUTE is of a statement that the connection has prepared, so it is planned once.
ASK = """
CREATE FUNCTION answer_unless(known text[], version text, question text, given text[]) RETURNS text
LANGUAGE plpgsql AS $$  -- with a search path of its own the statement would be planned anew each time
DECLARE
    answer text;
BEGIN
    IF version = ANY (known) THEN
        RETURN NULL;
    END IF;
    EXECUTE pg_catalog.format('EXECUTE %I (%s)', question,
        (SELECT pg_catalog.string_agg(pg_catalog.quote_nullable(g.value), ', ' ORDER BY g.n)
            FROM pg_catalog.unnest(given) WITH ORDINALITY g (value, n))) INTO answer;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION answer_unless(text[], text, text, text[])
    IS 'the answer of a prepared statement, run only when the version is none of those that are known';
"""

# An admin who looks at somebody sees what is theirs, not what others let them see: the access log tells of the one,
# not of the others. The lists of an admin show accounts and batches beyond these, and nothing of what is in them.
SEEN = """
CREATE FUNCTION app_owners() RETURNS uuid[] LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = '' AS $$
BEGIN
    RETURN ARRAY(
        SELECT g.owner_id FROM public.viewer_grants g
        WHERE g.viewer_id = public.app_user() AND g.ended_at IS NULL AND g.expires_at > public.app_now()
            AND public.app_door() <> 'subject'
    ) || public.app_user();
END
$$;
COMMENT ON FUNCTION app_owners() IS 'whose accounts this transaction of the API may see: one''s own, and what is shared';

CREATE FUNCTION app_accounts() RETURNS uuid[] LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = '' AS $$
BEGIN
    RETURN ARRAY(SELECT a.id FROM public.broker_accounts a WHERE a.user_id = ANY ((SELECT public.app_owners())::uuid[]));
END
$$;
COMMENT ON FUNCTION app_accounts() IS 'the accounts themselves';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(PRICES)
    run(KNOWN)
    run(ASK)
    run(SEEN)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
