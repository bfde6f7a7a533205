-- Delete some deliveries of webhooks that were deleted. A webhook may have been deleted with a
-- backlog, or while a publisher's transaction was open.
-- Parameters: how many deliveries at most. Returns: nothing; the deleted rows are counted.
-- Locks: the rows, SKIP LOCKED.
WITH RECURSIVE owed (webhook_id) AS (
    SELECT min(webhook_id) FROM pgtopic.deliveries
     UNION ALL
    SELECT (SELECT min(d.webhook_id) FROM pgtopic.deliveries d WHERE d.webhook_id > owed.webhook_id)
      FROM owed
     WHERE owed.webhook_id IS NOT NULL
), gone AS MATERIALIZED (
    SELECT o.webhook_id FROM owed o
     WHERE o.webhook_id IS NOT NULL AND NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = o.webhook_id)
), doomed AS MATERIALIZED (
    SELECT d.webhook_id, d.lane, d.message_id
      FROM gone
     CROSS JOIN LATERAL (
        SELECT d.webhook_id, d.lane, d.message_id
          FROM pgtopic.deliveries d
         WHERE d.webhook_id = gone.webhook_id
         ORDER BY d.lane, d.message_id
         LIMIT $1
           FOR UPDATE SKIP LOCKED) d
     LIMIT $1
)
DELETE FROM pgtopic.deliveries d
 USING doomed x
 WHERE d.webhook_id = x.webhook_id AND d.lane = x.lane AND d.message_id = x.message_id
