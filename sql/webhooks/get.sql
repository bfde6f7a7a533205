-- ----------------------------------------------------------------------
-- webhooks/get: one webhook and what it owes.
--
-- What is owed is counted lane by lane and from each lane's position, so
-- that the count walks over no dead rows. Both counts stop at $2.
--
-- Parameters: $1 id, $2 where counting stops.
-- Returns:    the webhook, its backlog and dead letters, or nothing.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT w.id, w.topic_id, t.name AS topic, w.url, ARRAY(SELECT json_object_keys(w.headers)) AS header_names,
       w.filter::text AS filter, w.format, w.batch_size, w.max_retries, w.backoff_factor, w.max_backoff_seconds,
       w.timeout_seconds, w.on_exhausted, w.max_in_flight, w.rate_limit_per_second, w.state, w.paused, w.disabled_reason,
       w.created_at,
       (SELECT count(*)
          FROM (SELECT
                  FROM (SELECT l.lane, l.position
                          FROM pgtopic.lanes l
                         WHERE l.webhook_id = w.id
                         LIMIT $2::bigint) l
                 CROSS JOIN LATERAL (SELECT
                                       FROM pgtopic.deliveries d
                                      WHERE d.webhook_id = w.id AND d.lane = l.lane AND d.message_id > l.position
                                      LIMIT $2::bigint) d
                 LIMIT $2::bigint) owed) AS backlog,
       (SELECT count(*)
          FROM (SELECT
                  FROM pgtopic.dead_letters x
                 WHERE x.webhook_id = w.id
                 LIMIT $2::bigint) dead) AS dead_letters
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
 WHERE w.id = $1::bigint
