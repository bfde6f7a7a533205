-- ----------------------------------------------------------------------
-- webhooks/create: subscribe a URL to a topic.
--
-- Parameters: $1 topic id or null, $2 topic name or null, $3 name or null,
--             $4 url, $5 secret, $6 headers as JSON, $7 filter or null,
--             $8 format or null, $9 batch size or null, $10 max retries,
--             $11 backoff factor, $12 max backoff, $13 timeout (seconds), each
--             or null, $14 on exhausted, $15 max in flight, $16 rate limit,
--             each or null; $17 where it begins as JSON (null: now), $18 the
--             first message id and $19 from which time, each or null, $20 who
--             creates it, $21 types, $22 retry schedule (seconds), $23 permanent
--             statuses, $24 max age (seconds), each or null; $25 policy of the
--             breaker; $26 max owed or null, $27 on overflow.
-- Returns:    w: the webhook, or nothing if there is no such topic. If it begins
--             earlier than now, it is starting, and a job makes the earlier
--             messages owed.
-- Raises:     23505 (webhooks_name_key) the name is taken.
-- Locks:      the topic's row against deletion.
-- ----------------------------------------------------------------------
WITH w AS (
    INSERT INTO pgtopic.webhooks (topic_id, name, url, secrets, headers, types, filter, format, batch_size, max_retries,
                                  backoff_factor, max_backoff_seconds, timeout_seconds, on_exhausted, max_in_flight,
                                  rate_limit_per_second, state, retry_schedule, permanent_statuses, max_age_seconds, breaker,
                                  max_owed, on_overflow)
    SELECT t.id, $3::text, $4::text, ARRAY[$5::text], $6::text::json, $21::text[], $7::text::jsonpath, $8::text, coalesce($9::integer, 1),
           $10::integer, $11::float8, $12::integer, $13::integer, $14::text, $15::integer, $16::float8,
           CASE WHEN $17::text IS NULL THEN 'active' ELSE 'starting' END, $22::integer[], $23::integer[], $24::integer, $25::text,
           $26::integer, $27::text
      FROM pgtopic.topics t
     WHERE t.id = $1::bigint OR t.name = $2::text
    RETURNING *
), backfill AS (
    INSERT INTO pgtopic.jobs (kind, topic_id, webhook_id, filter, progress, created_by)
    SELECT 'backfill', w.topic_id, w.id, $17::json,
           json_build_object('after', coalesce($18::bigint, 1) - 1, 'since', $19::timestamptz), $20::text
      FROM w
     WHERE w.state = 'starting'
)
