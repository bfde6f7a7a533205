-- ----------------------------------------------------------------------
-- webhooks/get: one webhook.
--
-- Parameters: $1 id.
-- Returns:    w: the webhook, or nothing.
-- Locks:      none.
-- ----------------------------------------------------------------------
WITH w AS (SELECT * FROM pgtopic.webhooks w WHERE w.id = $1::bigint)
