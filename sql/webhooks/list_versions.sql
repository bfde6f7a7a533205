-- All webhooks, with the least that tells whether one has changed.
-- Parameters: none. Returns: as list_changed_webhooks, but all webhooks. Locks: none.
SELECT w.id AS webhook_id, w.xmin::text AS version,
       w.state = 'active' AND NOT w.paused AND w.disabled_reason IS NULL AND t.paused IS DISTINCT FROM 'hold' AS deliverable,
       n.looked_at, n.webhooks
  FROM (SELECT statement_timestamp() AS looked_at, count(*) AS webhooks FROM pgtopic.webhooks) n
  LEFT JOIN (pgtopic.webhooks w JOIN pgtopic.topics t ON t.id = w.topic_id) ON true
