-- ----------------------------------------------------------------------
-- webhooks/update: change a webhook, hold it or release it.
--
-- Releasing it (paused: false) enables it as well. Headers are stored as
-- they are given: jsonb would write them longer, past their limit.
--
-- Parameters: $1 id, $2 the changed columns as a JSON object; those that it
--             does not name stay as they are.
-- Returns:    the webhook as it is now, or nothing.
-- Locks:      the webhook's row.
-- ----------------------------------------------------------------------
WITH changed AS (
    UPDATE pgtopic.webhooks AS w
       SET url                   = CASE WHEN c ? 'url' THEN c ->> 'url' ELSE w.url END,
           headers               = coalesce(changes.headers, w.headers),
           filter                = CASE WHEN c ? 'filter' THEN (c ->> 'filter')::jsonpath ELSE w.filter END,
           format                = CASE WHEN c ? 'format' THEN c ->> 'format' ELSE w.format END,
           batch_size            = CASE WHEN c ? 'batch_size' THEN (c ->> 'batch_size')::integer ELSE w.batch_size END,
           max_retries           = CASE WHEN c ? 'max_retries' THEN (c ->> 'max_retries')::integer ELSE w.max_retries END,
           backoff_factor        = CASE WHEN c ? 'backoff_factor' THEN (c ->> 'backoff_factor')::float8
                                        ELSE w.backoff_factor END,
           max_backoff_seconds   = CASE WHEN c ? 'max_backoff_seconds' THEN (c ->> 'max_backoff_seconds')::integer
                                        ELSE w.max_backoff_seconds END,
           timeout_seconds       = CASE WHEN c ? 'timeout_seconds' THEN (c ->> 'timeout_seconds')::integer
                                        ELSE w.timeout_seconds END,
           on_exhausted          = CASE WHEN c ? 'on_exhausted' THEN c ->> 'on_exhausted' ELSE w.on_exhausted END,
           max_in_flight         = CASE WHEN c ? 'max_in_flight' THEN (c ->> 'max_in_flight')::integer
                                        ELSE w.max_in_flight END,
           rate_limit_per_second = CASE WHEN c ? 'rate_limit_per_second' THEN (c ->> 'rate_limit_per_second')::float8
                                        ELSE w.rate_limit_per_second END,
           paused                = CASE WHEN c ? 'paused' THEN (c ->> 'paused')::boolean ELSE w.paused END,
           disabled_reason       = CASE WHEN c -> 'paused' = 'false' THEN NULL ELSE w.disabled_reason END
      FROM (SELECT $2::text::jsonb AS c, $2::text::json -> 'headers' AS headers) changes
     WHERE w.id = $1::bigint
    RETURNING w.*
)
SELECT w.id, w.topic_id, t.name AS topic, w.url, ARRAY(SELECT json_object_keys(w.headers)) AS header_names,
       w.filter::text AS filter, w.format, w.batch_size, w.max_retries, w.backoff_factor, w.max_backoff_seconds,
       w.timeout_seconds, w.on_exhausted, w.max_in_flight, w.rate_limit_per_second, w.state, w.paused, w.disabled_reason,
       w.created_at
  FROM changed w
  JOIN pgtopic.topics t ON t.id = w.topic_id
