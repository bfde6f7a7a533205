-- ----------------------------------------------------------------------
-- stats/sum_all: the figures of all topics, or of one, and when they were
-- sampled.
--
-- Parameters: $1 topic id or null.
-- Returns:    one row.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT (SELECT x.sampled_at FROM pgtopic.sampled x) AS sampled_at,
       coalesce(sum(s.owed), 0)::bigint AS owed, coalesce(bool_or(s.owed_capped), false) AS owed_capped,
       min(s.oldest_owed_at) AS oldest_owed_at, coalesce(sum(s.ready), 0)::bigint AS ready,
       coalesce(sum(s.claimed), 0)::bigint AS claimed, coalesce(sum(s.waiting), 0)::bigint AS waiting,
       coalesce(sum(s.halted), 0)::bigint AS halted, coalesce(sum(s.dead_letters), 0)::bigint AS dead_letters,
       coalesce(bool_or(s.dead_letters_capped), false) AS dead_letters_capped, coalesce(sum(s.in_flight), 0)::bigint AS in_flight,
       coalesce(sum(s.accepted), 0)::bigint AS accepted, coalesce(sum(s.failed), 0)::bigint AS failed,
       (SELECT coalesce(sum(t.published_per_second), 0)
          FROM pgtopic.topic_samples t
         WHERE $1::bigint IS NULL OR t.topic_id = $1::bigint) AS published_per_second,
       ARRAY(SELECT sum(n.number)::bigint
               FROM pgtopic.topic_samples t
              CROSS JOIN LATERAL unnest(t.latency) WITH ORDINALITY n (number, bucket)
              WHERE $1::bigint IS NULL OR t.topic_id = $1::bigint
              GROUP BY n.bucket
              ORDER BY n.bucket) AS latency
  FROM pgtopic.webhook_samples s
  JOIN pgtopic.webhooks w ON w.id = s.webhook_id
 WHERE $1::bigint IS NULL OR w.topic_id = $1::bigint
