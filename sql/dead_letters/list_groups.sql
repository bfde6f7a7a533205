-- ----------------------------------------------------------------------
-- dead_letters/list_groups: dead letters by webhook, reason, failure and hour.
--
-- Parameters: $1 to $11 as dead_letters/list; $12 the most dead letters of
--             a webhook to look at, $13 limit.
-- Returns:    groups: the newest hour first, and in an hour the largest first.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT g.webhook_id, g.reason_given AS reason, g.error_class_given AS error_class, g.status_code_given AS status_code, g.hour,
       g.count, g.first_at, g.last_at, g.sample_id, g.capped, w.name AS webhook, t.name AS topic, sample.last_error AS sample_error
  FROM pgtopic.dead_letter_groups(
        ARRAY(SELECT w.id FROM pgtopic.webhooks w
                JOIN pgtopic.topics t ON t.id = w.topic_id
               WHERE ($1::bigint IS NULL AND $2::text IS NULL OR t.id = $1::bigint OR t.name = $2::text)
                 AND ($3::bigint IS NULL OR w.id = $3::bigint)
                 AND ($4::text[] IS NULL OR t.name LIKE ANY ($4::text[]))),
        $5::text, $6::text, $7::text, $8::text, $9::bigint, $10::timestamptz, $11::timestamptz, $12::bigint, $13::bigint) g
 CROSS JOIN LATERAL (SELECT w.name, w.topic_id FROM pgtopic.webhooks w WHERE w.id = g.webhook_id LIMIT 1) w
 CROSS JOIN LATERAL (SELECT t.name FROM pgtopic.topics t WHERE t.id = w.topic_id LIMIT 1) t
 CROSS JOIN LATERAL (SELECT x.last_error FROM pgtopic.dead_letters x WHERE x.id = g.sample_id LIMIT 1) sample
 ORDER BY g.hour DESC, g.count DESC, g.sample_id DESC
