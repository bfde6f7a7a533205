-- ----------------------------------------------------------------------
-- deliveries/list_given_up: the same for deliveries that are dead letters.
--
-- Goes down the dead letters. One page looks at no more than $10 of them.
--
-- Parameters: as deliveries/list; $3 is dead, canceled or superseded.
-- Returns:    as deliveries/list; scanned_webhook is the webhook that was looked
--             at last. A dead letter whose message was
--             deleted is left out: the list of dead letters has it.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH looked AS MATERIALIZED (
    (SELECT x.webhook_id, x.message_id FROM pgtopic.dead_letters x
      WHERE $1::bigint IS NULL AND x.message_id <= $7::bigint AND (x.message_id < $7::bigint OR x.webhook_id > $8::bigint)
      ORDER BY x.message_id DESC, x.webhook_id LIMIT $10::bigint)
    UNION ALL
    (SELECT x.webhook_id, x.message_id FROM pgtopic.dead_letters x
      WHERE $1::bigint IS NOT NULL AND x.webhook_id = $1::bigint AND x.message_id <= $7::bigint AND (x.message_id < $7::bigint OR x.webhook_id > $8::bigint)
      ORDER BY x.webhook_id DESC, x.message_id DESC LIMIT $10::bigint)
)
SELECT d.*, CASE WHEN count(d.message_id) OVER () < $9::bigint THEN l.message_id END AS scanned_to, l.webhook_id AS scanned_webhook
  FROM (SELECT) one
  LEFT JOIN LATERAL (SELECT x.message_id, x.webhook_id FROM looked x ORDER BY x.message_id DESC, x.webhook_id
                     OFFSET $10::bigint - 1 LIMIT 1) l ON true
  LEFT JOIN LATERAL (
    SELECT w.id AS webhook_id, w.name AS webhook, t.name AS topic, m.id AS message_id, m.partition_key, m.type, m.created_at, s.*
      FROM (SELECT x.webhook_id, x.message_id FROM looked x ORDER BY x.message_id DESC, x.webhook_id) x
     CROSS JOIN LATERAL (SELECT m.* FROM pgtopic.messages m WHERE m.id = x.message_id LIMIT 1) m
     CROSS JOIN LATERAL (SELECT w.id, w.name FROM pgtopic.webhooks w WHERE w.id = x.webhook_id LIMIT 1) w
     CROSS JOIN LATERAL (SELECT t.name FROM pgtopic.topics t WHERE t.id = m.topic_id LIMIT 1) t
     CROSS JOIN LATERAL pgtopic.delivery_state(w.id, m.lane, m.id) s
     WHERE ($2::text[] IS NULL OR t.name LIKE ANY ($2::text[]))
       AND s.status = $3::text
       AND ($4::text IS NULL OR m.partition_key = $4::text)
       AND ($5::text IS NULL OR m.type = $5::text)
       AND ($6::bigint IS NULL OR m.topic_id = $6::bigint)
     ORDER BY x.message_id DESC, x.webhook_id
     LIMIT $9::bigint) d ON true
 ORDER BY d.message_id DESC, d.webhook_id
