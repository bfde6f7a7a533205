-- ----------------------------------------------------------------------
-- webhooks/delete: delete a webhook.
--
-- The maintenance task deletes what it was owed later, in portions. A statement
-- that locked all of its lanes would make workers, and publishers to its topic,
-- wait for seconds.
--
-- Parameters: $1 id.
-- Returns:    how many deliveries and dead letters go with it. Nothing if there
--             is no such webhook.
-- Locks:      the webhook's row.
-- ----------------------------------------------------------------------
WITH deleted AS (
    DELETE FROM pgtopic.webhooks w WHERE w.id = $1::bigint RETURNING w.id
)
SELECT (SELECT count(*) FROM pgtopic.deliveries d WHERE d.webhook_id = deleted.id)   AS dropped_deliveries,
       (SELECT count(*) FROM pgtopic.dead_letters x WHERE x.webhook_id = deleted.id) AS dropped_dead_letters
  FROM deleted
