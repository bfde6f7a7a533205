-- ----------------------------------------------------------------------
-- repair_due_at: bring back what a step of the clock has left in the future.
--
-- due_at is written with the server's clock. Once that has been stepped back
-- by an hour (or a standby whose clock is behind was promoted), a lane that
-- was ready would wait for an hour. The rule: a lane is due at most
-- wait_seconds from now, and one that is ready at once. Where due_at lies
-- further ahead, it is written anew.
--
-- A look at some of the lanes that are due later, by webhook and due_at; the
-- caller looks on where it ended. In the index there is nothing else behind
-- the present, halted lanes aside, so without lanes that wait it is one probe
-- a webhook.
--
-- Parameters: after_webhook, after_due_at  where the last look ended; 0 and
--                                          1970 begin anew
--             lanes_at_most                how many to look at
-- Returns:    one row: how many were corrected, and where the look ended; null
--             where it came to the end.
-- Locks:      the lanes it corrects, SKIP LOCKED. No flush.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.repair_due_at(after_webhook bigint, after_due_at timestamptz, lanes_at_most integer)
RETURNS TABLE (corrected bigint, webhook_id bigint, due_at timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
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
               -- One that is held, too, if its holder is gone: a sweep finds it when it is due.
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
        -- By the rows' places: a join made for a small table would go through all lanes for each of
        -- many. A row that was written since is in another place, and left alone.
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
