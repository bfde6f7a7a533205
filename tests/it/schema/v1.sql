-- Written by a test, see schema.rs.

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA pgtopic;

CREATE TYPE pgtopic.last_failure AS (
	last_status_code smallint,
	last_error_class text,
	last_error text
);

COMMENT ON TYPE pgtopic.last_failure IS 'What is kept of the last failure of a webhook.';

CREATE FUNCTION pgtopic.announce_breaker() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    IF pgtopic.may_notify() AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('pgtopic', 'webhooks');
    END IF;
END
$$;
SET default_tablespace = '';

SET default_table_access_method = heap;
CREATE TABLE pgtopic.jobs (
    id bigint NOT NULL,
    kind text NOT NULL,
    state text DEFAULT 'queued'::text NOT NULL,
    topic_id bigint,
    webhook_id bigint,
    filter json DEFAULT '{}'::json NOT NULL,
    progress json DEFAULT '{}'::json NOT NULL,
    total bigint,
    total_capped boolean DEFAULT false NOT NULL,
    done bigint DEFAULT 0 NOT NULL,
    already_owed bigint DEFAULT 0 NOT NULL,
    gone bigint DEFAULT 0 NOT NULL,
    filtered bigint DEFAULT 0 NOT NULL,
    rate_limit_per_second double precision,
    error text,
    waits_for text,
    created_by text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    updated_at timestamp with time zone,
    finished_at timestamp with time zone,
    CONSTRAINT jobs_kind_check CHECK ((kind = ANY (ARRAY['replay'::text, 'dead_letter_replay'::text, 'dead_letter_discard'::text, 'cancel'::text, 'backfill'::text, 'purge'::text, 'lanes_retry'::text]))),
    CONSTRAINT jobs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'canceling'::text, 'succeeded'::text, 'failed'::text, 'canceled'::text])))
);

COMMENT ON TABLE pgtopic.jobs IS 'Long operations. The leader does them in bounded steps. Each step commits with its progress.';

COMMENT ON COLUMN pgtopic.jobs.filter IS 'What it was asked to do, as in the request.';

COMMENT ON COLUMN pgtopic.jobs.progress IS 'Where the next step begins.';

COMMENT ON COLUMN pgtopic.jobs.waits_for IS 'What the next step waits for; null if nothing.';

COMMENT ON COLUMN pgtopic.jobs.created_by IS 'Who asked for it.';

CREATE FUNCTION pgtopic.backfill_step(job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    IF job.progress ->> 'until' IS NULL THEN
        progress := pgtopic.open_transactions(job.progress);
        IF json_array_length(progress -> 'open') > 0 OR json_array_length((progress ->> 'prepared')::json) > 0 THEN
            SELECT 0, 0, 0, 0, pgtopic.describe_transactions(progress), false
              INTO done, already_owed, gone, filtered, waits_for, finished;
            RETURN;
        END IF;
        job.progress := json_build_object('after', progress -> 'after', 'since', progress -> 'since', 'left', '[]'::json,
                                          'until', (SELECT coalesce(max(m.id), 0) FROM pgtopic.messages m));
    END IF;
    SELECT s.* INTO progress, done, already_owed, gone, filtered, waits_for, finished FROM pgtopic.replay_step(job, at_most) s;
    IF finished THEN
        PERFORM pgtopic.start_webhook(job.webhook_id, format('backfill %s has ended', job.id), job.created_by);
    END IF;
END
$$;

CREATE FUNCTION pgtopic.begin_job_step(job_id bigint) RETURNS pgtopic.jobs
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    job      pgtopic.jobs;
    why      text;
BEGIN
    PERFORM pgtopic.require_read_committed();
    SELECT j.* INTO job FROM pgtopic.jobs j
     WHERE j.id = job_id AND j.state IN ('queued', 'running', 'canceling') FOR NO KEY UPDATE;
    IF job.id IS NULL THEN
        RETURN job;
    END IF;
    why := CASE WHEN job.webhook_id IS NOT NULL AND NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = job.webhook_id)
                 THEN 'the webhook was deleted'
                 WHEN job.topic_id IS NOT NULL AND NOT EXISTS (SELECT FROM pgtopic.topics t WHERE t.id = job.topic_id)
                 THEN 'the topic was deleted' END;
    IF job.state = 'canceling' AND job.kind = 'backfill' AND why IS NULL THEN
        PERFORM pgtopic.start_webhook(job.webhook_id, format('backfill %s was canceled', job.id), job.created_by);
    END IF;
    UPDATE pgtopic.jobs j
       SET state = CASE WHEN job.state = 'canceling' THEN 'canceled' WHEN why IS NOT NULL THEN 'failed' ELSE 'running' END,
           error = CASE WHEN job.state <> 'canceling' THEN why END,
           waits_for = CASE WHEN job.state <> 'canceling' AND why IS NULL THEN j.waits_for END,
           started_at = coalesce(j.started_at, clock_timestamp()),
           finished_at = CASE WHEN job.state = 'canceling' OR why IS NOT NULL THEN clock_timestamp() END
     WHERE j.id = job_id
    RETURNING j.* INTO job;
    RETURN job;
END
$$;

CREATE FUNCTION pgtopic.body_format(format text, batch_size integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
SELECT coalesce(format, CASE WHEN batch_size OPERATOR(pg_catalog.>) 1 THEN 'envelope' ELSE 'raw' END)
$$;

CREATE FUNCTION pgtopic.cancel_deliveries(webhook_id bigint, message_ids bigint[], reason text, waits boolean, changed_by text) RETURNS TABLE(message_id bigint, outcome text, dead_letter_id bigint, head bigint, worker uuid, since timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET lock_timeout TO '1s'
    AS $$
#variable_conflict use_column
DECLARE
    message      record;
    locked       record;
    held         pgtopic.lanes;
    is_held      boolean;
    -- Whether failures, wait and halt belong to the message.
    is_reason    boolean;
    left_stripes integer[] := '{}';
BEGIN
    PERFORM pgtopic.require_read_committed();
    FOR message IN
        SELECT asked.id, m.topic_id, m.lane, m.partition_key, m.type, t.stripes | (m.lane & 255)::integer AS stripe
          FROM pgtopic.webhooks w
          JOIN pgtopic.topics t ON t.id = w.topic_id
         CROSS JOIN unnest(message_ids) AS asked (id)
          LEFT JOIN LATERAL (SELECT m.topic_id, m.lane, m.partition_key, m.type FROM pgtopic.messages m
                              WHERE m.id = asked.id AND m.topic_id = w.topic_id LIMIT 1) m ON true
         WHERE w.id = cancel_deliveries.webhook_id
         ORDER BY asked.id
    LOOP
        message_id := message.id;
        dead_letter_id := NULL;
        head := NULL;
        worker := NULL;
        since := NULL;
        outcome := CASE WHEN message.lane IS NULL THEN 'not_owed'
                        WHEN message.stripe = ANY (left_stripes) THEN 'stripe_taken' END;
        IF outcome IS NOT NULL THEN
            RETURN NEXT;
            CONTINUE;
        END IF;
        SELECT k.* INTO locked
          FROM pgtopic.lock_lane(cancel_deliveries.webhook_id, message.lane, message.stripe, waits) k;
        outcome := locked.outcome;
        held := locked.held;
        IF outcome <> 'locked' THEN
            left_stripes := left_stripes || message.stripe;
            RETURN NEXT;
            CONTINUE;
        END IF;

        head := (SELECT d.message_id FROM pgtopic.deliveries d
                  WHERE d.webhook_id = cancel_deliveries.webhook_id AND d.lane = message.lane
                    AND d.message_id > coalesce(held.position, -1)
                  ORDER BY d.message_id LIMIT 1);
        is_held := held.claimed_by IS NOT NULL
                   AND EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = held.claimed_by AND NOT o.gone);
        outcome := CASE WHEN NOT EXISTS (SELECT FROM pgtopic.deliveries d
                                          WHERE d.webhook_id = cancel_deliveries.webhook_id AND d.lane = message.lane
                                            AND d.message_id = message.id) THEN 'not_owed'
                        WHEN reason = 'skipped' AND head <> message.id THEN 'not_head'
                        WHEN is_held AND (head = message.id OR reason NOT IN ('canceled', 'skipped')) THEN 'in_flight'
                        ELSE 'removed' END;
        IF outcome = 'in_flight' THEN
            worker := held.claimed_by;
            since := held.claimed_at;
        END IF;
        IF outcome <> 'removed' THEN
            RETURN NEXT;
            CONTINUE;
        END IF;

        is_reason := NOT is_held AND coalesce(message.id BETWEEN held.head_message_id
                                                             AND coalesce(held.batch_last, held.head_message_id), false);
        DELETE FROM pgtopic.deliveries d
         WHERE d.webhook_id = cancel_deliveries.webhook_id AND d.lane = message.lane AND d.message_id = message.id;
        INSERT INTO pgtopic.dead_letters AS x (webhook_id, lane, message_id, topic_id, partition_key, type, reason, attempts,
                                               error_class, status_code, last_error)
        SELECT cancel_deliveries.webhook_id, message.lane, message.id, message.topic_id, message.partition_key, message.type,
               cancel_deliveries.reason, CASE WHEN is_reason THEN held.failures ELSE 0 END,
               CASE WHEN is_reason THEN held.last_error_class END, CASE WHEN is_reason THEN held.last_status_code END,
               CASE WHEN is_reason THEN held.last_error END
        ON CONFLICT ON CONSTRAINT dead_letters_delivery_key DO UPDATE
           SET reason = excluded.reason, attempts = excluded.attempts, error_class = excluded.error_class,
               status_code = excluded.status_code, last_error = excluded.last_error, created_at = now()
        RETURNING x.id INTO dead_letter_id;
        IF is_reason THEN
            UPDATE pgtopic.lanes l
               SET generation = l.generation + 1, failures = 0, halted = false,
                   due_at = least(l.due_at, clock_timestamp()), wait_seconds = NULL,
                   head_message_id = NULL, batch_last = NULL, batch_count = NULL,
                   last_error = NULL, last_error_class = NULL, last_status_code = NULL
             WHERE l.webhook_id = held.webhook_id AND l.lane = held.lane;
            IF held.halted THEN
                INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, lane, partition_key, message_id, reason, changed_by)
                VALUES ('lane.resumed', message.topic_id, held.webhook_id, held.lane, held.partition_key, message.id,
                        format('its head was %s', cancel_deliveries.reason), cancel_deliveries.changed_by);
            END IF;
            PERFORM pgtopic.notify_workers(message.id, message.stripe);
        ELSE
            UPDATE pgtopic.lanes l SET generation = l.generation + 1
             WHERE l.webhook_id = held.webhook_id AND l.lane = held.lane;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

CREATE FUNCTION pgtopic.cancel_step(job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
DECLARE
    looks    CONSTANT integer := 10000;
    ids      bigint[] := pgtopic.left_messages(job.progress);
    room     integer := greatest(at_most - cardinality(ids), 0);
    after    bigint := (job.progress ->> 'after')::bigint;
    last_lane bigint := (job.progress ->> 'lane')::bigint;
    until    bigint := (job.progress ->> 'until')::bigint;
    picked   record;
    is_left  bigint[];
    in_flight bigint;
BEGIN
    -- What is seen is read in order, and no further than needed.
    WITH seen AS NOT MATERIALIZED (
        SELECT d.lane, d.message_id
          FROM pgtopic.deliveries d
         WHERE d.webhook_id = job.webhook_id AND (d.lane, d.message_id) > (last_lane, after)
         ORDER BY d.lane, d.message_id
         LIMIT looks
    ), asked AS MATERIALIZED (
        SELECT s.lane, s.message_id
          FROM seen s
         WHERE s.message_id > (job.progress ->> 'from')::bigint AND s.message_id <= until
           AND (job.filter ->> 'partition_key' IS NULL AND job.filter ->> 'type' IS NULL
                AND job.progress ->> 'since' IS NULL AND job.progress ->> 'before' IS NULL
                OR (SELECT true
                      FROM pgtopic.messages m
                     WHERE m.id = s.message_id
                       AND m.partition_key = coalesce(job.filter ->> 'partition_key', m.partition_key)
                       AND (job.filter ->> 'type' IS NULL OR m.type = job.filter ->> 'type')
                       AND m.created_at >= coalesce((job.progress ->> 'since')::timestamptz, '-infinity')
                       AND m.created_at < coalesce((job.progress ->> 'before')::timestamptz, 'infinity')
                     LIMIT 1))
         ORDER BY s.lane, s.message_id
         LIMIT room
    )
    SELECT array_agg(a.message_id) AS ids,
           CASE WHEN room = 0 THEN ARRAY[last_lane, after]
                WHEN count(*) = room THEN max(ARRAY[a.lane, a.message_id])
                ELSE (SELECT coalesce(max(ARRAY[s.lane, s.message_id]), ARRAY[last_lane, after]) FROM seen s) END AS last,
           room > 0 AND count(*) < room AND (SELECT count(*) FROM seen) < looks AS is_end
      INTO picked
      FROM asked a;
    SELECT count(*) FILTER (WHERE r.outcome = 'removed'), 0,
           count(*) FILTER (WHERE r.outcome = 'not_owed'), 0,
           coalesce(array_agg(r.message_id ORDER BY r.message_id)
                        FILTER (WHERE r.outcome IN ('stripe_taken', 'row_locked', 'in_flight')), '{}'),
           min(r.message_id) FILTER (WHERE r.outcome = 'in_flight')
      INTO done, already_owed, gone, filtered, is_left, in_flight
      FROM pgtopic.cancel_deliveries(job.webhook_id, ids || picked.ids, 'canceled', false, job.created_by) r;
    progress := json_build_object('lane', picked.last[1], 'after', picked.last[2], 'from', job.progress -> 'from', 'until', until,
                                  'since', job.progress -> 'since', 'before', job.progress -> 'before', 'left', is_left);
    waits_for := CASE WHEN in_flight IS NOT NULL THEN format('message %s, which a worker is sending', in_flight)
                      WHEN cardinality(is_left) > 0 THEN pgtopic.partition_holder(is_left[1], cardinality(is_left)) END;
    finished := picked.is_end AND is_left = '{}';
END
$$;

CREATE FUNCTION pgtopic.changed_by() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    RETURN coalesce(nullif(current_setting('pgtopic_session.changed_by', true), ''), session_user);
END
$$;

CREATE FUNCTION pgtopic.changes_mark_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    NEW.is_event :=
        pgtopic.events_topic() IS NOT NULL
        AND NOT EXISTS (SELECT FROM pgtopic.topics t WHERE t.id = NEW.topic_id AND t.name ^@ ('pgtopic' || '.'));
    RETURN NEW;
END
$$;

CREATE FUNCTION pgtopic.check_backlogs(after_webhook bigint, left_out bigint[], takes interval, leader text) RETURNS TABLE(webhook_id bigint, excess bigint, overflows boolean, changed boolean, seconds double precision)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
DECLARE
    seen_above CONSTANT bigint := 10000;
    who        text        := set_config('pgtopic_session.changed_by', leader, true);
    until      timestamptz := clock_timestamp() + takes;
    begun      timestamptz;
    webhook    record;
    owed       bigint;
BEGIN
    FOR webhook IN
        SELECT w.id, w.max_owed, w.overflowing, w.on_overflow
          FROM pgtopic.webhooks w
         WHERE (w.max_owed IS NOT NULL OR w.overflowing) AND w.id > after_webhook AND w.id <> ALL (left_out)
           AND (w.state = 'active' OR w.overflowing)
         ORDER BY w.id
    LOOP
        begun := clock_timestamp();
        SELECT count(*) INTO owed
          FROM (SELECT
                  FROM pgtopic.lanes l
                 CROSS JOIN LATERAL (
                    SELECT
                      FROM pgtopic.deliveries d
                     WHERE d.webhook_id = webhook.id AND d.lane = l.lane AND d.message_id > l.position AND d.replayed_at IS NULL
                     LIMIT webhook.max_owed + seen_above) d
                 WHERE l.webhook_id = webhook.id
                 LIMIT webhook.max_owed + seen_above) o
         WHERE webhook.max_owed IS NOT NULL;
        webhook_id := webhook.id;
        -- Without a limit there is no overflow.
        overflows := coalesce(owed > webhook.max_owed OR webhook.overflowing AND owed > webhook.max_owed::bigint * 9 / 10, false);
        changed := overflows <> webhook.overflowing;
        excess := CASE WHEN webhook.on_overflow = 'refuse' THEN 0 ELSE greatest(owed - webhook.max_owed, 0) END;
        seconds := extract(epoch FROM clock_timestamp() - begun);
        IF changed THEN
            UPDATE pgtopic.webhooks w SET overflowing = overflows WHERE w.id = webhook.id;
        END IF;
        RETURN NEXT;
        EXIT WHEN clock_timestamp() >= until;
    END LOOP;
END
$$;

CREATE FUNCTION pgtopic.check_filter(filter jsonpath) RETURNS integer
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $_$
DECLARE
    accepted_bytes integer := pgtopic.filter_limit(filter);
    problem        text;
    payload        jsonb := '[1, 0.5, "2026-01-31T12:00:00Z", "text", null, true, [1, ["text"]]]';
BEGIN
    IF regexp_replace(filter::text, '"(\\.|[^"\\])*"', '""', 'g') ~ '\$""' THEN
        problem := 'must not name variables: nothing gives them a value';
    ELSIF (jsonb_typeof(jsonb_path_query_first('{}', filter, '{}', true)) IN ('boolean', 'null')) IS NOT TRUE THEN
        problem := 'must be a predicate, such as $.event == "order.created"; a path alone never matches';
    ELSE
        BEGIN
            FOR depth IN 1 .. 3 LOOP
                payload := (SELECT coalesce(jsonb_object_agg(k.key, payload), '{}') || jsonb_build_object('', payload)
                              FROM (SELECT DISTINCT t[1]::jsonb #>> '{}' AS key
                                      FROM regexp_matches(filter::text, '\.("(?:\\.|[^"\\])*")', 'g') t
                                     LIMIT 4) k);
                PERFORM payload @@ filter;
            END LOOP;
        EXCEPTION WHEN data_exception OR program_limit_exceeded OR feature_not_supported OR undefined_object THEN
            problem := 'cannot be evaluated: ' || SQLERRM;
        END;
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem
            USING ERRCODE = 'invalid_parameter_value', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'filter';
    END IF;
    RETURN accepted_bytes;
END
$_$;

CREATE FUNCTION pgtopic.claim_lanes(worker uuid, new_token bigint, webhook_ids bigint[], slots integer[], due_after timestamp with time zone[], sweep boolean, messages_per_lane integer, payload_budget bigint) RETURNS TABLE(webhook_id bigint, lane bigint, due_at timestamp with time zone, "position" bigint, generation integer, head_message_id bigint, failures integer, batch_last bigint, batch_count integer, split_until bigint, message_id bigint, partition_key text, type text, payload json, headers json, created_at timestamp with time zone, replayed_at timestamp with time zone, state text, age double precision)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    claimed  pgtopic.lanes[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);

    -- The CTE is a fence. If it were joined directly, the update might change more lanes than the
    -- LIMIT allows. A lane that was changed just before it was locked is left to the next look: its
    -- new place is not in this snapshot. So a sweep takes no lane from a worker that has just
    -- registered: its claims are newer than this snapshot.
    WITH due AS MATERIALIZED (
        SELECT l.place
          FROM unnest(claim_lanes.webhook_ids, claim_lanes.slots, claim_lanes.due_after)
               AS want (webhook_id, slots, due_after)
          JOIN pgtopic.webhooks w ON w.id = want.webhook_id
           AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND NOT pgtopic.is_held(w.hold_until)
           AND NOT EXISTS (SELECT FROM pgtopic.breakers b WHERE b.webhook_id = w.id AND b.state = 'open')
          JOIN pgtopic.topics t ON t.id = w.topic_id AND t.paused IS DISTINCT FROM 'hold'
         CROSS JOIN LATERAL (
            SELECT l.ctid AS place
              FROM pgtopic.lanes l
             WHERE l.webhook_id + 0 = want.webhook_id
               AND l.due_at >= coalesce(want.due_after, statement_timestamp() - interval '5 s')
               AND l.due_at <= statement_timestamp()
               AND (l.claimed_by IS NULL
                    OR claim_lanes.sweep
                       AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
             ORDER BY l.due_at
             LIMIT want.slots
               FOR UPDATE SKIP LOCKED
         ) l
    ), taken AS (
        UPDATE pgtopic.lanes l
           SET claimed_by = claim_lanes.worker, token = claim_lanes.new_token, claimed_at = clock_timestamp()
         WHERE l.ctid = ANY (ARRAY(SELECT due.place FROM due))
        RETURNING l
    )
    SELECT array_agg(t.l) INTO claimed FROM taken t;
    IF claimed IS NULL THEN
        RETURN;
    END IF;

    -- A new statement has a new snapshot. If a replay has lowered a position that the update
    -- returned, this statement sees what the replay has added.
    RETURN QUERY SELECT r.* FROM pgtopic.read_claimed(claimed, messages_per_lane, payload_budget) r;
END
$$;

CREATE FUNCTION pgtopic.claim_lanes_singly(worker uuid, new_token bigint, webhook_ids bigint[], slots integer[], due_after timestamp with time zone[], sweep boolean) RETURNS TABLE(webhook_id bigint, lane bigint, due_at timestamp with time zone, "position" bigint, generation integer, head_message_id bigint, failures integer, batch_last bigint, batch_count integer, split_until bigint, message_id bigint, partition_key text, type text, payload json, headers json, created_at timestamp with time zone, replayed_at timestamp with time zone, state text, age double precision)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    places   tid[];
    before   integer;
    one      pgtopic.lanes;
    claimed  pgtopic.lanes[] := '{}';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);

    FOR want IN 1 .. cardinality(claim_lanes_singly.webhook_ids) LOOP
        before := cardinality(claimed);
        places := ARRAY(
            SELECT l.ctid
              FROM pgtopic.lanes l
              JOIN pgtopic.webhooks w ON w.id = claim_lanes_singly.webhook_ids[want]
               AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND NOT pgtopic.is_held(w.hold_until)
               AND NOT EXISTS (SELECT FROM pgtopic.breakers b WHERE b.webhook_id = w.id AND b.state = 'open')
              JOIN pgtopic.topics t ON t.id = w.topic_id AND t.paused IS DISTINCT FROM 'hold'
             WHERE l.webhook_id + 0 = claim_lanes_singly.webhook_ids[want]
               AND l.due_at >= coalesce(claim_lanes_singly.due_after[want], statement_timestamp() - interval '5 s')
               AND l.due_at <= statement_timestamp()
               AND (l.claimed_by IS NULL
                    OR claim_lanes_singly.sweep
                       AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
             ORDER BY l.due_at
             LIMIT claim_lanes_singly.slots[want] + 100);
        FOR at IN 1 .. cardinality(places) LOOP
            EXIT WHEN cardinality(claimed) >= before + claim_lanes_singly.slots[want];
            BEGIN
                -- If the row changes before it is locked, it gets another place, and the update
                -- does not find it. Its old place may belong to another lane by then, even to one
                -- that waits or is halted. So all conditions are checked again.
                PERFORM FROM pgtopic.lanes l WHERE l.ctid = places[at] AND l.webhook_id = claim_lanes_singly.webhook_ids[want]
                    AND l.due_at <= statement_timestamp()
                    AND (l.claimed_by IS NULL
                         OR claim_lanes_singly.sweep
                            AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
                    FOR UPDATE SKIP LOCKED;
                CONTINUE WHEN NOT FOUND;
                UPDATE pgtopic.lanes l
                   SET claimed_by = claim_lanes_singly.worker, token = claim_lanes_singly.new_token, claimed_at = clock_timestamp()
                 WHERE l.ctid = places[at]
                RETURNING l.* INTO one;
                CONTINUE WHEN NOT FOUND;
                claimed := claimed || one;
            EXCEPTION WHEN OTHERS THEN
                -- This lane alone stays as it is.
                NULL;
            END;
        END LOOP;
    END LOOP;
    RETURN QUERY SELECT r.* FROM pgtopic.read_claimed(claimed, 0, 0) r;
END
$$;

CREATE FUNCTION pgtopic.claim_messages(worker uuid, new_token bigint, message_ids bigint[], full_webhooks bigint[], topics text[], lanes_at_most integer, messages_per_lane integer, payload_budget bigint) RETURNS TABLE(webhook_id bigint, lane bigint, due_at timestamp with time zone, token bigint, "position" bigint, generation integer, head_message_id bigint, failures integer, batch_last bigint, batch_count integer, split_until bigint, message_id bigint, partition_key text, type text, payload json, headers json, created_at timestamp with time zone, replayed_at timestamp with time zone, state text, age double precision)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    claimed  pgtopic.lanes[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);

    -- As in claim_lanes.
    WITH due AS MATERIALIZED (
        SELECT l.place
          FROM unnest(claim_messages.message_ids) AS told (id)
         CROSS JOIN LATERAL (
            SELECT m.topic_id, m.lane
              FROM pgtopic.messages m
              JOIN pgtopic.topics t ON t.id = m.topic_id AND t.paused IS DISTINCT FROM 'hold'
               AND (claim_messages.topics IS NULL OR t.name LIKE ANY (claim_messages.topics))
             WHERE m.id = told.id
             LIMIT 1
         ) m
         CROSS JOIN LATERAL (
            SELECT w.id
              FROM pgtopic.webhooks w
             WHERE w.topic_id = m.topic_id AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL
               AND NOT pgtopic.is_held(w.hold_until)
               AND w.id <> ALL (claim_messages.full_webhooks)
               AND NOT EXISTS (SELECT FROM pgtopic.breakers b WHERE b.webhook_id = w.id AND b.state = 'open')
            OFFSET 0
         ) w
         CROSS JOIN LATERAL (
            SELECT l.ctid AS place
              FROM pgtopic.lanes l
             WHERE l.webhook_id = w.id AND l.lane = m.lane
               AND l.due_at <= statement_timestamp() AND l.claimed_by IS NULL
             LIMIT 1
               FOR UPDATE SKIP LOCKED
         ) l
         LIMIT claim_messages.lanes_at_most
    ), taken AS (
        UPDATE pgtopic.lanes l
           SET claimed_by = claim_messages.worker, token = claim_messages.new_token, claimed_at = clock_timestamp()
         WHERE l.ctid = ANY (ARRAY(SELECT due.place FROM due))
        RETURNING l
    )
    SELECT array_agg(t.l) INTO claimed FROM taken t;
    IF claimed IS NOT NULL THEN
        RETURN QUERY
        SELECT r.webhook_id, r.lane, r.due_at, claim_messages.new_token, r.position, r.generation, r.head_message_id, r.failures,
               r.batch_last, r.batch_count, r.split_until, r.message_id, r.partition_key, r.type, r.payload, r.headers,
               r.created_at, r.replayed_at, r.state, r.age
          FROM pgtopic.read_claimed(claimed, messages_per_lane, payload_budget) r;
    END IF;
    RETURN QUERY
    SELECT l.webhook_id, l.lane, l.due_at, l.token,
           coalesce((SELECT max(d.message_id) FROM pgtopic.deliveries d
                      WHERE d.webhook_id = l.webhook_id AND d.lane = l.lane
                        AND d.message_id > l.position AND d.message_id < m.id), l.position),
           l.generation, NULL::bigint, 0, NULL::bigint, NULL::integer, NULL::bigint, m.id, m.partition_key, m.type,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.payload END,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.headers END,
           m.created_at, owed.replayed_at,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN 'held' ELSE 'deferred' END,
           date_part('epoch', clock_timestamp()) - date_part('epoch', greatest(m.created_at, m.published_at))
      FROM unnest(claim_messages.message_ids) AS told (id)
     CROSS JOIN LATERAL (SELECT m.* FROM pgtopic.messages m WHERE m.id = told.id LIMIT 1) m
     CROSS JOIN LATERAL (SELECT w.id FROM pgtopic.webhooks w WHERE w.topic_id = m.topic_id OFFSET 0) w
     CROSS JOIN LATERAL (
        SELECT x.*
          FROM pgtopic.lanes x
         WHERE x.webhook_id = w.id AND x.lane = m.lane
           AND x.claimed_by = claim_messages.worker AND x.token <> claim_messages.new_token
         LIMIT 1) l
     CROSS JOIN LATERAL (
        SELECT d.replayed_at
          FROM pgtopic.deliveries d
         WHERE d.webhook_id = w.id AND d.lane = m.lane AND d.message_id = m.id
         LIMIT 1) owed
    WINDOW read AS (ROWS UNBOUNDED PRECEDING);
END
$$;

CREATE FUNCTION pgtopic.close_breaker(webhook_id bigint, worker uuid, token bigint, epoch bigint, reason text, changed_by text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
#variable_conflict use_variable
DECLARE
    was_open interval := (SELECT clock_timestamp() - b.opened_at FROM pgtopic.breakers b WHERE b.webhook_id = close_breaker.webhook_id);
    begins   bigint;
BEGIN
    UPDATE pgtopic.breakers b
       SET state = 'closed', epoch = b.epoch + 1, opened_at = NULL, next_probe_at = NULL, probes = 0, probe_by = NULL,
           probe_token = NULL, probe_until = NULL, wake_after = -9223372036854775808, changed_at = clock_timestamp()
     WHERE b.webhook_id = close_breaker.webhook_id
       AND b.state = 'open'
       AND (worker IS NULL OR b.epoch = close_breaker.epoch AND b.probe_by = worker AND b.probe_token = token)
    RETURNING b.epoch INTO begins;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
    SELECT 'webhook.closed', w.topic_id, w.id,
           format('after %s s: %s', round(extract(epoch FROM was_open)::numeric, 1), reason), changed_by
      FROM pgtopic.webhooks w
     WHERE w.id = webhook_id;
    PERFORM pgtopic.announce_breaker();
    RETURN begins;
END
$$;

CREATE FUNCTION pgtopic.dead_letter_filter(filter json, OUT partition_key text, OUT type text, OUT reason text, OUT error_class text, OUT status_code bigint, OUT since timestamp with time zone, OUT before timestamp with time zone) RETURNS record
    LANGUAGE sql STABLE
    AS $$
SELECT filter ->> 'partition_key', filter ->> 'type', filter ->> 'reason', filter ->> 'error_class',
       (filter ->> 'status_code')::bigint, (filter ->> 'since')::timestamptz, (filter ->> 'until')::timestamptz
$$;

CREATE TABLE pgtopic.dead_letters (
    id bigint NOT NULL,
    webhook_id bigint NOT NULL,
    lane bigint NOT NULL,
    message_id bigint NOT NULL,
    topic_id bigint NOT NULL,
    partition_key text NOT NULL,
    type text,
    reason text NOT NULL,
    attempts integer NOT NULL,
    error_class text,
    status_code smallint,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT dead_letters_error_class_check CHECK ((error_class = ANY (ARRAY['dns'::text, 'connect'::text, 'tls'::text, 'forbidden'::text, 'timeout'::text, 'status'::text, 'redirect'::text, 'protocol'::text, 'request'::text]))),
    CONSTRAINT dead_letters_reason_check CHECK ((reason = ANY (ARRAY['attempts_exhausted'::text, 'permanent'::text, 'expired'::text, 'overflow'::text, 'skipped'::text, 'message_missing'::text, 'canceled'::text, 'superseded'::text])))
);

COMMENT ON TABLE pgtopic.dead_letters IS 'Deliveries that were given up: they used up their attempts, or their message was deleted. They are kept until they are deleted or replayed, or until retention.dead_letters_days have passed.';

COMMENT ON COLUMN pgtopic.dead_letters.topic_id IS 'Topic, key and type are copies: a dead letter can be listed by them without its message.';

COMMENT ON COLUMN pgtopic.dead_letters.error_class IS 'How the last attempt failed; null if there was none.';

CREATE FUNCTION pgtopic.dead_letter_fits(letter pgtopic.dead_letters, partition_key text, type text, reason text, error_class text, status_code bigint, since timestamp with time zone, until timestamp with time zone) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
SELECT (dead_letter_fits.partition_key IS NULL OR letter.partition_key = dead_letter_fits.partition_key)
   AND (dead_letter_fits.type IS NULL OR letter.type = dead_letter_fits.type)
   AND CASE WHEN dead_letter_fits.reason IS NULL THEN letter.reason NOT IN ('canceled', 'superseded')
            ELSE letter.reason = dead_letter_fits.reason END
   AND (dead_letter_fits.error_class IS NULL OR letter.error_class = dead_letter_fits.error_class)
   AND (dead_letter_fits.status_code IS NULL OR letter.status_code = dead_letter_fits.status_code)
   AND (dead_letter_fits.since IS NULL OR letter.created_at >= dead_letter_fits.since)
   AND (dead_letter_fits.until IS NULL OR letter.created_at < dead_letter_fits.until)
$$;

CREATE FUNCTION pgtopic.dead_letter_groups(webhook_ids bigint[], partition_key text, type text, reason text, error_class text, status_code bigint, since timestamp with time zone, until timestamp with time zone, look_at bigint, at_most bigint) RETURNS TABLE(webhook_id bigint, reason_given text, error_class_given text, status_code_given smallint, hour timestamp with time zone, count bigint, first_at timestamp with time zone, last_at timestamp with time zone, sample_id bigint, capped boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET enable_sort TO 'off'
    SET work_mem TO '64MB'
    AS $$
SELECT w.id, l.reason, l.error_class, l.status_code, date_bin('1 hour', l.created_at, '1970-01-01Z') AS hour,
       count(*), min(l.created_at), max(l.created_at), max(l.id), bool_or(l.looked_at >= dead_letter_groups.look_at)
  FROM unnest(dead_letter_groups.webhook_ids) w (id)
 CROSS JOIN LATERAL (
    SELECT n.*, count(*) OVER () AS looked_at
      FROM (SELECT x.id, x.reason, x.error_class, x.status_code, x.created_at,
                   pgtopic.dead_letter_fits(x, dead_letter_groups.partition_key, dead_letter_groups.type,
                                            dead_letter_groups.reason, dead_letter_groups.error_class,
                                            dead_letter_groups.status_code, dead_letter_groups.since,
                                            dead_letter_groups.until) AS fits
              FROM pgtopic.dead_letters x
             -- Not "=": then the planner may read the dead letters of all webhooks in the order of
             -- their ids, and leave out those of others.
             WHERE x.webhook_id + 0 >= w.id AND x.webhook_id + 0 <= w.id
             ORDER BY x.webhook_id + 0 DESC, x.id DESC
             LIMIT dead_letter_groups.look_at) n) l
 WHERE l.fits
 GROUP BY 1, 2, 3, 4, 5
 ORDER BY 5 DESC, 6 DESC, 9 DESC
 LIMIT dead_letter_groups.at_most
$$;

CREATE FUNCTION pgtopic.dead_letters_flush() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    SET LOCAL synchronous_commit TO DEFAULT;
    RETURN NULL;
END
$$;

CREATE FUNCTION pgtopic.dead_letters_step(job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
DECLARE
    looks    CONSTANT integer := 10000;
    ids      bigint[] := pgtopic.left_messages(job.progress);
    room     integer := greatest(at_most - cardinality(ids), 0);
    after    bigint := (job.progress ->> 'after')::bigint;
    after_id bigint := (job.progress ->> 'after_id')::bigint;
    until    bigint := (job.progress ->> 'until')::bigint;
    picked   record;
    is_left  bigint[];
BEGIN
    -- What is seen is read in order, and no further than needed.
    WITH wanted AS MATERIALIZED (
        SELECT * FROM pgtopic.dead_letter_filter(job.filter)
    ), seen AS NOT MATERIALIZED (
        SELECT l.id, l.message_id, l
          FROM pgtopic.dead_letters l
         WHERE (l.message_id, l.id) > (after, after_id)
         ORDER BY l.message_id, l.id
         LIMIT looks
    ), asked AS MATERIALIZED (
        SELECT s.id, s.message_id
          FROM seen s
         CROSS JOIN wanted w
         WHERE s.id <= until
           AND (job.topic_id IS NULL OR (s.l).topic_id = job.topic_id)
           AND (job.webhook_id IS NULL OR (s.l).webhook_id = job.webhook_id)
           AND pgtopic.dead_letter_fits(s.l, w.partition_key, w.type, w.reason, w.error_class, w.status_code, w.since, w.before)
         ORDER BY s.message_id, s.id
         LIMIT room
    )
    SELECT array_agg(a.id ORDER BY a.message_id, a.id) AS ids,
           CASE WHEN room = 0 THEN ARRAY[after, after_id]
                WHEN count(*) = room THEN max(ARRAY[a.message_id, a.id])
                ELSE (SELECT coalesce(max(ARRAY[s.message_id, s.id]), ARRAY[after, after_id]) FROM seen s) END AS last,
           room > 0 AND count(*) < room AND (SELECT count(*) FROM seen) < looks AS is_end
      INTO picked
      FROM asked a;
    IF job.kind = 'dead_letter_discard' THEN
        SELECT count(*) FILTER (WHERE r.outcome = 'discarded'), 0, count(*) FILTER (WHERE r.outcome = 'absent'),
               coalesce(array_agg(r.dead_letter_id) FILTER (WHERE r.outcome = 'row_locked'), '{}')
          INTO done, already_owed, gone, is_left
          FROM pgtopic.discard_dead_letters(ids || picked.ids) r;
    ELSE
        SELECT count(*) FILTER (WHERE r.outcome = 'owed'),
               count(*) FILTER (WHERE r.outcome = 'already_owed'),
               count(*) FILTER (WHERE r.outcome IN ('message_gone', 'webhook_gone', 'absent')),
               coalesce(array_agg(r.dead_letter_id ORDER BY r.message_id, r.dead_letter_id)
                            FILTER (WHERE r.outcome IN ('stripe_taken', 'row_locked')), '{}')
          INTO done, already_owed, gone, is_left
          FROM pgtopic.replay_dead_letters(ids || picked.ids, false) r;
    END IF;
    filtered := 0;
    progress := json_build_object('after', picked.last[1], 'after_id', picked.last[2], 'until', until, 'left', is_left);
    waits_for := (SELECT pgtopic.partition_holder(l.message_id, cardinality(is_left)) FROM pgtopic.dead_letters l WHERE l.id = is_left[1]);
    finished := picked.is_end AND is_left = '{}';
END
$$;

CREATE FUNCTION pgtopic.delete_old_changes(days integer, portion integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    deleted  bigint;
BEGIN
    DELETE FROM pgtopic.changes
     WHERE ctid = ANY (ARRAY(
        SELECT c.ctid
          FROM (SELECT o.ctid, o.created_at FROM pgtopic.changes o ORDER BY o.id LIMIT portion) c
         WHERE c.created_at < now() - delete_old_changes.days * interval '1 day'));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

CREATE FUNCTION pgtopic.delete_old_dead_letters(days integer, portion integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    deleted  bigint;
BEGIN
    -- Rows are deleted by their places: a join might read the whole table.
    DELETE FROM pgtopic.dead_letters
     WHERE ctid = ANY (ARRAY(
        SELECT l.ctid
          FROM (SELECT o.id, o.created_at FROM pgtopic.dead_letters o ORDER BY o.id LIMIT portion) o
         CROSS JOIN LATERAL (SELECT x.ctid FROM pgtopic.dead_letters x WHERE x.id = o.id LIMIT 1 FOR UPDATE SKIP LOCKED) l
         WHERE o.created_at < now() - delete_old_dead_letters.days * interval '1 day'));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

CREATE FUNCTION pgtopic.delete_old_jobs(days integer, portion integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    deleted  bigint;
BEGIN
    DELETE FROM pgtopic.jobs
     WHERE ctid = ANY (ARRAY(
        SELECT j.ctid FROM pgtopic.jobs j
         WHERE j.finished_at < now() - delete_old_jobs.days * interval '1 day'
         LIMIT portion));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;

CREATE FUNCTION pgtopic.delete_old_messages(after bigint, portion integer, default_days integer, OUT last_id bigint, OUT seen bigint, OUT deleted bigint, OUT any_old boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    fallback interval := nullif(delete_old_messages.default_days, 0) * interval '1 day';
    shortest timestamptz;
    expired  bigint[];
    locked   bigint[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    -- A retention of 0 keeps messages for ever, as no retention does where there is no default.
    SELECT now() - min(nullif(coalesce(t.retention, fallback), interval '0')) INTO shortest FROM pgtopic.topics t;

    SELECT max(m.id), count(*), coalesce(bool_or(m.created_at < shortest), false),
           array_agg(m.id) FILTER (WHERE t.id IS NULL
                                      OR m.created_at < now() - nullif(coalesce(t.retention, fallback), interval '0'))
      INTO last_id, seen, any_old, expired
      FROM (SELECT o.id, o.topic_id, o.created_at
              FROM pgtopic.messages o
             WHERE o.id > delete_old_messages.after
             ORDER BY o.id
             LIMIT delete_old_messages.portion) m
      LEFT JOIN pgtopic.topics t ON t.id = m.topic_id;

    SELECT array_agg(m.id) INTO locked
      FROM (SELECT l.id FROM pgtopic.messages l WHERE l.id = ANY (expired) FOR UPDATE SKIP LOCKED) m;

    WITH gone AS (
        DELETE FROM pgtopic.messages m
         WHERE m.id = ANY (locked)
           AND NOT EXISTS (
                SELECT
                  FROM pgtopic.webhooks w
                  JOIN pgtopic.deliveries d ON d.webhook_id = w.id AND d.lane = m.lane AND d.message_id = m.id
                 WHERE w.topic_id = m.topic_id)
           AND NOT EXISTS (SELECT FROM pgtopic.dead_letters l WHERE l.message_id = m.id AND l.reason <> 'superseded')
        RETURNING m.id
    ), letters AS (
        DELETE FROM pgtopic.dead_letters x
         WHERE x.ctid = ANY (ARRAY(
            SELECT l.place
              FROM gone
             CROSS JOIN LATERAL (SELECT l.ctid AS place FROM pgtopic.dead_letters l
                                  WHERE l.message_id = gone.id FOR UPDATE SKIP LOCKED) l))
    )
    SELECT count(*) INTO deleted FROM gone;
END
$$;

CREATE FUNCTION pgtopic.delivery_state(webhook_id bigint, lane bigint, message_id bigint) RETURNS TABLE(status text, attempts bigint, last_status_code smallint, last_error_class text, last_error text, next_attempt_at timestamp with time zone, settled_at timestamp with time zone, replayed_at timestamp with time zone)
    LANGUAGE sql STABLE
    AS $$
    SELECT s.status, coalesce(x.attempts, a.attempts), coalesce(a.last_status_code, x.status_code),
           coalesce(a.last_error_class, x.error_class), coalesce(a.last_error, x.last_error),
           CASE WHEN o.owed AND ahead.waits IS NULL AND l.claimed_by IS NULL AND isfinite(l.due_at) THEN l.due_at END,
           CASE WHEN o.owed THEN NULL WHEN x.reason IS NOT NULL THEN x.created_at ELSE a.accepted_at END, o.replayed_at
      FROM (SELECT) AS one
      LEFT JOIN LATERAL (SELECT true AS owed, d.replayed_at
                           FROM pgtopic.deliveries d
                          WHERE d.webhook_id = delivery_state.webhook_id AND d.lane = delivery_state.lane
                            AND d.message_id = delivery_state.message_id
                          LIMIT 1) o ON true
      LEFT JOIN LATERAL (SELECT l.position, l.due_at, l.claimed_by, l.failures, l.halted, l.head_message_id, l.batch_last
                           FROM pgtopic.lanes l
                          WHERE o.owed AND l.webhook_id = delivery_state.webhook_id AND l.lane = delivery_state.lane
                          LIMIT 1) l ON true
      LEFT JOIN LATERAL (SELECT true AS waits
                           FROM pgtopic.deliveries d
                          WHERE d.webhook_id = delivery_state.webhook_id AND d.lane = delivery_state.lane
                            AND d.message_id > l.position AND d.message_id < delivery_state.message_id
                          LIMIT 1) ahead ON true
      LEFT JOIN LATERAL (SELECT x.attempts, x.error_class, x.status_code, x.last_error, x.created_at, x.reason
                           FROM pgtopic.dead_letters x
                          WHERE x.webhook_id = delivery_state.webhook_id AND x.message_id = delivery_state.message_id
                          LIMIT 1) x ON true
      LEFT JOIN LATERAL (SELECT count(*) AS attempts,
                                max(a.attempted_at) FILTER (WHERE a.outcome = 'accepted') AS accepted_at,
                                (array_agg(a.status_code ORDER BY a.attempted_at DESC))[1] AS last_status_code,
                                (array_agg(a.error_class ORDER BY a.attempted_at DESC))[1] AS last_error_class,
                                (array_agg(a.error ORDER BY a.attempted_at DESC))[1] AS last_error
                           FROM pgtopic.attempts a
                          WHERE a.webhook_id = delivery_state.webhook_id
                            AND a.message_id = delivery_state.message_id) a ON true
     CROSS JOIN LATERAL (SELECT CASE WHEN o.owed AND l.halted THEN 'halted'
                                     WHEN o.owed AND l.claimed_by IS NOT NULL AND ahead.waits IS NULL THEN 'in_flight'
                                     WHEN o.owed AND l.failures > 0
                                          AND delivery_state.message_id BETWEEN l.head_message_id
                                                                            AND coalesce(l.batch_last, l.head_message_id)
                                     THEN 'retrying'
                                     WHEN o.owed THEN 'pending'
                                     WHEN x.reason IN ('canceled', 'superseded') THEN x.reason
                                     WHEN x.reason IS NOT NULL THEN 'dead'
                                     WHEN a.accepted_at IS NOT NULL THEN 'delivered' END AS status) s
     WHERE s.status IS NOT NULL
$$;

CREATE FUNCTION pgtopic.describe_transactions(progress json) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT 'transactions that began before the webhook was created: ' || coalesce(string_agg(x.name, ', ' ORDER BY x.name), 'they end now')
  FROM (SELECT concat_ws(' ', 'pid', l.pid,
                         '(' || concat_ws(', ', a.usename, nullif(a.application_name, ''), 'since ' || a.xact_start) || ')') AS name
          FROM json_array_elements_text((progress ->> 'open')::json) o
          JOIN pg_locks l ON l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.virtualtransaction = o
          LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         UNION ALL
        SELECT 'prepared transaction ' || p.gid
          FROM json_array_elements_text((progress ->> 'prepared')::json) o
          JOIN pg_prepared_xacts p ON p.transaction::text = o) x
$$;

CREATE FUNCTION pgtopic.discard_dead_letters(dead_letter_ids bigint[]) RETURNS TABLE(dead_letter_id bigint, outcome text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
DECLARE
    discarded bigint[];
BEGIN
    WITH gone AS (
        DELETE FROM pgtopic.dead_letters x
         WHERE x.ctid = ANY (ARRAY(
            SELECT x.place
              FROM unnest(dead_letter_ids) AS asked (id)
             CROSS JOIN LATERAL (SELECT x.ctid AS place FROM pgtopic.dead_letters x WHERE x.id = asked.id
                                  LIMIT 1 FOR UPDATE SKIP LOCKED) x))
        RETURNING x.id
    )
    SELECT array_agg(g.id) INTO discarded FROM gone g;
    RETURN QUERY
    SELECT asked.id, CASE WHEN asked.id = ANY (discarded) THEN 'discarded'
                          WHEN EXISTS (SELECT FROM pgtopic.dead_letters x WHERE x.id = asked.id) THEN 'row_locked'
                          ELSE 'absent' END
      FROM unnest(dead_letter_ids) AS asked (id);
END
$$;

CREATE FUNCTION pgtopic.drop_attempt_partitions(days integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET lock_timeout TO '500ms'
    AS $$
DECLARE
    dropped integer := 0;
    old     regclass;
BEGIN
    FOR old IN
        SELECT c.oid::regclass
          FROM pg_inherits i
          JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'pgtopic.attempts'::regclass
           AND c.relname < 'attempts_' || to_char((now() AT TIME ZONE 'UTC') - make_interval(days => drop_attempt_partitions.days), 'YYYYMMDD')
    LOOP
        PERFORM set_config('lock_timeout', '3s', true);
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', old);
        PERFORM set_config('lock_timeout', '500ms', true);
        EXECUTE format('DROP TABLE %s', old);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

CREATE FUNCTION pgtopic.drop_overflow(webhook bigint, message_ids bigint[], lanes bigint[], leader text, OUT dropped bigint, OUT left_lanes bigint[]) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
DECLARE
    policy text := (SELECT w.on_overflow FROM pgtopic.webhooks w
                     WHERE w.id = webhook AND w.overflowing AND w.max_owed IS NOT NULL AND w.on_overflow <> 'refuse');
    ids    bigint[];
BEGIN
    dropped := 0;
    left_lanes := '{}';
    IF policy IS NULL THEN
        RETURN;
    END IF;
    ids := ARRAY(SELECT o.message_id
                   FROM unnest(message_ids, lanes) AS o (message_id, lane)
                  CROSS JOIN LATERAL (SELECT true AS is_free FROM pgtopic.lanes l
                                       WHERE l.webhook_id = webhook AND l.lane = o.lane AND l.claimed_by IS NULL AND NOT l.halted
                                       LIMIT 1) l);
    SELECT count(*) FILTER (WHERE o.outcome = 'removed'),
           coalesce(array_agg(DISTINCT o.lane) FILTER (WHERE o.outcome IS DISTINCT FROM 'removed' AND o.outcome IS DISTINCT FROM 'not_owed'), '{}')
      INTO dropped, left_lanes
      FROM (SELECT o.lane, r.outcome
              FROM unnest(message_ids, lanes) AS o (message_id, lane)
              LEFT JOIN pgtopic.cancel_deliveries(
                            webhook, ids, CASE policy WHEN 'keep_latest' THEN 'superseded' ELSE 'overflow' END, false, leader) r
                     ON r.message_id = o.message_id) o;
END
$$;

CREATE FUNCTION pgtopic.end_probe(worker uuid, token bigint, webhook_id bigint, epoch bigint, failed boolean, next_in double precision, disable text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
#variable_conflict use_variable
DECLARE
    flush text := set_config('synchronous_commit', CASE WHEN disable IS NULL THEN 'off' ELSE current_setting('synchronous_commit') END,
                             true);
BEGIN
    UPDATE pgtopic.breakers b
       SET probe_by = NULL, probe_token = NULL, probe_until = NULL, probes = b.probes + failed::integer,
           next_probe_at = clock_timestamp() + make_interval(secs => next_in)
     WHERE b.webhook_id = end_probe.webhook_id
       AND b.state = 'open' AND b.epoch = end_probe.epoch
       AND b.probe_by = worker AND b.probe_token = token;
    IF NOT FOUND THEN
        RETURN 'lost';
    END IF;
    IF disable IS NULL THEN
        RETURN 'ended';
    END IF;
    PERFORM set_config('pgtopic_session.changed_by', 'worker ' || worker, true);
    UPDATE pgtopic.webhooks w SET disabled_reason = disable WHERE w.id = webhook_id AND w.disabled_reason IS NULL;
    RETURN 'disabled';
END
$$;

CREATE FUNCTION pgtopic.events_topic() RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT t.id
  FROM pgtopic.topics t
 WHERE t.name = 'pgtopic' || '.events'
   AND EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.topic_id = t.id)
$$;

CREATE FUNCTION pgtopic.expire_deliveries(after_webhook bigint, after_lane bigint, at_most integer, changed_by text, OUT last_webhook bigint, OUT last_lane bigint, OUT expired bigint, OUT more boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
DECLARE
    in_each CONSTANT integer := 100;
    webhook record;
    found   record;
    room    integer := at_most;
BEGIN
    expired := 0;
    more := false;
    FOR webhook IN
        SELECT w.id, w.max_age_seconds
          FROM pgtopic.webhooks w
         WHERE w.max_age_seconds IS NOT NULL AND w.id >= after_webhook
         ORDER BY w.id
    LOOP
        SELECT count(*) AS lanes, max(looked.lane) AS last_lane,
               (array_agg(old.message_id ORDER BY old.message_id) FILTER (WHERE old.message_id IS NOT NULL))[:at_most] AS ids,
               count(old.message_id) AS olds, coalesce(bool_or(old.number = in_each), false) AS deep
          INTO found
          FROM (SELECT l.lane, l.position
                  FROM pgtopic.lanes l
                 WHERE l.webhook_id = webhook.id
                   AND l.lane > CASE WHEN webhook.id = after_webhook THEN after_lane ELSE -9223372036854775808 END
                 ORDER BY l.lane
                 LIMIT room) looked
          LEFT JOIN LATERAL (
            SELECT o.message_id, o.number
              FROM (SELECT d.message_id, row_number() OVER (ORDER BY d.message_id) AS number,
                           bool_and(d.replayed_at IS NULL AND coalesce(m.is_old, false)) OVER (ORDER BY d.message_id) AS is_old
                      FROM (SELECT d.message_id, d.replayed_at
                              FROM pgtopic.deliveries d
                             WHERE d.webhook_id = webhook.id AND d.lane = looked.lane AND d.message_id > looked.position
                               AND EXISTS (SELECT FROM pgtopic.lanes l
                                            WHERE l.webhook_id = webhook.id AND l.lane = looked.lane
                                              AND l.claimed_by IS NULL AND NOT l.halted)
                             ORDER BY d.message_id
                             LIMIT in_each) d
                      LEFT JOIN LATERAL (
                        SELECT greatest(m.created_at, m.published_at)
                               < clock_timestamp() - make_interval(secs => webhook.max_age_seconds) AS is_old
                          FROM pgtopic.messages m
                         WHERE m.id = d.message_id
                         LIMIT 1) m ON true) o
             WHERE o.is_old) old ON true;
        IF found.olds > 0 THEN
            more := more OR found.deep OR found.olds > at_most;
            SELECT expired + count(*) INTO expired
              FROM pgtopic.cancel_deliveries(webhook.id, found.ids, 'expired', false, changed_by) r
             WHERE r.outcome = 'removed';
        END IF;
        room := room - found.lanes;
        IF found.lanes > 0 AND (room <= 0 OR found.olds > 0) THEN
            last_webhook := webhook.id;
            last_lane := found.last_lane;
            RETURN;
        END IF;
    END LOOP;
END
$$;

CREATE FUNCTION pgtopic.fail_job(job_id bigint, error text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    job pgtopic.jobs;
BEGIN
    UPDATE pgtopic.jobs j
       SET state = 'failed', error = fail_job.error, waits_for = NULL, updated_at = clock_timestamp(),
           finished_at = clock_timestamp()
     WHERE j.id = job_id AND j.state IN ('queued', 'running', 'canceling')
    RETURNING j.* INTO job;
    IF job.kind = 'backfill' THEN
        PERFORM pgtopic.start_webhook(job.webhook_id, format('backfill %s has failed', job.id), job.created_by);
    END IF;
END
$$;

CREATE FUNCTION pgtopic.filter_limit(filter jsonpath) RETURNS integer
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $_$
DECLARE
    linear_budget CONSTANT integer := 2097152;
    square_budget CONSTANT integer := 8192;
    lax      boolean := filter::text !~ '^strict ';
    tokens   text[] := ARRAY(
        SELECT t[1]
          FROM regexp_matches(filter::text,
                 '"(?:[^"\\]|\\.)*"|\.\*\*(?:\{[^}]*\})?|\.\*|\[\*\]|\?\(|&&|\|\||[=!<>]=|[a-z_]+|-?[0-9][0-9.e+-]*|\S', 'g') t);
    token    text;
    before   text := '';
    problem  text;
    steps    integer := 0;
    costly   boolean := false;      -- something is calculated
    -- The path that is being read: its two powers; whether it begins at $, has a wildcard, has .**
    p_item   integer := 0;
    p_root   integer := 0;
    p_at     boolean := false;
    p_many   boolean := false;
    p_deep   boolean := false;
    -- What was read of the operand before this path, and the operand left of the comparison.
    o_item   integer := 0;
    o_root   integer := 0;
    o_many   boolean := false;
    l_item   integer := 0;
    l_root   integer := 0;
    l_many   boolean := false;
    -- The worst of the comparisons of this group of brackets.
    g_item   integer := 0;
    g_root   integer := 0;
    g_many   boolean := false;
    g_deep   boolean := false;      -- .** in this group
    in_deep  boolean := false;      -- this group belongs to a path with .**
    -- The groups around this one, and the bracket that opened each.
    groups   jsonb[] := '{}';
    opened   text[] := '{}';
    outer_   jsonb;
BEGIN
    -- Brackets around all of it, so that the last comparison is ended too.
    FOREACH token IN ARRAY ARRAY['('] || tokens || ARRAY[')'] LOOP
        CASE
        WHEN token IN ('$', '@') THEN
            o_item := greatest(o_item, p_item);
            o_root := greatest(o_root, p_root);
            o_many := o_many OR p_many;
            steps := steps + 1;
            p_at := token = '@';
            p_item := (lax AND p_at)::integer;
            p_root := (lax AND NOT p_at)::integer;
            p_many := false;
            p_deep := false;
        WHEN token IN ('.*', '[*]') OR token ~ '^\.\*\*' OR token IN ('to', ',') AND opened[cardinality(opened)] = '[' THEN
            IF token ~ '^\.\*\*' THEN
                IF p_deep OR in_deep THEN
                    problem := 'must not have .** within another .**: the values would be too many';
                END IF;
                p_deep := true;
                g_deep := true;
            END IF;
            steps := steps + 1;
            p_many := true;
            IF p_at THEN
                p_item := greatest(p_item, 1);
            ELSE
                p_root := greatest(p_root, 1);
            END IF;
        WHEN token IN ('(', '?(', '[') THEN
            groups := groups || jsonb_build_object(
                'p', jsonb_build_array(p_item, p_root, p_at, p_many, p_deep), 'o', jsonb_build_array(o_item, o_root, o_many),
                'l', jsonb_build_array(l_item, l_root, l_many), 'g', jsonb_build_array(g_item, g_root, g_many, g_deep, in_deep));
            opened := opened || CASE WHEN token = '(' AND before ~ '^[a-z_]+$' AND before <> 'exists' THEN 'call' ELSE token END;
            in_deep := in_deep OR token <> '(' AND p_deep;
            p_item := 0; p_root := 0; p_at := false; p_many := false; p_deep := false;
            o_item := 0; o_root := 0; o_many := false;
            l_item := 0; l_root := 0; l_many := false;
            g_item := 0; g_root := 0; g_many := false; g_deep := false;
        WHEN token IN ('==', '!=', '<', '<=', '>', '>=', 'like_regex', 'starts', '&&', '||', ')', ']') THEN
            o_item := greatest(o_item, p_item);
            o_root := greatest(o_root, p_root);
            o_many := o_many OR p_many;
            p_item := 0; p_root := 0; p_many := false; p_deep := false;
            IF token IN ('&&', '||', ')', ']') THEN
                IF l_many AND o_many THEN
                    problem := 'must not compare two paths that each have [*], .* or .**: each value would be compared with each';
                END IF;
                g_item := greatest(g_item, l_item + o_item);
                g_root := greatest(g_root, l_root + o_root);
                g_many := g_many OR l_many OR o_many;
                l_item := 0; l_root := 0; l_many := false;
            ELSE
                l_item := o_item; l_root := o_root; l_many := o_many;
            END IF;
            o_item := 0; o_root := 0; o_many := false;
            IF token IN (')', ']') AND cardinality(groups) > 0 THEN
                outer_ := groups[cardinality(groups)];
                p_item := (outer_ #>> '{p,0}')::integer;
                p_root := (outer_ #>> '{p,1}')::integer;
                p_at := (outer_ #>> '{p,2}')::boolean;
                p_many := (outer_ #>> '{p,3}')::boolean;
                p_deep := (outer_ #>> '{p,4}')::boolean;
                IF opened[cardinality(opened)] = '(' THEN
                    -- What is in brackets goes on as a path of its own.
                    o_item := greatest((outer_ #>> '{o,0}')::integer, p_item);
                    o_root := greatest((outer_ #>> '{o,1}')::integer, p_root);
                    o_many := (outer_ #>> '{o,2}')::boolean OR p_many;
                    p_item := g_item;
                    p_root := g_root;
                    p_at := g_item > g_root;
                    p_many := g_many;
                    p_deep := g_deep;
                ELSE
                    o_item := (outer_ #>> '{o,0}')::integer;
                    o_root := (outer_ #>> '{o,1}')::integer;
                    o_many := (outer_ #>> '{o,2}')::boolean;
                    IF opened[cardinality(opened)] = '?(' AND p_at THEN
                        p_item := greatest(p_item, g_item);
                        p_root := p_root + g_root;
                    ELSIF opened[cardinality(opened)] = '?(' THEN
                        p_root := greatest(p_root, g_item) + g_root;
                    ELSE
                        -- The subscript of an array, or what a method is given.
                        p_item := p_item + g_item;
                        p_root := p_root + g_root;
                        p_many := p_many OR g_many;
                    END IF;
                END IF;
                l_item := (outer_ #>> '{l,0}')::integer;
                l_root := (outer_ #>> '{l,1}')::integer;
                l_many := (outer_ #>> '{l,2}')::boolean;
                g_deep := g_deep OR (outer_ #>> '{g,3}')::boolean;
                IF cardinality(groups) > 1 THEN
                    g_item := (outer_ #>> '{g,0}')::integer;
                    g_root := (outer_ #>> '{g,1}')::integer;
                    g_many := (outer_ #>> '{g,2}')::boolean;
                END IF;
                in_deep := (outer_ #>> '{g,4}')::boolean;
                groups := groups[1:cardinality(groups) - 1];
                opened := opened[1:cardinality(opened) - 1];
            END IF;
        WHEN token IN ('+', '-', '*', '/', '%') THEN
            steps := steps + 1;
            costly := costly OR opened[cardinality(opened)] <> '[';
        WHEN token ~ '^[a-z_]+$' AND before = '.' THEN
            steps := steps + 1;
            costly := costly OR token NOT IN ('type', 'size');
        WHEN token LIKE '"%' AND before = 'like_regex' THEN
            IF (token::json #>> '{}') ~ '(^|[^\\])(\\\\)*(\\[1-9]|\(\?<?[=!])' THEN
                problem := 'must not have a pattern that refers back (\1) or looks around ((?=): such patterns may take for ever';
            END IF;
        ELSE
            NULL;
        END CASE;
        before := token;
    END LOOP;
    IF problem IS NULL AND greatest(g_item, g_root) > 2 THEN
        problem := 'is too costly: the time that it takes may grow with more than the square of the payload''s size';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem
            USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'filter';
    END IF;
    RETURN CASE WHEN costly OR greatest(g_item, g_root) > 1 THEN square_budget / sqrt(greatest(steps, 1))
                ELSE linear_budget / greatest(steps, 1) END;
END
$_$;

CREATE FUNCTION pgtopic.filter_matches(filter jsonpath, payload json, accepted_bytes integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    IF octet_length(payload::text) > coalesce(accepted_bytes, pgtopic.filter_limit(filter)) THEN
        PERFORM nextval('pgtopic.filter_errors');
        RETURN true;
    END IF;
    RETURN coalesce(payload::jsonb @@ filter, false);
EXCEPTION WHEN data_exception OR program_limit_exceeded OR feature_not_supported OR undefined_object THEN
    PERFORM nextval('pgtopic.filter_errors');
    RETURN true;
END
$$;

CREATE FUNCTION pgtopic.headers_problem(headers json) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $_$
DECLARE
    name  text;
    value json;
    plain text;
    lower_name text;
    shown text;
    seen  text[] := '{}';
BEGIN
    IF headers IS NULL THEN
        RETURN NULL;
    ELSIF json_typeof(headers) <> 'object' THEN
        RETURN format('must be a JSON object, not %s', json_typeof(headers));
    ELSIF octet_length(headers::text) > 8192 THEN
        RETURN format('must have at most 8192 bytes of JSON text, not %s', octet_length(headers::text));
    ELSIF (SELECT count(*) FROM json_object_keys(headers)) > 64 THEN
        RETURN format('must hold at most 64 headers, not %s', (SELECT count(*) FROM json_object_keys(headers)));
    END IF;
    FOR name, value IN SELECT h.key, h.value FROM json_each(headers) h LOOP
        shown := left(to_json(name)::text, 300);
        lower_name := lower(name COLLATE "C");
        IF octet_length(name) > 256 OR name !~ '^[-!#$%&''*+.^_`|~0-9A-Za-z]+$' THEN
            RETURN format('must have names of 1 to 256 letters, digits and -!#$%%&''*+.^_`|~, not %s', shown);
        ELSIF lower_name LIKE 'webhook-%' OR lower_name LIKE 'proxy-%'
            OR lower_name IN ('connection', 'content-length', 'content-type', 'expect', 'host', 'keep-alive', 'te', 'trailer',
                              'transfer-encoding', 'upgrade', 'user-agent')
        THEN
            RETURN format('must not hold the reserved name %s', shown);
        ELSIF lower_name = ANY (seen) THEN
            RETURN format('must hold the name %s only once, in whatever case', shown);
        ELSIF json_typeof(value) <> 'string' THEN
            RETURN format('must have values that are texts: that of %s is not', shown);
        END IF;
        seen := seen || lower_name;
        plain := value #>> '{}';
        IF octet_length(plain) > 4096 OR octet_length(plain) <> char_length(plain)
            OR plain ~ '[\x01-\x08\x0a-\x1f\x7f]'
        THEN
            RETURN format('must have values of visible ASCII, spaces and tabs, at most 4096 bytes: that of %s is not', shown);
        END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION
    -- A JSON text may name characters that no text can hold: U+0000, or a half of a surrogate pair.
    WHEN untranslatable_character OR invalid_text_representation THEN
        RETURN 'must have names and values of visible ASCII';
END
$_$;

CREATE FUNCTION pgtopic.is_for_webhook(webhook_id bigint, message_id bigint) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT EXISTS (
    SELECT
      FROM pgtopic.webhooks w
     CROSS JOIN LATERAL (SELECT m.type, m.payload FROM pgtopic.messages m WHERE m.id = is_for_webhook.message_id LIMIT 1) m
     WHERE w.id = is_for_webhook.webhook_id
       AND (w.types IS NULL OR pgtopic.type_matches(w.types, m.type))
       AND (w.filter IS NULL OR pgtopic.filter_matches(w.filter, m.payload, w.filter_limit)))
$$;

CREATE FUNCTION pgtopic.is_held(hold_until timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
SELECT coalesce(hold_until OPERATOR(pg_catalog.>) pg_catalog.statement_timestamp()
                AND hold_until OPERATOR(pg_catalog.<=) (pg_catalog.statement_timestamp() OPERATOR(pg_catalog.+) interval '60 s'), false)
$$;

CREATE FUNCTION pgtopic.lane_stripe(webhook_id bigint, lane bigint) RETURNS TABLE(topic_id bigint, stripe integer)
    LANGUAGE sql STABLE
    AS $$
SELECT t.id, t.stripes | (lane_stripe.lane & 255)::integer
  FROM (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = lane_stripe.webhook_id LIMIT 1) w
 CROSS JOIN LATERAL (SELECT t.id, t.stripes FROM pgtopic.topics t WHERE t.id = w.topic_id LIMIT 1) t
$$;

CREATE FUNCTION pgtopic.lanes_retry_step(job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
DECLARE
    after  bigint := coalesce((job.progress ->> 'after')::bigint, -9223372036854775808);
    picked record;
BEGIN
    SELECT coalesce(array_agg(s.lane) FILTER (
               WHERE CASE job.filter ->> 'state' WHEN 'halted' THEN s.halted
                                                 WHEN 'waiting' THEN NOT s.halted AND s.due_at > clock_timestamp()
                                                 ELSE s.halted OR s.failures > 0 OR s.due_at > clock_timestamp() END), '{}') AS lanes,
           max(s.lane) AS last_lane
      INTO picked
      FROM (SELECT l.lane, l.halted, l.failures, l.due_at
              FROM pgtopic.lanes l
             WHERE l.webhook_id = job.webhook_id AND l.lane > after
             ORDER BY l.lane
             LIMIT at_most) s;
    SELECT pgtopic.retry_lanes(job.webhook_id, picked.lanes, job.created_by), 0, 0, 0 INTO done, already_owed, gone, filtered;
    progress := json_build_object('after', picked.last_lane);
    finished := picked.last_lane IS NULL;
END
$$;

CREATE FUNCTION pgtopic.last_outage_change(webhook bigint) RETURNS TABLE(kind text, created_at timestamp with time zone)
    LANGUAGE sql STABLE
    AS $$
SELECT c.kind, c.created_at
  FROM pgtopic.changes c
 WHERE c.webhook_id = last_outage_change.webhook
   AND c.kind IN ('webhook.failing', 'webhook.recovered', 'webhook.disabled', 'webhook.enabled')
 ORDER BY c.id DESC
 LIMIT 1
$$;

CREATE FUNCTION pgtopic.latest_message(webhook bigint, lane bigint, after bigint) RETURNS TABLE(id bigint)
    LANGUAGE sql STABLE
    AS $$
SELECT d.message_id
  FROM pgtopic.webhooks w
 CROSS JOIN LATERAL (
    SELECT d.message_id
      FROM pgtopic.deliveries d
     WHERE d.webhook_id = latest_message.webhook AND d.lane = latest_message.lane
       AND d.message_id > latest_message.after AND d.replayed_at IS NULL
     ORDER BY d.message_id DESC
     LIMIT 1) d
 WHERE w.id = latest_message.webhook AND w.on_overflow = 'keep_latest'
$$;

CREATE FUNCTION pgtopic.left_messages(progress json) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT ARRAY(SELECT e::bigint FROM json_array_elements_text(progress -> 'left') e)
$$;

CREATE FUNCTION pgtopic.list_changed_webhooks(since timestamp with time zone) RETURNS TABLE(webhook_id bigint, version text, deliverable boolean, looked_at timestamp with time zone, webhooks bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT c.id, c.version, c.deliverable, statement_timestamp(), n.webhooks
      FROM (SELECT count(*) AS webhooks FROM pgtopic.webhooks) n
      LEFT JOIN LATERAL (
        SELECT w.id, w.xmin::text AS version,
               w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND t.paused IS DISTINCT FROM 'hold' AS deliverable
          FROM pgtopic.webhooks w
         CROSS JOIN LATERAL (SELECT t.paused FROM pgtopic.topics t WHERE t.id = w.topic_id LIMIT 1) t
         WHERE w.changed_at >= list_changed_webhooks.since
        UNION ALL
        SELECT w.id, w.xmin::text,
               w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND t.paused IS DISTINCT FROM 'hold'
          FROM pgtopic.topics t
         CROSS JOIN LATERAL (SELECT w.*, w.xmin FROM pgtopic.webhooks w WHERE w.topic_id = t.id OFFSET 0) w
         WHERE t.changed_at >= list_changed_webhooks.since AND w.changed_at < list_changed_webhooks.since
      ) c ON true;
END
$$;

CREATE FUNCTION pgtopic.list_due_webhooks(after bigint, at_most integer, sweep boolean) RETURNS TABLE(webhook_id bigint, due_at timestamp with time zone, ended boolean)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE looked AS (
        SELECT coalesce(list_due_webhooks.after, -9223372036854775808) AS webhook_id, NULL::timestamptz AS due_at, 0 AS number
        UNION ALL
        SELECT next.webhook_id, next.due_at, looked.number + 1
          FROM looked
         CROSS JOIN LATERAL (
            SELECT l.webhook_id + 0 AS webhook_id, l.due_at
              FROM pgtopic.lanes l
             WHERE l.webhook_id + 0 > looked.webhook_id
               AND (l.claimed_by IS NULL
                    OR list_due_webhooks.sweep
                       AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
             ORDER BY l.webhook_id + 0, l.due_at
             LIMIT 1
         ) next
         WHERE looked.number < list_due_webhooks.at_most
    )
    SELECT looked.webhook_id, due.due_at, looked.number < list_due_webhooks.at_most
      FROM looked
      LEFT JOIN LATERAL (
        SELECT looked.due_at
          FROM pgtopic.webhooks w
          JOIN pgtopic.topics t ON t.id = w.topic_id AND t.paused IS DISTINCT FROM 'hold'
         WHERE w.id = looked.webhook_id AND looked.due_at <= statement_timestamp()
           AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND NOT pgtopic.is_held(w.hold_until)
           AND NOT EXISTS (SELECT FROM pgtopic.breakers b WHERE b.webhook_id = w.id AND b.state = 'open')
         LIMIT 1
      ) due ON true
     WHERE due.due_at IS NOT NULL OR looked.number = list_due_webhooks.at_most;
END
$$;

CREATE FUNCTION pgtopic.list_newest_attempts(pages bigint, webhook_ids bigint[]) RETURNS TABLE(partition bigint, place bigint, webhook_id bigint, message_id bigint, attempt integer, outcome text, status_code smallint, error_class text, error text, duration_us bigint, worker_id uuid, attempted_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_indexscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    day   timestamp;
    first tid;
BEGIN
    FOREACH day IN ARRAY ARRAY[date_trunc('day', now() AT TIME ZONE 'UTC'),
                               date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day']
    LOOP
        first := format('(%s,0)', greatest(pg_relation_size(to_regclass('pgtopic.attempts_' || to_char(day, 'YYYYMMDD')))
                                           / current_setting('block_size')::bigint - pages, 0))::tid;
        RETURN QUERY
        SELECT a.tableoid::bigint, (a.ctid::text::point)[0]::bigint * 65536 + (a.ctid::text::point)[1]::bigint, a.webhook_id,
               s.message_id, s.attempt, s.outcome, s.status_code, s.error_class, s.error, s.duration_us, s.worker_id,
               s.attempted_at
          FROM pgtopic.attempts a
          LEFT JOIN LATERAL (SELECT a.message_id, a.attempt, a.outcome, a.status_code, a.error_class, a.error, a.duration_us,
                                    a.worker_id, a.attempted_at
                              WHERE a.webhook_id = ANY (list_newest_attempts.webhook_ids)) s ON true
         WHERE a.attempted_at >= day AT TIME ZONE 'UTC' AND a.attempted_at < (day + interval '1 day') AT TIME ZONE 'UTC'
           AND a.ctid >= first;
    END LOOP;
END
$$;

CREATE FUNCTION pgtopic.list_news(newest bigint, missing bigint[], at_most bigint) RETURNS TABLE(message_id bigint, lane bigint, step bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    apart bigint := (SELECT s.seqincrement FROM pg_sequence s WHERE s.seqrelid = 'pgtopic.message_ids'::regclass);
BEGIN
    RETURN QUERY
    SELECT m.id, m.lane, apart
      FROM pgtopic.messages m
     WHERE m.id > coalesce(list_news.newest, (SELECT max(last.id) - 1 FROM pgtopic.messages last))
     ORDER BY m.id
     LIMIT list_news.at_most;
    RETURN QUERY
    SELECT m.id, m.lane, apart
      FROM unnest(list_news.missing) AS passed_over (id)
     CROSS JOIN LATERAL (SELECT s.id, s.lane FROM pgtopic.messages s WHERE s.id = passed_over.id LIMIT 1) m;
END
$$;

CREATE FUNCTION pgtopic.list_overflow(webhook bigint, at_most bigint, left_out bigint[]) RETURNS TABLE(message_id bigint, lane bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.message_id, l.lane
      FROM (SELECT l.lane, l.position, latest.id AS latest
              FROM pgtopic.lanes l
              LEFT JOIN LATERAL pgtopic.latest_message(webhook, l.lane, l.position) latest ON true
             WHERE l.webhook_id = webhook AND l.claimed_by IS NULL AND NOT l.halted AND l.lane <> ALL (left_out)
            OFFSET 0) l
     CROSS JOIN LATERAL (
        SELECT d.message_id
          FROM pgtopic.deliveries d
         WHERE d.webhook_id = webhook AND d.lane = l.lane AND d.message_id > l.position AND d.replayed_at IS NULL
           AND d.message_id IS DISTINCT FROM l.latest
         ORDER BY d.message_id
         LIMIT at_most) d
     ORDER BY d.message_id
     LIMIT at_most;
END
$$;

CREATE FUNCTION pgtopic.list_webhooks_of_topics(topic_ids bigint[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    PERFORM FROM pgtopic.topics t WHERE t.id = ANY (topic_ids) ORDER BY t.id FOR NO KEY UPDATE;
    UPDATE pgtopic.topics t
       SET webhook_ids = (SELECT CASE WHEN count(w.filter) + count(w.types) = 0 THEN coalesce(array_agg(w.id ORDER BY w.id), '{}') END
                            FROM pgtopic.webhooks w
                           WHERE w.topic_id = t.id),
           overflowing_webhook = (SELECT min(w.id)
                                    FROM pgtopic.webhooks w
                                   WHERE w.topic_id = t.id AND w.overflowing AND w.on_overflow = 'refuse')
     WHERE t.id = ANY (topic_ids);
END
$$;

CREATE FUNCTION pgtopic.lock_idempotency_key(topic_id bigint, idempotency_key text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
#variable_conflict use_variable
DECLARE
    place tid;
BEGIN
    INSERT INTO pgtopic.used_idempotency_keys AS u VALUES (topic_id, idempotency_key) RETURNING u.ctid INTO place;
    DELETE FROM pgtopic.used_idempotency_keys u WHERE u.ctid = place;
    PERFORM FROM pgtopic.messages m WHERE m.topic_id = topic_id AND m.idempotency_key = idempotency_key FOR SHARE;
    RETURN NOT FOUND;
END
$$;

CREATE TABLE pgtopic.lanes (
    webhook_id bigint NOT NULL,
    lane bigint NOT NULL,
    "position" bigint NOT NULL,
    due_at timestamp with time zone NOT NULL,
    token bigint,
    head_message_id bigint,
    batch_last bigint,
    split_until bigint,
    wait_seconds double precision,
    batch_count integer,
    stripe integer,
    generation integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    halted boolean DEFAULT false NOT NULL,
    claimed_by uuid,
    claimed_at timestamp with time zone,
    partition_key text NOT NULL,
    last_error text,
    last_error_class text,
    last_status_code smallint
)
WITH (fillfactor='45', autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_cost_delay='0');

COMMENT ON TABLE pgtopic.lanes IS 'The ready queue: a lane has a row here only while it owes something, or a worker holds it.';

COMMENT ON COLUMN pgtopic.lanes."position" IS 'Everything up to this message id has left the lane, unless a replay put it back. Reading begins after it.';

COMMENT ON COLUMN pgtopic.lanes.due_at IS 'From when on it may be claimed: now or earlier (ready), later (it waits) or infinity (halted). A claim leaves it as it is.';

COMMENT ON COLUMN pgtopic.lanes.token IS 'The fencing token: a counter of the worker that holds the lane, new with each claim. With claimed_by it guards every write of the holder.';

COMMENT ON COLUMN pgtopic.lanes.head_message_id IS 'The message that failures, last_error, wait_seconds and halted belong to. For any other head they count as none.';

COMMENT ON COLUMN pgtopic.lanes.batch_last IS 'The last message of the batch that failed. head_message_id is its first; null: the head failed alone. The batch is tried again as it was.';

COMMENT ON COLUMN pgtopic.lanes.split_until IS 'A batch up to this message has used up its attempts: messages up to it are sent one by one.';

COMMENT ON COLUMN pgtopic.lanes.wait_seconds IS 'How long the lane was to wait when due_at was written; null if it was ready at once. If due_at is further ahead than this, it was written before a step of the clock.';

COMMENT ON COLUMN pgtopic.lanes.batch_count IS 'How many messages that batch has. If another number of them is owed, failures count as none.';

COMMENT ON COLUMN pgtopic.lanes.stripe IS 'The advisory-lock key that its publishers hold; null if the topic is unordered.';

COMMENT ON COLUMN pgtopic.lanes.generation IS 'How often a replay has put something into the lane, or a cancel has taken something out. A holder that does not know the newest value must not move position.';

COMMENT ON COLUMN pgtopic.lanes.failures IS 'Failed attempts of head_message_id, or of the batch that begins with it.';

COMMENT ON COLUMN pgtopic.lanes.halted IS 'Not sent until an operator acts.';

COMMENT ON COLUMN pgtopic.lanes.claimed_by IS 'The worker incarnation that holds it; null while nobody does.';

COMMENT ON COLUMN pgtopic.lanes.claimed_at IS 'When it was claimed last.';

CREATE FUNCTION pgtopic.lock_lane(webhook_id bigint, lane bigint, stripe integer, waits boolean, OUT outcome text, OUT held pgtopic.lanes) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    outcome := 'stripe_taken';
    IF waits THEN
        BEGIN
            PERFORM pg_advisory_xact_lock(pgtopic.stripe_class(), stripe);
        EXCEPTION WHEN lock_not_available THEN
            RETURN;
        END;
        SELECT l.* INTO held FROM pgtopic.lanes l
         WHERE l.webhook_id = lock_lane.webhook_id AND l.lane = lock_lane.lane FOR UPDATE;
    ELSE
        IF NOT pg_try_advisory_xact_lock(pgtopic.stripe_class(), stripe) THEN
            RETURN;
        END IF;
        SELECT l.* INTO held FROM pgtopic.lanes l
         WHERE l.webhook_id = lock_lane.webhook_id AND l.lane = lock_lane.lane FOR UPDATE SKIP LOCKED;
        IF NOT FOUND AND EXISTS (SELECT FROM pgtopic.lanes l
                                  WHERE l.webhook_id = lock_lane.webhook_id AND l.lane = lock_lane.lane)
        THEN
            outcome := 'row_locked';
            RETURN;
        END IF;
    END IF;
    outcome := 'locked';
END
$$;

CREATE FUNCTION pgtopic.make_attempt_partitions(days integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET lock_timeout TO '500ms'
    AS $_$
DECLARE
    made      integer := 0;
    first_day timestamp;
    name      text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('pgtopic attempts ' || pgtopic.stripe_class(), 0));
    FOR first_day IN
        SELECT generate_series(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day',
                               date_trunc('day', now() AT TIME ZONE 'UTC') + make_interval(days => make_attempt_partitions.days),
                               interval '1 day')
    LOOP
        name := 'attempts_' || to_char(first_day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(format('%I.%I', 'pgtopic', name)) IS NOT NULL;
        EXECUTE format('CREATE TABLE %1$I.%2$I (LIKE %1$I.attempts INCLUDING ALL)', 'pgtopic', name);
        EXECUTE format('ALTER TABLE %1$I.attempts ATTACH PARTITION %1$I.%2$I FOR VALUES FROM (%3$L) TO (%4$L)', 'pgtopic', name,
            first_day AT TIME ZONE 'UTC', (first_day + interval '1 day') AT TIME ZONE 'UTC');
        made := made + 1;
    END LOOP;
    RETURN made;
END
$_$;

CREATE FUNCTION pgtopic.mark_worker_gone(worker uuid, reason text, changed_by text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
#variable_conflict use_variable
BEGIN
    UPDATE pgtopic.workers w
       SET gone = true
     WHERE w.ctid = ANY (ARRAY(
        SELECT x.ctid FROM pgtopic.workers x WHERE x.id = worker AND NOT x.gone FOR NO KEY UPDATE SKIP LOCKED));
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF reason IS NOT NULL THEN
        BEGIN
            INSERT INTO pgtopic.changes (kind, worker_id, reason, changed_by) VALUES ('worker.lost', worker, reason, changed_by);
        EXCEPTION WHEN OTHERS THEN
            -- Its lanes are released, whatever is the matter with the audit log.
            NULL;
        END;
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION pgtopic.matching_webhooks(topic_id bigint, type text, payload json) RETURNS bigint[]
    LANGUAGE plpgsql
    AS $$
BEGIN
    RETURN ARRAY(SELECT w.id
                   FROM pgtopic.webhooks w
                  WHERE w.topic_id OPERATOR(pg_catalog.=) matching_webhooks.topic_id
                    AND (w.types IS NULL OR pgtopic.type_matches(w.types, matching_webhooks.type))
                    AND (w.filter IS NULL OR pgtopic.filter_matches(w.filter, matching_webhooks.payload, w.filter_limit))
                  ORDER BY w.id);
END
$$;

CREATE FUNCTION pgtopic.may_notify() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT CASE i.notify WHEN 'on' THEN true
                     WHEN 'off' THEN false
                     ELSE current_setting('max_prepared_transactions') = '0' END
  FROM pgtopic.installation i
$$;

CREATE FUNCTION pgtopic.merge_activity(from_seconds integer, to_seconds integer, older_than interval, rows_at_most bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET work_mem TO '32MB'
    AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    taken    bigint;
BEGIN
    WITH old AS MATERIALIZED (
        DELETE FROM pgtopic.activity a
         WHERE a.ctid = ANY (ARRAY(SELECT x.ctid
                                     FROM pgtopic.activity x
                                    WHERE x.seconds = from_seconds AND x.at < clock_timestamp() - older_than
                                    ORDER BY x.at
                                    LIMIT rows_at_most))
        RETURNING a.*, to_timestamp(floor(extract(epoch FROM a.at) / to_seconds) * to_seconds) AS span
    ), latencies AS (
        SELECT b.webhook_id, b.span, array_agg(b.number ORDER BY b.bucket) AS latency
          FROM (SELECT o.webhook_id, o.span, n.bucket, sum(n.number)::bigint AS number
                  FROM old o CROSS JOIN LATERAL unnest(o.latency) WITH ORDINALITY n (number, bucket)
                 GROUP BY o.webhook_id, o.span, n.bucket) b
         GROUP BY b.webhook_id, b.span
    ), merged AS (
        INSERT INTO pgtopic.activity (webhook_id, at, seconds, accepted, failed, dead, in_flight, latency, last_success_at,
                                      last_failure_at, last_status_code, last_error_class, last_error)
        SELECT m.webhook_id, m.span, to_seconds, m.accepted, m.failed, m.dead, 0, coalesce(l.latency, '{}'), m.last_success_at,
               m.last_failure_at, (m.failure).last_status_code, (m.failure).last_error_class, (m.failure).last_error
          FROM (SELECT o.webhook_id, o.span, sum(o.accepted)::bigint AS accepted, sum(o.failed)::bigint AS failed,
                       sum(o.dead)::bigint AS dead, max(o.last_success_at) AS last_success_at,
                       max(o.last_failure_at) AS last_failure_at,
                       (array_agg(ROW (o.last_status_code, o.last_error_class, o.last_error)::pgtopic.last_failure
                                  ORDER BY o.last_failure_at DESC) FILTER (WHERE o.last_failure_at IS NOT NULL))[1] AS failure
                  FROM old o
                 GROUP BY o.webhook_id, o.span) m
          LEFT JOIN latencies l ON l.webhook_id = m.webhook_id AND l.span = m.span
    )
    SELECT count(*) INTO taken FROM old;
    RETURN taken;
END
$$;

CREATE FUNCTION pgtopic.messages_arrived() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger t
                    WHERE t.tgrelid = TG_RELID AND t.tgname = 'zz_messages_publish' AND t.tgenabled = 'A')
    THEN
        PERFORM nextval('pgtopic.arrived_messages');
    END IF;
    RETURN NEW;
END
$$;

CREATE TABLE pgtopic.messages (
    id bigint NOT NULL,
    topic_id bigint NOT NULL,
    partition_key text DEFAULT 'default'::text NOT NULL,
    type text,
    payload json NOT NULL,
    headers json,
    idempotency_key text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    published_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    size_bytes integer NOT NULL,
    lane bigint NOT NULL,
    CONSTRAINT messages_lane_check CHECK (((lane = hashtextextended(partition_key, topic_id)) OR (lane = id)))
);

COMMENT ON TABLE pgtopic.messages IS 'Published events. INSERT here to publish; the id is given by a trigger.';

COMMENT ON COLUMN pgtopic.messages.topic_id IS 'No foreign key: the trigger has looked the topic up, and a second look costs publishers 15 %.';

COMMENT ON COLUMN pgtopic.messages.type IS 'What kind of event it is: 1 to 255 bytes, such as order.paid; null: none.';

COMMENT ON COLUMN pgtopic.messages.payload IS 'json, not jsonb: these very bytes are signed and sent.';

COMMENT ON COLUMN pgtopic.messages.headers IS 'Headers sent with the message, an object of strings: at most 64 of them, 8,192 bytes of JSON text.';

COMMENT ON COLUMN pgtopic.messages.created_at IS 'Only years that RFC 3339 can write, since it is sent to receivers.';

COMMENT ON COLUMN pgtopic.messages.published_at IS 'When it was inserted here, by the clock of the trigger. Ages count from it, or from created_at if that is later.';

COMMENT ON COLUMN pgtopic.messages.size_bytes IS 'Bytes of payload and headers, given by the trigger. Workers read up to a budget by it, and unpack only what they read.';

COMMENT ON COLUMN pgtopic.messages.lane IS 'hashtextextended(partition_key, topic_id), or the id if the topic is unordered; given by the trigger.';

CREATE FUNCTION pgtopic.messages_fan_out(message pgtopic.messages, stripe integer, webhook_ids bigint[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
#variable_conflict use_variable
DECLARE
    committed boolean := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted');
    webhook   bigint;
BEGIN
    IF message.idempotency_key IS NOT NULL
        AND NOT pgtopic.lock_idempotency_key(message.topic_id, message.idempotency_key)
    THEN
        RETURN false;
    END IF;
    webhook_ids := coalesce(webhook_ids, pgtopic.matching_webhooks(message.topic_id, message.type, message.payload));
    FOREACH webhook IN ARRAY webhook_ids LOOP
        INSERT INTO pgtopic.deliveries (webhook_id, lane, message_id) VALUES (webhook, message.lane, message.id);
        IF committed THEN
            INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
            VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1)
            ON CONFLICT DO NOTHING;
            CONTINUE;
        END IF;
        BEGIN
            INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
            VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1)
            ON CONFLICT DO NOTHING;
        EXCEPTION WHEN serialization_failure THEN
            -- SERIALIZABLE may raise this error for other reasons too. A plain insert tells which
            -- it is.
            BEGIN
                INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
                VALUES (webhook, message.lane, stripe, message.partition_key, clock_timestamp(), message.id - 1);
            EXCEPTION WHEN unique_violation THEN
                NULL;
            END;
        END;
    END LOOP;
    RETURN webhook_ids <> '{}';
END
$$;

CREATE FUNCTION pgtopic.messages_publish() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    AS $$
DECLARE
    accepted_bytes integer;
    stripe         integer;
    webhook_ids    bigint[];
    webhook        bigint;
BEGIN
    SELECT t.accepted_bytes, t.stripes INTO accepted_bytes, stripe
      FROM pgtopic.topics t
     WHERE t.id OPERATOR(pg_catalog.=) NEW.topic_id;
    NEW.published_at := pg_catalog.clock_timestamp();
    NEW.size_bytes := pg_catalog.octet_length(NEW.payload::pg_catalog.text);
    IF (NEW.size_bytes OPERATOR(pg_catalog.<=) accepted_bytes
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.>=) 1
        AND pg_catalog.octet_length(NEW.partition_key) OPERATOR(pg_catalog.<=) 1024
        AND COALESCE(pg_catalog.octet_length(NEW.type), 1) OPERATOR(pg_catalog.>=) 1
        AND COALESCE(pg_catalog.octet_length(NEW.type), 1) OPERATOR(pg_catalog.<=) 255
        AND NEW.headers IS NULL AND NEW.idempotency_key IS NULL
        AND NEW.created_at OPERATOR(pg_catalog.>=) '0001-01-01 00:00+00'
        AND NEW.created_at OPERATOR(pg_catalog.<) '9999-12-30 00:00+00') IS NOT TRUE
    THEN
        NEW := pgtopic.messages_validate(NEW, accepted_bytes);
    END IF;

    -- The id is taken after the lock. On unordered topics the stripe is null: then the lock
    -- function takes no lock and returns null.
    NEW.lane := pg_catalog.hashtextextended(NEW.partition_key, NEW.topic_id);
    stripe := stripe OPERATOR(pg_catalog.|) (NEW.lane OPERATOR(pg_catalog.&) 255)::integer;
    IF pg_catalog.pg_advisory_xact_lock('"pgtopic"'::pg_catalog.regnamespace::pg_catalog.oid::integer, stripe) IS NOT NULL THEN
        NEW.id := pg_catalog.nextval('pgtopic.message_ids'::pg_catalog.regclass);
    ELSE
        NEW.id := pg_catalog.nextval('pgtopic.message_ids'::pg_catalog.regclass);
        NEW.lane := NEW.id;
    END IF;
    SELECT t.webhook_ids INTO webhook_ids
      FROM pgtopic.topics t
     WHERE t.id OPERATOR(pg_catalog.=) NEW.topic_id;

    IF NEW.idempotency_key IS NULL
        AND pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'read committed'
    THEN
        IF webhook_ids IS NULL THEN
            webhook_ids := pgtopic.matching_webhooks(NEW.topic_id, NEW.type, NEW.payload);
        END IF;
        FOREACH webhook IN ARRAY webhook_ids LOOP
            -- The lane is not looked up first: the plan for that, made while lanes was empty, would
            -- read all of the table.
            WITH fanned AS (
                INSERT INTO pgtopic.deliveries (webhook_id, lane, message_id) VALUES (webhook, NEW.lane, NEW.id)
            )
            INSERT INTO pgtopic.lanes (webhook_id, lane, stripe, partition_key, due_at, position)
            VALUES (webhook, NEW.lane, stripe, NEW.partition_key, pg_catalog.clock_timestamp(), NEW.id OPERATOR(pg_catalog.-) 1)
            ON CONFLICT DO NOTHING;
        END LOOP;
        IF webhook IS NULL THEN
            RETURN NEW;
        END IF;
    ELSIF NOT pgtopic.messages_fan_out(NEW, stripe, webhook_ids) THEN
        RETURN NEW;
    END IF;
    IF pg_catalog.pg_sequence_last_value('pgtopic.notify_until'::pg_catalog.regclass) OPERATOR(pg_catalog.>)
        (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)
    THEN
        PERFORM pgtopic.notify_workers(NEW.id, stripe);
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION pgtopic.messages_validate(message pgtopic.messages, accepted_bytes integer) RETURNS pgtopic.messages
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $_$
DECLARE
    topic_name text;
    webhook    record;
    problem    text;
    field      text;
BEGIN
    message.partition_key := coalesce(message.partition_key, 'default');
    message.created_at := coalesce(message.created_at, now());
    IF accepted_bytes IS NULL THEN
        RAISE EXCEPTION 'topic % does not exist', message.topic_id
            USING ERRCODE = 'foreign_key_violation', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = 'topic_id',
                  HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
    ELSIF message.size_bytes > accepted_bytes THEN
        SELECT t.name INTO topic_name FROM pgtopic.topics t WHERE t.id = message.topic_id;
        IF accepted_bytes < 0 THEN
            SELECT w.name, w.max_owed INTO webhook
              FROM pgtopic.topics t
              JOIN pgtopic.webhooks w ON w.id = t.overflowing_webhook
             WHERE t.id = message.topic_id AND t.paused IS DISTINCT FROM 'refuse';
            IF FOUND THEN
                RAISE EXCEPTION 'topic "%" takes no messages: its webhook "%" is owed more than its max_owed of %',
                    topic_name, webhook.name, webhook.max_owed
                    USING ERRCODE = 'configuration_limit_exceeded', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'max_owed',
                          DETAIL = format('%s:%s', topic_name, webhook.name),
                          HINT = 'It takes messages again when the webhook is owed no more than nine tenths of that.';
            END IF;
            RAISE EXCEPTION 'topic "%" is paused and takes no messages', topic_name
                USING ERRCODE = 'object_not_in_prerequisite_state', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = 'topic_id';
        END IF;
        RAISE EXCEPTION 'payload of % bytes is larger than the % bytes that topic "%" takes',
            message.size_bytes, accepted_bytes, topic_name
            USING ERRCODE = 'program_limit_exceeded', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = 'payload';
    ELSIF octet_length(message.partition_key) NOT BETWEEN 1 AND 1024 THEN
        field := 'partition_key';
        problem := format('must have 1 to 1024 bytes, not %s', octet_length(message.partition_key));
    ELSIF octet_length(message.type) NOT BETWEEN 1 AND 255 THEN
        field := 'type';
        problem := format('must have 1 to 255 bytes, not %s', octet_length(message.type));
    ELSIF octet_length(message.idempotency_key) NOT BETWEEN 1 AND 255 THEN
        field := 'idempotency_key';
        problem := format('must have 1 to 255 bytes, not %s', octet_length(message.idempotency_key));
    ELSIF message.created_at < '0001-01-01 00:00+00' OR message.created_at >= '9999-12-30 00:00+00' THEN
        -- created_at is sent to receivers. Beyond these bounds RFC 3339 cannot write it in every
        -- time zone.
        field := 'created_at';
        problem := format('must be from 0001-01-01 to 9999-12-29 (UTC), not %s', message.created_at);
    END IF;
    -- Plain headers are told by their text, which costs much less than to take them apart: in lower
    -- case, without escapes, none of them reserved or twice.
    IF field IS NULL AND message.headers IS NOT NULL
        AND NOT (octet_length(message.headers::text) <= 4096
                 AND message.headers::text ~ '^\s*\{(\s*"[-a-z0-9]+"\s*:\s*"[ !#-[\]-~]*"\s*,?)*\s*\}\s*$'
                 AND message.headers::text !~ '"(webhook-|proxy-|connection"|content-|expect"|host"|keep-|te"|trailer"|transfer-|upgrade"|user-)'
                 AND (SELECT count(*) <= 64 AND count(*) = count(DISTINCT h.name) AND bool_and(octet_length(h.name) <= 256) IS NOT FALSE
                        FROM json_object_keys(message.headers) h (name)))
    THEN
        problem := pgtopic.headers_problem(message.headers);
        field := CASE WHEN problem IS NOT NULL THEN 'headers' END;
    END IF;
    IF field IS NOT NULL THEN
        RAISE EXCEPTION '% %', field, problem
            USING ERRCODE = 'check_violation', SCHEMA = 'pgtopic', TABLE = 'messages', COLUMN = field;
    END IF;
    message.size_bytes := message.size_bytes + coalesce(octet_length(message.headers::text), 0);
    RETURN message;
END
$_$;

CREATE FUNCTION pgtopic.note_success(worker uuid, webhook_ids bigint[], suspected double precision) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    noted    bigint;
BEGIN
    UPDATE pgtopic.breakers b
       SET success_at = clock_timestamp(), success_by = worker
     WHERE b.ctid = ANY (ARRAY(
        SELECT x.ctid
          FROM pgtopic.breakers x
         WHERE x.webhook_id = ANY (webhook_ids) AND x.state = 'closed'
           AND x.suspected_at > clock_timestamp() - make_interval(secs => suspected)
           FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS noted = ROW_COUNT;
    RETURN noted;
END
$$;

CREATE FUNCTION pgtopic.notify_workers(message_id bigint, stripe integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    now_us       bigint := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000;
    notify_until bigint := pg_catalog.pg_sequence_last_value('pgtopic.notify_until'::pg_catalog.regclass);
    -- A variable of this transaction holds one mark for each notification that was sent.
    variable     pg_catalog.text := pg_catalog.concat('pgtopic_notifications.schema_', '"pgtopic"'::pg_catalog.regnamespace::pg_catalog.oid);
    marks        pg_catalog.text := coalesce(pg_catalog.current_setting(variable, true), '');
    sent         integer := pg_catalog.length(marks);
BEGIN
    -- An instant more than 10 s ahead was written before a step of the clock: it counts as unset.
    IF sent OPERATOR(pg_catalog.>) 10
        OR notify_until OPERATOR(pg_catalog.<=) now_us
        OR notify_until OPERATOR(pg_catalog.>) (now_us OPERATOR(pg_catalog.+) 10000000)
        OR pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.>=) 0.5
    THEN
        RETURN;
    END IF;
    PERFORM pg_catalog.pg_notify('pgtopic', CASE WHEN sent OPERATOR(pg_catalog.<) 10
                                                 THEN pg_catalog.concat_ws(' ', message_id, stripe)
                                                 ELSE 'more' END);
    PERFORM pg_catalog.set_config(variable, marks OPERATOR(pg_catalog.||) '.', true);
END
$$;

CREATE FUNCTION pgtopic.open_breaker(worker uuid, webhook_id bigint, epoch bigint, reason text, objection double precision, success_counts double precision, first_probe double precision) RETURNS TABLE(outcome text, epoch_now bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
#variable_conflict use_variable
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    topic    bigint := (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = webhook_id AND w.breaker = 'auto');
    alone    boolean := NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id <> worker AND NOT o.gone AND NOT o.stopping);
    found_as pgtopic.breakers;
BEGIN
    PERFORM pgtopic.require_read_committed();
    epoch_now := epoch;
    IF topic IS NULL THEN
        outcome := 'off';
        RETURN NEXT;
        RETURN;
    END IF;
    INSERT INTO pgtopic.breakers (webhook_id) VALUES (webhook_id) ON CONFLICT ON CONSTRAINT breakers_pkey DO NOTHING;

    UPDATE pgtopic.breakers b
       SET state = 'open', epoch = b.epoch + 1, opened_at = clock_timestamp(),
           next_probe_at = clock_timestamp() + make_interval(secs => first_probe), probes = 0, probe_by = NULL, probe_token = NULL,
           probe_until = NULL, suspected_at = NULL, success_at = NULL, success_by = NULL, wake_after = NULL,
           changed_at = clock_timestamp()
     WHERE b.webhook_id = open_breaker.webhook_id
       AND b.state = 'closed' AND b.epoch = open_breaker.epoch
       AND (alone OR b.suspected_at <= clock_timestamp() - make_interval(secs => objection))
       AND NOT coalesce(b.success_by <> worker AND b.success_at > clock_timestamp() - make_interval(secs => success_counts), false);
    IF FOUND THEN
        INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
        VALUES ('webhook.open', topic, webhook_id, reason, 'worker ' || worker);
        PERFORM pgtopic.announce_breaker();
        outcome := 'opened';
        epoch_now := epoch + 1;
        RETURN NEXT;
        RETURN;
    END IF;

    -- What an earlier suspicion was answered with does not count any more.
    UPDATE pgtopic.breakers b
       SET suspected_at = clock_timestamp(), success_at = NULL, success_by = NULL, changed_at = clock_timestamp()
     WHERE b.webhook_id = open_breaker.webhook_id
       AND b.state = 'closed' AND b.epoch = open_breaker.epoch
       AND (b.suspected_at IS NULL OR b.suspected_at <= clock_timestamp() - make_interval(secs => objection + success_counts)
            OR b.suspected_at > clock_timestamp());
    IF FOUND THEN
        PERFORM pgtopic.announce_breaker();
        outcome := 'asked';
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT * INTO found_as FROM pgtopic.breakers b WHERE b.webhook_id = open_breaker.webhook_id;
    epoch_now := found_as.epoch;
    outcome := CASE WHEN found_as.state = 'open' OR found_as.epoch <> epoch THEN 'outdated'
                    WHEN found_as.success_by <> worker THEN 'refused'
                    ELSE 'asked' END;
    RETURN NEXT;
END
$$;

CREATE FUNCTION pgtopic.open_transactions(progress json) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    open     text[];
    prepared text[];
BEGIN
    SELECT coalesce(array_agg(l.virtualtransaction), '{}') INTO open
      FROM pg_locks l
      JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted
       AND a.datid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
       AND l.pid <> pg_backend_pid()
       AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'walsender')
       AND (progress ->> 'open' IS NULL
            OR l.virtualtransaction IN (SELECT json_array_elements_text((progress ->> 'open')::json)));
    IF open = '{}' THEN
        SELECT coalesce(array_agg(p.transaction::text), '{}') INTO prepared
          FROM pg_prepared_xacts p
         WHERE p.database = current_database()
           AND (progress ->> 'prepared' IS NULL
                OR p.transaction::text IN (SELECT json_array_elements_text((progress ->> 'prepared')::json)));
    END IF;
    RETURN json_build_object('after', progress -> 'after', 'since', progress ->> 'since', 'open', open, 'prepared', prepared);
END
$$;

CREATE TABLE pgtopic.deliveries (
    webhook_id bigint NOT NULL,
    lane bigint NOT NULL,
    message_id bigint NOT NULL,
    replayed_at timestamp with time zone
)
WITH (autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_insert_scale_factor='0.2');

COMMENT ON TABLE pgtopic.deliveries IS 'What is still owed: rows are inserted once and deleted once, never updated.';

COMMENT ON COLUMN pgtopic.deliveries.lane IS 'As in messages.';

COMMENT ON COLUMN pgtopic.deliveries.replayed_at IS 'When a replay put it here; null: the message was published.';

CREATE FUNCTION pgtopic.owe_deliveries(asked pgtopic.deliveries[], only_dead boolean, waits boolean) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
DECLARE
    waited   text;
    free     integer[];
    -- What keeps each of asked from being owed; null: nothing.
    refusals text[];
    outcomes text[];
BEGIN
    IF waits THEN
        SELECT k.outcome INTO waited
          FROM unnest(asked) d
         CROSS JOIN LATERAL pgtopic.lane_stripe(d.webhook_id, d.lane) s
         CROSS JOIN LATERAL pgtopic.lock_lane(d.webhook_id, d.lane, s.stripe, true) k;
        IF waited <> 'locked' THEN
            RETURN ARRAY[waited];
        END IF;
    END IF;
    SELECT coalesce(array_agg(s.stripe), '{}') INTO free
      FROM (SELECT DISTINCT s.stripe FROM unnest(asked) d CROSS JOIN LATERAL pgtopic.lane_stripe(d.webhook_id, d.lane) s) s
     WHERE pg_try_advisory_xact_lock(pgtopic.stripe_class(), s.stripe);

    -- New statements see what the last holders of the stripes have committed.
    WITH tried AS MATERIALIZED (
        SELECT d.webhook_id, d.lane, d.message_id,
               row_number() OVER (PARTITION BY d.webhook_id, d.lane ORDER BY d.message_id) = 1 AS is_first,
               CASE WHEN s.topic_id IS NULL THEN 'webhook_gone'
                    -- Nothing differs from all of none, not even null.
                    WHEN s.stripe IS NOT NULL AND s.stripe <> ALL (free) THEN 'stripe_taken' END AS refusal
          FROM unnest(asked) d
          LEFT JOIN LATERAL pgtopic.lane_stripe(d.webhook_id, d.lane) s ON true
    ), locked AS MATERIALIZED (
        SELECT t.webhook_id, t.lane, t.message_id,
               CASE WHEN t.refusal IS NOT NULL THEN t.refusal
                    WHEN t.is_first AND l.held IS NULL AND (SELECT true FROM pgtopic.lanes l
                                                             WHERE l.webhook_id = t.webhook_id AND l.lane = t.lane
                                                             LIMIT 1) THEN 'row_locked'
                    WHEN x.held IS NULL AND (SELECT true FROM pgtopic.dead_letters x
                                              WHERE x.webhook_id = t.webhook_id AND x.message_id = t.message_id
                                              LIMIT 1) THEN 'row_locked'
                    WHEN x.held IS NULL AND only_dead THEN 'absent'
                    WHEN m.held THEN NULL
                    WHEN (SELECT true FROM pgtopic.messages m WHERE m.id = t.message_id LIMIT 1) THEN 'row_locked'
                    ELSE 'message_gone' END AS refusal
          FROM tried t
          LEFT JOIN LATERAL (SELECT true AS held FROM pgtopic.lanes l
                              WHERE t.is_first AND t.refusal IS NULL AND l.webhook_id = t.webhook_id AND l.lane = t.lane
                              LIMIT 1 FOR UPDATE SKIP LOCKED) l ON true
          LEFT JOIN LATERAL (SELECT true AS held FROM pgtopic.dead_letters x
                              WHERE t.refusal IS NULL AND x.webhook_id = t.webhook_id AND x.message_id = t.message_id
                              LIMIT 1 FOR UPDATE SKIP LOCKED) x ON true
          LEFT JOIN LATERAL (SELECT true AS held FROM pgtopic.messages m
                              WHERE t.refusal IS NULL AND m.id = t.message_id
                              LIMIT 1 FOR KEY SHARE SKIP LOCKED) m ON true
    )
    SELECT array_agg(CASE WHEN o.follows THEN 'row_locked' ELSE o.refusal END ORDER BY o.webhook_id, o.lane, o.message_id)
      INTO refusals
      FROM (SELECT k.webhook_id, k.lane, k.message_id, k.refusal,
                   bool_or(k.refusal IS NOT DISTINCT FROM 'row_locked')
                       OVER (PARTITION BY k.webhook_id, k.lane ORDER BY k.message_id) AS follows
              FROM locked k) o;

    WITH allowed AS MATERIALIZED (
        SELECT a.webhook_id, a.lane, a.message_id, a.replayed_at, a.refusal
          FROM unnest(asked, refusals) AS a (webhook_id, lane, message_id, replayed_at, refusal)
    ), owed AS (
        INSERT INTO pgtopic.deliveries AS d (webhook_id, lane, message_id, replayed_at)
        SELECT a.webhook_id, a.lane, a.message_id, a.replayed_at
          FROM allowed a
         WHERE a.refusal IS NULL
         ORDER BY a.webhook_id, a.lane, a.message_id
            ON CONFLICT DO NOTHING
        RETURNING d.webhook_id, d.lane, d.message_id
    ), replaced AS (
        DELETE FROM pgtopic.dead_letters x
         WHERE x.ctid = ANY (ARRAY(
            SELECT x.place
              FROM owed o
             CROSS JOIN LATERAL (SELECT x.ctid AS place FROM pgtopic.dead_letters x
                                  WHERE x.webhook_id = o.webhook_id AND x.message_id = o.message_id LIMIT 1) x))
    ), lanes AS (
        INSERT INTO pgtopic.lanes AS l (webhook_id, lane, stripe, partition_key, due_at, position)
        SELECT o.webhook_id, o.lane, s.stripe, m.partition_key, clock_timestamp(), o.first_id - 1
          FROM (SELECT o.webhook_id, o.lane, min(o.message_id) AS first_id
                  FROM owed o
                 GROUP BY o.webhook_id, o.lane
                 ORDER BY o.webhook_id, o.lane) o
         CROSS JOIN LATERAL (SELECT m.partition_key FROM pgtopic.messages m WHERE m.id = o.first_id LIMIT 1) m
         CROSS JOIN LATERAL pgtopic.lane_stripe(o.webhook_id, o.lane) s
            ON CONFLICT ON CONSTRAINT lanes_pkey DO UPDATE
           SET position = least(l.position, excluded.position),
               generation = l.generation + 1,
               due_at = CASE WHEN l.claimed_by IS NULL AND NOT l.halted
                                  AND excluded.position < coalesce(l.batch_last, l.head_message_id, excluded.position + 1)
                             THEN least(l.due_at, excluded.due_at) ELSE l.due_at END,
               wait_seconds = CASE WHEN l.claimed_by IS NULL AND NOT l.halted
                                        AND excluded.position < coalesce(l.batch_last, l.head_message_id, excluded.position + 1)
                                   THEN NULL ELSE l.wait_seconds END
    )
    SELECT array_agg(e.outcome ORDER BY e.webhook_id, e.lane, e.message_id) INTO outcomes
      FROM (SELECT a.webhook_id, a.lane, a.message_id, a.refusal AS outcome FROM allowed a WHERE a.refusal IS NOT NULL
             UNION ALL
            SELECT o.webhook_id, o.lane, o.message_id, 'owed' FROM owed o
             UNION ALL
            SELECT c.webhook_id, c.lane, c.message_id, 'already_owed'
              FROM (SELECT a.webhook_id, a.lane, a.message_id FROM allowed a WHERE a.refusal IS NULL
                    EXCEPT SELECT o.webhook_id, o.lane, o.message_id FROM owed o) c) e;
    -- A row may go on telling of a message that has left the lane since it failed.
    UPDATE pgtopic.lanes l
       SET failures = 0, head_message_id = NULL, batch_last = NULL, batch_count = NULL,
           last_error = NULL, last_error_class = NULL, last_status_code = NULL
     WHERE l.ctid = ANY (ARRAY(
        SELECT x.place
          FROM unnest(asked, outcomes) AS a (webhook_id, lane, message_id, replayed_at, outcome)
         CROSS JOIN LATERAL (
            SELECT x.ctid AS place
              FROM pgtopic.lanes x
             WHERE x.webhook_id = a.webhook_id AND x.lane = a.lane AND NOT x.halted
               AND a.message_id BETWEEN x.head_message_id AND coalesce(x.batch_last, x.head_message_id)
             LIMIT 1) x
         WHERE a.outcome = 'owed'));
    -- A transaction sends no more notifications than these.
    PERFORM pgtopic.notify_workers(d.message_id, s.stripe)
       FROM (SELECT a.webhook_id, a.lane, a.message_id
               FROM unnest(asked, outcomes) AS a (webhook_id, lane, message_id, replayed_at, outcome)
              WHERE a.outcome = 'owed' AND a.replayed_at IS NOT NULL
              LIMIT 11) d
      CROSS JOIN LATERAL pgtopic.lane_stripe(d.webhook_id, d.lane) s;
    RETURN coalesce(outcomes, '{}');
END
$$;

CREATE FUNCTION pgtopic.owe_messages(webhook_id bigint, message_ids bigint[], replayed_at timestamp with time zone, waits boolean) RETURNS TABLE(message_id bigint, outcome text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET lock_timeout TO '1s'
    AS $$
#variable_conflict use_column
DECLARE
    topic bigint := (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = owe_messages.webhook_id);
    found pgtopic.deliveries[];
BEGIN
    PERFORM pgtopic.require_read_committed();
    IF topic IS NULL THEN
        RETURN;
    END IF;
    SELECT coalesce(array_agg((owe_messages.webhook_id, m.lane, m.id, owe_messages.replayed_at)::pgtopic.deliveries
                              ORDER BY m.lane, m.id), '{}')
      INTO found
      FROM unnest(message_ids) AS asked (id)
     CROSS JOIN LATERAL (SELECT m.id, m.lane, m.topic_id FROM pgtopic.messages m WHERE m.id = asked.id LIMIT 1) m
     WHERE m.topic_id = topic;
    RETURN QUERY
    SELECT a.message_id, a.outcome
      FROM unnest(found, pgtopic.owe_deliveries(found, false, waits)) AS a (webhook_id, lane, message_id, replayed_at, outcome)
     UNION ALL
    SELECT g.id, 'message_gone'
      FROM (SELECT asked.id FROM unnest(message_ids) AS asked (id) EXCEPT SELECT f.message_id FROM unnest(found) f) g
     ORDER BY 1;
END
$$;

CREATE FUNCTION pgtopic.partition_holder(message_id bigint, waiting integer) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT format('%s messages whose partitions or rows somebody has locked, such as message %s%s', waiting, message_id,
              (SELECT ' (held by ' || string_agg(coalesce('pid ' || l.pid, 'prepared transaction ' || p.gid), ', ') || ')'
                 FROM pgtopic.messages m
                 JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.classid = pgtopic.stripe_class()::oid
                  AND l.objsubid = 2 AND l.objid = pgtopic.stripe(m.topic_id, m.partition_key)::oid
                  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                 LEFT JOIN pg_prepared_xacts p ON l.virtualtransaction = '-1/' || p.transaction
                WHERE m.id = partition_holder.message_id AND l.pid IS DISTINCT FROM pg_backend_pid()))
$$;

CREATE FUNCTION pgtopic.pick_messages(job pgtopic.jobs, at_most integer, OUT ids bigint[], OUT filtered bigint, OUT last_id bigint) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
DECLARE
    looks  CONSTANT integer := 10000;
    after  bigint := (job.progress ->> 'after')::bigint;
    until  bigint := (job.progress ->> 'until')::bigint;
    since  timestamptz := coalesce((job.progress ->> 'since')::timestamptz, '-infinity');
    before timestamptz := coalesce((job.progress ->> 'before')::timestamptz, 'infinity');
    judges boolean := (SELECT w.types IS NOT NULL OR w.filter IS NOT NULL FROM pgtopic.webhooks w WHERE w.id = job.webhook_id);
BEGIN
    ids := '{}';
    filtered := 0;
    last_id := after;
    IF at_most <= 0 THEN
        RETURN;
    END IF;
    -- What is seen is read in order, and no further than needed.
    WITH seen AS NOT MATERIALIZED (
        SELECT m.id, m.topic_id, m.partition_key, m.type, m.created_at
          FROM pgtopic.messages m
         WHERE m.id > after AND m.id <= until
         ORDER BY m.id
         LIMIT looks
    ), asked AS MATERIALIZED (
        SELECT s.id
          FROM seen s
         WHERE s.topic_id = job.topic_id
           AND s.partition_key = coalesce(job.filter ->> 'partition_key', s.partition_key)
           AND (job.filter ->> 'type' IS NULL OR s.type = job.filter ->> 'type')
           AND s.created_at >= since AND s.created_at < before
           AND (NOT coalesce((job.filter ->> 'only_failed')::boolean, false)
                OR (SELECT true FROM pgtopic.dead_letters l WHERE l.webhook_id = job.webhook_id AND l.message_id = s.id LIMIT 1))
         ORDER BY s.id
         LIMIT at_most
    ), judged AS MATERIALIZED (
        SELECT a.id, NOT judges OR pgtopic.is_for_webhook(job.webhook_id, a.id) AS passes FROM asked a
    )
    SELECT coalesce(array_agg(j.id ORDER BY j.id) FILTER (WHERE j.passes), '{}'),
           count(*) FILTER (WHERE NOT j.passes),
           CASE WHEN count(*) = at_most THEN max(j.id)
                WHEN (SELECT count(*) FROM seen) < looks THEN until
                ELSE (SELECT max(s.id) FROM seen s) END
      INTO ids, filtered, last_id
      FROM judged j;
END
$$;

CREATE FUNCTION pgtopic.publish(topic text, payload json, idempotency_key text DEFAULT NULL::text, headers json DEFAULT NULL::json, type text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT pgtopic.publish(topic, 'default'::text, payload, headers, idempotency_key, type)
$$;

CREATE FUNCTION pgtopic.publish(topic text, payload jsonb, idempotency_key text DEFAULT NULL::text, headers json DEFAULT NULL::json, type text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT pgtopic.publish(topic, 'default'::text, payload::json, headers, idempotency_key, type)
$$;

CREATE FUNCTION pgtopic.publish(topic text, partition_key text, payload json, headers json DEFAULT NULL::json, idempotency_key text DEFAULT NULL::text, type text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    topic_key  bigint;
    message_id bigint;
BEGIN
    SELECT t.id INTO topic_key FROM pgtopic.topics t WHERE t.name = publish.topic;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'topic "%" does not exist', publish.topic
            USING ERRCODE = 'foreign_key_violation', HINT = 'Create it with POST /topics or INSERT INTO topics (name) VALUES (...).';
    END IF;
    LOOP
        IF publish.idempotency_key IS NOT NULL THEN
            SELECT m.id INTO message_id FROM pgtopic.messages m
             WHERE m.topic_id = topic_key AND m.idempotency_key = publish.idempotency_key;
            IF FOUND THEN
                RETURN message_id;
            END IF;
        END IF;
        INSERT INTO pgtopic.messages (topic_id, partition_key, type, payload, headers, idempotency_key)
        VALUES (topic_key, publish.partition_key, publish.type, publish.payload, publish.headers, publish.idempotency_key)
        ON CONFLICT (topic_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING id INTO message_id;
        -- Nothing was returned: another transaction has used the key and has committed. Look again.
        EXIT WHEN message_id IS NOT NULL;
    END LOOP;
    RETURN message_id;
END
$$;

CREATE FUNCTION pgtopic.publish(topic text, partition_key text, payload jsonb, headers json DEFAULT NULL::json, idempotency_key text DEFAULT NULL::text, type text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT pgtopic.publish(topic, partition_key, payload::json, headers, idempotency_key, type)
$$;

CREATE FUNCTION pgtopic.publish(topic text, partition_key text DEFAULT 'default'::text, payload text DEFAULT NULL::text, headers json DEFAULT NULL::json, idempotency_key text DEFAULT NULL::text, type text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    IF payload IS NULL THEN
        RAISE EXCEPTION 'there is no payload'
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'Call publish(topic, partition_key, payload), or publish(topic, payload => ...).';
    END IF;
    RETURN pgtopic.publish(topic, partition_key, payload::json, headers, idempotency_key, type);
END
$$;

CREATE FUNCTION pgtopic.publish_events(at_most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    published integer;
BEGIN
    WITH due AS MATERIALIZED (
        SELECT c.id FROM pgtopic.changes c WHERE c.is_event ORDER BY c.id LIMIT at_most FOR UPDATE SKIP LOCKED
    ), told AS (
        UPDATE pgtopic.changes c SET is_event = false FROM due WHERE c.id = due.id
        RETURNING c.*
    )
    INSERT INTO pgtopic.messages (topic_id, partition_key, type, payload)
    SELECT events.topic_id, coalesce(t.name || ':' || coalesce(w.name, c.webhook_id::text), 'workers'), c.kind,
           json_build_object('type', c.kind, 'at', to_char(c.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                             'topic', t.name, 'webhook_id', c.webhook_id, 'webhook', w.name,
                             'partition_key', c.partition_key, 'message_id', c.message_id, 'worker', c.worker_id,
                             'reason', c.reason, 'changed_by', c.changed_by)
      FROM told c
      JOIN pgtopic.events_topic() AS events (topic_id) ON events.topic_id IS NOT NULL
      LEFT JOIN pgtopic.topics t ON t.id = c.topic_id
      LEFT JOIN pgtopic.webhooks w ON w.id = c.webhook_id
     ORDER BY c.id;
    GET DIAGNOSTICS published = ROW_COUNT;
    RETURN published;
END
$$;

CREATE FUNCTION pgtopic.purge_step(job pgtopic.jobs, at_most integer, messages_days integer, dead_letters_days integer, attempts_days integer, jobs_days integer, changes_days integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    kinds   CONSTANT text[] := '{dead_letters,attempts,jobs,changes,messages}';
    kind    text := coalesce(job.progress ->> 'kind', kinds[1]);
    after   bigint := coalesce((job.progress ->> 'after')::bigint, 0);
    is_end  boolean := false;
    portion record;
BEGIN
    CASE kind
        WHEN 'dead_letters' THEN
            done := CASE WHEN dead_letters_days > 0 THEN pgtopic.delete_old_dead_letters(dead_letters_days, at_most) ELSE 0 END;
            is_end := done = 0;
        WHEN 'attempts' THEN
            done := CASE WHEN attempts_days > 0 THEN pgtopic.drop_attempt_partitions(attempts_days) ELSE 0 END;
            is_end := true;
        WHEN 'jobs' THEN
            done := pgtopic.delete_old_jobs(jobs_days, at_most);
            is_end := done = 0;
        WHEN 'changes' THEN
            done := pgtopic.delete_old_changes(changes_days, at_most);
            is_end := done = 0;
        WHEN 'messages' THEN
            SELECT * INTO portion FROM pgtopic.delete_old_messages(after, at_most, messages_days);
            done := portion.deleted;
            after := coalesce(portion.last_id, after);
            is_end := portion.seen < at_most;
    END CASE;
    SELECT 0, 0, 0 INTO already_owed, gone, filtered;
    progress := json_build_object('after', after,
                                  'kind', CASE WHEN is_end THEN kinds[array_position(kinds, kind) + 1] ELSE kind END);
    finished := is_end AND kind = kinds[cardinality(kinds)];
END
$$;

CREATE FUNCTION pgtopic.read_claimed(claimed pgtopic.lanes[], messages_per_lane integer, payload_budget bigint) RETURNS TABLE(webhook_id bigint, lane bigint, due_at timestamp with time zone, "position" bigint, generation integer, head_message_id bigint, failures integer, batch_last bigint, batch_count integer, split_until bigint, message_id bigint, partition_key text, type text, payload json, headers json, created_at timestamp with time zone, replayed_at timestamp with time zone, state text, age double precision)
    LANGUAGE sql STABLE
    AS $$
SELECT c.webhook_id, c.lane, c.due_at, c.position, c.generation, c.head_message_id, c.failures,
       c.batch_last, c.batch_count, c.split_until, d.message_id, m.partition_key, m.type,
       CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.payload END,
       CASE WHEN sum(m.size_bytes) OVER read <= payload_budget THEN m.headers END,
       m.created_at, d.replayed_at,
       CASE WHEN d.replayed_at IS NULL AND d.message_id < c.latest THEN 'superseded'
            WHEN m.id IS NULL THEN 'missing'
            WHEN sum(m.size_bytes) OVER read <= payload_budget THEN 'loaded'
            ELSE 'deferred' END,
       date_part('epoch', clock_timestamp()) - date_part('epoch', greatest(m.created_at, m.published_at))
  FROM (SELECT c.*, latest.id AS latest
          FROM unnest(claimed) c
          LEFT JOIN LATERAL pgtopic.latest_message(c.webhook_id, c.lane, c.position) latest ON true
        OFFSET 0) c
  LEFT JOIN LATERAL (
    SELECT o.message_id, o.replayed_at
      FROM pgtopic.deliveries o
     WHERE o.webhook_id = c.webhook_id AND o.lane = c.lane AND o.message_id > c.position
     ORDER BY o.message_id
     LIMIT messages_per_lane
  ) d ON true
  LEFT JOIN pgtopic.messages m ON m.id >= d.message_id AND m.id <= d.message_id
   AND (d.replayed_at IS NULL AND d.message_id < c.latest) IS NOT TRUE
WINDOW read AS (ROWS UNBOUNDED PRECEDING)
$$;

CREATE FUNCTION pgtopic.read_lanes(worker uuid, webhook_ids bigint[], lanes bigint[], tokens bigint[], positions bigint[], generations integer[], messages_per_lane integer, payload_budget bigint) RETURNS TABLE(webhook_id bigint, lane bigint, "position" bigint, generation integer, message_id bigint, partition_key text, type text, payload json, headers json, created_at timestamp with time zone, replayed_at timestamp with time zone, state text, age double precision)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT l.webhook_id, l.lane, l.position, l.generation, d.message_id, m.partition_key, m.type,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN m.payload END,
           CASE WHEN sum(m.size_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN m.headers END,
           m.created_at, d.replayed_at,
           CASE WHEN d.replayed_at IS NULL AND d.message_id < l.latest THEN 'superseded'
                WHEN m.id IS NULL THEN 'missing'
                WHEN sum(m.size_bytes) OVER read <= payload_budget
                  OR row_number() OVER read = 1 THEN 'loaded'
                ELSE 'deferred' END,
           date_part('epoch', clock_timestamp()) - date_part('epoch', greatest(m.created_at, m.published_at))
      FROM (
        SELECT h.webhook_id, h.lane, h.generation,
               CASE WHEN h.generation = held.generation THEN held.position ELSE h.position END AS position,
               latest.id AS latest
          FROM unnest(read_lanes.webhook_ids, read_lanes.lanes, read_lanes.tokens, read_lanes.positions, read_lanes.generations)
               AS held (webhook_id, lane, token, position, generation)
         CROSS JOIN LATERAL (
            SELECT h.webhook_id, h.lane, h.generation, h.position
              FROM pgtopic.lanes h
             WHERE h.webhook_id = held.webhook_id AND h.lane = held.lane
               AND h.claimed_by = read_lanes.worker AND h.token = held.token
             LIMIT 1) h
          LEFT JOIN LATERAL pgtopic.latest_message(h.webhook_id, h.lane, h.position) latest ON true
        OFFSET 0
      ) l
      LEFT JOIN LATERAL (
        SELECT o.message_id, o.replayed_at
          FROM pgtopic.deliveries o
         WHERE o.webhook_id = l.webhook_id AND o.lane = l.lane AND o.message_id > l.position
         ORDER BY o.message_id
         LIMIT messages_per_lane
      ) d ON true
      LEFT JOIN pgtopic.messages m ON m.id >= d.message_id AND m.id <= d.message_id
       AND (d.replayed_at IS NULL AND d.message_id < l.latest) IS NOT TRUE
    WINDOW read AS (ROWS UNBOUNDED PRECEDING);
END
$$;

CREATE FUNCTION pgtopic.record_exhausted(at_most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    told     bigint;
    newest   bigint := (SELECT max(d.id) FROM pgtopic.dead_letters d);
    recorded integer := 0;
BEGIN
    SELECT i.dead_letters_told INTO told FROM pgtopic.installation i FOR UPDATE;
    IF newest IS NULL OR newest <= told THEN
        RETURN 0;
    END IF;
    IF pgtopic.events_topic() IS NOT NULL THEN
        INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, partition_key, message_id, reason, changed_by)
        SELECT 'delivery.exhausted', w.topic_id, w.id, d.partition_key, d.message_id,
               format('%s given up; the last one: %s', g.count, coalesce(d.last_error, d.reason)), 'leader'
          FROM (SELECT x.webhook_id, count(*) AS count, max(x.id) AS latest
                  FROM (SELECT y.* FROM pgtopic.dead_letters y WHERE y.id > told ORDER BY y.id DESC LIMIT at_most) x
                 WHERE x.reason IN ('attempts_exhausted', 'permanent', 'expired', 'overflow')
                 GROUP BY x.webhook_id) g
          JOIN pgtopic.dead_letters d ON d.id = g.latest
          JOIN pgtopic.webhooks w ON w.id = g.webhook_id
         ORDER BY w.id;
        GET DIAGNOSTICS recorded = ROW_COUNT;
    END IF;
    UPDATE pgtopic.installation SET dead_letters_told = newest;
    RETURN recorded;
END
$$;

CREATE FUNCTION pgtopic.record_topic_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO pgtopic.changes (kind, topic_id, reason, changed_by)
    VALUES (CASE WHEN NEW.paused IS NULL THEN 'topic.resumed' ELSE 'topic.paused' END, NEW.id, NEW.paused, pgtopic.changed_by());
    RETURN NULL;
END
$$;

CREATE FUNCTION pgtopic.record_webhook_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
    SELECT c.kind, NEW.topic_id, NEW.id, c.reason, pgtopic.changed_by()
      FROM (VALUES (1, CASE WHEN NEW.paused THEN 'webhook.paused' ELSE 'webhook.resumed' END, NULL, NEW.paused <> OLD.paused),
                   (2, 'webhook.disabled', NEW.disabled_reason, NEW.disabled_reason IS NOT NULL AND OLD.disabled_reason IS NULL),
                   (3, 'webhook.enabled', OLD.disabled_reason, NEW.disabled_reason IS NULL AND OLD.disabled_reason IS NOT NULL),
                   (4, 'webhook.started', NULL, NEW.state = 'active' AND OLD.state = 'starting'),
                   (5, CASE WHEN NEW.overflowing THEN 'webhook.overflowing' ELSE 'webhook.overflow_ended' END,
                    CASE WHEN NEW.overflowing THEN format('it is owed more than %s messages; on_overflow is %s', NEW.max_owed, NEW.on_overflow) END,
                    NEW.overflowing <> OLD.overflowing)) AS c (place, kind, reason, happened)
     WHERE c.happened
     ORDER BY c.place;
    RETURN NULL;
END
$$;

CREATE FUNCTION pgtopic.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION '%.% cannot be changed', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;

CREATE FUNCTION pgtopic.release_lanes(worker uuid, after_webhook bigint, after_lane bigint, lanes_at_most integer) RETURNS TABLE(released bigint, locked bigint, webhook_id bigint, lane bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    held     bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    SELECT s.held, s.webhook_id, s.lane INTO held, release_lanes.webhook_id, release_lanes.lane
      FROM (SELECT count(*) FILTER (WHERE l.claimed_by = release_lanes.worker) AS held,
                   CASE WHEN count(*) = lanes_at_most THEN (array_agg(l.webhook_id))[count(*)] END AS webhook_id,
                   CASE WHEN count(*) = lanes_at_most THEN (array_agg(l.lane))[count(*)] END AS lane
              FROM (SELECT l.webhook_id, l.lane, l.claimed_by
                      FROM pgtopic.lanes l
                     WHERE (l.webhook_id, l.lane) > (after_webhook, after_lane)
                     ORDER BY l.webhook_id, l.lane
                     LIMIT lanes_at_most) l) s;
    UPDATE pgtopic.lanes l
       SET claimed_by = NULL, token = NULL, due_at = clock_timestamp(), wait_seconds = NULL
     WHERE held > 0 AND l.ctid = ANY (ARRAY(
        SELECT free.place
          FROM (SELECT l.ctid AS place, l.claimed_by
                  FROM pgtopic.lanes l
                 WHERE (l.webhook_id, l.lane) > (after_webhook, after_lane)
                 ORDER BY l.webhook_id, l.lane
                 LIMIT lanes_at_most) l
         CROSS JOIN LATERAL (SELECT x.ctid AS place FROM pgtopic.lanes x
                              WHERE x.ctid = l.place AND x.claimed_by = release_lanes.worker
                                FOR UPDATE SKIP LOCKED) free
         WHERE l.claimed_by = release_lanes.worker));
    GET DIAGNOSTICS released = ROW_COUNT;
    locked := greatest(held - released, 0);
    RETURN NEXT;
END
$$;

CREATE FUNCTION pgtopic.remove_idle_lanes(worker uuid, webhook_ids bigint[], lanes bigint[], tokens bigint[], generations integer[]) RETURNS TABLE(webhook_id bigint, lane bigint, outcome text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET lock_timeout TO '100ms'
    AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    class    integer := pgtopic.stripe_class();
    places   tid[];
    known    boolean[];
    removed  integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;

    -- An unordered lane has no stripe: it never owes more than its one message.
    SELECT array_agg(x.place), array_agg(x.generation = h.generation)
      INTO places, known
      FROM unnest(remove_idle_lanes.webhook_ids, remove_idle_lanes.lanes, remove_idle_lanes.tokens, remove_idle_lanes.generations)
           AS h (webhook_id, lane, token, generation)
     CROSS JOIN LATERAL (
        SELECT x.ctid AS place, x.stripe, x.generation
          FROM pgtopic.lanes x
         WHERE x.webhook_id = h.webhook_id AND x.lane = h.lane
           AND x.claimed_by = remove_idle_lanes.worker AND x.token = h.token
         LIMIT 1
           FOR UPDATE SKIP LOCKED) x
     WHERE coalesce(pg_try_advisory_xact_lock(class, x.stripe), true);
    IF places IS NULL THEN
        RETURN;
    END IF;

    -- New statements see what the last holders of the stripes have committed. The rows are locked,
    -- so nobody changes them.
    RETURN QUERY
    DELETE FROM pgtopic.lanes l
     WHERE l.ctid = ANY (ARRAY(
            SELECT h.place
              FROM unnest(places, known) AS h (place, known)
             CROSS JOIN LATERAL (
                SELECT true AS idle
                  FROM pgtopic.lanes x
                 WHERE x.ctid = h.place
                   -- Only a replay adds deliveries at or below the position, and it raises the
                   -- generation: then look at the whole lane. The position is that of the row, not
                   -- the worker's: the row's position moved in the transaction that deleted the
                   -- deliveries up to it.
                   AND (SELECT true FROM pgtopic.deliveries d
                         WHERE d.webhook_id = x.webhook_id AND d.lane = x.lane
                           AND d.message_id > CASE WHEN h.known THEN x.position ELSE -1 END
                         LIMIT 1) IS NULL
                 LIMIT 1) x))
    RETURNING l.webhook_id, l.lane, 'removed';

    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed = cardinality(places) THEN
        RETURN;
    END IF;
    RETURN QUERY
    UPDATE pgtopic.lanes l
       SET position = least(l.position, (SELECT min(d.message_id) - 1 FROM pgtopic.deliveries d
                                          WHERE d.webhook_id = l.webhook_id AND d.lane = l.lane))
     WHERE l.ctid = ANY (ARRAY(SELECT h.place FROM unnest(places, known) AS h (place, known) WHERE NOT h.known))
    RETURNING l.webhook_id, l.lane, 'rewound';
END
$$;

CREATE FUNCTION pgtopic.remove_worker(worker uuid) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    DELETE FROM pgtopic.workers w
     WHERE w.ctid = ANY (ARRAY(SELECT x.ctid FROM pgtopic.workers x WHERE x.id = worker AND x.gone FOR UPDATE SKIP LOCKED));
    RETURN FOUND OR NOT EXISTS (SELECT FROM pgtopic.workers w WHERE w.id = worker);
END
$$;

CREATE FUNCTION pgtopic.repair_due_at(after_webhook bigint, after_due_at timestamp with time zone, lanes_at_most integer) RETURNS TABLE(corrected bigint, webhook_id bigint, due_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    RETURN QUERY
    WITH ahead AS MATERIALIZED (
        SELECT l.at, l.webhook_id, l.due_at, l.wait_seconds
          FROM pgtopic.webhooks w
         CROSS JOIN LATERAL (
            SELECT l.ctid AS at, l.webhook_id, l.due_at, l.wait_seconds
              FROM pgtopic.lanes l
             WHERE l.webhook_id + 0 = w.id
               AND l.due_at > greatest(CASE WHEN w.id = after_webhook THEN after_due_at END,
                                       statement_timestamp() + interval '0.1 s')
               AND l.due_at < 'infinity'
               -- Also a claimed lane whose holder is gone: a sweep takes it when it is due.
               AND (l.claimed_by IS NULL
                    OR NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
             ORDER BY l.due_at
             LIMIT lanes_at_most
         ) l
         WHERE w.id >= after_webhook
         ORDER BY w.id
         LIMIT lanes_at_most
    ), wrong AS MATERIALIZED (
        SELECT a.at FROM ahead a
         WHERE a.due_at > clock_timestamp() + make_interval(secs => coalesce(a.wait_seconds, 0) + 0.1)
    ), changed AS (
        -- By the rows' places: a join that was planned for a small table would go through all lanes
        -- for each of many. A row that was written since has another place, and is left alone.
        UPDATE pgtopic.lanes l
           SET due_at = clock_timestamp() + make_interval(secs => coalesce(l.wait_seconds, 0))
         WHERE l.ctid = ANY (ARRAY(
            SELECT free.at
              FROM wrong
             CROSS JOIN LATERAL (
                SELECT l.ctid AS at FROM pgtopic.lanes l WHERE l.ctid = wrong.at FOR UPDATE SKIP LOCKED
             ) free))
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM changed), a.webhook_id, a.due_at
      FROM (SELECT) one
      LEFT JOIN LATERAL (
        SELECT a.webhook_id, a.due_at FROM ahead a OFFSET lanes_at_most - 1 LIMIT 1
      ) a ON true;
END
$$;

CREATE FUNCTION pgtopic.replay_dead_letters(dead_letter_ids bigint[], waits boolean) RETURNS TABLE(dead_letter_id bigint, webhook_id bigint, message_id bigint, outcome text)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET lock_timeout TO '1s'
    AS $$
#variable_conflict use_column
DECLARE
    found     pgtopic.deliveries[];
    found_ids bigint[];
BEGIN
    PERFORM pgtopic.require_read_committed();
    SELECT coalesce(array_agg((x.webhook_id, x.lane, x.message_id, clock_timestamp())::pgtopic.deliveries
                              ORDER BY x.webhook_id, x.lane, x.message_id), '{}'),
           coalesce(array_agg(x.id ORDER BY x.webhook_id, x.lane, x.message_id), '{}')
      INTO found, found_ids
      FROM unnest(dead_letter_ids) AS asked (id)
     CROSS JOIN LATERAL (SELECT x.id, x.webhook_id, x.lane, x.message_id FROM pgtopic.dead_letters x WHERE x.id = asked.id LIMIT 1) x;
    RETURN QUERY
    SELECT a.id, a.webhook_id, a.message_id, a.outcome
      FROM unnest(found, found_ids, pgtopic.owe_deliveries(found, true, waits))
           AS a (webhook_id, lane, message_id, replayed_at, id, outcome)
     UNION ALL
    SELECT g.id, NULL, NULL, 'absent'
      FROM (SELECT asked.id FROM unnest(dead_letter_ids) AS asked (id) EXCEPT SELECT f.id FROM unnest(found_ids) AS f (id)) g
     ORDER BY 3, 2;
END
$$;

CREATE FUNCTION pgtopic.replay_step(job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    ids     bigint[] := pgtopic.left_messages(job.progress);
    is_left bigint[];
    picked  record;
BEGIN
    SELECT * INTO picked FROM pgtopic.pick_messages(job, at_most - cardinality(ids));
    SELECT count(*) FILTER (WHERE o.outcome = 'owed'),
           count(*) FILTER (WHERE o.outcome = 'already_owed'),
           count(*) FILTER (WHERE o.outcome = 'message_gone'),
           coalesce(array_agg(o.message_id ORDER BY o.message_id) FILTER (WHERE o.outcome IN ('stripe_taken', 'row_locked')), '{}')
      INTO done, already_owed, gone, is_left
      FROM pgtopic.owe_messages(job.webhook_id, ids || picked.ids, CASE job.kind WHEN 'replay' THEN clock_timestamp() END, false) o;
    filtered := picked.filtered;
    progress := json_build_object('after', picked.last_id, 'until', job.progress -> 'until', 'since', job.progress -> 'since',
                                  'before', job.progress -> 'before', 'left', is_left);
    waits_for := CASE WHEN cardinality(is_left) > 0 THEN pgtopic.partition_holder(is_left[1], cardinality(is_left)) END;
    finished := picked.last_id >= (job.progress ->> 'until')::bigint AND is_left = '{}';
END
$$;

CREATE FUNCTION pgtopic.require_lead(worker uuid, term bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    PERFORM FROM pgtopic.leader l WHERE l.worker = require_lead.worker AND l.term = require_lead.term FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % does not lead in term %', require_lead.worker, require_lead.term
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;

CREATE FUNCTION pgtopic.require_read_committed() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'pgtopic workers need READ COMMITTED, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'invalid_transaction_state';
    END IF;
END
$$;

CREATE FUNCTION pgtopic.require_registered(worker uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    PERFORM FROM pgtopic.workers w WHERE w.id = worker AND NOT w.gone FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
END
$$;

CREATE FUNCTION pgtopic.retry_lanes(webhook_id bigint, lanes bigint[], changed_by text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_variable
DECLARE
    held    pgtopic.lanes[];
    retried bigint;
BEGIN
    PERFORM pgtopic.require_read_committed();
    SELECT array_agg(x.l) INTO held
      FROM (SELECT DISTINCT asked.lane FROM unnest(lanes) AS asked (lane) ORDER BY asked.lane) asked
     CROSS JOIN LATERAL (
        SELECT l
          FROM pgtopic.lanes l
         WHERE l.webhook_id = retry_lanes.webhook_id AND l.lane = asked.lane AND l.claimed_by IS NULL
         LIMIT 1
           FOR UPDATE SKIP LOCKED) x;
    UPDATE pgtopic.lanes l
       SET failures = 0, halted = false, due_at = least(l.due_at, clock_timestamp()), wait_seconds = NULL,
           head_message_id = NULL, batch_last = NULL, batch_count = NULL,
           last_error = NULL, last_error_class = NULL, last_status_code = NULL
      FROM unnest(held) h
     WHERE l.webhook_id = h.webhook_id AND l.lane = h.lane;
    GET DIAGNOSTICS retried = ROW_COUNT;
    INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, lane, partition_key, message_id, reason, changed_by)
    SELECT 'lane.resumed', w.topic_id, h.webhook_id, h.lane, h.partition_key, h.head_message_id, 'it is tried again', changed_by
      FROM unnest(held) h
     CROSS JOIN LATERAL (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = h.webhook_id LIMIT 1) w
     WHERE h.halted;
    -- A transaction sends no more notifications than these.
    PERFORM pgtopic.notify_workers(d.message_id, h.stripe)
       FROM (SELECT * FROM unnest(held) LIMIT 11) h
      CROSS JOIN LATERAL (SELECT d.message_id FROM pgtopic.deliveries d
                           WHERE d.webhook_id = h.webhook_id AND d.lane = h.lane AND d.message_id > h.position
                           ORDER BY d.message_id LIMIT 1) d;
    RETURN retried;
END
$$;

CREATE FUNCTION pgtopic.sample_backlogs(after_webhook bigint, lanes_at_most bigint, owed_at_most bigint, takes interval) RETURNS TABLE(webhooks bigint, ended_at bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
DECLARE
    no_flush text        := set_config('synchronous_commit', 'off', true);
    until    timestamptz := clock_timestamp() + takes;
BEGIN
    webhooks := 0;
    ended_at := after_webhook;
    LOOP
        ended_at := least(
            (SELECT l.webhook_id FROM pgtopic.lanes l WHERE l.webhook_id > ended_at ORDER BY l.webhook_id LIMIT 1),
            (SELECT x.webhook_id FROM pgtopic.dead_letters x WHERE x.webhook_id > ended_at ORDER BY x.webhook_id LIMIT 1),
            (SELECT s.webhook_id FROM pgtopic.webhook_samples s WHERE s.webhook_id > ended_at ORDER BY s.webhook_id LIMIT 1));
        EXIT WHEN ended_at IS NULL;
        webhooks := webhooks + 1;
        INSERT INTO pgtopic.webhook_samples AS s (webhook_id, owed, owed_capped, oldest_owed_at, ready, claimed, waiting, halted,
                                                  dead_letters, dead_letters_capped)
        SELECT ended_at, b.*
          FROM pgtopic.webhook_backlog(ended_at, lanes_at_most, owed_at_most) b
         WHERE EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = ended_at)
            ON CONFLICT (webhook_id) DO UPDATE
           SET (owed, owed_capped, oldest_owed_at, ready, claimed, waiting, halted, dead_letters, dead_letters_capped)
             = (excluded.owed, excluded.owed_capped, excluded.oldest_owed_at, excluded.ready, excluded.claimed, excluded.waiting,
                excluded.halted, excluded.dead_letters, excluded.dead_letters_capped)
         WHERE (s.owed, s.owed_capped, s.oldest_owed_at, s.ready, s.claimed, s.waiting, s.halted, s.dead_letters,
                s.dead_letters_capped)
               IS DISTINCT FROM
               (excluded.owed, excluded.owed_capped, excluded.oldest_owed_at, excluded.ready, excluded.claimed, excluded.waiting,
                excluded.halted, excluded.dead_letters, excluded.dead_letters_capped);
        EXIT WHEN clock_timestamp() >= until;
    END LOOP;
    IF ended_at IS NULL THEN
        DELETE FROM pgtopic.webhook_samples s WHERE NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = s.webhook_id);
        DELETE FROM pgtopic.breakers b WHERE NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = b.webhook_id);
        UPDATE pgtopic.sampled SET sampled_at = clock_timestamp();
    END IF;
    RETURN NEXT;
END
$$;

CREATE FUNCTION pgtopic.sample_traffic(leader text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET work_mem TO '32MB'
    AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    known    pgtopic.sampled;
    last_id  bigint := pg_sequence_last_value('pgtopic.message_ids');
    apart    bigint := (SELECT s.seqincrement FROM pg_sequence s WHERE s.seqrelid = 'pgtopic.message_ids'::regclass);
    first_id bigint;
    since    timestamptz;
    elapsed  float8;
    every    bigint;
    touched  bigint;
BEGIN
    WITH recent AS MATERIALIZED (
        SELECT a.*, a.at = max(a.at) OVER (PARTITION BY a.worker_id) AND a.at > clock_timestamp() - interval '25 seconds' AS is_newest
          FROM pgtopic.activity a
         WHERE a.seconds = 10 AND a.at >= clock_timestamp() - interval '70 seconds'
    ), latencies AS (
        SELECT b.webhook_id, array_agg(b.number ORDER BY b.bucket) AS latency
          FROM (SELECT r.webhook_id, n.bucket, sum(n.number)::bigint AS number
                  FROM recent r CROSS JOIN LATERAL unnest(r.latency) WITH ORDINALITY n (number, bucket)
                 GROUP BY r.webhook_id, n.bucket) b
         GROUP BY b.webhook_id
    ), traffic AS (
        SELECT r.webhook_id, sum(r.accepted)::bigint AS accepted, sum(r.failed)::bigint AS failed,
               coalesce(sum(r.in_flight) FILTER (WHERE r.is_newest), 0)::bigint AS in_flight,
               max(r.last_success_at) AS last_success_at, max(r.last_failure_at) AS last_failure_at,
               min(r.failing_since) AS failing_since,
               max(r.last_failure_at) FILTER (WHERE r.failing_since IS NOT NULL) AS failing_at,
               (array_agg(ROW (r.last_status_code, r.last_error_class, r.last_error)::pgtopic.last_failure
                          ORDER BY r.last_failure_at DESC) FILTER (WHERE r.last_failure_at IS NOT NULL))[1] AS failure
          FROM recent r
          JOIN pgtopic.webhooks w ON w.id = r.webhook_id
         GROUP BY r.webhook_id
    ), joined AS (
        SELECT t.webhook_id, t.accepted, t.failed, t.in_flight, coalesce(l.latency, '{}') AS latency, t.failure,
               greatest(s.last_success_at, t.last_success_at) AS last_success_at,
               greatest(s.last_failure_at, t.last_failure_at) AS last_failure_at,
               s.failing_since AS failed_since, t.failing_since, t.failing_at
          FROM traffic t
          LEFT JOIN latencies l ON l.webhook_id = t.webhook_id
          LEFT JOIN pgtopic.webhook_samples s ON s.webhook_id = t.webhook_id
    ), judged AS (
        -- A worker may have failed for longer than others succeeded. Then it fails since their last
        -- success.
        SELECT j.*, least(CASE WHEN j.last_success_at IS NULL OR j.failed_since > j.last_success_at THEN j.failed_since END,
                          CASE WHEN j.last_success_at IS NULL OR j.failing_at > j.last_success_at
                               THEN greatest(j.failing_since, j.last_success_at) END) AS fails_since
          FROM joined j
    ), changed AS (
        INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
        SELECT CASE WHEN j.fails_since IS NULL THEN 'webhook.recovered' ELSE 'webhook.failing' END, w.topic_id, w.id,
               CASE WHEN j.fails_since IS NOT NULL THEN (j.failure).last_error END, leader
          FROM judged j
          JOIN pgtopic.webhooks w ON w.id = j.webhook_id
          LEFT JOIN LATERAL pgtopic.last_outage_change(w.id) last ON true
         WHERE (j.fails_since IS NULL) <> (j.failed_since IS NULL)
           -- A worker may have said it before. If it has said since that the webhook answers again,
           -- this failure is known too.
           AND (last.kind IS NOT DISTINCT FROM 'webhook.failing') = (j.fails_since IS NULL)
           AND (j.fails_since IS NULL OR last.created_at IS NULL OR last.created_at < j.last_failure_at)
    ), written AS (
        INSERT INTO pgtopic.webhook_samples AS s (webhook_id, accepted, failed, in_flight, latency, last_success_at, last_failure_at,
                                                  failing_since, last_status_code, last_error_class, last_error)
        SELECT j.webhook_id, j.accepted, j.failed, j.in_flight, j.latency, j.last_success_at, j.last_failure_at, j.fails_since,
               (j.failure).last_status_code, (j.failure).last_error_class, (j.failure).last_error
          FROM judged j
            ON CONFLICT (webhook_id) DO UPDATE
           SET accepted = excluded.accepted, failed = excluded.failed, in_flight = excluded.in_flight, latency = excluded.latency,
               last_success_at = excluded.last_success_at, failing_since = excluded.failing_since,
               (last_status_code, last_error_class, last_error)
                 = (SELECT CASE WHEN later THEN excluded.last_status_code ELSE s.last_status_code END,
                           CASE WHEN later THEN excluded.last_error_class ELSE s.last_error_class END,
                           CASE WHEN later THEN excluded.last_error ELSE s.last_error END
                      FROM (SELECT excluded.last_failure_at IS DISTINCT FROM s.last_failure_at) x (later)),
               last_failure_at = excluded.last_failure_at
    ), over AS (
        UPDATE pgtopic.webhook_samples s
           SET accepted = 0, failed = 0, in_flight = 0, latency = '{}'
         WHERE (s.accepted <> 0 OR s.failed <> 0 OR s.in_flight <> 0) AND NOT EXISTS (SELECT FROM traffic t WHERE t.webhook_id = s.webhook_id)
    )
    SELECT count(*) INTO touched FROM traffic;

    -- What was published: the ids that were given out since about a minute ago.
    SELECT * INTO known FROM pgtopic.sampled;
    first_id := known.given_ids[cardinality(known.given_ids)];
    since := known.given_at[cardinality(known.given_at)];
    elapsed := extract(epoch FROM clock_timestamp() - since);
    UPDATE pgtopic.sampled
       SET given_ids = (ARRAY[coalesce(last_id, 0)] || given_ids)[1:6], given_at = (ARRAY[clock_timestamp()] || given_at)[1:6];
    every := apart * greatest(ceil((last_id - first_id) / apart / 2000.0), 1);
    WITH found AS (
        SELECT m.topic_id, count(*) * (every / apart) / greatest(elapsed, 1) AS per_second
          FROM generate_series(first_id + apart, last_id, every) g (id)
         CROSS JOIN LATERAL (SELECT m.topic_id FROM pgtopic.messages m WHERE m.id = g.id LIMIT 1) m
         GROUP BY m.topic_id
    ), latencies AS (
        SELECT b.topic_id, array_agg(b.number ORDER BY b.bucket) AS latency
          FROM (SELECT w.topic_id, n.bucket, sum(n.number)::bigint AS number
                  FROM pgtopic.webhook_samples s
                  JOIN pgtopic.webhooks w ON w.id = s.webhook_id
                 CROSS JOIN LATERAL unnest(s.latency) WITH ORDINALITY n (number, bucket)
                 WHERE s.latency <> '{}'
                 GROUP BY w.topic_id, n.bucket) b
         GROUP BY b.topic_id
    ), now AS (
        SELECT t.id AS topic_id, coalesce(f.per_second, 0) AS per_second, coalesce(l.latency, '{}') AS latency
          FROM found f
          FULL JOIN latencies l ON l.topic_id = f.topic_id
          JOIN pgtopic.topics t ON t.id = coalesce(f.topic_id, l.topic_id)
    ), over AS (
        DELETE FROM pgtopic.topic_samples s WHERE NOT EXISTS (SELECT FROM now n WHERE n.topic_id = s.topic_id)
    )
    INSERT INTO pgtopic.topic_samples AS s (topic_id, published_per_second, latency)
    SELECT n.topic_id, n.per_second, n.latency FROM now n
        ON CONFLICT (topic_id) DO UPDATE SET published_per_second = excluded.published_per_second, latency = excluded.latency;
    RETURN touched;
END
$$;

CREATE FUNCTION pgtopic.server_identity(OUT system_identifier bigint, OUT database_oid bigint, OUT timeline bigint) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    IF has_function_privilege('pg_control_system()', 'EXECUTE') THEN
        SELECT c.system_identifier INTO server_identity.system_identifier FROM pg_control_system() c;
    END IF;
    IF NOT pg_is_in_recovery() THEN
        server_identity.timeline := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
    END IF;
    SELECT d.oid::bigint INTO server_identity.database_oid FROM pg_database d WHERE d.datname = current_database();
END
$$;

CREATE FUNCTION pgtopic.set_cell(new_cell integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    old_cell integer;
    given    bigint;
    first_id bigint;
BEGIN
    SELECT i.cell INTO old_cell FROM pgtopic.installation i FOR UPDATE;
    IF old_cell = new_cell THEN
        RETURN NULL;
    ELSIF old_cell IS NOT NULL THEN
        RAISE EXCEPTION 'this installation has cell % already, and a cell never changes', old_cell
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE pgtopic.installation SET cell = new_cell;
    -- This takes the lock. What is read below it does not change any more.
    ALTER SEQUENCE pgtopic.message_ids INCREMENT BY 1024;
    SELECT greatest(s.last_value, (SELECT max(m.id) FROM pgtopic.messages m), (SELECT max(d.message_id) FROM pgtopic.dead_letters d))
      INTO given
      FROM pgtopic.message_ids s;
    first_id := (given / 1024 + 1) * 1024 + new_cell;
    -- The search path finds it: the schema's name may hold a %.
    EXECUTE format('ALTER SEQUENCE message_ids START WITH %s RESTART WITH %s', first_id, first_id);
    RETURN first_id;
END
$$;

CREATE FUNCTION pgtopic.settle(worker uuid, lane_webhooks bigint[], lane_lanes bigint[], lane_tokens bigint[], lane_states text[], lane_generations integer[], lane_positions bigint[], lane_delays double precision[], lane_heads bigint[], lane_failures integer[], lane_batch_lasts bigint[], lane_batch_counts integer[], lane_splits bigint[], lane_errors text[], lane_error_classes text[], lane_status_codes smallint[], lane_epochs bigint[], done_lanes integer[], done_messages bigint[], dead_lanes integer[], dead_messages bigint[], dead_reasons text[], dead_attempts integer[], dead_error_classes text[], dead_status_codes smallint[], dead_errors text[]) RETURNS TABLE(number integer, outcome text, generation integer)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET lock_timeout TO '100ms'
    AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    mine     boolean[];
    newest   integer[];
    outdated boolean[];
    changes  boolean;
    renewed  boolean;
    deleted  integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;

    SELECT array_agg(l.generation IS NOT NULL ORDER BY h.n), array_agg(l.generation ORDER BY h.n), bool_or(h.state <> 'untouched'),
           bool_or(l.generation <> h.generation AND h.state IN ('untouched', 'held'))
      INTO mine, newest, changes, renewed
      FROM unnest(lane_webhooks, lane_lanes, lane_tokens, lane_states, lane_generations)
           WITH ORDINALITY AS h (webhook_id, lane, token, state, generation, n)
      LEFT JOIN LATERAL (
        SELECT l.generation
          FROM pgtopic.lanes l
         WHERE l.webhook_id = h.webhook_id AND l.lane = h.lane AND l.claimed_by = settle.worker AND l.token = h.token
         LIMIT 1
           FOR UPDATE SKIP LOCKED) l ON true;

    IF array_remove(lane_epochs, NULL) <> '{}' THEN
        outdated := ARRAY(
            SELECT h.epoch <> coalesce((SELECT b.epoch FROM pgtopic.breakers b WHERE b.webhook_id = h.webhook_id), 0)
              FROM unnest(lane_webhooks, lane_epochs) WITH ORDINALITY AS h (webhook_id, epoch, n)
             ORDER BY h.n);
    END IF;

    IF cardinality(done_messages) > 0 THEN
        -- By their places: a delivery is never changed, only deleted.
        DELETE FROM pgtopic.deliveries d
         WHERE d.ctid = ANY (ARRAY(
            SELECT x.place
              FROM unnest(done_lanes, done_messages) AS done (n, message_id)
             CROSS JOIN LATERAL (
                SELECT x.ctid AS place
                  FROM pgtopic.deliveries x
                 WHERE x.webhook_id = lane_webhooks[done.n] AND x.lane = lane_lanes[done.n] AND x.message_id = done.message_id
                 LIMIT 1) x
             WHERE mine[done.n]));
        GET DIAGNOSTICS deleted = ROW_COUNT;
        IF deleted < cardinality(done_messages) THEN
            DELETE FROM pgtopic.dead_letters x
             WHERE x.ctid = ANY (ARRAY(
                SELECT x.place
                  FROM unnest(done_lanes, done_messages) AS done (n, message_id)
                 CROSS JOIN LATERAL (
                    SELECT x.ctid AS place
                      FROM pgtopic.dead_letters x
                     WHERE x.webhook_id = lane_webhooks[done.n] AND x.message_id = done.message_id AND x.reason = 'canceled'
                     LIMIT 1) x
                 WHERE mine[done.n]));
        END IF;
    END IF;

    IF cardinality(dead_messages) > 0 THEN
        WITH died AS (
            DELETE FROM pgtopic.deliveries d
             USING unnest(dead_lanes, dead_messages, dead_reasons, dead_attempts, dead_error_classes, dead_status_codes, dead_errors)
                   AS dead (n, message_id, reason, attempts, error_class, status_code, last_error)
             WHERE d.webhook_id = lane_webhooks[dead.n] AND d.lane = lane_lanes[dead.n] AND d.message_id = dead.message_id
               AND mine[dead.n] AND outdated[dead.n] IS NOT TRUE
            RETURNING d.webhook_id, d.lane, dead.*
        )
        INSERT INTO pgtopic.dead_letters AS x (webhook_id, lane, message_id, topic_id, partition_key, type, reason, attempts,
                                               error_class, status_code, last_error)
        SELECT died.webhook_id, died.lane, died.message_id, w.topic_id, l.partition_key, m.type, died.reason, died.attempts,
               died.error_class, died.status_code, died.last_error
          FROM died
          JOIN pgtopic.webhooks w ON w.id = died.webhook_id
          JOIN pgtopic.lanes l ON l.webhook_id = died.webhook_id AND l.lane = died.lane
          LEFT JOIN LATERAL (SELECT m.type FROM pgtopic.messages m WHERE m.id = died.message_id LIMIT 1) m ON true
        ON CONFLICT ON CONSTRAINT dead_letters_delivery_key DO UPDATE
           SET reason = excluded.reason, attempts = excluded.attempts, error_class = excluded.error_class,
               status_code = excluded.status_code, last_error = excluded.last_error, created_at = now();
    END IF;

    IF changes THEN
        UPDATE pgtopic.lanes l
           SET position = CASE WHEN l.generation = new.generation THEN greatest(l.position, new.position) ELSE l.position END,
               due_at = CASE new.state WHEN 'held' THEN l.due_at
                                       WHEN 'halted' THEN 'infinity'
                                       WHEN 'waiting' THEN clock_timestamp() + make_interval(secs => new.delay)
                                       ELSE clock_timestamp() END,
               wait_seconds = CASE new.state WHEN 'waiting' THEN new.delay END,
               claimed_by = CASE new.state WHEN 'held' THEN l.claimed_by END,
               token = CASE new.state WHEN 'held' THEN l.token END,
               head_message_id = new.head,
               failures = new.failures,
               batch_last = new.batch_last,
               batch_count = new.batch_count,
               split_until = new.split,
               last_error = CASE WHEN new.failures > 0 THEN coalesce(new.last_error, l.last_error) END,
               last_error_class = CASE WHEN new.last_error IS NOT NULL THEN new.error_class
                                       WHEN new.failures > 0 THEN l.last_error_class END,
               last_status_code = CASE WHEN new.last_error IS NOT NULL THEN new.status_code
                                       WHEN new.failures > 0 THEN l.last_status_code END,
               halted = new.state = 'halted'
          FROM (SELECT h.webhook_id, h.lane, h.generation, f.position, h.delay, f.head, f.failures, f.batch_last,
                       f.batch_count, f.split, f.last_error, f.error_class, f.status_code,
                       CASE WHEN outdated[h.n] THEN 'ready'
                            WHEN h.state IN ('waiting', 'halted') AND x.generation <> h.generation
                                 AND h.head IS DISTINCT FROM (SELECT d.message_id FROM pgtopic.deliveries d
                                                               WHERE d.webhook_id = h.webhook_id AND d.lane = h.lane
                                                                 AND d.message_id > x.position
                                                               ORDER BY d.message_id LIMIT 1)
                            THEN 'ready' ELSE h.state END AS state
                  FROM unnest(lane_webhooks, lane_lanes, lane_states, lane_generations, lane_positions, lane_delays, lane_heads,
                              lane_failures, lane_batch_lasts, lane_batch_counts, lane_splits, lane_errors, lane_error_classes,
                              lane_status_codes)
                       WITH ORDINALITY AS h (webhook_id, lane, state, generation, position, delay, head, failures, batch_last,
                                             batch_count, split, last_error, error_class, status_code, n)
                 CROSS JOIN LATERAL (SELECT x.* FROM pgtopic.lanes x
                                      WHERE x.webhook_id = h.webhook_id AND x.lane = h.lane LIMIT 1) x
                 CROSS JOIN LATERAL (
                    SELECT h.position, h.head, h.failures, h.batch_last, h.batch_count, h.split, h.last_error, h.error_class,
                           h.status_code
                     WHERE outdated[h.n] IS NOT TRUE
                    UNION ALL
                    SELECT x.position, x.head_message_id, x.failures, x.batch_last, x.batch_count, x.split_until, x.last_error,
                           x.last_error_class, x.last_status_code
                     WHERE outdated[h.n]) f
                 WHERE h.state <> 'untouched' AND mine[h.n]
                OFFSET 0) new
         WHERE l.webhook_id = new.webhook_id AND l.lane = new.lane;
    END IF;

    IF 'halted' = ANY (lane_states) THEN
        BEGIN
            INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, lane, partition_key, message_id, reason, changed_by)
            SELECT 'lane.halted', w.topic_id, l.webhook_id, l.lane, l.partition_key, l.head_message_id, l.last_error,
                   'worker ' || settle.worker
              FROM unnest(lane_webhooks, lane_lanes, lane_states) WITH ORDINALITY AS h (webhook_id, lane, state, n)
             CROSS JOIN LATERAL (SELECT l.* FROM pgtopic.lanes l
                                  WHERE l.webhook_id = h.webhook_id AND l.lane = h.lane AND l.halted
                                  LIMIT 1) l
              JOIN pgtopic.webhooks w ON w.id = l.webhook_id
             WHERE h.state = 'halted' AND mine[h.n];
        EXCEPTION WHEN OTHERS THEN
            -- The outcomes are written, whatever is the matter with the audit log.
            NULL;
        END;
    END IF;

    IF false = ANY (mine) THEN
        RETURN QUERY
        SELECT h.n::integer,
               CASE WHEN EXISTS (SELECT FROM pgtopic.lanes l
                                  WHERE l.webhook_id = h.webhook_id AND l.lane = h.lane
                                    AND l.claimed_by = settle.worker AND l.token = h.token)
                    THEN 'locked' ELSE 'lost' END, NULL::integer
          FROM unnest(lane_webhooks, lane_lanes, lane_tokens) WITH ORDINALITY AS h (webhook_id, lane, token, n)
         WHERE NOT mine[h.n];
    END IF;
    IF renewed THEN
        RETURN QUERY
        SELECT h.n::integer, 'renewed', h.newest
          FROM unnest(newest, lane_generations, lane_states) WITH ORDINALITY AS h (newest, known, state, n)
         WHERE h.newest <> h.known AND h.state IN ('untouched', 'held');
    END IF;
END
$$;

CREATE FUNCTION pgtopic.share_limits(worker uuid, webhooks bigint[], wants boolean[], slots_held integer[], rate_held double precision[], done bigint[]) RETURNS TABLE(webhook_id bigint, slots integer, rate double precision)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    mine     bigint[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);
    DELETE FROM pgtopic.shares s
     WHERE s.worker_id = share_limits.worker AND s.webhook_id = ANY (share_limits.done);
    SELECT coalesce(array_agg(w.id), '{}') INTO mine
      FROM (SELECT x.id
              FROM pgtopic.webhooks x
             WHERE x.id = ANY (share_limits.webhooks)
               AND (x.max_in_flight IS NOT NULL OR x.rate_limit_per_second IS NOT NULL)
             ORDER BY x.id
               FOR NO KEY UPDATE SKIP LOCKED) w;

    -- A new statement: it sees the shares that were taken before these rows were locked.
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT a.webhook_id, a.wants, a.slots_held, a.rate_held
          FROM unnest(share_limits.webhooks, share_limits.wants, share_limits.slots_held, share_limits.rate_held)
            AS a (webhook_id, wants, slots_held, rate_held)
         WHERE a.webhook_id = ANY (mine)
    ), holders AS (
        SELECT a.webhook_id, true AS asks, a.wants, a.slots_held AS slots, a.rate_held AS rate, share_limits.worker AS worker_id
          FROM asked a
        UNION ALL
        SELECT s.webhook_id, false, s.wants, greatest(s.slots, s.slots_held), greatest(s.rate, s.rate_held), s.worker_id
          FROM pgtopic.shares s
          JOIN pgtopic.workers o ON o.id = s.worker_id AND NOT o.gone
         WHERE s.webhook_id = ANY (mine) AND s.worker_id <> share_limits.worker
    ), counted AS (
        SELECT h.*,
               count(*) OVER webhook AS workers,
               count(*) FILTER (WHERE h.wants) OVER webhook AS wanting,
               coalesce(sum(h.slots) FILTER (WHERE NOT h.asks) OVER webhook, 0) AS slots_of_others,
               coalesce(sum(h.rate) FILTER (WHERE NOT h.asks) OVER webhook, 0) AS rate_of_others,
               row_number() OVER (PARTITION BY h.webhook_id ORDER BY h.wants DESC, h.slots DESC, h.worker_id) AS place
          FROM holders h
        WINDOW webhook AS (PARTITION BY h.webhook_id)
    ), divided AS (
        -- resting: how many have a share and want nothing, while others want something.
        SELECT c.*,
               CASE WHEN c.wanting > 0 THEN c.workers - c.wanting ELSE 0 END AS resting,
               CASE WHEN c.wanting > 0 THEN c.wanting ELSE c.workers END AS sharing,
               c.wanting > 0 AND NOT c.wants AS rests
          FROM counted c
         WHERE c.asks
    ), fair AS (
        SELECT d.webhook_id, d.wants, d.slots AS slots_held, d.rate AS rate_held,
               w.max_in_flight - d.slots_of_others AS slots_left,
               w.rate_limit_per_second - d.rate_of_others AS rate_left,
               CASE WHEN w.max_in_flight IS NULL THEN NULL
                    WHEN d.workers >= w.max_in_flight THEN (d.place <= w.max_in_flight)::integer
                    WHEN d.rests THEN 1
                    ELSE (w.max_in_flight - d.resting) / d.sharing
                         + (d.place <= (w.max_in_flight - d.resting) % d.sharing)::integer
               END AS slots,
               CASE WHEN d.rests THEN w.rate_limit_per_second / (20 * d.workers)
                    ELSE w.rate_limit_per_second * (1 - d.resting / (20.0 * d.workers)) / d.sharing
               END AS rate
          FROM divided d
          JOIN pgtopic.webhooks w ON w.id = d.webhook_id
    )
    INSERT INTO pgtopic.shares AS s (webhook_id, worker_id, wants, slots, slots_held, rate, rate_held)
    SELECT f.webhook_id, share_limits.worker, f.wants,
           CASE WHEN f.slots IS NOT NULL THEN greatest(least(f.slots, f.slots_left), 0) END, f.slots_held,
           CASE WHEN f.rate IS NOT NULL THEN greatest(least(f.rate, f.rate_left), 0) END, f.rate_held
      FROM fair f
    ON CONFLICT ON CONSTRAINT shares_pkey DO UPDATE
       SET wants = excluded.wants, slots = excluded.slots, slots_held = excluded.slots_held,
           rate = excluded.rate, rate_held = excluded.rate_held
    RETURNING s.webhook_id, s.slots, s.rate;
END
$$;

CREATE FUNCTION pgtopic.start_webhook(webhook_id bigint, reason text, changed_by text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
WITH started AS (
    UPDATE pgtopic.webhooks w SET state = 'active' WHERE w.id = start_webhook.webhook_id AND w.state = 'starting'
    RETURNING w.id, w.topic_id
)
INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
SELECT 'webhook.started', s.topic_id, s.id, start_webhook.reason, start_webhook.changed_by FROM started s
$$;

CREATE FUNCTION pgtopic.step_job(job_id bigint, at_most integer, messages_days integer, dead_letters_days integer, attempts_days integer, jobs_days integer, changes_days integer, OUT state text, OUT did bigint, OUT waits boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    job  pgtopic.jobs := pgtopic.begin_job_step(job_id);
    step record;
BEGIN
    state := job.state;
    did := 0;
    waits := false;
    IF job.state IS DISTINCT FROM 'running' THEN
        RETURN;
    END IF;
    CASE job.kind
        WHEN 'replay' THEN SELECT * INTO step FROM pgtopic.replay_step(job, at_most);
        WHEN 'dead_letter_replay', 'dead_letter_discard' THEN SELECT * INTO step FROM pgtopic.dead_letters_step(job, at_most);
        WHEN 'cancel' THEN SELECT * INTO step FROM pgtopic.cancel_step(job, at_most);
        WHEN 'backfill' THEN SELECT * INTO step FROM pgtopic.backfill_step(job, at_most);
        WHEN 'lanes_retry' THEN SELECT * INTO step FROM pgtopic.lanes_retry_step(job, at_most);
        WHEN 'purge' THEN
            SELECT * INTO step
              FROM pgtopic.purge_step(job, at_most, messages_days, dead_letters_days, attempts_days, jobs_days, changes_days);
    END CASE;
    UPDATE pgtopic.jobs j
       SET state = CASE WHEN step.finished THEN 'succeeded' ELSE 'running' END,
           progress = step.progress,
           done = j.done + step.done,
           already_owed = j.already_owed + step.already_owed,
           gone = j.gone + step.gone,
           filtered = j.filtered + step.filtered,
           waits_for = step.waits_for,
           updated_at = clock_timestamp(),
           finished_at = CASE WHEN step.finished THEN clock_timestamp() END
     WHERE j.id = job_id
    RETURNING j.state INTO state;
    did := step.done + step.already_owed + step.gone + step.filtered;
    waits := did = 0 AND step.waits_for IS NOT NULL AND step.progress ->> 'after' IS NOT DISTINCT FROM job.progress ->> 'after';
END
$$;

CREATE FUNCTION pgtopic.stripe(topic_id bigint, partition_key text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT ((topic_id & 2097151) << 8)::integer | (hashtextextended(partition_key, topic_id) & 255)::integer
$$;

CREATE FUNCTION pgtopic.stripe_class() RETURNS integer
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
SELECT '"pgtopic"'::regnamespace::oid::integer
$$;

CREATE FUNCTION pgtopic.suppress_notifications(microseconds bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    PERFORM setval('pgtopic.notify_suppressed_until', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + microseconds);
    PERFORM setval('pgtopic.notify_until', 0);
END
$$;

CREATE FUNCTION pgtopic.take_lead(worker uuid) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    holder uuid;
    term   bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    SELECT l.worker, l.term INTO holder, term FROM pgtopic.leader l;
    IF EXISTS (SELECT FROM pgtopic.workers w WHERE w.id = holder AND NOT w.gone) THEN
        RETURN CASE WHEN holder = take_lead.worker THEN term END;
    END IF;
    PERFORM FROM pgtopic.leader l FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    -- Another worker may have taken the lead before the row was locked. New statements see it.
    PERFORM pgtopic.require_registered(take_lead.worker);
    UPDATE pgtopic.leader l
       SET worker = take_lead.worker, term = l.term + 1, since = clock_timestamp()
     WHERE NOT EXISTS (SELECT FROM pgtopic.workers w WHERE w.id = l.worker AND NOT w.gone)
    RETURNING l.term INTO term;
    RETURN CASE WHEN FOUND THEN term END;
END
$$;

CREATE FUNCTION pgtopic.take_probes(worker uuid, new_token bigint, at_most integer, topics text[], default_timeout double precision, spare double precision, messages_per_lane integer, payload_budget bigint) RETURNS TABLE(webhook_id bigint, lane bigint, due_at timestamp with time zone, "position" bigint, generation integer, head_message_id bigint, failures integer, batch_last bigint, batch_count integer, split_until bigint, message_id bigint, partition_key text, type text, payload json, headers json, created_at timestamp with time zone, replayed_at timestamp with time zone, state text, age double precision, epoch bigint, probes integer, open_seconds double precision, only_lane boolean, turn_seconds double precision)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    probe    record;
    after    bigint;
    until    bigint;
    one      pgtopic.lanes;
    claimed  pgtopic.lanes[] := '{}';
    alone    bigint[] := '{}';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM pgtopic.require_read_committed();
    END IF;
    PERFORM pgtopic.require_registered(worker);

    FOR probe IN
        SELECT b.webhook_id, b.probe_lane, 2 * coalesce(w.timeout_seconds, default_timeout) + spare AS turn
          FROM pgtopic.breakers b
          JOIN pgtopic.webhooks w ON w.id = b.webhook_id AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL
           AND NOT pgtopic.is_held(w.hold_until)
          JOIN pgtopic.topics t ON t.id = w.topic_id AND t.paused IS DISTINCT FROM 'hold'
           AND (take_probes.topics IS NULL OR t.name LIKE ANY (take_probes.topics))
         WHERE b.state = 'open'
           -- What lies further ahead was written before a step of the clock.
           AND (b.next_probe_at <= clock_timestamp() OR b.next_probe_at > clock_timestamp() + interval '2 minutes')
           AND (b.probe_until IS NULL OR b.probe_until <= clock_timestamp()
                OR NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = b.probe_by AND NOT o.gone))
         ORDER BY b.next_probe_at
         LIMIT at_most
           FOR UPDATE OF b SKIP LOCKED
    LOOP
        one := NULL;
        after := probe.probe_lane;
        LOOP
            until := (SELECT l.lane FROM pgtopic.lanes l
                       WHERE l.webhook_id = probe.webhook_id AND l.lane > after
                       ORDER BY l.lane OFFSET 999 LIMIT 1);
            UPDATE pgtopic.lanes l
               SET claimed_by = take_probes.worker, token = take_probes.new_token, claimed_at = clock_timestamp()
             WHERE l.ctid = ANY (ARRAY(
                SELECT x.ctid
                  FROM pgtopic.lanes x
                 WHERE x.webhook_id = probe.webhook_id AND x.lane > after AND x.lane <= coalesce(until, 9223372036854775807)
                   AND x.claimed_by IS NULL AND NOT x.halted
                   AND EXISTS (SELECT FROM pgtopic.deliveries d
                                WHERE d.webhook_id = x.webhook_id AND d.lane = x.lane AND d.message_id > x.position)
                 ORDER BY x.lane
                 LIMIT 1
                   FOR UPDATE SKIP LOCKED))
            RETURNING l.* INTO one;
            EXIT WHEN one.lane IS NOT NULL OR until IS NOT NULL OR after = -9223372036854775808;
            -- All lanes have had their turn: begin again.
            after := -9223372036854775808;
        END LOOP;
        IF one.lane IS NULL THEN
            UPDATE pgtopic.breakers b
               SET probe_by = NULL, probe_token = NULL, probe_until = NULL, next_probe_at = clock_timestamp() + interval '1 second',
                   probe_lane = coalesce(until, -9223372036854775808)
             WHERE b.webhook_id = probe.webhook_id;
            CONTINUE;
        END IF;
        UPDATE pgtopic.breakers b
           SET probe_by = take_probes.worker, probe_token = take_probes.new_token, probe_lane = one.lane,
               probe_until = clock_timestamp() + make_interval(secs => probe.turn)
         WHERE b.webhook_id = probe.webhook_id;
        claimed := claimed || one;
        IF NOT EXISTS (SELECT FROM (SELECT l.* FROM pgtopic.lanes l
                                     WHERE l.webhook_id = probe.webhook_id
                                     ORDER BY l.lane LIMIT 1000) other
                        WHERE NOT other.halted AND other.lane <> one.lane
                          AND EXISTS (SELECT FROM pgtopic.deliveries d
                                       WHERE d.webhook_id = other.webhook_id AND d.lane = other.lane
                                         AND d.message_id > other.position))
        THEN
            alone := alone || probe.webhook_id;
        END IF;
    END LOOP;

    RETURN QUERY
    SELECT r.*, b.epoch, b.probes, extract(epoch FROM clock_timestamp() - b.opened_at)::double precision,
           r.webhook_id = ANY (alone), extract(epoch FROM b.probe_until - clock_timestamp())::double precision
      FROM pgtopic.read_claimed(claimed, messages_per_lane, payload_budget) r
     CROSS JOIN LATERAL (SELECT b.* FROM pgtopic.breakers b WHERE b.webhook_id = r.webhook_id LIMIT 1) b;
END
$$;

CREATE FUNCTION pgtopic.topics_arrived() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    SELECT CASE WHEN count(w.filter) + count(w.types) = 0 THEN coalesce(array_agg(w.id ORDER BY w.id), '{}') END
      INTO NEW.webhook_ids
      FROM pgtopic.webhooks w
     WHERE w.topic_id = NEW.id;
    NEW.changed_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE FUNCTION pgtopic.touch_changed_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    NEW.changed_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE FUNCTION pgtopic.type_matches(types text[], type text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    AS $$
BEGIN
    RETURN EXISTS (SELECT
                     FROM pg_catalog.unnest(types) AS t (name)
                    WHERE t.name OPERATOR(pg_catalog.=) type_matches.type
                       OR pg_catalog.right(t.name, 1) OPERATOR(pg_catalog.=) '*'
                          AND pg_catalog.starts_with(type_matches.type, pg_catalog.left(t.name, -1)));
END
$$;

CREATE FUNCTION pgtopic.wake_lanes(webhook_id bigint, at_most integer) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_variable
DECLARE
    no_flush text := set_config('synchronous_commit', 'off', true);
    after    bigint;
    until    bigint;
BEGIN
    PERFORM pgtopic.require_read_committed();
    SELECT b.wake_after INTO after
      FROM pgtopic.breakers b
     WHERE b.webhook_id = wake_lanes.webhook_id AND b.state = 'closed' AND b.wake_after IS NOT NULL
       FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    until := (SELECT l.lane FROM pgtopic.lanes l
               WHERE l.webhook_id = wake_lanes.webhook_id AND l.lane > after
               ORDER BY l.lane OFFSET at_most - 1 LIMIT 1);
    UPDATE pgtopic.lanes l
       SET due_at = clock_timestamp(), wait_seconds = NULL
     WHERE l.ctid = ANY (ARRAY(
        SELECT x.ctid
          FROM pgtopic.lanes x
         WHERE x.webhook_id = wake_lanes.webhook_id AND x.lane > after AND x.lane <= coalesce(until, 9223372036854775807)
           AND x.claimed_by IS NULL AND NOT x.halted AND x.failures > 0 AND x.due_at > clock_timestamp()
           FOR UPDATE SKIP LOCKED));
    UPDATE pgtopic.breakers b
       SET wake_after = until, changed_at = CASE WHEN until IS NULL THEN clock_timestamp() ELSE b.changed_at END
     WHERE b.webhook_id = wake_lanes.webhook_id;
    RETURN CASE WHEN until IS NULL THEN 'done' ELSE 'more' END;
END
$$;

CREATE FUNCTION pgtopic.webhook_backlog(webhook bigint, lanes_at_most bigint, owed_at_most bigint) RETURNS TABLE(owed bigint, owed_capped boolean, oldest_owed_at timestamp with time zone, ready bigint, claimed bigint, waiting bigint, halted bigint, dead_letters bigint, dead_letters_capped boolean)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    SET jit TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
#variable_conflict use_column
DECLARE
    oldest bigint;
    heads  bigint;
    seen   bigint;
BEGIN
    SELECT count(*), count(*) FILTER (WHERE l.claimed_by IS NOT NULL), count(*) FILTER (WHERE l.claimed_by IS NULL AND l.halted),
           count(*) FILTER (WHERE l.claimed_by IS NULL AND NOT l.halted AND l.due_at > clock_timestamp()),
           count(l.head), min(l.head)
      INTO seen, claimed, halted, waiting, heads, oldest
      FROM (SELECT l.claimed_by, l.halted, l.due_at,
                   (SELECT d.message_id
                      FROM pgtopic.deliveries d
                     WHERE d.webhook_id = webhook AND d.lane = l.lane AND d.message_id > l.position
                     ORDER BY d.lane, d.message_id
                     LIMIT 1) AS head
              FROM pgtopic.lanes l
             WHERE l.webhook_id = webhook
             LIMIT lanes_at_most) l;
    ready := seen - claimed - halted - waiting;
    IF heads >= owed_at_most THEN
        owed := heads;
        owed_capped := true;
    ELSE
        SELECT count(*) INTO owed
          FROM (SELECT
                  FROM (SELECT l.lane, l.position FROM pgtopic.lanes l WHERE l.webhook_id = webhook LIMIT lanes_at_most) l
                 CROSS JOIN LATERAL (SELECT
                                       FROM pgtopic.deliveries d
                                      WHERE d.webhook_id = webhook AND d.lane = l.lane AND d.message_id > l.position
                                      LIMIT owed_at_most + 1) d
                 LIMIT owed_at_most + 1) d;
        owed_capped := owed > owed_at_most OR seen >= lanes_at_most;
    END IF;
    owed := least(owed, owed_at_most);
    SELECT m.created_at INTO oldest_owed_at FROM pgtopic.messages m WHERE m.id = oldest;
    SELECT count(*), count(*) FILTER (WHERE x.reason NOT IN ('canceled', 'superseded')) INTO seen, dead_letters
      FROM (SELECT x.reason
              FROM pgtopic.dead_letters x
             WHERE x.webhook_id = webhook
             ORDER BY x.id DESC
             LIMIT 2 * owed_at_most) x;
    dead_letters_capped := dead_letters > owed_at_most OR seen = 2 * owed_at_most;
    dead_letters := least(dead_letters, owed_at_most);
    RETURN NEXT;
END
$$;

CREATE FUNCTION pgtopic.webhooks_arrived() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY[OLD.topic_id]);
    END IF;
    IF TG_OP <> 'DELETE' AND (TG_OP = 'INSERT' OR NEW.topic_id <> OLD.topic_id) THEN
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY[NEW.topic_id]);
    END IF;
    IF pgtopic.may_notify() AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('pgtopic', 'webhooks');
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION pgtopic.webhooks_came_or_went() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY(SELECT t.id FROM pgtopic.topics t));
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY[NEW.topic_id]);
    ELSE
        PERFORM pgtopic.list_webhooks_of_topics(ARRAY(SELECT DISTINCT c.topic_id FROM changed c));
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION pgtopic.webhooks_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    IF pgtopic.may_notify() AND pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_notify('pgtopic', 'webhooks');
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION pgtopic.webhooks_close_breaker() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    PERFORM pgtopic.close_breaker(NEW.id, NULL, NULL, NULL,
        CASE WHEN NEW.url <> OLD.url THEN 'its url was changed'
             WHEN NEW.secrets <> OLD.secrets THEN 'its secret was changed'
             WHEN NEW.breaker <> OLD.breaker THEN 'its breaker was switched'
             ELSE 'it was enabled' END,
        pgtopic.changed_by());
    RETURN NULL;
END
$$;

CREATE FUNCTION pgtopic.webhooks_name() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
BEGIN
    NEW.name := 'webhook-' || NEW.id;
    RETURN NEW;
END
$$;

CREATE FUNCTION pgtopic.webhooks_validate() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
DECLARE
    problem text;
BEGIN
    IF NEW.types IS NOT NULL AND EXISTS (SELECT FROM unnest(NEW.types) AS t (name)
                                          WHERE (octet_length(t.name) BETWEEN 1 AND 255 AND position('*' IN left(t.name, -1)) = 0) IS NOT TRUE)
    THEN
        RAISE EXCEPTION 'types must be texts of 1 to 255 bytes, with a * only at the end'
            USING ERRCODE = 'check_violation', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'types';
    END IF;
    IF TG_OP = 'INSERT' OR NEW.headers::text IS DISTINCT FROM OLD.headers::text THEN
        problem := pgtopic.headers_problem(NEW.headers);
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'headers %', problem
                USING ERRCODE = 'check_violation', SCHEMA = 'pgtopic', TABLE = 'webhooks', COLUMN = 'headers';
        END IF;
    END IF;
    IF NEW.filter IS NULL THEN
        NEW.filter_limit := NULL;
    ELSIF TG_OP = 'INSERT' OR NEW.filter::text IS DISTINCT FROM OLD.filter::text THEN
        NEW.filter_limit := pgtopic.check_filter(NEW.filter);
    ELSE
        NEW.filter_limit := OLD.filter_limit;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION pgtopic.worker_heartbeat(worker uuid, in_flight_now integer, lanes_now integer, stopping_now boolean, trouble_now text, lease_seconds double precision) RETURNS TABLE(suppressed_us bigint, notifies boolean, given_ids bigint, changed_at timestamp with time zone, sending boolean, system_identifier bigint, database_oid bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgtopic', 'pg_temp'
    AS $$
#variable_conflict use_variable
DECLARE
    now_us           bigint := extract(epoch FROM clock_timestamp()) * 1000000;
    notify_until     bigint := pg_sequence_last_value('pgtopic.notify_until');
    suppressed_until bigint := pg_sequence_last_value('pgtopic.notify_suppressed_until');
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    IF lease_seconds IS NULL THEN
        PERFORM FROM pgtopic.workers w WHERE w.id = worker AND NOT w.gone;
    ELSE
        UPDATE pgtopic.workers w
           SET heartbeat_at = clock_timestamp(), lease = make_interval(secs => lease_seconds),
               in_flight = in_flight_now, lanes = lanes_now, stopping = stopping_now, trouble = trouble_now
         WHERE w.id = worker AND NOT w.gone;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % is not registered', worker USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    notifies := pgtopic.may_notify();
    SELECT i.sending, i.system_identifier, i.database_oid INTO sending, system_identifier, database_oid FROM pgtopic.installation i;
    -- Ids of an installation with a cell lie further apart.
    given_ids := pg_sequence_last_value('pgtopic.message_ids')
                 / (SELECT s.seqincrement FROM pg_sequence s WHERE s.seqrelid = 'pgtopic.message_ids'::regclass);
    -- An instant more than 10 s ahead was written before a step of the clock: it counts as unset.
    suppressed_us := CASE WHEN suppressed_until > now_us AND suppressed_until < now_us + 10000000
                          THEN suppressed_until - now_us ELSE 0 END;
    changed_at := (SELECT max(b.changed_at) FROM pgtopic.breakers b);
    IF NOT notifies THEN
        changed_at := greatest(changed_at, (SELECT max(w.changed_at) FROM pgtopic.webhooks w),
                               (SELECT max(t.changed_at) FROM pgtopic.topics t));
        IF notify_until > 0 THEN
            PERFORM setval('pgtopic.notify_until', 0);
        END IF;
    ELSIF suppressed_us = 0 AND (notify_until < now_us + 2000000 OR notify_until > now_us + 10000000) THEN
        -- Write it again when half of the time is used up, or when a step of the clock made it
        -- useless.
        PERFORM setval('pgtopic.notify_until', now_us + 4000000);
    END IF;
    RETURN NEXT;
END
$$;

CREATE TABLE pgtopic.activity (
    worker_id uuid,
    webhook_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    seconds integer NOT NULL,
    accepted bigint NOT NULL,
    failed bigint NOT NULL,
    dead bigint NOT NULL,
    in_flight integer NOT NULL,
    latency bigint[] NOT NULL,
    last_success_at timestamp with time zone,
    last_failure_at timestamp with time zone,
    failing_since timestamp with time zone,
    last_status_code smallint,
    last_error_class text,
    last_error text
);

COMMENT ON TABLE pgtopic.activity IS 'What was sent: one row for each worker, webhook and 10 s with traffic. Append-only, best effort. After an hour the leader turns rows into minutes, after 7 days into hours.';

COMMENT ON COLUMN pgtopic.activity.worker_id IS 'The incarnation; null in minutes and hours, which are of all workers.';

COMMENT ON COLUMN pgtopic.activity.at IS 'When the span began, by the clock of the database. It lasted for seconds: 10, 60 or 3,600.';

COMMENT ON COLUMN pgtopic.activity.accepted IS 'How many deliveries were accepted. failed: how many requests failed. dead: how many deliveries were given up.';

COMMENT ON COLUMN pgtopic.activity.in_flight IS 'How many lanes were in flight when the span ended; 0 in minutes and hours.';

COMMENT ON COLUMN pgtopic.activity.latency IS 'How long after its publication each delivery was accepted: how many are in each bucket. Bucket 1 is below 1 ms; the bounds of the others are half powers of two.';

COMMENT ON COLUMN pgtopic.activity.failing_since IS 'If the last request of the worker failed: since when each of its requests has failed.';

COMMENT ON COLUMN pgtopic.activity.last_error IS 'Of the last failure, as last_status_code and last_error_class.';

CREATE SEQUENCE pgtopic.arrived_messages
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;

COMMENT ON SEQUENCE pgtopic.arrived_messages IS 'How many messages arrived while triggers were switched off (logical replication, session_replication_role = replica). They were not published here.';

CREATE TABLE pgtopic.attempts (
    webhook_id bigint NOT NULL,
    message_id bigint NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL,
    status_code smallint,
    error_class text,
    error text,
    duration_us bigint NOT NULL,
    response_excerpt text,
    worker_id uuid NOT NULL,
    attempted_at timestamp with time zone NOT NULL,
    batch_first bigint,
    batch_last bigint,
    probe boolean DEFAULT false NOT NULL,
    replay boolean DEFAULT false NOT NULL,
    retry_after_seconds integer,
    CONSTRAINT attempts_error_class_check CHECK ((error_class = ANY (ARRAY['dns'::text, 'connect'::text, 'tls'::text, 'forbidden'::text, 'timeout'::text, 'status'::text, 'redirect'::text, 'protocol'::text, 'request'::text]))),
    CONSTRAINT attempts_outcome_check CHECK ((outcome = ANY (ARRAY['accepted'::text, 'failed'::text, 'gone'::text])))
)
PARTITION BY RANGE (attempted_at);

COMMENT ON TABLE pgtopic.attempts IS 'The attempt log: a row for each message of each request, one partition a day. Append-only. Best effort: rows may be left out.';

COMMENT ON COLUMN pgtopic.attempts.response_excerpt IS 'The first 2 KiB of the answer to a failed attempt.';

COMMENT ON COLUMN pgtopic.attempts.batch_first IS 'The first and the last message of the request; null if it carried one.';

COMMENT ON COLUMN pgtopic.attempts.probe IS 'Whether it only asked whether a failing receiver answers again.';

COMMENT ON COLUMN pgtopic.attempts.replay IS 'Whether the request carried replays.';

COMMENT ON COLUMN pgtopic.attempts.retry_after_seconds IS 'How long the answer asked to wait.';

CREATE TABLE pgtopic.background_runs (
    piece text NOT NULL,
    worker uuid NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    did bigint NOT NULL,
    did_in_all bigint NOT NULL,
    error text,
    error_at timestamp with time zone
)
WITH (fillfactor='50');

COMMENT ON TABLE pgtopic.background_runs IS 'What the leader did last: one row for each piece of background work. A piece that runs often notes it every 10 s, if it found nothing to do.';

COMMENT ON COLUMN pgtopic.background_runs.did IS 'How many rows the last run dealt with (for partitions: how many were made or dropped); in did_in_all those of all runs.';

COMMENT ON COLUMN pgtopic.background_runs.error IS 'Why the last run failed; null if it succeeded. error_at is when a run failed last.';

CREATE TABLE pgtopic.breakers (
    webhook_id bigint NOT NULL,
    state text DEFAULT 'closed'::text NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    opened_at timestamp with time zone,
    next_probe_at timestamp with time zone,
    probes integer DEFAULT 0 NOT NULL,
    probe_by uuid,
    probe_token bigint,
    probe_until timestamp with time zone,
    probe_lane bigint DEFAULT '-9223372036854775808'::bigint NOT NULL,
    suspected_at timestamp with time zone,
    success_at timestamp with time zone,
    success_by uuid,
    wake_after bigint,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT breakers_state_check CHECK ((state = ANY (ARRAY['closed'::text, 'open'::text])))
)
WITH (fillfactor='50');

COMMENT ON TABLE pgtopic.breakers IS 'The circuit breakers. A webhook gets its row when a worker first suspects it; without a row its breaker is closed.';

COMMENT ON COLUMN pgtopic.breakers.state IS 'open: only probes are sent, and nothing uses up attempts; closed: all is sent.';

COMMENT ON COLUMN pgtopic.breakers.epoch IS 'It rises each time the breaker opens or closes. A failure of a request that began in an earlier epoch uses up no attempt.';

COMMENT ON COLUMN pgtopic.breakers.probes IS 'How many probes have failed since it opened.';

COMMENT ON COLUMN pgtopic.breakers.probe_by IS 'The worker whose turn it is to probe, until probe_until; null: nobody''s. probe_token: the token of its claim.';

COMMENT ON COLUMN pgtopic.breakers.probe_lane IS 'The lane that was probed last. The next probe takes the lane after it.';

COMMENT ON COLUMN pgtopic.breakers.suspected_at IS 'When a worker last asked the others whether they have a reason not to open it.';

COMMENT ON COLUMN pgtopic.breakers.success_at IS 'When another worker last said that its requests are accepted; written only while it is suspected. success_by: who said it.';

COMMENT ON COLUMN pgtopic.breakers.wake_after IS 'It has closed, and lanes after this one still wait for the end of their back-off, although they are to be due now; null: none.';

COMMENT ON COLUMN pgtopic.breakers.changed_at IS 'When state, epoch, suspected_at or wake_after was last written. Workers look here.';

CREATE TABLE pgtopic.changes (
    id bigint NOT NULL,
    kind text NOT NULL,
    topic_id bigint,
    webhook_id bigint,
    lane bigint,
    partition_key text,
    message_id bigint,
    worker_id uuid,
    reason text,
    changed_by text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    is_event boolean DEFAULT false NOT NULL,
    CONSTRAINT changes_kind_check CHECK ((kind = ANY (ARRAY['webhook.failing'::text, 'webhook.recovered'::text, 'webhook.disabled'::text, 'webhook.enabled'::text, 'webhook.paused'::text, 'webhook.resumed'::text, 'webhook.started'::text, 'webhook.open'::text, 'webhook.closed'::text, 'webhook.overflowing'::text, 'webhook.overflow_ended'::text, 'topic.paused'::text, 'topic.resumed'::text, 'lane.halted'::text, 'lane.resumed'::text, 'delivery.exhausted'::text, 'worker.lost'::text, 'sending.on'::text, 'sending.off'::text])))
);

COMMENT ON TABLE pgtopic.changes IS 'The audit log: every change of state is one row, written by the transaction that made the change.';

COMMENT ON COLUMN pgtopic.changes.changed_by IS 'Who did it: worker <id>, leader, the name that the API or the command line gave, or the database role.';

COMMENT ON COLUMN pgtopic.changes.is_event IS 'Whether the leader is to publish it to the topic of events.';

ALTER TABLE pgtopic.changes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgtopic.changes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE pgtopic.dead_letters ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgtopic.dead_letters_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE pgtopic.filter_errors
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;

COMMENT ON SEQUENCE pgtopic.filter_errors IS 'How often a filter was not evaluated: it could not be, or the payload was too large for it. Those messages are owed.';

CREATE TABLE pgtopic.installation (
    one boolean DEFAULT true NOT NULL,
    notify text DEFAULT 'auto'::text NOT NULL,
    cell integer,
    system_identifier bigint,
    database_oid bigint,
    timeline bigint,
    sending boolean,
    reason text,
    changed_by text,
    dead_letters_told bigint DEFAULT 0 NOT NULL,
    CONSTRAINT installation_cell_check CHECK (((cell >= 0) AND (cell <= 1023))),
    CONSTRAINT installation_notify_check CHECK ((notify = ANY (ARRAY['auto'::text, 'on'::text, 'off'::text]))),
    CONSTRAINT installation_one_check CHECK (one)
);

COMMENT ON TABLE pgtopic.installation IS 'Settings of this installation: one row.';

COMMENT ON COLUMN pgtopic.installation.notify IS 'Whether transactions that publish may NOTIFY: on, off, or auto (only if max_prepared_transactions is 0). Written by processes whose wake.notify is set.';

COMMENT ON COLUMN pgtopic.installation.cell IS 'Every message id modulo 1024 is this number, since it was set; null: ids are not unique over installations. Never changes.';

COMMENT ON COLUMN pgtopic.installation.system_identifier IS 'The server that this installation sends from, and in database_oid the database. Where they are others, this is a copy.';

COMMENT ON COLUMN pgtopic.installation.timeline IS 'The timeline of the server when a worker started last. It rises with each promotion.';

COMMENT ON COLUMN pgtopic.installation.sending IS 'Whether anything is sent; null: nobody has ever said so.';

COMMENT ON COLUMN pgtopic.installation.reason IS 'Why sending was switched, and in changed_by who did it.';

COMMENT ON COLUMN pgtopic.installation.dead_letters_told IS 'Up to this id, dead letters were told of as events.';

CREATE TABLE pgtopic.installed (
    one boolean DEFAULT true NOT NULL,
    number integer NOT NULL,
    works_from integer NOT NULL,
    functions_hash text NOT NULL,
    applied_by text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT installed_one_check CHECK (one)
);

COMMENT ON TABLE pgtopic.installed IS 'What is installed here: one row.';

COMMENT ON COLUMN pgtopic.installed.number IS 'The newest migration whose functions, triggers and grants were applied; 0 before the first.';

COMMENT ON COLUMN pgtopic.installed.works_from IS 'The oldest binary that may still run on this schema, by the number of its newest migration.';

COMMENT ON COLUMN pgtopic.installed.functions_hash IS 'SHA-256 of the functions, triggers and grants that were applied, in hex.';

COMMENT ON COLUMN pgtopic.installed.applied_by IS 'The version of the pgtopic that applied them.';

ALTER TABLE pgtopic.jobs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgtopic.jobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE pgtopic.leader (
    one boolean DEFAULT true NOT NULL,
    worker uuid,
    term bigint DEFAULT 0 NOT NULL,
    since timestamp with time zone,
    CONSTRAINT leader_one_check CHECK (one)
);

COMMENT ON TABLE pgtopic.leader IS 'Which worker does the background work: one row. Each step of that work locks the row FOR SHARE first, and checks the term.';

COMMENT ON COLUMN pgtopic.leader.term IS 'The fencing token: it rises with each leader.';

CREATE SEQUENCE pgtopic.message_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

COMMENT ON SEQUENCE pgtopic.message_ids IS 'Message ids. They are taken while the partition''s stripe is held. Two neighbours differ by 1, or by 1,024 if the installation has a cell.';

CREATE SEQUENCE pgtopic.notify_suppressed_until
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;

COMMENT ON SEQUENCE pgtopic.notify_suppressed_until IS 'Until this instant (microseconds since 1970) workers poll, and none of them asks publishers to NOTIFY.';

CREATE SEQUENCE pgtopic.notify_until
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;

COMMENT ON SEQUENCE pgtopic.notify_until IS 'Until this instant (microseconds since 1970) publishers NOTIFY, since a worker listens. 0 while workers poll.';

CREATE TABLE pgtopic.sampled (
    one boolean DEFAULT true NOT NULL,
    sampled_at timestamp with time zone,
    given_ids bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    given_at timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[] NOT NULL,
    CONSTRAINT sampled_one_check CHECK (one)
)
WITH (fillfactor='50');

COMMENT ON TABLE pgtopic.sampled IS 'When the leader looked last at all webhooks: one row.';

COMMENT ON COLUMN pgtopic.sampled.given_ids IS 'The last message id, at the last looks at the traffic, newest first; given_at: when that was.';

CREATE TABLE pgtopic.schema_history (
    version integer NOT NULL,
    name character varying(255),
    applied_on character varying(255),
    checksum character varying(255)
);

CREATE TABLE pgtopic.sessions (
    hash bytea NOT NULL,
    token_digest bytea NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT sessions_hash_check CHECK ((octet_length(hash) = 32)),
    CONSTRAINT sessions_token_digest_check CHECK ((octet_length(token_digest) = 32))
);

COMMENT ON TABLE pgtopic.sessions IS 'Who is logged in to the console. What a session may do is said by its token in the settings; without it there, the session does not count.';

COMMENT ON COLUMN pgtopic.sessions.hash IS 'SHA-256 of the value of the cookie.';

COMMENT ON COLUMN pgtopic.sessions.token_digest IS 'SHA-256 of the token.';

CREATE TABLE pgtopic.shares (
    webhook_id bigint NOT NULL,
    worker_id uuid NOT NULL,
    wants boolean NOT NULL,
    slots integer,
    slots_held integer NOT NULL,
    rate double precision,
    rate_held double precision NOT NULL
)
WITH (fillfactor='50');

COMMENT ON TABLE pgtopic.shares IS 'What each worker has of max_in_flight and rate_limit_per_second of a webhook, while it has something to send. A share ends when its worker is gone. There is no foreign key to webhooks: TRUNCATE would be refused. Workers give the shares of a deleted webhook back.';

COMMENT ON COLUMN pgtopic.shares.wants IS 'Whether the worker had something to send when it asked last.';

COMMENT ON COLUMN pgtopic.shares.slots IS 'How many requests it may have in flight; null: max_in_flight is not set.';

COMMENT ON COLUMN pgtopic.shares.slots_held IS 'How many it used, or could use, when it asked. It may be more than slots, until it asks again.';

COMMENT ON COLUMN pgtopic.shares.rate IS 'How many requests a second it may start; null: rate_limit_per_second is not set.';

COMMENT ON COLUMN pgtopic.shares.rate_held IS 'As slots_held, for rate.';

CREATE TABLE pgtopic.topic_samples (
    topic_id bigint NOT NULL,
    published_per_second double precision NOT NULL,
    latency bigint[] NOT NULL
)
WITH (fillfactor='50');

COMMENT ON TABLE pgtopic.topic_samples IS 'The traffic of each topic in the last minute, when the leader looked last. Without a row there was none.';

CREATE TABLE pgtopic.topics (
    id bigint NOT NULL,
    name text NOT NULL,
    ordering text DEFAULT 'partition'::text NOT NULL,
    retention interval,
    paused text,
    max_payload_bytes integer DEFAULT 1048576 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    overflowing_webhook bigint,
    accepted_bytes integer GENERATED ALWAYS AS (
CASE
    WHEN ((paused = 'refuse'::text) OR (overflowing_webhook IS NOT NULL)) THEN '-1'::integer
    ELSE max_payload_bytes
END) STORED,
    stripes integer GENERATED ALWAYS AS (
CASE ordering
    WHEN 'partition'::text THEN (((id & (2097151)::bigint) << 8))::integer
    ELSE NULL::integer
END) STORED,
    webhook_ids bigint[] DEFAULT '{}'::bigint[],
    CONSTRAINT topics_max_payload_bytes_check CHECK ((max_payload_bytes > 0)),
    CONSTRAINT topics_name_check CHECK (((name ~ '^[A-Za-z0-9._-]{1,255}$'::text) AND (name !~ '^[0-9]+$'::text) AND (name !~ '^[.]{1,2}$'::text))),
    CONSTRAINT topics_ordering_check CHECK ((ordering = ANY (ARRAY['partition'::text, 'none'::text]))),
    CONSTRAINT topics_paused_check CHECK ((paused = ANY (ARRAY['refuse'::text, 'hold'::text]))),
    CONSTRAINT topics_retention_check CHECK (((retention >= '00:00:00'::interval) AND (retention <= '878400:00:00'::interval)))
);

COMMENT ON TABLE pgtopic.topics IS 'Named streams of messages.';

COMMENT ON COLUMN pgtopic.topics.name IS '1 to 255 of [A-Za-z0-9._-]; not all digits, so that an id and a name never look alike; neither . nor .., which are no path.';

COMMENT ON COLUMN pgtopic.topics.ordering IS 'partition: messages with the same partition key stay in commit order; none: messages have no order. Never changes.';

COMMENT ON COLUMN pgtopic.topics.retention IS 'How long messages are kept, counted from created_at, if they are neither owed nor dead letters; 0: for ever; null: as the setting retention.messages_days of the workers says.';

COMMENT ON COLUMN pgtopic.topics.paused IS 'refuse: the topic refuses messages; hold: messages are accepted and fanned out, but nothing of the topic is claimed; null: neither.';

COMMENT ON COLUMN pgtopic.topics.max_payload_bytes IS 'The largest payload of one message, in bytes.';

COMMENT ON COLUMN pgtopic.topics.changed_at IS 'When the row was last written, also because webhooks were added or deleted. Workers that are not notified look here.';

COMMENT ON COLUMN pgtopic.topics.overflowing_webhook IS 'The first of the topic''s webhooks that overflow and have messages refused for that, kept up to date by triggers on webhooks; null: none.';

COMMENT ON COLUMN pgtopic.topics.accepted_bytes IS 'For publishers: the largest payload that is accepted now; -1 while the topic refuses messages.';

COMMENT ON COLUMN pgtopic.topics.stripes IS 'For publishers: the first of the topic''s 256 stripes; null if the topic is unordered, and takes no locks.';

COMMENT ON COLUMN pgtopic.topics.webhook_ids IS 'For publishers: the topic''s webhooks, kept up to date by triggers on webhooks. Null if one of them has types or a filter: then these are evaluated for each message.';

ALTER TABLE pgtopic.topics ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgtopic.topics_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE UNLOGGED TABLE pgtopic.used_idempotency_keys (
    topic_id bigint NOT NULL,
    idempotency_key text NOT NULL
);

COMMENT ON TABLE pgtopic.used_idempotency_keys IS 'Nobody ever sees a row here. Publishers that use the same key wait here for one another.';

CREATE TABLE pgtopic.webhook_samples (
    webhook_id bigint NOT NULL,
    owed bigint DEFAULT 0 NOT NULL,
    owed_capped boolean DEFAULT false NOT NULL,
    oldest_owed_at timestamp with time zone,
    ready bigint DEFAULT 0 NOT NULL,
    claimed bigint DEFAULT 0 NOT NULL,
    waiting bigint DEFAULT 0 NOT NULL,
    halted bigint DEFAULT 0 NOT NULL,
    dead_letters bigint DEFAULT 0 NOT NULL,
    dead_letters_capped boolean DEFAULT false NOT NULL,
    in_flight bigint DEFAULT 0 NOT NULL,
    accepted bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL,
    latency bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    last_success_at timestamp with time zone,
    last_failure_at timestamp with time zone,
    failing_since timestamp with time zone,
    last_status_code smallint,
    last_error_class text,
    last_error text
)
WITH (fillfactor='50');

COMMENT ON TABLE pgtopic.webhook_samples IS 'How each webhook was when the leader looked last. A webhook without a row owes nothing, has no dead letters and had no traffic. A row is written only if it changes.';

COMMENT ON COLUMN pgtopic.webhook_samples.owed_capped IS 'More is owed, or lanes were left out: then oldest_owed_at is at most that old.';

COMMENT ON COLUMN pgtopic.webhook_samples.accepted IS 'Deliveries that were accepted in the last minute. failed: requests that failed. latency: as in activity.';

COMMENT ON COLUMN pgtopic.webhook_samples.failing_since IS 'Since when every request has failed; null if the last one was accepted.';

CREATE TABLE pgtopic.webhooks (
    id bigint NOT NULL,
    topic_id bigint NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    secrets text[] NOT NULL,
    headers json DEFAULT '{}'::json NOT NULL,
    types text[],
    filter jsonpath,
    filter_limit integer,
    format text,
    batch_size integer DEFAULT 1 NOT NULL,
    max_retries integer,
    backoff_factor double precision,
    max_backoff_seconds integer,
    retry_schedule integer[],
    permanent_statuses integer[],
    timeout_seconds integer,
    on_exhausted text DEFAULT 'dead_letter'::text NOT NULL,
    max_in_flight integer,
    rate_limit_per_second double precision,
    max_age_seconds integer,
    max_owed integer,
    on_overflow text DEFAULT 'dead_letter_oldest'::text NOT NULL,
    overflowing boolean DEFAULT false NOT NULL,
    breaker text DEFAULT 'auto'::text NOT NULL,
    state text DEFAULT 'active'::text NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    disabled_reason text,
    hold_until timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT webhooks_backoff_factor_check CHECK (((backoff_factor >= (1)::double precision) AND (backoff_factor <= (100)::double precision))),
    CONSTRAINT webhooks_batch_size_check CHECK (((batch_size >= 1) AND (batch_size <= 1000))),
    CONSTRAINT webhooks_breaker_check CHECK ((breaker = ANY (ARRAY['auto'::text, 'off'::text]))),
    CONSTRAINT webhooks_format_check CHECK ((format = ANY (ARRAY['raw'::text, 'envelope'::text, 'cloudevents'::text]))),
    CONSTRAINT webhooks_headers_check CHECK ((json_typeof(headers) = 'object'::text)),
    CONSTRAINT webhooks_headers_size_check CHECK ((octet_length((headers)::text) <= 8192)),
    CONSTRAINT webhooks_keep_latest_singly_check CHECK (((on_overflow <> 'keep_latest'::text) OR (batch_size = 1))),
    CONSTRAINT webhooks_max_age_seconds_check CHECK (((max_age_seconds >= 1) AND (max_age_seconds <= 31622400))),
    CONSTRAINT webhooks_max_backoff_seconds_check CHECK (((max_backoff_seconds >= 1) AND (max_backoff_seconds <= 2592000))),
    CONSTRAINT webhooks_max_in_flight_check CHECK (((max_in_flight >= 1) AND (max_in_flight <= 10000))),
    CONSTRAINT webhooks_max_owed_check CHECK (((max_owed >= 1) AND (max_owed <= 1000000))),
    CONSTRAINT webhooks_max_retries_check CHECK (((max_retries >= 1) AND (max_retries <= 1000))),
    CONSTRAINT webhooks_name_check CHECK (((name ~ '^[A-Za-z0-9._-]{1,255}$'::text) AND (name !~ '^[0-9]+$'::text) AND (name !~ '^[.]{1,2}$'::text))),
    CONSTRAINT webhooks_on_exhausted_check CHECK ((on_exhausted = ANY (ARRAY['dead_letter'::text, 'halt'::text]))),
    CONSTRAINT webhooks_on_overflow_check CHECK ((on_overflow = ANY (ARRAY['dead_letter_oldest'::text, 'keep_latest'::text, 'refuse'::text]))),
    CONSTRAINT webhooks_permanent_statuses_check CHECK (((array_ndims(permanent_statuses) = 1) AND ((cardinality(permanent_statuses) >= 1) AND (cardinality(permanent_statuses) <= 100)) AND (array_position(permanent_statuses, NULL::integer) IS NULL) AND (300 <= ALL (permanent_statuses)) AND (599 >= ALL (permanent_statuses)))),
    CONSTRAINT webhooks_rate_limit_per_second_check CHECK (((rate_limit_per_second >= (0.001)::double precision) AND (rate_limit_per_second <= (1000000)::double precision))),
    CONSTRAINT webhooks_refuse_limit_check CHECK (((on_overflow <> 'refuse'::text) OR (max_owed IS NOT NULL))),
    CONSTRAINT webhooks_retry_schedule_alone_check CHECK (((retry_schedule IS NULL) OR ((backoff_factor IS NULL) AND (max_backoff_seconds IS NULL)))),
    CONSTRAINT webhooks_retry_schedule_check CHECK (((array_ndims(retry_schedule) = 1) AND ((cardinality(retry_schedule) >= 1) AND (cardinality(retry_schedule) <= 100)) AND (array_position(retry_schedule, NULL::integer) IS NULL) AND (1 <= ALL (retry_schedule)) AND (2592000 >= ALL (retry_schedule)))),
    CONSTRAINT webhooks_state_check CHECK ((state = ANY (ARRAY['starting'::text, 'active'::text]))),
    CONSTRAINT webhooks_timeout_seconds_check CHECK (((timeout_seconds >= 1) AND (timeout_seconds <= 600))),
    CONSTRAINT webhooks_types_check CHECK (((cardinality(types) >= 1) AND (cardinality(types) <= 100)))
);

COMMENT ON TABLE pgtopic.webhooks IS 'Subscriptions of a URL to a topic. A null policy column means the worker''s delivery default.';

COMMENT ON COLUMN pgtopic.webhooks.name IS 'Unique in its topic; webhook-<id> unless one is given. 1 to 255 of [A-Za-z0-9._-], not all digits.';

COMMENT ON COLUMN pgtopic.webhooks.secrets IS 'Signing secrets (whsec_...), newest first; each of them signs every request.';

COMMENT ON COLUMN pgtopic.webhooks.headers IS 'Headers of every request, an object of strings: at most 64 of them, 8,192 bytes of JSON text.';

COMMENT ON COLUMN pgtopic.webhooks.types IS 'The message types that it is owed: exact, or a start followed by * (order.*). Null: every message, also without a type. Looked at before the filter.';

COMMENT ON COLUMN pgtopic.webhooks.filter IS 'A message is owed if payload @@ filter is true, or is not evaluated. Null: every message is owed.';

COMMENT ON COLUMN pgtopic.webhooks.filter_limit IS 'The largest payload, in bytes, for which the filter is evaluated. A trigger computes it from the filter''s shape.';

COMMENT ON COLUMN pgtopic.webhooks.format IS 'Null: envelope if batch_size is more than 1, else raw.';

COMMENT ON COLUMN pgtopic.webhooks.retry_schedule IS 'The wait in seconds after the first failure, after the second, and so on; the last one repeats. Null: backoff_factor and max_backoff_seconds say how long.';

COMMENT ON COLUMN pgtopic.webhooks.permanent_statuses IS 'HTTP statuses after which a message is not tried again; null: none.';

COMMENT ON COLUMN pgtopic.webhooks.max_age_seconds IS 'A message that is older, counted from the later of created_at and published_at, becomes a dead letter and is not sent. Replays are sent. Null: no limit.';

COMMENT ON COLUMN pgtopic.webhooks.max_owed IS 'How many messages it may be owed, replays aside. The leader looks once a second. Null: no limit.';

COMMENT ON COLUMN pgtopic.webhooks.on_overflow IS 'If it is owed more, dead_letter_oldest: its oldest messages become dead letters; refuse: its topic refuses messages. keep_latest: only the newest message of each lane is sent, also without max_owed; if it is owed more, the others become dead letters before that.';

COMMENT ON COLUMN pgtopic.webhooks.overflowing IS 'Written by the leader: it is owed more than max_owed, and since then never less than nine tenths of it.';

COMMENT ON COLUMN pgtopic.webhooks.breaker IS 'auto: if nothing but failures comes back, the breaker opens, and only probes are sent until one is answered; off: it never opens.';

COMMENT ON COLUMN pgtopic.webhooks.state IS 'starting: messages are fanned out to it, but its lanes are not claimed yet; active: both.';

COMMENT ON COLUMN pgtopic.webhooks.disabled_reason IS 'Why it was disabled (the receiver answered 410 Gone, or no request can be made); null while it is enabled. The backlog is kept.';

COMMENT ON COLUMN pgtopic.webhooks.hold_until IS 'Until when its receiver has asked for nothing to be sent; null: it never has. At most 60 s ahead.';

COMMENT ON COLUMN pgtopic.webhooks.changed_at IS 'When the row was last written. Workers that are not notified look here.';

ALTER TABLE pgtopic.webhooks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgtopic.webhooks_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE pgtopic.worker_lock_keys
    AS integer
    START WITH -1
    INCREMENT BY -1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
    CYCLE;

COMMENT ON SEQUENCE pgtopic.worker_lock_keys IS 'Advisory-lock keys of worker incarnations, below 0.';

CREATE TABLE pgtopic.workers (
    id uuid NOT NULL,
    lock_key integer NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    capacity integer NOT NULL,
    lease interval NOT NULL,
    in_flight integer DEFAULT 0 NOT NULL,
    lanes integer DEFAULT 0 NOT NULL,
    stopping boolean DEFAULT false NOT NULL,
    gone boolean DEFAULT false NOT NULL,
    trouble text,
    topics text[],
    settings json DEFAULT '{}'::json NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='50');

COMMENT ON TABLE pgtopic.workers IS 'One row for each worker incarnation. It holds the advisory lock (stripe_class(), lock_key) while it lives.';

COMMENT ON COLUMN pgtopic.workers.lease IS 'If its heartbeat stands still for this long, the worker is taken for hung, and its lanes are released.';

COMMENT ON COLUMN pgtopic.workers.lanes IS 'How many lanes it holds; in_flight of them are being sent. Written with the heartbeat.';

COMMENT ON COLUMN pgtopic.workers.stopping IS 'It was asked to stop: it finishes what is in flight.';

COMMENT ON COLUMN pgtopic.workers.gone IS 'It was taken for dead or hung, or has stopped. It may claim nothing, and anybody may take its lanes. The row is deleted when they are free.';

COMMENT ON COLUMN pgtopic.workers.trouble IS 'What goes wrong in it; null: nothing.';

COMMENT ON COLUMN pgtopic.workers.topics IS 'The topics that it sends: names, or beginnings of names with * at the end; null: all.';

COMMENT ON COLUMN pgtopic.workers.settings IS 'Those of its settings that should be the same in all processes: names and values.';

ALTER TABLE ONLY pgtopic.background_runs
    ADD CONSTRAINT background_runs_pkey PRIMARY KEY (piece);

ALTER TABLE ONLY pgtopic.breakers
    ADD CONSTRAINT breakers_pkey PRIMARY KEY (webhook_id);

ALTER TABLE ONLY pgtopic.changes
    ADD CONSTRAINT changes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgtopic.dead_letters
    ADD CONSTRAINT dead_letters_delivery_key UNIQUE (webhook_id, message_id);

ALTER TABLE ONLY pgtopic.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgtopic.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (webhook_id, lane, message_id);

ALTER TABLE ONLY pgtopic.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (one);

ALTER TABLE ONLY pgtopic.installed
    ADD CONSTRAINT installed_pkey PRIMARY KEY (one);

ALTER TABLE ONLY pgtopic.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgtopic.lanes
    ADD CONSTRAINT lanes_pkey PRIMARY KEY (webhook_id, lane);

ALTER TABLE ONLY pgtopic.leader
    ADD CONSTRAINT leader_pkey PRIMARY KEY (one);

ALTER TABLE ONLY pgtopic.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgtopic.sampled
    ADD CONSTRAINT sampled_pkey PRIMARY KEY (one);

ALTER TABLE ONLY pgtopic.schema_history
    ADD CONSTRAINT schema_history_pkey PRIMARY KEY (version);

ALTER TABLE ONLY pgtopic.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (hash);

ALTER TABLE ONLY pgtopic.shares
    ADD CONSTRAINT shares_pkey PRIMARY KEY (webhook_id, worker_id);

ALTER TABLE ONLY pgtopic.topic_samples
    ADD CONSTRAINT topic_samples_pkey PRIMARY KEY (topic_id);

ALTER TABLE ONLY pgtopic.topics
    ADD CONSTRAINT topics_name_key UNIQUE (name);

ALTER TABLE ONLY pgtopic.topics
    ADD CONSTRAINT topics_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgtopic.used_idempotency_keys
    ADD CONSTRAINT used_idempotency_keys_pkey PRIMARY KEY (topic_id, idempotency_key);

ALTER TABLE ONLY pgtopic.webhook_samples
    ADD CONSTRAINT webhook_samples_pkey PRIMARY KEY (webhook_id);

ALTER TABLE ONLY pgtopic.webhooks
    ADD CONSTRAINT webhooks_name_key UNIQUE (topic_id, name);

ALTER TABLE ONLY pgtopic.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgtopic.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE INDEX activity_at ON pgtopic.activity USING btree (seconds, at);

CREATE INDEX activity_webhook ON pgtopic.activity USING btree (webhook_id, at);

CREATE INDEX attempts_delivery ON ONLY pgtopic.attempts USING btree (webhook_id, message_id);

CREATE INDEX breakers_changed_at ON pgtopic.breakers USING btree (changed_at);

CREATE INDEX breakers_open ON pgtopic.breakers USING btree (next_probe_at) WHERE (state = 'open'::text);

CREATE INDEX changes_events ON pgtopic.changes USING btree (id) WHERE is_event;

CREATE INDEX changes_webhook ON pgtopic.changes USING btree (webhook_id, id);

CREATE INDEX dead_letters_message ON pgtopic.dead_letters USING btree (message_id, id);

CREATE INDEX dead_letters_webhook ON pgtopic.dead_letters USING btree (((webhook_id + 0)), id);

COMMENT ON INDEX pgtopic.dead_letters_webhook IS 'For the list of a webhook: webhook_id + 0 = ... ORDER BY id. The expression keeps lookups by webhook and message from this index.';

CREATE INDEX jobs_unfinished ON pgtopic.jobs USING btree (id) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text, 'canceling'::text]));

CREATE INDEX lanes_due ON pgtopic.lanes USING btree (((webhook_id + 0)), due_at);

COMMENT ON INDEX pgtopic.lanes_due IS 'For looks at what is due: webhook_id + 0 = ... ORDER BY due_at. The expression keeps all other lookups from this index.';

CREATE INDEX messages_created_at ON pgtopic.messages USING brin (created_at) WITH (autosummarize='on');

CREATE UNIQUE INDEX messages_idempotency_key ON pgtopic.messages USING btree (topic_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);

CREATE INDEX topics_changed_at ON pgtopic.topics USING btree (changed_at);

CREATE INDEX webhooks_changed_at ON pgtopic.webhooks USING btree (changed_at);

CREATE INDEX webhooks_max_age ON pgtopic.webhooks USING btree (id) WHERE (max_age_seconds IS NOT NULL);

CREATE INDEX webhooks_max_owed ON pgtopic.webhooks USING btree (id) WHERE ((max_owed IS NOT NULL) OR overflowing);

CREATE TRIGGER changes_mark_event BEFORE INSERT ON pgtopic.changes FOR EACH ROW WHEN ((new.kind = ANY (ARRAY['webhook.failing'::text, 'webhook.recovered'::text, 'webhook.disabled'::text, 'webhook.enabled'::text, 'delivery.exhausted'::text, 'lane.halted'::text, 'lane.resumed'::text, 'worker.lost'::text]))) EXECUTE FUNCTION pgtopic.changes_mark_event();

CREATE TRIGGER flush AFTER INSERT ON pgtopic.dead_letters FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.dead_letters_flush();

CREATE TRIGGER messages_arrived BEFORE INSERT ON pgtopic.messages FOR EACH ROW WHEN ((new.id IS NOT NULL)) EXECUTE FUNCTION pgtopic.messages_arrived();

ALTER TABLE pgtopic.messages ENABLE REPLICA TRIGGER messages_arrived;

CREATE TRIGGER topics_arrived BEFORE INSERT OR UPDATE ON pgtopic.topics FOR EACH ROW EXECUTE FUNCTION pgtopic.topics_arrived();

ALTER TABLE pgtopic.topics ENABLE REPLICA TRIGGER topics_arrived;

CREATE TRIGGER topics_changed AFTER DELETE OR UPDATE ON pgtopic.topics FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_changed();

CREATE TRIGGER topics_changed_at BEFORE UPDATE ON pgtopic.topics FOR EACH ROW EXECUTE FUNCTION pgtopic.touch_changed_at();

CREATE TRIGGER topics_ordering_never_changes BEFORE UPDATE OF ordering ON pgtopic.topics FOR EACH ROW WHEN ((old.ordering <> new.ordering)) EXECUTE FUNCTION pgtopic.refuse_change('ordering');

CREATE TRIGGER topics_record_change AFTER UPDATE ON pgtopic.topics FOR EACH ROW WHEN ((old.paused IS DISTINCT FROM new.paused)) EXECUTE FUNCTION pgtopic.record_topic_change();

CREATE TRIGGER webhooks_all_went AFTER TRUNCATE ON pgtopic.webhooks FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();

CREATE TRIGGER webhooks_all_went_elsewhere AFTER TRUNCATE ON pgtopic.webhooks FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();

ALTER TABLE pgtopic.webhooks ENABLE REPLICA TRIGGER webhooks_all_went_elsewhere;

CREATE TRIGGER webhooks_arrived AFTER INSERT OR DELETE OR UPDATE ON pgtopic.webhooks FOR EACH ROW EXECUTE FUNCTION pgtopic.webhooks_arrived();

ALTER TABLE pgtopic.webhooks ENABLE REPLICA TRIGGER webhooks_arrived;

CREATE TRIGGER webhooks_came AFTER INSERT ON pgtopic.webhooks REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();

CREATE TRIGGER webhooks_changed AFTER INSERT OR DELETE OR UPDATE ON pgtopic.webhooks FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_changed();

CREATE TRIGGER webhooks_changed_at BEFORE UPDATE ON pgtopic.webhooks FOR EACH ROW EXECUTE FUNCTION pgtopic.touch_changed_at();

CREATE TRIGGER webhooks_close_breaker AFTER UPDATE ON pgtopic.webhooks FOR EACH ROW WHEN (((old.url <> new.url) OR (old.secrets <> new.secrets) OR (old.breaker <> new.breaker) OR ((old.disabled_reason IS NOT NULL) AND (new.disabled_reason IS NULL)))) EXECUTE FUNCTION pgtopic.webhooks_close_breaker();

CREATE TRIGGER webhooks_filter_came_or_went AFTER UPDATE OF types, filter ON pgtopic.webhooks FOR EACH ROW WHEN ((((old.types IS NULL) AND (old.filter IS NULL)) <> ((new.types IS NULL) AND (new.filter IS NULL)))) EXECUTE FUNCTION pgtopic.webhooks_came_or_went();

CREATE TRIGGER webhooks_name BEFORE INSERT ON pgtopic.webhooks FOR EACH ROW WHEN ((new.name IS NULL)) EXECUTE FUNCTION pgtopic.webhooks_name();

CREATE TRIGGER webhooks_record_change AFTER UPDATE ON pgtopic.webhooks FOR EACH ROW WHEN (((old.paused <> new.paused) OR ((old.disabled_reason IS NULL) <> (new.disabled_reason IS NULL)) OR (old.state <> new.state) OR (old.overflowing <> new.overflowing))) EXECUTE FUNCTION pgtopic.record_webhook_change();

CREATE TRIGGER webhooks_refusal_came_or_went AFTER UPDATE OF on_overflow, overflowing ON pgtopic.webhooks FOR EACH ROW WHEN (((old.overflowing AND (old.on_overflow = 'refuse'::text)) <> (new.overflowing AND (new.on_overflow = 'refuse'::text)))) EXECUTE FUNCTION pgtopic.webhooks_came_or_went();

CREATE TRIGGER webhooks_topic_never_changes BEFORE UPDATE OF topic_id ON pgtopic.webhooks FOR EACH ROW WHEN ((old.topic_id <> new.topic_id)) EXECUTE FUNCTION pgtopic.refuse_change('topic_id');

CREATE TRIGGER webhooks_validate BEFORE INSERT OR UPDATE OF filter, filter_limit, headers, types ON pgtopic.webhooks FOR EACH ROW EXECUTE FUNCTION pgtopic.webhooks_validate();

CREATE TRIGGER webhooks_went AFTER DELETE ON pgtopic.webhooks REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION pgtopic.webhooks_came_or_went();

CREATE TRIGGER zz_messages_publish BEFORE INSERT ON pgtopic.messages FOR EACH ROW EXECUTE FUNCTION pgtopic.messages_publish();

CREATE TRIGGER zz_messages_publish_here BEFORE INSERT ON pgtopic.messages FOR EACH ROW WHEN ((new.id IS NULL)) EXECUTE FUNCTION pgtopic.messages_publish();

ALTER TABLE pgtopic.messages ENABLE REPLICA TRIGGER zz_messages_publish_here;

ALTER TABLE ONLY pgtopic.shares
    ADD CONSTRAINT shares_worker_id_fkey FOREIGN KEY (worker_id) REFERENCES pgtopic.workers(id) ON DELETE CASCADE;

ALTER TABLE ONLY pgtopic.webhooks
    ADD CONSTRAINT webhooks_topic_id_fkey FOREIGN KEY (topic_id) REFERENCES pgtopic.topics(id) ON DELETE CASCADE;

REVOKE ALL ON FUNCTION pgtopic.announce_breaker() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.backfill_step(job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.begin_job_step(job_id bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.body_format(format text, batch_size integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.cancel_deliveries(webhook_id bigint, message_ids bigint[], reason text, waits boolean, changed_by text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.cancel_step(job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.changed_by() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.changes_mark_event() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.check_backlogs(after_webhook bigint, left_out bigint[], takes interval, leader text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.check_filter(filter jsonpath) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.claim_lanes(worker uuid, new_token bigint, webhook_ids bigint[], slots integer[], due_after timestamp with time zone[], sweep boolean, messages_per_lane integer, payload_budget bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.claim_lanes_singly(worker uuid, new_token bigint, webhook_ids bigint[], slots integer[], due_after timestamp with time zone[], sweep boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.claim_messages(worker uuid, new_token bigint, message_ids bigint[], full_webhooks bigint[], topics text[], lanes_at_most integer, messages_per_lane integer, payload_budget bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.close_breaker(webhook_id bigint, worker uuid, token bigint, epoch bigint, reason text, changed_by text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.dead_letter_filter(filter json, OUT partition_key text, OUT type text, OUT reason text, OUT error_class text, OUT status_code bigint, OUT since timestamp with time zone, OUT before timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.dead_letter_fits(letter pgtopic.dead_letters, partition_key text, type text, reason text, error_class text, status_code bigint, since timestamp with time zone, until timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.dead_letter_groups(webhook_ids bigint[], partition_key text, type text, reason text, error_class text, status_code bigint, since timestamp with time zone, until timestamp with time zone, look_at bigint, at_most bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.dead_letters_flush() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.dead_letters_step(job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.delete_old_changes(days integer, portion integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.delete_old_dead_letters(days integer, portion integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.delete_old_jobs(days integer, portion integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.delete_old_messages(after bigint, portion integer, default_days integer, OUT last_id bigint, OUT seen bigint, OUT deleted bigint, OUT any_old boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.delivery_state(webhook_id bigint, lane bigint, message_id bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.describe_transactions(progress json) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.discard_dead_letters(dead_letter_ids bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.drop_attempt_partitions(days integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.drop_overflow(webhook bigint, message_ids bigint[], lanes bigint[], leader text, OUT dropped bigint, OUT left_lanes bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.end_probe(worker uuid, token bigint, webhook_id bigint, epoch bigint, failed boolean, next_in double precision, disable text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.events_topic() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.expire_deliveries(after_webhook bigint, after_lane bigint, at_most integer, changed_by text, OUT last_webhook bigint, OUT last_lane bigint, OUT expired bigint, OUT more boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.fail_job(job_id bigint, error text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.filter_limit(filter jsonpath) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.filter_matches(filter jsonpath, payload json, accepted_bytes integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.headers_problem(headers json) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.is_for_webhook(webhook_id bigint, message_id bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.is_held(hold_until timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.lane_stripe(webhook_id bigint, lane bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.lanes_retry_step(job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.last_outage_change(webhook bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.latest_message(webhook bigint, lane bigint, after bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.left_messages(progress json) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.list_changed_webhooks(since timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.list_due_webhooks(after bigint, at_most integer, sweep boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.list_newest_attempts(pages bigint, webhook_ids bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.list_news(newest bigint, missing bigint[], at_most bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.list_overflow(webhook bigint, at_most bigint, left_out bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.list_webhooks_of_topics(topic_ids bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.lock_idempotency_key(topic_id bigint, idempotency_key text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.lock_lane(webhook_id bigint, lane bigint, stripe integer, waits boolean, OUT outcome text, OUT held pgtopic.lanes) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.make_attempt_partitions(days integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.mark_worker_gone(worker uuid, reason text, changed_by text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.matching_webhooks(topic_id bigint, type text, payload json) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.may_notify() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.merge_activity(from_seconds integer, to_seconds integer, older_than interval, rows_at_most bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.messages_arrived() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.messages_fan_out(message pgtopic.messages, stripe integer, webhook_ids bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.messages_publish() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.messages_validate(message pgtopic.messages, accepted_bytes integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.note_success(worker uuid, webhook_ids bigint[], suspected double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.notify_workers(message_id bigint, stripe integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.open_breaker(worker uuid, webhook_id bigint, epoch bigint, reason text, objection double precision, success_counts double precision, first_probe double precision) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.open_transactions(progress json) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.owe_deliveries(asked pgtopic.deliveries[], only_dead boolean, waits boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.owe_messages(webhook_id bigint, message_ids bigint[], replayed_at timestamp with time zone, waits boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.partition_holder(message_id bigint, waiting integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.pick_messages(job pgtopic.jobs, at_most integer, OUT ids bigint[], OUT filtered bigint, OUT last_id bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.publish_events(at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.purge_step(job pgtopic.jobs, at_most integer, messages_days integer, dead_letters_days integer, attempts_days integer, jobs_days integer, changes_days integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.read_claimed(claimed pgtopic.lanes[], messages_per_lane integer, payload_budget bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.read_lanes(worker uuid, webhook_ids bigint[], lanes bigint[], tokens bigint[], positions bigint[], generations integer[], messages_per_lane integer, payload_budget bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.record_exhausted(at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.record_topic_change() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.record_webhook_change() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.refuse_change() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.release_lanes(worker uuid, after_webhook bigint, after_lane bigint, lanes_at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.remove_idle_lanes(worker uuid, webhook_ids bigint[], lanes bigint[], tokens bigint[], generations integer[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.remove_worker(worker uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.repair_due_at(after_webhook bigint, after_due_at timestamp with time zone, lanes_at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.replay_dead_letters(dead_letter_ids bigint[], waits boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.replay_step(job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint, OUT waits_for text, OUT finished boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.require_lead(worker uuid, term bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.require_read_committed() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.require_registered(worker uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.retry_lanes(webhook_id bigint, lanes bigint[], changed_by text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.sample_backlogs(after_webhook bigint, lanes_at_most bigint, owed_at_most bigint, takes interval) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.sample_traffic(leader text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.server_identity(OUT system_identifier bigint, OUT database_oid bigint, OUT timeline bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.set_cell(new_cell integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.settle(worker uuid, lane_webhooks bigint[], lane_lanes bigint[], lane_tokens bigint[], lane_states text[], lane_generations integer[], lane_positions bigint[], lane_delays double precision[], lane_heads bigint[], lane_failures integer[], lane_batch_lasts bigint[], lane_batch_counts integer[], lane_splits bigint[], lane_errors text[], lane_error_classes text[], lane_status_codes smallint[], lane_epochs bigint[], done_lanes integer[], done_messages bigint[], dead_lanes integer[], dead_messages bigint[], dead_reasons text[], dead_attempts integer[], dead_error_classes text[], dead_status_codes smallint[], dead_errors text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.share_limits(worker uuid, webhooks bigint[], wants boolean[], slots_held integer[], rate_held double precision[], done bigint[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.start_webhook(webhook_id bigint, reason text, changed_by text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.step_job(job_id bigint, at_most integer, messages_days integer, dead_letters_days integer, attempts_days integer, jobs_days integer, changes_days integer, OUT state text, OUT did bigint, OUT waits boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.stripe_class() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.suppress_notifications(microseconds bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.take_lead(worker uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.take_probes(worker uuid, new_token bigint, at_most integer, topics text[], default_timeout double precision, spare double precision, messages_per_lane integer, payload_budget bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.topics_arrived() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.touch_changed_at() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.type_matches(types text[], type text) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.wake_lanes(webhook_id bigint, at_most integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.webhook_backlog(webhook bigint, lanes_at_most bigint, owed_at_most bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.webhooks_arrived() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.webhooks_came_or_went() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.webhooks_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.webhooks_close_breaker() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.webhooks_name() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.webhooks_validate() FROM PUBLIC;

REVOKE ALL ON FUNCTION pgtopic.worker_heartbeat(worker uuid, in_flight_now integer, lanes_now integer, stopping_now boolean, trouble_now text, lease_seconds double precision) FROM PUBLIC;


SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
INSERT INTO pgtopic.installation VALUES (true, 'auto', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0);

INSERT INTO pgtopic.installed VALUES (true, 1, 1, '681de49777409a29cd303e15f96e3f847c4ff79c356228f6068a72646aa94208', '0.1.0', '2026-01-01 00:00:00+00');

INSERT INTO pgtopic.schema_history VALUES (1, 'schema', '2026-01-01T00:00:00Z', '16049301905587149254');


