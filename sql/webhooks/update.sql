-- ----------------------------------------------------------------------
-- webhooks/update: change a webhook, pause it, resume it or enable it.
--
-- Parameters: $1 id, $2 the changed columns as a JSON object (all other columns
--             stay as they are), $3 the new headers as JSON, or null to leave
--             them, $4 who changes it.
-- Returns:    w: the webhook as it is now; nothing if there is no such webhook.
-- Raises:     23505 (webhooks_name_key) the name is taken; 23514 two settings
--             would contradict each other: (webhooks_retry_schedule_alone_check)
--             a schedule beside a back-off, (webhooks_keep_latest_singly_check)
--             keep_latest beside batches, (webhooks_refuse_limit_check) refuse
--             without max_owed.
-- Locks:      the webhook's row, and its breaker's if that closes
--             (webhooks_close_breaker).
-- ----------------------------------------------------------------------
WITH w AS (
    UPDATE pgtopic.webhooks AS w
       SET (name, url, types, filter, format, batch_size, max_retries, backoff_factor, max_backoff_seconds, retry_schedule,
            permanent_statuses, timeout_seconds, on_exhausted, max_in_flight, rate_limit_per_second, max_age_seconds, breaker,
            max_owed, on_overflow, paused, disabled_reason)
         = (SELECT c.name, c.url, c.types, c.filter, c.format, c.batch_size, c.max_retries, c.backoff_factor, c.max_backoff_seconds,
                   c.retry_schedule, c.permanent_statuses, c.timeout_seconds, c.on_exhausted, c.max_in_flight, c.rate_limit_per_second,
                   c.max_age_seconds, c.breaker, c.max_owed, c.on_overflow, c.paused, c.disabled_reason
              FROM jsonb_populate_record(w, $2::text::jsonb) c),
           headers = coalesce($3::text::json, w.headers)
     WHERE w.id = $1::bigint AND set_config('pgtopic_session.changed_by', $4::text, true) IS NOT NULL
    RETURNING w.*
)
