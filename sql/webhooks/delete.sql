-- ----------------------------------------------------------------------
-- webhooks/delete: delete a webhook and all it is owed.
--
-- What an open publisher adds beside this statement is left to the
-- maintenance task.
--
-- Parameters: $1 id.
-- Returns:    how many deliveries and dead letters went with it, or nothing
--             if there is no such webhook.
-- Locks:      the rows that are deleted.
-- ----------------------------------------------------------------------
WITH deleted AS (
    DELETE FROM pgtopic.webhooks w WHERE w.id = $1::bigint RETURNING w.id
), dropped AS (
    DELETE FROM pgtopic.deliveries d USING deleted WHERE d.webhook_id = deleted.id RETURNING 1
), dropped_lanes AS (
    DELETE FROM pgtopic.lanes l USING deleted WHERE l.webhook_id = deleted.id
), dropped_dead_letters AS (
    DELETE FROM pgtopic.dead_letters x USING deleted WHERE x.webhook_id = deleted.id RETURNING 1
)
SELECT (SELECT count(*) FROM dropped)              AS dropped_deliveries,
       (SELECT count(*) FROM dropped_dead_letters) AS dropped_dead_letters
  FROM deleted
