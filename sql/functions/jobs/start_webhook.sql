-- ----------------------------------------------------------------------
-- start_webhook: a webhook that is starting becomes active: its lanes are
-- claimed from now on.
--
-- Parameters: the webhook, why, and who asked for it. Returns: nothing.
-- Locks:      the webhook's row; as the triggers of webhooks.
-- ----------------------------------------------------------------------
CREATE OR REPLACE FUNCTION pgtopic.start_webhook(webhook_id bigint, reason text, changed_by text) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pgtopic, pg_temp
AS $$
WITH started AS (
    UPDATE pgtopic.webhooks w SET state = 'active' WHERE w.id = start_webhook.webhook_id AND w.state = 'starting'
    RETURNING w.id, w.topic_id
)
INSERT INTO pgtopic.changes (kind, topic_id, webhook_id, reason, changed_by)
SELECT 'webhook.started', s.topic_id, s.id, start_webhook.reason, start_webhook.changed_by FROM started s
$$;
