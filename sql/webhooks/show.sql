-- ----------------------------------------------------------------------
-- webhooks/show: the columns that are shown of webhooks. This is the end of
-- each statement that shows webhooks. It follows a WITH that names them `w`.
--
-- Returns: the webhooks of w that have a topic, by rising id. No secrets are
--          shown. Of the headers, which may hold credentials, only the names
--          are. Their health is as the leader saw it last; said_at and said_why
--          are of the last change of the audit log that disabled or paused
--          them, if it is among the last 1,000 of the webhook.
-- ----------------------------------------------------------------------
SELECT w.id, w.topic_id, t.name AS topic, w.name, w.url, ARRAY(SELECT json_object_keys(w.headers)) AS header_names,
       w.types, w.filter::text AS filter,
       pgtopic.body_format(w.format, w.batch_size) AS format, w.batch_size, w.max_retries, w.backoff_factor, w.max_backoff_seconds,
       w.retry_schedule, w.permanent_statuses, w.timeout_seconds, w.on_exhausted, w.max_in_flight, w.rate_limit_per_second, w.max_age_seconds,
       w.breaker, w.max_owed, w.on_overflow, w.overflowing, w.state, w.paused, w.disabled_reason,
       w.created_at, CASE WHEN pgtopic.is_held(w.hold_until) THEN w.hold_until END AS hold_until,
       (SELECT x.sampled_at FROM pgtopic.sampled x) AS sampled_at, coalesce(s.owed, 0) AS owed, coalesce(s.owed_capped, false) AS owed_capped, s.oldest_owed_at,
       coalesce(s.ready, 0) AS ready, coalesce(s.claimed, 0) AS claimed, coalesce(s.waiting, 0) AS waiting,
       coalesce(s.halted, 0) AS halted, coalesce(s.dead_letters, 0) AS dead_letters,
       coalesce(s.dead_letters_capped, false) AS dead_letters_capped, coalesce(s.in_flight, 0) AS in_flight,
       s.last_success_at, s.last_failure_at, s.failing_since, s.last_status_code, s.last_error_class, s.last_error,
       CASE WHEN b.probe_by IS NOT NULL AND b.probe_until > clock_timestamp() THEN 'half_open' ELSE coalesce(b.state, 'closed') END
           AS breaker_state,
       b.opened_at, b.next_probe_at,
       c.created_at AS said_at, c.reason AS said_why,
       (SELECT j.id
          FROM pgtopic.jobs j
         WHERE w.state = 'starting' AND j.webhook_id = w.id AND j.kind = 'backfill' AND j.state IN ('queued', 'running', 'canceling')
         ORDER BY j.id DESC
         LIMIT 1) AS backfill_job
  FROM w
  JOIN pgtopic.topics t ON t.id = w.topic_id
  LEFT JOIN pgtopic.webhook_samples s ON s.webhook_id = w.id
  LEFT JOIN pgtopic.breakers b ON b.webhook_id = w.id AND b.state = 'open'
  LEFT JOIN LATERAL (SELECT c.created_at, c.reason
                       FROM (SELECT c.id, c.kind, c.created_at, c.reason
                               FROM pgtopic.changes c
                              WHERE c.webhook_id = w.id AND (w.paused OR w.disabled_reason IS NOT NULL)
                              ORDER BY c.id DESC
                              LIMIT 1000) c
                      WHERE c.kind = CASE WHEN w.disabled_reason IS NULL THEN 'webhook.paused' ELSE 'webhook.disabled' END
                      ORDER BY c.id DESC
                      LIMIT 1) c ON true
 ORDER BY w.id
