-- ----------------------------------------------------------------------
-- list_due_webhooks: which webhooks have a lane that can be claimed now. A claim
-- then asks for these webhooks alone.
--
-- Each step looks at one webhook: the next one that has an unclaimed lane, and
-- the earliest of its unclaimed lanes (a loose index scan of lanes_due). So
-- webhooks without such a lane cost nothing, and a webhook with a million lanes
-- costs as much as one with a single lane. Lanes that workers hold, and row
-- versions that an old snapshot keeps, are walked over.
--
-- Parameters:
--   after     the webhook after which to begin; null: at the first one
--   at_most   how many webhooks to look at
--   sweep     whether a lane counts also if its holder is gone or not registered
--
-- Returns: webhook_id and due_at of each webhook that has a lane to claim, by
--          rising id. due_at is that of the earliest such lane: a claim may
--          begin there (due_after). Webhooks that are paused, disabled, held or
--          starting, or whose topic is on hold, are left out. If at_most
--          webhooks were looked at, ended is false in the last row, and the
--          next call begins after its webhook; due_at is null there if that
--          webhook has nothing to claim. Otherwise ended is true in all rows.
-- Locks:   none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.list_due_webhooks(after bigint, at_most integer, sweep boolean)
RETURNS TABLE (webhook_id bigint, due_at timestamptz, ended boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE looked AS (
        SELECT coalesce(list_due_webhooks.after, -9223372036854775808) AS webhook_id, NULL::timestamptz AS due_at, 0 AS number
        UNION ALL
        SELECT next.webhook_id, next.due_at, looked.number + 1
          FROM looked
         CROSS JOIN LATERAL (
            SELECT l.webhook_id + 0 AS webhook_id, l.due_at
              FROM pgtopic.lanes l
             WHERE l.webhook_id + 0 > looked.webhook_id
               AND (l.claimed_by IS NULL
                    OR list_due_webhooks.sweep
                       AND NOT EXISTS (SELECT FROM pgtopic.workers o WHERE o.id = l.claimed_by AND NOT o.gone))
             ORDER BY l.webhook_id + 0, l.due_at
             LIMIT 1
         ) next
         WHERE looked.number < list_due_webhooks.at_most
    )
    SELECT looked.webhook_id, due.due_at, looked.number < list_due_webhooks.at_most
      FROM looked
      LEFT JOIN LATERAL (
        SELECT looked.due_at
          FROM pgtopic.webhooks w
          JOIN pgtopic.topics t ON t.id = w.topic_id AND t.paused IS DISTINCT FROM 'hold'
         WHERE w.id = looked.webhook_id AND looked.due_at <= statement_timestamp()
           AND w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND NOT pgtopic.is_held(w.hold_until)
         LIMIT 1
      ) due ON true
     WHERE due.due_at IS NOT NULL OR looked.number = list_due_webhooks.at_most;
END
$$;
