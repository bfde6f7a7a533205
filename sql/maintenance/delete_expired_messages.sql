-- Delete some messages of one topic that are past its retention and owed to nobody, dead letters
-- included.
-- Parameters: topic, its retention's limit in time, how many at most. Returns: the count.
-- Locks: the messages, SKIP LOCKED: one that a replay is reading (FOR KEY SHARE) stays.
DELETE FROM pgtopic.messages
 WHERE id IN (
    SELECT m.id
      FROM pgtopic.messages m
     WHERE m.topic_id = $1
       AND m.created_at < $2
       AND NOT EXISTS (
            SELECT
              FROM pgtopic.webhooks w
              JOIN pgtopic.deliveries d ON d.webhook_id = w.id AND d.lane = m.lane AND d.message_id = m.id
             WHERE w.topic_id = m.topic_id)
       AND NOT EXISTS (SELECT FROM pgtopic.dead_letters l WHERE l.message_id = m.id)
     LIMIT $3
       FOR UPDATE OF m SKIP LOCKED)
