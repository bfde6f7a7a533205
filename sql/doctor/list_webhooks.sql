-- ----------------------------------------------------------------------
-- doctor/list_webhooks: the webhooks, as far as their rows tell how they do.
--
-- Parameters: $1 how many at most.
-- Returns:    one row for each webhook.
-- Locks:      none.
-- ----------------------------------------------------------------------
SELECT t.name || ':' || w.name AS webhook, w.url, w.disabled_reason, w.paused, b.opened_at, s.failing_since, s.last_error
  FROM pgtopic.webhooks w
  JOIN pgtopic.topics t ON t.id = w.topic_id
  LEFT JOIN pgtopic.breakers b ON b.webhook_id = w.id AND b.state = 'open'
  LEFT JOIN pgtopic.webhook_samples s ON s.webhook_id = w.id
 ORDER BY w.id
 LIMIT $1::bigint
