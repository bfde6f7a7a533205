-- The newest attempts in the attempt log.
-- Parameters: the most pages of a partition to read, the webhooks whose attempts are shown.
-- Returns: see list_newest_attempts. Locks: none.
SELECT partition, place, webhook_id, message_id, attempt, outcome, status_code, error_class, error, duration_us, worker_id,
       attempted_at
  FROM pgtopic.list_newest_attempts($1, $2)
