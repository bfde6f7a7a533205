-- ----------------------------------------------------------------------
-- webhooks/update: change a webhook, pause it or resume it.
--
-- To resume it (paused: false) also enables it.
--
-- Parameters: $1 id, $2 the changed columns as a JSON object (all other columns
--             stay as they are), $3 the new headers as JSON, or null to leave
--             them.
-- Returns:    w: the webhook as it is now; nothing if there is no such webhook.
-- Raises:     23505 (webhooks_name_key) the name is taken.
-- Locks:      the webhook's row.
-- ----------------------------------------------------------------------
WITH w AS (
    UPDATE pgtopic.webhooks AS w
       SET (name, url, filter, format, batch_size, max_retries, backoff_factor, max_backoff_seconds, timeout_seconds,
            on_exhausted, max_in_flight, rate_limit_per_second, paused)
         = (SELECT c.name, c.url, c.filter, c.format, c.batch_size, c.max_retries, c.backoff_factor, c.max_backoff_seconds,
                   c.timeout_seconds, c.on_exhausted, c.max_in_flight, c.rate_limit_per_second, c.paused
              FROM jsonb_populate_record(w, $2::text::jsonb) c),
           headers         = coalesce($3::text::json, w.headers),
           disabled_reason = CASE WHEN $2::text::jsonb -> 'paused' = 'false' THEN NULL ELSE w.disabled_reason END
     WHERE w.id = $1::bigint
    RETURNING w.*
)
