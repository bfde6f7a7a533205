-- ----------------------------------------------------------------------
-- stats/list_topics: the figures of topics, most owed first.
--
-- Parameters: $1 topic id or null, $2 how many rows at most.
-- Returns:    one row for each topic.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.name AS topic, coalesce(s.owed, 0) AS owed, coalesce(s.owed_capped, false) AS owed_capped, s.oldest_owed_at,
       coalesce(s.ready, 0) AS ready, coalesce(s.claimed, 0) AS claimed, coalesce(s.waiting, 0) AS waiting,
       coalesce(s.halted, 0) AS halted, coalesce(s.dead_letters, 0) AS dead_letters,
       coalesce(s.dead_letters_capped, false) AS dead_letters_capped, coalesce(s.in_flight, 0) AS in_flight,
       coalesce(s.accepted, 0) AS accepted, coalesce(s.failed, 0) AS failed,
       coalesce(x.published_per_second, 0) AS published_per_second, coalesce(x.latency, '{}') AS latency
  FROM pgtopic.topics t
  LEFT JOIN (SELECT w.topic_id, sum(s.owed)::bigint AS owed, bool_or(s.owed_capped) AS owed_capped,
                    min(s.oldest_owed_at) AS oldest_owed_at, sum(s.ready)::bigint AS ready, sum(s.claimed)::bigint AS claimed,
                    sum(s.waiting)::bigint AS waiting, sum(s.halted)::bigint AS halted, sum(s.dead_letters)::bigint AS dead_letters,
                    bool_or(s.dead_letters_capped) AS dead_letters_capped, sum(s.in_flight)::bigint AS in_flight,
                    sum(s.accepted)::bigint AS accepted, sum(s.failed)::bigint AS failed
               FROM pgtopic.webhook_samples s
               JOIN pgtopic.webhooks w ON w.id = s.webhook_id
              WHERE $1::bigint IS NULL OR w.topic_id = $1::bigint
              GROUP BY w.topic_id) s ON s.topic_id = t.id
  LEFT JOIN pgtopic.topic_samples x ON x.topic_id = t.id
 WHERE $1::bigint IS NULL OR t.id = $1::bigint
 ORDER BY coalesce(s.owed, 0) DESC, t.id
 LIMIT $2::bigint
