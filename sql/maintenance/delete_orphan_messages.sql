-- Delete some messages whose topic is gone.
-- Parameters: how many at most. Returns: the count. Locks: the rows. Reads all of messages.
DELETE FROM pgtopic.messages
 WHERE id IN (
    SELECT m.id
      FROM pgtopic.messages m
     WHERE NOT EXISTS (SELECT FROM pgtopic.topics t WHERE t.id = m.topic_id)
     LIMIT $1)
