-- ----------------------------------------------------------------------
-- dead_letters/list_groups: dead letters by webhook, reason, failure and hour.
--
-- Parameters: $1 to $11 as dead_letters/list; $12 limit.
-- Returns:    groups: the newest hour first, and in an hour the largest first.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT g.*, w.name AS webhook, t.name AS topic, sample.last_error AS sample_error
  FROM (
    SELECT x.webhook_id, x.reason, x.error_class, x.status_code,
           date_bin('1 hour', x.created_at, '1970-01-01Z') AS hour,
           count(*) AS count, min(x.created_at) AS first_at, max(x.created_at) AS last_at, max(x.id) AS sample_id
      FROM pgtopic.dead_letters x
     WHERE ($3::bigint IS NULL OR x.webhook_id = $3::bigint)
       AND x.webhook_id IN (
            SELECT w.id FROM pgtopic.webhooks w
              JOIN pgtopic.topics t ON t.id = w.topic_id
             WHERE ($1::bigint IS NULL AND $2::text IS NULL OR t.id = $1::bigint OR t.name = $2::text)
               AND ($4::text[] IS NULL OR t.name LIKE ANY ($4::text[])))
       AND pgtopic.dead_letter_fits(x, $5::text, $6::text, $7::text, $8::text, $9::bigint, $10::timestamptz, $11::timestamptz)
     GROUP BY x.webhook_id, x.reason, x.error_class, x.status_code, date_bin('1 hour', x.created_at, '1970-01-01Z')
     ORDER BY hour DESC, count DESC
     LIMIT $12::bigint) g
  JOIN pgtopic.webhooks w ON w.id = g.webhook_id
  JOIN pgtopic.topics t ON t.id = w.topic_id
  JOIN pgtopic.dead_letters sample ON sample.id = g.sample_id
 ORDER BY g.hour DESC, g.count DESC, g.sample_id DESC
