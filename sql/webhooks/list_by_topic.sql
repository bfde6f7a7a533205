-- ----------------------------------------------------------------------
-- webhooks/list_by_topic: a page of a topic's webhooks, by rising id.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 the id where
--             the page before ended, $4 limit.
-- Returns:    webhooks; one row with a null id where the page is empty,
--             nothing if there is no such topic.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.id, w.topic_id, t.name AS topic, w.url, ARRAY(SELECT json_object_keys(w.headers)) AS header_names,
       w.filter::text AS filter, w.format, w.batch_size, w.max_retries, w.backoff_factor, w.max_backoff_seconds,
       w.timeout_seconds, w.on_exhausted, w.max_in_flight, w.rate_limit_per_second, w.state, w.paused, w.disabled_reason,
       w.created_at
  FROM pgtopic.topics t
  LEFT JOIN LATERAL (SELECT *
                       FROM pgtopic.webhooks w
                      WHERE w.topic_id = t.id AND w.id > $3::bigint
                      ORDER BY w.id
                      LIMIT $4::bigint) w ON true
 WHERE t.id = $1::bigint OR t.name = $2::text
 ORDER BY w.id
