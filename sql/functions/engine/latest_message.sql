-- ----------------------------------------------------------------------
-- latest_message: the newest message that a lane owes, replays aside, if its
-- webhook keeps the latest message.
--
-- The function has no SET. So PostgreSQL puts its text into the statement that
-- calls it.
--
-- Parameters: webhook, lane  the lane
--             after          the lane's position: nothing at or below it is owed
-- Returns:    one row; none if the webhook sends all messages, or the lane owes
--             none but replays.
-- Locks:      none.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.latest_message(webhook bigint, lane bigint, after bigint) RETURNS TABLE (id bigint)
LANGUAGE sql STABLE
AS $$
SELECT d.message_id
  FROM pgtopic.webhooks w
 CROSS JOIN LATERAL (
    SELECT d.message_id
      FROM pgtopic.deliveries d
     WHERE d.webhook_id = latest_message.webhook AND d.lane = latest_message.lane
       AND d.message_id > latest_message.after AND d.replayed_at IS NULL
     ORDER BY d.message_id DESC
     LIMIT 1) d
 WHERE w.id = latest_message.webhook AND w.on_overflow = 'keep_latest'
$$;
