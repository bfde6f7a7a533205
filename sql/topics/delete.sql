-- ----------------------------------------------------------------------
-- topics/delete: delete a topic with its webhooks and all they are owed.
--
-- Its messages and what its webhooks are owed stay for the maintenance task,
-- which removes them in portions: see webhooks/delete.
--
-- Parameters: $1 id or null, $2 name or null, $3 whether to delete it even if
--             it has webhooks.
-- Returns:    nothing if there is no such topic; else how many webhooks it
--             has or had, whether it was deleted, and how many deliveries
--             went with it.
-- Locks:      the rows that are deleted.
-- ----------------------------------------------------------------------
WITH topic AS (
    SELECT t.id FROM pgtopic.topics t WHERE t.id = $1::bigint OR t.name = $2::text
), subscribed AS (
    SELECT w.id FROM pgtopic.webhooks w JOIN topic t ON t.id = w.topic_id
), deleted AS (
    DELETE FROM pgtopic.topics t
     USING topic
     WHERE t.id = topic.id AND ($3::boolean OR NOT EXISTS (SELECT FROM subscribed))
    RETURNING t.id
)
SELECT (SELECT count(*) FROM subscribed) AS webhooks,
       EXISTS (SELECT FROM deleted)      AS is_deleted,
       (SELECT count(*)
          FROM subscribed s
          JOIN pgtopic.deliveries d ON d.webhook_id = s.id
         WHERE EXISTS (SELECT FROM deleted)) AS dropped_deliveries
  FROM topic
