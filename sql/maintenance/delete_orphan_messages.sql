-- Delete some messages whose topic was deleted. Reads the whole table.
-- Parameters: how many at most. Returns: nothing; the deleted rows are counted. Locks: the rows.
DELETE FROM pgtopic.messages
 WHERE id IN (
    SELECT m.id
      FROM pgtopic.messages m
     WHERE NOT EXISTS (SELECT FROM pgtopic.topics t WHERE t.id = m.topic_id)
     LIMIT $1)
