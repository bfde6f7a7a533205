-- Whether a delivery or a lane is left of a webhook that was deleted.
-- Parameters: none. Returns: one boolean. Locks: none.
WITH RECURSIVE owed (webhook_id) AS (
    SELECT min(webhook_id) FROM pgtopic.deliveries
     UNION ALL
    SELECT (SELECT min(d.webhook_id) FROM pgtopic.deliveries d WHERE d.webhook_id > owed.webhook_id)
      FROM owed
     WHERE owed.webhook_id IS NOT NULL
), held (webhook_id) AS (
    SELECT min(webhook_id) FROM pgtopic.lanes
     UNION ALL
    SELECT (SELECT min(l.webhook_id) FROM pgtopic.lanes l WHERE l.webhook_id > held.webhook_id)
      FROM held
     WHERE held.webhook_id IS NOT NULL
)
SELECT EXISTS (
    SELECT FROM (SELECT o.webhook_id FROM owed o UNION ALL SELECT h.webhook_id FROM held h) any_of
     WHERE any_of.webhook_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = any_of.webhook_id))
