"""What guards facts and finished batches against everybody, owner and superuser too; and the install's own row.

All triggers are ENABLE ALWAYS: `session_replication_role = replica` would switch ordinary ones off. A statement trigger
stands beside the row trigger: it refuses even a statement that would match no row, and TRUNCATE has no row triggers;
the row trigger covers what reaches rows without a statement on this very table (partitions, replication).
"""

from alembic import op

revision = "guards"
down_revision = "queue"
branch_labels = None
depends_on = None

GUARDS = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'PS001';
END
$$;
COMMENT ON FUNCTION refuse_change() IS 'raises PS001 with the reason given to its trigger';

CREATE FUNCTION guard_fact(guarded regclass) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER facts_stay_rows BEFORE UPDATE OR DELETE ON %s FOR EACH ROW
        EXECUTE FUNCTION public.refuse_change(%L)', guarded, 'facts are only added to; append a correction');
    EXECUTE format('CREATE TRIGGER facts_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT
        EXECUTE FUNCTION public.refuse_change(%L)', guarded, 'facts are only added to; append a correction');
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER facts_stay_rows', guarded);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER facts_stay', guarded);
END
$$;
COMMENT ON FUNCTION guard_fact(regclass) IS 'refuses UPDATE, DELETE and TRUNCATE on a table to everybody';

CREATE FUNCTION guard_finished_batches(guarded regclass) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER finished_batches_stay BEFORE UPDATE ON %s FOR EACH ROW
        WHEN (OLD.status IN (''completed'', ''partial'', ''failed''))
        EXECUTE FUNCTION public.refuse_change(%L)', guarded, 'a finished batch is frozen');
    EXECUTE format('CREATE TRIGGER batches_stay_rows BEFORE DELETE ON %s FOR EACH ROW
        EXECUTE FUNCTION public.refuse_change(%L)', guarded, 'batches are kept');
    EXECUTE format('CREATE TRIGGER batches_stay BEFORE DELETE OR TRUNCATE ON %s FOR EACH STATEMENT
        EXECUTE FUNCTION public.refuse_change(%L)', guarded, 'batches are kept');
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER finished_batches_stay', guarded);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER batches_stay_rows', guarded);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER batches_stay', guarded);
END
$$;
COMMENT ON FUNCTION guard_finished_batches(regclass) IS 'refuses UPDATE of finished batches, and DELETE and TRUNCATE';
"""

# The prefix of the role names comes from the database's name, made plain; a name that had to be changed gets a
# fingerprint, for "my-db" and "my_db" may share a server. A copy of the database keeps its roles.
INSTALL = r"""
CREATE TABLE install (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    install_id uuid NOT NULL DEFAULT gen_random_uuid(),
    role_prefix text NOT NULL CHECK (role_prefix ~ '^[a-z_][a-z0-9_]*$' AND length(role_prefix) <= 55),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE install IS 'control: this installation''s own row, never changed: its number, and how its roles are called';
INSERT INTO install (role_prefix)
SELECT CASE WHEN plain = name THEN plain ELSE plain || '_' || left(md5(name), 6) END
FROM (
    SELECT current_database() AS name,
           left(regexp_replace(regexp_replace(lower(current_database()), '[^a-z0-9_]', '_', 'g'), '^(pg_|[0-9])', 'db_\1'), 48)
               AS plain
) names;
SELECT guard_fact('install');
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(GUARDS)
    run(INSTALL)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
