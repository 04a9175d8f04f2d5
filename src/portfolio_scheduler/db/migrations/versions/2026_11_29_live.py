"""What changed is told on commit: batches that begin and end, accounts that change, histories that grow otherwise.

A notification carries ids and the number of the last fact, never what was written. While a batch runs its own end
tells of what it wrote, so a sync sends two: that it began and that it ended.
"""

from alembic import op

revision = "live"
down_revision = "reads"
branch_labels = None
depends_on = None

TELL = """
CREATE FUNCTION tell(account uuid, said jsonb) RETURNS void LANGUAGE sql SET search_path = '' AS $$
    SELECT pg_notify('portfolio_live', (said || jsonb_build_object(
        'user', a.user_id, 'account', a.id, 'seq', h.seq))::text)
    FROM public.broker_accounts a JOIN public.account_heads h ON h.account_id = a.id WHERE a.id = account
$$;
COMMENT ON FUNCTION tell(uuid, jsonb) IS 'tells the web, on commit, that something of this account changed; ids only';

CREATE FUNCTION tell_of_batch() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM public.tell(NEW.account_id, jsonb_build_object('type', 'batch', 'batch', NEW.id, 'status', NEW.status));
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_new AFTER INSERT ON sync_batches
    FOR EACH ROW WHEN (NEW.trigger = 'manual' OR NEW.status <> 'queued') EXECUTE FUNCTION tell_of_batch();
CREATE TRIGGER tell_of_status AFTER UPDATE OF status ON sync_batches
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION tell_of_batch();

CREATE FUNCTION tell_of_account() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM public.tell(NEW.id, jsonb_build_object('type', 'account', 'status', NEW.state));
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_change AFTER UPDATE OF state, label, login, ucc, schedules, late_pass ON broker_accounts
    FOR EACH ROW WHEN ((OLD.state, OLD.label, OLD.login, OLD.ucc, OLD.schedules, OLD.late_pass)
        IS DISTINCT FROM (NEW.state, NEW.label, NEW.login, NEW.ucc, NEW.schedules, NEW.late_pass))
    EXECUTE FUNCTION tell_of_account();

CREATE FUNCTION tell_of_head() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM public.tell(NEW.account_id, '{"type": "account", "status": "new"}');
    ELSIF NOT EXISTS (SELECT FROM public.sync_batches WHERE account_id = NEW.account_id AND status = 'running') THEN
        PERFORM public.tell(NEW.account_id, '{"type": "history"}');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_new AFTER INSERT ON account_heads FOR EACH ROW EXECUTE FUNCTION tell_of_head();
CREATE TRIGGER tell_of_growth AFTER UPDATE OF seq ON account_heads
    FOR EACH ROW WHEN (OLD.seq <> NEW.seq) EXECUTE FUNCTION tell_of_head();
"""


def upgrade() -> None:
    op.get_bind().exec_driver_sql(TELL)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
