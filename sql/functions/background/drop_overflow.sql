-- ----------------------------------------------------------------------
-- drop_overflow: give up some messages of a webhook that overflows. Each becomes
-- a dead letter ('overflow'; 'superseded' if the webhook keeps the latest
-- message).
--
-- A lane that a worker has claimed since the messages were listed is left, and
-- so is one that was halted. If the webhook overflows no more, or has them
-- refused, nothing is given up.
--
-- Parameters: webhook             the webhook
--             message_ids, lanes  rows of list_overflow, at most 1,000
--             leader              who does it
-- Returns:    one row: how many messages were given up; and the lanes of those
--             that were not, since something is locked or the lane is left.
-- Raises, locks: as cancel_deliveries, which does not wait for rows.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.drop_overflow(webhook bigint, message_ids bigint[], lanes bigint[], leader text,
                                                 OUT dropped bigint, OUT left_lanes bigint[])
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
DECLARE
    policy text := (SELECT w.on_overflow FROM pgtopic.webhooks w
                     WHERE w.id = webhook AND w.overflowing AND w.max_owed IS NOT NULL AND w.on_overflow <> 'refuse');
    ids    bigint[];
BEGIN
    dropped := 0;
    left_lanes := '{}';
    IF policy IS NULL THEN
        RETURN;
    END IF;
    ids := ARRAY(SELECT o.message_id
                   FROM unnest(message_ids, lanes) AS o (message_id, lane)
                  CROSS JOIN LATERAL (SELECT true AS is_free FROM pgtopic.lanes l
                                       WHERE l.webhook_id = webhook AND l.lane = o.lane AND l.claimed_by IS NULL AND NOT l.halted
                                       LIMIT 1) l);
    SELECT count(*) FILTER (WHERE o.outcome = 'removed'),
           coalesce(array_agg(DISTINCT o.lane) FILTER (WHERE o.outcome IS DISTINCT FROM 'removed' AND o.outcome IS DISTINCT FROM 'not_owed'), '{}')
      INTO dropped, left_lanes
      FROM (SELECT o.lane, r.outcome
              FROM unnest(message_ids, lanes) AS o (message_id, lane)
              LEFT JOIN pgtopic.cancel_deliveries(
                            webhook, ids, CASE policy WHEN 'keep_latest' THEN 'superseded' ELSE 'overflow' END, false, leader) r
                     ON r.message_id = o.message_id) o;
END
$$;
