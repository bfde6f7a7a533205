-- ----------------------------------------------------------------------
-- wake_lanes: make lanes due that wait for the end of a back-off, when their
-- webhook's breaker has closed. Their failures stay.
--
-- A step goes through the lanes by rising id, and the row of the breaker says
-- how far it has come. So whoever calls next goes on there. Lanes that a worker
-- holds, or whose row somebody has locked, are left.
--
-- Parameters: webhook_id; at_most, through how many lanes to go.
-- Returns:    more  further lanes follow
--             done  this was the last step
--             none  there is nothing to do, or another worker is at it
-- Raises:     25000 not at READ COMMITTED.
-- Locks:      the breaker's row and the lanes, SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.wake_lanes(webhook_id bigint, at_most integer) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
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
