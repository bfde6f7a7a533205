-- ----------------------------------------------------------------------
-- topics/delete: delete a topic with its webhooks.
--
-- The maintenance task deletes the topic's messages later, and what its
-- webhooks were owed, in portions: see webhooks/delete.
--
-- Parameters: $1 id or null, $2 name or null, $3 whether to delete the topic
--             even if it has webhooks.
-- Returns:    how many webhooks the topic has or had, whether it was deleted,
--             and how many deliveries go with it. Nothing if there is no such
--             topic.
-- Locks:      the rows of the topic and its webhooks.
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
