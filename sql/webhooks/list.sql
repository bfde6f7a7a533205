-- ----------------------------------------------------------------------
-- webhooks/list: a page of webhooks, by rising id.
--
-- Parameters: $1 the id where the page before ended, $2 limit.
-- Returns:    webhooks.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.id, w.topic_id, t.name AS topic, w.url, ARRAY(SELECT json_object_keys(w.headers)) AS header_names,
       w.filter::text AS filter, w.format, w.batch_size, w.max_retries, w.backoff_factor, w.max_backoff_seconds,
       w.timeout_seconds, w.on_exhausted, w.max_in_flight, w.rate_limit_per_second, w.state, w.paused, w.disabled_reason,
       w.created_at
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
 WHERE w.id > $1::bigint
 ORDER BY w.id
 LIMIT $2::bigint
