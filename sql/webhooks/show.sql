-- ----------------------------------------------------------------------
-- webhooks/show: the columns that are shown of webhooks. This is the end of
-- each statement that shows webhooks. It follows a WITH that names them `w`.
--
-- Returns: the webhooks of w that have a topic, by rising id. No secrets are
--          shown. Of the headers, which may hold credentials, only the names
--          are.
-- ----------------------------------------------------------------------
SELECT w.id, w.topic_id, t.name AS topic, w.name, w.url, ARRAY(SELECT json_object_keys(w.headers)) AS header_names,
       w.types, w.filter::text AS filter,
       coalesce(w.format, CASE WHEN w.batch_size > 1 THEN 'envelope' ELSE 'raw' END) AS format, w.batch_size, w.max_retries, w.backoff_factor, w.max_backoff_seconds,
       w.timeout_seconds, w.on_exhausted, w.max_in_flight, w.rate_limit_per_second, w.state, w.paused, w.disabled_reason,
       w.created_at
  FROM w
  JOIN pgtopic.topics t ON t.id = w.topic_id
 ORDER BY w.id
