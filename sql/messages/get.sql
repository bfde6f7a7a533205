-- ----------------------------------------------------------------------
-- messages/get: one message, and where it stands with the webhooks of its
-- topic.
--
-- Parameters: $1 message id, $2 the most deliveries to return.
-- Returns:    the message, and three arrays with one element for each webhook
--             that was or is owed it. Nothing if there is no such message.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT m.id, t.name AS topic, m.partition_key, m.type, m.idempotency_key, m.created_at,
       m.payload::text AS payload, m.headers::text AS headers, d.webhook_ids, d.statuses, d.attempts
  FROM pgtopic.messages m
  JOIN pgtopic.topics t ON t.id = m.topic_id
 CROSS JOIN LATERAL (
    SELECT array_agg(d.webhook_id ORDER BY d.webhook_id) AS webhook_ids,
           array_agg(d.status ORDER BY d.webhook_id)     AS statuses,
           array_agg(d.attempts ORDER BY d.webhook_id)   AS attempts
      FROM (
        SELECT w.id AS webhook_id, s.status, s.attempts
          FROM pgtopic.webhooks w
         CROSS JOIN LATERAL pgtopic.delivery_state(w.id, m.lane, m.id) s
         WHERE w.topic_id = m.topic_id
         ORDER BY w.id
         LIMIT $2::bigint) d) d
 WHERE m.id = $1::bigint
