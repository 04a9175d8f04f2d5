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

# An admin who looks at somebody sees what is theirs, not what others let them see: the access log tells of the one,
# not of the others. The lists of an admin show accounts and batches beyond these, and nothing of what is in them.
# A dozen policies of one read ask for the accounts, so a read finds them out once and says them for its transaction;
# what writes, and may make an account, asks each time.
SEEN = """
CREATE FUNCTION app_owners() RETURNS uuid[] LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN ARRAY(
        SELECT g.owner_id FROM public.viewer_grants g
        WHERE g.viewer_id = public.app_user() AND g.ended_at IS NULL AND g.expires_at > public.app_now()
            AND public.app_door() <> 'subject');
END
$$;
COMMENT ON FUNCTION app_owners() IS 'who shares their accounts with whom this transaction of the API is about';

CREATE FUNCTION app_accounts() RETURNS uuid[] LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    said text := current_setting('app.accounts', true);
BEGIN
    IF said <> '' THEN
        RETURN said;
    END IF;
    RETURN ARRAY(SELECT a.id FROM public.broker_accounts a
        WHERE a.user_id = ANY ((SELECT public.app_owners() || public.app_user())::uuid[]));
END
$$;
COMMENT ON FUNCTION app_accounts() IS 'whose rows this transaction of the API may see: of one''s own accounts and of those that are shared';
"""

# A read in one statement: who asks, which version that has what they ask for, and the answer where it is not known.
#
# The version moves whenever anything moves that the answer is made of. Facts move an account's head; a batch that ends
# without facts shows in the newest one's status (a claim raises the fence, and one batch at most is open); prices are
# shared and counted by themselves.
#
# A read about one account sees that account and no other, and nothing of it where the account itself is not seen.
#
# A statement whose plan is large costs most of a cheap answer before it has run at all, so it must not even begin where
# it is not wanted. EXECUTE is of a statement that the connection has prepared, so it is planned once; with a search path
# of its own this function would have it planned anew each time. What is assigned is evaluated without a query.
ANSWER = """
CREATE FUNCTION answer_to(session uuid, token bytea, at timestamptz, subject uuid, scope text, account uuid,
    known text[], question text, given text[], OUT who viewer, OUT version text, OUT document text)
LANGUAGE plpgsql AS $$
DECLARE
    said text;
    found text;
BEGIN
    IF session IS NULL THEN
        who := public.enter_token(token, at);
    ELSE
        who := public.enter_session(session, at);
    END IF;
    IF (who).user_id IS NULL THEN
        RETURN;
    END IF;
    IF subject IS NOT NULL THEN
        said := set_config('app.user_id', subject::text, true) || set_config('app.door', 'subject', true);
    END IF;
    IF scope = 'account' THEN
        said := set_config('app.accounts', '{' || account::text || '}', true);
        SELECT {version} INTO found FROM {versions} WHERE a.id = account;
        IF found IS NULL THEN
            said := set_config('app.accounts', '{}', true);
            RETURN;
        END IF;
    ELSE
        said := set_config('app.accounts', public.app_accounts()::text, true);
        SELECT coalesce(string_agg({version}, '|' ORDER BY a.id), '') INTO found FROM {versions}
        WHERE scope = 'seen' OR (a.user_id = public.app_user() AND a.state <> 'closed');
    END IF;
    version := md5(found);
    IF version = ANY (known) THEN
        RETURN;
    END IF;
    EXECUTE 'EXECUTE ' || quote_ident(question) || coalesce((
        SELECT '(' || string_agg(quote_nullable(g.value), ', ' ORDER BY g.n) || ')'
        FROM unnest(given) WITH ORDINALITY g (value, n)), '') INTO document;
    IF scope = 'account' AND NOT EXISTS (SELECT FROM public.broker_accounts a WHERE a.id = account) THEN
        version := NULL;  -- it was there a moment ago, and what was read since may be the half of it
        document := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION answer_to(uuid, bytea, timestamptz, uuid, text, uuid, text[], text, text[])
    IS 'who asks, the version of what they ask for, and the answer of a prepared statement unless that version is known';
""".replace(
    "{version}", "concat_ws('.', a.id, a.state, a.segments, a.label, h.seq, h.fence, b.status, p.writes)"
).replace(
    "{versions}",
    """public.broker_accounts a
        CROSS JOIN (SELECT sum(writes) AS writes FROM public.price_writes) p
        LEFT JOIN public.account_heads h ON h.account_id = a.id
        LEFT JOIN LATERAL (SELECT status FROM public.sync_batches WHERE account_id = a.id
            ORDER BY fence DESC, id DESC LIMIT 1) b ON true""",
)


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(PRICES)
    run(KNOWN)
    run(SEEN)
    run(ANSWER)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
