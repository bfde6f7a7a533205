-- All webhooks as a worker needs them.
-- Parameters: none. Returns: one row a webhook, last the xmin that says which version of it was
-- read. Locks: none.
SELECT w.id, t.name, w.url, w.secrets, w.headers::text, w.format, w.batch_size, w.max_retries, w.backoff_factor,
       w.max_backoff_seconds, w.timeout_seconds, w.on_exhausted, w.max_in_flight, w.rate_limit_per_second,
       w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL, w.xmin::text
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
