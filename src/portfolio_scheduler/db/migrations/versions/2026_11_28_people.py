"""People: how they log in, what they may see of each other, what they asked of their accounts, and who saw what.

`enter_session` and `enter_token` begin every transaction of the API: they check that the login still counts and say
for this transaction only who asks. Row-level security (`db/row_security.py`) goes by what they said.
"""

from alembic import op

revision = "people"
down_revision = "unsettled_batches"
branch_labels = None
depends_on = None

PEOPLE = """
ALTER TABLE users
    ADD COLUMN role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    ADD COLUMN password_hash text,
    ADD COLUMN password_changed_at timestamptz,
    ADD COLUMN failed_logins integer NOT NULL DEFAULT 0,
    ADD COLUMN factor_box bytea,
    ADD COLUMN factor_confirmed_at timestamptz,
    ADD COLUMN factor_step bigint,
    ADD COLUMN disabled_at timestamptz;
COMMENT ON COLUMN users.name IS 'what they log in with';
COMMENT ON COLUMN users.password_hash IS 'Argon2id; null for somebody who cannot log in yet';
COMMENT ON COLUMN users.failed_logins IS 'in a row, since the last one that worked';
COMMENT ON COLUMN users.factor_box IS 'the secret of the second factor, encrypted with the web''s own key';
COMMENT ON COLUMN users.factor_step IS 'the last time step whose code was used: a code works once';

CREATE TABLE sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES users (id),
    begun_at timestamptz NOT NULL,
    authenticated_at timestamptz NOT NULL,
    refreshed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    idle_seconds integer NOT NULL CHECK (idle_seconds > 0),
    remembered boolean NOT NULL,
    second_factor boolean NOT NULL,
    device_digest bytea NOT NULL,
    refresh_digest bytea NOT NULL,
    previous_digest bytea,
    replayed boolean NOT NULL DEFAULT false,
    address text NOT NULL,
    agent text NOT NULL,
    ended_at timestamptz,
    ended_because text
);
COMMENT ON TABLE sessions IS 'people: logins; each is a family of refresh tokens, of which the newest counts';
COMMENT ON COLUMN sessions.authenticated_at IS 'when the password was last given: some acts want it to be recent';
COMMENT ON COLUMN sessions.previous_digest IS 'of the token before: an answer may get lost, so it counts once more for ten seconds';
COMMENT ON COLUMN sessions.replayed IS 'whether the token before has had that once';
CREATE INDEX sessions_by_user ON sessions (user_id, begun_at);

CREATE TABLE api_tokens (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES users (id),
    name text NOT NULL CHECK (name <> '' AND length(name) <= 100),
    digest bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_on date,
    ended_at timestamptz
);
COMMENT ON TABLE api_tokens IS 'people: tokens for programs, shown once and kept as their SHA-256';
CREATE INDEX api_tokens_digest ON api_tokens (digest);
CREATE INDEX api_tokens_by_user ON api_tokens (user_id, created_at);

CREATE TABLE recovery_codes (
    user_id uuid NOT NULL REFERENCES users (id),
    digest bytea NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (user_id, digest)
);
COMMENT ON TABLE recovery_codes IS 'people: codes that stand in for the second factor, once each';

CREATE TABLE invitations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    digest bytea NOT NULL,
    role text NOT NULL CHECK (role IN ('user', 'admin')),
    invited_by uuid REFERENCES users (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    used_by uuid REFERENCES users (id)
);
COMMENT ON TABLE invitations IS 'people: who may register; the first one, by nobody, is the set-up token printed at the start';
CREATE INDEX invitations_digest ON invitations (digest);

CREATE TABLE viewer_grants (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id uuid NOT NULL REFERENCES users (id),
    viewer_id uuid NOT NULL REFERENCES users (id),
    owner_name text NOT NULL,
    viewer_name text NOT NULL,
    granted_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK (owner_id <> viewer_id)
);
COMMENT ON TABLE viewer_grants IS 'people: who may read whose accounts, until when';
COMMENT ON COLUMN viewer_grants.owner_name IS 'as it was; the rows of other users are not shown to either';
CREATE INDEX viewer_grants_by_viewer ON viewer_grants (viewer_id, owner_id);
CREATE INDEX viewer_grants_by_owner ON viewer_grants (owner_id, granted_at);

CREATE TABLE attempts (
    bucket text NOT NULL,
    window_at timestamptz NOT NULL,
    count integer NOT NULL CHECK (count > 0),
    PRIMARY KEY (bucket, window_at)
);
CREATE INDEX attempts_by_time ON attempts (window_at);
COMMENT ON TABLE attempts IS 'people: how often something was tried in a stretch of time, for limits that hold across processes';

CREATE TABLE idempotency_keys (
    user_id uuid NOT NULL REFERENCES users (id),
    key text NOT NULL CHECK (key <> '' AND length(key) <= 200),
    request_digest bytea NOT NULL,
    created_at timestamptz NOT NULL,
    status integer NOT NULL,
    answer jsonb NOT NULL,
    PRIMARY KEY (user_id, key)
);
COMMENT ON TABLE idempotency_keys IS 'people: what a request with that key was answered, so that asking again changes nothing';

CREATE TABLE socket_tickets (
    digest bytea NOT NULL,
    user_id uuid NOT NULL REFERENCES users (id),
    session_id uuid NOT NULL REFERENCES sessions (id),
    expires_at timestamptz NOT NULL,
    open_until timestamptz NOT NULL,
    PRIMARY KEY (user_id, digest)
);
COMMENT ON TABLE socket_tickets IS 'people: what opens one WebSocket within half a minute';
COMMENT ON COLUMN socket_tickets.open_until IS 'when the access token dies that the ticket was bought with, and the socket with it';
CREATE INDEX socket_tickets_digest ON socket_tickets (digest);

CREATE TABLE account_requests (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id uuid NOT NULL REFERENCES users (id),
    account_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('connect', 'change', 'test', 'token', 'close')),
    parameters jsonb NOT NULL DEFAULT '{}',
    sealed_credentials bytea,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'done', 'refused', 'failed', 'withdrawn')),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    beat_at timestamptz,
    error_class text,
    reason text,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK ((ended_at IS NULL) = (status IN ('queued', 'running'))),
    CHECK (ended_at IS NULL OR sealed_credentials IS NULL)
);
COMMENT ON TABLE account_requests IS 'control: what an owner asks of an account through the API and a worker does; secrets go when it ends';
COMMENT ON COLUMN account_requests.account_id IS 'of an account to be connected: the id it will have';
COMMENT ON COLUMN account_requests.asked_at IS 'by the database''s own clock, as leases are: after a minute nobody acts on it any more';
COMMENT ON COLUMN account_requests.beat_at IS 'last sign of life of the worker that is at it, by the same clock';
CREATE INDEX account_requests_by_user ON account_requests (user_id, created_at);
CREATE INDEX account_requests_open ON account_requests (created_at) WHERE status IN ('queued', 'running');

CREATE TABLE access_log (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    at timestamptz NOT NULL,
    kind text NOT NULL,
    actor_id uuid,
    subject_id uuid,
    account_id uuid,
    address text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE access_log IS 'log: logins, changes of access, and who saw whose figures; only added to';
COMMENT ON COLUMN access_log.actor_id IS 'who did it; null before a login';
COMMENT ON COLUMN access_log.subject_id IS 'whose login or figures it was';
CREATE INDEX access_log_by_subject ON access_log (subject_id, at);
CREATE INDEX access_log_by_actor ON access_log (actor_id, at);
CREATE INDEX access_log_by_time ON access_log (at);
SELECT guard_fact('access_log');

CREATE INDEX broker_accounts_by_user ON broker_accounts (user_id);
"""

# What is said with set_config(…, true) ends with the transaction, whoever uses the connection next.
ENTRY = """
CREATE FUNCTION app_role() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT coalesce(current_setting('app.role', true), '')
$$;
COMMENT ON FUNCTION app_role() IS 'what the login of this transaction may: an admin''s own session only is admin';

CREATE FUNCTION app_user() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT CASE WHEN coalesce(current_setting('app.door', true), '') <> 'subject' OR public.app_role() = 'admin'
        THEN nullif(current_setting('app.user_id', true), '')::uuid END
$$;
COMMENT ON FUNCTION app_user() IS 'whose data this transaction of the API is about; null is nobody';

CREATE FUNCTION app_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT nullif(current_setting('app.now', true), '')::timestamptz
$$;
COMMENT ON FUNCTION app_now() IS 'the time this transaction of the API goes by';

CREATE FUNCTION app_door() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT CASE WHEN current_setting('app.door', true) <> 'admin' OR public.app_role() = 'admin'
        THEN coalesce(current_setting('app.door', true), '') ELSE '' END
$$;
COMMENT ON FUNCTION app_door() IS 'session while a login is checked, identity for logging in and out, admin for an admin''s lists, subject when an admin looks at another, room while what waits is counted; else empty';

CREATE TYPE viewer AS (
    user_id uuid, name text, role text, session_id uuid, token_id uuid, authenticated_at timestamptz,
    second_factor boolean, scopes text[]
);

CREATE FUNCTION enter_as(who viewer, at timestamptz) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM set_config('app.door', '', true), set_config('app.now', at::text, true),
        set_config('app.user_id', coalesce((who).user_id::text, ''), true),
        set_config('app.role', CASE WHEN (who).session_id IS NULL THEN '' ELSE coalesce((who).role, '') END, true);
END
$$;
COMMENT ON FUNCTION enter_as(viewer, timestamptz) IS 'says for this transaction who asks, and when';

CREATE FUNCTION enter_session(session uuid, at timestamptz) RETURNS viewer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    who public.viewer;
BEGIN
    PERFORM set_config('app.door', 'session', true);
    SELECT u.id, u.name, u.role, s.id, NULL::uuid, s.authenticated_at, s.second_factor, NULL::text[] INTO who
    FROM public.sessions s JOIN public.users u ON u.id = s.user_id
    WHERE s.id = session AND s.ended_at IS NULL AND s.expires_at > at
        AND s.refreshed_at + make_interval(secs => s.idle_seconds) > at AND u.disabled_at IS NULL;
    PERFORM public.enter_as(who, at);
    RETURN who;
END
$$;
COMMENT ON FUNCTION enter_session(uuid, timestamptz) IS 'who a session belongs to, and begins their transaction; all null when it counts no more';

CREATE FUNCTION enter_token(token bytea, at timestamptz) RETURNS viewer LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    who public.viewer;
BEGIN
    PERFORM set_config('app.door', 'session', true);
    SELECT u.id, u.name, u.role, NULL::uuid, t.id, t.created_at, false, t.scopes INTO who
    FROM public.api_tokens t JOIN public.users u ON u.id = t.user_id
    WHERE t.digest = token AND t.ended_at IS NULL AND t.expires_at > at AND u.disabled_at IS NULL;
    PERFORM public.enter_as(who, at);
    UPDATE public.api_tokens SET last_used_on = (at AT TIME ZONE 'Asia/Kolkata')::date
    WHERE id = who.token_id AND last_used_on IS DISTINCT FROM (at AT TIME ZONE 'Asia/Kolkata')::date;
    RETURN who;
END
$$;
COMMENT ON FUNCTION enter_token(bytea, timestamptz) IS 'the same for a token of a program';
"""


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(PEOPLE)
    run(ENTRY)


def downgrade() -> None:
    raise NotImplementedError("migrations go forward only")
