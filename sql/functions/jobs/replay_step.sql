-- ----------------------------------------------------------------------
-- replay_step: a step of a job that replays a range of messages to a webhook.
--
-- The job walks through the messages by rising id, once, up to the newest one
-- of when it was made. Types and filter of the webhook apply as they are now.
-- Messages whose partition is taken are left, with all that follow in it, for
-- the next step. So each lane gets the job's messages in rising order.
--
-- Parameters: job_id   the job
--             at_most  how many messages to replay at most, up to 1,000
-- Returns:    the job's state, how many messages were dealt with, and whether
--             it can only wait now.
-- Locks:      the job's row; as replay_deliveries.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.replay_step(job_id bigint, at_most integer, OUT state text, OUT did bigint, OUT waits boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    looks    CONSTANT integer := 10000;
    job      pgtopic.jobs := pgtopic.begin_job_step(job_id);
    ids      bigint[] := pgtopic.left_messages(job.progress);
    room     integer := greatest(at_most - cardinality(ids), 0);
    after    bigint := (job.progress ->> 'after')::bigint;
    until    bigint := (job.progress ->> 'until')::bigint;
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
    SELECT w.types IS NOT NULL OR w.filter IS NOT NULL INTO judges FROM pgtopic.webhooks w WHERE w.id = job.webhook_id;
    WITH seen AS MATERIALIZED (
        SELECT m.id, m.topic_id, m.partition_key, m.type, m.created_at
          FROM pgtopic.messages m
         WHERE m.id > after AND m.id <= until
         ORDER BY m.id
         LIMIT CASE WHEN room > 0 THEN looks ELSE 0 END
    ), asked AS MATERIALIZED (
        SELECT s.id, s.type
          FROM seen s
         WHERE s.topic_id = job.topic_id
           AND s.partition_key = coalesce(job.filter ->> 'partition_key', s.partition_key)
           AND (job.filter ->> 'type' IS NULL OR s.type = job.filter ->> 'type')
           AND s.created_at >= coalesce((job.progress ->> 'since')::timestamptz, '-infinity')
           AND s.created_at < coalesce((job.progress ->> 'before')::timestamptz, 'infinity')
           AND (NOT coalesce((job.filter ->> 'only_failed')::boolean, false)
                OR EXISTS (SELECT FROM pgtopic.dead_letters l WHERE l.webhook_id = job.webhook_id AND l.message_id = s.id))
         ORDER BY s.id
         LIMIT room
    ), judged AS MATERIALIZED (
        SELECT a.id, NOT judges OR pgtopic.is_for_webhook(job.webhook_id, a.id) AS passes FROM asked a
    )
    SELECT array_agg(j.id ORDER BY j.id) FILTER (WHERE j.passes) AS ids,
           count(*) FILTER (WHERE NOT j.passes) AS filtered,
           CASE WHEN room = 0 THEN after
                WHEN count(*) = room THEN max(j.id)
                WHEN (SELECT count(*) FROM seen) < looks THEN until
                ELSE (SELECT max(s.id) FROM seen s) END AS last_id
      INTO picked
      FROM judged j;
    SELECT count(*) FILTER (WHERE r.outcome = 'replayed') AS replayed,
           count(*) FILTER (WHERE r.outcome = 'already_owed') AS already_owed,
           count(*) FILTER (WHERE r.outcome = 'message_gone') AS gone,
           coalesce(array_agg(r.message_id ORDER BY r.message_id) FILTER (WHERE r.outcome IN ('stripe_taken', 'row_locked')), '{}') AS still
      INTO ended
      FROM pgtopic.replay_deliveries(job.webhook_id, ids || picked.ids, false) r;
    did := ended.replayed + ended.already_owed + ended.gone + picked.filtered;
    waits := did = 0 AND cardinality(ended.still) > 0 AND picked.last_id = after;
    state := pgtopic.end_job_step(
        job_id,
        json_build_object('after', picked.last_id, 'until', until, 'since', job.progress ->> 'since', 'before', job.progress ->> 'before',
                          'left', ended.still),
        ended.replayed, ended.already_owed, ended.gone, picked.filtered,
        CASE WHEN cardinality(ended.still) > 0 THEN pgtopic.partition_holder(ended.still[1], cardinality(ended.still)) END,
        picked.last_id >= until AND ended.still = '{}');
END
$$;
