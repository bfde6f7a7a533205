-- ----------------------------------------------------------------------
-- release_lanes: make some lanes of a gone worker ready: one step of several.
--
-- The steps go through all lanes in primary-key order. No index knows who holds
-- a lane, since every claim would have to write an entry. A lane that somebody
-- has locked is left: a sweep takes it when it is free.
--
-- Parameters:
--   worker                     the worker, which is marked gone
--   after_webhook, after_lane  where the last step ended; twice the least
--                              bigint begins
--   lanes_at_most              the most lanes to look at
--
-- Returns: one row: how many lanes were released, how many of the worker's
--          lanes were left, and where the step ended; null if that was the end.
-- Locks:   the lanes FOR UPDATE SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.release_lanes(worker uuid, after_webhook bigint, after_lane bigint, lanes_at_most integer)
RETURNS TABLE (released bigint, locked bigint, webhook_id bigint, lane bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
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
