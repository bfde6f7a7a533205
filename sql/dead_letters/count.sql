-- ----------------------------------------------------------------------
-- dead_letters/count: how many dead letters there are.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 webhook id or
--             null, $4 the LIKE patterns of the topics that may be seen, or
--             null for all.
-- Returns:    the count.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT count(*) AS count
  FROM pgtopic.dead_letters x
  JOIN pgtopic.webhooks w ON w.id = x.webhook_id
  JOIN pgtopic.topics t ON t.id = w.topic_id
 WHERE ($1::bigint IS NULL AND $2::text IS NULL OR t.id = $1::bigint OR t.name = $2::text)
   AND ($3::bigint IS NULL OR x.webhook_id = $3::bigint)
   AND ($4::text[] IS NULL OR t.name LIKE ANY ($4::text[]))
