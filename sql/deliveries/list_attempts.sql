-- ----------------------------------------------------------------------
-- deliveries/list_attempts: the requests made for one delivery, oldest
-- first.
--
-- Parameters: $1 webhook id, $2 message id, $3 how many to skip, $4 limit.
-- Returns:    attempts; one row with a null message_id if there are none;
--             nothing if the webhook's topic has no such message.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT a.message_id, a.attempt, a.outcome, a.status_code, a.error_class, a.error, a.duration_us, a.response_excerpt,
       a.worker_id, a.attempted_at, a.batch_first, a.batch_last, a.probe, a.replay,
       a.retry_after_seconds
  FROM pgtopic.webhooks w
  JOIN pgtopic.messages m ON m.topic_id = w.topic_id AND m.id = $2::bigint
  LEFT JOIN LATERAL (SELECT *
                       FROM pgtopic.attempts a
                      WHERE a.webhook_id = w.id AND a.message_id = m.id
                      ORDER BY a.attempted_at, a.attempt
                     OFFSET $3::bigint
                      LIMIT $4::bigint) a ON true
 WHERE w.id = $1::bigint
 ORDER BY a.attempted_at, a.attempt
