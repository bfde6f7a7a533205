-- ----------------------------------------------------------------------
-- list_overflow: the messages that an overflowing webhook gives up first.
--
-- These are its oldest ones. Of a webhook that keeps the latest message, they
-- are the oldest of those that are not the newest of their lanes. Replays stay,
-- and so does what lies in lanes that a worker holds or that are halted.
--
-- Parameters: webhook    the webhook
--             at_most    how many messages to list
--             left_out   lanes whose messages are not to be listed
-- Returns:    the messages by rising id, and their lanes.
-- Locks:      none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.list_overflow(webhook bigint, at_most bigint, left_out bigint[])
RETURNS TABLE (message_id bigint, lane bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.message_id, l.lane
      FROM (SELECT l.lane, l.position, latest.id AS latest
              FROM pgtopic.lanes l
              LEFT JOIN LATERAL pgtopic.latest_message(webhook, l.lane, l.position) latest ON true
             WHERE l.webhook_id = webhook AND l.claimed_by IS NULL AND NOT l.halted AND l.lane <> ALL (left_out)
            OFFSET 0) l
     CROSS JOIN LATERAL (
        SELECT d.message_id
          FROM pgtopic.deliveries d
         WHERE d.webhook_id = webhook AND d.lane = l.lane AND d.message_id > l.position AND d.replayed_at IS NULL
           AND d.message_id IS DISTINCT FROM l.latest
         ORDER BY d.message_id
         LIMIT at_most) d
     ORDER BY d.message_id
     LIMIT at_most;
END
$$;
