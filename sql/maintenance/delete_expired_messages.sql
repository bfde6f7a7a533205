-- Delete some messages of one topic that are past its retention. Messages that are owed stay, and
-- so do those of dead letters.
-- Parameters: topic, the instant before which messages are deleted, how many at most.
-- Returns: nothing; the deleted rows are counted.
-- Locks: the messages, SKIP LOCKED: a message that a replay reads (FOR KEY SHARE) stays.
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
