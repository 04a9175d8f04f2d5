-- What all migrations make, with owners and grants. Not run by anything: written by
-- `python -m portfolio_scheduler.db.schema_dump`, and compared with the migrations by a test.
--
-- PostgreSQL database dump
--

\restrict schema


SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: amount; Type: DOMAIN; Schema: public; Owner: portfolio_scheduler
--

CREATE DOMAIN public.amount AS numeric
	CONSTRAINT amount_check CHECK (((VALUE > '-Infinity'::numeric) AND (VALUE < 'Infinity'::numeric)));


ALTER DOMAIN public.amount OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_job_event_type; Type: TYPE; Schema: public; Owner: portfolio_scheduler
--

CREATE TYPE public.procrastinate_job_event_type AS ENUM (
    'deferred',
    'started',
    'deferred_for_retry',
    'failed',
    'succeeded',
    'cancelled',
    'abort_requested',
    'aborted',
    'scheduled',
    'retried'
);


ALTER TYPE public.procrastinate_job_event_type OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_job_status; Type: TYPE; Schema: public; Owner: portfolio_scheduler
--

CREATE TYPE public.procrastinate_job_status AS ENUM (
    'todo',
    'doing',
    'succeeded',
    'failed',
    'cancelled',
    'aborting',
    'aborted'
);


ALTER TYPE public.procrastinate_job_status OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_job_to_defer_v1; Type: TYPE; Schema: public; Owner: portfolio_scheduler
--

CREATE TYPE public.procrastinate_job_to_defer_v1 AS (
	queue_name character varying,
	task_name character varying,
	priority integer,
	lock text,
	queueing_lock text,
	args jsonb,
	scheduled_at timestamp with time zone
);


ALTER TYPE public.procrastinate_job_to_defer_v1 OWNER TO portfolio_scheduler;

--
-- Name: units; Type: DOMAIN; Schema: public; Owner: portfolio_scheduler
--

CREATE DOMAIN public.units AS numeric
	CONSTRAINT units_check CHECK (((VALUE > '-Infinity'::numeric) AND (VALUE < 'Infinity'::numeric)));


ALTER DOMAIN public.units OWNER TO portfolio_scheduler;

--
-- Name: viewer; Type: TYPE; Schema: public; Owner: portfolio_scheduler
--

CREATE TYPE public.viewer AS (
	user_id uuid,
	name text,
	role text,
	session_id uuid,
	token_id uuid,
	authenticated_at timestamp with time zone,
	second_factor boolean,
	scopes text[]
);


ALTER TYPE public.viewer OWNER TO portfolio_scheduler;

--
-- Name: answer_to(uuid, bytea, timestamp with time zone, uuid, text, uuid, text[], text, text[]); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.answer_to(session uuid, token bytea, at timestamp with time zone, subject uuid, scope text, account uuid, known text[], question text, given text[], OUT who public.viewer, OUT version text, OUT document text) RETURNS record
    LANGUAGE plpgsql
    AS $$
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
        SELECT concat_ws('.', a.id, a.state, a.segments, a.label, h.seq, h.fence, b.status, p.writes) INTO found FROM public.broker_accounts a
        CROSS JOIN (SELECT sum(writes) AS writes FROM public.price_writes) p
        LEFT JOIN public.account_heads h ON h.account_id = a.id
        LEFT JOIN LATERAL (SELECT status FROM public.sync_batches WHERE account_id = a.id
            ORDER BY fence DESC, id DESC LIMIT 1) b ON true WHERE a.id = account;
        IF found IS NULL THEN
            said := set_config('app.accounts', '{}', true);
            RETURN;
        END IF;
    ELSE
        said := set_config('app.accounts', public.app_accounts()::text, true);
        SELECT coalesce(string_agg(concat_ws('.', a.id, a.state, a.segments, a.label, h.seq, h.fence, b.status, p.writes), '|' ORDER BY a.id), '') INTO found FROM public.broker_accounts a
        CROSS JOIN (SELECT sum(writes) AS writes FROM public.price_writes) p
        LEFT JOIN public.account_heads h ON h.account_id = a.id
        LEFT JOIN LATERAL (SELECT status FROM public.sync_batches WHERE account_id = a.id
            ORDER BY fence DESC, id DESC LIMIT 1) b ON true
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


ALTER FUNCTION public.answer_to(session uuid, token bytea, at timestamp with time zone, subject uuid, scope text, account uuid, known text[], question text, given text[], OUT who public.viewer, OUT version text, OUT document text) OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION answer_to(session uuid, token bytea, at timestamp with time zone, subject uuid, scope text, account uuid, known text[], question text, given text[], OUT who public.viewer, OUT version text, OUT document text); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.answer_to(session uuid, token bytea, at timestamp with time zone, subject uuid, scope text, account uuid, known text[], question text, given text[], OUT who public.viewer, OUT version text, OUT document text) IS 'who asks, the version of what they ask for, and the answer of a prepared statement unless that version is known';


--
-- Name: app_accounts(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.app_accounts() RETURNS uuid[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$
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


ALTER FUNCTION public.app_accounts() OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION app_accounts(); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.app_accounts() IS 'whose rows this transaction of the API may see: of one''s own accounts and of those that are shared';


--
-- Name: app_role(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.app_role() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN COALESCE(current_setting('app.role'::text, true), ''::text);


ALTER FUNCTION public.app_role() OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION app_role(); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.app_role() IS 'what the login of this transaction may: an admin''s own session only is admin';


--
-- Name: app_door(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.app_door() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN ((current_setting('app.door'::text, true) <> 'admin'::text) OR (public.app_role() = 'admin'::text)) THEN COALESCE(current_setting('app.door'::text, true), ''::text) ELSE ''::text END;


ALTER FUNCTION public.app_door() OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION app_door(); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.app_door() IS 'session while a login is checked, identity for logging in and out, admin for an admin''s lists, subject when an admin looks at another, room while what waits is counted; else empty';


--
-- Name: app_now(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.app_now() RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (NULLIF(current_setting('app.now'::text, true), ''::text))::timestamp with time zone;


ALTER FUNCTION public.app_now() OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION app_now(); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.app_now() IS 'the time this transaction of the API goes by';


--
-- Name: app_owners(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.app_owners() RETURNS uuid[]
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    AS $$
BEGIN
    RETURN ARRAY(
        SELECT g.owner_id FROM public.viewer_grants g
        WHERE g.viewer_id = public.app_user() AND g.ended_at IS NULL AND g.expires_at > public.app_now()
            AND public.app_door() <> 'subject');
END
$$;


ALTER FUNCTION public.app_owners() OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION app_owners(); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.app_owners() IS 'who shares their accounts with whom this transaction of the API is about';


--
-- Name: app_user(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.app_user() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN ((COALESCE(current_setting('app.door'::text, true), ''::text) <> 'subject'::text) OR (public.app_role() = 'admin'::text)) THEN (NULLIF(current_setting('app.user_id'::text, true), ''::text))::uuid ELSE NULL::uuid END;


ALTER FUNCTION public.app_user() OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION app_user(); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.app_user() IS 'whose data this transaction of the API is about; null is nobody';


--
-- Name: count_price_writes(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.count_price_writes() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF EXISTS (SELECT FROM written) THEN
        UPDATE public.price_writes SET writes = writes + 1 WHERE shard = pg_catalog.pg_backend_pid() % 64;
    END IF;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.count_price_writes() OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION count_price_writes(); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.count_price_writes() IS 'after a statement that wrote closing prices';


--
-- Name: enter_as(public.viewer, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.enter_as(who public.viewer, at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    said text;
BEGIN
    said := set_config('app.door', '', true) || set_config('app.now', at::text, true)
        || set_config('app.accounts', '', true)
        || set_config('app.user_id', coalesce((who).user_id::text, ''), true)
        || set_config('app.role', CASE WHEN (who).session_id IS NULL THEN '' ELSE coalesce((who).role, '') END, true);
END
$$;


ALTER FUNCTION public.enter_as(who public.viewer, at timestamp with time zone) OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION enter_as(who public.viewer, at timestamp with time zone); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.enter_as(who public.viewer, at timestamp with time zone) IS 'says for this transaction who asks, and when';


--
-- Name: enter_session(uuid, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.enter_session(session uuid, at timestamp with time zone) RETURNS public.viewer
    LANGUAGE plpgsql
    AS $$
DECLARE
    who public.viewer;
    said text := set_config('app.door', 'session', true);
BEGIN
    SELECT u.id, u.name, u.role, s.id, NULL::uuid, s.authenticated_at, s.second_factor, NULL::text[] INTO who
    FROM public.sessions s JOIN public.users u ON u.id = s.user_id
    WHERE s.id = session AND s.ended_at IS NULL AND s.expires_at > at
        AND s.refreshed_at + make_interval(secs => s.idle_seconds) > at AND u.disabled_at IS NULL;
    said := public.enter_as(who, at);
    RETURN who;
END
$$;


ALTER FUNCTION public.enter_session(session uuid, at timestamp with time zone) OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION enter_session(session uuid, at timestamp with time zone); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.enter_session(session uuid, at timestamp with time zone) IS 'who a session belongs to, and begins their transaction; all null when it counts no more';


--
-- Name: enter_token(bytea, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.enter_token(token bytea, at timestamp with time zone) RETURNS public.viewer
    LANGUAGE plpgsql
    AS $$
DECLARE
    who public.viewer;
    said text := set_config('app.door', 'session', true);
BEGIN
    SELECT u.id, u.name, u.role, NULL::uuid, t.id, t.created_at, false, t.scopes INTO who
    FROM public.api_tokens t JOIN public.users u ON u.id = t.user_id
    WHERE t.digest = token AND t.ended_at IS NULL AND t.expires_at > at AND u.disabled_at IS NULL;
    said := public.enter_as(who, at);
    UPDATE public.api_tokens SET last_used_on = (at AT TIME ZONE 'Asia/Kolkata')::date
    WHERE id = who.token_id AND last_used_on IS DISTINCT FROM (at AT TIME ZONE 'Asia/Kolkata')::date;
    RETURN who;
END
$$;


ALTER FUNCTION public.enter_token(token bytea, at timestamp with time zone) OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION enter_token(token bytea, at timestamp with time zone); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.enter_token(token bytea, at timestamp with time zone) IS 'the same for a token of a program';


--
-- Name: guard_fact(regclass); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.guard_fact(guarded regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER facts_stay_rows BEFORE UPDATE OR DELETE ON %s FOR EACH ROW
        EXECUTE FUNCTION public.refuse_change(%L)', guarded, 'facts are only added to; append a correction');
    EXECUTE format('CREATE TRIGGER facts_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT
        EXECUTE FUNCTION public.refuse_change(%L)', guarded, 'facts are only added to; append a correction');
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER facts_stay_rows', guarded);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER facts_stay', guarded);
END
$$;


ALTER FUNCTION public.guard_fact(guarded regclass) OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION guard_fact(guarded regclass); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.guard_fact(guarded regclass) IS 'refuses UPDATE, DELETE and TRUNCATE on a table to everybody';


--
-- Name: guard_finished_batches(regclass); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.guard_finished_batches(guarded regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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


ALTER FUNCTION public.guard_finished_batches(guarded regclass) OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION guard_finished_batches(guarded regclass); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.guard_finished_batches(guarded regclass) IS 'refuses UPDATE of finished batches, and DELETE and TRUNCATE';


--
-- Name: procrastinate_cancel_job_v1(bigint, boolean, boolean); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_cancel_job_v1(job_id bigint, abort boolean, delete_job boolean) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
BEGIN
    IF delete_job THEN
        DELETE FROM procrastinate_jobs
        WHERE id = job_id AND status = 'todo'
        RETURNING id INTO _job_id;
    END IF;
    IF _job_id IS NULL THEN
        IF abort THEN
            UPDATE procrastinate_jobs
            SET abort_requested = true,
                status = CASE status
                    WHEN 'todo' THEN 'cancelled'::procrastinate_job_status ELSE status
                END
            WHERE id = job_id AND status IN ('todo', 'doing')
            RETURNING id INTO _job_id;
        ELSE
            UPDATE procrastinate_jobs
            SET status = 'cancelled'::procrastinate_job_status
            WHERE id = job_id AND status = 'todo'
            RETURNING id INTO _job_id;
        END IF;
    END IF;
    RETURN _job_id;
END;
$$;


ALTER FUNCTION public.procrastinate_cancel_job_v1(job_id bigint, abort boolean, delete_job boolean) OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_defer_jobs_v1(public.procrastinate_job_to_defer_v1[]); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_defer_jobs_v1(jobs public.procrastinate_job_to_defer_v1[]) RETURNS bigint[]
    LANGUAGE plpgsql
    AS $$
DECLARE
    job_ids bigint[];
BEGIN
    WITH inserted_jobs AS (
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
        SELECT (job).queue_name,
               (job).task_name,
               (job).priority,
               (job).lock,
               (job).queueing_lock,
               (job).args,
               (job).scheduled_at
        FROM unnest(jobs) AS job
        RETURNING id
    )
    SELECT array_agg(id) FROM inserted_jobs INTO job_ids;

    RETURN job_ids;
END;
$$;


ALTER FUNCTION public.procrastinate_defer_jobs_v1(jobs public.procrastinate_job_to_defer_v1[]) OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_defer_periodic_job_v2(character varying, character varying, character varying, character varying, integer, character varying, bigint, jsonb); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_defer_periodic_job_v2(_queue_name character varying, _lock character varying, _queueing_lock character varying, _task_name character varying, _priority integer, _periodic_id character varying, _defer_timestamp bigint, _args jsonb) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
	_job_id bigint;
	_defer_id bigint;
BEGIN
    INSERT
        INTO procrastinate_periodic_defers (task_name, periodic_id, defer_timestamp)
        VALUES (_task_name, _periodic_id, _defer_timestamp)
        ON CONFLICT DO NOTHING
        RETURNING id into _defer_id;

    IF _defer_id IS NULL THEN
        RETURN NULL;
    END IF;

    UPDATE procrastinate_periodic_defers
        SET job_id = (
            SELECT COALESCE((
                SELECT unnest(procrastinate_defer_jobs_v1(
                    ARRAY[
                        ROW(
                            _queue_name,
                            _task_name,
                            _priority,
                            _lock,
                            _queueing_lock,
                            _args,
                            NULL::timestamptz
                        )
                    ]::procrastinate_job_to_defer_v1[]
                ))
            ), NULL)
        )
        WHERE id = _defer_id
        RETURNING job_id INTO _job_id;

    DELETE
        FROM procrastinate_periodic_defers
        USING (
            SELECT id
            FROM procrastinate_periodic_defers
            WHERE procrastinate_periodic_defers.task_name = _task_name
            AND procrastinate_periodic_defers.periodic_id = _periodic_id
            AND procrastinate_periodic_defers.defer_timestamp < _defer_timestamp
            ORDER BY id
            FOR UPDATE
        ) to_delete
        WHERE procrastinate_periodic_defers.id = to_delete.id;

    RETURN _job_id;
END;
$$;


ALTER FUNCTION public.procrastinate_defer_periodic_job_v2(_queue_name character varying, _lock character varying, _queueing_lock character varying, _task_name character varying, _priority integer, _periodic_id character varying, _defer_timestamp bigint, _args jsonb) OWNER TO portfolio_scheduler;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: procrastinate_jobs; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.procrastinate_jobs (
    id bigint NOT NULL,
    queue_name character varying(128) NOT NULL,
    task_name character varying(128) NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    lock text,
    queueing_lock text,
    args jsonb DEFAULT '{}'::jsonb NOT NULL,
    status public.procrastinate_job_status DEFAULT 'todo'::public.procrastinate_job_status NOT NULL,
    scheduled_at timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    abort_requested boolean DEFAULT false NOT NULL,
    worker_id bigint,
    CONSTRAINT check_not_todo_abort_requested CHECK ((NOT ((status = 'todo'::public.procrastinate_job_status) AND (abort_requested = true))))
);


ALTER TABLE public.procrastinate_jobs OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_fetch_job_v2(character varying[], bigint); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_fetch_job_v2(target_queue_names character varying[], p_worker_id bigint) RETURNS public.procrastinate_jobs
    LANGUAGE plpgsql
    AS $$
DECLARE
	found_jobs procrastinate_jobs;
BEGIN
    WITH candidate AS (
        SELECT jobs.*
            FROM procrastinate_jobs AS jobs
            WHERE
                -- reject the job if its lock has earlier or higher priority jobs
                NOT EXISTS (
                    SELECT 1
                        FROM procrastinate_jobs AS other_jobs
                        WHERE
                            jobs.lock IS NOT NULL
                            AND other_jobs.lock = jobs.lock
                            AND (
                                -- job with same lock is already running
                                other_jobs.status = 'doing'
                                OR
                                -- job with same lock is waiting and has higher priority (or same priority but was queued first)
                                (
                                    other_jobs.status = 'todo'
                                    AND (
                                        other_jobs.priority > jobs.priority
                                        OR (
                                        other_jobs.priority = jobs.priority
                                        AND other_jobs.id < jobs.id
                                        )
                                    )
                                )
                            )
                )
                AND jobs.status = 'todo'
                AND (target_queue_names IS NULL OR jobs.queue_name = ANY( target_queue_names ))
                AND (jobs.scheduled_at IS NULL OR jobs.scheduled_at <= now())
            ORDER BY jobs.priority DESC, jobs.id ASC LIMIT 1
            FOR UPDATE OF jobs SKIP LOCKED
    )
    UPDATE procrastinate_jobs
        SET status = 'doing', worker_id = p_worker_id
        FROM candidate
        WHERE procrastinate_jobs.id = candidate.id
        RETURNING procrastinate_jobs.* INTO found_jobs;

 RETURN found_jobs;
END;
$$;


ALTER FUNCTION public.procrastinate_fetch_job_v2(target_queue_names character varying[], p_worker_id bigint) OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_finish_job_v1(bigint, public.procrastinate_job_status, boolean); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_finish_job_v1(job_id bigint, end_status public.procrastinate_job_status, delete_job boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
BEGIN
    IF end_status NOT IN ('succeeded', 'failed', 'aborted') THEN
        RAISE 'End status should be either "succeeded", "failed" or "aborted" (job id: %)', job_id;
    END IF;
    IF delete_job THEN
        DELETE FROM procrastinate_jobs
        WHERE id = job_id AND status IN ('todo', 'doing')
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = end_status,
            abort_requested = false,
            attempts = CASE status
                WHEN 'doing' THEN attempts + 1 ELSE attempts
            END
        WHERE id = job_id AND status IN ('todo', 'doing')
        RETURNING id INTO _job_id;
    END IF;
    IF _job_id IS NULL THEN
        RAISE 'Job was not found or not in "doing" or "todo" status (job id: %)', job_id;
    END IF;
END;
$$;


ALTER FUNCTION public.procrastinate_finish_job_v1(job_id bigint, end_status public.procrastinate_job_status, delete_job boolean) OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_notify_queue_abort_job_v1(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_notify_queue_abort_job_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    payload TEXT;
BEGIN
    SELECT json_build_object('type', 'abort_job_requested', 'job_id', NEW.id)::text INTO payload;
	PERFORM pg_notify('procrastinate_queue_v1#' || NEW.queue_name, payload);
	PERFORM pg_notify('procrastinate_any_queue_v1', payload);
	RETURN NEW;
END;
$$;


ALTER FUNCTION public.procrastinate_notify_queue_abort_job_v1() OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_notify_queue_job_inserted_v1(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_notify_queue_job_inserted_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    payload TEXT;
BEGIN
    SELECT json_build_object('type', 'job_inserted', 'job_id', NEW.id)::text INTO payload;
	PERFORM pg_notify('procrastinate_queue_v1#' || NEW.queue_name, payload);
	PERFORM pg_notify('procrastinate_any_queue_v1', payload);
	RETURN NEW;
END;
$$;


ALTER FUNCTION public.procrastinate_notify_queue_job_inserted_v1() OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_prune_stalled_workers_v1(double precision); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_prune_stalled_workers_v1(seconds_since_heartbeat double precision) RETURNS TABLE(worker_id bigint)
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN QUERY
    DELETE FROM procrastinate_workers
    WHERE last_heartbeat < NOW() - (seconds_since_heartbeat || 'SECOND')::INTERVAL
    RETURNING procrastinate_workers.id;
END;
$$;


ALTER FUNCTION public.procrastinate_prune_stalled_workers_v1(seconds_since_heartbeat double precision) OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_register_worker_v1(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_register_worker_v1() RETURNS TABLE(worker_id bigint)
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN QUERY
    INSERT INTO procrastinate_workers DEFAULT VALUES
    RETURNING procrastinate_workers.id;
END;
$$;


ALTER FUNCTION public.procrastinate_register_worker_v1() OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_retry_job_v1(bigint, timestamp with time zone, integer, character varying, character varying); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_retry_job_v1(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
    _abort_requested boolean;
BEGIN
    SELECT abort_requested FROM procrastinate_jobs
    WHERE id = job_id AND status = 'doing'
    FOR UPDATE
    INTO _abort_requested;
    IF _abort_requested THEN
        UPDATE procrastinate_jobs
        SET status = 'failed'::procrastinate_job_status
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = 'todo'::procrastinate_job_status,
            attempts = attempts + 1,
            scheduled_at = retry_at,
            priority = COALESCE(new_priority, priority),
            queue_name = COALESCE(new_queue_name, queue_name),
            lock = COALESCE(new_lock, lock)
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    END IF;

    IF _job_id IS NULL THEN
        RAISE 'Job was not found or not in "doing" status (job id: %)', job_id;
    END IF;
END;
$$;


ALTER FUNCTION public.procrastinate_retry_job_v1(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_retry_job_v2(bigint, timestamp with time zone, integer, character varying, character varying); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_retry_job_v2(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    _job_id bigint;
    _abort_requested boolean;
    _current_status procrastinate_job_status;
BEGIN
    SELECT status, abort_requested FROM procrastinate_jobs
    WHERE id = job_id AND status IN ('doing', 'failed')
    FOR UPDATE
    INTO _current_status, _abort_requested;
    IF _current_status = 'doing' AND _abort_requested THEN
        UPDATE procrastinate_jobs
        SET status = 'failed'::procrastinate_job_status
        WHERE id = job_id AND status = 'doing'
        RETURNING id INTO _job_id;
    ELSE
        UPDATE procrastinate_jobs
        SET status = 'todo'::procrastinate_job_status,
            attempts = attempts + 1,
            scheduled_at = retry_at,
            priority = COALESCE(new_priority, priority),
            queue_name = COALESCE(new_queue_name, queue_name),
            lock = COALESCE(new_lock, lock)
        WHERE id = job_id AND status IN ('doing', 'failed')
        RETURNING id INTO _job_id;
    END IF;

    IF _job_id IS NULL THEN
        RAISE 'Job was not found or has an invalid status to retry (job id: %)', job_id;
    END IF;

END;
$$;


ALTER FUNCTION public.procrastinate_retry_job_v2(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_trigger_abort_requested_events_procedure_v1(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_trigger_abort_requested_events_procedure_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type)
        VALUES (NEW.id, 'abort_requested'::procrastinate_job_event_type);
    RETURN NEW;
END;
$$;


ALTER FUNCTION public.procrastinate_trigger_abort_requested_events_procedure_v1() OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_trigger_function_scheduled_events_v1(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_trigger_function_scheduled_events_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type, at)
        VALUES (NEW.id, 'scheduled'::procrastinate_job_event_type, NEW.scheduled_at);

	RETURN NEW;
END;
$$;


ALTER FUNCTION public.procrastinate_trigger_function_scheduled_events_v1() OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_trigger_function_status_events_insert_v1(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_trigger_function_status_events_insert_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO procrastinate_events(job_id, type)
        VALUES (NEW.id, 'deferred'::procrastinate_job_event_type);
	RETURN NEW;
END;
$$;


ALTER FUNCTION public.procrastinate_trigger_function_status_events_insert_v1() OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_trigger_function_status_events_update_v1(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_trigger_function_status_events_update_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    WITH t AS (
        SELECT CASE
            WHEN OLD.status = 'todo'::procrastinate_job_status
                AND NEW.status = 'doing'::procrastinate_job_status
                THEN 'started'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'todo'::procrastinate_job_status
                THEN 'deferred_for_retry'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'failed'::procrastinate_job_status
                THEN 'failed'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'succeeded'::procrastinate_job_status
                THEN 'succeeded'::procrastinate_job_event_type
            WHEN OLD.status = 'todo'::procrastinate_job_status
                AND (
                    NEW.status = 'cancelled'::procrastinate_job_status
                    OR NEW.status = 'failed'::procrastinate_job_status
                    OR NEW.status = 'succeeded'::procrastinate_job_status
                )
                THEN 'cancelled'::procrastinate_job_event_type
            WHEN OLD.status = 'doing'::procrastinate_job_status
                AND NEW.status = 'aborted'::procrastinate_job_status
                THEN 'aborted'::procrastinate_job_event_type
            WHEN OLD.status = 'failed'::procrastinate_job_status
                AND NEW.status = 'todo'::procrastinate_job_status
                THEN 'retried'::procrastinate_job_event_type
            ELSE NULL
        END as event_type
    )
    INSERT INTO procrastinate_events(job_id, type)
        SELECT NEW.id, t.event_type
        FROM t
        WHERE t.event_type IS NOT NULL;
	RETURN NEW;
END;
$$;


ALTER FUNCTION public.procrastinate_trigger_function_status_events_update_v1() OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_unlink_periodic_defers_v1(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_unlink_periodic_defers_v1() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE procrastinate_periodic_defers
    SET job_id = NULL
    WHERE job_id = OLD.id;
    RETURN OLD;
END;
$$;


ALTER FUNCTION public.procrastinate_unlink_periodic_defers_v1() OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_unregister_worker_v1(bigint); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_unregister_worker_v1(worker_id bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    DELETE FROM procrastinate_workers
    WHERE id = worker_id;
END;
$$;


ALTER FUNCTION public.procrastinate_unregister_worker_v1(worker_id bigint) OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_update_heartbeat_v1(bigint); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.procrastinate_update_heartbeat_v1(worker_id bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE procrastinate_workers
    SET last_heartbeat = NOW()
    WHERE id = worker_id;
END;
$$;


ALTER FUNCTION public.procrastinate_update_heartbeat_v1(worker_id bigint) OWNER TO portfolio_scheduler;

--
-- Name: refuse_change(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'PS001';
END
$$;


ALTER FUNCTION public.refuse_change() OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION refuse_change(); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.refuse_change() IS 'raises PS001 with the reason given to its trigger';


--
-- Name: tell(uuid, jsonb); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.tell(account uuid, said jsonb) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    SELECT pg_notify('portfolio_live', (said || jsonb_build_object(
        'user', a.user_id, 'account', a.id, 'seq', h.seq))::text)
    FROM public.broker_accounts a JOIN public.account_heads h ON h.account_id = a.id WHERE a.id = account
$$;


ALTER FUNCTION public.tell(account uuid, said jsonb) OWNER TO portfolio_scheduler;

--
-- Name: FUNCTION tell(account uuid, said jsonb); Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON FUNCTION public.tell(account uuid, said jsonb) IS 'tells the web, on commit, that something of this account changed; ids only';


--
-- Name: tell_of_account(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.tell_of_account() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    PERFORM public.tell(NEW.id, jsonb_build_object('type', 'account', 'status', NEW.state));
    RETURN NULL;
END
$$;


ALTER FUNCTION public.tell_of_account() OWNER TO portfolio_scheduler;

--
-- Name: tell_of_batch(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.tell_of_batch() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    PERFORM public.tell(NEW.account_id, jsonb_build_object('type', 'batch', 'batch', NEW.id, 'status', NEW.status));
    RETURN NULL;
END
$$;


ALTER FUNCTION public.tell_of_batch() OWNER TO portfolio_scheduler;

--
-- Name: tell_of_head(); Type: FUNCTION; Schema: public; Owner: portfolio_scheduler
--

CREATE FUNCTION public.tell_of_head() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM public.tell(NEW.account_id, '{"type": "account", "status": "new"}');
    ELSIF NOT EXISTS (SELECT FROM public.sync_batches WHERE account_id = NEW.account_id AND status = 'running') THEN
        PERFORM public.tell(NEW.account_id, '{"type": "history"}');
    END IF;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.tell_of_head() OWNER TO portfolio_scheduler;

--
-- Name: access_log; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.access_log (
    id uuid DEFAULT uuidv7() NOT NULL,
    at timestamp with time zone NOT NULL,
    kind text NOT NULL,
    actor_id uuid,
    subject_id uuid,
    account_id uuid,
    address text NOT NULL,
    details jsonb DEFAULT '{}'::jsonb NOT NULL
);

ALTER TABLE ONLY public.access_log FORCE ROW LEVEL SECURITY;


ALTER TABLE public.access_log OWNER TO portfolio_scheduler;

--
-- Name: TABLE access_log; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.access_log IS 'log: logins, changes of access, and who saw whose figures; only added to';


--
-- Name: COLUMN access_log.actor_id; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.access_log.actor_id IS 'who did it; null before a login';


--
-- Name: COLUMN access_log.subject_id; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.access_log.subject_id IS 'whose login or figures it was';


--
-- Name: account_heads; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.account_heads (
    account_id uuid NOT NULL,
    seq bigint DEFAULT 0 NOT NULL,
    last_leaf bytea,
    fence bigint DEFAULT 0 NOT NULL,
    looked_fence bigint,
    look_at timestamp with time zone,
    CONSTRAINT account_heads_seq_check CHECK ((seq >= 0))
);

ALTER TABLE ONLY public.account_heads FORCE ROW LEVEL SECURITY;


ALTER TABLE public.account_heads OWNER TO portfolio_scheduler;

--
-- Name: TABLE account_heads; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.account_heads IS 'control: per account the last fact''s number and the fence that keeps zombies from writing';


--
-- Name: COLUMN account_heads.looked_fence; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.account_heads.looked_fence IS 'the fence of the newest batch when the planner last looked at how it had ended';


--
-- Name: COLUMN account_heads.look_at; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.account_heads.look_at IS 'when it looks again although the fence is still the same';


--
-- Name: account_requests; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.account_requests (
    id uuid DEFAULT uuidv7() NOT NULL,
    user_id uuid NOT NULL,
    account_id uuid NOT NULL,
    kind text NOT NULL,
    parameters jsonb DEFAULT '{}'::jsonb NOT NULL,
    sealed_credentials bytea,
    status text DEFAULT 'queued'::text NOT NULL,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    beat_at timestamp with time zone,
    error_class text,
    reason text,
    created_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT account_requests_check CHECK (((ended_at IS NULL) = (status = ANY (ARRAY['queued'::text, 'running'::text])))),
    CONSTRAINT account_requests_check1 CHECK (((ended_at IS NULL) OR (sealed_credentials IS NULL))),
    CONSTRAINT account_requests_kind_check CHECK ((kind = ANY (ARRAY['connect'::text, 'change'::text, 'test'::text, 'token'::text, 'close'::text]))),
    CONSTRAINT account_requests_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'refused'::text, 'failed'::text, 'withdrawn'::text])))
);

ALTER TABLE ONLY public.account_requests FORCE ROW LEVEL SECURITY;


ALTER TABLE public.account_requests OWNER TO portfolio_scheduler;

--
-- Name: TABLE account_requests; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.account_requests IS 'control: what an owner asks of an account through the API and a worker does; secrets go when it ends';


--
-- Name: COLUMN account_requests.account_id; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.account_requests.account_id IS 'of an account to be connected: the id it will have';


--
-- Name: COLUMN account_requests.asked_at; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.account_requests.asked_at IS 'by the database''s own clock, as leases are: after a minute nobody acts on it any more';


--
-- Name: COLUMN account_requests.beat_at; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.account_requests.beat_at IS 'last sign of life of the worker that is at it, by the same clock';


--
-- Name: alembic_version; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.alembic_version (
    version_num text NOT NULL
);


ALTER TABLE public.alembic_version OWNER TO portfolio_scheduler;

--
-- Name: api_tokens; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.api_tokens (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    digest bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    last_used_on date,
    ended_at timestamp with time zone,
    CONSTRAINT api_tokens_name_check CHECK (((name <> ''::text) AND (length(name) <= 100)))
);

ALTER TABLE ONLY public.api_tokens FORCE ROW LEVEL SECURITY;


ALTER TABLE public.api_tokens OWNER TO portfolio_scheduler;

--
-- Name: TABLE api_tokens; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.api_tokens IS 'people: tokens for programs, shown once and kept as their SHA-256';


--
-- Name: attempts; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.attempts (
    bucket text NOT NULL,
    window_at timestamp with time zone NOT NULL,
    count integer NOT NULL,
    CONSTRAINT attempts_count_check CHECK ((count > 0))
);

ALTER TABLE ONLY public.attempts FORCE ROW LEVEL SECURITY;


ALTER TABLE public.attempts OWNER TO portfolio_scheduler;

--
-- Name: TABLE attempts; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.attempts IS 'people: how often something was tried in a stretch of time, for limits that hold across processes';


--
-- Name: broker_accounts; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.broker_accounts (
    id uuid DEFAULT uuidv7() NOT NULL,
    user_id uuid NOT NULL,
    broker text NOT NULL,
    broker_account_id text,
    ucc text,
    label text NOT NULL,
    login text NOT NULL,
    segments text[] DEFAULT '{}'::text[] NOT NULL,
    sealed_credentials bytea,
    sealed_token bytea,
    token_expires_at timestamp with time zone,
    schedules jsonb DEFAULT '[{"cron": "0 16 * * 1-5", "timezone": "Asia/Kolkata"}]'::jsonb NOT NULL,
    state text DEFAULT 'active'::text NOT NULL,
    planned_through timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    late_pass boolean DEFAULT true NOT NULL,
    resume_at timestamp with time zone,
    credentials_number integer DEFAULT 1 NOT NULL,
    credentials_fingerprint text,
    credentials_at timestamp with time zone,
    CONSTRAINT broker_accounts_check CHECK (((sealed_credentials IS NOT NULL) OR (state = 'closed'::text))),
    CONSTRAINT broker_accounts_credentials_fingerprint_check CHECK ((credentials_fingerprint ~ '^[0-9a-f]{8}$'::text)),
    CONSTRAINT broker_accounts_credentials_number_check CHECK ((credentials_number > 0)),
    CONSTRAINT broker_accounts_label_check CHECK (((label <> ''::text) AND (length(label) <= 100))),
    CONSTRAINT broker_accounts_login_check CHECK ((login = ANY (ARRAY['totp'::text, 'approval'::text, 'token'::text]))),
    CONSTRAINT broker_accounts_state_check CHECK ((state = ANY (ARRAY['active'::text, 'paused'::text, 'needs_login'::text, 'closed'::text])))
);

ALTER TABLE ONLY public.broker_accounts FORCE ROW LEVEL SECURITY;


ALTER TABLE public.broker_accounts OWNER TO portfolio_scheduler;

--
-- Name: TABLE broker_accounts; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.broker_accounts IS 'control: accounts at brokers, with sealed credentials and token';


--
-- Name: COLUMN broker_accounts.ucc; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.broker_accounts.ucc IS 'the broker''s client code; set by the first sync and never another';


--
-- Name: COLUMN broker_accounts.planned_through; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.broker_accounts.planned_through IS 'every slot due until then has its batch';


--
-- Name: COLUMN broker_accounts.late_pass; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.broker_accounts.late_pass IS 'whether it is read late in the evening, besides its schedules';


--
-- Name: COLUMN broker_accounts.resume_at; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.broker_accounts.resume_at IS 'until then the broker wants the account left alone (Retry-After); null when it does not';


--
-- Name: COLUMN broker_accounts.credentials_number; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.broker_accounts.credentials_number IS 'how many credentials the account has had; bound into the sealed ones';


--
-- Name: COLUMN broker_accounts.credentials_fingerprint; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.broker_accounts.credentials_fingerprint IS 'tells two credentials apart, and nothing else; null for those from before there were fingerprints';


--
-- Name: COLUMN broker_accounts.credentials_at; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.broker_accounts.credentials_at IS 'since when the account has these';


--
-- Name: broker_payloads; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.broker_payloads (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    batch_id uuid NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    payload_digest bytea NOT NULL,
    corrects_seq bigint,
    call text NOT NULL,
    size integer NOT NULL,
    body bytea NOT NULL,
    CONSTRAINT broker_payloads_check CHECK ((corrects_seq < seq)),
    CONSTRAINT broker_payloads_payload_digest_check CHECK ((length(payload_digest) = 32)),
    CONSTRAINT broker_payloads_seq_check CHECK ((seq > 0)),
    CONSTRAINT broker_payloads_size_check CHECK ((size >= 0))
);
ALTER TABLE ONLY public.broker_payloads ALTER COLUMN body SET STORAGE EXTERNAL;

ALTER TABLE ONLY public.broker_payloads FORCE ROW LEVEL SECURITY;


ALTER TABLE public.broker_payloads OWNER TO portfolio_scheduler;

--
-- Name: TABLE broker_payloads; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.broker_payloads IS 'fact: raw answers of brokers, by the SHA-256 of their bytes, compressed (zlib)';


--
-- Name: closing_prices; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.closing_prices (
    instrument_key text NOT NULL,
    priced_on date NOT NULL,
    source text NOT NULL,
    price public.amount NOT NULL,
    priced_at timestamp with time zone NOT NULL,
    exchange text NOT NULL,
    segment text NOT NULL,
    trading_symbol text NOT NULL,
    CONSTRAINT closing_prices_price_check CHECK (((price)::numeric > (0)::numeric))
);


ALTER TABLE public.closing_prices OWNER TO portfolio_scheduler;

--
-- Name: TABLE closing_prices; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.closing_prices IS 'reference: one price per instrument, trading day and source; the key is the ISIN, or EXCHANGE:SYMBOL';


--
-- Name: corporate_actions; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.corporate_actions (
    isin text NOT NULL,
    effective_on date NOT NULL,
    kind text NOT NULL,
    new_isin text NOT NULL,
    new_units public.units NOT NULL,
    old_units public.units NOT NULL,
    source text NOT NULL,
    noted_at timestamp with time zone NOT NULL,
    CONSTRAINT corporate_actions_check CHECK (((kind = 'bonus'::text) = (isin = new_isin))),
    CONSTRAINT corporate_actions_kind_check CHECK ((kind = ANY (ARRAY['split'::text, 'bonus'::text, 'merger'::text, 'demerger'::text, 'rename'::text]))),
    CONSTRAINT corporate_actions_new_units_check CHECK (((new_units)::numeric > (0)::numeric)),
    CONSTRAINT corporate_actions_old_units_check CHECK (((old_units)::numeric > (0)::numeric))
);


ALTER TABLE public.corporate_actions OWNER TO portfolio_scheduler;

--
-- Name: TABLE corporate_actions; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.corporate_actions IS 'reference: what turned units of one ISIN into units of another; old_units held became new_units';


--
-- Name: COLUMN corporate_actions.effective_on; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.corporate_actions.effective_on IS 'the ex-date: prices are new from this session on';


--
-- Name: rereadings; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.rereadings (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    batch_id uuid NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    payload_digest bytea,
    corrects_seq bigint,
    trading_on date NOT NULL,
    status text NOT NULL,
    sections jsonb NOT NULL,
    flags jsonb NOT NULL,
    margin jsonb,
    reason text NOT NULL,
    CONSTRAINT rereadings_check CHECK ((corrects_seq < seq)),
    CONSTRAINT rereadings_seq_check CHECK ((seq > 0)),
    CONSTRAINT rereadings_status_check CHECK ((status = ANY (ARRAY['completed'::text, 'partial'::text, 'failed'::text])))
);

ALTER TABLE ONLY public.rereadings FORCE ROW LEVEL SECURITY;


ALTER TABLE public.rereadings OWNER TO portfolio_scheduler;

--
-- Name: TABLE rereadings; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.rereadings IS 'fact: what a finished batch read, as its raw answers are understood by a replay; the newest counts';


--
-- Name: sync_batches; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.sync_batches (
    id uuid DEFAULT uuidv7() NOT NULL,
    account_id uuid NOT NULL,
    trigger text NOT NULL,
    slot_at timestamp with time zone,
    wanted text[],
    status text NOT NULL,
    fence bigint DEFAULT 0 NOT NULL,
    worker text,
    queued_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    heartbeat_at timestamp with time zone,
    finished_at timestamp with time zone,
    observed_at timestamp with time zone,
    trading_on date,
    standing text,
    sections jsonb DEFAULT '{}'::jsonb NOT NULL,
    counts jsonb DEFAULT '{}'::jsonb NOT NULL,
    flags jsonb DEFAULT '[]'::jsonb NOT NULL,
    margin jsonb,
    error_class text,
    error_text text,
    reading bytea,
    fingerprint bytea,
    last_seq bigint,
    CONSTRAINT sync_batches_check CHECK (((finished_at IS NULL) = (status = ANY (ARRAY['queued'::text, 'running'::text])))),
    CONSTRAINT sync_batches_standing_check CHECK ((standing = ANY (ARRAY['provisional'::text, 'final'::text, 'late'::text]))),
    CONSTRAINT sync_batches_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'running'::text, 'completed'::text, 'partial'::text, 'failed'::text]))),
    CONSTRAINT sync_batches_trigger_check CHECK ((trigger = ANY (ARRAY['scheduled'::text, 'manual'::text, 'catch-up'::text, 'retry'::text, 'replay'::text])))
);

ALTER TABLE ONLY public.sync_batches FORCE ROW LEVEL SECURITY;


ALTER TABLE public.sync_batches OWNER TO portfolio_scheduler;

--
-- Name: TABLE sync_batches; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.sync_batches IS 'control: one attempt to sync an account; frozen once finished';


--
-- Name: COLUMN sync_batches.wanted; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.sync_batches.wanted IS 'the sections to fetch; null for all';


--
-- Name: COLUMN sync_batches.heartbeat_at; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.sync_batches.heartbeat_at IS 'by the database''s own clock, as leases are';


--
-- Name: COLUMN sync_batches.standing; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.sync_batches.standing IS 'observed before the close (provisional), after it (final), or on a later date (late)';


--
-- Name: COLUMN sync_batches.reading; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.sync_batches.reading IS 'zlib of JSON: the raw answers in their order (call, section, request, status, payload: its seq, fetched_at), and the outcome of each section when it was fetched';


--
-- Name: COLUMN sync_batches.fingerprint; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.sync_batches.fingerprint IS 'SHA-256 of what the answers to the first questions said: the same again is the same statement';


--
-- Name: COLUMN sync_batches.last_seq; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.sync_batches.last_seq IS 'the number of the account''s last fact when this batch ended: all that was known then';


--
-- Name: effective_batches; Type: VIEW; Schema: public; Owner: portfolio_scheduler
--

CREATE VIEW public.effective_batches WITH (security_invoker='true') AS
 SELECT b.id,
    b.account_id,
    b.trigger,
    b.slot_at,
    b.wanted,
    COALESCE(r.status, b.status) AS status,
    b.fence,
    b.queued_at,
    b.started_at,
    b.finished_at,
    b.observed_at,
    b.trading_on,
    b.standing,
    COALESCE(r.sections, b.sections) AS sections,
    b.counts,
    COALESCE(r.flags, b.flags) AS flags,
        CASE
            WHEN (r.seq IS NULL) THEN b.margin
            ELSE r.margin
        END AS margin,
        CASE
            WHEN (r.seq IS NULL) THEN b.error_class
            ELSE NULL::text
        END AS error_class,
        CASE
            WHEN (r.seq IS NULL) THEN b.error_text
            ELSE NULL::text
        END AS error_text
   FROM (public.sync_batches b
     LEFT JOIN LATERAL ( SELECT r_1.seq,
            r_1.status,
            r_1.sections,
            r_1.flags,
            r_1.margin
           FROM public.rereadings r_1
          WHERE ((r_1.account_id = b.account_id) AND (r_1.batch_id = b.id))
          ORDER BY r_1.seq DESC
         LIMIT 1) r ON (true))
  WHERE (b.trigger <> 'replay'::text);


ALTER VIEW public.effective_batches OWNER TO portfolio_scheduler;

--
-- Name: VIEW effective_batches; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON VIEW public.effective_batches IS 'view: the attempts to sync, each with what it read as it is understood now';


--
-- Name: ledger_events; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.ledger_events (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    batch_id uuid,
    observed_at timestamp with time zone NOT NULL,
    payload_digest bytea,
    corrects_seq bigint,
    trading_on date NOT NULL,
    kind text NOT NULL,
    section text NOT NULL,
    subject text NOT NULL,
    details jsonb NOT NULL,
    CONSTRAINT ledger_events_batch CHECK (((batch_id IS NOT NULL) OR (kind = 'CONFIG'::text))),
    CONSTRAINT ledger_events_check CHECK ((corrects_seq < seq)),
    CONSTRAINT ledger_events_corrects CHECK (((kind <> 'CORRECTION'::text) OR (corrects_seq IS NOT NULL))),
    CONSTRAINT ledger_events_kind_check CHECK ((kind = ANY (ARRAY['GAP'::text, 'RECOVERED'::text, 'MISSING'::text, 'DISCREPANCY'::text, 'SUSPECT'::text, 'QUARANTINED'::text, 'ANNULLED'::text, 'CORRECTION'::text, 'CONFIG'::text, 'CLEARED'::text]))),
    CONSTRAINT ledger_events_seq_check CHECK ((seq > 0))
);

ALTER TABLE ONLY public.ledger_events FORCE ROW LEVEL SECURITY;


ALTER TABLE public.ledger_events OWNER TO portfolio_scheduler;

--
-- Name: TABLE ledger_events; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.ledger_events IS 'fact: what is missing, odd or was set right, in words';


--
-- Name: COLUMN ledger_events.batch_id; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.ledger_events.batch_id IS 'the sync that found it; null for CONFIG, which the owner did';


--
-- Name: effective_ledger_events; Type: VIEW; Schema: public; Owner: portfolio_scheduler
--

CREATE VIEW public.effective_ledger_events WITH (security_invoker='true') AS
 SELECT account_id,
    seq,
    batch_id,
    observed_at,
    payload_digest,
    corrects_seq,
    trading_on,
    kind,
    section,
    subject,
    details
   FROM public.ledger_events f
  WHERE ((kind <> 'CORRECTION'::text) AND (NOT (EXISTS ( SELECT
           FROM public.ledger_events c
          WHERE ((c.account_id = f.account_id) AND (c.corrects_seq = f.seq) AND (c.kind = 'CORRECTION'::text))))));


ALTER VIEW public.effective_ledger_events OWNER TO portfolio_scheduler;

--
-- Name: VIEW effective_ledger_events; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON VIEW public.effective_ledger_events IS 'view: the facts of ledger_events that no correction names';


--
-- Name: portfolio_snapshots; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.portfolio_snapshots (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    batch_id uuid NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    payload_digest bytea,
    corrects_seq bigint,
    trading_on date NOT NULL,
    revision integer NOT NULL,
    reason text NOT NULL,
    holdings_value public.amount,
    invested public.amount,
    unrealised_pnl public.amount,
    positions_pnl public.amount,
    cash public.amount,
    margin_used public.amount,
    holdings_count integer NOT NULL,
    positions_count integer NOT NULL,
    orders_count integer NOT NULL,
    fills_count integer NOT NULL,
    priced_ratio public.amount NOT NULL,
    oldest_price_on date,
    previous_on date,
    previous_value public.amount,
    day_change public.amount,
    market_move public.amount,
    net_invested public.amount,
    transferred public.amount,
    unexplained public.amount,
    day_change_reason text,
    lines jsonb NOT NULL,
    details jsonb NOT NULL,
    CONSTRAINT portfolio_snapshots_check CHECK ((corrects_seq < seq)),
    CONSTRAINT portfolio_snapshots_check1 CHECK (((day_change IS NULL) OR COALESCE(((day_change)::numeric = ((((market_move)::numeric + (net_invested)::numeric) + (transferred)::numeric) + (unexplained)::numeric)), false))),
    CONSTRAINT portfolio_snapshots_check2 CHECK (((day_change IS NULL) OR COALESCE(((day_change)::numeric = ((holdings_value)::numeric - (previous_value)::numeric)), false))),
    CONSTRAINT portfolio_snapshots_check3 CHECK (((day_change IS NULL) = (day_change_reason IS NOT NULL))),
    CONSTRAINT portfolio_snapshots_priced_ratio_check CHECK ((((priced_ratio)::numeric >= (0)::numeric) AND ((priced_ratio)::numeric <= (1)::numeric))),
    CONSTRAINT portfolio_snapshots_revision_check CHECK ((revision > 0)),
    CONSTRAINT portfolio_snapshots_seq_check CHECK ((seq > 0))
);

ALTER TABLE ONLY public.portfolio_snapshots FORCE ROW LEVEL SECURITY;


ALTER TABLE public.portfolio_snapshots OWNER TO portfolio_scheduler;

--
-- Name: TABLE portfolio_snapshots; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.portfolio_snapshots IS 'fact: the valued portfolio of a trading day, by revision; a correction is a new revision';


--
-- Name: COLUMN portfolio_snapshots.holdings_value; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.portfolio_snapshots.holdings_value IS 'of the lines that have a price; null when something is held and nothing has one';


--
-- Name: COLUMN portfolio_snapshots.priced_ratio; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.portfolio_snapshots.priced_ratio IS 'share of the holdings lines that have a price';


--
-- Name: COLUMN portfolio_snapshots.lines; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.portfolio_snapshots.lines IS 'per holding: isin, symbol, effective quantity, average price, price, its date and source';


--
-- Name: coverage; Type: VIEW; Schema: public; Owner: portfolio_scheduler
--

CREATE VIEW public.coverage WITH (security_invoker='true') AS
 SELECT best.account_id,
    best.trading_on,
    best.section,
    best.state,
    best.batch_id
   FROM ( SELECT DISTINCT ON (b.account_id, b.trading_on, s.key) b.account_id,
            b.trading_on,
            s.key AS section,
            b.id AS batch_id,
                CASE
                    WHEN ((s.value ->> 'outcome'::text) <> ALL (ARRAY['ok'::text, 'not_entitled'::text])) THEN 'partial'::text
                    WHEN ((s.key = 'prices'::text) AND ((s.value ->> 'outcome'::text) = 'not_entitled'::text) AND (EXISTS ( SELECT
                       FROM public.portfolio_snapshots p
                      WHERE ((p.account_id = b.account_id) AND (p.trading_on = b.trading_on) AND ((p.priced_ratio)::numeric > (0)::numeric))))) THEN 'imported'::text
                    WHEN (b.standing = 'final'::text) THEN 'complete'::text
                    WHEN (b.standing = 'late'::text) THEN 'late'::text
                    ELSE 'provisional'::text
                END AS state
           FROM public.effective_batches b,
            LATERAL jsonb_each(b.sections) s(key, value)
          WHERE ((b.status = ANY (ARRAY['completed'::text, 'partial'::text, 'failed'::text])) AND (b.trading_on IS NOT NULL))
          ORDER BY b.account_id, b.trading_on, s.key,
                CASE
                    WHEN ((s.value ->> 'outcome'::text) = ANY (ARRAY['ok'::text, 'not_entitled'::text])) THEN 0
                    ELSE 1
                END,
                CASE b.standing
                    WHEN 'final'::text THEN 0
                    WHEN 'late'::text THEN 1
                    ELSE 2
                END, b.fence DESC NULLS LAST, b.id DESC) best
  WHERE (NOT (starts_with(best.section, 'orders:'::text) AND (best.state = ANY (ARRAY['late'::text, 'partial'::text])) AND (( SELECT g.seq
           FROM public.effective_ledger_events g
          WHERE ((g.account_id = best.account_id) AND (g.kind = 'GAP'::text) AND (g.section = 'orders'::text) AND (g.trading_on = best.trading_on))
         LIMIT 1) IS NOT NULL)))
UNION ALL
 SELECT e.account_id,
    e.trading_on,
    e.section,
    'lost'::text AS state,
    e.batch_id
   FROM public.effective_ledger_events e
  WHERE ((e.kind = 'GAP'::text) AND (e.section = 'orders'::text) AND (NOT (EXISTS ( SELECT
           FROM public.effective_batches b,
            LATERAL jsonb_each(b.sections) s(key, value)
          WHERE ((b.account_id = e.account_id) AND (b.trading_on = e.trading_on) AND (b.standing = ANY (ARRAY['provisional'::text, 'final'::text])) AND starts_with(s.key, 'orders:'::text) AND ((s.value ->> 'outcome'::text) = ANY (ARRAY['ok'::text, 'not_entitled'::text])))))));


ALTER VIEW public.coverage OWNER TO portfolio_scheduler;

--
-- Name: VIEW coverage; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON VIEW public.coverage IS 'view: account, trading day, section: complete, provisional, partial, late, lost, imported';


--
-- Name: current_orders; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.current_orders (
    account_id uuid NOT NULL,
    broker_order_id text NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    listed_on date NOT NULL,
    segment text NOT NULL,
    exchange text NOT NULL,
    trading_symbol text NOT NULL,
    product text NOT NULL,
    side text NOT NULL,
    order_type text NOT NULL,
    validity text,
    status text NOT NULL,
    amo_status text,
    quantity public.units NOT NULL,
    filled_quantity public.units NOT NULL,
    remaining_quantity public.units,
    deliverable_quantity public.units,
    price public.amount,
    trigger_price public.amount,
    average_fill_price public.amount,
    remark text,
    order_reference_id text,
    created_at timestamp with time zone,
    exchange_at timestamp with time zone,
    trade_on date,
    created_raw text,
    exchange_raw text,
    trade_raw text,
    flags text[] NOT NULL,
    fills_quantity public.units NOT NULL,
    fills_value public.amount NOT NULL,
    regressed_status text,
    regressed_filled public.units,
    open_quantity public.units GENERATED ALWAYS AS (
CASE
    WHEN (status = ANY (ARRAY['EXECUTED'::text, 'DELIVERY_AWAITED'::text, 'COMPLETED'::text, 'CANCELLED'::text, 'REJECTED'::text, 'FAILED'::text])) THEN (0)::numeric
    ELSE ((quantity)::numeric - (filled_quantity)::numeric)
END) STORED,
    filled_value public.amount GENERATED ALWAYS AS (((filled_quantity)::numeric * (average_fill_price)::numeric)) STORED
);

ALTER TABLE ONLY public.current_orders FORCE ROW LEVEL SECURITY;


ALTER TABLE public.current_orders OWNER TO portfolio_scheduler;

--
-- Name: TABLE current_orders; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.current_orders IS 'derived: each order as last known, at its high-water mark';


--
-- Name: holding_changes; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.holding_changes (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    batch_id uuid NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    payload_digest bytea,
    corrects_seq bigint,
    trading_on date NOT NULL,
    isin text NOT NULL,
    trading_symbol text NOT NULL,
    quantity public.units NOT NULL,
    average_price public.amount,
    t1_quantity public.units NOT NULL,
    demat_free_quantity public.units NOT NULL,
    demat_locked_quantity public.units NOT NULL,
    broker_locked_quantity public.units NOT NULL,
    pledge_quantity public.units NOT NULL,
    repledge_quantity public.units NOT NULL,
    corporate_action_quantity public.units NOT NULL,
    transfer_quantity public.units NOT NULL,
    exchanges text[] NOT NULL,
    quantity_before public.units NOT NULL,
    average_price_before public.amount,
    explanation text NOT NULL,
    details jsonb NOT NULL,
    CONSTRAINT holding_changes_check CHECK ((corrects_seq < seq)),
    CONSTRAINT holding_changes_explanation_check CHECK ((explanation = ANY (ARRAY['first_seen'::text, 'traded'::text, 'settled'::text, 'pledged'::text, 'locked'::text, 'transferred'::text, 'corporate_action'::text, 'repriced'::text, 'renamed'::text, 'unexplained'::text]))),
    CONSTRAINT holding_changes_seq_check CHECK ((seq > 0))
);

ALTER TABLE ONLY public.holding_changes FORCE ROW LEVEL SECURITY;


ALTER TABLE public.holding_changes OWNER TO portfolio_scheduler;

--
-- Name: TABLE holding_changes; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.holding_changes IS 'fact: each change of a holding: the line after it, what it was before, and why';


--
-- Name: effective_holding_changes; Type: VIEW; Schema: public; Owner: portfolio_scheduler
--

CREATE VIEW public.effective_holding_changes WITH (security_invoker='true') AS
 SELECT account_id,
    seq,
    batch_id,
    observed_at,
    payload_digest,
    corrects_seq,
    trading_on,
    isin,
    trading_symbol,
    quantity,
    average_price,
    t1_quantity,
    demat_free_quantity,
    demat_locked_quantity,
    broker_locked_quantity,
    pledge_quantity,
    repledge_quantity,
    corporate_action_quantity,
    transfer_quantity,
    exchanges,
    quantity_before,
    average_price_before,
    explanation,
    details
   FROM public.holding_changes f
  WHERE (NOT (EXISTS ( SELECT
           FROM public.ledger_events c
          WHERE ((c.account_id = f.account_id) AND (c.corrects_seq = f.seq) AND (c.kind = 'CORRECTION'::text)))));


ALTER VIEW public.effective_holding_changes OWNER TO portfolio_scheduler;

--
-- Name: VIEW effective_holding_changes; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON VIEW public.effective_holding_changes IS 'view: the facts of holding_changes that no correction names';


--
-- Name: order_fills; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.order_fills (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    batch_id uuid NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    payload_digest bytea,
    corrects_seq bigint,
    broker_order_id text NOT NULL,
    broker_trade_id text NOT NULL,
    exchange_trade_id text,
    exchange_order_id text,
    segment text NOT NULL,
    exchange text NOT NULL,
    trading_symbol text NOT NULL,
    isin text,
    product text NOT NULL,
    side text NOT NULL,
    quantity public.units NOT NULL,
    price public.amount NOT NULL,
    status text,
    remark text,
    settlement_number text,
    trading_on date NOT NULL,
    traded_at timestamp with time zone,
    traded_raw text,
    synthetic boolean NOT NULL,
    flags text[] NOT NULL,
    CONSTRAINT order_fills_check CHECK ((corrects_seq < seq)),
    CONSTRAINT order_fills_seq_check CHECK ((seq > 0))
);

ALTER TABLE ONLY public.order_fills FORCE ROW LEVEL SECURITY;


ALTER TABLE public.order_fills OWNER TO portfolio_scheduler;

--
-- Name: TABLE order_fills; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.order_fills IS 'fact: executions';


--
-- Name: COLUMN order_fills.synthetic; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.order_fills.synthetic IS 'the broker gave no trade list: the order''s own filled quantity and average price';


--
-- Name: effective_order_fills; Type: VIEW; Schema: public; Owner: portfolio_scheduler
--

CREATE VIEW public.effective_order_fills WITH (security_invoker='true') AS
 SELECT account_id,
    seq,
    batch_id,
    observed_at,
    payload_digest,
    corrects_seq,
    broker_order_id,
    broker_trade_id,
    exchange_trade_id,
    exchange_order_id,
    segment,
    exchange,
    trading_symbol,
    isin,
    product,
    side,
    quantity,
    price,
    status,
    remark,
    settlement_number,
    trading_on,
    traded_at,
    traded_raw,
    synthetic,
    flags
   FROM public.order_fills f
  WHERE (NOT (EXISTS ( SELECT
           FROM public.ledger_events c
          WHERE ((c.account_id = f.account_id) AND (c.corrects_seq = f.seq) AND (c.kind = 'CORRECTION'::text)))));


ALTER VIEW public.effective_order_fills OWNER TO portfolio_scheduler;

--
-- Name: VIEW effective_order_fills; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON VIEW public.effective_order_fills IS 'view: the facts of order_fills that no correction names';


--
-- Name: order_history; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.order_history (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    batch_id uuid NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    payload_digest bytea,
    corrects_seq bigint,
    broker_order_id text NOT NULL,
    listed_on date NOT NULL,
    segment text NOT NULL,
    exchange text NOT NULL,
    trading_symbol text NOT NULL,
    product text NOT NULL,
    side text NOT NULL,
    order_type text NOT NULL,
    validity text,
    status text NOT NULL,
    amo_status text,
    quantity public.units NOT NULL,
    filled_quantity public.units NOT NULL,
    remaining_quantity public.units,
    deliverable_quantity public.units,
    price public.amount,
    trigger_price public.amount,
    average_fill_price public.amount,
    remark text,
    order_reference_id text,
    created_at timestamp with time zone,
    exchange_at timestamp with time zone,
    trade_on date,
    created_raw text,
    exchange_raw text,
    trade_raw text,
    flags text[] NOT NULL,
    CONSTRAINT order_history_broker_order_id_check CHECK ((broker_order_id <> ''::text)),
    CONSTRAINT order_history_check CHECK ((corrects_seq < seq)),
    CONSTRAINT order_history_seq_check CHECK ((seq > 0))
);

ALTER TABLE ONLY public.order_history FORCE ROW LEVEL SECURITY;


ALTER TABLE public.order_history OWNER TO portfolio_scheduler;

--
-- Name: TABLE order_history; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.order_history IS 'fact: each order as first seen, every field the broker sent';


--
-- Name: COLUMN order_history.listed_on; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.order_history.listed_on IS 'the trading day of the list it stood in';


--
-- Name: effective_order_history; Type: VIEW; Schema: public; Owner: portfolio_scheduler
--

CREATE VIEW public.effective_order_history WITH (security_invoker='true') AS
 SELECT account_id,
    seq,
    batch_id,
    observed_at,
    payload_digest,
    corrects_seq,
    broker_order_id,
    listed_on,
    segment,
    exchange,
    trading_symbol,
    product,
    side,
    order_type,
    validity,
    status,
    amo_status,
    quantity,
    filled_quantity,
    remaining_quantity,
    deliverable_quantity,
    price,
    trigger_price,
    average_fill_price,
    remark,
    order_reference_id,
    created_at,
    exchange_at,
    trade_on,
    created_raw,
    exchange_raw,
    trade_raw,
    flags
   FROM public.order_history f
  WHERE (NOT (EXISTS ( SELECT
           FROM public.ledger_events c
          WHERE ((c.account_id = f.account_id) AND (c.corrects_seq = f.seq) AND (c.kind = 'CORRECTION'::text)))));


ALTER VIEW public.effective_order_history OWNER TO portfolio_scheduler;

--
-- Name: VIEW effective_order_history; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON VIEW public.effective_order_history IS 'view: the facts of order_history that no correction names';


--
-- Name: order_quantity_changes; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.order_quantity_changes (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    batch_id uuid NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    payload_digest bytea,
    corrects_seq bigint,
    broker_order_id text NOT NULL,
    change_type text NOT NULL,
    trading_on date NOT NULL,
    segment text NOT NULL,
    exchange text NOT NULL,
    trading_symbol text NOT NULL,
    side text NOT NULL,
    quantity_delta public.units NOT NULL,
    status_before text,
    status_after text NOT NULL,
    quantity_before public.units,
    quantity_after public.units NOT NULL,
    filled_before public.units,
    filled_after public.units NOT NULL,
    price_before public.amount,
    price_after public.amount,
    trigger_price_before public.amount,
    trigger_price_after public.amount,
    average_fill_price_after public.amount,
    details jsonb NOT NULL,
    CONSTRAINT order_quantity_changes_check CHECK ((corrects_seq < seq)),
    CONSTRAINT order_quantity_changes_seq_check CHECK ((seq > 0))
);

ALTER TABLE ONLY public.order_quantity_changes FORCE ROW LEVEL SECURITY;


ALTER TABLE public.order_quantity_changes OWNER TO portfolio_scheduler;

--
-- Name: TABLE order_quantity_changes; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.order_quantity_changes IS 'fact: the trail of each order after its first sight: filled, modified, cancelled, regressed';


--
-- Name: COLUMN order_quantity_changes.quantity_delta; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.order_quantity_changes.quantity_delta IS 'units filled since the last look: + for a buy, - for a sale, else 0';


--
-- Name: COLUMN order_quantity_changes.details; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.order_quantity_changes.details IS 'what else the broker said differently, after the change';


--
-- Name: effective_order_quantity_changes; Type: VIEW; Schema: public; Owner: portfolio_scheduler
--

CREATE VIEW public.effective_order_quantity_changes WITH (security_invoker='true') AS
 SELECT account_id,
    seq,
    batch_id,
    observed_at,
    payload_digest,
    corrects_seq,
    broker_order_id,
    change_type,
    trading_on,
    segment,
    exchange,
    trading_symbol,
    side,
    quantity_delta,
    status_before,
    status_after,
    quantity_before,
    quantity_after,
    filled_before,
    filled_after,
    price_before,
    price_after,
    trigger_price_before,
    trigger_price_after,
    average_fill_price_after,
    details
   FROM public.order_quantity_changes f
  WHERE (NOT (EXISTS ( SELECT
           FROM public.ledger_events c
          WHERE ((c.account_id = f.account_id) AND (c.corrects_seq = f.seq) AND (c.kind = 'CORRECTION'::text)))));


ALTER VIEW public.effective_order_quantity_changes OWNER TO portfolio_scheduler;

--
-- Name: VIEW effective_order_quantity_changes; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON VIEW public.effective_order_quantity_changes IS 'view: the facts of order_quantity_changes that no correction names';


--
-- Name: position_changes; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.position_changes (
    account_id uuid NOT NULL,
    seq bigint NOT NULL,
    batch_id uuid NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    payload_digest bytea,
    corrects_seq bigint,
    trading_on date NOT NULL,
    segment text NOT NULL,
    exchange text NOT NULL,
    trading_symbol text NOT NULL,
    product text NOT NULL,
    isin text,
    quantity public.units NOT NULL,
    credit_quantity public.units NOT NULL,
    credit_price public.amount NOT NULL,
    debit_quantity public.units NOT NULL,
    debit_price public.amount NOT NULL,
    carry_forward_credit_quantity public.units NOT NULL,
    carry_forward_credit_price public.amount NOT NULL,
    carry_forward_debit_quantity public.units NOT NULL,
    carry_forward_debit_price public.amount NOT NULL,
    net_price public.amount,
    net_carry_forward_quantity public.units NOT NULL,
    net_carry_forward_price public.amount,
    realised_pnl public.amount,
    flags text[] NOT NULL,
    quantity_before public.units NOT NULL,
    gone boolean NOT NULL,
    explanation text NOT NULL,
    details jsonb NOT NULL,
    CONSTRAINT position_changes_check CHECK ((corrects_seq < seq)),
    CONSTRAINT position_changes_explanation_check CHECK ((explanation = ANY (ARRAY['first_seen'::text, 'traded'::text, 'carried'::text, 'day_ended'::text, 'revalued'::text, 'unexplained'::text]))),
    CONSTRAINT position_changes_seq_check CHECK ((seq > 0))
);

ALTER TABLE ONLY public.position_changes FORCE ROW LEVEL SECURITY;


ALTER TABLE public.position_changes OWNER TO portfolio_scheduler;

--
-- Name: TABLE position_changes; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.position_changes IS 'fact: each change of a line of the day''s positions';


--
-- Name: effective_position_changes; Type: VIEW; Schema: public; Owner: portfolio_scheduler
--

CREATE VIEW public.effective_position_changes WITH (security_invoker='true') AS
 SELECT account_id,
    seq,
    batch_id,
    observed_at,
    payload_digest,
    corrects_seq,
    trading_on,
    segment,
    exchange,
    trading_symbol,
    product,
    isin,
    quantity,
    credit_quantity,
    credit_price,
    debit_quantity,
    debit_price,
    carry_forward_credit_quantity,
    carry_forward_credit_price,
    carry_forward_debit_quantity,
    carry_forward_debit_price,
    net_price,
    net_carry_forward_quantity,
    net_carry_forward_price,
    realised_pnl,
    flags,
    quantity_before,
    gone,
    explanation,
    details
   FROM public.position_changes f
  WHERE (NOT (EXISTS ( SELECT
           FROM public.ledger_events c
          WHERE ((c.account_id = f.account_id) AND (c.corrects_seq = f.seq) AND (c.kind = 'CORRECTION'::text)))));


ALTER VIEW public.effective_position_changes OWNER TO portfolio_scheduler;

--
-- Name: VIEW effective_position_changes; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON VIEW public.effective_position_changes IS 'view: the facts of position_changes that no correction names';


--
-- Name: real_holdings; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.real_holdings (
    account_id uuid NOT NULL,
    last_seq bigint NOT NULL,
    changed_on date NOT NULL,
    isin text NOT NULL,
    trading_symbol text NOT NULL,
    quantity public.units NOT NULL,
    average_price public.amount,
    t1_quantity public.units NOT NULL,
    demat_free_quantity public.units NOT NULL,
    demat_locked_quantity public.units NOT NULL,
    broker_locked_quantity public.units NOT NULL,
    pledge_quantity public.units NOT NULL,
    repledge_quantity public.units NOT NULL,
    corporate_action_quantity public.units NOT NULL,
    transfer_quantity public.units NOT NULL,
    exchanges text[] NOT NULL,
    locked_quantity public.units GENERATED ALWAYS AS (((((demat_locked_quantity)::numeric + (broker_locked_quantity)::numeric) + (pledge_quantity)::numeric) + (repledge_quantity)::numeric)) STORED,
    invested_value public.amount GENERATED ALWAYS AS (((quantity)::numeric * (average_price)::numeric)) STORED
);

ALTER TABLE ONLY public.real_holdings FORCE ROW LEVEL SECURITY;


ALTER TABLE public.real_holdings OWNER TO portfolio_scheduler;

--
-- Name: TABLE real_holdings; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.real_holdings IS 'derived: the holdings now';


--
-- Name: holding_values; Type: VIEW; Schema: public; Owner: portfolio_scheduler
--

CREATE VIEW public.holding_values WITH (security_invoker='true') AS
 SELECT h.account_id,
    h.last_seq,
    h.changed_on,
    h.isin,
    h.trading_symbol,
    h.quantity,
    h.average_price,
    h.t1_quantity,
    h.demat_free_quantity,
    h.demat_locked_quantity,
    h.broker_locked_quantity,
    h.pledge_quantity,
    h.repledge_quantity,
    h.corporate_action_quantity,
    h.transfer_quantity,
    h.exchanges,
    h.locked_quantity,
    h.invested_value,
    p.price,
    p.priced_on,
    p.priced_at,
    p.source AS price_source,
    ((h.quantity)::numeric * (p.price)::numeric) AS value,
    (((h.quantity)::numeric * (p.price)::numeric) - (h.invested_value)::numeric) AS unrealised_pnl
   FROM (public.real_holdings h
     LEFT JOIN LATERAL ( SELECT c.price,
            c.priced_on,
            c.priced_at,
            c.source
           FROM public.closing_prices c
          WHERE (c.instrument_key = h.isin)
          ORDER BY c.priced_on DESC, c.priced_at DESC, c.source DESC
         LIMIT 1) p ON (true));


ALTER VIEW public.holding_values OWNER TO portfolio_scheduler;

--
-- Name: VIEW holding_values; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON VIEW public.holding_values IS 'view: the holdings now, each with its newest price; no price, no value';


--
-- Name: idempotency_keys; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.idempotency_keys (
    user_id uuid NOT NULL,
    key text NOT NULL,
    request_digest bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    status integer NOT NULL,
    answer jsonb NOT NULL,
    CONSTRAINT idempotency_keys_key_check CHECK (((key <> ''::text) AND (length(key) <= 200)))
);

ALTER TABLE ONLY public.idempotency_keys FORCE ROW LEVEL SECURITY;


ALTER TABLE public.idempotency_keys OWNER TO portfolio_scheduler;

--
-- Name: TABLE idempotency_keys; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.idempotency_keys IS 'people: what a request with that key was answered, so that asking again changes nothing';


--
-- Name: install; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.install (
    only_one boolean DEFAULT true NOT NULL,
    install_id uuid DEFAULT gen_random_uuid() NOT NULL,
    role_prefix text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT install_only_one_check CHECK (only_one),
    CONSTRAINT install_role_prefix_check CHECK (((role_prefix ~ '^[a-z_][a-z0-9_]*$'::text) AND (length(role_prefix) <= 55)))
);


ALTER TABLE public.install OWNER TO portfolio_scheduler;

--
-- Name: TABLE install; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.install IS 'control: this installation''s own row, never changed: its number, and how its roles are called';


--
-- Name: instrument_files; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.instrument_files (
    read_on date NOT NULL,
    source text NOT NULL,
    read_at timestamp with time zone NOT NULL,
    digest bytea NOT NULL,
    listed integer NOT NULL,
    opened integer NOT NULL,
    closed integer NOT NULL,
    relabelled integer NOT NULL
);


ALTER TABLE public.instrument_files OWNER TO portfolio_scheduler;

--
-- Name: TABLE instrument_files; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.instrument_files IS 'reference: the last instruments file taken in on each day, and what it changed';


--
-- Name: instrument_lines; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE UNLOGGED TABLE public.instrument_lines (
    line integer NOT NULL,
    exchange text NOT NULL,
    segment text NOT NULL,
    trading_symbol text NOT NULL,
    isin text,
    name text,
    instrument_type text,
    lot_size public.units,
    tick_size public.amount
);


ALTER TABLE public.instrument_lines OWNER TO portfolio_scheduler;

--
-- Name: TABLE instrument_lines; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.instrument_lines IS 'reference: lines of an instruments file while it is being loaded';


--
-- Name: instrument_loading; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.instrument_loading (
    one boolean DEFAULT true NOT NULL,
    worker text NOT NULL,
    leased_until timestamp with time zone NOT NULL,
    retry_at timestamp with time zone,
    failures integer DEFAULT 0 NOT NULL,
    error_text text,
    CONSTRAINT instrument_loading_failures_check CHECK ((failures >= 0)),
    CONSTRAINT instrument_loading_one_check CHECK (one)
);


ALTER TABLE public.instrument_loading OWNER TO portfolio_scheduler;

--
-- Name: TABLE instrument_loading; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.instrument_loading IS 'control: who takes in the list of instruments (one row, lease by the clock of the database), and why it failed last';


--
-- Name: instruments; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.instruments (
    exchange text NOT NULL,
    segment text NOT NULL,
    trading_symbol text NOT NULL,
    from_on date NOT NULL,
    to_on date,
    isin text,
    name text,
    instrument_type text,
    lot_size public.units,
    tick_size public.amount,
    successor_isin text,
    source text NOT NULL
);


ALTER TABLE public.instruments OWNER TO portfolio_scheduler;

--
-- Name: TABLE instruments; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.instruments IS 'reference: which symbol meant which ISIN, from when to when';


--
-- Name: COLUMN instruments.to_on; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.instruments.to_on IS 'the first day on which it no longer holds; null: it still does';


--
-- Name: COLUMN instruments.successor_isin; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.instruments.successor_isin IS 'the ISIN that a corporate action turned it into';


--
-- Name: invitations; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.invitations (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    digest bytea NOT NULL,
    role text NOT NULL,
    invited_by uuid,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    used_by uuid,
    CONSTRAINT invitations_role_check CHECK ((role = ANY (ARRAY['user'::text, 'admin'::text])))
);

ALTER TABLE ONLY public.invitations FORCE ROW LEVEL SECURITY;


ALTER TABLE public.invitations OWNER TO portfolio_scheduler;

--
-- Name: TABLE invitations; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.invitations IS 'people: who may register; the first one, by nobody, is the set-up token printed at the start';


--
-- Name: login_probes; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.login_probes (
    account_id uuid NOT NULL,
    probe_on date NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    claimed_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    outcome text,
    text text,
    CONSTRAINT login_probes_attempts_check CHECK ((attempts > 0)),
    CONSTRAINT login_probes_check CHECK (((outcome IS NULL) = (ended_at IS NULL))),
    CONSTRAINT login_probes_outcome_check CHECK ((outcome = ANY (ARRAY['ok'::text, 'owner'::text, 'later'::text])))
);

ALTER TABLE ONLY public.login_probes FORCE ROW LEVEL SECURITY;


ALTER TABLE public.login_probes OWNER TO portfolio_scheduler;

--
-- Name: TABLE login_probes; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.login_probes IS 'control: whether an account''s login would work tonight, tried once a day before the close';


--
-- Name: COLUMN login_probes.claimed_at; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.login_probes.claimed_at IS 'by the database''s own clock, as leases are';


--
-- Name: COLUMN login_probes.outcome; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.login_probes.outcome IS 'ok; owner: only the owner can help; later: the broker could not be asked';


--
-- Name: market_days; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.market_days (
    exchange text NOT NULL,
    day_on date NOT NULL,
    kind text NOT NULL,
    opens_at timestamp with time zone,
    closes_at timestamp with time zone,
    note text,
    source text NOT NULL,
    id uuid DEFAULT uuidv7() NOT NULL,
    noted_at timestamp with time zone NOT NULL,
    CONSTRAINT market_days_check CHECK ((((kind = ANY (ARRAY['session'::text, 'special'::text])) = (opens_at IS NOT NULL)) AND ((opens_at IS NULL) = (closes_at IS NULL)))),
    CONSTRAINT market_days_kind_check CHECK ((kind = ANY (ARRAY['session'::text, 'special'::text, 'closed'::text, 'withdrawn'::text, 'known_until'::text]))),
    CONSTRAINT market_days_source_check CHECK ((source <> ''::text))
);


ALTER TABLE public.market_days OWNER TO portfolio_scheduler;

--
-- Name: TABLE market_days; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.market_days IS 'reference: what the exchange announced beyond the regular calendar; of a day the newest counts';


--
-- Name: COLUMN market_days.kind; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.market_days.kind IS 'withdrawn: earlier entries of that day do not count; known_until: the announcements are complete until that day';


--
-- Name: notices; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.notices (
    account_id uuid NOT NULL,
    kind text NOT NULL,
    noticed_on date NOT NULL,
    id uuid DEFAULT uuidv7() NOT NULL,
    noticed_at timestamp with time zone NOT NULL,
    text text NOT NULL,
    link text
);

ALTER TABLE ONLY public.notices FORCE ROW LEVEL SECURITY;


ALTER TABLE public.notices OWNER TO portfolio_scheduler;

--
-- Name: TABLE notices; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.notices IS 'control: what the owner should hear of, once a day at most for each account and kind';


--
-- Name: COLUMN notices.id; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.notices.id IS 'in the order they came: whoever passes them on remembers the last one';


--
-- Name: open_findings; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.open_findings (
    account_id uuid NOT NULL,
    kind text NOT NULL,
    section text NOT NULL,
    subject text NOT NULL,
    last_seq bigint NOT NULL,
    trading_on date NOT NULL,
    observed_at timestamp with time zone NOT NULL,
    details jsonb NOT NULL
);

ALTER TABLE ONLY public.open_findings FORCE ROW LEVEL SECURITY;


ALTER TABLE public.open_findings OWNER TO portfolio_scheduler;

--
-- Name: TABLE open_findings; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.open_findings IS 'derived: events not cleared since: what is missing, suspect or differs now';


--
-- Name: real_positions; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.real_positions (
    account_id uuid NOT NULL,
    last_seq bigint NOT NULL,
    trading_on date NOT NULL,
    segment text NOT NULL,
    exchange text NOT NULL,
    trading_symbol text NOT NULL,
    product text NOT NULL,
    isin text,
    quantity public.units NOT NULL,
    credit_quantity public.units NOT NULL,
    credit_price public.amount NOT NULL,
    debit_quantity public.units NOT NULL,
    debit_price public.amount NOT NULL,
    carry_forward_credit_quantity public.units NOT NULL,
    carry_forward_credit_price public.amount NOT NULL,
    carry_forward_debit_quantity public.units NOT NULL,
    carry_forward_debit_price public.amount NOT NULL,
    net_price public.amount,
    net_carry_forward_quantity public.units NOT NULL,
    net_carry_forward_price public.amount,
    realised_pnl public.amount,
    flags text[] NOT NULL,
    day_quantity public.units GENERATED ALWAYS AS (((credit_quantity)::numeric - (debit_quantity)::numeric)) STORED,
    day_value public.amount GENERATED ALWAYS AS ((((credit_quantity)::numeric * (credit_price)::numeric) - ((debit_quantity)::numeric * (debit_price)::numeric))) STORED,
    net_value public.amount GENERATED ALWAYS AS (((quantity)::numeric * (net_price)::numeric)) STORED
);

ALTER TABLE ONLY public.real_positions FORCE ROW LEVEL SECURITY;


ALTER TABLE public.real_positions OWNER TO portfolio_scheduler;

--
-- Name: TABLE real_positions; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.real_positions IS 'derived: the lines of the last positions statement';


--
-- Name: position_values; Type: VIEW; Schema: public; Owner: portfolio_scheduler
--

CREATE VIEW public.position_values WITH (security_invoker='true') AS
 SELECT p.account_id,
    p.last_seq,
    p.trading_on,
    p.segment,
    p.exchange,
    p.trading_symbol,
    p.product,
    p.isin,
    p.quantity,
    p.credit_quantity,
    p.credit_price,
    p.debit_quantity,
    p.debit_price,
    p.carry_forward_credit_quantity,
    p.carry_forward_credit_price,
    p.carry_forward_debit_quantity,
    p.carry_forward_debit_price,
    p.net_price,
    p.net_carry_forward_quantity,
    p.net_carry_forward_price,
    p.realised_pnl,
    p.flags,
    p.day_quantity,
    p.day_value,
    p.net_value,
    c.price,
    c.priced_on,
    c.priced_at,
    c.source AS price_source,
        CASE
            WHEN ((p.quantity)::numeric = (0)::numeric) THEN (0)::numeric
            ELSE ((p.quantity)::numeric * ((c.price)::numeric - (p.net_price)::numeric))
        END AS unrealised_pnl
   FROM (public.real_positions p
     LEFT JOIN LATERAL ( SELECT c_1.price,
            c_1.priced_on,
            c_1.priced_at,
            c_1.source
           FROM public.closing_prices c_1
          WHERE (c_1.instrument_key =
                CASE
                    WHEN ((p.segment = 'CASH'::text) AND (p.isin IS NOT NULL)) THEN p.isin
                    ELSE ((p.exchange || ':'::text) || p.trading_symbol)
                END)
          ORDER BY c_1.priced_on DESC, c_1.priced_at DESC, c_1.source DESC
         LIMIT 1) c ON (true));


ALTER VIEW public.position_values OWNER TO portfolio_scheduler;

--
-- Name: VIEW position_values; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON VIEW public.position_values IS 'view: the positions now, each with its newest price';


--
-- Name: price_lines; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE UNLOGGED TABLE public.price_lines (
    line integer NOT NULL,
    source text NOT NULL,
    priced_on date NOT NULL,
    isin text,
    exchange text,
    trading_symbol text,
    rank smallint NOT NULL,
    price public.amount NOT NULL
);


ALTER TABLE public.price_lines OWNER TO portfolio_scheduler;

--
-- Name: TABLE price_lines; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.price_lines IS 'reference: lines of a price file while it is being imported';


--
-- Name: price_writes; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.price_writes (
    shard integer NOT NULL,
    writes bigint DEFAULT 0 NOT NULL
);


ALTER TABLE public.price_writes OWNER TO portfolio_scheduler;

--
-- Name: TABLE price_writes; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.price_writes IS 'reference: how often closing prices were written, in parts; their sum moves with every write';


--
-- Name: procrastinate_events; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.procrastinate_events (
    id bigint NOT NULL,
    job_id bigint NOT NULL,
    type public.procrastinate_job_event_type,
    at timestamp with time zone DEFAULT now()
);


ALTER TABLE public.procrastinate_events OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_events_id_seq; Type: SEQUENCE; Schema: public; Owner: portfolio_scheduler
--

CREATE SEQUENCE public.procrastinate_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE public.procrastinate_events_id_seq OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_events_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: portfolio_scheduler
--

ALTER SEQUENCE public.procrastinate_events_id_seq OWNED BY public.procrastinate_events.id;


--
-- Name: procrastinate_jobs_id_seq; Type: SEQUENCE; Schema: public; Owner: portfolio_scheduler
--

CREATE SEQUENCE public.procrastinate_jobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE public.procrastinate_jobs_id_seq OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_jobs_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: portfolio_scheduler
--

ALTER SEQUENCE public.procrastinate_jobs_id_seq OWNED BY public.procrastinate_jobs.id;


--
-- Name: procrastinate_periodic_defers; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.procrastinate_periodic_defers (
    id bigint NOT NULL,
    task_name character varying(128) NOT NULL,
    defer_timestamp bigint,
    job_id bigint,
    periodic_id character varying(128) DEFAULT ''::character varying NOT NULL
);


ALTER TABLE public.procrastinate_periodic_defers OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_periodic_defers_id_seq; Type: SEQUENCE; Schema: public; Owner: portfolio_scheduler
--

CREATE SEQUENCE public.procrastinate_periodic_defers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE public.procrastinate_periodic_defers_id_seq OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_periodic_defers_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: portfolio_scheduler
--

ALTER SEQUENCE public.procrastinate_periodic_defers_id_seq OWNED BY public.procrastinate_periodic_defers.id;


--
-- Name: procrastinate_workers; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.procrastinate_workers (
    id bigint NOT NULL,
    last_heartbeat timestamp with time zone DEFAULT now() NOT NULL
);


ALTER TABLE public.procrastinate_workers OWNER TO portfolio_scheduler;

--
-- Name: procrastinate_workers_id_seq; Type: SEQUENCE; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.procrastinate_workers ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.procrastinate_workers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: recovery_codes; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.recovery_codes (
    user_id uuid NOT NULL,
    digest bytea NOT NULL,
    used_at timestamp with time zone
);

ALTER TABLE ONLY public.recovery_codes FORCE ROW LEVEL SECURITY;


ALTER TABLE public.recovery_codes OWNER TO portfolio_scheduler;

--
-- Name: TABLE recovery_codes; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.recovery_codes IS 'people: codes that stand in for the second factor, once each';


--
-- Name: sessions; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.sessions (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    user_id uuid NOT NULL,
    begun_at timestamp with time zone NOT NULL,
    authenticated_at timestamp with time zone NOT NULL,
    refreshed_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    idle_seconds integer NOT NULL,
    remembered boolean NOT NULL,
    second_factor boolean NOT NULL,
    device_digest bytea NOT NULL,
    refresh_digest bytea NOT NULL,
    previous_digest bytea,
    replayed boolean DEFAULT false NOT NULL,
    address text NOT NULL,
    agent text NOT NULL,
    ended_at timestamp with time zone,
    ended_because text,
    CONSTRAINT sessions_idle_seconds_check CHECK ((idle_seconds > 0))
);

ALTER TABLE ONLY public.sessions FORCE ROW LEVEL SECURITY;


ALTER TABLE public.sessions OWNER TO portfolio_scheduler;

--
-- Name: TABLE sessions; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.sessions IS 'people: logins; each is a family of refresh tokens, of which the newest counts';


--
-- Name: COLUMN sessions.authenticated_at; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.sessions.authenticated_at IS 'when the password was last given: some acts want it to be recent';


--
-- Name: COLUMN sessions.previous_digest; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.sessions.previous_digest IS 'of the token before: an answer may get lost, so it counts once more for ten seconds';


--
-- Name: COLUMN sessions.replayed; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.sessions.replayed IS 'whether the token before has had that once';


--
-- Name: socket_tickets; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.socket_tickets (
    digest bytea NOT NULL,
    user_id uuid NOT NULL,
    session_id uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    open_until timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.socket_tickets FORCE ROW LEVEL SECURITY;


ALTER TABLE public.socket_tickets OWNER TO portfolio_scheduler;

--
-- Name: TABLE socket_tickets; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.socket_tickets IS 'people: what opens one WebSocket within half a minute';


--
-- Name: COLUMN socket_tickets.open_until; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.socket_tickets.open_until IS 'when the access token dies that the ticket was bought with, and the socket with it';


--
-- Name: users; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.users (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    role text DEFAULT 'user'::text NOT NULL,
    password_hash text,
    password_changed_at timestamp with time zone,
    failed_logins integer DEFAULT 0 NOT NULL,
    factor_box bytea,
    factor_confirmed_at timestamp with time zone,
    factor_step bigint,
    disabled_at timestamp with time zone,
    CONSTRAINT users_name_check CHECK (((name <> ''::text) AND (length(name) <= 200))),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['user'::text, 'admin'::text])))
);

ALTER TABLE ONLY public.users FORCE ROW LEVEL SECURITY;


ALTER TABLE public.users OWNER TO portfolio_scheduler;

--
-- Name: TABLE users; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.users IS 'control: people';


--
-- Name: COLUMN users.name; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.users.name IS 'what they log in with';


--
-- Name: COLUMN users.password_hash; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.users.password_hash IS 'Argon2id; null for somebody who cannot log in yet';


--
-- Name: COLUMN users.failed_logins; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.users.failed_logins IS 'in a row, since the last one that worked';


--
-- Name: COLUMN users.factor_box; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.users.factor_box IS 'the secret of the second factor, encrypted with the web''s own key';


--
-- Name: COLUMN users.factor_step; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.users.factor_step IS 'the last time step whose code was used: a code works once';


--
-- Name: viewer_grants; Type: TABLE; Schema: public; Owner: portfolio_scheduler
--

CREATE TABLE public.viewer_grants (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    owner_id uuid NOT NULL,
    viewer_id uuid NOT NULL,
    owner_name text NOT NULL,
    viewer_name text NOT NULL,
    granted_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT viewer_grants_check CHECK ((owner_id <> viewer_id))
);

ALTER TABLE ONLY public.viewer_grants FORCE ROW LEVEL SECURITY;


ALTER TABLE public.viewer_grants OWNER TO portfolio_scheduler;

--
-- Name: TABLE viewer_grants; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON TABLE public.viewer_grants IS 'people: who may read whose accounts, until when';


--
-- Name: COLUMN viewer_grants.owner_name; Type: COMMENT; Schema: public; Owner: portfolio_scheduler
--

COMMENT ON COLUMN public.viewer_grants.owner_name IS 'as it was; the rows of other users are not shown to either';


--
-- Name: procrastinate_events id; Type: DEFAULT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_events ALTER COLUMN id SET DEFAULT nextval('public.procrastinate_events_id_seq'::regclass);


--
-- Name: procrastinate_jobs id; Type: DEFAULT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_jobs ALTER COLUMN id SET DEFAULT nextval('public.procrastinate_jobs_id_seq'::regclass);


--
-- Name: procrastinate_periodic_defers id; Type: DEFAULT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_periodic_defers ALTER COLUMN id SET DEFAULT nextval('public.procrastinate_periodic_defers_id_seq'::regclass);


--
-- Name: access_log access_log_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.access_log
    ADD CONSTRAINT access_log_pkey PRIMARY KEY (id);


--
-- Name: account_heads account_heads_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.account_heads
    ADD CONSTRAINT account_heads_pkey PRIMARY KEY (account_id);


--
-- Name: account_requests account_requests_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.account_requests
    ADD CONSTRAINT account_requests_pkey PRIMARY KEY (id);


--
-- Name: alembic_version alembic_version_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkey PRIMARY KEY (version_num);


--
-- Name: api_tokens api_tokens_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_pkey PRIMARY KEY (id);


--
-- Name: attempts attempts_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (bucket, window_at);


--
-- Name: broker_accounts broker_accounts_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.broker_accounts
    ADD CONSTRAINT broker_accounts_pkey PRIMARY KEY (id);


--
-- Name: broker_payloads broker_payloads_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.broker_payloads
    ADD CONSTRAINT broker_payloads_pkey PRIMARY KEY (account_id, seq);


--
-- Name: closing_prices closing_prices_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.closing_prices
    ADD CONSTRAINT closing_prices_pkey PRIMARY KEY (instrument_key, priced_on, source);


--
-- Name: corporate_actions corporate_actions_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.corporate_actions
    ADD CONSTRAINT corporate_actions_pkey PRIMARY KEY (isin, effective_on, kind, new_isin);


--
-- Name: current_orders current_orders_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.current_orders
    ADD CONSTRAINT current_orders_pkey PRIMARY KEY (account_id, broker_order_id);


--
-- Name: holding_changes holding_changes_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.holding_changes
    ADD CONSTRAINT holding_changes_pkey PRIMARY KEY (account_id, seq);


--
-- Name: idempotency_keys idempotency_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key);


--
-- Name: install install_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.install
    ADD CONSTRAINT install_pkey PRIMARY KEY (only_one);


--
-- Name: instrument_files instrument_files_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.instrument_files
    ADD CONSTRAINT instrument_files_pkey PRIMARY KEY (read_on, source);


--
-- Name: instrument_loading instrument_loading_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.instrument_loading
    ADD CONSTRAINT instrument_loading_pkey PRIMARY KEY (one);


--
-- Name: instruments instruments_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.instruments
    ADD CONSTRAINT instruments_pkey PRIMARY KEY (exchange, segment, trading_symbol, from_on);


--
-- Name: invitations invitations_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_pkey PRIMARY KEY (id);


--
-- Name: ledger_events ledger_events_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.ledger_events
    ADD CONSTRAINT ledger_events_pkey PRIMARY KEY (account_id, seq);


--
-- Name: login_probes login_probes_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.login_probes
    ADD CONSTRAINT login_probes_pkey PRIMARY KEY (account_id, probe_on);


--
-- Name: market_days market_days_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.market_days
    ADD CONSTRAINT market_days_pkey PRIMARY KEY (id);


--
-- Name: notices notices_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.notices
    ADD CONSTRAINT notices_pkey PRIMARY KEY (account_id, kind, noticed_on);


--
-- Name: open_findings open_findings_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.open_findings
    ADD CONSTRAINT open_findings_pkey PRIMARY KEY (account_id, kind, section, subject);


--
-- Name: order_fills order_fills_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.order_fills
    ADD CONSTRAINT order_fills_pkey PRIMARY KEY (account_id, seq);


--
-- Name: order_history order_history_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.order_history
    ADD CONSTRAINT order_history_pkey PRIMARY KEY (account_id, seq);


--
-- Name: order_quantity_changes order_quantity_changes_change_type_check; Type: CHECK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.order_quantity_changes
    ADD CONSTRAINT order_quantity_changes_change_type_check CHECK ((change_type = ANY (ARRAY['QUANTITY_ADDED'::text, 'QUANTITY_REMOVED'::text, 'ORDER_MODIFIED'::text, 'ORDER_CANCELLED'::text, 'STATUS_CHANGED'::text, 'REGRESSED'::text]))) NOT VALID;


--
-- Name: order_quantity_changes order_quantity_changes_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.order_quantity_changes
    ADD CONSTRAINT order_quantity_changes_pkey PRIMARY KEY (account_id, seq);


--
-- Name: portfolio_snapshots portfolio_snapshots_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.portfolio_snapshots
    ADD CONSTRAINT portfolio_snapshots_pkey PRIMARY KEY (account_id, seq);


--
-- Name: position_changes position_changes_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.position_changes
    ADD CONSTRAINT position_changes_pkey PRIMARY KEY (account_id, seq);


--
-- Name: price_writes price_writes_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.price_writes
    ADD CONSTRAINT price_writes_pkey PRIMARY KEY (shard);


--
-- Name: procrastinate_events procrastinate_events_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_events
    ADD CONSTRAINT procrastinate_events_pkey PRIMARY KEY (id);


--
-- Name: procrastinate_jobs procrastinate_jobs_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_jobs
    ADD CONSTRAINT procrastinate_jobs_pkey PRIMARY KEY (id);


--
-- Name: procrastinate_periodic_defers procrastinate_periodic_defers_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_periodic_defers
    ADD CONSTRAINT procrastinate_periodic_defers_pkey PRIMARY KEY (id);


--
-- Name: procrastinate_periodic_defers procrastinate_periodic_defers_unique; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_periodic_defers
    ADD CONSTRAINT procrastinate_periodic_defers_unique UNIQUE (task_name, periodic_id, defer_timestamp);


--
-- Name: procrastinate_workers procrastinate_workers_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_workers
    ADD CONSTRAINT procrastinate_workers_pkey PRIMARY KEY (id);


--
-- Name: real_holdings real_holdings_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.real_holdings
    ADD CONSTRAINT real_holdings_pkey PRIMARY KEY (account_id, isin);


--
-- Name: real_positions real_positions_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.real_positions
    ADD CONSTRAINT real_positions_pkey PRIMARY KEY (account_id, segment, exchange, trading_symbol, product);


--
-- Name: recovery_codes recovery_codes_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.recovery_codes
    ADD CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, digest);


--
-- Name: rereadings rereadings_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.rereadings
    ADD CONSTRAINT rereadings_pkey PRIMARY KEY (account_id, seq);


--
-- Name: sessions sessions_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);


--
-- Name: socket_tickets socket_tickets_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.socket_tickets
    ADD CONSTRAINT socket_tickets_pkey PRIMARY KEY (user_id, digest);


--
-- Name: sync_batches sync_batches_account_id_id_key; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.sync_batches
    ADD CONSTRAINT sync_batches_account_id_id_key UNIQUE (account_id, id);


--
-- Name: sync_batches sync_batches_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.sync_batches
    ADD CONSTRAINT sync_batches_pkey PRIMARY KEY (id);


--
-- Name: users users_name_key; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_name_key UNIQUE (name);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: viewer_grants viewer_grants_pkey; Type: CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.viewer_grants
    ADD CONSTRAINT viewer_grants_pkey PRIMARY KEY (id);


--
-- Name: access_log_by_actor; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX access_log_by_actor ON public.access_log USING btree (actor_id, at);


--
-- Name: access_log_by_subject; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX access_log_by_subject ON public.access_log USING btree (subject_id, at);


--
-- Name: access_log_by_time; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX access_log_by_time ON public.access_log USING btree (at);


--
-- Name: account_requests_by_user; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX account_requests_by_user ON public.account_requests USING btree (user_id, created_at);


--
-- Name: account_requests_open; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX account_requests_open ON public.account_requests USING btree (created_at) WHERE (status = ANY (ARRAY['queued'::text, 'running'::text]));


--
-- Name: api_tokens_by_user; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX api_tokens_by_user ON public.api_tokens USING btree (user_id, created_at);


--
-- Name: api_tokens_digest; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX api_tokens_digest ON public.api_tokens USING btree (digest);


--
-- Name: attempts_by_time; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX attempts_by_time ON public.attempts USING btree (window_at);


--
-- Name: broker_accounts_by_user; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX broker_accounts_by_user ON public.broker_accounts USING btree (user_id);


--
-- Name: broker_accounts_due; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX broker_accounts_due ON public.broker_accounts USING btree (planned_through) WHERE (state = ANY (ARRAY['active'::text, 'needs_login'::text]));


--
-- Name: broker_accounts_label; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX broker_accounts_label ON public.broker_accounts USING btree (user_id, label) WHERE (state <> 'closed'::text);


--
-- Name: broker_accounts_ucc; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX broker_accounts_ucc ON public.broker_accounts USING btree (user_id, broker, ucc) WHERE (state <> 'closed'::text);


--
-- Name: broker_payloads_digest; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX broker_payloads_digest ON public.broker_payloads USING btree (account_id, payload_digest);


--
-- Name: corporate_actions_day; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX corporate_actions_day ON public.corporate_actions USING btree (effective_on);


--
-- Name: current_orders_by_day; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX current_orders_by_day ON public.current_orders USING btree (account_id, listed_on);


--
-- Name: current_orders_open; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX current_orders_open ON public.current_orders USING btree (account_id, listed_on) WHERE (status <> ALL (ARRAY['CANCELLED'::text, 'COMPLETED'::text, 'DELIVERY_AWAITED'::text, 'EXECUTED'::text, 'FAILED'::text, 'REJECTED'::text]));


--
-- Name: holding_changes_day; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX holding_changes_day ON public.holding_changes USING btree (account_id, trading_on);


--
-- Name: holding_changes_line; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX holding_changes_line ON public.holding_changes USING btree (account_id, isin);


--
-- Name: idx_procrastinate_jobs_worker_not_null; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX idx_procrastinate_jobs_worker_not_null ON public.procrastinate_jobs USING btree (worker_id) WHERE ((worker_id IS NOT NULL) AND (status = 'doing'::public.procrastinate_job_status));


--
-- Name: idx_procrastinate_workers_last_heartbeat; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX idx_procrastinate_workers_last_heartbeat ON public.procrastinate_workers USING btree (last_heartbeat);


--
-- Name: instruments_isin; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX instruments_isin ON public.instruments USING btree (isin);


--
-- Name: instruments_symbol; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX instruments_symbol ON public.instruments USING btree (trading_symbol);


--
-- Name: invitations_digest; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX invitations_digest ON public.invitations USING btree (digest);


--
-- Name: ledger_events_corrections; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX ledger_events_corrections ON public.ledger_events USING btree (account_id, corrects_seq) WHERE (kind = 'CORRECTION'::text);


--
-- Name: ledger_events_kind; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX ledger_events_kind ON public.ledger_events USING btree (account_id, kind, trading_on);


--
-- Name: market_days_day; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX market_days_day ON public.market_days USING btree (exchange, day_on, id DESC);


--
-- Name: notices_in_order; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX notices_in_order ON public.notices USING btree (id);


--
-- Name: order_fills_by_day; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX order_fills_by_day ON public.order_fills USING btree (account_id, trading_on);


--
-- Name: order_fills_once; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX order_fills_once ON public.order_fills USING btree (account_id, broker_order_id, broker_trade_id, corrects_seq) NULLS NOT DISTINCT;


--
-- Name: order_history_by_day; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX order_history_by_day ON public.order_history USING btree (account_id, listed_on);


--
-- Name: order_history_once; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX order_history_once ON public.order_history USING btree (account_id, broker_order_id, corrects_seq) NULLS NOT DISTINCT;


--
-- Name: order_history_symbol; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX order_history_symbol ON public.order_history USING btree (account_id, trading_symbol);


--
-- Name: order_quantity_changes_day; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX order_quantity_changes_day ON public.order_quantity_changes USING btree (account_id, trading_on);


--
-- Name: order_quantity_changes_symbol; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX order_quantity_changes_symbol ON public.order_quantity_changes USING btree (account_id, trading_symbol);


--
-- Name: order_quantity_changes_trail; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX order_quantity_changes_trail ON public.order_quantity_changes USING btree (account_id, broker_order_id);


--
-- Name: portfolio_snapshots_revision; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX portfolio_snapshots_revision ON public.portfolio_snapshots USING btree (account_id, trading_on, revision);


--
-- Name: position_changes_day; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX position_changes_day ON public.position_changes USING btree (account_id, trading_on);


--
-- Name: position_changes_line; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX position_changes_line ON public.position_changes USING btree (account_id, segment, exchange, trading_symbol, product);


--
-- Name: procrastinate_events_job_id_fkey_v1; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX procrastinate_events_job_id_fkey_v1 ON public.procrastinate_events USING btree (job_id);


--
-- Name: procrastinate_jobs_id_lock_idx_v1; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX procrastinate_jobs_id_lock_idx_v1 ON public.procrastinate_jobs USING btree (id, lock) WHERE (status = ANY (ARRAY['todo'::public.procrastinate_job_status, 'doing'::public.procrastinate_job_status]));


--
-- Name: procrastinate_jobs_lock_idx_v1; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX procrastinate_jobs_lock_idx_v1 ON public.procrastinate_jobs USING btree (lock) WHERE (status = 'doing'::public.procrastinate_job_status);


--
-- Name: procrastinate_jobs_priority_idx_v1; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX procrastinate_jobs_priority_idx_v1 ON public.procrastinate_jobs USING btree (priority DESC, id) WHERE (status = 'todo'::public.procrastinate_job_status);


--
-- Name: procrastinate_jobs_queue_name_idx_v1; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX procrastinate_jobs_queue_name_idx_v1 ON public.procrastinate_jobs USING btree (queue_name);


--
-- Name: procrastinate_jobs_queueing_lock_idx_v1; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX procrastinate_jobs_queueing_lock_idx_v1 ON public.procrastinate_jobs USING btree (queueing_lock) WHERE (status = 'todo'::public.procrastinate_job_status);


--
-- Name: procrastinate_periodic_defers_job_id_fkey_v1; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX procrastinate_periodic_defers_job_id_fkey_v1 ON public.procrastinate_periodic_defers USING btree (job_id);


--
-- Name: rereadings_batch; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX rereadings_batch ON public.rereadings USING btree (account_id, batch_id, seq);


--
-- Name: sessions_by_user; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX sessions_by_user ON public.sessions USING btree (user_id, begun_at);


--
-- Name: socket_tickets_digest; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX socket_tickets_digest ON public.socket_tickets USING btree (digest);


--
-- Name: sync_batches_by_day; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX sync_batches_by_day ON public.sync_batches USING btree (account_id, trading_on, finished_at);


--
-- Name: sync_batches_by_fence; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX sync_batches_by_fence ON public.sync_batches USING btree (account_id, fence, id);


--
-- Name: sync_batches_one_open; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX sync_batches_one_open ON public.sync_batches USING btree (account_id) WHERE (status = ANY (ARRAY['queued'::text, 'running'::text]));


--
-- Name: sync_batches_slot; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE UNIQUE INDEX sync_batches_slot ON public.sync_batches USING btree (account_id, slot_at) WHERE (slot_at IS NOT NULL);


--
-- Name: sync_batches_unsettled; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX sync_batches_unsettled ON public.sync_batches USING btree (finished_at) WHERE ((status = ANY (ARRAY['partial'::text, 'failed'::text])) OR (trigger = 'replay'::text) OR ((sections - 'prices'::text) @? '$.*?(@."outcome" == "not_entitled")'::jsonpath));


--
-- Name: viewer_grants_by_owner; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX viewer_grants_by_owner ON public.viewer_grants USING btree (owner_id, granted_at);


--
-- Name: viewer_grants_by_viewer; Type: INDEX; Schema: public; Owner: portfolio_scheduler
--

CREATE INDEX viewer_grants_by_viewer ON public.viewer_grants USING btree (viewer_id, owner_id);


--
-- Name: sync_batches batches_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER batches_stay BEFORE DELETE OR TRUNCATE ON public.sync_batches FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('batches are kept');

ALTER TABLE public.sync_batches ENABLE ALWAYS TRIGGER batches_stay;


--
-- Name: sync_batches batches_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER batches_stay_rows BEFORE DELETE ON public.sync_batches FOR EACH ROW EXECUTE FUNCTION public.refuse_change('batches are kept');

ALTER TABLE public.sync_batches ENABLE ALWAYS TRIGGER batches_stay_rows;


--
-- Name: access_log facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.access_log FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.access_log ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: broker_payloads facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.broker_payloads FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.broker_payloads ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: holding_changes facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.holding_changes FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.holding_changes ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: install facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.install FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.install ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: ledger_events facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.ledger_events FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.ledger_events ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: order_fills facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.order_fills FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.order_fills ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: order_history facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.order_history FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.order_history ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: order_quantity_changes facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.order_quantity_changes FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.order_quantity_changes ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: portfolio_snapshots facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.portfolio_snapshots FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.portfolio_snapshots ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: position_changes facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.position_changes FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.position_changes ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: rereadings facts_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay BEFORE DELETE OR UPDATE OR TRUNCATE ON public.rereadings FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.rereadings ENABLE ALWAYS TRIGGER facts_stay;


--
-- Name: access_log facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.access_log FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.access_log ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: broker_payloads facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.broker_payloads FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.broker_payloads ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: holding_changes facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.holding_changes FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.holding_changes ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: install facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.install FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.install ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: ledger_events facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.ledger_events FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.ledger_events ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: order_fills facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.order_fills FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.order_fills ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: order_history facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.order_history FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.order_history ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: order_quantity_changes facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.order_quantity_changes FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.order_quantity_changes ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: portfolio_snapshots facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.portfolio_snapshots FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.portfolio_snapshots ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: position_changes facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.position_changes FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.position_changes ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: rereadings facts_stay_rows; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER facts_stay_rows BEFORE DELETE OR UPDATE ON public.rereadings FOR EACH ROW EXECUTE FUNCTION public.refuse_change('facts are only added to; append a correction');

ALTER TABLE public.rereadings ENABLE ALWAYS TRIGGER facts_stay_rows;


--
-- Name: sync_batches finished_batches_stay; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER finished_batches_stay BEFORE UPDATE ON public.sync_batches FOR EACH ROW WHEN ((old.status = ANY (ARRAY['completed'::text, 'partial'::text, 'failed'::text]))) EXECUTE FUNCTION public.refuse_change('a finished batch is frozen');

ALTER TABLE public.sync_batches ENABLE ALWAYS TRIGGER finished_batches_stay;


--
-- Name: closing_prices prices_added; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER prices_added AFTER INSERT ON public.closing_prices REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION public.count_price_writes();


--
-- Name: closing_prices prices_changed; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER prices_changed AFTER UPDATE ON public.closing_prices REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION public.count_price_writes();


--
-- Name: closing_prices prices_removed; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER prices_removed AFTER DELETE ON public.closing_prices REFERENCING OLD TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION public.count_price_writes();


--
-- Name: procrastinate_jobs procrastinate_jobs_notify_queue_job_aborted_v1; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER procrastinate_jobs_notify_queue_job_aborted_v1 AFTER UPDATE OF abort_requested ON public.procrastinate_jobs FOR EACH ROW WHEN (((old.abort_requested = false) AND (new.abort_requested = true) AND (new.status = 'doing'::public.procrastinate_job_status))) EXECUTE FUNCTION public.procrastinate_notify_queue_abort_job_v1();


--
-- Name: procrastinate_jobs procrastinate_jobs_notify_queue_job_inserted_v1; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1 AFTER INSERT ON public.procrastinate_jobs FOR EACH ROW WHEN ((new.status = 'todo'::public.procrastinate_job_status)) EXECUTE FUNCTION public.procrastinate_notify_queue_job_inserted_v1();


--
-- Name: procrastinate_jobs procrastinate_trigger_abort_requested_events_v1; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER procrastinate_trigger_abort_requested_events_v1 AFTER UPDATE OF abort_requested ON public.procrastinate_jobs FOR EACH ROW WHEN ((new.abort_requested = true)) EXECUTE FUNCTION public.procrastinate_trigger_abort_requested_events_procedure_v1();


--
-- Name: procrastinate_jobs procrastinate_trigger_delete_jobs_v1; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER procrastinate_trigger_delete_jobs_v1 BEFORE DELETE ON public.procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION public.procrastinate_unlink_periodic_defers_v1();


--
-- Name: procrastinate_jobs procrastinate_trigger_scheduled_events_v1; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER procrastinate_trigger_scheduled_events_v1 AFTER INSERT OR UPDATE ON public.procrastinate_jobs FOR EACH ROW WHEN (((new.scheduled_at IS NOT NULL) AND (new.status = 'todo'::public.procrastinate_job_status))) EXECUTE FUNCTION public.procrastinate_trigger_function_scheduled_events_v1();


--
-- Name: procrastinate_jobs procrastinate_trigger_status_events_insert_v1; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER procrastinate_trigger_status_events_insert_v1 AFTER INSERT ON public.procrastinate_jobs FOR EACH ROW WHEN ((new.status = 'todo'::public.procrastinate_job_status)) EXECUTE FUNCTION public.procrastinate_trigger_function_status_events_insert_v1();


--
-- Name: procrastinate_jobs procrastinate_trigger_status_events_update_v1; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER procrastinate_trigger_status_events_update_v1 AFTER UPDATE OF status ON public.procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION public.procrastinate_trigger_function_status_events_update_v1();


--
-- Name: broker_accounts tell_of_change; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER tell_of_change AFTER UPDATE OF state, label, login, ucc, schedules, late_pass ON public.broker_accounts FOR EACH ROW WHEN (((((((old.state IS DISTINCT FROM new.state) OR (old.label IS DISTINCT FROM new.label)) OR (old.login IS DISTINCT FROM new.login)) OR (old.ucc IS DISTINCT FROM new.ucc)) OR (old.schedules IS DISTINCT FROM new.schedules)) OR (old.late_pass IS DISTINCT FROM new.late_pass))) EXECUTE FUNCTION public.tell_of_account();


--
-- Name: account_heads tell_of_growth; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER tell_of_growth AFTER UPDATE OF seq ON public.account_heads FOR EACH ROW WHEN ((old.seq <> new.seq)) EXECUTE FUNCTION public.tell_of_head();


--
-- Name: account_heads tell_of_new; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER tell_of_new AFTER INSERT ON public.account_heads FOR EACH ROW EXECUTE FUNCTION public.tell_of_head();


--
-- Name: sync_batches tell_of_new; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER tell_of_new AFTER INSERT ON public.sync_batches FOR EACH ROW WHEN (((new.trigger = 'manual'::text) OR (new.status <> 'queued'::text))) EXECUTE FUNCTION public.tell_of_batch();


--
-- Name: sync_batches tell_of_status; Type: TRIGGER; Schema: public; Owner: portfolio_scheduler
--

CREATE TRIGGER tell_of_status AFTER UPDATE OF status ON public.sync_batches FOR EACH ROW WHEN ((old.status <> new.status)) EXECUTE FUNCTION public.tell_of_batch();


--
-- Name: account_heads account_heads_account_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.account_heads
    ADD CONSTRAINT account_heads_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.broker_accounts(id);


--
-- Name: account_requests account_requests_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.account_requests
    ADD CONSTRAINT account_requests_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: api_tokens api_tokens_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: broker_accounts broker_accounts_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.broker_accounts
    ADD CONSTRAINT broker_accounts_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: broker_payloads broker_payloads_account_id_batch_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.broker_payloads
    ADD CONSTRAINT broker_payloads_account_id_batch_id_fkey FOREIGN KEY (account_id, batch_id) REFERENCES public.sync_batches(account_id, id);


--
-- Name: holding_changes holding_changes_account_id_batch_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.holding_changes
    ADD CONSTRAINT holding_changes_account_id_batch_id_fkey FOREIGN KEY (account_id, batch_id) REFERENCES public.sync_batches(account_id, id);


--
-- Name: idempotency_keys idempotency_keys_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: invitations invitations_invited_by_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_invited_by_fkey FOREIGN KEY (invited_by) REFERENCES public.users(id);


--
-- Name: invitations invitations_used_by_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_used_by_fkey FOREIGN KEY (used_by) REFERENCES public.users(id);


--
-- Name: ledger_events ledger_events_account_id_batch_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.ledger_events
    ADD CONSTRAINT ledger_events_account_id_batch_id_fkey FOREIGN KEY (account_id, batch_id) REFERENCES public.sync_batches(account_id, id);


--
-- Name: login_probes login_probes_account_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.login_probes
    ADD CONSTRAINT login_probes_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.broker_accounts(id);


--
-- Name: notices notices_account_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.notices
    ADD CONSTRAINT notices_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.broker_accounts(id);


--
-- Name: order_fills order_fills_account_id_batch_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.order_fills
    ADD CONSTRAINT order_fills_account_id_batch_id_fkey FOREIGN KEY (account_id, batch_id) REFERENCES public.sync_batches(account_id, id);


--
-- Name: order_history order_history_account_id_batch_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.order_history
    ADD CONSTRAINT order_history_account_id_batch_id_fkey FOREIGN KEY (account_id, batch_id) REFERENCES public.sync_batches(account_id, id);


--
-- Name: order_quantity_changes order_quantity_changes_account_id_batch_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.order_quantity_changes
    ADD CONSTRAINT order_quantity_changes_account_id_batch_id_fkey FOREIGN KEY (account_id, batch_id) REFERENCES public.sync_batches(account_id, id);


--
-- Name: portfolio_snapshots portfolio_snapshots_account_id_batch_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.portfolio_snapshots
    ADD CONSTRAINT portfolio_snapshots_account_id_batch_id_fkey FOREIGN KEY (account_id, batch_id) REFERENCES public.sync_batches(account_id, id);


--
-- Name: position_changes position_changes_account_id_batch_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.position_changes
    ADD CONSTRAINT position_changes_account_id_batch_id_fkey FOREIGN KEY (account_id, batch_id) REFERENCES public.sync_batches(account_id, id);


--
-- Name: procrastinate_events procrastinate_events_job_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_events
    ADD CONSTRAINT procrastinate_events_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.procrastinate_jobs(id) ON DELETE CASCADE;


--
-- Name: procrastinate_jobs procrastinate_jobs_worker_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_jobs
    ADD CONSTRAINT procrastinate_jobs_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES public.procrastinate_workers(id) ON DELETE SET NULL;


--
-- Name: procrastinate_periodic_defers procrastinate_periodic_defers_job_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.procrastinate_periodic_defers
    ADD CONSTRAINT procrastinate_periodic_defers_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.procrastinate_jobs(id);


--
-- Name: recovery_codes recovery_codes_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.recovery_codes
    ADD CONSTRAINT recovery_codes_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: rereadings rereadings_account_id_batch_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.rereadings
    ADD CONSTRAINT rereadings_account_id_batch_id_fkey FOREIGN KEY (account_id, batch_id) REFERENCES public.sync_batches(account_id, id);


--
-- Name: sessions sessions_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: socket_tickets socket_tickets_session_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.socket_tickets
    ADD CONSTRAINT socket_tickets_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.sessions(id);


--
-- Name: socket_tickets socket_tickets_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.socket_tickets
    ADD CONSTRAINT socket_tickets_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: sync_batches sync_batches_account_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.sync_batches
    ADD CONSTRAINT sync_batches_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.broker_accounts(id);


--
-- Name: viewer_grants viewer_grants_owner_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.viewer_grants
    ADD CONSTRAINT viewer_grants_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users(id);


--
-- Name: viewer_grants viewer_grants_viewer_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE ONLY public.viewer_grants
    ADD CONSTRAINT viewer_grants_viewer_id_fkey FOREIGN KEY (viewer_id) REFERENCES public.users(id);


--
-- Name: access_log; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.access_log ENABLE ROW LEVEL SECURITY;

--
-- Name: account_heads; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.account_heads ENABLE ROW LEVEL SECURITY;

--
-- Name: account_requests; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.account_requests ENABLE ROW LEVEL SECURITY;

--
-- Name: attempts api_all; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_all ON public.attempts TO portfolio_scheduler_api USING (true) WITH CHECK (true);


--
-- Name: invitations api_all; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_all ON public.invitations TO portfolio_scheduler_api USING ((( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text)))) OR (( SELECT public.app_door() AS app_door) = 'admin'::text))) WITH CHECK ((( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text)))) OR (( SELECT public.app_door() AS app_door) = 'admin'::text)));


--
-- Name: api_tokens api_delete; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_delete ON public.api_tokens FOR DELETE TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: idempotency_keys api_delete; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_delete ON public.idempotency_keys FOR DELETE TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: recovery_codes api_delete; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_delete ON public.recovery_codes FOR DELETE TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: sessions api_delete; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_delete ON public.sessions FOR DELETE TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: socket_tickets api_delete; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_delete ON public.socket_tickets FOR DELETE TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: access_log api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.access_log FOR INSERT TO portfolio_scheduler_api WITH CHECK (true);


--
-- Name: account_heads api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.account_heads FOR INSERT TO portfolio_scheduler_api WITH CHECK ((account_id = ANY (ARRAY( SELECT a.id
   FROM public.broker_accounts a
  WHERE (a.user_id = ( SELECT public.app_user() AS app_user))))));


--
-- Name: account_requests api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.account_requests FOR INSERT TO portfolio_scheduler_api WITH CHECK ((user_id = ( SELECT public.app_user() AS app_user)));


--
-- Name: api_tokens api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.api_tokens FOR INSERT TO portfolio_scheduler_api WITH CHECK (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: broker_accounts api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.broker_accounts FOR INSERT TO portfolio_scheduler_api WITH CHECK ((user_id = ( SELECT public.app_user() AS app_user)));


--
-- Name: idempotency_keys api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.idempotency_keys FOR INSERT TO portfolio_scheduler_api WITH CHECK (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: recovery_codes api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.recovery_codes FOR INSERT TO portfolio_scheduler_api WITH CHECK (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: sessions api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.sessions FOR INSERT TO portfolio_scheduler_api WITH CHECK (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: socket_tickets api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.socket_tickets FOR INSERT TO portfolio_scheduler_api WITH CHECK (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: sync_batches api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.sync_batches FOR INSERT TO portfolio_scheduler_api WITH CHECK ((account_id = ANY (ARRAY( SELECT a.id
   FROM public.broker_accounts a
  WHERE (a.user_id = ( SELECT public.app_user() AS app_user))))));


--
-- Name: users api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.users FOR INSERT TO portfolio_scheduler_api WITH CHECK (( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text)))));


--
-- Name: viewer_grants api_insert; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_insert ON public.viewer_grants FOR INSERT TO portfolio_scheduler_api WITH CHECK ((owner_id = ( SELECT public.app_user() AS app_user)));


--
-- Name: access_log api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.access_log FOR SELECT TO portfolio_scheduler_api USING (((actor_id = ( SELECT public.app_user() AS app_user)) OR (subject_id = ( SELECT public.app_user() AS app_user)) OR (( SELECT public.app_door() AS app_door) = 'admin'::text)));


--
-- Name: account_heads api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.account_heads FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: account_requests api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.account_requests FOR SELECT TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR (( SELECT public.app_door() AS app_door) = 'room'::text)));


--
-- Name: api_tokens api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.api_tokens FOR SELECT TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR (( SELECT public.app_door() AS app_door) = ANY (ARRAY['session'::text, 'identity'::text]))));


--
-- Name: broker_accounts api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.broker_accounts FOR SELECT TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR (user_id = ANY (( SELECT public.app_owners() AS app_owners)::uuid[])) OR (( SELECT public.app_door() AS app_door) = 'admin'::text)));


--
-- Name: broker_payloads api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.broker_payloads FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: current_orders api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.current_orders FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: holding_changes api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.holding_changes FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: idempotency_keys api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.idempotency_keys FOR SELECT TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: ledger_events api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.ledger_events FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: login_probes api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.login_probes FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: notices api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.notices FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: open_findings api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.open_findings FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: order_fills api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.order_fills FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: order_history api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.order_history FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: order_quantity_changes api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.order_quantity_changes FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: portfolio_snapshots api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.portfolio_snapshots FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: position_changes api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.position_changes FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: real_holdings api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.real_holdings FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: real_positions api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.real_positions FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: recovery_codes api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.recovery_codes FOR SELECT TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: rereadings api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.rereadings FOR SELECT TO portfolio_scheduler_api USING ((account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[])));


--
-- Name: sessions api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.sessions FOR SELECT TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR (( SELECT public.app_door() AS app_door) = ANY (ARRAY['session'::text, 'identity'::text]))));


--
-- Name: socket_tickets api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.socket_tickets FOR SELECT TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: sync_batches api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.sync_batches FOR SELECT TO portfolio_scheduler_api USING (
CASE
    WHEN (( SELECT public.app_door() AS app_door) = 'admin'::text) THEN true
    ELSE (account_id = ANY (( SELECT public.app_accounts() AS app_accounts)::uuid[]))
END);


--
-- Name: users api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.users FOR SELECT TO portfolio_scheduler_api USING (((id = ( SELECT public.app_user() AS app_user)) OR (( SELECT public.app_door() AS app_door) = ANY (ARRAY['session'::text, 'identity'::text])) OR (( SELECT public.app_door() AS app_door) = 'admin'::text)));


--
-- Name: viewer_grants api_select; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_select ON public.viewer_grants FOR SELECT TO portfolio_scheduler_api USING (((owner_id = ( SELECT public.app_user() AS app_user)) OR (viewer_id = ( SELECT public.app_user() AS app_user))));


--
-- Name: api_tokens; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.api_tokens ENABLE ROW LEVEL SECURITY;

--
-- Name: account_requests api_update; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_update ON public.account_requests FOR UPDATE TO portfolio_scheduler_api USING ((user_id = ( SELECT public.app_user() AS app_user))) WITH CHECK ((user_id = ( SELECT public.app_user() AS app_user)));


--
-- Name: api_tokens api_update; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_update ON public.api_tokens FOR UPDATE TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text)))))) WITH CHECK (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: broker_accounts api_update; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_update ON public.broker_accounts FOR UPDATE TO portfolio_scheduler_api USING ((user_id = ( SELECT public.app_user() AS app_user))) WITH CHECK ((user_id = ( SELECT public.app_user() AS app_user)));


--
-- Name: idempotency_keys api_update; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_update ON public.idempotency_keys FOR UPDATE TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text)))))) WITH CHECK (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: recovery_codes api_update; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_update ON public.recovery_codes FOR UPDATE TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text)))))) WITH CHECK (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: sessions api_update; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_update ON public.sessions FOR UPDATE TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text)))))) WITH CHECK (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: socket_tickets api_update; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_update ON public.socket_tickets FOR UPDATE TO portfolio_scheduler_api USING (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text)))))) WITH CHECK (((user_id = ( SELECT public.app_user() AS app_user)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text))))));


--
-- Name: sync_batches api_update; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_update ON public.sync_batches FOR UPDATE TO portfolio_scheduler_api USING ((account_id = ANY (ARRAY( SELECT a.id
   FROM public.broker_accounts a
  WHERE (a.user_id = ( SELECT public.app_user() AS app_user)))))) WITH CHECK ((account_id = ANY (ARRAY( SELECT a.id
   FROM public.broker_accounts a
  WHERE (a.user_id = ( SELECT public.app_user() AS app_user))))));


--
-- Name: users api_update; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_update ON public.users FOR UPDATE TO portfolio_scheduler_api USING ((((id = ( SELECT public.app_user() AS app_user)) AND (( SELECT public.app_door() AS app_door) = 'identity'::text)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text)))) OR (( SELECT public.app_door() AS app_door) = 'admin'::text))) WITH CHECK ((((id = ( SELECT public.app_user() AS app_user)) AND (( SELECT public.app_door() AS app_door) = 'identity'::text)) OR ( SELECT ((public.app_door() = 'identity'::text) AND ((public.app_user() IS NULL) OR (public.app_role() = 'admin'::text)))) OR (( SELECT public.app_door() AS app_door) = 'admin'::text)));


--
-- Name: viewer_grants api_update; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY api_update ON public.viewer_grants FOR UPDATE TO portfolio_scheduler_api USING (((owner_id = ( SELECT public.app_user() AS app_user)) OR (viewer_id = ( SELECT public.app_user() AS app_user)))) WITH CHECK (((owner_id = ( SELECT public.app_user() AS app_user)) OR (viewer_id = ( SELECT public.app_user() AS app_user))));


--
-- Name: attempts; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.attempts ENABLE ROW LEVEL SECURITY;

--
-- Name: broker_accounts; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.broker_accounts ENABLE ROW LEVEL SECURITY;

--
-- Name: broker_payloads; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.broker_payloads ENABLE ROW LEVEL SECURITY;

--
-- Name: current_orders; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.current_orders ENABLE ROW LEVEL SECURITY;

--
-- Name: holding_changes; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.holding_changes ENABLE ROW LEVEL SECURITY;

--
-- Name: idempotency_keys; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: invitations; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.invitations ENABLE ROW LEVEL SECURITY;

--
-- Name: ledger_events; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.ledger_events ENABLE ROW LEVEL SECURITY;

--
-- Name: login_probes; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.login_probes ENABLE ROW LEVEL SECURITY;

--
-- Name: notices; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.notices ENABLE ROW LEVEL SECURITY;

--
-- Name: open_findings; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.open_findings ENABLE ROW LEVEL SECURITY;

--
-- Name: order_fills; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.order_fills ENABLE ROW LEVEL SECURITY;

--
-- Name: order_history; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.order_history ENABLE ROW LEVEL SECURITY;

--
-- Name: order_quantity_changes; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.order_quantity_changes ENABLE ROW LEVEL SECURITY;

--
-- Name: portfolio_snapshots; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.portfolio_snapshots ENABLE ROW LEVEL SECURITY;

--
-- Name: position_changes; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.position_changes ENABLE ROW LEVEL SECURITY;

--
-- Name: real_holdings; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.real_holdings ENABLE ROW LEVEL SECURITY;

--
-- Name: real_positions; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.real_positions ENABLE ROW LEVEL SECURITY;

--
-- Name: recovery_codes; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.recovery_codes ENABLE ROW LEVEL SECURITY;

--
-- Name: rereadings; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.rereadings ENABLE ROW LEVEL SECURITY;

--
-- Name: sessions; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.sessions ENABLE ROW LEVEL SECURITY;

--
-- Name: socket_tickets; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.socket_tickets ENABLE ROW LEVEL SECURITY;

--
-- Name: sync_batches; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.sync_batches ENABLE ROW LEVEL SECURITY;

--
-- Name: users; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;

--
-- Name: viewer_grants; Type: ROW SECURITY; Schema: public; Owner: portfolio_scheduler
--

ALTER TABLE public.viewer_grants ENABLE ROW LEVEL SECURITY;

--
-- Name: access_log worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.access_log TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: account_heads worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.account_heads TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: account_requests worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.account_requests TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: api_tokens worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.api_tokens TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: attempts worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.attempts TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: broker_accounts worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.broker_accounts TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: broker_payloads worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.broker_payloads TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: current_orders worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.current_orders TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: holding_changes worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.holding_changes TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: idempotency_keys worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.idempotency_keys TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: invitations worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.invitations TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: ledger_events worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.ledger_events TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: login_probes worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.login_probes TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: notices worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.notices TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: open_findings worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.open_findings TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: order_fills worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.order_fills TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: order_history worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.order_history TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: order_quantity_changes worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.order_quantity_changes TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: portfolio_snapshots worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.portfolio_snapshots TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: position_changes worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.position_changes TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: real_holdings worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.real_holdings TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: real_positions worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.real_positions TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: recovery_codes worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.recovery_codes TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: rereadings worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.rereadings TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: sessions worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.sessions TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: socket_tickets worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.socket_tickets TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: sync_batches worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.sync_batches TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: users worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.users TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: viewer_grants worker; Type: POLICY; Schema: public; Owner: portfolio_scheduler
--

CREATE POLICY worker ON public.viewer_grants TO portfolio_scheduler_worker USING (true) WITH CHECK (true);


--
-- Name: SCHEMA public; Type: ACL; Schema: -; Owner: pg_database_owner
--

REVOKE USAGE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO portfolio_scheduler_api;
GRANT USAGE ON SCHEMA public TO portfolio_scheduler_worker;


--
-- Name: FUNCTION answer_to(session uuid, token bytea, at timestamp with time zone, subject uuid, scope text, account uuid, known text[], question text, given text[], OUT who public.viewer, OUT version text, OUT document text); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.answer_to(session uuid, token bytea, at timestamp with time zone, subject uuid, scope text, account uuid, known text[], question text, given text[], OUT who public.viewer, OUT version text, OUT document text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.answer_to(session uuid, token bytea, at timestamp with time zone, subject uuid, scope text, account uuid, known text[], question text, given text[], OUT who public.viewer, OUT version text, OUT document text) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.answer_to(session uuid, token bytea, at timestamp with time zone, subject uuid, scope text, account uuid, known text[], question text, given text[], OUT who public.viewer, OUT version text, OUT document text) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION app_accounts(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.app_accounts() FROM PUBLIC;
GRANT ALL ON FUNCTION public.app_accounts() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.app_accounts() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION app_role(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.app_role() FROM PUBLIC;
GRANT ALL ON FUNCTION public.app_role() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.app_role() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION app_door(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.app_door() FROM PUBLIC;
GRANT ALL ON FUNCTION public.app_door() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.app_door() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION app_now(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.app_now() FROM PUBLIC;
GRANT ALL ON FUNCTION public.app_now() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.app_now() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION app_owners(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.app_owners() FROM PUBLIC;
GRANT ALL ON FUNCTION public.app_owners() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.app_owners() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION app_user(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.app_user() FROM PUBLIC;
GRANT ALL ON FUNCTION public.app_user() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.app_user() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION count_price_writes(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.count_price_writes() FROM PUBLIC;
GRANT ALL ON FUNCTION public.count_price_writes() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.count_price_writes() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION enter_as(who public.viewer, at timestamp with time zone); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.enter_as(who public.viewer, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.enter_as(who public.viewer, at timestamp with time zone) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.enter_as(who public.viewer, at timestamp with time zone) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION enter_session(session uuid, at timestamp with time zone); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.enter_session(session uuid, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.enter_session(session uuid, at timestamp with time zone) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.enter_session(session uuid, at timestamp with time zone) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION enter_token(token bytea, at timestamp with time zone); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.enter_token(token bytea, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.enter_token(token bytea, at timestamp with time zone) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.enter_token(token bytea, at timestamp with time zone) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION guard_fact(guarded regclass); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.guard_fact(guarded regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION public.guard_fact(guarded regclass) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.guard_fact(guarded regclass) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION guard_finished_batches(guarded regclass); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.guard_finished_batches(guarded regclass) FROM PUBLIC;
GRANT ALL ON FUNCTION public.guard_finished_batches(guarded regclass) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.guard_finished_batches(guarded regclass) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_cancel_job_v1(job_id bigint, abort boolean, delete_job boolean); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_cancel_job_v1(job_id bigint, abort boolean, delete_job boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_cancel_job_v1(job_id bigint, abort boolean, delete_job boolean) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_cancel_job_v1(job_id bigint, abort boolean, delete_job boolean) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_defer_jobs_v1(jobs public.procrastinate_job_to_defer_v1[]); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_defer_jobs_v1(jobs public.procrastinate_job_to_defer_v1[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_defer_jobs_v1(jobs public.procrastinate_job_to_defer_v1[]) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_defer_jobs_v1(jobs public.procrastinate_job_to_defer_v1[]) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_defer_periodic_job_v2(_queue_name character varying, _lock character varying, _queueing_lock character varying, _task_name character varying, _priority integer, _periodic_id character varying, _defer_timestamp bigint, _args jsonb); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_defer_periodic_job_v2(_queue_name character varying, _lock character varying, _queueing_lock character varying, _task_name character varying, _priority integer, _periodic_id character varying, _defer_timestamp bigint, _args jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_defer_periodic_job_v2(_queue_name character varying, _lock character varying, _queueing_lock character varying, _task_name character varying, _priority integer, _periodic_id character varying, _defer_timestamp bigint, _args jsonb) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_defer_periodic_job_v2(_queue_name character varying, _lock character varying, _queueing_lock character varying, _task_name character varying, _priority integer, _periodic_id character varying, _defer_timestamp bigint, _args jsonb) TO portfolio_scheduler_worker;


--
-- Name: TABLE procrastinate_jobs; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_jobs TO portfolio_scheduler_worker;
GRANT INSERT ON TABLE public.procrastinate_jobs TO portfolio_scheduler_api;


--
-- Name: COLUMN procrastinate_jobs.id; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(id) ON TABLE public.procrastinate_jobs TO portfolio_scheduler_api;


--
-- Name: FUNCTION procrastinate_fetch_job_v2(target_queue_names character varying[], p_worker_id bigint); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_fetch_job_v2(target_queue_names character varying[], p_worker_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_fetch_job_v2(target_queue_names character varying[], p_worker_id bigint) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_fetch_job_v2(target_queue_names character varying[], p_worker_id bigint) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_finish_job_v1(job_id bigint, end_status public.procrastinate_job_status, delete_job boolean); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_finish_job_v1(job_id bigint, end_status public.procrastinate_job_status, delete_job boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_finish_job_v1(job_id bigint, end_status public.procrastinate_job_status, delete_job boolean) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_finish_job_v1(job_id bigint, end_status public.procrastinate_job_status, delete_job boolean) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_notify_queue_abort_job_v1(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_notify_queue_abort_job_v1() FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_notify_queue_abort_job_v1() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_notify_queue_abort_job_v1() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_notify_queue_job_inserted_v1(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_notify_queue_job_inserted_v1() FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_notify_queue_job_inserted_v1() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_notify_queue_job_inserted_v1() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_prune_stalled_workers_v1(seconds_since_heartbeat double precision); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_prune_stalled_workers_v1(seconds_since_heartbeat double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_prune_stalled_workers_v1(seconds_since_heartbeat double precision) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_prune_stalled_workers_v1(seconds_since_heartbeat double precision) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_register_worker_v1(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_register_worker_v1() FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_register_worker_v1() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_register_worker_v1() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_retry_job_v1(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_retry_job_v1(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_retry_job_v1(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_retry_job_v1(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_retry_job_v2(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_retry_job_v2(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_retry_job_v2(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_retry_job_v2(job_id bigint, retry_at timestamp with time zone, new_priority integer, new_queue_name character varying, new_lock character varying) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_trigger_abort_requested_events_procedure_v1(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_trigger_abort_requested_events_procedure_v1() FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_trigger_abort_requested_events_procedure_v1() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_trigger_abort_requested_events_procedure_v1() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_trigger_function_scheduled_events_v1(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_trigger_function_scheduled_events_v1() FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_trigger_function_scheduled_events_v1() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_trigger_function_scheduled_events_v1() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_trigger_function_status_events_insert_v1(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_trigger_function_status_events_insert_v1() FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_trigger_function_status_events_insert_v1() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_trigger_function_status_events_insert_v1() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_trigger_function_status_events_update_v1(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_trigger_function_status_events_update_v1() FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_trigger_function_status_events_update_v1() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_trigger_function_status_events_update_v1() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_unlink_periodic_defers_v1(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_unlink_periodic_defers_v1() FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_unlink_periodic_defers_v1() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_unlink_periodic_defers_v1() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_unregister_worker_v1(worker_id bigint); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_unregister_worker_v1(worker_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_unregister_worker_v1(worker_id bigint) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_unregister_worker_v1(worker_id bigint) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION procrastinate_update_heartbeat_v1(worker_id bigint); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.procrastinate_update_heartbeat_v1(worker_id bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.procrastinate_update_heartbeat_v1(worker_id bigint) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.procrastinate_update_heartbeat_v1(worker_id bigint) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION refuse_change(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.refuse_change() FROM PUBLIC;
GRANT ALL ON FUNCTION public.refuse_change() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.refuse_change() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION tell(account uuid, said jsonb); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.tell(account uuid, said jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.tell(account uuid, said jsonb) TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.tell(account uuid, said jsonb) TO portfolio_scheduler_worker;


--
-- Name: FUNCTION tell_of_account(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.tell_of_account() FROM PUBLIC;
GRANT ALL ON FUNCTION public.tell_of_account() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.tell_of_account() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION tell_of_batch(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.tell_of_batch() FROM PUBLIC;
GRANT ALL ON FUNCTION public.tell_of_batch() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.tell_of_batch() TO portfolio_scheduler_worker;


--
-- Name: FUNCTION tell_of_head(); Type: ACL; Schema: public; Owner: portfolio_scheduler
--

REVOKE ALL ON FUNCTION public.tell_of_head() FROM PUBLIC;
GRANT ALL ON FUNCTION public.tell_of_head() TO portfolio_scheduler_api;
GRANT ALL ON FUNCTION public.tell_of_head() TO portfolio_scheduler_worker;


--
-- Name: TABLE access_log; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT ON TABLE public.access_log TO portfolio_scheduler_worker;
GRANT SELECT,INSERT ON TABLE public.access_log TO portfolio_scheduler_api;


--
-- Name: TABLE account_heads; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.account_heads TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.account_heads TO portfolio_scheduler_api;


--
-- Name: COLUMN account_heads.account_id; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT INSERT(account_id) ON TABLE public.account_heads TO portfolio_scheduler_api;


--
-- Name: TABLE account_requests; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.account_requests TO portfolio_scheduler_worker;
GRANT INSERT ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.id; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(id) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.user_id; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(user_id) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.account_id; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(account_id) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.kind; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(kind) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.parameters; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(parameters) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.sealed_credentials; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT UPDATE(sealed_credentials) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.status; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(status),UPDATE(status) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.asked_at; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(asked_at) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.beat_at; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(beat_at) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.error_class; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(error_class) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.reason; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(reason),UPDATE(reason) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.created_at; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(created_at) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: COLUMN account_requests.ended_at; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(ended_at),UPDATE(ended_at) ON TABLE public.account_requests TO portfolio_scheduler_api;


--
-- Name: TABLE alembic_version; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.alembic_version TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.alembic_version TO portfolio_scheduler_api;


--
-- Name: TABLE api_tokens; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.api_tokens TO portfolio_scheduler_worker;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.api_tokens TO portfolio_scheduler_api;


--
-- Name: TABLE attempts; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.attempts TO portfolio_scheduler_worker;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.attempts TO portfolio_scheduler_api;


--
-- Name: TABLE broker_accounts; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.broker_accounts TO portfolio_scheduler_worker;


--
-- Name: COLUMN broker_accounts.id; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(id),INSERT(id) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.user_id; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(user_id),INSERT(user_id) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.broker; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(broker),INSERT(broker) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.broker_account_id; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(broker_account_id),INSERT(broker_account_id) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.ucc; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(ucc) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.label; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(label),INSERT(label) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.login; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(login),INSERT(login) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.segments; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(segments) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.sealed_credentials; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT INSERT(sealed_credentials) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.token_expires_at; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(token_expires_at) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.schedules; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(schedules),INSERT(schedules) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.state; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(state) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.planned_through; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(planned_through),INSERT(planned_through) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.created_at; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(created_at),INSERT(created_at) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.late_pass; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(late_pass),INSERT(late_pass) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.resume_at; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(resume_at) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.credentials_number; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(credentials_number),INSERT(credentials_number) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.credentials_fingerprint; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(credentials_fingerprint),INSERT(credentials_fingerprint) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: COLUMN broker_accounts.credentials_at; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT(credentials_at),INSERT(credentials_at) ON TABLE public.broker_accounts TO portfolio_scheduler_api;


--
-- Name: TABLE broker_payloads; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT ON TABLE public.broker_payloads TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.broker_payloads TO portfolio_scheduler_api;


--
-- Name: TABLE closing_prices; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.closing_prices TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.closing_prices TO portfolio_scheduler_api;


--
-- Name: TABLE corporate_actions; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.corporate_actions TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.corporate_actions TO portfolio_scheduler_api;


--
-- Name: TABLE rereadings; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT ON TABLE public.rereadings TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.rereadings TO portfolio_scheduler_api;


--
-- Name: TABLE sync_batches; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.sync_batches TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.sync_batches TO portfolio_scheduler_api;


--
-- Name: COLUMN sync_batches.id; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT INSERT(id) ON TABLE public.sync_batches TO portfolio_scheduler_api;


--
-- Name: COLUMN sync_batches.account_id; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT INSERT(account_id) ON TABLE public.sync_batches TO portfolio_scheduler_api;


--
-- Name: COLUMN sync_batches.trigger; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT INSERT(trigger) ON TABLE public.sync_batches TO portfolio_scheduler_api;


--
-- Name: COLUMN sync_batches.wanted; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT INSERT(wanted),UPDATE(wanted) ON TABLE public.sync_batches TO portfolio_scheduler_api;


--
-- Name: COLUMN sync_batches.status; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT INSERT(status) ON TABLE public.sync_batches TO portfolio_scheduler_api;


--
-- Name: COLUMN sync_batches.queued_at; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT INSERT(queued_at) ON TABLE public.sync_batches TO portfolio_scheduler_api;


--
-- Name: TABLE effective_batches; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.effective_batches TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.effective_batches TO portfolio_scheduler_api;


--
-- Name: TABLE ledger_events; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT ON TABLE public.ledger_events TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.ledger_events TO portfolio_scheduler_api;


--
-- Name: TABLE effective_ledger_events; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.effective_ledger_events TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.effective_ledger_events TO portfolio_scheduler_api;


--
-- Name: TABLE portfolio_snapshots; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT ON TABLE public.portfolio_snapshots TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.portfolio_snapshots TO portfolio_scheduler_api;


--
-- Name: TABLE coverage; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.coverage TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.coverage TO portfolio_scheduler_api;


--
-- Name: TABLE current_orders; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.current_orders TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.current_orders TO portfolio_scheduler_api;


--
-- Name: TABLE holding_changes; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT ON TABLE public.holding_changes TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.holding_changes TO portfolio_scheduler_api;


--
-- Name: TABLE effective_holding_changes; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.effective_holding_changes TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.effective_holding_changes TO portfolio_scheduler_api;


--
-- Name: TABLE order_fills; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT ON TABLE public.order_fills TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.order_fills TO portfolio_scheduler_api;


--
-- Name: TABLE effective_order_fills; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.effective_order_fills TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.effective_order_fills TO portfolio_scheduler_api;


--
-- Name: TABLE order_history; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT ON TABLE public.order_history TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.order_history TO portfolio_scheduler_api;


--
-- Name: TABLE effective_order_history; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.effective_order_history TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.effective_order_history TO portfolio_scheduler_api;


--
-- Name: TABLE order_quantity_changes; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT ON TABLE public.order_quantity_changes TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.order_quantity_changes TO portfolio_scheduler_api;


--
-- Name: TABLE effective_order_quantity_changes; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.effective_order_quantity_changes TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.effective_order_quantity_changes TO portfolio_scheduler_api;


--
-- Name: TABLE position_changes; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT ON TABLE public.position_changes TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.position_changes TO portfolio_scheduler_api;


--
-- Name: TABLE effective_position_changes; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.effective_position_changes TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.effective_position_changes TO portfolio_scheduler_api;


--
-- Name: TABLE real_holdings; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.real_holdings TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.real_holdings TO portfolio_scheduler_api;


--
-- Name: TABLE holding_values; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.holding_values TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.holding_values TO portfolio_scheduler_api;


--
-- Name: TABLE idempotency_keys; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.idempotency_keys TO portfolio_scheduler_worker;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.idempotency_keys TO portfolio_scheduler_api;


--
-- Name: TABLE install; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.install TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.install TO portfolio_scheduler_api;


--
-- Name: TABLE instrument_files; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.instrument_files TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.instrument_files TO portfolio_scheduler_api;


--
-- Name: TABLE instrument_lines; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.instrument_lines TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.instrument_lines TO portfolio_scheduler_api;


--
-- Name: TABLE instrument_loading; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.instrument_loading TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.instrument_loading TO portfolio_scheduler_api;


--
-- Name: TABLE instruments; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.instruments TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.instruments TO portfolio_scheduler_api;


--
-- Name: TABLE invitations; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.invitations TO portfolio_scheduler_worker;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.invitations TO portfolio_scheduler_api;


--
-- Name: TABLE login_probes; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.login_probes TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.login_probes TO portfolio_scheduler_api;


--
-- Name: TABLE market_days; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.market_days TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.market_days TO portfolio_scheduler_api;


--
-- Name: TABLE notices; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.notices TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.notices TO portfolio_scheduler_api;


--
-- Name: TABLE open_findings; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.open_findings TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.open_findings TO portfolio_scheduler_api;


--
-- Name: TABLE real_positions; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.real_positions TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.real_positions TO portfolio_scheduler_api;


--
-- Name: TABLE position_values; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT ON TABLE public.position_values TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.position_values TO portfolio_scheduler_api;


--
-- Name: TABLE price_lines; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.price_lines TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.price_lines TO portfolio_scheduler_api;


--
-- Name: TABLE price_writes; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.price_writes TO portfolio_scheduler_worker;
GRANT SELECT ON TABLE public.price_writes TO portfolio_scheduler_api;


--
-- Name: TABLE procrastinate_events; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_events TO portfolio_scheduler_worker;
GRANT INSERT ON TABLE public.procrastinate_events TO portfolio_scheduler_api;


--
-- Name: SEQUENCE procrastinate_events_id_seq; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT USAGE ON SEQUENCE public.procrastinate_events_id_seq TO portfolio_scheduler_worker;
GRANT USAGE ON SEQUENCE public.procrastinate_events_id_seq TO portfolio_scheduler_api;


--
-- Name: SEQUENCE procrastinate_jobs_id_seq; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT USAGE ON SEQUENCE public.procrastinate_jobs_id_seq TO portfolio_scheduler_worker;
GRANT USAGE ON SEQUENCE public.procrastinate_jobs_id_seq TO portfolio_scheduler_api;


--
-- Name: TABLE procrastinate_periodic_defers; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_periodic_defers TO portfolio_scheduler_worker;


--
-- Name: SEQUENCE procrastinate_periodic_defers_id_seq; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT USAGE ON SEQUENCE public.procrastinate_periodic_defers_id_seq TO portfolio_scheduler_worker;


--
-- Name: TABLE procrastinate_workers; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.procrastinate_workers TO portfolio_scheduler_worker;


--
-- Name: SEQUENCE procrastinate_workers_id_seq; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT USAGE ON SEQUENCE public.procrastinate_workers_id_seq TO portfolio_scheduler_worker;


--
-- Name: TABLE recovery_codes; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.recovery_codes TO portfolio_scheduler_worker;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.recovery_codes TO portfolio_scheduler_api;


--
-- Name: TABLE sessions; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.sessions TO portfolio_scheduler_worker;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.sessions TO portfolio_scheduler_api;


--
-- Name: TABLE socket_tickets; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.socket_tickets TO portfolio_scheduler_worker;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.socket_tickets TO portfolio_scheduler_api;


--
-- Name: TABLE users; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.users TO portfolio_scheduler_worker;
GRANT SELECT,INSERT,UPDATE ON TABLE public.users TO portfolio_scheduler_api;


--
-- Name: TABLE viewer_grants; Type: ACL; Schema: public; Owner: portfolio_scheduler
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.viewer_grants TO portfolio_scheduler_worker;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.viewer_grants TO portfolio_scheduler_api;


--
-- PostgreSQL database dump complete
--

\unrestrict schema

