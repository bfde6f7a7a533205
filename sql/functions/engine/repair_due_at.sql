-- ----------------------------------------------------------------------
-- repair_due_at: repair lanes that a step of the clock has put into the future.
--
-- due_at is written with the server's clock. Suppose that this clock is stepped
-- back by an hour, or that a standby with a clock that is behind is promoted.
-- Then a lane that was ready would wait for an hour. The rule: a lane is due at
-- most wait_seconds from now, and a ready lane is due now. If due_at breaks the
-- rule, it is written again.
--
-- One call looks at some of the lanes that are due later, by webhook and
-- due_at. The caller goes on where the last call ended. Behind the present, the
-- index holds only lanes that wait or are halted. So without waiting lanes a
-- call costs one index probe for each webhook.
--
-- Parameters: after_webhook, after_due_at  where the last call ended; 0 and
--                                          1970 begin a new round
--             lanes_at_most                the most lanes to look at
-- Returns:    one row: how many lanes were repaired, and where the call ended;
--             null if it came to the end of the round.
-- Locks:      the lanes that it repairs, SKIP LOCKED. No flush.
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
