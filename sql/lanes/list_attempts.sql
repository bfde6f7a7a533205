-- ----------------------------------------------------------------------
-- lanes/list_attempts: the newest requests made for some messages, oldest
-- first.
--
-- Parameters: $1 webhook id, $2 message ids, $3 the most requests of one
--             message.
-- Returns:    attempts.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT a.message_id, a.attempt, a.outcome, a.status_code, a.error_class, a.error, a.duration_us, a.response_excerpt,
       a.worker_id, a.attempted_at, a.batch_first, a.batch_last, a.probe, a.replay, a.retry_after_seconds
  FROM unnest($2::bigint[]) m (id)
 CROSS JOIN LATERAL (SELECT *
                       FROM pgtopic.attempts a
                      WHERE a.webhook_id = $1::bigint AND a.message_id = m.id
                      ORDER BY a.attempted_at DESC, a.attempt DESC
                      LIMIT $3::bigint) a
 ORDER BY a.attempted_at, a.message_id
