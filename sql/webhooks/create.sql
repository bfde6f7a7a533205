-- ----------------------------------------------------------------------
-- webhooks/create: subscribe a URL to a topic.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 name or null,
--             $4 url, $5 secret, $6 headers as JSON, $7 filter or null,
--             $8 format or null, $9 batch size or null, $10 max retries,
--             $11 backoff factor, $12 max backoff, $13 timeout (seconds), each
--             or null, $14 on exhausted, $15 max in flight, $16 rate limit,
--             $17 types, each or null.
-- Returns:    w: the webhook, or nothing if there is no such topic.
-- Raises:     23505 (webhooks_name_key) the name is taken.
-- Locks:      the topic's row against deletion.
-- ----------------------------------------------------------------------
WITH w AS (
    INSERT INTO pgtopic.webhooks (topic_id, name, url, secrets, headers, types, filter, format, batch_size, max_retries,
                                  backoff_factor, max_backoff_seconds, timeout_seconds, on_exhausted, max_in_flight,
                                  rate_limit_per_second)
    SELECT t.id, $3::text, $4::text, ARRAY[$5::text], $6::text::json, $17::text[], $7::text::jsonpath, $8::text, coalesce($9::integer, 1),
           $10::integer, $11::float8, $12::integer, $13::integer, $14::text, $15::integer, $16::float8
      FROM pgtopic.topics t
     WHERE t.id = $1::bigint OR t.name = $2::text
    RETURNING *
)
