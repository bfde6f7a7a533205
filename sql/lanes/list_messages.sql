-- ----------------------------------------------------------------------
-- lanes/list_messages: messages of one lane, for its history.
--
-- They are the first that it owes, and others that were published before the
-- last of these. For those the statement looks at the $4 messages before it, of
-- whatever topic.
--
-- Parameters: $1 webhook id, $2 lane, $3 the most owed ones, $4 the most
--             messages to look at, $5 the most others.
-- Returns:    messages by rising id. created_at is null if a message that is
--             owed was deleted. dead_reason and dead_at are those of its dead
--             letter.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH owed AS MATERIALIZED (
    SELECT d.message_id, d.replayed_at
      FROM pgtopic.deliveries d
     WHERE d.webhook_id = $1::bigint AND d.lane = $2::bigint
     ORDER BY d.message_id
     LIMIT $3::bigint
), others AS MATERIALIZED (
    SELECT s.id
      FROM (SELECT s.id, s.lane, s.topic_id
              FROM pgtopic.messages s
             WHERE s.id <= coalesce((SELECT max(o.message_id) FROM owed o), 9223372036854775807)
             ORDER BY s.id DESC
             LIMIT $4::bigint) s
     WHERE s.lane = $2::bigint
       AND s.topic_id = (SELECT w.topic_id FROM pgtopic.webhooks w WHERE w.id = $1::bigint)
       AND NOT EXISTS (SELECT FROM owed o WHERE o.message_id = s.id)
     ORDER BY s.id DESC
     LIMIT $5::bigint
), found AS (
    SELECT o.message_id, true AS owed, o.replayed_at FROM owed o
    UNION ALL
    SELECT o.id, false, NULL FROM others o
)
SELECT f.message_id, f.owed, f.replayed_at, m.created_at, dead.reason AS dead_reason, dead.created_at AS dead_at
  FROM found f
  LEFT JOIN LATERAL (SELECT m.created_at FROM pgtopic.messages m WHERE m.id = f.message_id LIMIT 1) m ON true
  LEFT JOIN LATERAL (SELECT x.reason, x.created_at FROM pgtopic.dead_letters x
                      WHERE x.webhook_id = $1::bigint AND x.message_id = f.message_id LIMIT 1) dead ON true
 ORDER BY f.message_id
