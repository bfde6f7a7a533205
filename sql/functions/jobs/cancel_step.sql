-- ----------------------------------------------------------------------
-- cancel_step: a step of a job that cancels what a webhook is owed.
--
-- The job walks through the webhook's deliveries, lane by lane, once. Messages
-- that came after the job are left alone. Heads that a worker is sending are
-- left for the next step, and so are messages whose partition is taken.
--
-- Parameters, returns: as step_job.
-- Locks:               as cancel_deliveries.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.cancel_step(
    job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint,
    OUT waits_for text, OUT finished boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
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
