-- ----------------------------------------------------------------------
-- webhooks/create: subscribe a URL to a topic.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 url, $4 secret,
--             $5 headers as JSON, $6 filter or null, $7 format or null, $8
--             batch size or null, $9 max retries, $10 backoff factor, $11 max backoff,
--             $12 timeout (seconds), each or null, $13 on exhausted,
--             $14 max in flight, $15 rate limit, each or null.
-- Returns:    w: the webhook, or nothing if there is no such topic.
-- Locks:      the topic's row against deletion.
-- ----------------------------------------------------------------------
WITH w AS (
    INSERT INTO pgtopic.webhooks (topic_id, url, secrets, headers, filter, format, batch_size, max_retries,
                                  backoff_factor, max_backoff_seconds, timeout_seconds, on_exhausted, max_in_flight,
                                  rate_limit_per_second)
    SELECT t.id, $3::text, ARRAY[$4::text], $5::text::json, $6::text::jsonpath, $7::text, coalesce($8::integer, 1),
           $9::integer, $10::float8, $11::integer, $12::integer, $13::text, $14::integer, $15::float8
      FROM pgtopic.topics t
     WHERE t.id = $1::bigint OR t.name = $2::text
    RETURNING *
)
