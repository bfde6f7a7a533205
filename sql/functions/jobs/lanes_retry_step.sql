-- ----------------------------------------------------------------------
-- lanes_retry_step: a step of a job that makes lanes of a webhook due now.
--
-- The job walks through the webhook's lanes, once. With a state it takes only
-- lanes that wait, or only halted ones.
--
-- Parameters, returns: as step_job. It never waits.
-- Locks:               as retry_lanes.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.lanes_retry_step(
    job pgtopic.jobs, at_most integer, OUT progress json, OUT done bigint, OUT already_owed bigint, OUT gone bigint, OUT filtered bigint,
    OUT waits_for text, OUT finished boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
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
