-- ----------------------------------------------------------------------
-- doctor/get_overdue_messages: messages that should have gone.
--
-- Only the oldest ids are looked at: retention begins with them, too.
--
-- Parameters: $1 at how many messages to look, $2 for how many days messages are
--             kept whose topic does not say; 0: for ever.
-- Returns:    how many, and when the first of them should have gone.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT count(*) AS messages, min(m.due) AS due
  FROM (SELECT m.id, m.lane, m.topic_id,
               m.created_at + nullif(coalesce(t.retention, make_interval(days => $2::integer)), interval '0') AS due
          FROM (SELECT m.id, m.lane, m.topic_id, m.created_at FROM pgtopic.messages m ORDER BY m.id LIMIT $1::bigint) m
          JOIN pgtopic.topics t ON t.id = m.topic_id) m
 WHERE m.due < now()
   AND NOT EXISTS (SELECT FROM pgtopic.dead_letters x WHERE x.message_id = m.id)
   AND NOT EXISTS (SELECT
                     FROM pgtopic.webhooks w
                     JOIN pgtopic.deliveries d ON d.webhook_id = w.id AND d.lane = m.lane AND d.message_id = m.id
                    WHERE w.topic_id = m.topic_id)
