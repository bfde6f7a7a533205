-- ----------------------------------------------------------------------
-- topics/get: one topic and what it owes.
--
-- What is owed is counted lane by lane, from each lane's position. So the count
-- walks over no dead rows. It stops at $3.
--
-- Parameters: $1 id or null, $2 name or null, $3 where counting stops.
-- Returns:    the topic and its backlog; nothing if there is no such topic.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.id, t.name, t.ordering, extract(epoch FROM t.retention)::bigint AS retention_seconds, t.paused, t.created_at,
       (SELECT count(*)
          FROM (SELECT
                  FROM pgtopic.webhooks w
                 CROSS JOIN LATERAL (SELECT l.lane, l.position
                                       FROM pgtopic.lanes l
                                      WHERE l.webhook_id = w.id
                                      LIMIT $3::bigint) l
                 CROSS JOIN LATERAL (SELECT
                                       FROM pgtopic.deliveries d
                                      WHERE d.webhook_id = w.id AND d.lane = l.lane AND d.message_id > l.position
                                      LIMIT $3::bigint) d
                 WHERE w.topic_id = t.id
                 LIMIT $3::bigint) owed) AS backlog
  FROM pgtopic.topics t
 WHERE t.id = $1::bigint OR t.name = $2::text
