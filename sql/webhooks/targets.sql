-- Webhooks, as a request to them needs them: all of them; webhooks/of_id after it names one.
-- Parameters: none. Returns: one row for each webhook. The last columns are its xmin, which names
-- the version of the row that was read, whether its topic is ordered, more of its policy, for how
-- many seconds it is held, its policy of the breaker, whether only the newest message of a lane is
-- sent, and its name. Locks: none.
SELECT w.id, t.name, w.url, w.secrets, w.headers::text,
       pgtopic.body_format(w.format, w.batch_size), w.batch_size, w.max_retries, w.backoff_factor,
       w.max_backoff_seconds, w.timeout_seconds, w.on_exhausted, w.max_in_flight, w.rate_limit_per_second,
       w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND t.paused IS DISTINCT FROM 'hold', w.xmin::text,
       t.ordering = 'partition', w.retry_schedule, w.permanent_statuses,
       CASE WHEN pgtopic.is_held(w.hold_until) THEN extract(epoch FROM w.hold_until - clock_timestamp())::float8 END,
       w.max_age_seconds, w.breaker, w.on_overflow = 'keep_latest', w.name AS webhook
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
