-- ----------------------------------------------------------------------
-- dead_letters/get: one dead letter with its message.
--
-- Parameters: $1 id.
-- Returns:    the dead letter; payload and headers are null if the message was
--             deleted. Nothing if there is no such dead letter.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT x.id, x.webhook_id, w.name AS webhook, t.name AS topic, x.message_id, x.partition_key, x.type, x.reason, x.attempts,
       x.error_class, x.status_code, x.last_error, x.created_at, m.id IS NULL AS message_gone,
       m.payload::text AS payload, m.headers::text AS headers
  FROM pgtopic.dead_letters x
  JOIN pgtopic.webhooks w ON w.id = x.webhook_id
  JOIN pgtopic.topics t ON t.id = w.topic_id
  LEFT JOIN pgtopic.messages m ON m.id = x.message_id
 WHERE x.id = $1::bigint
