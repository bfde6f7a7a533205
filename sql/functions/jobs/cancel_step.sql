-- ----------------------------------------------------------------------
-- cancel_step: a step of a job that cancels what a webhook is owed.
--
-- The job walks through the webhook's deliveries, lane by lane, once. Messages
-- that came after the job are left alone. Heads that a worker is sending are
-- left for the next step, and so are messages whose partition is taken.
--
-- Parameters, returns: as replay_step.
-- Locks:               the job's row; as cancel_deliveries.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.cancel_step(job_id bigint, at_most integer, OUT state text, OUT did bigint, OUT waits boolean)
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
    last_lane bigint := (job.progress ->> 'lane')::bigint;
    until    bigint := (job.progress ->> 'until')::bigint;
    picked   record;
    ended    record;
BEGIN
    state := job.state;
    did := 0;
    waits := false;
    IF job.state IS DISTINCT FROM 'running' THEN
        RETURN;
    END IF;
    WITH seen AS MATERIALIZED (
        SELECT d.lane, d.message_id
          FROM pgtopic.deliveries d
         WHERE d.webhook_id = job.webhook_id AND (d.lane, d.message_id) > (last_lane, after)
         ORDER BY d.lane, d.message_id
         LIMIT CASE WHEN room > 0 THEN looks ELSE 0 END
    ), asked AS MATERIALIZED (
        SELECT s.lane, s.message_id
          FROM seen s
         WHERE s.message_id > (job.progress ->> 'from')::bigint AND s.message_id <= until
           AND (job.filter ->> 'partition_key' IS NULL AND job.filter ->> 'type' IS NULL
                AND job.progress ->> 'since' IS NULL AND job.progress ->> 'before' IS NULL
                OR EXISTS (SELECT
                             FROM pgtopic.messages m
                            WHERE m.id = s.message_id
                              AND m.partition_key = coalesce(job.filter ->> 'partition_key', m.partition_key)
                              AND (job.filter ->> 'type' IS NULL OR m.type = job.filter ->> 'type')
                              AND m.created_at >= coalesce((job.progress ->> 'since')::timestamptz, '-infinity')
                              AND m.created_at < coalesce((job.progress ->> 'before')::timestamptz, 'infinity')))
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
    SELECT count(*) FILTER (WHERE r.outcome = 'removed') AS done,
           count(*) FILTER (WHERE r.outcome = 'not_owed') AS gone,
           coalesce(array_agg(r.message_id ORDER BY r.message_id)
                        FILTER (WHERE r.outcome IN ('stripe_taken', 'row_locked', 'in_flight')), '{}') AS still,
           min(r.message_id) FILTER (WHERE r.outcome = 'in_flight') AS in_flight
      INTO ended
      FROM pgtopic.cancel_deliveries(job.webhook_id, ids || picked.ids, 'canceled', false, job.created_by) r;
    did := ended.done + ended.gone;
    waits := did = 0 AND cardinality(ended.still) > 0 AND picked.last = ARRAY[last_lane, after];
    state := pgtopic.end_job_step(
        job_id,
        json_build_object('lane', picked.last[1], 'after', picked.last[2], 'from', job.progress -> 'from', 'until', until,
                          'since', job.progress ->> 'since', 'before', job.progress ->> 'before', 'left', ended.still),
        ended.done, 0, ended.gone, 0,
        CASE WHEN ended.in_flight IS NOT NULL THEN format('message %s, which a worker is sending', ended.in_flight)
             WHEN cardinality(ended.still) > 0 THEN pgtopic.partition_holder(ended.still[1], cardinality(ended.still)) END,
        picked.is_end AND ended.still = '{}');
END
$$;
