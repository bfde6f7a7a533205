-- ----------------------------------------------------------------------
-- pick_messages: the next messages of a range that a replay or a backfill deals
-- with, by rising id.
--
-- The job's filter applies, and types and filter of the webhook as they are now.
-- It looks at 10,000 messages at most.
--
-- Parameters: the job. Of its progress: after and until (ids), since and before
--             (times); at_most: how many messages
-- Returns:    ids; filtered: how many the webhook does not get; last_id: where
--             the next call begins.
-- Locks:      none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.pick_messages(job pgtopic.jobs, at_most integer, OUT ids bigint[], OUT filtered bigint, OUT last_id bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
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
