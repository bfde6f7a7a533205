-- ----------------------------------------------------------------------
-- why/get_message: a message, as far as its webhooks need not be known.
--
-- Parameters: $1 message id.
-- Returns:    its topic, key, lane and time, and, if its topic is held, since
--             when and by whom as far as the audit log tells. Nothing if there
--             is no such message.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.id AS topic_id, t.name AS topic, t.paused IS NOT DISTINCT FROM 'hold' AS held, c.created_at AS held_since,
       c.changed_by AS held_by, m.partition_key, m.lane, m.created_at, t.ordering = 'partition' AS ordered
  FROM pgtopic.messages m
  JOIN pgtopic.topics t ON t.id = m.topic_id
  LEFT JOIN LATERAL (
    SELECT c.created_at, c.changed_by
      FROM (SELECT c.id, c.topic_id, c.kind, c.created_at, c.changed_by
              FROM pgtopic.changes c
             WHERE c.webhook_id IS NULL
             ORDER BY c.id DESC
             LIMIT 1000) c
     WHERE t.paused = 'hold' AND c.topic_id = t.id AND c.kind = 'topic.paused'
     ORDER BY c.id DESC
     LIMIT 1) c ON true
 WHERE m.id = $1::bigint
