-- ----------------------------------------------------------------------
-- publish_events: publish changes of state to the topic of events, each one
-- once. The type is the kind of the change. The key is topic:webhook; of a
-- change of a worker it is "workers".
--
-- Parameters:
--   at_most   how many to publish
--
-- Returns: how many were published. If nobody subscribes any more, marked changes
--          are dropped.
-- Raises:  as an INSERT into messages: the topic may be paused.
-- Locks:   the changes FOR UPDATE SKIP LOCKED; as an INSERT into messages.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.publish_events(at_most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
DECLARE
    published integer;
BEGIN
    WITH due AS MATERIALIZED (
        SELECT c.id FROM pgtopic.changes c WHERE c.is_event ORDER BY c.id LIMIT at_most FOR UPDATE SKIP LOCKED
    ), told AS (
        UPDATE pgtopic.changes c SET is_event = false FROM due WHERE c.id = due.id
        RETURNING c.*
    )
    INSERT INTO pgtopic.messages (topic_id, partition_key, type, payload)
    SELECT events.topic_id, coalesce(t.name || ':' || coalesce(w.name, c.webhook_id::text), 'workers'), c.kind,
           json_build_object('type', c.kind, 'at', to_char(c.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                             'topic', t.name, 'webhook_id', c.webhook_id, 'webhook', w.name,
                             'partition_key', c.partition_key, 'message_id', c.message_id, 'worker', c.worker_id,
                             'reason', c.reason, 'changed_by', c.changed_by)
      FROM told c
      JOIN pgtopic.events_topic() AS events (topic_id) ON events.topic_id IS NOT NULL
      LEFT JOIN pgtopic.topics t ON t.id = c.topic_id
      LEFT JOIN pgtopic.webhooks w ON w.id = c.webhook_id
     ORDER BY c.id;
    GET DIAGNOSTICS published = ROW_COUNT;
    RETURN published;
END
$$;
