-- ----------------------------------------------------------------------
-- deliveries/list: a page of what a webhook was or is owed, newest first.
--
-- Walks down the messages and reaches every other table by primary key or
-- index; each LIMIT 1 keeps the planner from joining whole tables instead.
-- Looks at no more than $4 messages, of whatever topic, for one page.
--
-- Parameters: $1 webhook id, $2 the message id below which the page begins,
--             $3 limit, $4 messages to look at, $5 status or null,
--             $6 partition key or null.
-- Returns:    deliveries, and in scanned_to, where the page is short but more
--             may follow, the message id it got to; one row with a null
--             message_id where the page is empty, nothing if there is no such
--             webhook. status is pending (owed), retrying (the head of a lane
--             that failed), halted, delivered or dead.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT d.*,
       CASE WHEN count(d.message_id) OVER () < $3::bigint
            THEN (SELECT m.id FROM pgtopic.messages m WHERE m.id < $2::bigint
                   ORDER BY m.id DESC OFFSET $4::bigint - 1 LIMIT 1)
       END AS scanned_to
  FROM pgtopic.webhooks w
  LEFT JOIN LATERAL (
    SELECT m.id AS message_id, m.partition_key, s.status, coalesce(x.attempts, a.attempts) AS attempts,
           a.last_status_code, coalesce(a.last_error, x.last_error) AS last_error,
           CASE WHEN o.owed AND ahead.waits IS NULL AND l.claimed_by IS NULL AND isfinite(l.due_at)
                THEN l.due_at END AS next_attempt_at,
           m.created_at,
           CASE s.status WHEN 'delivered' THEN a.accepted_at WHEN 'dead' THEN x.created_at END AS settled_at
      FROM (SELECT m.id, m.topic_id, m.partition_key, m.created_at, m.lane
              FROM pgtopic.messages m
             WHERE m.id < $2::bigint
             ORDER BY m.id DESC
             LIMIT $4::bigint) m
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
                                max(a.attempted_at) FILTER (WHERE a.outcome = 'accepted') AS accepted_at,
                                (array_agg(a.status_code ORDER BY a.attempted_at DESC))[1] AS last_status_code,
                                (array_agg(a.error ORDER BY a.attempted_at DESC))[1] AS last_error
                           FROM pgtopic.attempts a
                          WHERE a.webhook_id = w.id AND a.message_id = m.id) a ON true
     CROSS JOIN LATERAL (SELECT CASE WHEN o.owed AND l.halted THEN 'halted'
                                     WHEN o.owed AND l.head_message_id = m.id AND l.failures > 0 THEN 'retrying'
                                     WHEN o.owed THEN 'pending'
                                     WHEN x.created_at IS NOT NULL THEN 'dead'
                                     WHEN a.accepted_at IS NOT NULL THEN 'delivered' END AS status) s
     WHERE m.topic_id = w.topic_id
       AND ($6::text IS NULL OR m.partition_key = $6::text)
       AND s.status IS NOT NULL
       AND ($5::text IS NULL OR s.status = $5::text)
     ORDER BY m.id DESC
     LIMIT $3::bigint) d ON true
 WHERE w.id = $1::bigint
 ORDER BY d.message_id DESC
