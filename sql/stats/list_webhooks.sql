-- ----------------------------------------------------------------------
-- stats/list_webhooks: the figures of webhooks, most owed first.
--
-- Parameters: $1 topic id or null, $2 how many rows at most.
-- Returns:    one row for each webhook. What is published is not known for those
--             with a filter or types.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.id AS webhook_id, w.name AS webhook, t.name AS topic, w.state, w.paused, w.disabled_reason, s.failing_since,
       CASE WHEN pgtopic.is_held(w.hold_until) THEN w.hold_until END AS hold_until,
       coalesce(s.owed, 0) AS owed, coalesce(s.owed_capped, false) AS owed_capped, s.oldest_owed_at,
       coalesce(s.ready, 0) AS ready, coalesce(s.claimed, 0) AS claimed, coalesce(s.waiting, 0) AS waiting,
       coalesce(s.halted, 0) AS halted, coalesce(s.dead_letters, 0) AS dead_letters,
       coalesce(s.dead_letters_capped, false) AS dead_letters_capped, coalesce(s.in_flight, 0) AS in_flight,
       coalesce(s.accepted, 0) AS accepted, coalesce(s.failed, 0) AS failed,
       CASE WHEN w.filter IS NULL AND w.types IS NULL THEN coalesce(x.published_per_second, 0) END AS published_per_second,
       coalesce(s.latency, '{}') AS latency
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
  LEFT JOIN pgtopic.webhook_samples s ON s.webhook_id = w.id
  LEFT JOIN pgtopic.topic_samples x ON x.topic_id = w.topic_id
 WHERE $1::bigint IS NULL OR w.topic_id = $1::bigint
 ORDER BY coalesce(s.owed, 0) DESC, w.id
 LIMIT $2::bigint
