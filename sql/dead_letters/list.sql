-- ----------------------------------------------------------------------
-- dead_letters/list: a page of dead letters, newest first.
--
-- One page looks at no more than $13 of them.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 webhook id or
--             null, $4 the LIKE patterns of the topics that may be seen, or
--             null for all; $5 to $11 as dead_letter_fits; $12 the id below
--             which the page begins, $13 the most to look at, $14 limit.
-- Returns:    dead letters. If the page is short, but more may follow,
--             scanned_to is the id that was looked at last; else null. One row
--             with a null id if the page is empty.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH looked AS MATERIALIZED (
    (SELECT x.id FROM pgtopic.dead_letters x
      WHERE $3::bigint IS NULL AND x.id < $12::bigint
      ORDER BY x.id DESC LIMIT $13::bigint)
    UNION ALL
    (SELECT x.id FROM pgtopic.dead_letters x
      WHERE $3::bigint IS NOT NULL AND x.webhook_id + 0 = $3::bigint AND x.id < $12::bigint
      ORDER BY x.webhook_id + 0 DESC, x.id DESC LIMIT $13::bigint)
)
SELECT d.*, CASE WHEN count(d.id) OVER () < $14::bigint AND s.looked_at = $13::bigint THEN s.last_id END AS scanned_to
  FROM (SELECT count(*) AS looked_at, min(looked.id) AS last_id FROM looked) s
  LEFT JOIN LATERAL (
    SELECT x.id, x.webhook_id, w.name AS webhook, t.name AS topic, x.message_id, x.partition_key, x.type, x.reason, x.attempts,
           x.error_class, x.status_code, x.last_error, x.created_at,
           NOT EXISTS (SELECT FROM pgtopic.messages m WHERE m.id = x.message_id) AS message_gone
      FROM (SELECT looked.id FROM looked ORDER BY looked.id DESC) looked
     CROSS JOIN LATERAL (
        SELECT x.* FROM pgtopic.dead_letters x
         WHERE x.id = looked.id
           AND pgtopic.dead_letter_fits(x, $5::text, $6::text, $7::text, $8::text, $9::bigint, $10::timestamptz, $11::timestamptz)
         LIMIT 1) x
     CROSS JOIN LATERAL (SELECT w.name, w.topic_id FROM pgtopic.webhooks w WHERE w.id = x.webhook_id LIMIT 1) w
     CROSS JOIN LATERAL (SELECT t.name, t.id FROM pgtopic.topics t WHERE t.id = w.topic_id LIMIT 1) t
     WHERE ($1::bigint IS NULL AND $2::text IS NULL OR t.id = $1::bigint OR t.name = $2::text)
       AND ($4::text[] IS NULL OR t.name LIKE ANY ($4::text[]))
     ORDER BY looked.id DESC
     LIMIT $14::bigint) d ON true
 ORDER BY d.id DESC
