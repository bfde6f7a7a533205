-- ----------------------------------------------------------------------
-- messages/get: one message, and where it stands with the webhooks of its
-- topic.
--
-- Every table is reached by primary key or index, webhook by webhook. The
-- states are those of deliveries/list.
--
-- Parameters: $1 message id, $2 deliveries at most.
-- Returns:    the message and three arrays, an element for each webhook that
--             was or is owed it; nothing if there is no such message.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT m.id, t.name AS topic, m.partition_key, m.idempotency_key, m.created_at,
       m.payload::text AS payload, m.headers::text AS headers, d.webhook_ids, d.statuses, d.attempts
  FROM pgtopic.messages m
  JOIN pgtopic.topics t ON t.id = m.topic_id
 CROSS JOIN LATERAL (
    SELECT array_agg(d.webhook_id ORDER BY d.webhook_id) AS webhook_ids,
           array_agg(d.status ORDER BY d.webhook_id)     AS statuses,
           array_agg(d.attempts ORDER BY d.webhook_id)   AS attempts
      FROM (
        SELECT w.id AS webhook_id, s.status, coalesce(x.attempts, a.attempts) AS attempts
          FROM pgtopic.webhooks w
          LEFT JOIN LATERAL (SELECT true AS owed
                               FROM pgtopic.deliveries d
                              WHERE d.webhook_id = w.id AND d.lane = m.lane AND d.message_id = m.id
                              LIMIT 1) o ON true
          LEFT JOIN LATERAL (SELECT l.position, l.due_at, l.claimed_by, l.failures, l.halted, l.head_message_id
                               FROM pgtopic.lanes l
                              WHERE o.owed AND l.webhook_id = w.id AND l.lane = m.lane
                              LIMIT 1) l ON true
          LEFT JOIN LATERAL (SELECT true AS waits
                               FROM pgtopic.deliveries d
                              WHERE d.webhook_id = w.id AND d.lane = m.lane
                                AND d.message_id > l.position AND d.message_id < m.id
                              LIMIT 1) ahead ON true
          LEFT JOIN LATERAL (SELECT x.attempts, x.last_error, x.created_at
                               FROM pgtopic.dead_letters x
                              WHERE x.webhook_id = w.id AND x.message_id = m.id
                              LIMIT 1) x ON true
          LEFT JOIN LATERAL (SELECT count(*) AS attempts,
                                    max(a.attempted_at) FILTER (WHERE a.outcome = 'accepted') AS accepted_at
                               FROM pgtopic.attempts a
                              WHERE a.webhook_id = w.id AND a.message_id = m.id) a ON true
         CROSS JOIN LATERAL (SELECT CASE WHEN o.owed AND l.halted THEN 'halted'
                                         WHEN o.owed AND l.head_message_id = m.id AND l.failures > 0 THEN 'retrying'
                                         WHEN o.owed THEN 'pending'
                                         WHEN x.created_at IS NOT NULL THEN 'dead'
                                         WHEN a.accepted_at IS NOT NULL THEN 'delivered' END AS status) s
         WHERE w.topic_id = m.topic_id AND s.status IS NOT NULL
         ORDER BY w.id
         LIMIT $2::bigint) d) d
 WHERE m.id = $1::bigint
