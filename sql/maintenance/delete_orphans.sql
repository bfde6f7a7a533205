-- Delete what is owed to webhooks that are gone: a webhook was deleted beside an open publisher.
-- Parameters: none. Returns: how many deliveries. Locks: the rows.
WITH RECURSIVE owed (webhook_id) AS (
    SELECT min(webhook_id) FROM pgtopic.deliveries
     UNION ALL
    SELECT (SELECT min(d.webhook_id) FROM pgtopic.deliveries d WHERE d.webhook_id > owed.webhook_id)
      FROM owed
     WHERE owed.webhook_id IS NOT NULL
), gone AS MATERIALIZED (
    SELECT o.webhook_id FROM owed o
     WHERE o.webhook_id IS NOT NULL AND NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = o.webhook_id)
), lanes_gone AS (
    DELETE FROM pgtopic.lanes l USING gone WHERE l.webhook_id = gone.webhook_id
), dead_letters_gone AS (
    DELETE FROM pgtopic.dead_letters x
     WHERE NOT EXISTS (SELECT FROM pgtopic.webhooks w WHERE w.id = x.webhook_id)
)
DELETE FROM pgtopic.deliveries d USING gone WHERE d.webhook_id = gone.webhook_id
