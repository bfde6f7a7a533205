-- ----------------------------------------------------------------------
-- backfill_step: a step of a job that makes earlier messages owed to a webhook
-- that is starting.
--
-- First the job waits until all transactions have ended that were open when it
-- began: they may have published without seeing the webhook. (A transaction that
-- is prepared meanwhile counts as well.) Then it walks through the messages by
-- rising id, once, up to the newest one of then. Later messages were fanned out
-- to the webhook. At the end the webhook becomes active.
--
-- The lanes of the webhook are not claimed meanwhile. So messages of a partition
-- that is taken may be left for later steps by themselves.
--
-- Parameters, returns: as replay_step, up to 10,000 messages.
-- Locks:               the job's row; of the messages: the stripes (tried), then
--                      the messages FOR KEY SHARE (SKIP LOCKED), then the lanes
--                      in primary-key order.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.backfill_step(job_id bigint, at_most integer, OUT state text, OUT did bigint, OUT waits boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    looks    CONSTANT integer := 10000;
    job      pgtopic.jobs := pgtopic.begin_job_step(job_id);
    progress json := job.progress;
    ids      bigint[];
    room     integer;
    after    bigint;
    until    bigint;
    stripes  integer;
    free     integer[];
    held     bigint[];
    judges   boolean;
    picked   record;
    ended    record;
BEGIN
    state := job.state;
    did := 0;
    waits := false;
    IF job.state IS DISTINCT FROM 'running' THEN
        RETURN;
    END IF;

    IF progress ->> 'until' IS NULL THEN
        progress := pgtopic.open_transactions(progress);
        IF json_array_length(progress -> 'open') > 0 OR json_array_length((progress ->> 'prepared')::json) > 0 THEN
            waits := true;
            state := pgtopic.end_job_step(job_id, progress, 0, 0, 0, 0, pgtopic.describe_transactions(progress), false);
            RETURN;
        END IF;
        progress := json_build_object('after', progress -> 'after', 'since', progress ->> 'since', 'left', '[]'::json,
                                      'until', (SELECT coalesce(max(m.id), 0) FROM pgtopic.messages m));
    END IF;

    ids := pgtopic.left_messages(progress);
    room := greatest(at_most - cardinality(ids), 0);
    after := (progress ->> 'after')::bigint;
    until := (progress ->> 'until')::bigint;
    SELECT w.types IS NOT NULL OR w.filter IS NOT NULL INTO judges FROM pgtopic.webhooks w WHERE w.id = job.webhook_id;
    WITH seen AS MATERIALIZED (
        SELECT m.id, m.topic_id, m.created_at
          FROM pgtopic.messages m
         WHERE m.id > after AND m.id <= until
         ORDER BY m.id
         LIMIT CASE WHEN room > 0 THEN looks ELSE 0 END
    ), asked AS MATERIALIZED (
        SELECT s.id
          FROM seen s
         WHERE s.topic_id = job.topic_id
           AND s.created_at >= coalesce((progress ->> 'since')::timestamptz, '-infinity')
         ORDER BY s.id
         LIMIT room
    ), judged AS MATERIALIZED (
        SELECT a.id, NOT judges OR pgtopic.is_for_webhook(job.webhook_id, a.id) AS passes FROM asked a
    )
    SELECT coalesce(array_agg(j.id ORDER BY j.id) FILTER (WHERE j.passes), '{}') AS ids,
           count(*) FILTER (WHERE NOT j.passes) AS filtered,
           CASE WHEN room = 0 THEN after
                WHEN count(*) = room THEN max(j.id)
                WHEN (SELECT count(*) FROM seen) < looks THEN until
                ELSE (SELECT max(s.id) FROM seen s) END AS last_id
      INTO picked
      FROM judged j;
    ids := ids || picked.ids;

    SELECT t.stripes INTO stripes FROM pgtopic.topics t WHERE t.id = job.topic_id;
    SELECT coalesce(array_agg(s.stripe), '{}') INTO free
      FROM (SELECT DISTINCT stripes | (m.lane & 255)::integer AS stripe
              FROM unnest(ids) AS asked (id)
             CROSS JOIN LATERAL (SELECT m.lane FROM pgtopic.messages m WHERE m.id = asked.id LIMIT 1) m) s
     WHERE pg_try_advisory_xact_lock(pgtopic.stripe_class(), s.stripe);
    SELECT coalesce(array_agg(m.id), '{}') INTO held
      FROM unnest(ids) AS asked (id)
     CROSS JOIN LATERAL (SELECT m.id, m.lane FROM pgtopic.messages m WHERE m.id = asked.id LIMIT 1 FOR KEY SHARE SKIP LOCKED) m
     WHERE stripes IS NULL OR stripes | (m.lane & 255)::integer = ANY (free);
    WITH owed AS (
        INSERT INTO pgtopic.deliveries AS d (webhook_id, lane, message_id)
        SELECT job.webhook_id, m.lane, m.id
          FROM unnest(held) AS asked (id)
         CROSS JOIN LATERAL (SELECT m.id, m.lane FROM pgtopic.messages m WHERE m.id = asked.id LIMIT 1) m
            ON CONFLICT DO NOTHING
        RETURNING d.lane, d.message_id
    ), lanes AS (
        INSERT INTO pgtopic.lanes AS l (webhook_id, lane, stripe, partition_key, due_at, position)
        SELECT job.webhook_id, o.lane, stripes | (o.lane & 255)::integer, m.partition_key, clock_timestamp(), o.first_id - 1
          FROM (SELECT o.lane, min(o.message_id) AS first_id FROM owed o GROUP BY o.lane ORDER BY o.lane) o
         CROSS JOIN LATERAL (SELECT m.partition_key FROM pgtopic.messages m WHERE m.id = o.first_id LIMIT 1) m
            ON CONFLICT ON CONSTRAINT lanes_pkey DO UPDATE
           SET position = least(l.position, excluded.position), generation = l.generation + 1
    )
    SELECT count(*) AS owed INTO ended FROM owed;
    SELECT coalesce(array_agg(asked.id ORDER BY asked.id), '{}') INTO ids
      FROM unnest(ids) AS asked (id)
     WHERE asked.id <> ALL (held) AND EXISTS (SELECT FROM pgtopic.messages m WHERE m.id = asked.id);
    did := cardinality(held) + picked.filtered;
    waits := did = 0 AND cardinality(ids) > 0 AND picked.last_id = after;
    IF picked.last_id >= until AND ids = '{}' THEN
        PERFORM pgtopic.start_webhook(job.webhook_id, format('backfill %s has ended', job.id), job.created_by);
    END IF;
    state := pgtopic.end_job_step(
        job_id,
        json_build_object('after', picked.last_id, 'until', until, 'since', progress ->> 'since', 'left', ids),
        ended.owed, cardinality(held) - ended.owed, 0, picked.filtered,
        CASE WHEN cardinality(ids) > 0 THEN pgtopic.partition_holder(ids[1], cardinality(ids)) END,
        picked.last_id >= until AND ids = '{}');
END
$$;
