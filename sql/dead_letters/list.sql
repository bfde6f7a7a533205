-- ----------------------------------------------------------------------
-- dead_letters/list: a page of dead letters, newest first.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 webhook id or
--             null, $4 the id below which the page begins, $5 limit, $6 the
--             LIKE patterns of the topics that may be seen, or null for all.
-- Returns:    dead letters.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT x.id, x.webhook_id, t.name AS topic, x.message_id, x.partition_key, x.reason, x.attempts,
       x.last_error, x.created_at
  FROM pgtopic.dead_letters x
  JOIN pgtopic.webhooks w ON w.id = x.webhook_id
  JOIN pgtopic.topics t ON t.id = w.topic_id
 WHERE ($1::bigint IS NULL AND $2::text IS NULL OR t.id = $1::bigint OR t.name = $2::text)
   AND ($3::bigint IS NULL OR x.webhook_id = $3::bigint)
   AND ($6::text[] IS NULL OR t.name LIKE ANY ($6::text[]))
   AND x.id < $4::bigint
 ORDER BY x.id DESC
 LIMIT $5::bigint
