-- ----------------------------------------------------------------------
-- owe_messages: have a webhook owe some messages (again).
--
-- As owe_deliveries, for messages that were delivered, canceled or given up, or
-- that are older than the webhook. Whether the webhook ever was owed a message
-- is not looked at; nor do its filter and types count.
--
-- Parameters:
--   webhook_id   the webhook
--   message_ids  each once; at most 10,000
--   replayed_at  when a replay asked for it; null: it is no replay
--   waits        as lock_lane: true for one message only
--
-- Returns: a row for each id, by rising id, with its outcome: as
--          owe_deliveries; 'message_gone' also if the message is one of another
--          topic. No row at all if there is no such webhook.
-- Raises:  25000 not at READ COMMITTED; as lock_lane.
-- Locks:   as owe_deliveries. Waits end after 1 s.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.owe_messages(webhook_id bigint, message_ids bigint[], replayed_at timestamptz, waits boolean)
RETURNS TABLE (message_id bigint, outcome text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
SET lock_timeout = '1s'
AS $$
#variable_conflict use_column
DECLARE
    topic bigint := (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = owe_messages.webhook_id);
    found pgtopic.deliveries[];
BEGIN
    PERFORM pgtopic.require_read_committed();
    IF topic IS NULL THEN
        RETURN;
    END IF;
    SELECT coalesce(array_agg((owe_messages.webhook_id, m.lane, m.id, owe_messages.replayed_at)::pgtopic.deliveries
                              ORDER BY m.lane, m.id), '{}')
      INTO found
      FROM unnest(message_ids) AS asked (id)
     CROSS JOIN LATERAL (SELECT m.id, m.lane, m.topic_id FROM pgtopic.messages m WHERE m.id = asked.id LIMIT 1) m
     WHERE m.topic_id = topic;
    RETURN QUERY
    SELECT a.message_id, a.outcome
      FROM unnest(found, pgtopic.owe_deliveries(found, false, waits)) AS a (webhook_id, lane, message_id, replayed_at, outcome)
     UNION ALL
    SELECT g.id, 'message_gone'
      FROM (SELECT asked.id FROM unnest(message_ids) AS asked (id) EXCEPT SELECT f.message_id FROM unnest(found) f) g
     ORDER BY 1;
END
$$;
