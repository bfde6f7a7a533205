-- ----------------------------------------------------------------------
-- dead_letters/count: how many dead letters there are.
--
-- Parameters: $1 to $11 as dead_letters/list.
-- Returns:    the exact count.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT count(*) AS count
  FROM pgtopic.dead_letters x
  JOIN pgtopic.webhooks w ON w.id = x.webhook_id
  JOIN pgtopic.topics t ON t.id = w.topic_id
 WHERE ($1::bigint IS NULL AND $2::text IS NULL OR t.id = $1::bigint OR t.name = $2::text)
   AND ($3::bigint IS NULL OR x.webhook_id = $3::bigint)
   AND ($4::text[] IS NULL OR t.name LIKE ANY ($4::text[]))
   AND pgtopic.dead_letter_fits(x, $5::text, $6::text, $7::text, $8::text, $9::bigint, $10::timestamptz, $11::timestamptz)
