-- Append to the attempt log.
-- Parameters, all arrays: webhook ids, message ids, attempt numbers, outcomes, status codes, error
-- classes, errors, durations (microseconds), response excerpts, times; then the worker; then two
-- arrays more: the first and the last message of each request that carried several; whether it
-- carried replays; and for how many seconds the answer asked to wait.
-- Returns: nothing. Locks: only the rows that it adds.
INSERT INTO pgtopic.attempts (webhook_id, message_id, attempt, outcome, status_code, error_class, error, duration_us,
                              response_excerpt, attempted_at, worker_id, batch_first, batch_last, replay,
                              retry_after_seconds)
SELECT a.webhook_id, a.message_id, a.attempt, a.outcome, a.status_code, a.error_class, a.error, a.duration_us,
       a.response_excerpt, a.attempted_at, $11, a.batch_first, a.batch_last, a.replay, a.retry_after_seconds
  FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::smallint[], $6::text[], $7::text[],
              $8::bigint[], $9::text[], $10::timestamptz[], $12::bigint[], $13::bigint[], $14::boolean[],
              $15::integer[])
       AS a (webhook_id, message_id, attempt, outcome, status_code, error_class, error, duration_us, response_excerpt,
             attempted_at, batch_first, batch_last, replay, retry_after_seconds)
